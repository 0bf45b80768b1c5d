package seedmind

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"batos/internal/mind"
	"batos/object"
)

// personaKinds is what the other personas' examples are of, as often as it
// stands there.
var personaKinds = []mind.Kind{mind.Plan, mind.Describe, mind.Describe, mind.Tests, mind.Requirements, mind.Layout}

// persona draws an example of the other personas' work on a prompt that has a
// meaning: a plan, what a display must show, a sentence, a layout, a test.
func (g *Generator) persona(r *rand.Rand) Sample {
	return g.work(r, personaKinds[r.IntN(len(personaKinds))])
}

// work draws an example of one kind.
func (g *Generator) work(r *rand.Rand, kind mind.Kind) Sample {
	families := g.families
	if kind == mind.Requirements || kind == mind.Layout {
		families = g.displays
	}
	for {
		s := g.methodOf(r, families)
		if kind == mind.Method {
			return s
		}
		answer := roleAnswer
		if g.grown {
			answer = grownAnswer
		}
		var ok bool
		if s.Answer, ok = answer(r, kind, s); ok {
			s.Kind = kind
			return s
		}
	}
}

// roleAnswer is the answer of another kind that goes with a method; ok is
// false if there is none.
func roleAnswer(r *rand.Rand, kind mind.Kind, method Sample) (answer string, ok bool) {
	switch kind {
	case mind.Plan:
		return plan(method), true
	case mind.Describe:
		return sentence(method), true
	case mind.Tests:
		return assertion(r, method)
	}
	d, ok := displayOf(method.Answer)
	if !ok {
		return "", false
	}
	if kind == mind.Requirements {
		return d.requirements(method.Prompt), true
	}
	return d.layout(), true
}

// plan says which slots a method reads and changes.
func plan(s Sample) string {
	reads, changes := uses(s)
	facets := `"slots"`
	if len(s.Prompt.Args) > 0 {
		facets = `"slots", "arguments"`
	}
	return `{"facets": [` + facets + `], "reads": [` + quoted(reads) + `], "changes": [` + quoted(changes) + `]}`
}

func quoted(aliases []string) string {
	out := make([]string, len(aliases))
	for i, a := range aliases {
		out[i] = `"` + a + `"`
	}
	return strings.Join(out, ", ")
}

// uses gives the slots that a method reads and those that it changes.
func uses(s Sample) (reads, changes []string) {
	for i := range s.Prompt.Slots {
		alias := "$" + itoa(i)
		used, changed := false, false
		for line := range strings.SplitSeq(s.Answer, "\n") {
			for at := strings.Index(line, alias); at >= 0; {
				rest := line[at+len(alias):]
				if rest == "" || rest[0] < '0' || rest[0] > '9' {
					used = true
					changed = changed || changesAt(rest)
				}
				next := strings.Index(rest, alias)
				if next < 0 {
					break
				}
				at += len(alias) + next
			}
		}
		if used {
			reads = append(reads, alias)
		}
		if changed {
			changes = append(changes, alias)
		}
	}
	return reads, changes
}

// changesAt reports whether code after a slot's alias changes the slot.
func changesAt(rest string) bool {
	for _, p := range []string{" = ", ".append(", ".insert(", ".remove(", ".pop(", ".extend(", ".update("} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	if strings.HasPrefix(rest, "[") {
		_, after, ok := strings.Cut(rest, "] ")
		return ok && strings.HasPrefix(after, "= ")
	}
	return false
}

// sentence is the family's own, with aliases for letters.
func sentence(s Sample) string {
	b := s.Meaning.bind
	text := s.Meaning.Family.Tell
	for i, l := range slotLetters {
		text = strings.ReplaceAll(text, "$"+string(l), "$"+itoa(b.slots[i]))
	}
	for i, l := range fieldLetters {
		text = strings.ReplaceAll(text, "$"+string(l), "#"+itoa(b.fields[i]))
	}
	return text
}

// assertion is a call with its outcome, for methods of one or two simple
// slots. Slots that the method has nothing to do with are left out.
func assertion(r *rand.Rand, s Sample) (string, bool) {
	used, ok := testable(s)
	if !ok {
		return "", false
	}
	ref, err := newReference(s)
	if err != nil {
		return "", false
	}
	call, ok := ref.draw(context.Background(), states{r: r, plain: true})
	if !ok {
		return "", false
	}
	return call.test(used)
}

// testable gives the slots that a method is about, if tests of it can be
// written.
func testable(s Sample) (used []int, ok bool) {
	f := s.Meaning.Family
	if f.all != nil || len(s.Prompt.Args) > 2 || len(f.Forms) == 0 || len(f.Forms[0]) > 2 {
		return nil, false
	}
	used = slices.Clone(s.Meaning.bind.slots[:len(f.Forms[0])])
	slices.Sort(used)
	for _, i := range used {
		switch s.Prompt.Slots[i].Type {
		case mind.SeedInt, mind.SeedStr, mind.SeedBool, mind.SeedNumbers, mind.SeedStrs, mind.SeedNumberMap:
		default:
			return nil, false
		}
	}
	return used, true
}

// test writes a call as JSON, with the slots that the method is about.
func (call call) test(used []int) (string, bool) {
	state := func(slots []object.Slot) string {
		var parts []string
		for _, i := range used {
			parts = append(parts, fmt.Sprintf(`"$%d": %s`, i, valueJSON(slots[i].Value)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	text := fmt.Sprintf(`{"slots": %s, "args": %s, "want": %s, "after": %s}`,
		state(call.slots), valueJSON(&object.List{Items: call.args}), valueJSON(call.want), state(call.after))
	// a dict with numbers for keys cannot be written in JSON
	return text, len(text) < 160 && json.Valid([]byte(text))
}
