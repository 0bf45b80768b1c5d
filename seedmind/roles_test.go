package seedmind

import (
	"slices"
	"testing"

	"batos/internal/mind"
)

// Every right answer of a held-out set counts as right, a refusal never does.
func TestRoleSetsJudge(t *testing.T) {
	c := loaded(t)
	p, err := mind.NewSeed(c.Tables())
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range Roles() {
		set := NewRoleSet(c, p.Tokenizer(), role, 60, 9)
		kinds := map[mind.Kind]int{}
		held := 0
		for i, s := range set.Samples {
			kinds[s.Kind]++
			if s.Meaning.Held || heldCell(s.Meaning.Family) {
				held++
			}
			tokens, marks := set.Example(i)
			var answer []int32
			for k := range tokens {
				if marks[k] {
					answer = append(answer, tokens[k])
				}
			}
			answer = answer[:len(answer)-1] // the end
			if !set.Right(t.Context(), i, &mind.Result{Tokens: answer, Stop: mind.StopEnd}) {
				t.Errorf("%s: the right answer to %s is judged wrong: %s", role.Persona, s.Prompt.Text(), s.Answer)
			}
			for name, r := range map[string]*mind.Result{
				"a refusal":   {Tokens: []int32{mind.SeedRefuse}, Stop: mind.StopEnd},
				"a cut":       {Tokens: answer, Stop: mind.StopLength},
				"another one": {Tokens: p.Tokenizer().Encode(set.Samples[(i+2)%60].Answer + " "), Stop: mind.StopEnd},
			} {
				if name == "another one" && (s.Kind == mind.Tests || set.Samples[(i+2)%60].Answer == s.Answer || s.Kind == mind.Method) {
					continue // may be right by chance
				}
				if set.Right(t.Context(), i, r) {
					t.Errorf("%s: %s is judged right for %s", role.Persona, name, s.Prompt.Text())
				}
			}
		}
		if len(kinds) != len(slices.Compact(slices.Clone(role.Kinds))) || held != 30 {
			t.Errorf("%s: %v, %d of 60 held out", role.Persona, kinds, held)
		}
	}
}

// A test with a wrong outcome does not hold.
func TestTestsAreRun(t *testing.T) {
	c := loaded(t)
	prompt := mind.SeedPrompt{
		Slots: []mind.SeedSlot{{Type: mind.SeedStr}, {Type: mind.SeedInt}}, Args: []mind.SeedType{mind.SeedNumber}, Words: []string{"increase", "$1", "by"},
	}
	m, ok := c.Read(prompt)
	if !ok {
		t.Fatal("means nothing")
	}
	s := Sample{Kind: mind.Tests, Prompt: prompt, Meaning: m}
	for text, want := range map[string]bool{
		`{"slots": {"$1": 3}, "args": [4], "want": 7, "after": {"$1": 7}}`: true,
		`{"slots": {"$1": 3}, "args": [4], "want": 8, "after": {"$1": 7}}`: false,
		`{"slots": {"$1": 3}, "args": [4], "want": 7, "after": {"$1": 3}}`: false,
		`{"slots": {"$1": 3}, "args": [], "want": 7, "after": {"$1": 7}}`:  false,
		`{"slots": {"$2": 3}, "args": [4], "want": 7, "after": {"$2": 7}}`: false,
		`{"slots": {}, "args": [4], "want": 7, "after": {}}`:               false,
		`{"slots": {"$1": "a"}, "args": [4], "want": 7, "after": {}}`:      false,
		`not JSON`: false,
	} {
		if got := s.holds(t.Context(), text); got != want {
			t.Errorf("%s holds: %v", text, got)
		}
	}
}
