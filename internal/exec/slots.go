package exec

import (
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
	"batos/object"
)

// Get implements [method.Effects].
func (x *run) Get(_ *method.Run, recv batos.OID, name string) (starlark.Value, bool, error) {
	if x.halted != nil {
		return nil, false, errHalted
	}
	if object.IsVolatile(name) {
		return x.volatileSlot(recv, name)
	}
	v, holder, ok, err := x.lookup(recv, name)
	if err != nil || !ok {
		return nil, false, err
	}
	if err := x.mayRead(holder); err != nil {
		return nil, false, err
	}
	switch v.(type) {
	case *object.Method, object.Primitive:
		return x.vm.Bound(recv, batos.Selector(name)), true, nil
	}
	tv, err := x.value(v, method.Owner{OID: holder, Slot: name})
	return tv, err == nil, err
}

// Set implements [method.Effects].
func (x *run) Set(_ *method.Run, recv batos.OID, name string, v starlark.Value) error {
	if x.halted != nil {
		return errHalted
	}
	if err := x.writable(recv, name); err != nil { // the parser has seen to the name
		return err
	}
	fv, err := x.vm.Freeze(v)
	if err != nil {
		return err
	}
	if err := x.put(recv, name, fv); err != nil {
		return err
	}
	return x.hold(method.Owner{OID: recv, Slot: name}, fv, v)
}

// writable says whether the running code may write this slot.
func (x *run) writable(oid batos.OID, name string) error {
	if err := x.mayWrite(oid, name); err != nil {
		return err
	}
	if object.IsVolatile(name) {
		return x.seesVolatile(name)
	}
	return nil
}

// checkName says whether code may make a slot of this name: a selector, or one
// with a star.
func checkName(name string) error {
	plain := strings.TrimSuffix(name, "*")
	sel, err := batos.ParseSelector(plain)
	if err != nil {
		if strings.HasPrefix(name, "_p_") {
			return batos.Errorf(batos.Refused, "slot %s cannot be written: names beginning with _p_ belong to the kernel", name)
		}
		return err
	}
	if string(sel) != plain {
		return batos.Errorf(batos.Invalid, "a slot name has no colon: write %s", sel)
	}
	return nil
}

// put stores v in a slot that the running code may write.
func (x *run) put(oid batos.OID, name string, v object.Value) error {
	o := method.Owner{OID: oid, Slot: name}
	if object.IsVolatile(name) {
		return x.putVolatile(o, v)
	}
	old, had, err := x.own(oid, name)
	if err != nil {
		return err
	}
	if had && isBehaviour(old) {
		return batos.Errorf(batos.Refused, "slot %s of %s holds behaviour: it is changed by the gate or by a person's def, not by assignment", name, oid)
	}
	if err := x.storable(o, v, old, x.top()); err != nil {
		return err
	}
	if err := x.wrote(o, int64(len(name))+size(v)); err != nil {
		return err
	}
	if c, ok := old.(object.Counter); ok {
		if i, ok := v.(object.Int); ok {
			if n, ok := i.Int64(); ok {
				return x.tx.AddCounter(oid, name, n-int64(c))
			}
		}
	}
	return x.tx.SetSlot(oid, name, v)
}

func isBehaviour(v object.Value) bool {
	k := v.Kind()
	return k == object.KindMethod || k == object.KindPrimitive
}

// storable refuses what a slot must not hold by this code's word: behaviour, a
// parent that is no object, and trees that are another's. f is nil when the
// value grew inside a container: then only new trees and those that were there
// before pass.
func (x *run) storable(o method.Owner, v, old object.Value, f *frame) error {
	if object.IsParent(o.Slot) {
		return checkParents(o.Slot, v)
	}
	switch v.Kind() {
	case object.KindMethod, object.KindPrimitive, object.KindTree, object.KindList, object.KindDict, object.KindTuple, object.KindSet:
	default:
		return nil
	}
	weak := f == nil || f.authority < batos.Genesis
	_, err := object.Map(v, func(part object.Value) (object.Value, error) {
		if isBehaviour(part) {
			return nil, batos.Errorf(batos.Refused, "slot %s cannot hold a %s", o.Slot, part.Kind())
		}
		if t, ok := part.(object.Tree); ok && weak {
			mine, err := x.mayShare(f, t, old)
			if err != nil {
				return nil, err
			}
			if !mine {
				return nil, batos.Errorf(batos.Denied, "slot %s cannot hold a tree of another object: who holds a tree may write it", o.Slot)
			}
		}
		return part, nil
	})
	return err
}

func checkParents(name string, v object.Value) error {
	var parts []object.Value
	switch v := v.(type) {
	case object.Ref:
		return nil
	case *object.List:
		parts = v.Items
	case *object.Tuple:
		parts = v.Items
	default:
		return batos.Errorf(batos.Refused, "slot %s delegates: it holds an object or a list of objects, not a %s", name, v.Kind())
	}
	for _, p := range parts {
		if p.Kind() != object.KindRef {
			return batos.Errorf(batos.Refused, "slot %s delegates: its list holds objects, not a %s", name, p.Kind())
		}
	}
	return nil
}

// remove takes a slot away from an object.
func (x *run) remove(oid batos.OID, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	if err := x.writable(oid, name); err != nil {
		return false, err
	}
	o := method.Owner{OID: oid, Slot: name}
	if object.IsVolatile(name) {
		_, had := x.volatileValue(oid, name)
		delete(x.held, o)
		return had, x.putVolatile(o, nil)
	}
	old, had, err := x.own(oid, name)
	if err != nil || !had {
		return false, err
	}
	if f := x.top(); isBehaviour(old) && f.authority < batos.Genesis {
		return false, batos.Errorf(batos.Refused, "slot %s of %s holds behaviour: code of %s authority cannot remove it", name, oid, f.authority)
	}
	if err := x.wrote(o, int64(len(name))); err != nil {
		return false, err
	}
	delete(x.held, o)
	return true, x.tx.DeleteSlot(oid, name)
}

// clone makes a copy of oid for the running code.
func (x *run) clone(oid batos.OID) (batos.OID, error) {
	if err := x.flush(); err != nil {
		return 0, err
	}
	f := x.top()
	s, err := x.tx.Load(oid)
	if err != nil {
		return 0, err
	}
	bytes := int64(0)
	for _, sl := range s.Slots() {
		if f.authority < batos.Genesis && sl.Value.Kind() == object.KindPrimitive {
			return 0, batos.Errorf(batos.Refused, "%s holds the primitive %s, which code of %s authority cannot copy: make an object that has it as a parent", oid, sl.Name, f.authority)
		}
		bytes += int64(len(sl.Name)) + size(sl.Value)
	}
	keys, err := x.keysOf(s)
	if err != nil {
		return 0, err
	}
	if keys > maxClonedKeys {
		return 0, batos.Errorf(batos.Limit, "%s holds trees of %d keys; a clone copies at most %d", oid, keys, maxClonedKeys)
	}
	if err := x.vm.Charge(int(bytes) + int(keys)*treeCost); err != nil {
		return 0, err
	}
	if err := x.making(1, bytes+keys*entryCost); err != nil {
		return 0, err
	}
	copied, err := x.tx.Clone(oid, f.authority, x.req.Message.ID)
	if err != nil {
		return 0, err
	}
	return copied, x.settle(copied, s)
}

// maxClonedKeys bounds the trees that a clone copies.
const maxClonedKeys = 10_000

// keysOf counts the keys of the trees in s.
func (x *run) keysOf(s *object.State) (int64, error) {
	ts, err := x.treesOf(s)
	if err != nil {
		return 0, err
	}
	keys := int64(0)
	for _, t := range ts {
		n, err := x.tx.Tree(t).Len()
		if err != nil {
			return 0, err
		}
		keys += n
	}
	return keys, nil
}

// create makes an object of these slots for the running code.
func (x *run) create(slots []object.Slot) (batos.OID, error) {
	f := x.top()
	bytes := int64(0)
	for i, sl := range slots {
		if err := checkName(sl.Name); err != nil {
			return 0, err
		}
		for _, other := range slots[:i] {
			if other.Name == sl.Name {
				return 0, batos.Errorf(batos.Invalid, "slot %s comes twice", sl.Name)
			}
		}
		if object.IsVolatile(sl.Name) {
			return 0, batos.Errorf(batos.Invalid, "slot %s is volatile: assign it once the object is there", sl.Name)
		}
		if err := x.storable(method.Owner{Slot: sl.Name}, sl.Value, nil, f); err != nil {
			return 0, err
		}
		bytes += int64(len(sl.Name)) + size(sl.Value)
	}
	if err := x.making(1, bytes); err != nil {
		return 0, err
	}
	s := object.NewState(object.Open, f.authority, slots...)
	s.CreatedBy = x.req.Message.ID
	oid, err := x.tx.Create(s)
	if err != nil {
		return 0, err
	}
	return oid, x.settle(oid, s)
}

// making takes n new objects of so many bytes from the budget.
func (x *run) making(n int, bytes int64) error {
	if x.newObjects += n; x.newObjects > x.req.Lineage.NewObjects {
		return x.failure(spent("new objects", x.req.Lineage.NewObjects))
	}
	if x.written += bytes; x.written > x.req.Lineage.Written {
		return x.failure(spent("bytes written", x.req.Lineage.Written))
	}
	return nil
}

// settle gives a new object to the running code: it may be written from now
// on, and so may the trees that were copied with it, those that its origin
// does not have. What genesis makes is protected.
func (x *run) settle(oid batos.OID, origin *object.State) error {
	x.mine(oid)
	shared, err := x.treesOf(origin)
	if err != nil {
		return err
	}
	if len(shared) > 0 {
		s, err := x.tx.Load(oid)
		if err != nil {
			return err
		}
		copies, err := x.treesOf(s)
		if err != nil {
			return err
		}
		for _, t := range copies {
			if !slices.Contains(shared, t) {
				x.mine(batos.OID(t))
			}
		}
	}
	if x.top().authority == batos.Genesis {
		return x.tx.SetProtection(oid, object.Protected)
	}
	return nil
}

func (x *run) treesOf(s *object.State) (ts []object.Tree, err error) {
	_, err = s.MapTrees(func(t object.Tree) (object.Tree, error) {
		ts = append(ts, t)
		return t, nil
	})
	return ts, err
}

func (x *run) mine(oid batos.OID) {
	if x.made == nil {
		x.made = map[batos.OID]struct{}{}
	}
	x.made[oid] = struct{}{}
}

// size is about what v takes in the log, in bytes.
func size(v object.Value) int64 {
	switch v := v.(type) {
	case nil, object.None, object.Bool:
		return 1
	case object.Int:
		if _, ok := v.Int64(); ok {
			return 9
		}
		return 9 + int64(v.Big().BitLen()/8)
	case object.Str:
		return 5 + int64(len(v))
	case object.Bytes:
		return 5 + int64(len(v))
	case *object.List:
		return sizes(v.Items)
	case *object.Tuple:
		return sizes(v.Items)
	case *object.Set:
		return sizes(v.Items)
	case *object.Dict:
		n := int64(5)
		for _, e := range v.Entries {
			n += size(e.Key) + size(e.Value)
		}
		return n
	case *object.Method:
		return 64 + int64(len(v.Source)+len(v.Selector)+len(v.AuthorName))
	case object.Primitive:
		return 5 + int64(len(v))
	case object.Blob:
		return 48
	}
	return 10
}

func sizes(vs []object.Value) int64 {
	n := int64(5)
	for _, v := range vs {
		n += size(v)
	}
	return n
}
