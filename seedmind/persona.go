package seedmind

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"batos/internal/mind"
	"batos/object"
)

// persona draws an example of the other personas' work on a prompt that has a
// meaning: a plan, what a display must show, a sentence, a layout, a test.
func (g *Generator) persona(r *rand.Rand) Sample {
	for {
		s := g.method(r)
		kind := []mind.Kind{mind.Plan, mind.Describe, mind.Describe, mind.Tests, mind.Requirements, mind.Layout}[r.IntN(6)]
		var ok bool
		switch kind {
		case mind.Plan:
			s.Answer, ok = plan(s), true
		case mind.Describe:
			s.Answer, ok = sentence(s), true
		case mind.Tests:
			s.Answer, ok = assertion(r, s)
		default:
			b := builder{r: r}
			b.build(nil, 1+r.IntN(6))
			s.Prompt = mind.SeedPrompt{Slots: b.slots, Words: []string{"display", "yourself"}}
			s.Answer, ok = shown(kind, s.Prompt), true
		}
		if ok {
			s.Kind = kind
			return s
		}
	}
}

// plan says which slots a method reads and changes.
func plan(s Sample) string {
	var reads, changes []string
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
			reads = append(reads, `"`+alias+`"`)
		}
		if changed {
			changes = append(changes, `"`+alias+`"`)
		}
	}
	facets := `"slots"`
	if len(s.Prompt.Args) > 0 {
		facets = `"slots", "arguments"`
	}
	return `{"facets": [` + facets + `], "reads": [` + strings.Join(reads, ", ") + `], "changes": [` + strings.Join(changes, ", ") + `]}`
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

// assertion is a call with its outcome, for methods of a single simple slot.
func assertion(r *rand.Rand, s Sample) (string, bool) {
	f := s.Meaning.Family
	if f.all != nil || len(s.Prompt.Args) > 1 || len(s.Prompt.Slots) != 1 {
		return "", false
	}
	switch s.Prompt.Slots[0].Type {
	case mind.SeedInt, mind.SeedStr, mind.SeedBool, mind.SeedNumbers, mind.SeedStrs:
	default:
		return "", false
	}
	ref, err := newReference(s)
	if err != nil {
		return "", false
	}
	call, ok := ref.draw(context.Background(), states{r})
	if !ok {
		return "", false
	}
	text := fmt.Sprintf(`{"slots": {"$0": %s}, "args": %s, "want": %s, "after": {"$0": %s}}`,
		valueJSON(call.slots[0].Value), valueJSON(&object.List{Items: call.args}), valueJSON(call.want), valueJSON(call.after[0].Value))
	return text, len(text) < 160
}

// shown is what a display must show, or the layout that shows it.
func shown(kind mind.Kind, p mind.SeedPrompt) string {
	var parts []string
	for i, s := range p.Slots {
		view, _ := widgetOf(s.Type, "")
		if kind == mind.Requirements {
			parts = append(parts, fmt.Sprintf(`{"slot": "$%d", "view": "%s"}`, i, view))
		} else {
			parts = append(parts, fmt.Sprintf(`{"view": "%s", "label": "%%%d", "value": "$%d"}`, view, i, i))
		}
	}
	if kind == mind.Requirements {
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return `{"view": "panel", "title": "%~", "children": [` + strings.Join(parts, ", ") + `]}`
}
