package object

import "batos"

// Walk visits start and everything it delegates to, in lookup order: an
// object before its parents, parents in slot order, depth first, each object
// once however many ways lead to it, so that circles of parents end. Visit
// answers the parents of an object, or stops the walk.
func Walk(start batos.OID, visit func(batos.OID) (parents []batos.OID, stop bool, err error)) error {
	var (
		seen  seenSet
		room  [16]batos.OID
		stack = append(room[:0], start)
	)
	for len(stack) > 0 {
		oid := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !seen.add(oid) {
			continue
		}
		parents, stop, err := visit(oid)
		if err != nil || stop {
			return err
		}
		for i := len(parents) - 1; i >= 0; i-- {
			stack = append(stack, parents[i])
		}
	}
	return nil
}

// seenSet is a set of OIDs that is nearly always small.
type seenSet struct {
	few  [16]batos.OID
	n    int
	many map[batos.OID]struct{}
}

// add reports whether oid is new.
func (s *seenSet) add(oid batos.OID) bool {
	for _, o := range s.few[:s.n] {
		if o == oid {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = oid
		s.n++
		return true
	}
	if _, ok := s.many[oid]; ok {
		return false
	}
	if s.many == nil {
		s.many = map[batos.OID]struct{}{}
	}
	s.many[oid] = struct{}{}
	return true
}

// Heap gives the state of an object, or an error with code not_found.
type Heap func(batos.OID) (*State, error)

// Find looks name up from start on and gives what the first object that has it
// holds, and that object. A parent that does not exist is an error when the
// walk gets to it.
func (h Heap) Find(start batos.OID, name string) (v Value, holder batos.OID, ok bool, err error) {
	return h.FindAfter(start, 0, name)
}

// FindAfter is Find for a resend: it passes over everything up to and with the
// object after in start's lookup order. Zero passes over nothing.
func (h Heap) FindAfter(start, after batos.OID, name string) (v Value, holder batos.OID, ok bool, err error) {
	passed := after == 0
	err = Walk(start, func(oid batos.OID) ([]batos.OID, bool, error) {
		s, err := h(oid)
		if err != nil {
			return nil, false, err
		}
		if passed {
			if v, ok = s.Slot(name); ok {
				holder = oid
				return nil, true, nil
			}
		}
		passed = passed || oid == after
		return s.Parents(), false, nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	return v, holder, ok, nil
}

// Order lists start and everything it delegates to, in lookup order.
func (h Heap) Order(start batos.OID) ([]batos.OID, error) {
	var out []batos.OID
	err := Walk(start, func(oid batos.OID) ([]batos.OID, bool, error) {
		s, err := h(oid)
		if err != nil {
			return nil, false, err
		}
		out = append(out, oid)
		return s.Parents(), false, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
