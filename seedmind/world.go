package seedmind

import (
	"context"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
	"batos/object"
)

// World is one object in memory that methods are tried on. It has slots and
// nothing else: no parents, no other objects, no clock.
type World struct {
	names  []string
	values map[string]object.Value
	thawed map[string]starlark.Value
}

const worldOID batos.OID = 1

// NewWorld makes an empty world.
func NewWorld() *World { return &World{} }

// Call runs a method on an object with these slots. It answers the result and
// the slots as they are then.
func (w *World) Call(ctx context.Context, p *method.Program, slots []object.Slot, args []object.Value) (object.Value, []object.Slot, error) {
	w.names = w.names[:0]
	w.values, w.thawed = map[string]object.Value{}, map[string]starlark.Value{}
	for _, s := range slots {
		w.names = append(w.names, s.Name)
		w.values[s.Name] = s.Value
	}
	run := method.NewRun(ctx, w, method.Limits{Steps: 500_000, Bytes: 8 << 20})
	tuple := make(starlark.Tuple, len(args))
	for i, a := range args {
		v, err := run.Thaw(a, method.Owner{})
		if err != nil {
			return nil, nil, err
		}
		tuple[i] = v
	}
	answer, err := run.Call(p, worldOID, tuple, nil)
	if err != nil {
		return nil, nil, err
	}
	result, err := run.Freeze(answer)
	if err != nil {
		return nil, nil, err
	}
	var after []object.Slot
	for _, name := range w.names {
		v := w.values[name]
		if t, ok := w.thawed[name]; ok {
			if v, err = run.Freeze(t); err != nil {
				return nil, nil, err
			}
		}
		after = append(after, object.Slot{Name: name, Value: v})
	}
	return result, after, nil
}

func (w *World) Get(r *method.Run, recv batos.OID, name string) (starlark.Value, bool, error) {
	if v, ok := w.thawed[name]; ok {
		return v, true, nil
	}
	v, ok := w.values[name]
	if !ok || recv != worldOID {
		return nil, false, nil
	}
	t, err := r.Thaw(v, method.Owner{OID: recv, Slot: name})
	if err != nil {
		return nil, false, err
	}
	w.thawed[name] = t
	return t, true, nil
}

func (w *World) Set(r *method.Run, recv batos.OID, name string, v starlark.Value) error {
	if recv != worldOID {
		return batos.Errorf(batos.Denied, "only the object itself may be changed")
	}
	if _, ok := w.values[name]; !ok {
		w.names = append(w.names, name)
		w.values[name] = object.None{}
	}
	w.thawed[name] = v
	return r.Adopt(v, method.Owner{OID: recv, Slot: name})
}

func (w *World) Send(_ *method.Run, recv batos.OID, sel batos.Selector, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return nil, &method.NotUnderstood{Receiver: recv, Selector: sel}
}

func (w *World) Resend(*method.Run, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return nil, batos.Errorf(batos.DoesNotUnderstand, "there is no other method")
}

func (w *World) Clone(*method.Run, batos.OID) (batos.OID, error) {
	return 0, batos.Errorf(batos.Denied, "nothing can be cloned here")
}

func (w *World) SendLater(*method.Run, batos.OID, batos.Selector, starlark.Tuple, []starlark.Tuple) error {
	return batos.Errorf(batos.Denied, "nothing can be sent from here")
}

func (w *World) Root(*method.Run, string) (batos.OID, bool, error) { return 0, false, nil }

func (w *World) Now(*method.Run) (object.Time, error) { return 0, nil }

func (w *World) Random(*method.Run) (float64, error) { return 0, nil }

// Changed needs no note: Call freezes every container that was thawed.
func (w *World) Changed(*method.Run, method.Owner) error { return nil }

func (w *World) Open(*method.Run, object.Value) (method.Handle, error) {
	return nil, batos.Errorf(batos.Denied, "there are no trees and blobs here")
}

func (w *World) Describe(batos.OID) string { return "the object" }
