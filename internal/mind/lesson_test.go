package mind

import (
	"slices"
	"testing"

	"batos"
)

func TestSeedBody(t *testing.T) {
	s := testSeed(t)
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Args: []Shape{of(IntShape)},
		Slots: slots("count", of(IntShape), "people", recordsOf(slots("name", of(StrShape))...))}
	for source, want := range map[string]string{
		"def increase_count_by(self, n):\n  # a comment\n  if n > 0:\n\n    self.count += n\n  self._p_changed = True\n  return [self.count, \"name\", \"count\", \"counter\", x.n, \"a\\\"b\"]\n": "if a > 0:\n $0 += a\nself._p_changed = True\nreturn [$0, \"#0\", \"%0\", \"%~\", x.n, \"a\\\"b\"]",
		"def m(self, n):\n    return self.other_(n)": "return self.other_(a)",
	} {
		got, err := s.Body(task, source)
		if err != nil || got != want {
			t.Errorf("%v\n%s", err, got)
		}
	}
	for name, source := range map[string]string{
		"no def":             "return 1",
		"too few parameters": "def m(self):\n    return 1",
		"a default":          "def m(self, n = 1):\n    return n",
		"empty":              "def m(self, n):\n    # nothing\n",
		"not indented":       "def m(self, n):\nreturn n",
		"steps":              "def m(self, n):\n    if n:\n      return n",
		"other quotes":       "def m(self, n):\n    return 'x'",
		"a text open":        "def m(self, n):\n    return \"x",
		"an alias in a text": "def m(self, n):\n    return \"%1\"",
		"a letter":           "def m(self, n):\n    b = 1\n    return b",
	} {
		if got, err := s.Body(task, source); batos.CodeOf(err) != batos.Refused {
			t.Errorf("%s: %q, %v; want refused", name, got, err)
		}
	}
}

// What a model is taught is what it is asked and what is read from it.
func TestLessons(t *testing.T) {
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Args: []Shape{of(IntShape)}, Slots: slots("count", of(IntShape))}
	source := "def increase_count_by(self, amount):\n    self.count = self.count + amount\n    self._p_changed = True\n    return self.count\n"
	s := testSeed(t)
	l, err := s.Lesson(task, source)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Compose(task, nil)
	if err != nil || !slices.Equal(l.PromptTokens, r.Tokens) {
		t.Errorf("taught to read %v, asked %v, %v", l.PromptTokens, r.Tokens, err)
	}
	n := len(l.ResponseTokens) - 1
	a, err := s.Read(task, nil, &Result{Tokens: l.ResponseTokens[:n], Stop: StopEnd})
	if err != nil || a.Source != source || l.ResponseTokens[n] != SeedEnd {
		t.Errorf("read back as\n%s%v", a.Source, err)
	}
	task.Rules = "You write methods."
	l, err = Covenant{}.Lesson(task, source)
	if err != nil || l.Prompt == "" || l.System == "" || l.Response != source {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := (Covenant{}).Read(task, nil, &Result{Text: l.Response, Stop: StopEnd}); err != nil {
		t.Errorf("what the model is taught is not read: %v", err)
	}
}
