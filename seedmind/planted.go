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
