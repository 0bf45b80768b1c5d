package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/internal/guardian"
	"batos/internal/quarantine"
	"batos/object"
)

// The gate is the one way for generated code into a slot. Its stages are the
// Guardian's audit, a trial of the very messages that wait, in a process of
// its own, and where a protected object is concerned a person's approval. Its
// findings are sealed objects made by the kernel, bound by a hash to source,
// receiver, selector, message and snapshot: a workflow can ask for the gate,
// go through it or fail at it, and do nothing else with it.

// verdict is the kernel's record of one trial.
type verdict struct {
	OID         batos.OID
	OK          bool
	Partial     bool // the message did not come to its end, by no fault of the method
	Docket      batos.OID
	Receiver    batos.OID
	Selector    batos.Selector
	Message     batos.MessageID
	Bound       [32]byte // quarantine.Bind of all that it is about
	Snapshot    batos.TID
	Answer      object.Value
	Err         *batos.Error
	Fingerprint [32]byte // of what the trial would have changed
	Reads       [32]byte // digest of what it read
	Effects     []exec.Effect
	Checked     []string // what it was held against beside the message, in words
}

func (v *verdict) state() *object.State {
	s := []object.Slot{
		{Name: "kind", Value: object.Str("verdict")},
		{Name: "ok", Value: object.Bool(v.OK)},
		{Name: "partial", Value: object.Bool(v.Partial)},
		{Name: "docket", Value: object.Ref(v.Docket)},
		{Name: "receiver", Value: object.Ref(v.Receiver)},
		{Name: "selector", Value: object.Str(v.Selector)},
		{Name: "message", Value: object.Str(v.Message)},
		{Name: "bound", Value: object.Bytes(v.Bound[:])},
		{Name: "snapshot", Value: object.Str(v.Snapshot.String())},
		{Name: "fingerprint", Value: object.Bytes(v.Fingerprint[:])},
		{Name: "reads", Value: object.Bytes(v.Reads[:])},
		{Name: "effects", Value: journalValue(v.Effects)},
	}
	if len(v.Checked) > 0 {
		s = append(s, object.Slot{Name: "checked", Value: strList(v.Checked)})
	}
	if v.Answer != nil {
		s = append(s, object.Slot{Name: "answer", Value: v.Answer})
	}
	if v.Err != nil {
		s = append(s, object.Slot{Name: "code", Value: object.Str(v.Err.Code)}, object.Slot{Name: "error", Value: errorText(v.Err)})
	}
	return object.NewState(object.Sealed, batos.Genesis, s...)
}

func loadVerdict(tx *image.Tx, oid batos.OID) (*verdict, error) {
	s, err := tx.Load(oid)
	if err != nil {
		return nil, err
	}
	get := func(name string) object.Value { v, _ := s.Slot(name); return v }
	if s.Protection != object.Sealed || strOf(get("kind")) != "verdict" {
		return nil, batos.Errorf(batos.Denied, "%s is not a verdict of the gate", oid)
	}
	v := &verdict{OID: oid, Docket: refOf(get("docket")), Receiver: refOf(get("receiver")), Selector: batos.Selector(strOf(get("selector"))), Message: batos.MessageID(strOf(get("message"))), Answer: get("answer")}
	ok, _ := get("ok").(object.Bool)
	v.OK = bool(ok)
	v.Checked = stringsOf(get("checked"))
	partial, _ := get("partial").(object.Bool)
	v.Partial = bool(partial)
	if v.Snapshot, err = batos.ParseTID(strOf(get("snapshot"))); err != nil {
		return nil, err
	}
	for name, to := range map[string]*[32]byte{"bound": &v.Bound, "fingerprint": &v.Fingerprint, "reads": &v.Reads} {
		b, _ := get(name).(object.Bytes)
		copy(to[:], b)
	}
	if v.Effects, err = journalOf(get("effects")); err != nil {
		return nil, err
	}
	if code := strOf(get("code")); code != "" {
		v.Err = &batos.Error{Code: batos.Code(code), Text: strOf(get("error"))}
	}
	return v, nil
}

// verdict reads a verdict in a transaction of its own, so that the message it
// is about has not read it.
func (k *Kernel) verdict(oid batos.OID) (v *verdict, err error) {
	err = k.im.View(k.live(), func(tx *image.Tx) error {
		v, err = loadVerdict(tx, oid)
		return err
	})
	return v, err
}

// verdictFor is the newest verdict on the message, or nil if it has none.
func (k *Kernel) verdictFor(tx *image.Tx, d *docket, id batos.MessageID) (*verdict, error) {
	for _, oid := range d.Verdicts {
		v, err := loadVerdict(tx, oid)
		if err != nil {
			return nil, err
		}
		if v.Message == id {
			return v, nil
		}
	}
	return nil, nil
}

// auditOf asks the Guardian about source as a method of selector.
func auditOf(source string, sel batos.Selector) error {
	report, err := guardian.Audit(source, guardian.Options{Selector: sel, Generated: true})
	if err != nil {
		return err
	}
	return report.Err()
}

// primAudit: audit_(cycle, source) answers {ok, code, error}.
func (k *Kernel) primAudit(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 2); err != nil {
		return nil, err
	}
	d, err := loadDocket(c.Tx(), docketOID(refOf(c.Args()[0])))
	if err != nil {
		return nil, err
	}
	return verdictDict(auditOf(strOf(c.Args()[1]), d.Selector), nil, 0), nil
}

func verdictDict(err error, answer object.Value, verdict batos.OID, checked ...string) *object.Dict {
	d := new(dict)
	if err != nil {
		e := asError(err, batos.Refused)
		d.bool("ok", false).str("code", string(e.Code)).str("error", e.Text)
	} else {
		d.bool("ok", true).str("code", "").str("error", "")
	}
	if answer == nil {
		answer = object.None{}
	}
	return d.str("answer", object.Text(answer, 400)).ref("verdict", verdict).set("checks", strList(checked)).value()
}

// primTrial: try_(cycle, source, expectations) has the source tried and
// answers {ok, code, error, answer, verdict, checks}. The expectations are what
// another persona wrote without having seen the source: {tests, second_opinion}.
func (k *Kernel) primTrial(c *exec.Call) (object.Value, error) {
	if n := len(c.Args()); n != 2 {
		if err := ofWorkflow(c, 3); err != nil {
			return nil, err
		}
	} else if err := ofWorkflow(c, 2); err != nil {
		return nil, err
	}
	args := new(dict).set("cycle", c.Args()[0]).set("source", c.Args()[1])
	if len(c.Args()) == 3 {
		args.set("expectations", c.Args()[2])
	}
	return c.Effect(exec.EffectTrial, false, args.value())
}

// maxTried bounds how many of the messages that wait are tried before the
// install. Each takes a process of its own.
const maxTried = 8

// trial runs the candidate on every message that waits for it, one after the
// other, each in a fresh child process over one snapshot. It holds if it
// holds for the first of them; a later one whose own trial fails gets its own
// error when the mission ends.
func (k *Kernel) trial(ctx context.Context, f *flight, args object.Value, seq int) (object.Value, func(*image.Tx) error, error) {
	in := fieldsOf(args)
	cycle, source := in.ref("cycle"), in.str("source")
	if f.rec.Cycle != cycle {
		return nil, nil, batos.Errorf(batos.Denied, "a mission may have only its own method tried")
	}
	snap, err := k.im.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer snap.Close()
	var d *docket
	var waiting []*record
	err = k.im.View(ctx, func(tx *image.Tx) error {
		if d, err = loadDocket(tx, docketOID(cycle)); err != nil {
			return err
		}
		waiting = nil
		for _, id := range d.Waiting {
			rec, err := loadRecord(tx, id)
			if err != nil {
				return err
			}
			if rec != nil && rec.State == batos.Parked {
				waiting = append(waiting, rec)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(waiting) == 0 {
		return nil, nil, batos.Errorf(batos.Cancelled, "nobody waits for the mission any more")
	}
	plan, err := k.planOf(ctx, snap, d, expectationsOf(in.get("expectations")))
	if err != nil {
		return nil, nil, err
	}
	var verdicts []*verdict
	for i, rec := range waiting {
		if i == maxTried {
			break // the rest go on after the install, as if they had come then
		}
		probed := plan
		if i > 0 {
			probed = nil
		}
		v, err := k.tryOne(ctx, f, snap, d, rec, source, probed)
		if err != nil {
			return nil, nil, err
		}
		v.OID = batos.DeriveOID("verdict", fmt.Sprintf("%s/%d/%d", f.rec.ID, seq, i))
		verdicts = append(verdicts, v)
		if i == 0 && !v.OK {
			break // nothing will be installed
		}
	}
	book := func(tx *image.Tx) error {
		d, err := loadDocket(tx, docketOID(cycle))
		if err != nil {
			return err
		}
		d.Verdicts = nil
		d.Trials++
		for _, v := range verdicts {
			if err := put(tx, v.OID, v.state()); err != nil {
				return err
			}
			d.Verdicts = append(d.Verdicts, v.OID)
		}
		return d.save(tx)
	}
	first := verdicts[0]
	if first.Err != nil {
		return verdictDict(first.Err, nil, first.OID, first.Checked...), book, nil
	}
	return verdictDict(nil, first.Answer, first.OID, first.Checked...), book, nil
}

// needsApproval reports whether a person must agree to an install: generated
// code on a protected object, unless the object lists the selector.
func needsApproval(tx *image.Tx, receiver batos.OID, sel batos.Selector) (bool, error) {
	p, err := tx.Protection(receiver)
	if err != nil || p == object.Open {
		return false, err
	}
	v, _, err := tx.Slot(receiver, exec.SelfWritten)
	if err != nil {
		return false, err
	}
	for _, s := range stringsOf(v) {
		if s == string(sel) {
			return false, nil
		}
	}
	return true, nil
}

// primNeedsApproval: needs_approval_(cycle, doubt) tells whether a person
// decides, for the object's sake or because the model was in doubt, and if so
// lets who waits know.
func (k *Kernel) primNeedsApproval(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, max(1, min(2, len(c.Args())))); err != nil {
		return nil, err
	}
	d, err := loadDocket(c.Tx(), docketOID(refOf(c.Args()[0])))
	if err != nil {
		return nil, err
	}
	needs, err := needsApproval(c.Tx(), d.Receiver, d.Selector)
	if err != nil {
		return nil, err
	}
	needs = needs || len(c.Args()) == 2 && strOf(c.Args()[1]) != ""
	if needs && d.State == "open" {
		d.State = "pending"
		if err := d.save(c.Tx()); err != nil {
			return nil, err
		}
		c.Vouch(docketOID(d.Cycle))
		if t := turnOf(c); t != nil {
			t.ask, t.cycle = append(t.ask, d.Waiting...), d.Cycle
		}
	}
	return object.Bool(needs), nil
}

// primInstall: install_(cycle, attempt) puts the attempt's source into the
// receiver's slot, with its provenance, if the gate's own records allow it.
func (k *Kernel) primInstall(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 2); err != nil {
		return nil, err
	}
	tx := c.Tx()
	t := turnOf(c)
	if t == nil {
		return nil, batos.Errorf(batos.Denied, "nothing is installed in a trial")
	}
	cycle := refOf(c.Args()[0])
	attempt := fieldsOf(c.Args()[1])
	source := attempt.str("source")
	d, err := loadDocket(tx, docketOID(cycle))
	if err != nil {
		return nil, err
	}
	if !d.open() || d.Installed != 0 {
		return nil, batos.Errorf(batos.Denied, "the mission is over; it can install nothing more")
	}
	if _, _, found, err := exec.Answering(tx, d.Receiver, d.Selector); err != nil {
		return nil, err
	} else if found {
		return object.NewInt(0), k.supersede(c, d)
	}
	v, err := loadVerdict(tx, attempt.ref("verdict"))
	if err != nil {
		return nil, batos.Errorf(batos.Denied, "the method has no verdict of the gate: %w", err)
	}
	known := false
	for _, oid := range d.Verdicts {
		known = known || oid == v.OID
	}
	switch {
	case !known || v.Docket != docketOID(cycle):
		return nil, batos.Errorf(batos.Denied, "the verdict %s is not the newest of this mission", v.OID)
	case !v.OK:
		return nil, batos.Errorf(batos.Denied, "the gate turned this method down: %s", v.Err)
	case v.Bound != quarantine.Bind(source, d.Receiver, d.Selector, v.Message, v.Snapshot):
		return nil, batos.Errorf(batos.Denied, "the verdict %s is about another method", v.OID)
	}
	if err := auditOf(source, d.Selector); err != nil {
		return nil, err
	}
	needs, err := needsApproval(tx, d.Receiver, d.Selector)
	if err != nil {
		return nil, err
	}
	needs = needs || attempt.str("doubt") != ""
	holder := d.Receiver
	if d.Lift != 0 {
		needs = true // on a parent it is for others too
		if err := mayLift(tx, d.Receiver, d.Lift); err != nil {
			return nil, err
		}
		holder = d.Lift
	}
	if needs && c.Message().Authority < batos.Person {
		return nil, batos.Errorf(batos.Denied, "a person must approve a method on a protected object, or one that its model doubts")
	}
	approver := ""
	if needs {
		approver = c.Message().Sender
	}
	provenance, err := k.provenance(tx, d, v, source, approver)
	if err != nil {
		return nil, err
	}
	m := &object.Method{
		Selector: d.Selector, Source: source, Author: batos.Persona, AuthorName: "BRICK", Mission: d.Cycle, Provenance: provenance,
	}
	if err := exec.Install(tx, holder, m); err != nil {
		return nil, err
	}
	installed, _, err := tx.Slot(holder, string(d.Selector))
	if err != nil {
		return nil, err
	}
	if im, ok := installed.(*object.Method); ok {
		d.Installed = int64(max(1, im.Version))
	}
	if err := d.save(tx); err != nil {
		return nil, err
	}
	p := probation{Holder: holder, Selector: d.Selector, Version: d.Installed, Mission: d.Cycle, State: "probation"}
	if err := p.save(tx); err != nil {
		return nil, err
	}
	for _, oid := range []batos.OID{docketOID(cycle), provenance, holder, probationOID(holder, d.Selector)} {
		c.Vouch(oid)
	}
	t.events = append(t.events, Event{Kind: "installed", Mission: cycle, Data: new(dict).str("selector", string(d.Selector)).
		str("source", source).int("version", d.Installed).value()})
	return object.NewInt(d.Installed), nil
}

// supersede lets a mission end well that has nothing to install: a person, or
// another mission, gave the object the method meanwhile, and generated code
// does not take its place. Who waits goes on with what is there; the verdicts
// were about something else.
func (k *Kernel) supersede(c *exec.Call, d *docket) error {
	d.Superseded, d.Verdicts = true, nil
	c.Vouch(docketOID(d.Cycle))
	return d.save(c.Tx())
}

// provenance writes down where a method comes from: what the kernel itself
// saw of prompt, model, adapter and trials.
func (k *Kernel) provenance(tx *image.Tx, d *docket, v *verdict, source, approver string) (batos.OID, error) {
	_, _, info, _ := k.core.use() // an approval may come while the core is offline: the docket knows the model
	var last inference
	for _, i := range d.Inferences { // the author's, not the one who checked
		if i.Kind != secondOpinion && i.Kind != "tests" || last.Model == "" {
			last = i
		}
	}
	if last.Model == "" {
		last.Model, last.Hash = info.ModelID, info.Hash
	}
	sum := sha256.Sum256([]byte(source))
	var passed []object.Value
	for _, oid := range d.Verdicts {
		passed = append(passed, object.Ref(oid))
	}
	slots := []object.Slot{
		{Name: "kind", Value: object.Str("provenance")},
		{Name: "mission", Value: object.Ref(d.Cycle)},
		{Name: "receiver", Value: object.Ref(d.Receiver)},
		{Name: "selector", Value: object.Str(d.Selector)},
		{Name: "source_hash", Value: object.Str(hex.EncodeToString(sum[:]))},
		{Name: "persona", Value: object.Str(last.Persona)},
		{Name: "model", Value: object.Str(last.Model)},
		{Name: "model_hash", Value: object.Str(last.Hash)},
		{Name: "adapter", Value: object.Str(last.Adapter)},
		{Name: "prompt", Value: object.Str(last.Prompt)},
		{Name: "answer", Value: object.Str(last.Answer)},
		{Name: "tokens", Value: object.NewInt(d.Tokens)},
		{Name: "prompt_tokens", Value: object.NewInt(d.Prompted)},
		{Name: "inferences", Value: object.NewInt(int64(len(d.Inferences)))},
		{Name: "trials", Value: object.NewInt(d.Trials)},
		{Name: "verdicts", Value: &object.List{Items: append([]object.Value{object.Str("Guardian: passed")}, passed...)}},
		{Name: "snapshot", Value: object.Str(v.Snapshot.String())},
		{Name: "installed", Value: k.now()},
	}
	if approver != "" {
		slots = append(slots, object.Slot{Name: "approved_by", Value: object.Str(approver)})
	}
	oid := batos.DeriveOID("provenance", d.Cycle.String())
	return oid, put(tx, oid, object.NewState(object.Sealed, batos.Genesis, slots...))
}

// compareWithTrial makes sure that a message does in earnest what it did in
// its trial, as long as it saw the same: a method whose effect depends on
// being watched is turned down before it commits.
func (k *Kernel) compareWithTrial(tx *image.Tx, f *flight, outbox []batos.Message) error {
	if f.rec.Verdict == 0 {
		return nil
	}
	v, err := k.verdict(f.rec.Verdict)
	if err != nil || v.Partial {
		return err
	}
	if tx.ReadDigest(image.Place{OID: v.Receiver, Slot: string(v.Selector)}) != v.Reads {
		return nil
	}
	changes, err := tx.Changes()
	if err != nil {
		return err
	}
	did, err := quarantine.Fingerprint(changes, outbox)
	if err != nil {
		return err
	}
	if did != v.Fingerprint {
		return batos.Errorf(batos.Refused, "%q did something else than in its trial, on the same objects; nothing was changed", f.rec.Selector)
	}
	return nil
}
