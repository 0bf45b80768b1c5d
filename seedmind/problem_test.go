package seedmind

import (
	"context"
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
