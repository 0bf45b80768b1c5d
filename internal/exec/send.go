package exec

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/codec"
	"batos/internal/method"
	"batos/object"
)

// understanders are the selectors under which an object may say what happens
// to messages it has no method for.
var understanders = [...]string{"doesNotUnderstand_", "_doesNotUnderstand_"}

// Send implements [method.Effects].
func (x *run) Send(_ *method.Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if x.halted != nil {
		return nil, errHalted
	}
	if object.IsVolatile(string(sel)) {
		v, ok, err := x.volatileSlot(recv, string(sel))
		if err != nil || ok {
			return v, cmpErr(err, noArguments(sel, args, kwargs))
		}
		return x.misunderstood(recv, sel, args, kwargs)
	}
	v, holder, ok, err := answering(x.tx, x.lookup, x.lookupAfter, recv, sel)
	if err != nil {
		return nil, err
	}
	if !ok {
		return x.misunderstood(recv, sel, args, kwargs)
	}
	return x.apply(recv, holder, sel, v, args, kwargs)
}

// cmpErr is the first of two errors.
func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// apply is what a slot that look-up found does with a message.
func (x *run) apply(recv, holder batos.OID, sel batos.Selector, v object.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	switch v := v.(type) {
	case *object.Method:
		return x.runMethod(recv, holder, sel, v, args, kwargs)
	case object.Primitive:
		return x.runPrimitive(recv, sel, v, args, kwargs)
	}
	if err := noArguments(sel, args, kwargs); err != nil {
		return nil, err
	}
	if err := x.mayRead(holder); err != nil {
		return nil, err
	}
	return x.value(v, method.Owner{OID: holder, Slot: string(sel)})
}

func noArguments(sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) error {
	if len(args)+len(kwargs) > 0 {
		return batos.Errorf(batos.Arity, "%s is a data slot: it takes no arguments, and got %d", sel, len(args)+len(kwargs))
	}
	return nil
}

// runMethod runs m with self bound to recv, in a frame of its own.
func (x *run) runMethod(recv, holder batos.OID, sel batos.Selector, m *object.Method, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	p, err := x.program(m)
	if err != nil {
		return nil, err
	}
	caller := x.top()
	before := caller.authority
	f := frame{self: recv, holder: holder, selector: sel, authority: before.Weaker(m.Author)}
	if f.granted, err = x.granted(caller, f.authority, args, kwargs); err != nil {
		return nil, err
	}
	x.frames = append(x.frames, f)
	v, err := x.vm.Call(p, recv, args, kwargs)
	x.frames = x.frames[:len(x.frames)-1]
	if err == nil && f.authority < before && len(x.frames) > 1 {
		if err := passable(v, map[starlark.Value]bool{}); err != nil {
			return nil, err
		}
	}
	return v, err
}

// misunderstood tells the receiver that nobody has a method for a message.
func (x *run) misunderstood(recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	for _, name := range understanders {
		v, holder, ok, err := x.lookup(recv, name)
		if err != nil {
			return nil, err
		}
		if !ok || v.Kind() != object.KindMethod && v.Kind() != object.KindPrimitive {
			continue
		}
		named := starlark.NewDict(len(kwargs))
		for _, kv := range kwargs {
			if err := named.SetKey(kv[0], kv[1]); err != nil {
				return nil, err
			}
		}
		told := starlark.Tuple{starlark.String(sel), slices.Clone(args), named}
		return x.apply(recv, holder, batos.Selector(name), v, told, nil)
	}
	return nil, batos.Errorf(batos.DoesNotUnderstand, "%s does not understand %s", x.Describe(recv), sel)
}

// doesNotUnderstand is the primitive behind traits_obj's slots: it ends the
// run, so that the method can be written.
func doesNotUnderstand(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var positional starlark.Tuple
	named := starlark.NewDict(0)
	if err := starlark.UnpackArgs("doesNotUnderstand_", args, kwargs, "selector", &name, "args?", (*items)(&positional), "kwargs?", &named); err != nil {
		return nil, batos.Errorf(batos.Arity, "%s", err)
	}
	sel, err := batos.ParseSelector(name)
	if err != nil {
		return nil, err
	}
	if x.req.Lineage.Missions <= 0 && x.req.Candidate == nil {
		return nil, x.failure(batos.Errorf(batos.Limit, "%s does not understand %s, and the request's budget of missions is used up", x.Describe(recv), sel))
	}
	missing := &method.NotUnderstood{Receiver: recv, Selector: sel, Authority: x.top().authority}
	if missing.Args, err = x.freezeAll(positional); err != nil {
		return nil, err
	}
	for k, v := range named.Entries() {
		key, ok := starlark.AsString(k)
		if !ok {
			return nil, batos.Errorf(batos.Invalid, "kwargs of doesNotUnderstand_ must have text for keys, not %s", k.Type())
		}
		fv, err := x.vm.Freeze(v)
		if err != nil {
			return nil, err
		}
		missing.Kwargs = append(missing.Kwargs, object.Slot{Name: key, Value: fv})
	}
	_ = x.halt(halt{status: NotUnderstood, missing: missing})
	return nil, missing
}

// items unpacks a list or a tuple.
type items starlark.Tuple

func (t *items) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.Tuple:
		*t = items(v)
		return nil
	case *starlark.List:
		for i := range v.Len() {
			*t = append(*t, v.Index(i))
		}
		return nil
	}
	return batos.Errorf(batos.Invalid, "want a list, not a %s", v.Type())
}

func (x *run) freezeAll(vs []starlark.Value) ([]object.Value, error) {
	out := make([]object.Value, len(vs))
	for i, v := range vs {
		var err error
		if out[i], err = x.vm.Freeze(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (x *run) freezeNamed(kwargs []starlark.Tuple) ([]object.Slot, error) {
	out := make([]object.Slot, len(kwargs))
	for i, kv := range kwargs {
		name, _ := starlark.AsString(kv[0])
		v, err := x.vm.Freeze(kv[1])
		if err != nil {
			return nil, err
		}
		out[i] = object.Slot{Name: name, Value: v}
	}
	return out, nil
}

// sendValues is Send for arguments and an answer in stored form.
func (x *run) sendValues(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) (object.Value, error) {
	targs := make(starlark.Tuple, len(args))
	for i, a := range args {
		var err error
		if targs[i], err = x.vm.Thaw(a, method.Owner{}); err != nil {
			return nil, err
		}
	}
	var named []starlark.Tuple
	for _, s := range kwargs {
		v, err := x.vm.Thaw(s.Value, method.Owner{})
		if err != nil {
			return nil, err
		}
		named = append(named, starlark.Tuple{starlark.String(s.Name), v})
	}
	v, err := x.Send(x.vm, recv, sel, targs, named)
	if err != nil {
		return nil, err
	}
	return x.vm.Freeze(v)
}

// Resend implements [method.Effects].
func (x *run) Resend(_ *method.Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if x.halted != nil {
		return nil, errHalted
	}
	f := x.top()
	v, holder, ok, err := x.lookupAfter(f.self, f.holder, string(f.selector))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, batos.Errorf(batos.DoesNotUnderstand, "resend: no parent of %s has another %s", x.Describe(f.self), f.selector)
	}
	return x.apply(f.self, holder, f.selector, v, args, kwargs)
}

// SendLater implements [method.Effects].
func (x *run) SendLater(_ *method.Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) error {
	fargs, err := x.freezeAll(args)
	if err != nil {
		return err
	}
	named, err := x.freezeNamed(kwargs)
	if err != nil {
		return err
	}
	return x.post(recv, sel, fargs, named)
}

// post puts a message into the outbox. Its id follows from this message's, so
// that a run that is done again sends the same one.
func (x *run) post(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) error {
	if x.halted != nil {
		return errHalted
	}
	if _, err := batos.ParseSelector(string(sel)); err != nil {
		return err
	}
	m := &x.req.Message
	if len(x.outbox) >= x.req.Lineage.SendLater {
		return x.failure(spent("messages sent for later", x.req.Lineage.SendLater))
	}
	if m.Hop+1 > x.req.Lineage.Hops {
		return x.failure(batos.Errorf(batos.Limit, "a message sent for later may be at most %d hops from its request", x.req.Lineage.Hops))
	}
	for _, a := range args {
		if err := object.Check(a); err != nil {
			return err
		}
	}
	for _, kw := range kwargs {
		if err := object.Check(kw.Value); err != nil {
			return err
		}
	}
	data := codec.EncodeArgs(args, kwargs)
	if x.written += int64(len(data)); x.written > x.req.Lineage.Written {
		return x.failure(spent("bytes written", x.req.Lineage.Written))
	}
	f := x.top()
	sender := m.Sender
	if f.self != 0 {
		sender = f.self.String()
	}
	lineage := m.Lineage
	if lineage == "" {
		lineage = m.ID
	}
	x.outbox = append(x.outbox, batos.Message{
		ID: laterID(m.ID, len(x.outbox)), Lineage: lineage, Sender: sender,
		Target: recv, Selector: sel, Args: data, Authority: f.authority, Hop: m.Hop + 1,
	})
	return nil
}

// laterID names the n-th message that a message sends for later. The ids that
// clients choose have no slash, so none of them can be this one.
func laterID(id batos.MessageID, n int) batos.MessageID {
	buf := append([]byte(id), 0)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(buf, uint64(n)))
	return batos.MessageID("later/" + hex.EncodeToString(sum[:16]))
}
