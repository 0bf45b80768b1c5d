// Package proof says of a method what its name, the object's slots and the
// arguments promise, and judges what it does by that. It never sees the
// source: it makes calls on states near to the one the method was written for,
// somebody carries them out, and what was seen is held against what was
// promised.
//
// Read in this order: [Subject], what is known; [Probes], the calls; [Seen],
// what one of them did; [Judge] with its checks in checks.go, each of which
// has a name and is silent when the name says nothing it could hold the
// method to; words.go, what names promise; [Compare], the second opinion; and
// [Tests], calls with outcomes that somebody wrote down.
//
// The package is pure, and never reports a method because a probe raised: a
// method may refuse states that it was not made for.
package proof

import (
	"errors"
	"fmt"
	"slices"

	"batos"
	"batos/object"
)

// Subject is what is known of a method before it is read.
type Subject struct {
	Selector batos.Selector
	Slots    []object.Slot // the receiver's data slots with what they hold, its own before inherited ones
	Args     []object.Value
	Kwargs   []object.Slot
}

// Probe is one call to try: the slots that are to hold something else than
// they do, and the arguments.
type Probe struct {
	Slots []object.Slot
	Args  []object.Value
}

// Seen is what a method did in one probe. Before and After have every slot of
// the subject, in its order.
type Seen struct {
	Args          []object.Value
	Before, After []object.Slot
	Answer        object.Value
	Err           *batos.Error // nil: it came to its end
	Elsewhere     string       // what else it changed, in words; "" for nothing
}

// Finding is a promise that was not kept.
type Finding struct {
	Check string // which of [Checks]
	Text  string
}

// Err is the finding for the author, of code refused.
func (f *Finding) Err() *batos.Error {
	return batos.Errorf(batos.Refused, "%s: %s", f.Check, f.Text)
}

func (f *Finding) String() string { return f.Check + ": " + f.Text }

// before and after give what a slot held.
func (s *Seen) before(i int) object.Value { return s.Before[i].Value }
func (s *Seen) after(i int) object.Value  { return s.After[i].Value }

// changed reports whether the probe left slot i other than it was.
func (s *Seen) changed(i int) bool { return !same(s.before(i), s.after(i)) }

// quiet reports whether the probe changed nothing at all.
func (s *Seen) quiet() bool {
	if s.Elsewhere != "" {
		return false
	}
	for i := range s.Before {
		if s.changed(i) {
			return false
		}
	}
	return true
}

func (s *Seen) call(sel batos.Selector) string {
	text := string(sel) + "("
	for i, a := range s.Args {
		if i > 0 {
			text += ", "
		}
		text += object.Text(a, 40)
	}
	return text + ")"
}

// same compares numbers as numbers and everything else as it is.
func same(a, b object.Value) bool {
	if a == nil || b == nil {
		return (a == nil || a.Kind() == object.KindNone) && (b == nil || b.Kind() == object.KindNone)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && near(x, y)
	}
	switch x := a.(type) {
	case *object.List:
		y, ok := b.(*object.List)
		return ok && sameItems(x.Items, y.Items)
	case *object.Tuple:
		y, ok := b.(*object.Tuple)
		return ok && sameItems(x.Items, y.Items)
	case *object.Dict:
		y, ok := b.(*object.Dict)
		if !ok || len(x.Entries) != len(y.Entries) {
			return false
		}
		for _, e := range x.Entries {
			at := slices.IndexFunc(y.Entries, func(f object.Entry) bool { return same(e.Key, f.Key) })
			if at < 0 || !same(e.Value, y.Entries[at].Value) {
				return false
			}
		}
		return true
	}
	return object.Equal(a, b)
}

func sameItems(a, b []object.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

func near(x, y float64) bool {
	d := x - y
	if d < 0 {
		d = -d
	}
	scale := max(1, max(x, -x))
	return x == y || d <= 1e-9*scale
}

func number(v object.Value) (float64, bool) {
	switch v := v.(type) {
	case object.Int:
		if n, ok := v.Int64(); ok {
			return float64(n), true
		}
	case object.Float:
		return float64(v), true
	case object.Counter:
		return float64(v), true
	}
	return 0, false
}

// kindOf is the rough kind of a value: what a slot keeps when it is changed.
func kindOf(v object.Value) string {
	switch v.(type) {
	case object.Int, object.Float, object.Counter:
		return "number"
	case object.Str:
		return "text"
	case object.Bool:
		return "yes or no"
	case *object.List, *object.Tuple, *object.Set:
		return "list"
	case *object.Dict:
		return "dict"
	case nil, object.None:
		return "nothing"
	}
	return v.Kind().String()
}

func itemsOf(v object.Value) []object.Value {
	switch v := v.(type) {
	case *object.List:
		return v.Items
	case *object.Tuple:
		return v.Items
	case *object.Dict:
		out := make([]object.Value, len(v.Entries))
		for i, e := range v.Entries {
			out[i] = e.Value
		}
		return out
	}
	return nil
}

// Compare holds what one method did against what another did in the same
// probes. Probes in which either raised do not count, unless only the first
// did on the first probe. It answers nil for agreement.
func Compare(s Subject, first, other []Seen) *Finding {
	for i := range first {
		if i >= len(other) || first[i].Err != nil || other[i].Err != nil {
			continue
		}
		if !same(first[i].Answer, other[i].Answer) {
			return &Finding{SecondOpinion, fmt.Sprintf("%s answers %s; another who wrote it without seeing it would answer %s", first[i].call(s.Selector), object.Text(first[i].Answer, 80), object.Text(other[i].Answer, 80))}
		}
		for j := range first[i].After {
			if !same(first[i].after(j), other[i].after(j)) {
				return &Finding{SecondOpinion, fmt.Sprintf("%s leaves %s = %s; another who wrote it without seeing it would leave %s", first[i].call(s.Selector), first[i].After[j].Name, object.Text(first[i].after(j), 80), object.Text(other[i].after(j), 80))}
			}
		}
	}
	return nil
}

// Raised is err as a probe that did not come to its end has it.
func Raised(err error) *batos.Error {
	var e *batos.Error
	if errors.As(err, &e) {
		return e
	}
	return batos.Errorf(batos.Raised, "%w", err)
}
