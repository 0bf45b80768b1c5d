package proof

import (
	"fmt"
	"slices"
	"strings"

	"batos/object"
)

// The checks of this file know what a word means exactly, and what a mistake
// would make of it. They speak only if everything that was seen is what the
// mistake would do, and something is not what the word means: a method that
// does a third thing may be right for reasons that they do not see.

// newValue: a number, text or truth that is changed is what is answered.
func newValue(s Subject, n name, seen []Seen) string {
	slot, wrong, right := -1, 0, 0
	example := 0
	for i := range seen {
		if seen[i].Elsewhere != "" {
			return ""
		}
		changed := -1
		for j := range s.Slots {
			if seen[i].changed(j) {
				if changed >= 0 {
					return "" // of several, any may be meant
				}
				changed = j
			}
		}
		if changed < 0 {
			continue
		}
		if slot >= 0 && slot != changed {
			return ""
		}
		slot = changed
		kind := kindOf(seen[i].after(slot))
		if k := kindOf(seen[i].Answer); kind == "list" || kind == "dict" || k != kind {
			return "" // what it took, or whether it could
		}
		switch {
		case same(seen[i].Answer, seen[i].after(slot)):
			right++
		case len(seen[i].Args) > 0 && same(seen[i].Answer, seen[i].Args[0]), same(seen[i].Answer, seen[i].before(slot)):
			return "" // what was given or taken
		default:
			wrong++
			example = i
		}
	}
	if wrong >= 3 && right == 0 {
		return fmt.Sprintf("%s answers %s; the new value of %s is %s", seen[example].call(s.Selector), object.Text(seen[example].Answer, 40), s.Slots[slot].Name, object.Text(seen[example].after(slot), 40))
	}
	return ""
}

// A relation is one way to compare.
type relation struct {
	name string
	of   func(x, y float64) bool
}

var (
	above   = relation{"above", func(x, y float64) bool { return x > y }}
	atLeast = relation{"at least", func(x, y float64) bool { return x >= y }}
	below   = relation{"below", func(x, y float64) bool { return x < y }}
	atMost  = relation{"at most", func(x, y float64) bool { return x <= y }}
	equal   = relation{"equal to", func(x, y float64) bool { return x == y }}
	unequal = relation{"not equal to", func(x, y float64) bool { return x != y }}
)

var relations = []relation{above, atLeast, below, atMost, equal, unequal}

// meant is the relation that the name says, if it says one.
func (n name) meant() (relation, bool) {
	text := "_" + strings.Join(n.words, "_") + "_"
	has := func(words string) bool {
		for _, w := range strings.Fields(words) {
			if strings.Contains(text, "_"+w+"_") {
				return true
			}
		}
		return false
	}
	if has("not no isnt never without except unless un non dont doesnt outside between within drop omit skip exclude excluding remove before after") {
		return relation{}, false
	}
	var found []relation
	if has("at_least or_more or_above reach reaches reached no_less_than minimum_of") {
		found = append(found, atLeast)
	} else if has("above over more_than greater greater_than exceeding exceeds exceed bigger bigger_than larger larger_than beyond higher higher_than longer_than older_than surpasses tops beats") {
		found = append(found, above)
	}
	if has("at_most or_less or_below or_fewer no_more_than up_to maximum_of") {
		found = append(found, atMost)
	} else if has("below under less_than fewer_than smaller smaller_than lower lower_than shorter_than younger_than beneath") {
		found = append(found, below)
	}
	if has("equal_to equals equal equalling exactly same_as matching matches") {
		found = append(found, equal)
	}
	if len(found) != 1 {
		return relation{}, false
	}
	return found[0], true
}

// observations are what a method may make of the numbers that fit.
var observations = []func(fit []bool, items []object.Value, answer object.Value) bool{
	func(fit []bool, _ []object.Value, a object.Value) bool { // how many
		n, ok := number(a)
		return ok && n == float64(count(fit))
	},
	func(fit []bool, items []object.Value, a object.Value) bool { // which
		l, ok := a.(*object.List)
		if !ok {
			return false
		}
		var want []object.Value
		for i, f := range fit {
			if f {
				want = append(want, items[i])
			}
		}
		return sameItems(l.Items, want)
	},
	func(fit []bool, items []object.Value, a object.Value) bool { // their total
		n, ok := number(a)
		t := 0.0
		for i, f := range fit {
			x, isNumber := number(items[i])
			if !isNumber {
				return false
			}
			if f {
				t += x
			}
		}
		return ok && near(n, t)
	},
	func(fit []bool, _ []object.Value, a object.Value) bool { // any
		b, ok := a.(object.Bool)
		return ok && bool(b) == slices.Contains(fit, true)
	},
	func(fit []bool, _ []object.Value, a object.Value) bool { // all
		b, ok := a.(object.Bool)
		return ok && bool(b) == !slices.Contains(fit, false)
	},
}

func count(fit []bool) int {
	n := 0
	for _, f := range fit {
		if f {
			n++
		}
	}
	return n
}

// measured gives the numbers that a relation is about: the slot itself, its
// items, or the field of its records that the name names; with the items that
// an answer may consist of.
func measured(n name, v object.Value) (x []float64, items []object.Value) {
	if f, ok := number(v); ok {
		return []float64{f}, []object.Value{v}
	}
	switch v := v.(type) {
	case *object.List:
		for _, it := range v.Items {
			if f, ok := number(it); ok {
				x, items = append(x, f), append(items, it)
				continue
			}
			d, ok := it.(*object.Dict)
			if !ok {
				return nil, nil
			}
			f, ok := namedField(n, d)
			if !ok {
				return nil, nil
			}
			x, items = append(x, f), append(items, it)
		}
	case *object.Dict:
		for _, e := range v.Entries {
			f, ok := number(e.Value)
			if !ok {
				return nil, nil
			}
			x, items = append(x, f), append(items, e.Key)
		}
	}
	return x, items
}

// namedField is the number in a record that the name names, or its only one.
func namedField(n name, d *object.Dict) (float64, bool) {
	only, found := 0.0, 0
	for _, e := range d.Entries {
		key, _ := e.Key.(object.Str)
		f, ok := number(e.Value)
		if !ok {
			continue
		}
		only = f
		found++
		if indexOf(n.words, strings.Split(string(key), "_")) >= 0 {
			return f, true
		}
	}
	return only, found == 1
}

// threshold: the relation that the name says is the one that holds.
func threshold(s Subject, n name, seen []Seen) string {
	want, ok := n.meant()
	if !ok || len(s.Args) > 1 {
		return ""
	}
	for i := range seen {
		if !seen[i].quiet() {
			return "" // what is left may be what does not fit
		}
	}
	var about []int
	for i := range s.Slots {
		if len(n.slots) == 0 || slices.Contains(n.slots, i) {
			about = append(about, i)
		}
	}
	for _, slot := range about {
		for _, limit := range limits(s, n, slot) {
			if text := relates(s, n, seen, want, slot, limit); text != "" {
				return text
			}
		}
	}
	return ""
}

// limits are where the other side of a relation comes from: -1 is the
// argument, else a slot.
func limits(s Subject, n name, slot int) []int {
	if len(s.Args) == 1 {
		if _, ok := number(s.Args[0]); ok {
			return []int{-1}
		}
		return nil
	}
	var out []int
	if len(n.slots) == 2 && n.slots[0] == slot {
		if _, ok := number(s.Slots[n.slots[1]].Value); ok {
			out = append(out, n.slots[1])
		}
	}
	return out
}

func relates(s Subject, n name, seen []Seen, want relation, slot, limit int) string {
	for _, observe := range observations {
		alive := slices.Clone(relations)
		tried := 0
		for i := range seen {
			v := seen[i].before(slot)
			y := 0.0
			ok := false
			if limit < 0 {
				y, ok = number(seen[i].Args[0])
			} else {
				y, ok = number(seen[i].before(limit))
			}
			x, items := measured(n, v)
			if !ok || len(x) == 0 {
				continue
			}
			tried++
			alive = slices.DeleteFunc(alive, func(r relation) bool {
				fit := make([]bool, len(x))
				for k := range x {
					fit[k] = r.of(x[k], y)
				}
				return !observe(fit, items, seen[i].Answer)
			})
		}
		if tried < 4 || len(alive) != 1 {
			continue
		}
		if alive[0].name != want.name {
			return fmt.Sprintf("the name says %s, and what it does is %s", want.name, alive[0].name)
		}
		return ""
	}
	return ""
}

// nothing: how many, or the total, of an empty list is 0.
func nothing(s Subject, n name, seen []Seen) string {
	if !n.asksHowMany() && n.first() != "total" && n.first() != "sum" || len(n.slots) != 1 {
		return ""
	}
	slot := n.slots[0]
	for i := range seen {
		if k := kindOf(seen[i].before(slot)); k != "list" && k != "dict" || len(itemsOf(seen[i].before(slot))) > 0 {
			continue
		}
		if got, ok := number(seen[i].Answer); ok && got != 0 {
			return fmt.Sprintf("%s answers %g when %s is empty", seen[i].call(s.Selector), got, s.Slots[slot].Name)
		}
	}
	return ""
}

// textForms are words for what is done to a text, each with what is taken for
// it.
var textForms = []struct {
	words string
	of    func(string) string
}{
	{"upper uppercase uppercased capitals caps shout", strings.ToUpper},
	{"lower lowercase lowercased", strings.ToLower},
	{"trimmed stripped", strings.TrimSpace},
	{"reversed backwards", func(t string) string {
		r := []rune(t)
		slices.Reverse(r)
		return string(r)
	}},
}

// text: a text, or each text of a list, in the form that the name says and not
// in another one.
func text(s Subject, n name, seen []Seen) string {
	if len(s.Args) > 0 || len(n.slots) != 1 {
		return ""
	}
	want := -1
	for i, f := range textForms {
		if n.has(strings.Fields(f.words)...) {
			if want >= 0 {
				return ""
			}
			want = i
		}
	}
	if want < 0 {
		return ""
	}
	alive := map[int]bool{}
	for i := range textForms {
		alive[i] = true
	}
	tried := 0
	for i := range seen {
		in, out := textsOf(seen[i].before(n.slots[0])), textsOf(seen[i].Answer)
		if len(in) == 0 || len(in) != len(out) {
			continue
		}
		tried++
		for k := range textForms {
			for j := range in {
				alive[k] = alive[k] && textForms[k].of(in[j]) == out[j]
			}
		}
	}
	if tried < 3 || alive[want] {
		return ""
	}
	for k := range textForms {
		if alive[k] {
			return fmt.Sprintf("the name says %s, and what it does is %s", strings.Fields(textForms[want].words)[0], strings.Fields(textForms[k].words)[0])
		}
	}
	return ""
}

func textsOf(v object.Value) []string {
	if t, ok := v.(object.Str); ok {
		return []string{string(t)}
	}
	var out []string
	for _, it := range itemsOf(v) {
		t, ok := it.(object.Str)
		if !ok {
			return nil
		}
		out = append(out, string(t))
	}
	return out
}
