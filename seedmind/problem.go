package seedmind

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"

	"batos"
	"batos/internal/guardian"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/object"
)

// Problem is one message that a mind is asked to write the method for, with
// a way to judge what it wrote.
type Problem struct {
	Task   mind.Task
	Area   string
	Refuse bool // not to know is right
	// trial runs the message itself, as the gate does; check tries the method
	// on many states and says what is wrong, or "".
	trial func(*method.Program) error
	check func(*method.Program) string
	// reference is the right method of a generated problem, else nil.
	reference *reference
}

// gate does what stands between a mind's answer and its installation: the
// Guardian, the compiler, and the message itself.
func (p Problem) gate(source string) (*method.Program, error) {
	report, err := guardian.Audit(source, guardian.Options{Selector: p.Task.Selector, Generated: true})
	if err != nil {
		return nil, err
	}
	if err := report.Err(); err != nil {
		return nil, err
	}
	program, err := method.Compile(string(p.Task.Selector), source)
	if err != nil {
		return nil, err
	}
	return program, p.trial(program)
}

// Problem makes a problem of a case.
func (c Case) Problem() Problem {
	run := func(t Trial, p *method.Program) (object.Value, []object.Slot, error) {
		args := t.Args
		for _, k := range c.Kwargs {
			args = append(args[:len(args):len(args)], k.Value)
		}
		return NewWorld().Call(context.Background(), p, t.Slots, args)
	}
	return Problem{
		Task: c.Task(), Area: c.Area, Refuse: c.Refuse,
		trial: func(p *method.Program) error {
			_, _, err := run(c.Trials[0], p)
			return err
		},
		check: func(p *method.Program) string {
			for _, t := range c.Trials {
				got, after, err := run(t, p)
				if err != nil {
					return err.Error()
				}
				if why := t.differs(got, after); why != "" {
					return why
				}
			}
			return ""
		},
	}
}

// trialStates is how many states a method is tried on.
const trialStates = 40

// Set is a kind of held-out examples.
type Set string

const (
	CoreNames       Set = "core"         // as names, of the core families alone: see Corpus.Core
	NewNames        Set = "names"        // phrases of the training, slots and fields with names
	NewPhrases      Set = "phrases"      // phrases never trained on
	NewCombinations Set = "combinations" // crossings of the grid never trained on
	Nonsense        Set = "nonsense"     // messages that mean nothing
)

// Sets are the kinds of held-out examples.
var Sets = []Set{CoreNames, NewNames, NewPhrases, NewCombinations, Nonsense}

// coreAreas and corePerArea say which families are the core: those that stand
// first in the files of four areas, where the most ordinary messages are, and
// the layouts of a whole object.
var coreAreas = []string{"numbers", "strings", "lists", "flags"}

const corePerArea = 14

// Core is the ordinary part of the corpus, about 60 families.
func (c *Corpus) Core() []*Family {
	var out []*Family
	count := map[string]int{}
	for _, f := range c.Families {
		whole := f.Area == "layouts" && f.all != nil && len(f.Forms) == 0
		if f.cell || !whole && (!slices.Contains(coreAreas, f.Area) || count[f.Area] >= corePerArea) {
			continue
		}
		count[f.Area]++
		out = append(out, f)
	}
	return out
}

// Problems draws n held-out problems. They are the same for the same corpus
// and seed.
func (c *Corpus) Problems(set Set, n int, seed uint64) []Problem {
	g := NewGenerator(c, seed)
	r := rand.New(rand.NewPCG(seed, 77))
	switch set {
	case CoreNames:
		g.families = c.Core()
	case NewPhrases:
		g.held = func(m Meaning) bool { return !m.Held || heldCell(m.Family) }
	case NewCombinations:
		g.held = func(m Meaning) bool { return !heldCell(m.Family) }
		g.families = nil
		for _, f := range c.Families {
			if heldCell(f) {
				g.families = append(g.families, f)
			}
		}
	}
	g.strict = true
	var out []Problem
	for len(out) < n {
		s := Sample{}
		if set == Nonsense {
			s = g.refusal(r)
		} else {
			s = g.method(r)
		}
		if p, ok := c.named(r, s); ok {
			out = append(out, p)
		}
	}
	return out
}

// named gives the slots and fields of a sample names, and makes a problem of
// it.
func (c *Corpus) named(r *rand.Rand, s Sample) (Problem, bool) {
	n := namer{c: c, r: r, used: map[string]bool{}}
	t := mind.Task{Kind: mind.Method, Receiver: "thing_" + pseudoWord(r)}
	var slots, fields []string
	for i, slot := range s.Prompt.Slots {
		name := n.name(slot.Role, slot.Type)
		if name == "" {
			return Problem{}, false
		}
		if slices.Contains(s.Prompt.Words, "$"+itoa(i)+mind.SeedOne) && mind.SeedSingular(name) == name {
			if name += "s"; mind.SeedRoleOf(name, slot.Type) != slot.Role || mind.SeedSingular(name) == name {
				return Problem{}, false
			}
		}
		slots = append(slots, name)
		shape := shapeOfType(slot.Type)
		if slot.Type == mind.SeedRecords || slot.Type == mind.SeedRecord {
			var fs []mind.NamedShape
			first := true
			for _, f := range slot.Fields {
				role := f.Role
				if role == "name" && first {
					role = "" // the first text is the name, whatever it is called
				}
				if f.Type == mind.SeedStr {
					first = false
				}
				field := n.name(role, f.Type)
				if field == "" {
					return Problem{}, false
				}
				fields = append(fields, field)
				fs = append(fs, mind.NamedShape{Name: fields[len(fields)-1], Shape: shapeOfType(f.Type)})
			}
			if slot.Type == mind.SeedRecord {
				shape = mind.Shape{Kind: mind.DictShape, Elem: &mind.Shape{Kind: mind.AnyShape}, Fields: fs}
			} else {
				shape.Elem = &mind.Shape{Kind: mind.DictShape, Fields: fs}
			}
		}
		t.Slots = append(t.Slots, mind.NamedShape{Name: name, Shape: shape})
	}
	for _, a := range s.Prompt.Args {
		t.Args = append(t.Args, shapeOfType(a))
	}
	t.Selector = batos.Selector(n.selector(s.Prompt.Words, slots, fields))
	if _, err := batos.ParseSelector(string(t.Selector)); err != nil {
		return Problem{}, false
	}
	if s.Refuse {
		return Problem{Task: t, Area: "nonsense", Refuse: true, trial: func(*method.Program) error { return nil }, check: func(*method.Program) string { return "it means nothing" }}, true
	}
	p := Problem{Task: t, Area: s.Meaning.Family.Area}
	ref, err := s.reference(slots, fields, t.Receiver)
	if err != nil {
		return p, false
	}
	p.reference = ref
	drawSeed := r.Uint64()
	first, ok := ref.draw(context.Background(), states{r: rand.New(rand.NewPCG(drawSeed, 1))})
	if !ok {
		return p, false
	}
	p.trial = func(m *method.Program) error {
		_, _, err := NewWorld().Call(context.Background(), m, first.slots, first.args)
		return err
	}
	p.check = func(m *method.Program) string {
		_, why := ref.agrees(context.Background(), m, states{r: rand.New(rand.NewPCG(drawSeed, 2))}, trialStates)
		return why
	}
	return p, true
}

// namer draws names for slots and fields.
type namer struct {
	c    *Corpus
	r    *rand.Rand
	used map[string]bool
}

// name draws a name that gives away the role and no other, and shares no word
// with a name drawn before; "" if there is none.
func (n *namer) name(role string, t mind.SeedType) string {
	for range 100 {
		name := n.draw(role)
		words := strings.Split(name, "_")
		if mind.SeedRoleOf(name, t) != role {
			continue
		}
		taken := false
		for _, w := range words {
			taken = taken || n.used[w] || n.used[strings.TrimSuffix(w, "s")]
		}
		if taken {
			continue
		}
		for _, w := range words {
			n.used[w], n.used[strings.TrimSuffix(w, "s")] = true, true
		}
		return name
	}
	return ""
}

func (n *namer) draw(role string) string {
	if role != "" {
		words := mind.SeedRoleWords(role)
		if n.r.IntN(3) == 0 {
			return pseudoWord(n.r) + "_" + words[n.r.IntN(len(words))]
		}
		return words[n.r.IntN(len(words))]
	}
	if n.r.IntN(3) == 0 {
		return pseudoWord(n.r)
	}
	for {
		name := n.c.Names[n.r.IntN(len(n.c.Names))]
		if !n.c.words[name] {
			return name // a word of phrases would be ambiguous, also to a person
		}
	}
}

// selector writes the words of a prompt with names.
func (n *namer) selector(words, slots, fields []string) string {
	var out []string
	for _, w := range words {
		switch w[0] {
		case '$':
			one := strings.HasSuffix(w, mind.SeedOne)
			if w = slots[number(w[1:])]; one {
				w = mind.SeedSingular(w)
			}
		case '#':
			w = fields[number(w[1:])]
		case '~':
			for {
				w = n.c.Things[n.r.IntN(len(n.c.Things))]
				if !n.c.words[w] && !n.used[w] && !n.used[strings.TrimSuffix(w, "s")] {
					break
				}
			}
		}
		out = append(out, w)
	}
	return strings.Join(out, "_")
}

// number reads the digits that s begins with.
func number(s string) int {
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = 10*n + int(s[i]-'0')
	}
	return n
}

// pseudoWord makes a word that nobody has used.
func pseudoWord(r *rand.Rand) string {
	const heads, vowels, tails = "b d f g k l m n p r t v z", "a e i o u", "n r l x m k t p"
	pick := func(s string) string {
		f := strings.Fields(s)
		return f[r.IntN(len(f))]
	}
	w := ""
	for range 2 + r.IntN(2) {
		w += pick(heads) + pick(vowels)
	}
	return w + pick(tails)
}

func shapeOfType(t mind.SeedType) mind.Shape {
	of := func(k mind.ShapeKind) mind.Shape { return mind.Shape{Kind: k} }
	elem := func(k, e mind.ShapeKind) mind.Shape { return mind.Shape{Kind: k, Elem: &mind.Shape{Kind: e}} }
	switch t {
	case mind.SeedInt, mind.SeedNumber:
		return of(mind.IntShape)
	case mind.SeedFloat:
		return of(mind.FloatShape)
	case mind.SeedStr:
		return of(mind.StrShape)
	case mind.SeedBool:
		return of(mind.BoolShape)
	case mind.SeedNumbers:
		return elem(mind.ListShape, mind.IntShape)
	case mind.SeedStrs:
		return elem(mind.ListShape, mind.StrShape)
	case mind.SeedBools:
		return elem(mind.ListShape, mind.BoolShape)
	case mind.SeedList, mind.SeedRecords:
		return of(mind.ListShape)
	case mind.SeedNumberMap:
		return elem(mind.DictShape, mind.IntShape)
	case mind.SeedStrMap:
		return elem(mind.DictShape, mind.StrShape)
	case mind.SeedMap, mind.SeedDict:
		return of(mind.DictShape)
	case mind.SeedNone:
		return of(mind.NoneShape)
	case mind.SeedObj:
		return of(mind.ObjShape)
	}
	return of(mind.AnyShape)
}
