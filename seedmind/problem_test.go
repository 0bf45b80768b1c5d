package seedmind

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"batos"
	"batos/internal/mind"
)

// What the corpus itself says is right on every held-out problem, through the
// codec and the gate, and the codec reads the names as they were meant.
func TestProblems(t *testing.T) {
	c := loaded(t)
	profile, err := mind.NewSeed(c.Tables())
	if err != nil {
		t.Fatal(err)
	}
	table := func(_ context.Context, task mind.Task, _ []mind.Attempt) (mind.Answer, error) {
		p, err := profile.Prompt(task)
		if err != nil {
			return mind.Answer{}, err
		}
		m, ok := c.Read(p)
		if !ok {
			return mind.Answer{}, errNoMeaning
		}
		source, err := profile.Source(task, m.Body(p))
		return mind.Answer{Source: source}, err
	}
	for _, set := range Sets {
		outcomes, err := Evaluate(context.Background(), table, c.Problems(set, 300, 3))
		if err != nil {
			t.Fatal(err)
		}
		score := Score{}
		for _, o := range outcomes {
			score.add(o.Score)
			if o.Score.Right == 0 && testing.Verbose() {
				o.Describe(t.Output())
			}
		}
		t.Logf("%s: %+v", set, score)
		if score.Right < 285 {
			t.Errorf("%s: the corpus is right on %d of 300 of its own problems", set, score.Right)
		}
	}
}

var errNoMeaning = batos.Errorf(batos.Refused, "it means nothing")

// The names can be taken out of every method again.
func TestBodiesComeBack(t *testing.T) {
	c := loaded(t)
	p, err := mind.NewSeed(c.Tables())
	if err != nil {
		t.Fatal(err)
	}
	g := NewGenerator(c, 3)
	g.strict = true
	r := rand.New(rand.NewPCG(3, 4))
	tried := 0
	for tried < 60 {
		s := g.method(r)
		problem, ok := c.named(r, s)
		if !ok || strings.Contains(s.Answer, `: " +`) { // a label inside a longer text stays a text
			continue
		}
		prompt, err := p.Prompt(problem.Task)
		if err != nil || prompt.Text() != s.Prompt.Text() {
			continue // the codec reads the names another way
		}
		tried++
		source, err := p.Source(problem.Task, s.Answer)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := p.Body(problem.Task, source); err != nil || body != s.Answer {
			t.Errorf("%s came back as\n%s\nnot\n%s\n%v", source, body, s.Answer, err)
		}
	}
}
