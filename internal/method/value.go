package method

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
	"batos/object"
)

// Object is a reference to an object inside one run. Reading an attribute
// reads a slot through delegation, assigning one sets a slot, calling one
// sends a message. Two references to the same object are equal.
type Object struct {
	run *Run
	oid batos.OID
}

var (
	_ starlark.HasSetField = (*Object)(nil)
	_ starlark.Comparable  = (*Object)(nil)
	_ starlark.Callable    = (*Bound)(nil)
	_ starlark.HasBinary   = Time(0)
	_ starlark.Mapping     = (*Opaque)(nil)
	_ starlark.HasSetKey   = (*Opaque)(nil)
)

// OID is the object referred to.
func (o *Object) OID() batos.OID       { return o.oid }
func (o *Object) String() string       { return "<" + o.run.effects.Describe(o.oid) + ">" }
func (o *Object) Type() string         { return "object" }
func (o *Object) Freeze()              {}
func (o *Object) Truth() starlark.Bool { return true }
func (o *Object) AttrNames() []string  { return nil }
func (o *Object) Hash() (uint32, error) {
	h := fnv.New32a()
	var b [8]byte
	for i := range b {
		b[i] = byte(o.oid >> (8 * i))
	}
	_, _ = h.Write(b[:]) // a hash never fails
	return h.Sum32(), nil
}

// CompareSameType compares identity; objects have no order.
func (o *Object) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	return identical(op, "object", o.oid == y.(*Object).oid)
}

func identical(op syntax.Token, kind string, same bool) (bool, error) {
	switch op {
	case syntax.EQL:
		return same, nil
	case syntax.NEQ:
		return !same, nil
	}
	return false, fmt.Errorf("%s %s %s not implemented", kind, op, kind)
}

// Attr reads a slot. A missing one is a no_slot error.
func (o *Object) Attr(name string) (starlark.Value, error) {
	v, ok, err := o.lookup(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, batos.Errorf(batos.NoSlot, "%s has no slot %s", o.run.effects.Describe(o.oid), name)
	}
	return v, nil
}

func (o *Object) lookup(name string) (starlark.Value, bool, error) {
	if isKernelName(name) {
		return nil, false, batos.Errorf(batos.Invalid, "%s cannot be read: names beginning with _p_ belong to the kernel", name)
	}
	return o.run.effects.Get(o.run, o.oid, name)
}

// SetField assigns a slot. self._p_changed = True is accepted and does
// nothing: changes are noticed without it.
func (o *Object) SetField(name string, v starlark.Value) error {
	if isKernelName(name) {
		if name == "_p_changed" {
			return nil
		}
		return batos.Errorf(batos.Invalid, "%s cannot be assigned: names beginning with _p_ belong to the kernel", name)
	}
	if err := o.run.charge(slotCost + ownSize(v)); err != nil {
		return err
	}
	return o.run.effects.Set(o.run, o.oid, name, v)
}

func isKernelName(name string) bool {
	return len(name) > 2 && name[0] == '_' && name[1] == 'p' && name[2] == '_'
}

// Bound is a method read without calling it: recv.sel. Calling it sends. It
// cannot be stored in a slot.
type Bound struct {
	recv *Object
	sel  batos.Selector
}

func (b *Bound) Name() string          { return string(b.sel) }
func (b *Bound) String() string        { return "<method " + string(b.sel) + " of " + b.recv.String() + ">" }
func (b *Bound) Type() string          { return "method" }
func (b *Bound) Freeze()               {}
func (b *Bound) Truth() starlark.Bool  { return true }
func (b *Bound) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: method") }

// CallInternal sends the selector to the receiver.
func (b *Bound) CallInternal(_ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return b.recv.run.send(b.recv, b.sel, args, kwargs)
}

// Time is a moment, in microseconds since 1970 UTC. Times subtract to
// seconds, and seconds may be added to them.
type Time object.Time

func (t Time) String() string       { return t.utc().Format("2006-01-02T15:04:05.000000Z") }
func (t Time) Type() string         { return "time" }
func (t Time) Freeze()              {}
func (t Time) Truth() starlark.Bool { return true }
func (t Time) Hash() (uint32, error) {
	return starlark.MakeInt64(int64(t)).Hash()
}
func (t Time) utc() time.Time { return object.Time(t).AsTime() }

// Cmp orders times.
func (t Time) Cmp(y starlark.Value, _ int) (int, error) { return cmp.Compare(t, y.(Time)), nil }

// AttrNames lists what Attr answers.
func (t Time) AttrNames() []string {
	return []string{"day", "hour", "iso", "microsecond", "minute", "month", "second", "unix", "weekday", "year"}
}

// Attr answers a part of the moment in UTC; unix is in seconds, weekday 0 is
// Monday.
func (t Time) Attr(name string) (starlark.Value, error) {
	u := t.utc()
	switch name {
	case "day":
		return starlark.MakeInt(u.Day()), nil
	case "hour":
		return starlark.MakeInt(u.Hour()), nil
	case "iso":
		return starlark.String(t.String()), nil
	case "microsecond":
		return starlark.MakeInt(u.Nanosecond() / 1000), nil
	case "minute":
		return starlark.MakeInt(u.Minute()), nil
	case "month":
		return starlark.MakeInt(int(u.Month())), nil
	case "second":
		return starlark.MakeInt(u.Second()), nil
	case "unix":
		return starlark.Float(float64(t) / 1e6), nil
	case "weekday":
		return starlark.MakeInt((int(u.Weekday()) + 6) % 7), nil
	case "year":
		return starlark.MakeInt(u.Year()), nil
	}
	return nil, nil
}

// Binary implements time - time (seconds), time ± seconds and seconds + time.
func (t Time) Binary(op syntax.Token, y starlark.Value, side starlark.Side) (starlark.Value, error) {
	if u, ok := y.(Time); ok {
		if op == syntax.MINUS && side == starlark.Left {
			return starlark.Float((float64(t) - float64(u)) / 1e6), nil
		}
		return nil, nil
	}
	secs, ok := starlark.AsFloat(y)
	if !ok || op != syntax.PLUS && (op != syntax.MINUS || side != starlark.Left) {
		return nil, nil
	}
	if op == syntax.MINUS {
		secs = -secs
	}
	micros := math.Round(secs * 1e6)
	if at := float64(t) + micros; math.IsNaN(at) || math.Abs(at) > 1<<57 {
		return nil, fmt.Errorf("time out of range")
	}
	return t + Time(micros), nil
}

// Opaque is a [Handle] as a value of the dialect.
type Opaque struct {
	run    *Run
	handle Handle
}

// Handle is what exec put behind the value.
func (o *Opaque) Handle() Handle        { return o.handle }
func (o *Opaque) String() string        { return "<" + o.Type() + ">" }
func (o *Opaque) Type() string          { return o.handle.Value().Kind().String() }
func (o *Opaque) Freeze()               {}
func (o *Opaque) Truth() starlark.Bool  { return true }
func (o *Opaque) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", o.Type()) }
func (o *Opaque) AttrNames() []string   { return o.handle.Methods() }

// Attr gives one of the handle's methods.
func (o *Opaque) Attr(name string) (starlark.Value, error) {
	for _, m := range o.handle.Methods() {
		if m == name {
			return &guard{name: name, fn: func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
				return o.handle.Call(r, name, args, kwargs)
			}}, nil
		}
	}
	return nil, nil
}

// Get implements handle[key].
func (o *Opaque) Get(key starlark.Value) (starlark.Value, bool, error) {
	m, err := o.mapping()
	if err != nil {
		return nil, false, err
	}
	return m.Lookup(o.run, key)
}

// SetKey implements handle[key] = v.
func (o *Opaque) SetKey(key, v starlark.Value) error {
	m, err := o.mapping()
	if err != nil {
		return err
	}
	return m.Store(o.run, key, v)
}

func (o *Opaque) mapping() (Mapping, error) {
	if m, ok := o.handle.(Mapping); ok {
		return m, nil
	}
	return nil, fmt.Errorf("a %s has no keys", o.Type())
}
