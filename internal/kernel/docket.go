package kernel

import (
	"fmt"
	"sort"
	"strings"

	"batos"
	"batos/image"
	"batos/object"
)

// docket is what the kernel itself keeps of a mission: a sealed object beside
// the cycle, which is the workflow's. Who waits, what was inferred and what
// the trials said stands here, where no code of the image can write.
type docket struct {
	Cycle      batos.OID
	Key        string // joins equal missions, see missionKey
	Receiver   batos.OID
	Selector   batos.Selector
	Args       []byte // of the first message that was not understood, encoded
	Waiting    []batos.MessageID
	State      string // "open", "pending" (approval), "complete", "failed", "cancelled"
	Began      object.Time
	Ended      object.Time
	Err        *batos.Error
	Tokens     int64 // generated
	Prompted   int64 // read by the model
	Inferences []inference
	Trials     int64
	Verdicts   []batos.OID // of the newest trial, one for each waiting message
	Installed  int64       // version of the method that came of it
	Lift       batos.OID   // a parent that a person wants the method on, or 0
	Superseded bool        // the receiver got a method otherwise: nothing came of it
}

// inference is one answer of the model, as the kernel saw it.
type inference struct {
	Persona, Kind, Adapter, Model, Hash string
	Prompt, Answer                      string
	Tokens, PromptTokens                int64
	Millis                              int64
}

func docketOID(cycle batos.OID) batos.OID { return batos.DeriveOID("docket", cycle.String()) }

// missionKey is equal for messages that the same method would answer.
func missionKey(receiver batos.OID, sel batos.Selector, args int, kwargs []object.Slot) string {
	names := make([]string, len(kwargs))
	for i, kw := range kwargs {
		names[i] = kw.Name
	}
	sort.Strings(names)
	return fmt.Sprintf("%s %s/%d(%s)", receiver, sel, args, strings.Join(names, ","))
}

func (d *docket) state() *object.State {
	waiting := make([]string, len(d.Waiting))
	for i, id := range d.Waiting {
		waiting[i] = string(id)
	}
	verdicts := &object.List{}
	for _, v := range d.Verdicts {
		verdicts.Items = append(verdicts.Items, object.Ref(v))
	}
	inferences := &object.List{}
	for _, i := range d.Inferences {
		inferences.Items = append(inferences.Items, i.value())
	}
	s := []object.Slot{
		{Name: "kind", Value: object.Str("docket")},
		{Name: "cycle", Value: object.Ref(d.Cycle)},
		{Name: "key", Value: object.Str(d.Key)},
		{Name: "receiver", Value: object.Ref(d.Receiver)},
		{Name: "selector", Value: object.Str(d.Selector)},
		{Name: "waiting", Value: strList(waiting)},
		{Name: "state", Value: object.Str(d.State)},
		{Name: "began", Value: d.Began},
		{Name: "tokens", Value: object.NewInt(d.Tokens)},
		{Name: "prompt_tokens", Value: object.NewInt(d.Prompted)},
		{Name: "trials", Value: object.NewInt(d.Trials)},
		{Name: "inferences", Value: inferences},
		{Name: "verdicts", Value: verdicts},
		{Name: "installed", Value: object.NewInt(d.Installed)},
	}
	if len(d.Args) > 0 {
		s = append(s, object.Slot{Name: "args", Value: object.Bytes(d.Args)})
	}
	if d.Lift != 0 {
		s = append(s, object.Slot{Name: "lift", Value: object.Ref(d.Lift)})
	}
	if d.Superseded {
		s = append(s, object.Slot{Name: "superseded", Value: object.Bool(true)})
	}
	if d.Ended != 0 {
		s = append(s, object.Slot{Name: "ended", Value: d.Ended})
	}
	if d.Err != nil {
		s = append(s, object.Slot{Name: "code", Value: object.Str(d.Err.Code)}, object.Slot{Name: "error", Value: errorText(d.Err)})
	}
	return object.NewState(object.Sealed, batos.Genesis, s...)
}

func (i inference) value() *object.Dict {
	return new(dict).str("persona", i.Persona).str("kind", i.Kind).str("adapter", i.Adapter).str("model", i.Model).str("hash", i.Hash).
		str("prompt", i.Prompt).str("answer", i.Answer).int("tokens", i.Tokens).int("prompt_tokens", i.PromptTokens).
		int("milliseconds", i.Millis).value()
}

// loadDocket gives the docket at oid; not_found if there is none.
func loadDocket(tx *image.Tx, oid batos.OID) (*docket, error) {
	s, err := tx.Load(oid)
	if err != nil {
		return nil, err
	}
	get := func(name string) object.Value { v, _ := s.Slot(name); return v }
	if strOf(get("kind")) != "docket" {
		return nil, batos.Errorf(batos.NotFound, "%s is not a mission", oid)
	}
	d := &docket{
		Cycle: refOf(get("cycle")), Key: strOf(get("key")), Receiver: refOf(get("receiver")),
		Selector: batos.Selector(strOf(get("selector"))), State: strOf(get("state")), Lift: refOf(get("lift")),
		Tokens: intOf(get("tokens")), Prompted: intOf(get("prompt_tokens")), Trials: intOf(get("trials")), Installed: intOf(get("installed")),
	}
	args, _ := get("args").(object.Bytes)
	d.Args = []byte(args)
	superseded, _ := get("superseded").(object.Bool)
	d.Superseded = bool(superseded)
	d.Began, _ = get("began").(object.Time)
	d.Ended, _ = get("ended").(object.Time)
	for _, id := range stringsOf(get("waiting")) {
		d.Waiting = append(d.Waiting, batos.MessageID(id))
	}
	for _, v := range itemsOf(get("verdicts")) {
		d.Verdicts = append(d.Verdicts, refOf(v))
	}
	for _, v := range itemsOf(get("inferences")) {
		f := fieldsOf(v)
		d.Inferences = append(d.Inferences, inference{
			Persona: f.str("persona"), Kind: f.str("kind"), Adapter: f.str("adapter"), Model: f.str("model"), Hash: f.str("hash"), Prompt: f.str("prompt"), Answer: f.str("answer"),
			Tokens: f.int("tokens"), PromptTokens: f.int("prompt_tokens"), Millis: f.int("milliseconds"),
		})
	}
	if code := strOf(get("code")); code != "" {
		d.Err = &batos.Error{Code: batos.Code(code), Text: strOf(get("error"))}
	}
	return d, nil
}

func (d *docket) save(tx *image.Tx) error { return put(tx, docketOID(d.Cycle), d.state()) }

// open reports whether the mission can still do something.
func (d *docket) open() bool { return d.State == "open" || d.State == "pending" }
