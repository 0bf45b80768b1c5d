package seedmind

import (
	"slices"
	"strings"
	"testing"

	"batos/internal/mind"
)

// What the nearest phrase asks for is what the corpus says that the prompt
// means, if the message is a phrase; a held-out one is never looked at.
func TestPhrasesNear(t *testing.T) {
	c := loaded(t)
	k := Phrases()
	if k.Corpus() != c.Hash {
		t.Fatalf("the phrases are of %s, the corpus is %s", k.Corpus(), c.Hash)
	}
	g := NewGenerator(c, 5)
	asked, agreed := 0, 0
	for i := 0; asked < 80; i++ {
		s := g.Sample(i)
		if s.Refuse || s.Kind != mind.Method || s.Meaning.Family == nil || heldCell(s.Meaning.Family) {
			continue
		}
		near := k.Near(s.Prompt)
		if s.Meaning.Held {
			for _, n := range near {
				if slices.Equal(n.Words, s.Prompt.Words) {
					t.Errorf("%q is held out, and is known", s.Prompt.Text())
				}
			}
			continue
		}
		asked++
		if len(near) > 0 && slices.ContainsFunc(near, func(n mind.SeedPhrase) bool { return n.Likeness == near[0].Likeness && n.Body == s.Answer }) {
			agreed++
		}
		for j, n := range near {
			if n.Likeness <= 0 || n.Likeness > 1 || j > 0 && n.Likeness > near[j-1].Likeness || n.Body == "" || len(n.Words) == 0 {
				t.Fatalf("%q: entry %d is %+v", s.Prompt.Text(), j, n)
			}
		}
	}
	t.Logf("%d of %d prompts: a nearest phrase asks for what is meant", agreed, asked)
	if 10*agreed < 8*asked {
		t.Errorf("only %d of %d prompts have a nearest phrase that asks for what is meant", agreed, asked)
	}
	p := mind.SeedPrompt{Slots: []mind.SeedSlot{{Type: mind.SeedInt}}, Words: []string{"increase", "$0", "by"}, Args: []mind.SeedType{mind.SeedNumber}}
	near := k.Near(p)
	if len(near) == 0 || !strings.Contains(near[0].Body, "$0 = $0 + a") || near[0].Likeness != 1 {
		t.Errorf("increase_$0_by: %+v", near)
	}
	p.Args = []mind.SeedType{mind.SeedBool, mind.SeedBool, mind.SeedBool}
	if near := k.Near(p); len(near) > 0 {
		t.Errorf("nothing takes three flags: %+v", near[0])
	}
}

// The weights that are found put what speaks for a method above what does not.
func TestFitWeights(t *testing.T) {
	var all []Weighing
	for i := range 400 {
		one := Weighing{Set: "s", Chosen: i%2 == 0, First: Score{Refused: 1}}
		for k := range 2 {
			f := mind.SeedFeatures{1}
			f[1] = float64(k)
			f[2] = float64((i + k) % 3)
			one.Ideas = append(one.Ideas, WeighedIdea{f, k == 1 && i%10 > 0})
		}
		all = append(all, one)
	}
	w := mind.SeedWeights{Of: FitWeights(all)}
	yes, no := mind.SeedFeatures{1, 1, 1}, mind.SeedFeatures{1, 0, 1}
	if p := w.Confidence(&yes); p < 0.85 || p > 0.93 {
		t.Errorf("nine of ten are right, confidence is %.3f", p)
	}
	if p := w.Confidence(&no); p > 0.1 {
		t.Errorf("none is right, confidence is %.3f", p)
	}
	crossed := CrossFitted(all)
	if s := Decide(crossed, 0.3, 0.5); s.Right != 360 || s.Wrong != 40 {
		t.Errorf("%+v", s)
	}
	if sure := SureFrom(crossed, 0.2); sure > 0.5 {
		t.Errorf("one of ten is wrong, and for one of five the bound is %.2f", sure)
	}
	if sure := SureFrom(crossed, 0.05); sure < 0.8 {
		t.Errorf("one of ten is wrong, and for one of twenty the bound is %.2f", sure)
	}
}
