package proof

import (
	"slices"
	"strings"

	"batos/object"
)

// Bounds of the probes of one method.
const (
	maxProbes   = 120
	maxVaried   = 6  // slots that are varied
	maxSize     = 64 // items of a container that is varied; a larger one stays
	slotsVaried = 6  // variants of one slot
	argsVaried  = 7  // variants of one argument
	allVaried   = 12 // probes in which everything is varied
)

// Probes makes the calls: the first is the message itself on the object as it
// is, then each slot and each argument is varied by itself, then all together.
// They follow from the subject alone.
func Probes(s Subject) []Probe {
	out := []Probe{{Args: s.Args}}
	near := s.numbers()
	texts := s.texts()
	var slots []int
	vary := map[int][]object.Value{}
	for _, i := range s.order() {
		if len(slots) == maxVaried {
			break
		}
		if vs := variants(s.Slots[i].Value, near, texts); len(vs) > 0 {
			slots = append(slots, i)
			vary[i] = s.others(i, vs)
		}
	}
	args := make([][]object.Value, len(s.Args))
	for i := range s.Args {
		args[i] = argVariants(s, i, near, texts)
	}
	for k := range max(slotsVaried, argsVaried) {
		for i := range s.Args {
			if k < min(argsVaried, len(args[i])) {
				given := append([]object.Value(nil), s.Args...)
				given[i] = args[i][k]
				out = append(out, Probe{Args: given})
			}
		}
		for _, i := range slots {
			if k < min(slotsVaried, len(vary[i])) {
				out = append(out, Probe{Slots: []object.Slot{{Name: s.Slots[i].Name, Value: vary[i][k]}}, Args: s.Args})
			}
		}
	}
	// What a slot does may show only with another argument.
	for i := range s.Args {
		for _, slot := range slots[:min(len(slots), 2)] {
			for k := range min(3, len(args[i])) {
				given := append([]object.Value(nil), s.Args...)
				given[i] = args[i][k]
				for j := range min(3, len(vary[slot])) {
					out = append(out, Probe{Slots: []object.Slot{{Name: s.Slots[slot].Name, Value: vary[slot][j]}}, Args: given})
				}
			}
		}
	}
	for k := range allVaried {
		p := Probe{Args: append([]object.Value(nil), s.Args...)}
		for n, i := range slots {
			if (k+n)%3 > 0 {
				p.Slots = append(p.Slots, object.Slot{Name: s.Slots[i].Name, Value: vary[i][(k+2*n)%len(vary[i])]})
			}
		}
		for i := range s.Args {
			if len(args[i]) > 0 {
				p.Args[i] = args[i][(k+i)%len(args[i])]
			}
		}
		out = append(out, p)
		// The same state with another argument, and the other way round.
		for i := range s.Args {
			if len(args[i]) > 1 {
				other := Probe{Slots: p.Slots, Args: append([]object.Value(nil), p.Args...)}
				other.Args[i] = args[i][(k+i+1)%len(args[i])]
				out = append(out, other)
			}
		}
	}
	if len(out) > maxProbes {
		out = out[:maxProbes]
	}
	return out
}

// others puts what the other slots of the same kind hold among the variants of
// a slot: two that are compared must be able to be equal.
func (s Subject) others(slot int, vs []object.Value) []object.Value {
	var out []object.Value
	for k, o := range s.Slots {
		if k != slot && len(out) < 2 && kindOf(o.Value) == kindOf(s.Slots[slot].Value) && !same(o.Value, s.Slots[slot].Value) {
			out = append(out, o.Value)
		}
	}
	n := min(2, len(vs))
	return append(append(append([]object.Value(nil), vs[:n]...), out...), vs[n:]...)
}

// order lists the slots, those that the name names first.
func (s Subject) order() []int {
	out := s.name().slots
	for i := range s.Slots {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// numbers are those near which something may turn: what slots, items and
// arguments hold.
func (s Subject) numbers() []int64 {
	var out []int64
	var add func(v object.Value, depth int)
	add = func(v object.Value, depth int) {
		if n, ok := number(v); ok && n == float64(int64(n)) && n < 1<<40 && n > -(1<<40) && !slices.Contains(out, int64(n)) && len(out) < 8 {
			out = append(out, int64(n))
		}
		if depth < 2 {
			for _, it := range itemsOf(v) {
				add(it, depth+1)
			}
		}
	}
	for _, a := range s.Args {
		add(a, 0)
	}
	for _, i := range s.name().slots {
		add(s.Slots[i].Value, 0)
	}
	for _, slot := range s.Slots {
		add(slot.Value, 0)
	}
	return out
}

// texts are those that may be asked for: what slots, items, keys, fields and
// arguments hold.
func (s Subject) texts() []object.Value {
	var out []object.Value
	add := func(v object.Value) {
		if t, ok := v.(object.Str); ok && t != "" && len(out) < 10 && !holds(out, v) {
			out = append(out, v)
		}
	}
	for _, a := range s.Args {
		add(a)
	}
	for _, i := range s.order() {
		add(s.Slots[i].Value)
		for _, k := range held(s.Slots[i].Value) {
			add(k)
		}
	}
	return out
}

func num(n int64) object.Value { return object.NewInt(n) }

// variants are values of the same kind that are not v. Near and texts are what
// the rest of the subject holds.
func variants(v object.Value, near []int64, texts []object.Value) []object.Value {
	var out []object.Value
	switch v := v.(type) {
	case object.Bool:
		return []object.Value{!v}
	case object.Int:
		n, ok := v.Int64()
		if !ok || n > 1<<40 || n < -(1<<40) {
			return nil
		}
		for _, m := range around(near, n) {
			out = append(out, num(m))
		}
	case object.Float:
		for _, m := range []object.Float{v + 5.5, 12.25, -2.5, 3, 0} {
			if m != v {
				out = append(out, m)
			}
		}
		for _, m := range near {
			out = append(out, object.Float(m), object.Float(m)+1)
		}
	case object.Str:
		// A question may be about letters only, capitals, digits, an address.
		for _, m := range append([]object.Value{object.Str(string(v) + "x"), object.Str("Kilo lima?"), object.Str("anna"), object.Str("42"), object.Str("ANN@EX.ORG")}, append(texts, object.Str(""))...) {
			if m != object.Value(v) {
				out = append(out, m)
			}
		}
	case *object.List:
		if len(v.Items) > maxSize {
			return nil
		}
		for _, items := range lists(v.Items) {
			out = append(out, &object.List{Items: items})
		}
	case *object.Dict:
		if len(v.Entries) > maxSize {
			return nil
		}
		out = dicts(v)
	}
	return out
}

// around are numbers near those that matter, and some far away, but not n.
func around(near []int64, n int64) []int64 {
	var out []int64
	add := func(m int64) {
		if m != n && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	add(n + 5)
	add(-2)
	for i, m := range near {
		if m != n && i < 4 {
			add(m)
			add(m + 1)
			add(m - 1)
		}
	}
	for _, m := range []int64{n + 1, 3, 12, 0, 40, 7} {
		add(m)
	}
	return out
}

// lists are other lists of the same kind of item.
func lists(items []object.Value) [][]object.Value {
	if len(items) == 0 {
		return [][]object.Value{{num(4), num(9), num(2)}, {object.Str("pear"), object.Str("fig")}}
	}
	turned := make([]object.Value, len(items))
	for i, it := range items {
		turned[len(items)-1-i] = it
	}
	moved := make([]object.Value, len(items))
	for i, it := range items {
		moved[i] = nudge(it, i)
	}
	longer := append(append([]object.Value(nil), moved...), nudge(items[0], 7), items[len(items)-1])
	return [][]object.Value{longer, turned, moved, {}}
}

// nudge is a value near to v: a record keeps its texts but one, and its
// numbers move.
func nudge(v object.Value, by int) object.Value {
	switch v := v.(type) {
	case object.Int:
		if n, ok := v.Int64(); ok && n < 1<<40 && n > -(1<<40) {
			return num(n + int64(3*by+1))
		}
	case object.Float:
		return v + object.Float(by) + 1.5
	case object.Str:
		return object.Str(string(v) + strings.Repeat("z", by%3+1))
	case object.Bool:
		return object.Bool(by%2 == 0)
	case *object.Dict:
		d := &object.Dict{Entries: make([]object.Entry, len(v.Entries))}
		for i, e := range v.Entries {
			d.Entries[i] = object.Entry{Key: e.Key, Value: nudge(e.Value, by+i)}
		}
		return d
	case *object.List:
		l := &object.List{Items: make([]object.Value, len(v.Items))}
		for i, it := range v.Items {
			l.Items[i] = nudge(it, by+i)
		}
		return l
	}
	return v
}

func dicts(v *object.Dict) []object.Value {
	if len(v.Entries) == 0 {
		return []object.Value{&object.Dict{Entries: []object.Entry{{Key: object.Str("kilo"), Value: num(4)}, {Key: object.Str("lima"), Value: num(9)}}}}
	}
	moved := nudge(v, 2)
	longer := &object.Dict{Entries: append([]object.Entry(nil), v.Entries...)}
	taken := false
	for _, e := range v.Entries {
		taken = taken || object.Equal(e.Key, object.Str("kilo"))
	}
	if _, text := v.Entries[0].Key.(object.Str); text && !taken {
		longer.Entries = append(longer.Entries, object.Entry{Key: object.Str("kilo"), Value: nudge(v.Entries[0].Value, 4)})
	}
	turned := &object.Dict{}
	for i := len(v.Entries) - 1; i >= 0; i-- {
		turned.Entries = append(turned.Entries, v.Entries[i])
	}
	return []object.Value{moved, longer, turned, &object.Dict{}}
}

// argVariants are other arguments: of the same kind, and for a text those that
// occur in the slots, since an argument is often a key, an item or a name.
func argVariants(s Subject, i int, near []int64, texts []object.Value) []object.Value {
	v := s.Args[i]
	var out []object.Value
	add := func(o object.Value) {
		if same(o, v) {
			return
		}
		for _, h := range out {
			if same(h, o) {
				return
			}
		}
		out = append(out, o)
	}
	switch v := v.(type) {
	case object.Str:
		for _, t := range texts {
			add(t)
		}
		add(object.Str(string(v) + "x"))
		if len(v) > 1 {
			add(v[:1])
		}
		add(object.Str("kilo"))
	case object.Int:
		if n, ok := v.Int64(); ok && n < 1<<40 && n > -(1<<40) {
			for _, m := range append([]int64{n + 2, 1}, around(near, n)...) {
				add(num(m))
			}
		}
	case *object.List:
		for _, slot := range s.Slots { // a list of what is there
			if l, ok := slot.Value.(*object.List); ok && len(l.Items) > 0 && len(l.Items) <= maxSize {
				add(slot.Value)
				add(&object.List{Items: l.Items[:1]})
			}
		}
		for _, o := range variants(v, near, texts) {
			add(o)
		}
	default:
		for _, o := range variants(v, near, texts) {
			add(o)
		}
	}
	return out
}

// held are the texts that a container holds or is asked by.
func held(v object.Value) []object.Value {
	var out []object.Value
	switch v := v.(type) {
	case *object.Dict:
		for _, e := range v.Entries {
			if _, ok := e.Key.(object.Str); ok {
				out = append(out, e.Key)
			}
		}
	case *object.List:
		for _, it := range v.Items {
			switch it := it.(type) {
			case object.Str:
				out = append(out, it)
			case *object.Dict:
				for _, e := range it.Entries {
					if t, ok := e.Value.(object.Str); ok {
						out = append(out, t)
					}
				}
			}
		}
	}
	return out
}

// With gives the slots of the subject as a probe has them.
func (s Subject) With(p Probe) []object.Slot {
	out := append([]object.Slot(nil), s.Slots...)
	for _, set := range p.Slots {
		for i := range out {
			if out[i].Name == set.Name {
				out[i].Value = set.Value
			}
		}
	}
	return out
}
