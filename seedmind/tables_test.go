package seedmind

import (
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
