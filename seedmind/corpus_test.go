package seedmind

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"batos/internal/guardian"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/object"
)

var corpus = sync.OnceValues(Load)

func loaded(t testing.TB) *Corpus {
	t.Helper()
	c, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCorpusSize(t *testing.T) {
	c := loaded(t)
	areas := map[string]int{}
	for _, f := range c.Families {
		areas[f.Area]++
	}
	phrases := 0
	for _, f := range c.Families {
		for _, l := range f.Lines {
			phrases += l.size()
		}
	}
	t.Logf("%d families, %d phrases, %d claims, %d dropped, %d words, %d things; %v", len(c.Families), phrases, len(c.claims), c.dropped, len(c.words), len(c.Things), areas)
	if len(c.Families) < 250 || len(areas) < 9 {
		t.Errorf("%d families in %d areas, want 250 in 9", len(c.Families), len(areas))
	}
}

// Every example of every family holds, on every form it can be told for.
func TestExamples(t *testing.T) {
	for _, f := range loaded(t).Families {
		for i, e := range f.Examples {
			if err := checkExample(f, e); err != "" {
				t.Errorf("%s, example %d: %s", f.Name, i+1, err)
			}
		}
	}
}

// exampleNames are the names that examples give slots: their letters.
func checkExample(f *Family, e Example) string {
	form := f.Forms[0]
	if len(form) != len(e.Slots) || len(f.Args) != len(e.Args) {
		return "wrong number of slots or arguments"
	}
	var p mind.SeedPrompt
	var bind binding
	var names, fields []string
	for k, s := range form {
		slot := mind.SeedSlot{Type: s.Type}
		bind.slots[k] = k
		names = append(names, string(slotLetters[k]))
		for j, fs := range s.Fields {
			slot.Fields = append(slot.Fields, mind.SeedField{Type: fs.Type})
			bind.fields[fs.letter()] = j
			fields = append(fields, string(fs.Letter))
		}
		p.Slots = append(p.Slots, slot)
	}
	p.Args = make([]mind.SeedType, len(f.Args))
	source, err := mind.SeedSource(selectorForTrials, p, names, fields, "thing", f.body(p, bind))
	if err != nil {
		return err.Error()
	}
	program, err := method.Compile("m", source)
	if err != nil {
		return err.Error() + "\n" + source
	}
	c := call{args: e.Args, want: e.Want}
	for k := range form {
		c.slots = append(c.slots, object.Slot{Name: names[k], Value: e.Slots[k]})
		c.after = append(c.after, object.Slot{Name: names[k], Value: e.After[k]})
	}
	got, after, err := NewWorld().Call(context.Background(), program, c.slots, c.args)
	if err != nil {
		return err.Error() + "\n" + source
	}
	if why := c.differs(got, after); why != "" {
		return why + "\n" + source
	}
	return ""
}

// Every sample's code passes the Guardian, runs, and its prompt is one the
// model can read.
func TestSamples(t *testing.T) {
	c := loaded(t)
	g := NewGenerator(c, 1)
	n := 20000
	if testing.Short() {
		n = 3000
	}
	answers := map[string]string{}
	checked := map[string]int{}
	for i := range n {
		s := g.Sample(i)
		if s.Kind != mind.Method {
			continue
		}
		text := s.Prompt.Text()
		if was, ok := answers[text]; ok && was != s.Answer {
			t.Errorf("two answers to %q:\n%s\n--\n%s", text, was, s.Answer)
		}
		answers[text] = s.Answer
		if s.Refuse || checked[s.Meaning.Family.Name] >= 4 {
			continue
		}
		checked[s.Meaning.Family.Name]++
		ref, err := newReference(s)
		if err != nil {
			t.Errorf("%s: %v\n%s%s", s.Meaning.Family.Name, err, text, s.Answer)
			continue
		}
		source, err := mind.SeedSource(selectorForTrials, s.Prompt, ref.slots, ref.fields, "thing", s.Answer)
		if err != nil {
			t.Fatal(err)
		}
		report, err := guardian.Audit(source, guardian.Options{Selector: selectorForTrials, Generated: true})
		if err != nil {
			t.Errorf("%s: %v", s.Meaning.Family.Name, err)
		} else if err := report.Err(); err != nil {
			t.Errorf("%s: %v\n%s", s.Meaning.Family.Name, err, source)
		}
		if _, ok := ref.draw(context.Background(), states{r: rand.New(rand.NewPCG(1, uint64(i)))}); !ok {
			t.Errorf("%s: no state on which it does not raise\n%s%s", s.Meaning.Family.Name, text, source)
		}
	}
	t.Logf("%d families checked", len(checked))
}

// Where a family has both orders of two types, a phrase that names no slot
// takes them as the object has them.
func TestSlotsAsTheyStand(t *testing.T) {
	c := loaded(t)
	for _, types := range [][]mind.SeedType{{mind.SeedStr, mind.SeedInt}, {mind.SeedInt, mind.SeedStr}} {
		p := mind.SeedPrompt{Slots: []mind.SeedSlot{{Type: types[0]}, {Type: types[1]}}, Words: []string{"describe"}}
		m, ok := c.Read(p)
		if want := `return "%0: " + str($0) + ", %1: " + str($1)`; !ok || m.Body(p) != want {
			t.Errorf("describe on %v is %q, want %q", types, m.Body(p), want)
		}
	}
}

// A number called id is what a record is found by, and not its figure.
func TestNumbersCalledID(t *testing.T) {
	c := loaded(t)
	orders := mind.SeedSlot{Type: mind.SeedRecords, Fields: []mind.SeedField{
		{Type: mind.SeedNumber, Role: mind.SeedRoleOf("id", mind.SeedNumber)}, {Type: mind.SeedNumber},
	}}
	for _, x := range []struct {
		words, family string
		args          []mind.SeedType
	}{
		{"best", "argmax_only", nil},
		{"find $0'", "find_key", []mind.SeedType{mind.SeedNumber}},
	} {
		p := mind.SeedPrompt{Slots: []mind.SeedSlot{orders}, Words: strings.Fields(x.words), Args: x.args}
		m, ok := c.Read(p)
		if !ok || m.Family.Name != x.family {
			t.Errorf("%s is read as %+v, not as %s", x.words, m.Family, x.family)
		} else if body := m.Body(p); strings.Contains(body, `"#0"`) != (x.family == "find_key") {
			t.Errorf("%s takes the wrong number:\n%s", x.words, body)
		}
	}
}
