package seedmind

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"batos/internal/mind"
)

// The answers of the personas' work are JSON where they say so, name only
// slots that there are, and a layout shows exactly what is required.
func TestRoleAnswers(t *testing.T) {
	c := loaded(t)
	g := NewGenerator(c, 5)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 600 {
		s := g.work(r, personaKinds[i%len(personaKinds)])
		if s.Kind == mind.Describe {
			if !strings.HasSuffix(s.Answer, ".") {
				t.Errorf("%s is described as %q", s.Prompt.Text(), s.Answer)
			}
			continue
		}
		if !json.Valid([]byte(s.Answer)) {
			t.Errorf("%s of %s is no JSON: %s", s.Kind, s.Prompt.Text(), s.Answer)
		}
		for at, c := range s.Answer {
			if c == '$' && s.Kind != mind.Tests && number(s.Answer[at+1:]) >= len(s.Prompt.Slots) {
				t.Errorf("%s of %s names a slot that there is not: %s", s.Kind, s.Prompt.Text(), s.Answer)
			}
		}
	}
}

func TestDisplayOf(t *testing.T) {
	p := mind.SeedPrompt{Slots: []mind.SeedSlot{
		{Type: mind.SeedStr},
		{Type: mind.SeedRecord, Fields: []mind.SeedField{{Type: mind.SeedNumber}}},
		{Type: mind.SeedRecords, Fields: []mind.SeedField{{Type: mind.SeedStr}, {Type: mind.SeedNumber}}},
		{Type: mind.SeedNumbers},
	}}
	body := strings.Join([]string{
		`return {"view": "panel", "title": $0, "children": [`,
		` {"view": "table", "label": "%2", "value": $2},`,
		` {"view": "number", "label": "largest", "value": max($3) if $3 else 0},`,
		` {"view": "text", "label": "%1", "value": str($1)},`,
		`]}`,
	}, "\n")
	d, ok := displayOf(body)
	if !ok {
		t.Fatal("not taken as a display")
	}
	want := `[{"slot": "$0", "view": "title"}, {"slot": "$2", "view": "table", "columns": ["#1", "#2"]}, ` +
		`{"slot": "$3", "fact": "largest", "view": "number"}, {"slot": "$1", "view": "text", "columns": ["#0"]}]`
	if got := d.requirements(p); got != want {
		t.Errorf("requires\n%s, not\n%s", got, want)
	}
	want = `{"view": "panel", "title_slot": "$0", "children": [{"view": "table", "label": "%2", "slot": "$2"}, ` +
		`{"view": "number", "label": "largest", "slot": "$3", "fact": "largest"}, {"view": "text", "label": "%1", "slot": "$1"}]}`
	if got := d.layout(); got != want {
		t.Errorf("lays out\n%s, not\n%s", got, want)
	}
	for _, body := range []string{`return $0`, "return {\"view\": \"panel\", \"title\": \"x\", \"children\": [\n {\"view\": \"number\", \"label\": \"x\", \"value\": min($3)},\n]}"} {
		if _, ok := displayOf(body); ok {
			t.Errorf("taken as a display:\n%s", body)
		}
	}
}
