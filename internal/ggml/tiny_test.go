package ggml

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
)

// tiny is the random model that most tests use.
var tiny = gguftest.Shape{Context: 128, Seed: 1}

func save(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func text(key, value string) gguf.Entry { return gguf.Entry{Key: key, Value: gguf.OfText(value)} }

func tinyModel(t testing.TB) *Model {
	t.Helper()
	m, err := library(t).LoadModel(gguftest.Model(t, tiny), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func newContext(t testing.TB, m *Model, o ContextOptions) *Context {
	t.Helper()
	if o.Tokens == 0 {
		o.Tokens = 128
	}
	c, err := m.NewContext(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// items places tokens in sequence seq from position pos; the last is output.
func items(seq, pos int, toks ...Token) []Item {
	out := make([]Item, len(toks))
	for i, tok := range toks {
		out[i] = Item{Token: tok, Pos: pos + i, Seq: seq, Output: i == len(toks)-1}
	}
	return out
}

func tokens(s string) []Token {
	out := make([]Token, len(s))
	for i := range len(s) {
		out[i] = Token(s[i])
	}
	return out
}

// logits decodes and copies the last output's logits.
func logits(t testing.TB, c *Context, in []Item) []float32 {
	t.Helper()
	if err := c.Decode(in); err != nil {
		t.Fatal(err)
	}
	v, err := c.Logits(-1)
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), v...)
}

func distance(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	d := 0.0
	for i := range a {
		d = math.Max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}
