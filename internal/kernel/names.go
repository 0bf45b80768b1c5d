package kernel

import (
	"context"
	"strings"

	"batos"
	"batos/image"
	"batos/object"
)

// resolve finds the object a door means: by OID, by root name (an exact name
// before the short form without _obj), or by a path of slots from a root.
func resolve(tx *image.Tx, ref batos.Ref) (batos.OID, error) {
	if ref.OID != 0 {
		ok, err := tx.Exists(ref.OID)
		if err == nil && !ok {
			err = batos.Errorf(batos.NotFound, "no object %s", ref.OID)
		}
		return ref.OID, err
	}
	if ref.Name == "" {
		return 0, batos.Errorf(batos.Invalid, "no target: give a root name, a path or an oid")
	}
	if c := ref.Name[0]; c >= '0' && c <= '9' {
		oid, err := batos.ParseOID(ref.Name)
		if err != nil {
			return 0, err
		}
		return resolve(tx, batos.Ref{OID: oid})
	}
	parts := strings.Split(ref.Name, ".")
	oid, ok, err := tx.Name(parts[0])
	if err == nil && !ok {
		oid, ok, err = tx.Name(parts[0] + "_obj")
	}
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, batos.Errorf(batos.NotFound, "no object is named %s", quote(parts[0]))
	}
	for i, p := range parts[1:] {
		v, _, ok, err := tx.Lookup(oid, p)
		if err != nil {
			return 0, err
		}
		at := strings.Join(parts[:i+2], ".")
		if !ok {
			return 0, batos.Errorf(batos.NoSlot, "%s: no slot %s", quote(at), quote(p))
		}
		r, isRef := v.(object.Ref)
		if !isRef {
			return 0, batos.Errorf(batos.Invalid, "%s holds a %s, not an object", quote(at), v.Kind())
		}
		oid = batos.OID(r)
	}
	return oid, nil
}

// Resolve finds the object that a door means.
func (k *Kernel) Resolve(ctx context.Context, ref batos.Ref) (oid batos.OID, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		oid, err = resolve(tx, ref)
		return err
	})
	return oid, err
}

// nameOf is the root name of an object, or its OID.
func nameOf(tx *image.Tx, oid batos.OID) (string, error) {
	kernel, ok, err := tx.Name(rootName)
	if err != nil || !ok {
		return oid.String(), err
	}
	v, ok, err := tx.Slot(kernel, "labels")
	if err != nil || !ok {
		return oid.String(), err
	}
	labels, ok := v.(object.Tree)
	if !ok {
		return oid.String(), nil
	}
	name, ok, err := tx.Tree(labels).Get(object.NewInt(int64(oid)))
	if err != nil || !ok {
		return oid.String(), err
	}
	return strOf(name), nil
}

// label is nameOf in a transaction of its own.
func (k *Kernel) label(ctx context.Context, oid batos.OID) (name string, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		name, err = nameOf(tx, oid)
		return err
	})
	return name, err
}

// christen gives an object a root name that is free.
func christen(tx *image.Tx, labels object.Tree, name string, oid batos.OID) error {
	if _, taken, err := tx.Name(name); err != nil || taken {
		if taken {
			err = batos.Errorf(batos.Conflict, "the name %s is taken", quote(name))
		}
		return err
	}
	if err := tx.SetName(name, oid); err != nil {
		return err
	}
	return tx.Tree(labels).Set(object.NewInt(int64(oid)), object.Str(name))
}

// quote makes text of a person fit for one line of an error.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.ReplaceAll(`"`+strings.ToValidUTF8(s, "?")+`"`, "\n", " ")
}

// Names lists the root names in order.
func (k *Kernel) Names(ctx context.Context) (out []string, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		for e, err := range tx.Names().Range(nil, nil) {
			if err != nil {
				return err
			}
			out = append(out, strOf(e.Key))
		}
		return nil
	})
	return out, err
}
