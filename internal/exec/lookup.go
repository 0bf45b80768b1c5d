package exec

import (
	"slices"

	"batos"
	"batos/image"
	"batos/object"
)

// SelfWritten is the slot in which an object lists selectors that are written
// for it alone. What a mission wrote for it under one of them speaks of its own
// slots, and answers nobody who delegates to it.
const SelfWritten = "self_written"

// Answering finds what answers a message: the first that delegation comes to,
// without what was written for another object alone.
func Answering(tx *image.Tx, recv batos.OID, sel batos.Selector) (object.Value, batos.OID, bool, error) {
	return answering(tx, tx.Lookup, tx.LookupAfter, recv, sel)
}

// answering is Answering with other ways to look up.
func answering(
	tx *image.Tx, first func(batos.OID, string) (object.Value, batos.OID, bool, error),
	after func(oid, after batos.OID, name string) (object.Value, batos.OID, bool, error), recv batos.OID, sel batos.Selector,
) (v object.Value, holder batos.OID, ok bool, err error) {
	v, holder, ok, err = first(recv, string(sel))
	for ok && err == nil && holder != recv {
		m, isMethod := v.(*object.Method)
		if !isMethod || m.Author != batos.Persona {
			break
		}
		listed, _, lerr := tx.Slot(holder, SelfWritten)
		l, isList := listed.(*object.List)
		if lerr != nil || !isList || !slices.Contains(l.Items, object.Value(object.Str(sel))) {
			err = lerr
			break
		}
		v, holder, ok, err = after(recv, holder, string(sel))
	}
	return v, holder, ok, err
}

// lookup finds what answers to a name through an object, the candidate of a
// trial included.
func (x *run) lookup(oid batos.OID, name string) (object.Value, batos.OID, bool, error) {
	if c := x.overlay; c != nil && name == string(c.Selector) {
		return x.lookupTried(oid, 0, name)
	}
	return x.tx.Lookup(oid, name)
}

// lookupAfter is lookup past the object after, for resend.
func (x *run) lookupAfter(oid, after batos.OID, name string) (object.Value, batos.OID, bool, error) {
	if c := x.overlay; c != nil && name == string(c.Selector) {
		return x.lookupTried(oid, after, name)
	}
	return x.tx.LookupAfter(oid, after, name)
}

// lookupTried walks in lookup order and finds the candidate where it would be
// installed.
func (x *run) lookupTried(start, after batos.OID, name string) (v object.Value, holder batos.OID, ok bool, err error) {
	passed := after == 0
	err = object.Walk(start, func(oid batos.OID) ([]batos.OID, bool, error) {
		switch {
		case !passed:
			passed = oid == after
		case oid == x.overlay.OID:
			v, ok = x.candidate, true
		default:
			var err error
			if v, ok, err = x.own(oid, name); err != nil {
				return nil, false, err
			}
		}
		if ok {
			holder = oid
			return nil, true, nil
		}
		parents, err := x.tx.Parents(oid)
		return parents, false, err
	})
	return v, holder, ok, err
}

// own is what an object itself holds under a name, the candidate included.
func (x *run) own(oid batos.OID, name string) (object.Value, bool, error) {
	if c := x.req.Candidate; c != nil && oid == c.OID && name == string(c.Selector) {
		return x.candidate, true, nil
	}
	return x.tx.Slot(oid, name)
}
