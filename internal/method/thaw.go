package method

import (
	"go.starlark.net/starlark"

	"batos"
	"batos/object"
)

// MaxNesting is how deep containers may nest in a slot.
const MaxNesting = 60

var errNesting = batos.Errorf(batos.Limit, "a slot cannot hold containers nested more than %d deep, nor one that contains itself", MaxNesting)

// Thaw converts a slot value to a value of the dialect. Containers are copied
// and belong to owner, unless owner is zero (an argument, a result). The copy
// is charged by its size. A method or primitive becomes a [Bound] of the
// owner; a counter becomes an int.
func (r *Run) Thaw(v object.Value, owner Owner) (starlark.Value, error) {
	var slot *Owner
	if owner.OID != 0 {
		slot = r.slot(owner)
	}
	return r.thaw(v, slot, 0)
}

func (r *Run) thaw(v object.Value, slot *Owner, depth int) (starlark.Value, error) {
	if depth > MaxNesting {
		return nil, errNesting
	}
	switch v := v.(type) {
	case nil, object.None:
		return starlark.None, nil
	case object.Bool:
		return starlark.Bool(v), nil
	case object.Int:
		if i, ok := v.Int64(); ok {
			return starlark.MakeInt64(i), nil
		}
		b := v.Big()
		if b.BitLen() > maxBits {
			return nil, r.stop(batos.Errorf(batos.Limit, "an integer in a method has at most %d bits, not %d", maxBits, b.BitLen()))
		}
		return starlark.MakeBigInt(b), r.charge(b.BitLen() / 8)
	case object.Float:
		return starlark.Float(v), nil
	case object.Str:
		return starlark.String(v), r.shared(len(v))
	case object.Bytes:
		return starlark.Bytes(v), r.shared(len(v))
	case object.Ref:
		return r.Object(batos.OID(v)), nil
	case *object.List:
		items, err := r.thawAll(v.Items, slot, depth)
		if err != nil {
			return nil, err
		}
		return r.owned(starlark.NewList(items), slot)
	case *object.Tuple:
		items, err := r.thawAll(v.Items, slot, depth)
		if err != nil {
			return nil, err
		}
		return starlark.Tuple(items), r.tuple(items)
	case *object.Dict:
		if err := r.charge(dictCost + mul(entryCost, len(v.Entries))); err != nil {
			return nil, err
		}
		d := starlark.NewDict(len(v.Entries))
		for i := range v.Entries {
			k, err := r.thaw(v.Entries[i].Key, slot, depth+1)
			if err != nil {
				return nil, err
			}
			e, err := r.thaw(v.Entries[i].Value, slot, depth+1)
			if err != nil {
				return nil, err
			}
			if err := r.setKey(d, k, e); err != nil {
				return nil, err
			}
		}
		return r.owned(d, slot)
	case *object.Set:
		if err := r.charge(dictCost + mul(entryCost, len(v.Items))); err != nil {
			return nil, err
		}
		s := starlark.NewSet(len(v.Items))
		for _, it := range v.Items {
			e, err := r.thaw(it, slot, depth+1)
			if err != nil {
				return nil, err
			}
			if err := r.insert(s, e); err != nil {
				return nil, err
			}
		}
		return r.owned(s, slot)
	case object.Counter:
		return starlark.MakeInt64(int64(v)), nil
	case object.Time:
		return Time(v), nil
	case object.Tree, object.Blob:
		h, err := r.effects.Open(r, v)
		if err != nil {
			return nil, err
		}
		return &Opaque{run: r, handle: h}, r.charge(slotCost)
	case *object.Method:
		if slot != nil {
			return r.Bound(slot.OID, v.Selector), nil
		}
	case object.Primitive:
		if slot != nil {
			return r.Bound(slot.OID, batos.Selector(slot.Slot)), nil
		}
	}
	return nil, batos.Errorf(batos.Raised, "a %s is not a value of the dialect", v.Kind())
}

func (r *Run) thawAll(in []object.Value, slot *Owner, depth int) ([]starlark.Value, error) {
	if err := r.charge(listCost + mul(cellCost, len(in))); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, len(in))
	for i, v := range in {
		var err error
		if out[i], err = r.thaw(v, slot, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *Run) owned(c starlark.Value, slot *Owner) (starlark.Value, error) {
	if slot == nil {
		return c, nil
	}
	_, err := r.own(c, slot)
	return c, err
}

// Freeze converts a value of the dialect to a slot value, which shares
// nothing that can change with it. The copy is charged by its size, so that
// sharing inside v cannot blow it up. Functions and methods are refused, and
// so is what nests deeper than [MaxNesting].
func (r *Run) Freeze(v starlark.Value) (object.Value, error) { return r.freeze(v, 0) }

func (r *Run) freeze(v starlark.Value, depth int) (object.Value, error) {
	if depth > MaxNesting {
		return nil, errNesting
	}
	if err := r.charge(cellCost); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case starlark.NoneType:
		return object.None{}, nil
	case starlark.Bool:
		return object.Bool(v), nil
	case starlark.Int:
		if i, ok := v.Int64(); ok {
			return object.NewInt(i), nil
		}
		return object.BigInt(v.BigInt()), nil
	case starlark.Float:
		return object.Float(v), nil
	case starlark.String:
		return object.Str(v), r.charge(len(v))
	case starlark.Bytes:
		return object.Bytes(v), r.charge(len(v))
	case *Object:
		return object.Ref(v.oid), nil
	case Time:
		return object.Time(v), nil
	case *Opaque:
		return v.handle.Value(), nil
	case *starlark.List:
		items, err := r.freezeAll(v.Len(), v.Index, depth)
		return &object.List{Items: items}, err
	case starlark.Tuple:
		items, err := r.freezeAll(len(v), func(i int) starlark.Value { return v[i] }, depth)
		return &object.Tuple{Items: items}, err
	case *starlark.Dict:
		entries := make([]object.Entry, 0, min(v.Len(), 1024))
		for k, e := range v.Entries() {
			fk, err := r.freeze(k, depth+1)
			if err != nil {
				return nil, err
			}
			fe, err := r.freeze(e, depth+1)
			if err != nil {
				return nil, err
			}
			entries = append(entries, object.Entry{Key: fk, Value: fe})
		}
		return &object.Dict{Entries: entries}, nil
	case *starlark.Set:
		items := make([]object.Value, 0, min(v.Len(), 1024))
		for e := range v.Elements() {
			fe, err := r.freeze(e, depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, fe)
		}
		return &object.Set{Items: items}, nil
	}
	if err := storable(v); err != nil {
		return nil, err
	}
	seq := v.(starlark.Indexable) // a range
	items, err := r.freezeAll(seq.Len(), seq.Index, depth)
	return &object.List{Items: items}, err
}

func (r *Run) freezeAll(n int, at func(int) starlark.Value, depth int) ([]object.Value, error) {
	if err := r.charge(mul(cellCost, n)); err != nil {
		return nil, err
	}
	out := make([]object.Value, n)
	for i := range out {
		var err error
		if out[i], err = r.freeze(at(i), depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}
