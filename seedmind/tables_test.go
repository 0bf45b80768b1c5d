package seedmind

import (
	"slices"
	"testing"

	"batos/internal/mind"
)

// Every sample can be written in tokens and read back, shortly.
func TestTokens(t *testing.T) {
	c := loaded(t)
	tables := c.Tables()
	tok, err := mind.NewSeedTokenizer(tables.Pieces, tables.Parts)
	if err != nil {
		t.Fatal(err)
	}
	g := NewGenerator(c, 5)
	prompts, answers, longest := 0, 0, 0
	over := 0
	const n = 5000
	for i := range n {
		s := g.Sample(i)
		p, a, err := Tokens(tok, s)
		if err != nil {
			t.Fatal(err)
		}
		prompts, answers, longest = prompts+len(p), answers+len(a), max(longest, len(p)+len(a))
		if len(p)+len(a) > 128 {
			over++
		}
		if s.Refuse {
			continue
		}
		if text, err := tok.Decode(a[:len(a)-1]); err != nil || text != s.Answer {
			t.Fatalf("%q came back as %q, %v", s.Answer, text, err)
		}
		if text, err := tok.Decode(p[1:]); err != nil || text != s.Prompt.Text() {
			t.Fatalf("%q came back as %q, %v", s.Prompt.Text(), text, err)
		}
	}
	t.Logf("%v, prompt %.1f, answer %.1f, longest %d, over 128: %d of %d", tok, float64(prompts)/n, float64(answers)/n, longest, over, n)
}

// Every example is of a method that the table has, by words that it has.
func TestMethodsOfTheCorpus(t *testing.T) {
	c := loaded(t)
	said := map[uint32]map[string]bool{}
	for _, m := range c.methods() {
		if said[m.Key] == nil {
			said[m.Key] = map[string]bool{}
		}
		for _, w := range m.Words {
			said[m.Key][w] = true
		}
	}
	g := NewGenerator(c, 8)
	for i := range 4000 {
		s := g.Sample(i)
		if s.Refuse || s.Kind != mind.Method {
			continue
		}
		words, ok := said[mind.SeedMethodKey(s.Prompt, s.Answer)]
		if key, all := mind.SeedTextOfAll(s.Prompt, s.Answer); all && !ok {
			words, ok = said[key]
		}
		if !ok {
			t.Errorf("no entry for the answer to\n%s%s", s.Prompt.Text(), s.Answer)
			continue
		}
		for _, w := range s.Prompt.Words {
			if w[0] >= 'a' && w[0] <= 'z' && !words[w] && !slices.Contains(c.Things, w) {
				t.Errorf("%q is not among the words of\n%s%s", w, s.Prompt.Text(), s.Answer)
			}
		}
	}
}
