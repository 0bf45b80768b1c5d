package object

import "batos"

// Clone gives the state of a new object made after s: the same slots with the
// same values, parents included, but nothing that lives in one process only,
// open to change, and owned by whoever asked. Values are immutable, so sharing
// them is copying them; references go on pointing at the same objects. Trees
// are containers too, but live outside the state: [MapTrees] exchanges them
// for the copies that whoever stores the clone has made.
func (s *State) Clone(creator batos.Authority, by batos.MessageID) *State {
	slots := make([]Slot, 0, len(s.slots))
	for _, sl := range s.slots {
		if !IsVolatile(sl.Name) {
			slots = append(slots, sl)
		}
	}
	c := NewState(Open, creator, slots...)
	c.CreatedBy = by
	return c
}

// MapTrees gives s with every tree that its slots hold, at any depth, replaced
// by what f answers for it. It gives s itself if there is none.
func (s *State) MapTrees(f func(Tree) (Tree, error)) (*State, error) {
	return s.mapValues(func(v Value) (Value, error) {
		if t, ok := v.(Tree); ok {
			return f(t)
		}
		return v, nil
	})
}

func (s *State) mapValues(f func(Value) (Value, error)) (*State, error) {
	var slots []Slot
	for i, sl := range s.slots {
		v, err := Map(sl.Value, f)
		if err != nil {
			return nil, err
		}
		if slots == nil && !identical(v, sl.Value) {
			slots = append(make([]Slot, 0, len(s.slots)), s.slots[:i]...)
		}
		if slots != nil {
			slots = append(slots, Slot{sl.Name, v})
		}
	}
	if slots == nil {
		return s, nil
	}
	c := *s
	c.slots = slots // same names, same index
	return &c, nil
}

// Map gives v with every value in it that is no container replaced by what f
// answers for it, keys of dicts and members of sets included. Parts in which
// nothing changes are shared.
func Map(v Value, f func(Value) (Value, error)) (Value, error) {
	switch v := v.(type) {
	case *List:
		items, changed, err := mapItems(v.Items, f)
		if err != nil || !changed {
			return v, err
		}
		return &List{Items: items}, nil
	case *Tuple:
		items, changed, err := mapItems(v.Items, f)
		if err != nil || !changed {
			return v, err
		}
		return &Tuple{Items: items}, nil
	case *Set:
		items, changed, err := mapItems(v.Items, f)
		if err != nil || !changed {
			return v, err
		}
		return &Set{Items: items}, nil
	case *Dict:
		var out []Entry
		for i, e := range v.Entries {
			key, err := Map(e.Key, f)
			if err != nil {
				return nil, err
			}
			val, err := Map(e.Value, f)
			if err != nil {
				return nil, err
			}
			if out == nil && !(identical(key, e.Key) && identical(val, e.Value)) {
				out = append(make([]Entry, 0, len(v.Entries)), v.Entries[:i]...)
			}
			if out != nil {
				out = append(out, Entry{key, val})
			}
		}
		if out == nil {
			return v, nil
		}
		return &Dict{Entries: out}, nil
	}
	return f(v)
}

func mapItems(items []Value, f func(Value) (Value, error)) ([]Value, bool, error) {
	var out []Value
	for i, it := range items {
		v, err := Map(it, f)
		if err != nil {
			return nil, false, err
		}
		if out == nil && !identical(v, it) {
			out = append(make([]Value, 0, len(items)), items[:i]...)
		}
		if out != nil {
			out = append(out, v)
		}
	}
	return out, out != nil, nil
}

// identical is interface equality: containers by pointer, scalars by content
// (two big integers by pointer, which at worst copies one).
func identical(a, b Value) bool {
	switch a.(type) {
	case Float:
		return Equal(a, b) // NaN
	}
	return a == b
}
