package proof

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"batos"
	"batos/object"
)

// Test is a call with its outcome, as somebody expects it or as it once was.
type Test struct {
	Probe
	Want  object.Value  // nil: any
	After []object.Slot // slots that must hold this then; others are not looked at
	Why   string        // who says so: "ALFRED's test", "as version 2 did"
}

// maxTests bounds what is read of one answer.
const maxTests = 8

// ReadTests reads tests as the mind writes them: {"slots", "args", "want",
// "after"}, or {"tests": [those]}. Slots that the subject does not have, and
// tests with other numbers of arguments than the message, are invalid.
func ReadTests(s Subject, text string) ([]Test, error) {
	var many struct {
		Tests []json.RawMessage `json:"tests"`
	}
	if err := json.Unmarshal([]byte(text), &many); err != nil {
		return nil, batos.Errorf(batos.Invalid, "the tests are not JSON: %w", err)
	}
	if len(many.Tests) == 0 {
		many.Tests = []json.RawMessage{json.RawMessage(text)}
	}
	var out []Test
	for _, raw := range many.Tests[:min(maxTests, len(many.Tests))] {
		var one struct {
			Slots, After map[string]any
			Args         []any
			Want         any
		}
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if err := d.Decode(&one); err != nil {
			return nil, batos.Errorf(batos.Invalid, "a test is not an object: %w", err)
		}
		if len(one.Args) != len(s.Args) {
			return nil, batos.Errorf(batos.Invalid, "a test has %d arguments, the message %d", len(one.Args), len(s.Args))
		}
		t := Test{Want: valueOf(one.Want), Why: "ALFRED's test"}
		for _, a := range one.Args {
			t.Args = append(t.Args, valueOf(a))
		}
		for _, slot := range s.Slots { // in the subject's order
			if v, ok := one.Slots[slot.Name]; ok {
				t.Slots = append(t.Slots, object.Slot{Name: slot.Name, Value: valueOf(v)})
			}
			if v, ok := one.After[slot.Name]; ok {
				t.After = append(t.After, object.Slot{Name: slot.Name, Value: valueOf(v)})
			}
		}
		if len(t.Slots) < len(one.Slots) || len(t.After) < len(one.After) {
			return nil, batos.Errorf(batos.Invalid, "a test names a slot that the object does not have")
		}
		out = append(out, t)
	}
	return out, nil
}

// valueOf makes a slot's value of JSON.
func valueOf(v any) object.Value {
	switch v := v.(type) {
	case bool:
		return object.Bool(v)
	case string:
		return object.Str(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return object.NewInt(n)
		}
		f, _ := v.Float64() // it is a number of JSON
		return object.Float(f)
	case []any:
		l := &object.List{}
		for _, it := range v {
			l.Items = append(l.Items, valueOf(it))
		}
		return l
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		d := &object.Dict{}
		for _, k := range keys {
			d.Entries = append(d.Entries, object.Entry{Key: object.Str(k), Value: valueOf(v[k])})
		}
		return d
	}
	return object.None{}
}

// Hold compares what was seen with what the test expects; nil if it holds.
func (t *Test) Hold(s Subject, seen *Seen) *Finding {
	if seen.Err != nil {
		return &Finding{Expected, fmt.Sprintf("%s: %s raises %s", t.Why, seen.call(s.Selector), seen.Err.Text)}
	}
	if t.Want != nil && !same(t.Want, seen.Answer) {
		return &Finding{Expected, fmt.Sprintf("%s: %s answers %s, not %s", t.Why, seen.call(s.Selector), object.Text(seen.Answer, 80), object.Text(t.Want, 80))}
	}
	for _, want := range t.After {
		for i := range seen.After {
			if seen.After[i].Name == want.Name && !same(seen.after(i), want.Value) {
				return &Finding{Expected, fmt.Sprintf("%s: %s leaves %s = %s, not %s", t.Why, seen.call(s.Selector), want.Name, object.Text(seen.after(i), 80), object.Text(want.Value, 80))}
			}
		}
	}
	return nil
}
