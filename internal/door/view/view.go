// Package view writes what the kernel tells in the form of package wire, for
// every door that speaks JSON.
package view

import (
	"fmt"

	"batos"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// textWidth bounds a slot's text for people, in characters.
const textWidth = 200

// Object is the wire form of an object that was inspected.
func Object(in *kernel.Inspection) wire.Object {
	out := wire.Object{
		OID: in.OID.String(), Name: in.Name, TID: in.TID.String(), Protection: protections[in.Protection], Creator: in.Creator.String(),
		Parents: []string{}, Slots: []wire.Slot{}, Methods: []wire.Method{},
	}
	for _, p := range in.Parents {
		out.Parents = append(out.Parents, p.Name)
	}
	for _, slot := range in.State.Slots() {
		m, ok := slot.Value.(*object.Method)
		if !ok {
			text := object.Text(slot.Value, textWidth)
			if ref, isRef := slot.Value.(object.Ref); isRef {
				text = fmt.Sprintf("<%s %s>", batos.OID(ref), in.Names[batos.OID(ref)])
			}
			out.Slots = append(out.Slots, wire.Slot{Name: slot.Name, Kind: slot.Value.Kind().String(), Value: wire.Value{Value: slot.Value}, Text: text})
			continue
		}
		wm := wire.MethodOf(m)
		wm.TID = out.TID
		if p := in.Provenance[m.Selector]; p != nil {
			d := &object.Dict{}
			for _, ps := range p.Slots() {
				d.Entries = append(d.Entries, object.Entry{Key: object.Str(ps.Name), Value: ps.Value})
			}
			wm.Provenance = &wire.Value{Value: d}
		}
		out.Methods = append(out.Methods, wm)
	}
	return out
}

var protections = map[object.Protection]string{object.Open: "open", object.Protected: "protected", object.Sealed: "sealed"}

// Mission is the wire form of a mission.
func Mission(m kernel.Mission) wire.Mission {
	out := wire.Mission{
		OID: m.OID.String(), Receiver: m.Receiver.String(), Name: m.ReceiverName, Selector: string(m.Selector), State: m.State, Status: m.Status,
		Began: m.Began.AsTime(), Attempts: m.Attempts, Inferences: m.Inferences, Tokens: m.Tokens, PromptTokens: m.PromptTokens,
		Waiting: []string{}, Version: m.Version, Gone: m.Gone,
	}
	if m.Ended != 0 {
		t := m.Ended.AsTime()
		out.Ended = &t
	}
	for _, id := range m.Waiting {
		out.Waiting = append(out.Waiting, string(id))
	}
	if m.Err != nil {
		out.Error = &wire.Error{Code: m.Err.Code, Message: m.Err.Text}
	}
	if m.Data != nil {
		out.Data = &wire.Value{Value: m.Data}
	}
	if m.Brief != nil {
		out.Brief = &wire.Value{Value: m.Brief}
	}
	return out
}

// Outcome is the wire form of what became of a message.
func Outcome(o kernel.Outcome) wire.Outcome {
	out := wire.Outcome{ID: string(o.ID), State: string(o.State)}
	if o.Value != nil {
		out.Value = &wire.Value{Value: o.Value}
	}
	if o.Err != nil {
		out.Error = &wire.Error{Code: o.Err.Code, Message: o.Err.Text}
	}
	if o.Mission != 0 {
		out.Mission = o.Mission.String()
	}
	return out
}

// Event is the wire form of a kernel's event.
func Event(e kernel.Event) wire.Event {
	out := wire.Event{Seq: e.Seq, Time: e.Time, Kind: e.Kind, Message: string(e.Message), Data: wire.Value{Value: object.None{}}}
	if e.Mission != 0 {
		out.Mission = e.Mission.String()
	}
	if e.Data != nil {
		out.Data = wire.Value{Value: e.Data}
	}
	return out
}
