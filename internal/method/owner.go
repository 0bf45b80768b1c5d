package method

import (
	"go.starlark.net/starlark"

	"batos"
)

// Containers of the dialect are the interpreter's own lists, dicts and sets.
// A run remembers beside them which slots they belong to, because a container
// in a slot may be changed through any alias: the guards that perform changes
// look here and report them. A container stored in two slots has two owners.
// What is taken out of a container keeps its owner: that reports changes too
// many, never too few, and the transaction drops unchanged slots anyway.

// owners lists the slots a container belongs to. Nearly always it is one.
type owners struct {
	first *Owner
	rest  []*Owner
}

func (o owners) has(slot *Owner) bool {
	if o.first == slot {
		return true
	}
	for _, s := range o.rest {
		if s == slot {
			return true
		}
	}
	return false
}

// ownedCost is what one entry of the owner map takes.
const ownedCost = 96

func (r *Run) slot(o Owner) *Owner {
	s := r.slots[o]
	if s == nil {
		s = &o
		r.slots[o] = s
	}
	return s
}

// Adopt records that v, and every container in it, now belongs to a slot. A
// value that no slot can hold is an error: functions, methods, and what nests
// deeper than [MaxNesting]. A container that came to contain itself is found
// by [Run.Freeze].
func (r *Run) Adopt(v starlark.Value, owner Owner) error { return r.adopt(v, r.slot(owner), 0) }

func (r *Run) adopt(v starlark.Value, slot *Owner, depth int) error {
	if depth > MaxNesting {
		return errNesting
	}
	if err := r.work(1); err != nil {
		return err
	}
	switch v := v.(type) {
	case *starlark.List:
		if known, err := r.own(v, slot); known || err != nil {
			return err
		}
		for i := range v.Len() {
			if err := r.adopt(v.Index(i), slot, depth+1); err != nil {
				return err
			}
		}
		return nil
	case *starlark.Dict:
		if known, err := r.own(v, slot); known || err != nil {
			return err
		}
		for k, e := range v.Entries() {
			if err := r.adopt(k, slot, depth+1); err != nil {
				return err
			}
			if err := r.adopt(e, slot, depth+1); err != nil {
				return err
			}
		}
		return nil
	case *starlark.Set:
		if known, err := r.own(v, slot); known || err != nil {
			return err
		}
		for e := range v.Elements() {
			if err := r.adopt(e, slot, depth+1); err != nil {
				return err
			}
		}
		return nil
	case starlark.Tuple:
		for _, e := range v {
			if err := r.adopt(e, slot, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return storable(v)
}

// own adds slot to the owners of a container, and reports whether it was one
// already: then its contents are known too.
func (r *Run) own(c starlark.Value, slot *Owner) (known bool, err error) {
	o := r.owners[c]
	if o.has(slot) {
		return true, nil
	}
	if err := r.charge(ownedCost); err != nil {
		return false, err
	}
	if o.first == nil {
		o.first = slot
	} else {
		o.rest = append(o.rest, slot)
	}
	r.owners[c] = o
	return false, nil
}

// changing reports that c is about to be changed in place.
func (r *Run) changing(c starlark.Value) error {
	if len(r.owners) == 0 {
		return nil
	}
	o, ok := r.owners[c]
	if !ok {
		return nil
	}
	if err := r.work(len(o.rest)); err != nil {
		return err
	}
	if err := r.effects.Changed(r, *o.first); err != nil {
		return err
	}
	for _, s := range o.rest {
		if err := r.effects.Changed(r, *s); err != nil {
			return err
		}
	}
	return nil
}

// gained makes values that were put into c belong to c's owners.
func (r *Run) gained(c starlark.Value, vs ...starlark.Value) error {
	if len(r.owners) == 0 {
		return nil
	}
	o, ok := r.owners[c]
	if !ok {
		return nil
	}
	for _, v := range vs {
		if err := r.adopt(v, o.first, 1); err != nil {
			return err
		}
		for _, s := range o.rest {
			if err := r.adopt(v, s, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// storable says whether a value without parts can be held by a slot.
func storable(v starlark.Value) error {
	switch v.(type) {
	case starlark.NoneType, starlark.Bool, starlark.Int, starlark.Float, starlark.String, starlark.Bytes, *Object, *Opaque, Time:
		return nil
	case starlark.Sequence:
		if v.Type() == "range" {
			return nil
		}
	}
	return batos.Errorf(batos.Raised, "a %s cannot be stored in a slot", v.Type())
}
