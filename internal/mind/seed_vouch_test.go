package mind

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"batos"
)

func TestSeedMethodKey(t *testing.T) {
	slot := func(types ...SeedType) (out []SeedSlot) {
		for _, t := range types {
			out = append(out, SeedSlot{Type: t})
		}
		return out
	}
	number := []SeedType{SeedNumber}
	key := SeedMethodKey(SeedPrompt{Slots: slot(SeedInt), Args: number}, "$0 = $0 + a")
	for name, c := range map[string]struct {
		p    SeedPrompt
		body string
		same bool
	}{
		"another number":      {SeedPrompt{Slots: slot(SeedStr, SeedInt), Args: number}, "$1 = $1 + a", true},
		"another type":        {SeedPrompt{Slots: slot(SeedFloat), Args: number}, "$0 = $0 + a", false},
		"another argument":    {SeedPrompt{Slots: slot(SeedInt), Args: []SeedType{SeedStr}}, "$0 = $0 + a", false},
		"another code":        {SeedPrompt{Slots: slot(SeedInt), Args: number}, "$0 = $0 - a", false},
		"two slots":           {SeedPrompt{Slots: slot(SeedInt, SeedInt), Args: number}, "$0 = $1 + a", false},
		"a slot that is not":  {SeedPrompt{Slots: slot(SeedInt), Args: number}, "$7 = $7 + a", false},
		"text where code was": {SeedPrompt{Slots: slot(SeedInt), Args: number}, "%0 = %0 + a", false},
	} {
		if got := SeedMethodKey(c.p, c.body); (got == key) != c.same {
			t.Errorf("%s: the keys are equal: %v", name, got == key)
		}
	}
}

func TestSeedMethods(t *testing.T) {
	words := strings.Fields("add by increase lower")
	methods := []SeedMethod{{1, words[:3]}, {2, words[3:]}, {1, words[1:2]}, {9, words[3:]}}
	text, err := PackSeedMethods(methods, words)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unpackSeedMethods(text, words)
	if err != nil || len(m) != 3 || len(m[1]) != 3 || !m[9]["lower"] || m[9]["add"] {
		t.Errorf("%v: %v", err, m)
	}
	if _, err := PackSeedMethods([]SeedMethod{{1, []string{"frobnicate"}}}, words); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a word that is not in the list: %v", err)
	}
	for _, n := range []int{0, 1, len(text) / 2} { // fewer words than the table speaks of, and a table cut short
		if _, err := unpackSeedMethods(text, words[:n%4]); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("with %d words: %v", n%4, err)
		}
		if _, err := unpackSeedMethods(text[:n/4*4], words); n >= 4 && batos.CodeOf(err) != batos.Invalid {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

// What the model was never taught, or not by these words, is not installed.
func TestSeedStrange(t *testing.T) {
	tables := testTables()
	tables.MinConfidence = 0.2
	slices.Sort(tables.Words)
	p := SeedPrompt{Slots: []SeedSlot{{Type: SeedInt}}, Args: []SeedType{SeedNumber}}
	var err error
	if tables.Methods, err = PackSeedMethods([]SeedMethod{{SeedMethodKey(p, "return $0 + a"), []string{"add", "to"}}}, tables.Words); err != nil {
		t.Fatal(err)
	}
	s, err := NewSeed(tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ selector, body, want string }{
		{"add_to_count", "return $0 + a", ""},
		{"count_add", "return $0 + a", ""},
		{"remove_count", "return $0 + a", `no such method that people call "remove"`},
		{"add_to_count", "return $0 - a", "no method that I learned"},
	} {
		task := Task{Kind: Method, Selector: batos.Selector(c.selector), Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
		r := &Result{Tokens: s.tok.Encode(c.body), Stop: StopEnd}
		if c.want != "" {
			r.Logprobs = []float32{-1}
		}
		_, err := s.Read(task, nil, r)
		if (err == nil) != (c.want == "") || err != nil && (batos.CodeOf(err) != batos.Refused || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %q: %v", c.selector, c.body, err)
		}
	}
	// By a strange word, but for certain: a person decides.
	task := Task{Kind: Method, Selector: "remove_count", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	a, err := s.Read(task, nil, &Result{Tokens: s.tok.Encode("return $0 + a"), Stop: StopEnd})
	if err != nil || !strings.Contains(a.Doubt, `"remove"`) {
		t.Errorf("%v, doubt %q", err, a.Doubt)
	}
}

func FuzzSeedMethods(f *testing.F) {
	f.Add([]byte{1, 1, 0, 1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackSeedMethods(base64.StdEncoding.EncodeToString(b), []string{"a", "b"})
	})
}
