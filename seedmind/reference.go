package seedmind

import (
	"context"
	"fmt"

	"batos"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/object"
)

// reference is the right code for a sample, as a method of an object whose
// slots and fields have names.
type reference struct {
	sample  Sample
	slots   []string
	fields  []string
	program *method.Program
	world   *World
}

// call is one call of a method and its outcome.
type call struct {
	slots, after []object.Slot
	args         []object.Value
	want         object.Value
}

// selectorForTrials is the selector of methods that are only tried.
const selectorForTrials batos.Selector = "m"

// newReference compiles the sample's answer with plain names.
func newReference(s Sample) (*reference, error) {
	var slots, fields []string
	for i, slot := range s.Prompt.Slots {
		slots = append(slots, fmt.Sprintf("slot_%d", i))
		for range slot.Fields {
			fields = append(fields, fmt.Sprintf("field_%d", len(fields)))
		}
	}
	return s.reference(slots, fields, "thing")
}

// reference compiles the sample's answer for an object with these names.
func (s Sample) reference(slots, fields []string, receiver string) (*reference, error) {
	ref := &reference{sample: s, slots: slots, fields: fields, world: NewWorld()}
	source, err := mind.SeedSource(selectorForTrials, s.Prompt, slots, fields, receiver, s.Answer)
	if err != nil {
		return nil, err
	}
	ref.program, err = method.Compile(string(selectorForTrials), source)
	return ref, err
}

// state draws the slots of the object.
func (ref *reference) state(s states) []object.Slot {
	var out []object.Slot
	field := 0
	for i, slot := range ref.sample.Prompt.Slots {
		v := s.value(slot.Type, slot.Fields, ref.fields[field:])
		field += len(slot.Fields)
		out = append(out, object.Slot{Name: ref.slots[i], Value: v})
	}
	return out
}

// draw makes a call whose outcome is defined: one on which the method does not
// raise. ok is false if it finds none.
func (ref *reference) draw(ctx context.Context, s states) (call, bool) {
	m := ref.sample.Meaning
	for range 200 {
		slots := ref.state(s)
		values := make([]object.Value, len(slots))
		for i := range slots {
			values[i] = slots[i].Value
		}
		args := s.args(m.Family, m.bind, ref.sample.Prompt.Args, values, ref.fields)
		want, after, err := ref.world.Call(ctx, ref.program, slots, args)
		if err == nil {
			return call{slots: slots, after: after, args: args, want: want}, true
		}
	}
	return call{}, false
}

// agrees reports whether another method does the same on n calls.
func (ref *reference) agrees(ctx context.Context, other *method.Program, s states, n int) (bool, string) {
	world := NewWorld()
	for range n {
		c, ok := ref.draw(ctx, s)
		if !ok {
			continue
		}
		got, after, err := world.Call(ctx, other, c.slots, c.args)
		if err != nil {
			return false, err.Error()
		}
		if why := c.differs(got, after); why != "" {
			return false, why
		}
	}
	return true, ""
}

// differs says what of an outcome is not as it should be, or "".
func (c call) differs(got object.Value, after []object.Slot) string {
	if !same(c.want, got) {
		return fmt.Sprintf("answered %s, not %s", object.Text(got, 80), object.Text(c.want, 80))
	}
	if len(after) != len(c.after) {
		return fmt.Sprintf("left %d slots, not %d", len(after), len(c.after))
	}
	for i, s := range c.after {
		if after[i].Name != s.Name || !same(s.Value, after[i].Value) {
			return fmt.Sprintf("left %s = %s, not %s", s.Name, object.Text(after[i].Value, 80), object.Text(s.Value, 80))
		}
	}
	return ""
}
