package exec

import (
	"context"

	"go.starlark.net/starlark"

	"batos"
	"batos/image"
	"batos/internal/method"
	"batos/object"
)

// Call is one call of a [Primitive]. It is valid until the function returns
// and belongs to its goroutine.
type Call struct {
	x        *run
	receiver batos.OID
	selector batos.Selector
	args     []object.Value
	kwargs   []object.Slot
}

// Context is the run's context.
func (c *Call) Context() context.Context { return c.x.ctx }

// Tx is the run's transaction. It holds everything the run has written so far.
// Reads are free. What a primitive writes through it is the primitive's
// responsibility: it must [Call.Vouch] for the object, or the run fails as
// denied when it ends. It must not write a slot whose container running code
// may still hold: what the code changes in it later would win.
func (c *Call) Tx() *image.Tx { return c.x.tx }

// Receiver is the object that was sent to.
func (c *Call) Receiver() batos.OID { return c.receiver }

// Selector is the selector that was sent.
func (c *Call) Selector() batos.Selector { return c.selector }

// Args are the positional arguments.
func (c *Call) Args() []object.Value { return c.args }

// Kwargs are the named arguments in order.
func (c *Call) Kwargs() []object.Slot { return c.kwargs }

// Authority is the weakest author on the send stack.
func (c *Call) Authority() batos.Authority { return c.x.top().authority }

// Message is the message being carried out.
func (c *Call) Message() batos.Message { return c.x.req.Message }

// Trial reports whether a [Candidate] is being tried.
func (c *Call) Trial() bool { return c.x.req.Candidate != nil }

// Budget is what the lineage may still spend at this moment.
func (c *Call) Budget() Lineage { return c.x.req.Lineage.Less(c.x.used()) }

// Effect gives the journaled result of an effect, or suspends the run. The
// error must be returned at once.
func (c *Call) Effect(kind string, external bool, args object.Value) (object.Value, error) {
	return c.x.effect(kind, external, args)
}

// Inline is an effect that f carries out at once. Its result is recorded; an
// error is not. It is never external.
func (c *Call) Inline(kind string, args object.Value, f func() (object.Value, error)) (object.Value, error) {
	return c.x.inline(kind, args, f)
}

// Send sends within the run, as the code that called the primitive would.
func (c *Call) Send(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) (object.Value, error) {
	v, err := c.x.sendValues(recv, sel, args, kwargs)
	if err != nil {
		return nil, err
	}
	return v, c.x.flush() // so that Tx shows it
}

// SendLater puts a message into the outbox, with the authority of the code
// that called the primitive.
func (c *Call) SendLater(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) error {
	return c.x.post(recv, sel, args, kwargs)
}

// SetSlot writes a slot as the code that called the primitive would: the same
// checks, the same budget.
func (c *Call) SetSlot(oid batos.OID, name string, v object.Value) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.x.writable(oid, name); err != nil {
		return err
	}
	delete(c.x.held, method.Owner{OID: oid, Slot: name})
	return c.x.put(oid, name, v)
}

// RemoveSlot removes a slot as the code that called the primitive would, and
// reports whether the object had it.
func (c *Call) RemoveSlot(oid batos.OID, name string) (bool, error) { return c.x.remove(oid, name) }

// New makes an object with these slots, on the word of the code that called
// the primitive. That code may write it from then on; what genesis makes is
// protected.
func (c *Call) New(slots ...object.Slot) (batos.OID, error) { return c.x.create(slots) }

// Clone makes a copy of oid as the code that called the primitive would.
func (c *Call) Clone(oid batos.OID) (batos.OID, error) { return c.x.clone(oid) }

// Vouch says that the primitive itself decided that oid may be written or made
// through [Call.Tx].
func (c *Call) Vouch(oid batos.OID) { c.x.vouch(oid) }

// primitive is a [Primitive], or one of this package that works on the
// dialect's values.
type primitive struct {
	Primitive
	native func(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
}

// runPrimitive calls the function that a slot names, in the frame of the code
// that sent the message.
func (x *run) runPrimitive(recv batos.OID, sel batos.Selector, name object.Primitive, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	p, ok := x.runner.primitives[string(name)]
	if !ok {
		return nil, batos.Errorf(batos.NotFound, "%s is the primitive %s, which this release does not have", sel, name)
	}
	if p.native != nil {
		return p.native(x, recv, args, kwargs)
	}
	if p.Receiver != "" {
		if err := x.marked(recv, p.Receiver, name); err != nil {
			return nil, err
		}
	}
	if err := x.flush(); err != nil {
		return nil, err
	}
	c := &Call{x: x, receiver: recv, selector: sel}
	var err error
	if c.args, err = x.freezeAll(args); err != nil {
		return nil, err
	}
	if c.kwargs, err = x.freezeNamed(kwargs); err != nil {
		return nil, err
	}
	v, err := p.Fn(c)
	if err != nil {
		return nil, err
	}
	return x.vm.Thaw(v, method.Owner{})
}

// marked demands the marker of a primitive's receiver.
func (x *run) marked(recv batos.OID, marker string, name object.Primitive) error {
	_, holder, ok, err := x.tx.Lookup(recv, marker)
	if err != nil {
		return err
	}
	if ok {
		p, err := x.tx.Protection(holder)
		if err != nil {
			return err
		}
		if ok = p != object.Open; ok {
			return nil
		}
	}
	return batos.Errorf(batos.Refused, "primitive %s is not made for %s: it has no %s", name, x.Describe(recv), marker)
}
