package exec

import (
	"encoding/hex"
	"fmt"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
	"batos/object"
)

// Open implements [method.Effects].
func (x *run) Open(_ *method.Run, v object.Value) (method.Handle, error) {
	switch v := v.(type) {
	case object.Tree:
		x.learn(v, x.thawing)
		return &treeHandle{x, v}, nil
	case object.Blob:
		return blobHandle(v), nil
	}
	return nil, batos.Errorf(batos.Raised, "a %s has nothing to open", v.Kind())
}

// blobHandle is a blob as code sees it: size and hash. Its bytes are not for
// methods.
type blobHandle object.Blob

func (b blobHandle) Value() object.Value { return object.Blob(b) }
func (b blobHandle) Methods() []string   { return []string{"hash", "size"} }

func (b blobHandle) Call(_ *method.Run, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpack(name, args, kwargs); err != nil {
		return nil, err
	}
	if name == "size" {
		return starlark.MakeInt64(b.Size), nil
	}
	return starlark.String(hex.EncodeToString(b.Hash[:])), nil
}

// What the dialect's budget is charged for trees, in bytes: a look at one, and
// one entry of an answer.
const (
	treeCost  = 512
	entryCost = 64
)

// treeHandle is a tree as code sees it. Containers in its values are owned by
// their key, so that a change inside one is kept.
type treeHandle struct {
	x    *run
	tree object.Tree
}

var _ method.Mapping = (*treeHandle)(nil)

func (t *treeHandle) Value() object.Value { return t.tree }

func (t *treeHandle) Methods() []string {
	return []string{"delete", "get", "has", "items", "keys", "max", "min", "set", "size", "values"}
}

// unpack is starlark.UnpackArgs with the right code.
func unpack(name string, args starlark.Tuple, kwargs []starlark.Tuple, pairs ...any) error {
	if err := starlark.UnpackArgs(name, args, kwargs, pairs...); err != nil {
		return batos.Errorf(batos.Arity, "%s", err)
	}
	return nil
}

func (t *treeHandle) Call(r *method.Run, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if t.x.halted != nil {
		return nil, errHalted
	}
	if err := r.Charge(treeCost); err != nil {
		return nil, err
	}
	var key, other starlark.Value
	switch name {
	case "get":
		other = starlark.None
		if err := unpack(name, args, kwargs, "key", &key, "default?", &other); err != nil {
			return nil, err
		}
		v, ok, err := t.Lookup(r, key)
		if err != nil || ok {
			return v, err
		}
		return other, nil
	case "set":
		if err := unpack(name, args, kwargs, "key", &key, "value", &other); err != nil {
			return nil, err
		}
		return starlark.None, t.Store(r, key, other)
	case "has":
		if err := unpack(name, args, kwargs, "key", &key); err != nil {
			return nil, err
		}
		_, ok, err := t.Lookup(r, key)
		return starlark.Bool(ok), err
	case "delete":
		if err := unpack(name, args, kwargs, "key", &key); err != nil {
			return nil, err
		}
		return t.remove(key)
	case "size":
		if err := unpack(name, args, kwargs); err != nil {
			return nil, err
		}
		n, err := t.Len(r)
		return starlark.MakeInt(n), err
	case "min", "max":
		if err := unpack(name, args, kwargs); err != nil {
			return nil, err
		}
		return t.end(name)
	}
	return t.list(name, args, kwargs)
}

func (t *treeHandle) owner(key object.Value) method.Owner {
	return method.Owner{OID: batos.OID(t.tree), Slot: treeSlot(key)}
}

// Lookup implements [method.Mapping].
func (t *treeHandle) Lookup(r *method.Run, key starlark.Value) (starlark.Value, bool, error) {
	if err := r.Charge(treeCost); err != nil {
		return nil, false, err
	}
	k, err := t.x.vm.Freeze(key)
	if err != nil {
		return nil, false, err
	}
	v, ok, err := t.x.tx.Tree(t.tree).Get(k)
	if err != nil || !ok {
		return nil, false, err
	}
	tv, err := t.thaw(k, v)
	return tv, err == nil, err
}

func (t *treeHandle) thaw(key, v object.Value) (starlark.Value, error) {
	if !isContainer(v) && v.Kind() != object.KindTree {
		return t.x.vm.Thaw(v, method.Owner{})
	}
	return t.x.thaw(v, t.owner(key), key)
}

// Store implements [method.Mapping].
func (t *treeHandle) Store(r *method.Run, key, v starlark.Value) error {
	x := t.x
	if err := r.Charge(treeCost); err != nil {
		return err
	}
	if err := x.mayWriteTree(t.tree); err != nil {
		return err
	}
	k, err := x.vm.Freeze(key)
	if err != nil {
		return err
	}
	fv, err := x.vm.Freeze(v)
	if err != nil {
		return err
	}
	if err := x.storable(method.Owner{Slot: object.Text(k, 40)}, fv, nil, x.top()); err != nil {
		return err
	}
	o := t.owner(k)
	if err := x.wrote(o, size(k)+size(fv)); err != nil {
		return err
	}
	if err := x.tx.Tree(t.tree).Set(k, fv); err != nil {
		return err
	}
	return x.holdKey(o, fv, v, k)
}

func (t *treeHandle) remove(key starlark.Value) (starlark.Value, error) {
	x := t.x
	if err := x.mayWriteTree(t.tree); err != nil {
		return nil, err
	}
	k, err := x.vm.Freeze(key)
	if err != nil {
		return nil, err
	}
	o := t.owner(k)
	if err := x.wrote(o, size(k)); err != nil {
		return nil, err
	}
	delete(x.held, o)
	had, err := x.tx.Tree(t.tree).Delete(k)
	return starlark.Bool(had), err
}

// Len implements [method.Mapping].
func (t *treeHandle) Len(*method.Run) (int, error) {
	n, err := t.x.tx.Tree(t.tree).Len()
	return int(n), err
}

func (t *treeHandle) end(name string) (starlark.Value, error) {
	tree := t.x.tx.Tree(t.tree)
	find := tree.Min
	if name == "max" {
		find = tree.Max
	}
	k, v, ok, err := find()
	if err != nil {
		return nil, err
	}
	if !ok {
		return starlark.None, nil
	}
	return t.pair(k, v)
}

func (t *treeHandle) pair(k, v object.Value) (starlark.Value, error) {
	tk, err := t.x.vm.Thaw(k, method.Owner{})
	if err != nil {
		return nil, err
	}
	tv, err := t.thaw(k, v)
	if err != nil {
		return nil, err
	}
	return starlark.Tuple{tk, tv}, nil
}

// list is keys, values and items: those with start <= key < stop, in order, at
// most limit of them.
func (t *treeHandle) list(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var start, stop starlark.Value = starlark.None, starlark.None
	limit := -1
	if err := unpack(name, args, kwargs, "start?", &start, "stop?", &stop, "limit?", &limit); err != nil {
		return nil, err
	}
	from, err := t.bound(start)
	if err != nil {
		return nil, err
	}
	to, err := t.bound(stop)
	if err != nil {
		return nil, err
	}
	var out []starlark.Value
	for e, err := range t.x.tx.Tree(t.tree).Range(from, to) {
		if err != nil {
			return nil, err
		}
		if limit >= 0 && len(out) == limit {
			break
		}
		if err := t.x.vm.Charge(entryCost); err != nil {
			return nil, err
		}
		var v starlark.Value
		switch name {
		case "keys":
			v, err = t.x.vm.Thaw(e.Key, method.Owner{})
		case "values":
			v, err = t.thaw(e.Key, e.Value)
		case "items":
			v, err = t.pair(e.Key, e.Value)
		default:
			return nil, fmt.Errorf("a tree has no %s", name)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return starlark.NewList(out), nil
}

func (t *treeHandle) bound(v starlark.Value) (object.Value, error) {
	if v == starlark.None {
		return nil, nil
	}
	return t.x.vm.Freeze(v)
}
