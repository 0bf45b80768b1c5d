package image

import (
	"math/bits"
	"slices"

	"batos"
	"batos/object"
)

// handle is one object in one transaction: the revision below, what was read
// of it, and what is written over it. That it exists, or does not, always
// counts as read.
type handle struct {
	oid  batos.OID
	base *revision // nil: the snapshot has no such object

	// Written. With fresh set, it and the writes are the whole object, and base
	// is replaced; deleted says that there is none.
	fresh   *object.State
	deleted bool
	protect *object.Protection
	writes  slotWrites
	made    *object.State // base or fresh with the writes, if up to date

	// Read, of base.
	readAll     bool
	readParents bool // which objects it delegates to
	readProtect bool
	readNames   bool                // the names of its slots
	readSlots   bitset              // slots it has, by place
	readAbsent  map[string]struct{} // slots it lacks
}

// slotWrite is what becomes of one slot.
type slotWrite struct {
	name  string
	kind  writeKind
	value object.Value // of writeSet
	delta int64        // of writeAdd
}

type writeKind uint8

const (
	writeNone   writeKind = iota // rolled back
	writeSet                     // holds value, whatever was there
	writeDelete                  // is gone
	writeAdd                     // a counter grows by delta
)

// slotWrites are the writes to one object, at most one for each slot, in the
// order in which slots were first written.
type slotWrites struct {
	list  []slotWrite
	index map[string]int // nil while there are few

	parents bool // a slot that delegates is, or was, among them
}

const fewWrites = 12

func (w *slotWrites) find(name string) *slotWrite {
	if w.index != nil {
		if i, ok := w.index[name]; ok {
			return &w.list[i]
		}
		return nil
	}
	for i := range w.list {
		if w.list[i].name == name {
			return &w.list[i]
		}
	}
	return nil
}

// at gives the write to name, adding an empty one if there is none.
func (w *slotWrites) at(name string) *slotWrite {
	if sw := w.find(name); sw != nil {
		return sw
	}
	w.list = append(w.list, slotWrite{name: name})
	w.parents = w.parents || object.IsParent(name)
	switch n := len(w.list); {
	case w.index != nil:
		w.index[name] = n - 1
	case n > fewWrites:
		w.index = make(map[string]int, 2*n)
		for i := range w.list {
			w.index[w.list[i].name] = i
		}
	}
	return &w.list[len(w.list)-1]
}

func (h *handle) exists() bool {
	return h.fresh != nil || h.base != nil && !h.deleted
}

// origin is the state that the slot writes go over.
func (h *handle) origin() *object.State {
	if h.fresh != nil {
		return h.fresh
	}
	return stateOf(h.base)
}

// written reports whether the object is to be stored or ended.
func (h *handle) written() bool {
	return h.fresh != nil || h.deleted || h.changed()
}

// changed reports whether slots or protection are written.
func (h *handle) changed() bool {
	if h.protect != nil {
		return true
	}
	for i := range h.writes.list {
		if h.writes.list[i].kind != writeNone {
			return true
		}
	}
	return false
}

// current gives the object as the transaction has made it. It must exist.
func (h *handle) current() (*object.State, error) {
	if h.made == nil {
		s, err := h.over(h.origin())
		if err != nil {
			return nil, err
		}
		h.made = s
	}
	return h.made, nil
}

// over gives s with the writes, and s itself if they change nothing.
func (h *handle) over(s *object.State) (*object.State, error) {
	if !h.changed() {
		return s, nil
	}
	var slots []object.Slot // copied at the first change
	copied := func() {
		if slots == nil {
			slots = append(make([]object.Slot, 0, len(s.Slots())+len(h.writes.list)), s.Slots()...)
		}
	}
	gone := false
	for i := range h.writes.list {
		w := &h.writes.list[i]
		at := s.Index(w.name)
		v := w.value
		switch w.kind {
		case writeNone:
			continue
		case writeDelete:
			if at >= 0 {
				copied()
				slots[at].Value = nil
				gone = true
			}
			continue
		case writeAdd:
			var old object.Value
			if at >= 0 {
				old = s.Slots()[at].Value
			}
			sum, err := add(h.oid, w.name, old, w.delta)
			if err != nil {
				return nil, err
			}
			v = sum
		}
		switch {
		case at < 0:
			copied()
			slots = append(slots, object.Slot{Name: w.name, Value: v})
		case !object.Equal(s.Slots()[at].Value, v):
			copied()
			slots[at].Value = v
		}
	}
	if gone {
		slots = slices.DeleteFunc(slots, func(sl object.Slot) bool { return sl.Value == nil })
	}
	protection := s.Protection
	if h.protect != nil {
		protection = *h.protect
	}
	if slots == nil {
		if protection == s.Protection {
			return s, nil
		}
		return s.Protect(protection), nil
	}
	made := object.NewState(protection, s.Creator, slots...)
	made.CreatedBy = s.CreatedBy
	return made, nil
}

// add gives the counter old grown by delta.
func add(oid batos.OID, name string, old object.Value, delta int64) (object.Value, error) {
	c, ok := old.(object.Counter)
	if !ok {
		if old == nil {
			return nil, batos.Errorf(batos.NoSlot, "object %s has no counter %q", oid, name)
		}
		return nil, batos.Errorf(batos.Invalid, "slot %q of %s holds %s, not a counter", name, oid, old.Kind())
	}
	sum := int64(c) + delta
	if (sum > int64(c)) != (delta > 0) && delta != 0 {
		return nil, batos.Errorf(batos.Invalid, "counter %q of %s would leave 64 bits", name, oid)
	}
	return object.Counter(sum), nil
}

// slot gives what name holds in this object alone, and counts it as read
// unless the transaction wrote it. Track is false where nothing is validated.
func (h *handle) slot(name string, track bool) (object.Value, bool, error) {
	if len(h.writes.list) > 0 {
		if w := h.writes.find(name); w != nil {
			switch w.kind {
			case writeSet:
				return w.value, true, nil
			case writeDelete:
				return nil, false, nil
			case writeAdd:
				old, _ := h.below(name, track)
				v, err := add(h.oid, name, old, w.delta)
				return v, err == nil, err
			}
		}
	}
	v, ok := h.below(name, track)
	return v, ok, nil
}

// below reads the slot beneath the writes.
func (h *handle) below(name string, track bool) (object.Value, bool) {
	if h.fresh != nil {
		return h.fresh.Slot(name)
	}
	s := h.base.state
	i := s.Index(name)
	if i < 0 {
		if track {
			h.lacks(name)
		}
		return nil, false
	}
	if track {
		h.readSlots.add(i)
	}
	return s.Slots()[i].Value, true
}

func (h *handle) lacks(name string) {
	if _, ok := h.readAbsent[name]; ok {
		return
	}
	if h.readAbsent == nil {
		h.readAbsent = map[string]struct{}{}
	}
	h.readAbsent[name] = struct{}{}
}

// parents lists what the object delegates to, and counts that as read.
func (h *handle) parents() ([]batos.OID, error) {
	if h.fresh == nil {
		h.readParents = true
		if !h.writes.parents {
			return h.base.parents, nil
		}
	} else if !h.writes.parents {
		return h.fresh.Parents(), nil
	}
	s, err := h.current()
	if err != nil {
		return nil, err
	}
	return s.Parents(), nil
}

// bitset is a set of small numbers.
type bitset struct {
	first uint64
	rest  []uint64
}

func (b *bitset) add(i int) {
	if i < 64 {
		b.first |= 1 << i
		return
	}
	i -= 64
	for len(b.rest) <= i/64 {
		b.rest = append(b.rest, 0)
	}
	b.rest[i/64] |= 1 << (i % 64)
}

// each calls f for every member, ascending, until it answers false.
func (b *bitset) each(f func(int) bool) {
	for w := -1; w < len(b.rest); w++ {
		word := b.first
		if w >= 0 {
			word = b.rest[w]
		}
		for ; word != 0; word &= word - 1 {
			if !f((w+1)*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}
