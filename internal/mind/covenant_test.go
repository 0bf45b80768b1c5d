package mind

import (
	"context"
	"math"
	"strings"
	"testing"

	"batos"
)

func intTask() Task {
	return Task{
		Kind: Method, Selector: "raise_by", Receiver: "counter",
		Args:   []Shape{{Kind: IntShape}},
		Kwargs: []NamedShape{{Name: "step", Shape: Shape{Kind: FloatShape}}},
		Slots: []NamedShape{
			{Name: "count", Shape: Shape{Kind: IntShape}},
			{Name: "log", Shape: Shape{Kind: ListShape, Elem: &Shape{Kind: DictShape, Fields: []NamedShape{{Name: "at", Shape: Shape{Kind: IntShape}}}}}},
		},
		Methods: []string{"reset"}, Intent: "raise the count", Findings: "Plan: add", Rules: "Write self._p_changed = True.",
	}
}

const raiseSource = "def raise_by(self, value, step):\n    self.count = self.count + value\n    self._p_changed = True\n    return self.count\n"

func TestCovenantComposes(t *testing.T) {
	var p Covenant
	r, err := p.Compose(intTask(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Chat) != 2 || r.Chat[0].Role != System || r.Temperature != 0 || r.MaxTokens == 0 || r.Text != "" {
		t.Errorf("request %+v", r)
	}
	for _, want := range []string{
		"Object: counter", "  count: int", "  log: list of {at: int}", "It understands: reset",
		"Message: raise_by(int, step=float)", "Purpose: raise the count", "Plan: add", "\ndef raise_by(self, value, step):",
	} {
		if !strings.Contains(r.Chat[1].Text, want) {
			t.Errorf("the prompt lacks %q:\n%s", want, r.Chat[1].Text)
		}
	}
	if !strings.Contains(r.Chat[0].Text, "self._p_changed = True") {
		t.Error("the rules lack the covenant")
	}
	if !strings.Contains(r.Grammar, `"def raise_by(self, value, step):"`) {
		t.Errorf("grammar %s", r.Grammar)
	}
}

func TestCovenantRepairs(t *testing.T) {
	var p Covenant
	first, err := p.Compose(intTask(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var earlier []Attempt
	for n := 1; n <= 4; n++ {
		earlier = append(earlier, Attempt{Number: n, Source: strings.Repeat("source ", 1000) + string(rune('0'+n)), Error: "line 2: it is wrong"})
		r, err := p.Compose(intTask(), earlier)
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 + 2*min(n, toldAttempts); len(r.Chat) != want {
			t.Errorf("after %d attempts the conversation has %d turns, want %d", n, len(r.Chat), want)
		}
		if last := r.Chat[len(r.Chat)-1]; last.Role != User || !strings.Contains(last.Text, "line 2: it is wrong") {
			t.Errorf("the last turn is %+v", last)
		}
		if r.Temperature <= first.Temperature || r.Temperature > 1 {
			t.Errorf("attempt %d at temperature %g", n+1, r.Temperature)
		}
		for _, turn := range r.Chat {
			if len(turn.Text) > maxTold+4000 {
				t.Errorf("a turn of %d bytes", len(turn.Text))
			}
		}
	}
}

func TestCovenantRefusesWhatCannotBeAParameter(t *testing.T) {
	for _, name := range []string{"if", "two words", "self", "a:b", "_p_changed", ""} {
		task := intTask()
		task.Kwargs = []NamedShape{{Name: name, Shape: Shape{Kind: IntShape}}}
		if _, err := (Covenant{}).Compose(task, nil); batos.CodeOf(err) != batos.Refused {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := (Covenant{}).Compose(Task{Kind: Layout, Rules: "x"}, nil); batos.CodeOf(err) != batos.Refused {
		t.Errorf("a kind that is not served: %v", err)
	}
	if _, err := (Covenant{}).Compose(Task{Kind: Plan}, nil); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a task without rules: %v", err)
	}
}

func TestSignature(t *testing.T) {
	i, l := Shape{Kind: IntShape}, Shape{Kind: ListShape}
	for _, c := range []struct {
		args   []Shape
		kwargs []string
		want   string
	}{
		{nil, nil, "def f(self):"},
		{[]Shape{i, i, l}, nil, "def f(self, value, value2, items):"},
		{[]Shape{i}, []string{"value"}, "def f(self, value2, value):"},
		{[]Shape{{Kind: AnyShape}, {Kind: NoneShape}}, nil, "def f(self, value, value2):"},
	} {
		task := Task{Kind: Method, Selector: "f", Args: c.args}
		for _, k := range c.kwargs {
			task.Kwargs = append(task.Kwargs, NamedShape{Name: k})
		}
		if got, err := signature(task); got != c.want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, c.want)
		}
	}
}

func TestCovenantReads(t *testing.T) {
	body := strings.SplitN(raiseSource, "\n", 2)[1]
	for _, c := range []struct{ name, text, want string }{
		{"bare", raiseSource, raiseSource},
		{"no newline", strings.TrimSpace(raiseSource), raiseSource},
		{"carriage returns", strings.ReplaceAll(raiseSource, "\n", "\r\n"), raiseSource},
		{"fence", "```python\n" + raiseSource + "```", raiseSource},
		{"open fence", "```\n" + raiseSource, raiseSource},
		{"tildes", "~~~\n" + raiseSource + "~~~\n", raiseSource},
		{"prose and fence", "Sure! Here it is:\n\n```python\n" + raiseSource + "```\nIt adds the value.", raiseSource},
		{"prose without fence", "Here is the method:\n" + raiseSource + "\nThis method adds.", raiseSource},
		{"second fence", "```\npip install it\n```\n```py\n" + raiseSource + "```", raiseSource},
		{"indented", "    " + strings.ReplaceAll(strings.TrimSpace(raiseSource), "\n", "\n    "), raiseSource},
		{"in a class", "class Counter:\n    " + strings.ReplaceAll(strings.TrimSpace(raiseSource), "\n", "\n    ") + "\n\n    def other(self):\n        pass", raiseSource},
		{"second of two", "def helper(x):\n    return x\n\n" + raiseSource, raiseSource},
		{"body only", body, raiseSource},
		{"body at the margin", strings.ReplaceAll(body, "    ", ""), raiseSource},
		{"long string at the margin", "def raise_by(self, value, step):\n    x = \"\"\"a\nb\n\"\"\"\n    return x\nThat is all.", "def raise_by(self, value, step):\n    x = \"\"\"a\nb\n\"\"\"\n    return x\n"},
		{"list at the margin", "def raise_by(self, value, step):\n    x = [\n1,\n2]\n    return x\n", "def raise_by(self, value, step):\n    x = [\n1,\n2]\n    return x\n"},
		{"bracket in a string", "def raise_by(self, value, step):\n    return \"(\" # [\nDone.", "def raise_by(self, value, step):\n    return \"(\" # [\n"},
		{"another name", "def add(self):\n    return 1\n", "def add(self):\n    return 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := (Covenant{}).Read(intTask(), nil, &Result{Text: c.text, Stop: StopEnd, Tokens: []int32{1, 2}, Logprobs: []float32{float32(math.Log(0.5)), float32(math.Log(0.5))}})
			if err != nil || a.Source != c.want {
				t.Errorf("got %q, %v", a.Source, err)
			}
			if math.Abs(a.Confidence-0.5) > 1e-6 {
				t.Errorf("confidence %g", a.Confidence)
			}
		})
	}
}

func TestCovenantReadsNoMethod(t *testing.T) {
	for _, text := range []string{"", "   \n", "I am sorry, I cannot do that.", "```\n```", "The object could be raised by a value."} {
		if a, err := (Covenant{}).Read(intTask(), nil, &Result{Text: text, Stop: StopEnd}); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %q, %v", text, a.Source, err)
		}
	}
	a, err := (Covenant{}).Read(intTask(), nil, &Result{Text: raiseSource, Stop: StopLength})
	if batos.CodeOf(err) != batos.Invalid || a.Source != raiseSource {
		t.Errorf("a method that was cut off: %q, %v", a.Source, err)
	}
}

// Whatever a model writes, Read neither panics nor gives more than was there
// and the def line.
func FuzzMethodSource(f *testing.F) {
	f.Add(raiseSource)
	f.Add("```python\n" + raiseSource + "```")
	f.Add("return self.count")
	f.Add("def raise_by(\"\"\"\n(")
	f.Fuzz(func(t *testing.T, text string) {
		source, _ := methodSource(text, "def raise_by(self):", "raise_by")
		if len(source) > 0 && !strings.Contains(source, "def ") {
			t.Errorf("%q gave %q", text, source)
		}
		if again, _ := methodSource(source, "", "raise_by"); source != "" && again == "" {
			t.Errorf("%q is not read again", source)
		}
	})
}

func TestOffline(t *testing.T) {
	ctx := context.Background()
	_, infoErr := Offline{}.Info(ctx)
	_, genErr := Offline{}.Generate(ctx, Request{})
	_, countErr := Offline{}.CountTokens(ctx, "")
	for _, err := range []error{infoErr, genErr, countErr} {
		if batos.CodeOf(err) != batos.Offline || !strings.Contains(err.Error(), "the cognitive core is offline") {
			t.Errorf("%v", err)
		}
	}
}
