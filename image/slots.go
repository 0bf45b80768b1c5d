package image

import (
	"batos"
	"batos/object"
)

// Slot gives what name holds in the object itself, without delegation. Only
// this slot counts as read, also when it is absent.
func (tx *Tx) Slot(oid batos.OID, name string) (object.Value, bool, error) {
	h := tx.last
	if h == nil || h.oid != oid {
		var err error
		if h, err = tx.object(oid); err != nil {
			return nil, false, err
		}
	}
	if !h.exists() {
		return nil, false, notFound(oid)
	}
	return h.slot(name, !tx.readOnly)
}

// SlotNames lists the object's own slots in order. The names count as read,
// not what the slots hold.
func (tx *Tx) SlotNames(oid batos.OID) ([]string, error) {
	h, err := tx.existing(oid)
	if err != nil {
		return nil, err
	}
	h.readNames = true
	s, err := h.current()
	if err != nil {
		return nil, err
	}
	return names(s), nil
}

func names(s *object.State) []string {
	out := make([]string, len(s.Slots()))
	for i, sl := range s.Slots() {
		out[i] = sl.Name
	}
	return out
}

// Parents lists what the object delegates to, in lookup order. That counts as
// read, as in a look-up that goes on to them.
func (tx *Tx) Parents(oid batos.OID) ([]batos.OID, error) {
	h, err := tx.existing(oid)
	if err != nil {
		return nil, err
	}
	return h.parents()
}

// Protection says who may change the object. No slot counts as read. The image
// keeps protections; whoever runs code enforces them.
func (tx *Tx) Protection(oid batos.OID) (object.Protection, error) {
	h, err := tx.existing(oid)
	if err != nil {
		return 0, err
	}
	h.readProtect = true
	if h.protect != nil {
		return *h.protect, nil
	}
	return h.origin().Protection, nil
}

// Creator says on whose authority, and in which message, the object was made.
// No slot counts as read.
func (tx *Tx) Creator(oid batos.OID) (batos.Authority, batos.MessageID, error) {
	h, err := tx.existing(oid)
	if err != nil {
		return 0, "", err
	}
	s := h.origin()
	return s.Creator, s.CreatedBy, nil
}

// Lookup finds name as a message send does: in the object itself, then in its
// parents, in slot order, depth first. It answers what the first that has the
// slot holds, and which object that is. What counts as read is what decided
// the answer: the slot, its absence on the way there, and the parents. A
// parent that does not exist is an error when the search gets to it.
func (tx *Tx) Lookup(oid batos.OID, name string) (v object.Value, holder batos.OID, ok bool, err error) {
	return tx.LookupAfter(oid, 0, name)
}

// LookupAfter is Lookup for a resend: the search goes on behind the object
// after in oid's lookup order. Zero is before everything.
func (tx *Tx) LookupAfter(oid, after batos.OID, name string) (v object.Value, holder batos.OID, ok bool, err error) {
	passed := after == 0
	err = object.Walk(oid, func(o batos.OID) ([]batos.OID, bool, error) {
		h, err := tx.object(o)
		if err != nil {
			return nil, false, err
		}
		if !h.exists() {
			if o == oid {
				return nil, false, notFound(oid)
			}
			return nil, false, batos.Errorf(batos.NotFound, "object %s, which %s delegates to, does not exist", o, oid)
		}
		if passed {
			if v, ok, err = h.slot(name, !tx.readOnly); ok || err != nil {
				holder = o
				return nil, true, err
			}
		}
		passed = passed || o == after
		parents, err := h.parents()
		return parents, false, err
	})
	if err != nil {
		return nil, 0, false, err
	}
	return v, holder, ok, nil
}

// SetSlot makes name hold v in the object itself. What it held does not count
// as read: of two transactions that set a slot without looking, the later one
// wins, and writes to other slots merge. A slot keeps its place among the
// others, also when it was deleted earlier in the same transaction; a new one
// comes last.
func (tx *Tx) SetSlot(oid batos.OID, name string, v object.Value) error {
	h, err := tx.changing(oid)
	if err != nil {
		return err
	}
	if err := checkSlot(name, v); err != nil {
		return err
	}
	tx.write(h, slotWrite{name: name, kind: writeSet, value: v})
	return nil
}

func checkSlot(name string, v object.Value) error {
	if err := object.CheckSlotName(name); err != nil {
		return err
	}
	if object.IsVolatile(name) {
		return batos.Errorf(batos.Invalid, "slot %q is volatile: it lives in one process and is never stored", name)
	}
	if err := object.Check(v); err != nil {
		return batos.Errorf(batos.Invalid, "slot %q: %w", name, err)
	}
	return nil
}

// DeleteSlot takes a slot away from the object itself. An object that has no
// such slot is an error with code no_slot.
func (tx *Tx) DeleteSlot(oid batos.OID, name string) error {
	h, err := tx.changing(oid)
	if err != nil {
		return err
	}
	_, ok, err := h.slot(name, true)
	if err != nil {
		return err
	}
	if !ok {
		return batos.Errorf(batos.NoSlot, "object %s has no slot %q", oid, name)
	}
	tx.write(h, slotWrite{name: name, kind: writeDelete})
	return nil
}

// AddCounter makes the counter in a slot of the object itself grow by delta,
// which may be negative. The counter does not count as read: additions of
// concurrent transactions add up. An absent slot is an error with code
// no_slot, one that holds no counter, or would leave 64 bits, with invalid.
func (tx *Tx) AddCounter(oid batos.OID, name string, delta int64) error {
	h, err := tx.changing(oid)
	if err != nil {
		return err
	}
	w := h.writes.find(name)
	if w == nil || w.kind == writeNone || w.kind == writeAdd {
		sum := delta
		if w != nil && w.kind == writeAdd {
			if sum += w.delta; (sum > w.delta) != (delta > 0) && delta != 0 {
				return batos.Errorf(batos.Invalid, "counter %q of %s would leave 64 bits", name, oid)
			}
		}
		old, _ := h.below(name, false)
		if _, err := add(oid, name, old, sum); err != nil {
			h.below(name, true) // the error tells what is there
			return err
		}
		tx.write(h, slotWrite{name: name, kind: writeAdd, delta: sum})
		return nil
	}
	v, err := add(oid, name, w.value, delta) // a deleted slot has no value
	if err != nil {
		return err
	}
	tx.write(h, slotWrite{name: name, kind: writeSet, value: v})
	return nil
}

// write puts w over the object.
func (tx *Tx) write(h *handle, w slotWrite) {
	at := h.writes.at(w.name)
	if tx.marks > 0 {
		before := *at
		tx.undoable(func() {
			at := h.writes.at(before.name)
			h.dropped(at, before)
			*at, h.made = before, nil
		})
	}
	h.dropped(at, w)
	*at, h.made = w, nil
}

// dropped notes that the write w is about to be replaced. That an addition was
// accepted told that there is a counter, which Commit checks by adding; an
// addition that is dropped leaves that as something read.
func (h *handle) dropped(w *slotWrite, by slotWrite) {
	if w.kind == writeAdd && by.kind != writeAdd {
		h.below(w.name, true)
	}
}

// SetProtection changes who may change the object.
func (tx *Tx) SetProtection(oid batos.OID, p object.Protection) error {
	h, err := tx.changing(oid)
	if err != nil {
		return err
	}
	if p > object.Sealed {
		return batos.Errorf(batos.Invalid, "%d is no protection", p)
	}
	before := h.protect
	tx.undoable(func() { h.protect, h.made = before, nil })
	h.protect, h.made = &p, nil
	return nil
}

// restorable notes what h is, without what was read, before its writes are
// dropped for others.
func (tx *Tx) restorable(h *handle) {
	for i := range h.writes.list {
		h.dropped(&h.writes.list[i], slotWrite{})
	}
	if tx.marks == 0 {
		return
	}
	was := *h
	tx.undoable(func() {
		h.fresh, h.deleted, h.protect, h.writes, h.made = was.fresh, was.deleted, was.protect, was.writes, nil
	})
}

// Create makes a new object and gives its OID, which no other object gets while
// the image is open, even if the transaction never commits. After a restart the
// OID of an object that never was durable may be given out again.
func (tx *Tx) Create(s *object.State) (batos.OID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	if err := checkState(s); err != nil {
		return 0, err
	}
	oid, err := tx.oids.take(tx.ctx)
	if err != nil {
		return 0, err
	}
	if tx.objects == nil {
		tx.objects = map[batos.OID]*handle{}
	}
	h := &handle{oid: oid}
	tx.objects[oid] = h
	tx.create(h, s)
	return oid, nil
}

// CreateAt makes a new object with a given OID, as a rule a derived one. That
// there is none yet counts as read; one that exists is an error with code
// invalid.
func (tx *Tx) CreateAt(oid batos.OID, s *object.State) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if err := checkState(s); err != nil {
		return err
	}
	h, err := tx.object(oid)
	if err != nil {
		return err
	}
	if h.exists() {
		return batos.Errorf(batos.Invalid, "object %s exists already", oid)
	}
	tx.create(h, s)
	return nil
}

func (tx *Tx) create(h *handle, s *object.State) {
	tx.restorable(h)
	h.fresh, h.deleted, h.protect, h.writes, h.made = s, false, nil, slotWrites{}, nil
	n := len(tx.made)
	tx.undoable(func() { tx.made = tx.made[:n] })
	tx.made = append(tx.made, h.oid)
}

func checkState(s *object.State) error {
	if s == nil {
		return batos.Errorf(batos.Invalid, "an object needs a state")
	}
	if s.Protection > object.Sealed || s.Creator > batos.Person {
		return batos.Errorf(batos.Invalid, "an object's protection or creator is none that exists")
	}
	if err := object.Check(object.Str(s.CreatedBy)); err != nil {
		return err
	}
	seen := make(map[string]bool, len(s.Slots()))
	for _, sl := range s.Slots() {
		if err := checkSlot(sl.Name, sl.Value); err != nil {
			return err
		}
		if seen[sl.Name] {
			return batos.Errorf(batos.Invalid, "slot %q comes twice", sl.Name)
		}
		seen[sl.Name] = true
	}
	return nil
}

// Delete ends an object. References to it stay, and lead nowhere; its past
// stays too.
func (tx *Tx) Delete(oid batos.OID) error {
	h, err := tx.changing(oid)
	if err != nil {
		return err
	}
	tx.restorable(h)
	h.fresh, h.deleted, h.protect, h.writes, h.made = nil, h.base != nil, nil, slotWrites{}, nil
	return nil
}

// Clone makes a copy of an object and gives its OID: slots, containers and
// trees are copied, referenced objects and parents shared, protection is open.
// Every slot of the original counts as read, and so does every key of its
// trees.
func (tx *Tx) Clone(oid batos.OID, creator batos.Authority, by batos.MessageID) (batos.OID, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	s, err := tx.Load(oid)
	if err != nil {
		return 0, err
	}
	c, err := s.Clone(creator, by).MapTrees(tx.copyTree)
	if err != nil {
		return 0, err
	}
	return tx.Create(c)
}

func (tx *Tx) copyTree(t object.Tree) (object.Tree, error) {
	id, err := tx.NewTree()
	if err != nil {
		return 0, err
	}
	to := tx.Tree(id)
	for e, err := range tx.Tree(t).Range(nil, nil) {
		if err != nil {
			return 0, err
		}
		if err := to.Set(e.Key, e.Value); err != nil {
			return 0, err
		}
	}
	return id, nil
}
