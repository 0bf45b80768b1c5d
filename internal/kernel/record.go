package kernel

import (
	"strings"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

// record is what the image keeps of a message: a sealed object whose OID is
// derived from the message's id, so that it is found without an index. Its
// slots are the message, its state, the journal of effects so far and, in the
// end, the outcome.
//
// A message that only read leaves no record.
type record struct {
	batos.Message
	Cycle     batos.OID // the mission it is part of, or 0
	Synthesis bool      // may it start a mission?
	State     batos.MessageState
	Received  object.Time
	Journal   []exec.Effect
	Waits     batos.OID // docket of the mission it is parked for
	Verdict   batos.OID // the trial that let its method in
	Left      exec.Lineage
	Value     object.Value
	Err       *batos.Error
	Finished  object.Time
}

func recordOID(id batos.MessageID) batos.OID { return batos.DeriveOID("message", string(id)) }

func (r *record) state() *object.State {
	s := []object.Slot{
		{Name: "kind", Value: object.Str("message")},
		{Name: "id", Value: object.Str(r.ID)},
		{Name: "lineage", Value: object.Str(r.Lineage)},
		{Name: "sender", Value: object.Str(r.Sender)},
		{Name: "target", Value: object.Ref(r.Target)},
		{Name: "selector", Value: object.Str(r.Selector)},
		{Name: "args", Value: object.Bytes(r.Args)},
		{Name: "authority", Value: object.Str(r.Authority.String())},
		{Name: "hop", Value: object.NewInt(int64(r.Hop))},
		{Name: "state", Value: object.Str(r.State)},
		{Name: "received", Value: r.Received},
	}
	put := func(name string, v object.Value) { s = append(s, object.Slot{Name: name, Value: v}) }
	if r.Cycle != 0 {
		put("mission", object.Ref(r.Cycle))
	}
	if r.Synthesis {
		put("synthesis", object.Bool(true))
	}
	if len(r.Journal) > 0 {
		put("journal", journalValue(r.Journal))
	}
	if r.Waits != 0 {
		put("waits", object.Ref(r.Waits))
	}
	if r.Verdict != 0 {
		put("verdict", object.Ref(r.Verdict))
	}
	if !r.State.Final() {
		put("left", leftValue(r.Left))
	}
	if r.Value != nil {
		put("value", r.Value)
	}
	if r.Err != nil {
		put("code", object.Str(r.Err.Code))
		put("error", errorText(r.Err))
	}
	if r.Finished != 0 {
		put("finished", r.Finished)
	}
	return object.NewState(object.Sealed, r.Authority, s...)
}

func recordOf(s *object.State) (*record, error) {
	get := func(name string) object.Value { v, _ := s.Slot(name); return v }
	if strOf(get("kind")) != "message" {
		return nil, batos.Errorf(batos.Corrupt, "a message's record is not one: it is a %s", strOf(get("kind")))
	}
	authority, err := batos.ParseAuthority(strOf(get("authority")))
	if err != nil {
		return nil, err
	}
	args, _ := get("args").(object.Bytes)
	received, _ := get("received").(object.Time)
	finished, _ := get("finished").(object.Time)
	synthesis, _ := get("synthesis").(object.Bool)
	journal, err := journalOf(get("journal"))
	if err != nil {
		return nil, err
	}
	r := &record{
		Message: batos.Message{
			ID: batos.MessageID(strOf(get("id"))), Lineage: batos.MessageID(strOf(get("lineage"))), Sender: strOf(get("sender")),
			Target: refOf(get("target")), Selector: batos.Selector(strOf(get("selector"))), Args: []byte(args),
			Authority: authority, Hop: int(intOf(get("hop"))),
		},
		Cycle: refOf(get("mission")), Synthesis: bool(synthesis), State: batos.MessageState(strOf(get("state"))),
		Received: received, Journal: journal, Waits: refOf(get("waits")), Verdict: refOf(get("verdict")),
		Left: leftOf(get("left")), Value: get("value"), Finished: finished,
	}
	if code := strOf(get("code")); code != "" {
		r.Err = &batos.Error{Code: batos.Code(code), Text: strOf(get("error"))}
	}
	return r, nil
}

// loadRecord gives the record of a message, or nil if it has none.
func loadRecord(tx *image.Tx, id batos.MessageID) (*record, error) {
	s, err := tx.Load(recordOID(id))
	if batos.CodeOf(err) == batos.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := recordOf(s)
	if err == nil && r.ID != id {
		return nil, batos.Errorf(batos.Conflict, "message id %s cannot be used: it falls together with %s", id, r.ID)
	}
	return r, err
}

// save writes r, new or not.
func (r *record) save(tx *image.Tx) error { return put(tx, recordOID(r.ID), r.state()) }

// put writes a whole object of the kernel.
func put(tx *image.Tx, oid batos.OID, s *object.State) error {
	exists, err := tx.Exists(oid)
	if err != nil {
		return err
	}
	if !exists {
		return tx.CreateAt(oid, s)
	}
	old, err := tx.Load(oid)
	if err != nil {
		return err
	}
	for _, slot := range s.Slots() {
		if err := tx.SetSlot(oid, slot.Name, slot.Value); err != nil {
			return err
		}
	}
	for _, slot := range old.Slots() {
		if _, keep := s.Slot(slot.Name); !keep {
			if err := tx.DeleteSlot(oid, slot.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxErrorText bounds what is kept of an error's text, in bytes.
const maxErrorText = 16 << 10

// errorText is an error's text as it can be kept: code may raise any bytes.
func errorText(e *batos.Error) object.Str {
	text := e.Text
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return object.Str(strings.ToValidUTF8(text, "\uFFFD"))
}

func journalValue(js []exec.Effect) object.Value {
	l := &object.List{}
	for _, e := range js {
		result := e.Result
		if result == nil {
			result = object.None{}
		}
		code, text := "", ""
		if e.Err != nil {
			code, text = string(e.Err.Code), string(errorText(e.Err))
		}
		l.Items = append(l.Items, &object.Tuple{Items: []object.Value{
			object.Str(e.Kind), object.Bytes(e.Key[:]), object.Bool(e.External), result, object.Str(code), object.Str(text),
		}})
	}
	return l
}

func journalOf(v object.Value) ([]exec.Effect, error) {
	var out []exec.Effect
	for _, it := range itemsOf(v) {
		f := itemsOf(it)
		if len(f) != 6 {
			return nil, batos.Errorf(batos.Corrupt, "a message's journal has an entry of %d fields instead of 6", len(f))
		}
		e := exec.Effect{Kind: strOf(f[0]), Result: f[3]}
		key, _ := f[1].(object.Bytes)
		copy(e.Key[:], key)
		external, _ := f[2].(object.Bool)
		e.External = bool(external)
		if code := strOf(f[4]); code != "" {
			e.Err = &batos.Error{Code: batos.Code(code), Text: strOf(f[5])}
		}
		out = append(out, e)
	}
	return out, nil
}
