package ggml

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/internal/gguf/gguftest"
)

func TestDecodeInPieces(t *testing.T) {
	c := newContext(t, tinyModel(t), ContextOptions{Sequences: 2, SharedCache: true})
	text := tokens("the quick brown fox")
	whole := logits(t, c, items(0, 0, text...))
	if first, last := c.Span(0); first != 0 || last != len(text)-1 {
		t.Errorf("the sequence spans %d to %d", first, last)
	}
	if first, last := c.Span(1); first != -1 || last != -1 {
		t.Errorf("an empty sequence spans %d to %d", first, last)
	}
	if !c.Remove(0, 5, -1) {
		t.Fatal("the end of a sequence cannot be removed")
	}
	if d := distance(whole, logits(t, c, items(0, 5, text[5:]...))); d > 1e-4 {
		t.Errorf("in two pieces the logits differ by %g", d)
	}
	if !c.Copy(0, 1, 0, 5) {
		t.Fatal("a prefix cannot be shared")
	}
	if d := distance(whole, logits(t, c, items(1, 5, text[5:]...))); d > 1e-4 {
		t.Errorf("after a copied prefix the logits differ by %g", d)
	}
	c.Clear()
	if _, last := c.Span(0); last != -1 {
		t.Errorf("after Clear the sequence ends at %d", last)
	}
	if d := distance(whole, logits(t, c, items(0, 0, text...))); d != 0 {
		t.Errorf("the same decode again differs by %g", d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	c := newContext(t, tinyModel(t), ContextOptions{Tokens: 256, Batch: 64})
	if c.Tokens() != 256 || c.MaxBatch() != 64 {
		t.Fatalf("room for %d, batches of %d", c.Tokens(), c.MaxBatch())
	}
	for _, in := range [][]Item{
		nil,
		make([]Item, 65),
		{{Token: gguftest.Vocab}},
		{{Token: -1}},
		{{Token: 1, Seq: 1}},
		{{Token: 1, Pos: -1}},
		{{Token: 1, Pos: 7}, {Token: 1, Pos: 3}}, // refused by the library, not here
	} {
		if err := c.Decode(in); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%v: %v", in, err)
		}
	}
	if _, err := c.Logits(0); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("logits before a decode: %v", err)
	}
	for pos := 0; pos < 256; pos += 64 {
		if err := c.Decode(items(0, pos, make([]Token, 64)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(items(0, 256, 1)); batos.CodeOf(err) != batos.Limit {
		t.Errorf("a full context: %v", err)
	}
}

func TestCancel(t *testing.T) {
	c := newContext(t, tinyModel(t), ContextOptions{})
	c.Cancel()
	if err := c.Decode(items(0, 0, tokens("stop")...)); batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("a cancelled decode: %v", err)
	}
	c.Resume()
	c.Clear()
	logits(t, c, items(0, 0, tokens("go on")...))
	c.Close()
	c.Cancel() // must not touch freed memory
}

func TestStateIsExact(t *testing.T) {
	c := newContext(t, tinyModel(t), ContextOptions{Sequences: 2})
	text := tokens("a prefix worth keeping")
	if err := c.Decode(items(0, 0, text...)); err != nil {
		t.Fatal(err)
	}
	state, err := c.State(0)
	if err != nil {
		t.Fatal(err)
	}
	want := logits(t, c, items(0, len(text), 'x'))
	c.Clear()
	if err := c.Decode(items(0, 0, tokens("something else")...)); err != nil {
		t.Fatal(err)
	}
	c.Remove(0, 0, -1)
	if err := c.SetState(0, state); err != nil {
		t.Fatal(err)
	}
	if d := distance(want, logits(t, c, items(0, len(text), 'x'))); d != 0 {
		t.Errorf("after a restore the logits differ by %g", d)
	}
	if err := c.SetState(0, []byte("no state")); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("garbage as a state: %v", err)
	}
}

func TestEmbeddings(t *testing.T) {
	m := tinyModel(t)
	each := newContext(t, m, ContextOptions{Embeddings: true, Pooling: PoolingNone})
	pooled := newContext(t, m, ContextOptions{Embeddings: true, Pooling: PoolingMean})
	in := items(0, 0, tokens("mean of these")...)
	for i := range in {
		in[i].Output = true
	}
	if err := each.Decode(in); err != nil {
		t.Fatal(err)
	}
	if err := pooled.Decode(in); err != nil {
		t.Fatal(err)
	}
	mean := make([]float32, m.EmbeddingSize())
	for i := range in {
		v, err := each.Embedding(i)
		if err != nil {
			t.Fatal(err)
		}
		for j := range v {
			mean[j] += v[j] / float32(len(in))
		}
	}
	got, err := pooled.SequenceEmbedding(0)
	if err != nil {
		t.Fatal(err)
	}
	if d := distance(mean, got); d > 1e-4 {
		t.Errorf("the pooled vector is %g away from the mean", d)
	}
	if _, err := pooled.Embedding(0); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("one token's vector from a pooled context: %v", err)
	}
}

func TestSampler(t *testing.T) {
	m := tinyModel(t)
	c := newContext(t, m, ContextOptions{})
	write := func(o SamplerOptions, n int) string {
		t.Helper()
		s, err := m.NewSampler(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c.Clear()
		next := items(0, 0, tokens("x")...)
		var out []byte
		for pos := 1; len(out) < n; pos++ {
			if err := c.Decode(next); err != nil {
				t.Fatal(err)
			}
			tok, err := s.Sample(c, -1)
			if err != nil {
				t.Fatal(err)
			}
			if m.IsEOG(tok) {
				break
			}
			out = append(out, m.Piece(tok, false)...)
			next = items(0, pos, tok)
		}
		return string(out)
	}
	for _, o := range []SamplerOptions{
		{Grammar: `root ::= [0-9]+ "."`},
		{Grammar: `root ::= [0-9]+ "."`, Temperature: 2, Seed: 3},
	} {
		digits := strings.TrimSuffix(write(o, 20), ".")
		if digits == "" || strings.Trim(digits, "0123456789") != "" {
			t.Errorf("%+v wrote %q", o, digits)
		}
	}
	hot := SamplerOptions{Temperature: 5, TopP: 0.99, TopK: 200, Seed: 1}
	first := write(hot, 20)
	if again := write(hot, 20); again != first {
		t.Errorf("one seed wrote %q and %q", first, again)
	}
	hot.Seed = 2
	if other := write(hot, 20); other == first {
		t.Errorf("two seeds wrote %q", first)
	}
	if _, err := m.NewSampler(SamplerOptions{Grammar: "root ::= ("}); batos.CodeOf(err) != batos.Invalid || strings.Contains(err.Error(), "\n") {
		t.Errorf("a broken grammar: %v", err)
	}
	if _, err := m.NewSampler(SamplerOptions{TopP: 2}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("impossible options: %v", err)
	}
}

// Under a grammar the likeliest token is the likeliest of those it allows,
// whether that is among the first few of all or the very last.
func TestGrammarTakesTheLikeliest(t *testing.T) {
	m := tinyModel(t)
	c := newContext(t, m, ContextOptions{})
	l := logits(t, c, items(0, 0, tokens("x")...))
	rank := func(tok int) (n int) {
		for _, v := range l[:256] {
			if v > l[tok] {
				n++
			}
		}
		return n
	}
	far := 0
	for low := 1; low < 120; low += 7 {
		best := low
		for tok := low; tok < low+5; tok++ {
			if l[tok] > l[best] {
				best = tok
			}
		}
		if rank(best) > topCount {
			far++
		}
		s, err := m.NewSampler(SamplerOptions{Grammar: fmt.Sprintf(`root ::= [\x%02x-\x%02x]`, low, low+4)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Sample(c, -1); err != nil || got != Token(best) {
			t.Errorf("of the tokens from %d on %d was taken, not %d: %v", low, got, best, err)
		}
		s.Close()
	}
	if far == 0 {
		t.Error("every choice was among the first few: the test shows half")
	}
}

func TestLogprob(t *testing.T) {
	l := []float32{0, float32(math.Log(3)), float32(math.Inf(-1))}
	for tok, want := range []float64{math.Log(0.25), math.Log(0.75), math.Inf(-1)} {
		if got := float64(Logprob(l, Token(tok))); got != want && math.Abs(got-want) > 1e-6 {
			t.Errorf("token %d: %g, want %g", tok, got, want)
		}
	}
	if got := Logprob(l, 3); !math.IsInf(float64(got), -1) {
		t.Errorf("a token that is not there: %g", got)
	}
}

// The cache does not notice a change of adapters, so the rule that it is
// cleared is what these logits depend on.
func TestAdapters(t *testing.T) {
	m := tinyModel(t)
	load := func(b []byte) *Adapter {
		t.Helper()
		a, err := m.LoadAdapter(b)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	fileA, _ := gguftest.Adapter(t, tiny, 1)
	fileB, _ := gguftest.Adapter(t, tiny, 2)
	a, b := load(fileA), load(fileB)
	c := newContext(t, m, ContextOptions{})
	under := func(c *Context, set ...Scaled) []float32 {
		t.Helper()
		if err := c.SetAdapters(set); err != nil {
			t.Fatal(err)
		}
		c.Clear()
		return logits(t, c, items(0, 0, tokens("adapted")...))
	}
	bare := under(c)
	underA, underB := under(c, Scaled{a, 1}), under(c, Scaled{b, 1})
	if distance(bare, underA) < 1e-3 || distance(bare, underB) < 1e-3 || distance(underA, underB) < 1e-3 {
		t.Fatal("adapters make no difference")
	}
	if d := distance(underA, under(c, Scaled{a, 1})); d != 0 {
		t.Errorf("A after B differs from A by %g", d)
	}
	if d := distance(bare, under(c)); d != 0 {
		t.Errorf("the bare model after B differs by %g", d)
	}
	if both := under(c, Scaled{a, 1}, Scaled{b, 0.5}); distance(both, underA) < 1e-3 {
		t.Error("a second adapter makes no difference")
	}
	if err := a.Close(); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("an adapter in force was closed: %v", err)
	}

	var wg sync.WaitGroup
	for _, w := range []struct {
		set  []Scaled
		want []float32
	}{{[]Scaled{{a, 1}}, underA}, {[]Scaled{{b, 1}}, underB}} {
		own := newContext(t, m, ContextOptions{})
		if err := own.SetAdapters(w.set); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 10 {
				own.Clear()
				if err := own.Decode(items(0, 0, tokens("adapted")...)); err != nil {
					t.Error(err)
					return
				}
				if v, err := own.Logits(-1); err != nil || distance(v, w.want) != 0 {
					t.Errorf("beside another context the logits differ: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLoadAdapterRefuses(t *testing.T) {
	m := tinyModel(t)
	wide := tiny
	wide.Width = 128
	sound, _ := gguftest.Adapter(t, tiny, 1)
	foreign, _ := gguftest.Adapter(t, wide, 1)
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"text":              []byte("not an adapter at all"),
		"cut":               sound[:len(sound)/2],
		"of another shape":  foreign,
		"a model":           gguftest.ModelBytes(t, tiny),
		"one tensor short":  slices.Concat(sound[:8], []byte{27}, sound[9:]),
		"impossible length": slices.Concat(sound[:16], []byte("\xff\xff\xff\xff\xff\xff\xff\xff"), sound[24:]),
	} {
		a, err := m.LoadAdapter(b)
		if err == nil {
			t.Errorf("%s: loaded; %v", name, a.Close())
			continue
		}
		if batos.CodeOf(err) != batos.Invalid || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
