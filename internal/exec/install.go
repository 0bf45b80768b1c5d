package exec

import (
	"batos"
	"batos/image"
	"batos/object"
)

// Install puts m into oid's slot m.Selector, numbered after the method that
// the slot holds now. It is for the gate, and for a person's def: it asks for
// nobody's authority, and takes the method's author from m. Sealed objects are
// refused with code denied.
func Install(tx *image.Tx, oid batos.OID, m *object.Method) error {
	sel, err := batos.ParseSelector(string(m.Selector))
	if err != nil {
		return err
	}
	p, err := tx.Protection(oid)
	if err != nil {
		return err
	}
	if p == object.Sealed {
		return batos.Errorf(batos.Denied, "no method can be installed in %s: the object is sealed", oid)
	}
	c := *m
	c.Selector, c.Version = sel, 1
	old, _, err := tx.Slot(oid, string(sel))
	if err != nil {
		return err
	}
	if before, ok := old.(*object.Method); ok {
		c.Version = before.Version + 1
	}
	return tx.SetSlot(oid, string(sel), &c)
}
