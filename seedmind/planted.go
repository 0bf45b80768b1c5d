package seedmind

import (
	"context"
	"math/rand/v2"

	"batos/internal/method"
	"batos/internal/mind"
	"batos/object"
)

// Right is a message with the method that answers it rightly, for measuring
// what a gate makes of right methods, and of wrong ones that are planted in
// their place.
type Right struct {
	Task   mind.Task
	Area   string
	Slots  []object.Slot // of the object, when the message comes
	Args   []object.Value
	Source string

	reference *reference
	seed      uint64
}

// Rights draws n messages of a set with their right methods; the same for the
// same corpus and seed.
func (c *Corpus) Rights(set Set, n int, seed uint64) []Right {
	r := rand.New(rand.NewPCG(seed, 78))
	var out []Right
	for _, p := range c.Problems(set, n, seed) {
		if p.reference == nil {
			continue
		}
		one := Right{Task: p.Task, Area: p.Area, reference: p.reference, seed: r.Uint64()}
		first, ok := p.reference.draw(context.Background(), states{r: rand.New(rand.NewPCG(one.seed, 1)), plain: true})
		if !ok {
			continue
		}
		var err error
		s := p.reference.sample
		if one.Source, err = mind.SeedSource(p.Task.Selector, s.Prompt, p.reference.slots, p.reference.fields, p.Task.Receiver, s.Answer); err != nil {
			continue
		}
		one.Slots, one.Args = first.slots, first.args
		out = append(out, one)
	}
	return out
}

// equivalentStates is on how many states a planted method must do as the right
// one does to count as no mistake at all.
const equivalentStates = 150

// Differs reports whether a method does anything else than the right one.
func (r Right) Differs(source string) (bool, error) {
	program, err := method.Compile(string(r.Task.Selector), source)
	if err != nil {
		return false, err
	}
	same, _ := r.reference.agrees(context.Background(), program, states{r: rand.New(rand.NewPCG(r.seed, 2))}, equivalentStates)
	return !same, nil
}

// Exam is a message with a way to tell whether a method answers it rightly.
type Exam struct {
	Task   mind.Task
	Area   string
	Refuse bool // not to know is right
	Slots  []object.Slot
	Args   []object.Value
	// Wrong says what is wrong with a source, or "".
	Wrong func(source string) string
}

// Exam makes an exam of a case.
func (c Case) Exam() Exam {
	p := c.Problem()
	return Exam{Task: p.Task, Area: c.Area, Refuse: c.Refuse, Slots: c.Trials[0].Slots, Args: c.args(), Wrong: func(source string) string {
		program, err := method.Compile(string(p.Task.Selector), source)
		if err != nil {
			return err.Error()
		}
		return p.check(program)
	}}
}

// args are the arguments of the message, the named ones after the others.
func (c Case) args() []object.Value {
	out := append([]object.Value(nil), c.Trials[0].Args...)
	for _, k := range c.Kwargs {
		out = append(out, k.Value)
	}
	return out
}

// Exam makes an exam of a message with its right method.
func (r Right) Exam() Exam {
	return Exam{Task: r.Task, Area: r.Area, Slots: r.Slots, Args: r.Args, Wrong: func(source string) string {
		differs, err := r.Differs(source)
		switch {
		case err != nil:
			return err.Error()
		case differs:
			return "it does something else than the right method"
		}
		return ""
	}}
}
