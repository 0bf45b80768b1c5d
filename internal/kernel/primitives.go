package kernel

import (
	"strconv"
	"strings"

	"batos"
	"batos/internal/exec"
	"batos/internal/mind"
	"batos/object"
)

// registerPrimitives gives the genesis objects what they cannot do themselves.
// Expected failures are answered as a dict with ok, code and error, since the
// dialect has no way to catch one; the rest fails the message.
func (k *Kernel) registerPrimitives() {
	for name, fn := range map[string]func(*exec.Call) (object.Value, error){
		"object.oid":          k.primOID,
		"mind.infer":          primInfer,
		"mind.compose":        k.primCompose,
		"mind.read":           k.primRead,
		"mind.serves":         k.primServes,
		"mind.profile":        k.primProfile,
		"catalog.split":       primSplit,
		"catalog.sentences":   primSentences,
		"catalog.embeds":      k.primEmbeds,
		"catalog.embed":       k.primEmbed,
		"catalog.add":         k.primAdd,
		"catalog.find":        k.primFindChunks,
		"catalog.list":        k.primList,
		"catalog.remove":      k.primRemove,
		"tier.state":          k.primTierState,
		"tier.usage":          k.primTierUsage,
		"tier.candidates":     k.primTierCandidates,
		"tier.move":           k.primTierMove,
		"tier.prefetch":       primTierPrefetch,
		"mind.document":       primDocument,
		"mind.assemble":       primAssemble,
		"kernel.find":         primFind,
		"mission.books":       k.primBooks,
		"mission.brief":       k.primBrief,
		"mission.note":        k.primNote,
		"mission.end":         k.primEnd,
		"gate.audit":          k.primAudit,
		"gate.trial":          k.primTrial,
		"gate.install":        k.primInstall,
		"gate.needs_approval": k.primNeedsApproval,
	} {
		k.runner.Primitive(name, exec.Primitive{Fn: fn})
	}
}

// RegisterForTrials gives a trial's child the primitives that a method of
// people's objects may need: those that only ask for an effect, which the
// parent carries out. The workflow's own are not among them.
func RegisterForTrials(r *exec.Runner) {
	r.Primitive("mind.infer", exec.Primitive{Fn: primInfer})
}

// arity checks the number of positional arguments of a primitive.
func arity(c *exec.Call, least, most int) error {
	if n := len(c.Args()); n < least || n > most || len(c.Kwargs()) > 0 {
		want := "exactly " + plural(least, "argument")
		if least != most {
			want = "at most " + plural(most, "argument")
		}
		return batos.Errorf(batos.Arity, "%s takes %s, got %d", c.Selector(), want, n+len(c.Kwargs()))
	}
	return nil
}

// ofWorkflow demands n arguments and the authority of the workflow's own code:
// what is of a mission is not for generated code, nor for what it sends to.
func ofWorkflow(c *exec.Call, n int) error {
	if err := arity(c, n, n); err != nil {
		return err
	}
	if a := c.Authority(); a < batos.Genesis {
		return batos.Errorf(batos.Denied, "%s is for the workflow of missions; code of %s authority may not send it", c.Selector(), a)
	}
	return nil
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strings.Join([]string{strconv.Itoa(n), what}, " ")
}

// primOID answers the receiver's number.
func (k *Kernel) primOID(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	return object.NewInt(int64(c.Receiver())), nil
}

// primServes: serves_(kind) tells whether the model in use can do such work.
func (k *Kernel) primServes(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	return c.Inline("serves", c.Args()[0], func() (object.Value, error) {
		_, profile, _, err := k.core.use()
		if err != nil {
			return object.Bool(false), nil
		}
		kind := kindOf(strOf(c.Args()[0]))
		if profile.Serves(kind) {
			return object.Bool(true), nil
		}
		special, ok := profile.(mind.Specialist)
		if !ok || !special.NeedsAdapter(kind) || k.host() == nil {
			return object.Bool(false), nil
		}
		_, found, err := k.findAdapter(c.Tx(), mind.PersonaOf(kind))
		return object.Bool(err == nil && found), nil
	})
}

// primProfile: profile_() names the profile of the model in use, "" if there
// is none.
func (k *Kernel) primProfile(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	return c.Inline("profile", object.None{}, func() (object.Value, error) {
		_, profile, _, err := k.core.use()
		if err != nil {
			return object.Str(""), nil
		}
		return object.Str(profile.Name()), nil
	})
}

// primFind: find_(name) answers the object of a root name, as given or with
// _obj behind it, or None.
func primFind(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	name := strOf(c.Args()[0])
	for _, n := range []string{name, name + "_obj"} {
		oid, ok, err := c.Tx().Name(n)
		if err != nil {
			return nil, err
		}
		if ok {
			return object.Ref(oid), nil
		}
	}
	return object.None{}, nil
}

// secondOpinion is the kind of work of one who checks a method by writing it
// himself.
const secondOpinion = "second_opinion"

// kindOf is the kind of task that a work of the codex is.
func kindOf(work string) mind.Kind {
	if work == secondOpinion {
		return mind.Method
	}
	return mind.Kind(work)
}

// primCompose: compose_(kind, brief, attempts, persona) answers the request
// that the model's profile makes of a task, in the words that the codex has
// for the persona: {ok, code, error, kind, prompt, request}.
func (k *Kernel) primCompose(c *exec.Call) (object.Value, error) {
	if err := arity(c, 3, 4); err != nil {
		return nil, err
	}
	kind, brief := strOf(c.Args()[0]), c.Args()[1]
	persona := ""
	if len(c.Args()) == 4 {
		persona = strOf(c.Args()[3])
	}
	earlier := attemptsFrom(c.Args()[2])
	return c.Inline("compose", &object.Tuple{Items: c.Args()}, func() (object.Value, error) {
		_, profile, _, err := k.core.use()
		if err != nil {
			return failed(err), nil
		}
		task := taskFrom(kind, brief)
		if task.Rules, task.Grammar, err = promptFor(c.Tx(), persona, kind, profile.Name()); err != nil {
			return nil, err
		}
		r, err := profile.Compose(task, earlier)
		if err != nil {
			return failed(err), nil
		}
		return new(dict).bool("ok", true).str("code", "").str("error", "").str("kind", kind).str("prompt", promptText(r)).set("request", requestValue(r)).value(), nil
	})
}

func attemptsFrom(v object.Value) []mind.Attempt {
	var out []mind.Attempt
	for i, a := range itemsOf(v) {
		f := fieldsOf(a)
		out = append(out, mind.Attempt{Number: i + 1, Source: f.str("source"), Error: f.str("error")})
	}
	return out
}

// promptText is a request's prompt for people.
func promptText(r mind.Request) string {
	if len(r.Chat) == 0 {
		return r.Gloss + r.Text // one of them is empty
	}
	var b strings.Builder
	for _, t := range r.Chat {
		b.WriteString(string(t.Role) + ": " + t.Text + "\n")
	}
	return b.String()
}

func failed(err error) object.Value {
	e := asError(err, batos.Raised)
	return new(dict).bool("ok", false).str("code", string(e.Code)).str("error", e.Text).str("source", "").
		set("confidence", object.Float(0)).str("text", "").value()
}

// primInfer: infer_request_(request, persona) asks the model and answers
// {text, tokens, prompt_tokens, stop, model, adapter, …}. The request is what
// compose_ answered, or a dict with a text.
func primInfer(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 2); err != nil {
		return nil, err
	}
	in := fieldsOf(c.Args()[0])
	persona := ""
	if len(c.Args()) == 2 {
		persona = strOf(c.Args()[1])
	}
	request, prompt := in.get("request"), in.str("prompt")
	if request == nil {
		if prompt = in.str("text"); prompt == "" {
			return nil, batos.Errorf(batos.Invalid, "%s wants a request with a text", c.Selector())
		}
		request = requestValue(mind.Request{Text: prompt, MaxTokens: int(in.int("max_tokens"))})
	}
	return c.Effect(exec.EffectInfer, false, new(dict).set("request", request).str("persona", persona).str("kind", in.str("kind")).str("prompt", prompt).value())
}

// primRead: read_(kind, brief, answer, attempts) makes source of what the model
// wrote to what compose_ made of the same attempts: {ok, code, error, source,
// confidence, text}.
func (k *Kernel) primRead(c *exec.Call) (object.Value, error) {
	if err := arity(c, 3, 4); err != nil {
		return nil, err
	}
	kind, brief, answer := strOf(c.Args()[0]), c.Args()[1], c.Args()[2]
	var earlier []mind.Attempt
	if len(c.Args()) == 4 {
		earlier = attemptsFrom(c.Args()[3])
	}
	return c.Inline("read", &object.Tuple{Items: c.Args()}, func() (object.Value, error) {
		_, profile, _, err := k.core.use()
		if err != nil {
			return failed(err), nil
		}
		a, err := profile.Read(taskFrom(kind, brief), earlier, resultFrom(answer))
		if err != nil {
			f := failed(err).(*object.Dict)
			for i, e := range f.Entries { // what was written is worth showing, also when it is no answer
				switch strOf(e.Key) {
				case "source":
					f.Entries[i].Value = object.Str(a.Source)
				case "confidence":
					f.Entries[i].Value = object.Float(a.Confidence)
				}
			}
			return f, nil
		}
		return new(dict).bool("ok", true).str("code", "").str("error", "").str("source", a.Source).str("text", a.Source).
			set("confidence", object.Float(a.Confidence)).str("doubt", a.Doubt).str("notes", a.Notes).value(), nil
	})
}

// primBrief: brief_() answers the mission's brief made anew from the object as
// it is now; a mission that the kernel did not begin keeps the brief it has.
func (k *Kernel) primBrief(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	v, _, err := c.Tx().Slot(c.Receiver(), "mission_brief")
	if err != nil {
		return nil, err
	}
	d, err := loadDocket(c.Tx(), docketOID(c.Receiver()))
	if batos.CodeOf(err) == batos.NotFound {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	brief := fieldsOf(v)
	return factsOf(c.Tx(), d.Receiver, d.Selector, brief.get("args"), brief.get("kwargs"))
}

// primNote: note_(kind, details) tells those who watch, once this is committed.
func (k *Kernel) primNote(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 2); err != nil {
		return nil, err
	}
	details, ok := c.Args()[1].(*object.Dict)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "note_ wants a dict of details")
	}
	if t := turnOf(c); t != nil {
		t.events = append(t.events, Event{Kind: strOf(c.Args()[0]), Mission: c.Receiver(), Data: details})
	}
	return object.None{}, nil
}

// primEnd: end_(status, failure) closes the mission's books and settles who
// waits, in the transaction of the state that was entered. failure is None or
// {code, text}.
func (k *Kernel) primEnd(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 2); err != nil {
		return nil, err
	}
	t := turnOf(c)
	if t == nil {
		return nil, batos.Errorf(batos.Denied, "a mission cannot be ended in a trial")
	}
	d, err := loadDocket(c.Tx(), docketOID(c.Receiver()))
	if batos.CodeOf(err) == batos.NotFound {
		return object.None{}, nil // a workflow that no message waits for has no books
	}
	if err != nil {
		return nil, err
	}
	if !d.open() {
		return nil, batos.Errorf(batos.Conflict, "the mission is over: it is %s", d.State)
	}
	status := strOf(c.Args()[0])
	var failure *batos.Error
	switch status {
	case "complete":
		if d.Installed == 0 && !d.Superseded {
			return nil, batos.Errorf(batos.Denied, "the mission cannot be complete: nothing was installed by the gate")
		}
	case "cancelled":
	case "failed":
		failure = batos.Errorf(batos.MissionFailed, "no method could be proved for %q", d.Selector)
		if f := fieldsOf(c.Args()[1]); f.str("text") != "" {
			failure = &batos.Error{Code: missionCode(batos.Code(f.str("code"))), Text: f.str("text")}
		}
	default:
		return nil, batos.Errorf(batos.Invalid, "a mission ends as complete, failed or cancelled, not as %s", quote(status))
	}
	woken, ended, err := k.endMission(c.Tx(), d, status, failure)
	if err != nil {
		return nil, err
	}
	for _, oid := range k.touchedByEnd(d) {
		c.Vouch(oid)
	}
	t.woken, t.failed = append(t.woken, woken...), append(t.failed, ended...)
	return object.None{}, nil
}

// missionCode keeps the codes that a mission may answer its waiters with.
func missionCode(c batos.Code) batos.Code {
	switch c {
	case batos.Refused, batos.Offline, batos.Limit, batos.Timeout, batos.Covenant:
		return c
	}
	return batos.MissionFailed
}

// touchedByEnd lists the kernel's objects that the end of a mission writes.
func (k *Kernel) touchedByEnd(d *docket) []batos.OID {
	out := []batos.OID{docketOID(d.Cycle), batos.OID(k.roots.open), batos.OID(k.roots.live)}
	for _, id := range d.Waiting {
		out = append(out, recordOID(id))
	}
	return out
}
