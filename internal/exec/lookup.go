package exec

import (
	"batos"
	"batos/object"
)

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
