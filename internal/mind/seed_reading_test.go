package mind

import (
	"math"
	"slices"
	"strings"
	"testing"

	"batos"
)

// readable is a seed profile whose words are those of the test's model and
// some more.
func readable(t testing.TB, more ...string) *Seed {
	t.Helper()
	tables := testTables()
	tables.Words = append(slices.Clone(tables.Words), more...)
	slices.Sort(tables.Words)
	tables.Words = slices.Compact(tables.Words)
	s, err := NewSeed(tables)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func said(readings []seedReading) []string {
	var out []string
	for _, r := range readings {
		out = append(out, r.said)
	}
	return out
}

func TestSeedReadings(t *testing.T) {
	s := readable(t, "increase", "grow", "by", "joined", "join")
	task := Task{Kind: Method, Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	for selector, want := range map[string]string{
		"augment_count_by":   "increase_count_by", // a word that the model never saw, by WordNet
		"increasing_by":      "increase_by",       // another form
		"grew_xyzzy_count":   "",                  // nothing means the same as xyzzy
		"augment_augment_by": "increase_increase_by",
	} {
		task.Selector = batos.Selector(selector)
		got := said(s.readings(task))
		if want == "" && len(got) != 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%s is read as %q, want %q among them", selector, got, want)
		}
		if len(got) > maxReadings {
			t.Errorf("%s has %d readings", selector, len(got))
		}
	}
	// What names a slot stays: augment is no slot here, count is.
	task.Selector = "augment_count_by"
	for _, r := range s.readings(task) {
		if !strings.Contains(r.said, "_count_") || !strings.Contains(r.names.prompt.Text(), "$0") {
			t.Errorf("%s lost the slot: %s", r.said, r.names.prompt.Text())
		}
	}
}

func TestSeedReadsInOtherWords(t *testing.T) {
	s := readable(t, "addition").WithBounds(0.4, 0.8)
	task := Task{Kind: Method, Selector: "augment_count_by", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	answer := func(body string, p float64) *Result {
		r := &Result{Tokens: s.tok.Encode(body), Stop: StopEnd}
		for range r.Tokens {
			r.Logprobs = append(r.Logprobs, float32(math.Log(p)/float64(len(r.Tokens))))
		}
		return r
	}

	// A word that the model never saw: the first request is in other words.
	r, err := s.Compose(task, nil)
	if err != nil || !strings.Contains(r.Gloss, "increase") {
		t.Fatalf("asked %q, %v", r.Gloss, err)
	}
	if n := 1 + len(r.Again); n != len(s.readings(task)) {
		t.Errorf("%d requests for %d readings", n, len(s.readings(task)))
	}
	a, err := s.Read(task, nil, answer("return $0 + a", 0.95))
	if err != nil || a.Doubt == "" || !strings.HasPrefix(a.Source, "def augment_count_by(self, amount)") {
		t.Errorf("another word is for a person, however sure the model is: %+v, %v", a, err)
	}
	task.Selector = "increased_count_by"
	if a, err = s.Read(task, nil, answer("return $0 + a", 0.95)); err != nil || a.Doubt != "" {
		t.Errorf("another form of a word, sure: %+v, %v", a, err)
	}
	if a, err = s.Read(task, nil, answer("return $0 + a", 0.7)); err != nil || a.Doubt == "" {
		t.Errorf("less sure: %+v, %v", a, err)
	}
	task.Selector = "augment_count_by"
	_, err = s.Read(task, nil, answer("return $0 + a", 0.2))
	if batos.CodeOf(err) != batos.Refused || !strings.Contains(err.Error(), `never learned the word "augment"`) {
		t.Errorf("a refusal names the word: %v", err)
	}

	// Words that it knows and has no answer to: the second attempt, for a person.
	task.Selector = "increase_count_by"
	task.Slots = slots("count", of(IntShape), "label", of(StrShape))
	if _, err := s.Read(task, nil, &Result{Tokens: []int32{SeedRefuse}, Stop: StopEnd}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a first refusal with other words left: %v", err)
	}
	earlier := []Attempt{{Number: 1, Error: "I don't know how to increase_count_by"}}
	r, err = s.Compose(task, earlier)
	if err != nil || !strings.Contains(r.Gloss, "addition") {
		t.Errorf("the second attempt asks %q, %v", r.Gloss, err)
	}
	if a, err := s.Read(task, earlier, answer("return $0 + a", 0.99)); err != nil || a.Doubt == "" {
		t.Errorf("known words in other ones are for a person: %+v, %v", a, err)
	}
	if _, err := s.Read(task, earlier, &Result{Tokens: []int32{SeedRefuse}, Stop: StopEnd}); batos.CodeOf(err) != batos.Refused || err.Error() != earlier[0].Error {
		t.Errorf("the last word is the first refusal: %v", err)
	}
}

// The thesaurus is of the words of a model: what is not among them is left
// out, and a word never stands for itself.
func TestThesaurus(t *testing.T) {
	if len(thesaurus()) < 1000 {
		t.Fatalf("%d words", len(thesaurus()))
	}
	for w, others := range thesaurus() {
		if slices.Contains(others, w) {
			t.Errorf("%s stands for itself", w)
		}
	}
	for w, want := range map[string]string{"chained": "chain", "dropping": "drop", "biggest": "big", "tallied": "tally", "moved": "move", "cities": "city"} {
		if got := baseForms(w); !slices.Contains(got, want) {
			t.Errorf("%s is a form of %q, want %s among them", w, got, want)
		}
	}
}
