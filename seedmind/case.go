package seedmind

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"batos"
	"batos/internal/mind"
	"batos/object"
)

// Case is one message to one object, and what must come of it. A file of
// cases has one JSON object on each line; empty lines and lines that begin
// with // are left out:
//
//	{"slots": {"count": 3}, "selector": "increment_by", "args": [4], "want": 7, "after": {"count": 7}}
//
// "slots" are the object's data slots in order. "args" may be missing, and
// "kwargs" names further arguments. "want" is the answer, "want_any" a list of
// answers that are all right; without it any
// answer will do. "after" lists slots with what they must hold then; a slot
// that it does not list must be as before; without "after" the slots are not
// looked at. Numbers are compared as numbers: 2 is 2.0.
//
// "receiver" is the object's name, if it matters, and "area" the heading under
// which the case is counted. "more" holds further calls of the same method on
// other states: objects with "slots", "args", "want" and "after". "refuse":
// true says that nobody could know what is meant: not to know is right.
type Case struct {
	Selector batos.Selector
	Receiver string
	Area     string
	Refuse   bool
	Trials   []Trial // the first is the message itself
	Kwargs   []object.Slot
	Line     int
}

// Trial is one call of the method and its outcome.
type Trial struct {
	Slots []object.Slot
	Args  []object.Value
	Want  object.Value   // nil: any
	Any   []object.Value // instead of Want: one of these
	After []object.Slot  // every slot, or nil: not looked at
}

// ReadCases reads a file of cases.
func ReadCases(r io.Reader) ([]Case, error) {
	var out []Case
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "//") {
			continue
		}
		c, err := parseCase(text)
		if err != nil {
			return nil, batos.Errorf(batos.Invalid, "line %d: %w", n, err)
		}
		c.Line = n
		out = append(out, c)
	}
	return out, lines.Err()
}

func parseCase(text string) (Case, error) {
	c := Case{Area: "other"}
	top, err := members(text)
	if err != nil {
		return c, err
	}
	first := Trial{}
	for _, e := range top {
		switch k := string(e.Key.(object.Str)); k { // members gives string keys
		case "selector":
			s, _ := e.Value.(object.Str)
			if c.Selector, err = batos.ParseSelector(string(s)); err != nil {
				return c, err
			}
		case "receiver":
			s, _ := e.Value.(object.Str)
			c.Receiver = string(s)
		case "area":
			s, _ := e.Value.(object.Str)
			c.Area = string(s)
		case "refuse":
			b, _ := e.Value.(object.Bool)
			c.Refuse = bool(b)
		case "kwargs":
			c.Kwargs = slotsOf(e.Value)
		case "slots", "args", "want", "want_any", "after", "more":
		default:
			return c, fmt.Errorf("a case has no %q", k)
		}
	}
	if err := first.set(top, nil); err != nil {
		return c, err
	}
	c.Trials = []Trial{first}
	for _, e := range top {
		if e.Key != object.Value(object.Str("more")) {
			continue
		}
		for _, m := range items(e.Value) {
			d, ok := m.(*object.Dict)
			if !ok {
				return c, fmt.Errorf("an entry of more is no object")
			}
			t := Trial{}
			if err := t.set(d.Entries, first.Slots); err != nil {
				return c, err
			}
			if len(t.Args) != len(first.Args) {
				return c, fmt.Errorf("an entry of more has %d arguments, the message %d", len(t.Args), len(first.Args))
			}
			c.Trials = append(c.Trials, t)
		}
	}
	if c.Selector == "" {
		return c, fmt.Errorf("a case needs a selector")
	}
	return c, nil
}

// members reads one JSON object.
func members(text string) ([]object.Entry, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	m, ok := v.(*object.Dict)
	if !ok {
		return nil, fmt.Errorf("want a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON object")
	}
	return m.Entries, nil
}

func slotsOf(v object.Value) []object.Slot {
	d, ok := v.(*object.Dict)
	if !ok {
		return nil
	}
	var out []object.Slot
	for _, e := range d.Entries {
		out = append(out, object.Slot{Name: string(e.Key.(object.Str)), Value: e.Value}) // from JSON
	}
	return out
}

// set fills a trial from the members of a case.
func (t *Trial) set(entries []object.Entry, slots []object.Slot) error {
	t.Slots = slots
	var after []object.Slot
	stated := false
	for _, e := range entries {
		switch e.Key.(object.Str) {
		case "slots":
			t.Slots = slotsOf(e.Value)
		case "args":
			t.Args = items(e.Value)
		case "want":
			t.Want = e.Value
		case "want_any":
			t.Any = items(e.Value)
		case "after":
			after, stated = slotsOf(e.Value), true
		}
	}
	if !stated {
		return nil
	}
	t.After = []object.Slot{}
	for _, s := range t.Slots {
		for _, a := range after {
			if a.Name == s.Name {
				s.Value = a.Value
			}
		}
		t.After = append(t.After, s)
	}
	for _, a := range after {
		known := false
		for _, s := range t.Slots {
			known = known || s.Name == a.Name
		}
		if !known {
			return fmt.Errorf("after has the slot %q, which the object does not have", a.Name)
		}
	}
	return nil
}

// Task is the case as a mission tells it to a mind.
func (c Case) Task() mind.Task {
	t := mind.Task{Kind: mind.Method, Selector: c.Selector, Receiver: c.Receiver}
	for _, s := range c.Trials[0].Slots {
		t.Slots = append(t.Slots, mind.NamedShape{Name: s.Name, Shape: mind.ShapeOf(s.Value)})
	}
	for _, a := range c.Trials[0].Args {
		t.Args = append(t.Args, mind.ShapeOf(a))
	}
	for _, k := range c.Kwargs {
		t.Kwargs = append(t.Kwargs, mind.NamedShape{Name: k.Name, Shape: mind.ShapeOf(k.Value)})
	}
	return t
}

// differs says what of an outcome is not as the trial wants it, or "".
func (t Trial) differs(got object.Value, after []object.Slot) string {
	if t.Any != nil && !slices.ContainsFunc(t.Any, func(v object.Value) bool { return same(v, got) }) {
		return fmt.Sprintf("answered %s, not one of %d", object.Text(got, 80), len(t.Any))
	}
	if t.Want != nil && !same(t.Want, got) {
		return fmt.Sprintf("answered %s, not %s", object.Text(got, 80), object.Text(t.Want, 80))
	}
	if t.After == nil {
		return ""
	}
	if len(after) != len(t.After) {
		return fmt.Sprintf("left %d slots, not %d", len(after), len(t.After))
	}
	for i, s := range t.After {
		if !same(s.Value, after[i].Value) {
			return fmt.Sprintf("left %s = %s, not %s", s.Name, object.Text(after[i].Value, 80), object.Text(s.Value, 80))
		}
	}
	return ""
}
