package exec

import (
	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
	"batos/object"
)

// builtins are the primitives of objects as such:
//
//	object.clone()                  a copy: slots and containers, not what they refer to
//	object.new(slots={}, **slots)   a new object with the receiver as its parent
//	object.set_slot(name, value)    assigns a slot, starred ones included
//	object.slot(name)               reads a slot, starred ones included
//	object.has_slot(name)           whether look-up finds it
//	object.slot_names()             names of the receiver's own slots
//	object.remove_slot(name)        whether it was there
//	object.count(name, by=1)        adds to a counter without reading it
//	object.describe()               oid and slot names in a line
//	object.oid()                    the oid as a number
//	object.protect(), .unprotect()  for persons and genesis: who may write it
//	tree.new()                      an empty tree
func builtins() map[string]primitive {
	m := map[string]primitive{}
	for name, fn := range map[string]func(*run, batos.OID, starlark.Tuple, []starlark.Tuple) (starlark.Value, error){
		"object.clone":       objectClone,
		"object.new":         objectNew,
		"object.set_slot":    objectSetSlot,
		"object.slot":        objectSlot,
		"object.has_slot":    objectHasSlot,
		"object.slot_names":  objectSlotNames,
		"object.remove_slot": objectRemoveSlot,
		"object.count":       objectCount,
		"object.describe":    objectDescribe,
		"object.oid":         objectOID,
		"object.protect":     objectProtect,
		"object.unprotect":   objectUnprotect,
		"tree.new":           treeNew,
		DoesNotUnderstand:    doesNotUnderstand,
	} {
		m[name] = primitive{native: fn}
	}
	return m
}

func objectClone(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("clone", args, kwargs); err != nil {
		return nil, err
	}
	if err := x.mayRead(recv); err != nil {
		return nil, err
	}
	oid, err := x.clone(recv)
	if err != nil {
		return nil, err
	}
	return x.vm.Object(oid), nil
}

func objectNew(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	given := starlark.NewDict(0)
	if err := unpack("new", args, nil, "slots?", &given); err != nil {
		return nil, err
	}
	fv, err := x.vm.Freeze(given)
	if err != nil {
		return nil, err
	}
	slots := []object.Slot{{Name: "parent*", Value: object.Ref(recv)}}
	for _, e := range fv.(*object.Dict).Entries {
		name, ok := e.Key.(object.Str)
		if !ok {
			return nil, batos.Errorf(batos.Invalid, "a slot name is text, not a %s", e.Key.Kind())
		}
		slots = append(slots, object.Slot{Name: string(name), Value: e.Value})
	}
	named, err := x.freezeNamed(kwargs)
	if err != nil {
		return nil, err
	}
	oid, err := x.create(append(slots, named...))
	if err != nil {
		return nil, err
	}
	return x.vm.Object(oid), nil
}

func objectSetSlot(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var v starlark.Value
	if err := unpack("setSlot_value_", args, kwargs, "name", &name, "value", &v); err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return starlark.None, x.Set(x.vm, recv, name, v)
}

func objectSlot(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := unpack("slot_", args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	v, ok, err := x.Get(x.vm, recv, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, batos.Errorf(batos.NoSlot, "%s has no slot %s", x.Describe(recv), name)
	}
	return v, nil
}

func objectHasSlot(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := unpack("has_slot_", args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	if object.IsVolatile(name) {
		if err := x.seesVolatile(name); err != nil {
			return nil, err
		}
		_, ok := x.volatileValue(recv, name)
		return starlark.Bool(ok), nil
	}
	_, holder, ok, err := x.lookup(recv, name)
	if err == nil && ok {
		err = x.mayRead(holder)
	}
	return starlark.Bool(ok), err
}

func objectSlotNames(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("slot_names_", args, kwargs); err != nil {
		return nil, err
	}
	if err := x.mayRead(recv); err != nil {
		return nil, err
	}
	names, err := x.tx.SlotNames(recv)
	if err != nil {
		return nil, err
	}
	list := &object.List{Items: make([]object.Value, len(names))}
	for i, n := range names {
		list.Items[i] = object.Str(n)
	}
	return x.vm.Thaw(list, method.Owner{})
}

func objectRemoveSlot(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := unpack("remove_slot_", args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	had, err := x.remove(recv, name)
	return starlark.Bool(had), err
}

func objectCount(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	by := int64(1)
	if err := unpack("count_", args, kwargs, "name", &name, "by?", &by); err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if object.IsVolatile(name) {
		return nil, batos.Errorf(batos.Invalid, "slot %s is volatile: it holds no counter", name)
	}
	if err := x.writable(recv, name); err != nil {
		return nil, err
	}
	if err := x.wrote(method.Owner{OID: recv, Slot: name}, int64(len(name))+10); err != nil {
		return nil, err
	}
	return starlark.None, x.tx.AddCounter(recv, name, by)
}

func objectDescribe(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("describe", args, kwargs); err != nil {
		return nil, err
	}
	if err := x.mayRead(recv); err != nil {
		return nil, err
	}
	s, err := x.tx.Load(recv)
	if err != nil {
		return nil, err
	}
	name, _ := s.Slot("name")
	text, _ := name.(object.Str)
	return x.vm.Thaw(object.Str(object.Describe(recv, string(text), s)), method.Owner{})
}

func objectOID(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("key_", args, kwargs); err != nil {
		return nil, err
	}
	return starlark.MakeUint64(uint64(recv)), nil
}

func objectProtect(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("protect_", args, kwargs); err != nil {
		return nil, err
	}
	return x.protect(recv, object.Protected)
}

func objectUnprotect(x *run, recv batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("unprotect_", args, kwargs); err != nil {
		return nil, err
	}
	return x.protect(recv, object.Open)
}

func (x *run) protect(oid batos.OID, p object.Protection) (starlark.Value, error) {
	if a := x.top().authority; a < batos.Genesis {
		return nil, batos.Errorf(batos.Denied, "code of %s authority cannot decide who may write %s", a, oid)
	}
	if err := x.mayWrite(oid, ""); err != nil {
		return nil, err
	}
	x.writing(method.Owner{OID: oid})
	return starlark.None, x.tx.SetProtection(oid, p)
}

func treeNew(x *run, _ batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack("tree_", args, kwargs); err != nil {
		return nil, err
	}
	if err := x.making(1, 0); err != nil {
		return nil, err
	}
	t, err := x.tx.NewTree()
	if err != nil {
		return nil, err
	}
	x.mine(batos.OID(t))
	return x.vm.Thaw(t, method.Owner{})
}
