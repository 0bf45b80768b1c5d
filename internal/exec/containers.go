package exec

import (
	"slices"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/codec"
	"batos/internal/method"
	"batos/object"
)

// A container in a slot is thawed when it is first read, and all aliases share
// that copy until the run ends. A change through any alias is reported by the
// dialect before it happens; the slot is then looked at again before anything
// reads the transaction past this package, and when the run ends. So a change
// is never lost, whether or not the method says that it made one. Values in
// trees are slots in this sense: their owner is the tree, and the "slot" is
// the key.

// held is a container of a slot, thawed.
type held struct {
	stored object.Value   // what the transaction has
	value  starlark.Value // what code has
	key    object.Value   // the key, if the owner is a tree; else nil
	dirty  bool           // value may differ from stored
	weak   bool           // code without the authority of genesis changed it
}

// treeSlot names a key of a tree in a [method.Owner].
func treeSlot(key object.Value) string { return string(codec.EncodeValue(key)) }

func isContainer(v object.Value) bool {
	switch v.Kind() {
	case object.KindList, object.KindDict, object.KindTuple, object.KindSet:
		return true
	}
	return false
}

// value gives code what a slot holds.
func (x *run) value(v object.Value, o method.Owner) (starlark.Value, error) {
	return x.thaw(v, o, nil)
}

func (x *run) thaw(v object.Value, o method.Owner, key object.Value) (starlark.Value, error) {
	if !isContainer(v) {
		if v.Kind() == object.KindTree {
			x.learn(v.(object.Tree), place{o.OID, key != nil})
		}
		return x.vm.Thaw(v, method.Owner{})
	}
	if h := x.held[o]; h != nil && (h.dirty || h.stored == v || object.Equal(h.stored, v)) {
		return h.value, nil
	}
	x.thawing = place{o.OID, key != nil}
	tv, err := x.vm.Thaw(v, o)
	x.thawing = place{}
	if err != nil {
		return nil, err
	}
	x.keep(o, &held{stored: v, value: tv, key: key})
	return tv, nil
}

func (x *run) keep(o method.Owner, h *held) {
	if x.held == nil {
		x.held = map[method.Owner]*held{}
	}
	x.held[o] = h
}

// hold makes what code just stored the slot's container, or forgets the one
// it had.
func (x *run) hold(o method.Owner, stored object.Value, v starlark.Value) error {
	return x.holdKey(o, stored, v, nil)
}

func (x *run) holdKey(o method.Owner, stored object.Value, v starlark.Value, key object.Value) error {
	if !isContainer(stored) {
		delete(x.held, o)
		return nil
	}
	if err := x.vm.Adopt(v, o); err != nil {
		return err
	}
	x.keep(o, &held{stored: stored, value: v, key: key})
	return nil
}

// Changed implements [method.Effects]: the running code is about to change a
// container in place.
func (x *run) Changed(_ *method.Run, o method.Owner) error {
	if x.halted != nil {
		return errHalted
	}
	h := x.held[o]
	if h == nil {
		return nil // it was in a slot that has another value now
	}
	if h.key != nil {
		if err := x.mayWriteTree(object.Tree(o.OID)); err != nil {
			return err
		}
	} else if err := x.mayWrite(o.OID, o.Slot); err != nil {
		return err
	}
	h.weak = h.weak || x.top().authority < batos.Genesis
	x.writing(o)
	if !h.dirty {
		h.dirty = true
		x.dirty = append(x.dirty, o)
	}
	return nil
}

// flush puts changed containers into the transaction.
func (x *run) flush() error {
	for len(x.dirty) > 0 {
		o := x.dirty[0]
		x.dirty = x.dirty[1:]
		h := x.held[o]
		if h == nil || !h.dirty {
			continue
		}
		h.dirty = false
		v, err := x.vm.Freeze(h.value)
		if err != nil {
			return err
		}
		if object.Equal(v, h.stored) {
			continue
		}
		if err := x.store(o, h, v); err != nil {
			return err
		}
		h.stored = v
	}
	return nil
}

func (x *run) store(o method.Owner, h *held, v object.Value) error {
	var f *frame
	if !h.weak {
		f = &x.frames[0] // of genesis or a person, as every frame above it was
	}
	if object.IsVolatile(o.Slot) && h.key == nil {
		return x.putVolatile(o, v)
	}
	if err := x.storable(o, v, h.stored, f); err != nil {
		return err
	}
	if err := x.wrote(o, int64(len(o.Slot))+size(v)); err != nil {
		return err
	}
	if h.key != nil {
		return x.tx.Tree(object.Tree(o.OID)).Set(h.key, v)
	}
	return x.tx.SetSlot(o.OID, o.Slot, v)
}

// place is a slot of an object, or a key of a tree, that holds a tree.
type place struct {
	oid  batos.OID
	tree bool // oid is a tree
}

// learn remembers where a tree was read from: who may write there may write
// the tree.
func (x *run) learn(t object.Tree, p place) {
	if p.oid == 0 || slices.Contains(x.trees[t], p) {
		return
	}
	if x.trees == nil {
		x.trees = map[object.Tree][]place{}
	}
	x.trees[t] = append(x.trees[t], p)
}

// maxTreeNesting bounds how deep trees in trees are followed to the object
// that they belong to.
const maxTreeNesting = 16

// rightTree says whether a frame may write a tree: it was made in this run, or
// it was read from a place that the frame may write.
func (x *run) rightTree(f *frame, t object.Tree, depth int) (right, error) {
	if _, ok := x.made[batos.OID(t)]; ok {
		return allowed, nil
	}
	places := x.trees[t]
	if len(places) == 0 && f.authority >= batos.Genesis {
		return allowed, nil
	}
	worst := foreign
	for _, p := range places {
		var r right
		var err error
		switch {
		case !p.tree:
			r, err = x.right(f, p.oid)
		case depth < maxTreeNesting:
			r, err = x.rightTree(f, object.Tree(p.oid), depth+1)
		default:
			r = foreign
		}
		if err != nil || r == allowed {
			return r, err
		}
		worst = r
	}
	return worst, nil
}

func (x *run) mayWriteTree(t object.Tree) error {
	f := x.top()
	r, err := x.rightTree(f, t, 0)
	if err != nil || r == allowed {
		return err
	}
	return denied(f, batos.OID(t), "the tree", r)
}

// mayShare says whether code may store a tree in a slot whose value was old.
func (x *run) mayShare(f *frame, t object.Tree, old object.Value) (bool, error) {
	if f != nil {
		r, err := x.rightTree(f, t, 0)
		return r == allowed, err
	}
	if _, ok := x.made[batos.OID(t)]; ok {
		return true, nil
	}
	found := false
	if old != nil {
		_, err := object.Map(old, func(part object.Value) (object.Value, error) {
			found = found || part == object.Value(t)
			return part, nil
		})
		if err != nil {
			return false, err
		}
	}
	return found, nil
}
