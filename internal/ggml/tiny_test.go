package ggml

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// shape is the shape of a random model for tests.
type shape struct{ layers, dim, ff, heads, kvHeads int }

var tiny = shape{layers: 2, dim: 64, ff: 96, heads: 4, kvHeads: 2}

func (s shape) matrices() map[string][2]int {
	kv := s.dim / s.heads * s.kvHeads
	return map[string][2]int{
		"attn_q": {s.dim, s.dim}, "attn_k": {s.dim, kv}, "attn_v": {s.dim, kv}, "attn_output": {s.dim, s.dim},
		"ffn_gate": {s.dim, s.ff}, "ffn_up": {s.dim, s.ff}, "ffn_down": {s.ff, s.dim},
	}
}

var matrixOrder = []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}

const (
	tinyVocab = 258
	tinyEnd   = 257
)

func random(r *rand.Rand, n int, dev float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * dev)
	}
	return v
}

// tinyGGUF writes a random model whose tokens are the 256 bytes, one
// user-defined token and an end. extra may add metadata.
func tinyGGUF(t testing.TB, s shape, extra func(*GGUFWriter)) []byte {
	t.Helper()
	var g GGUFWriter
	g.String("general.architecture", "llama")
	g.Uint32("llama.context_length", 128)
	g.Uint32("llama.embedding_length", uint32(s.dim))
	g.Uint32("llama.block_count", uint32(s.layers))
	g.Uint32("llama.feed_forward_length", uint32(s.ff))
	g.Uint32("llama.attention.head_count", uint32(s.heads))
	g.Uint32("llama.attention.head_count_kv", uint32(s.kvHeads))
	g.Float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
	var toks []string
	var kinds []int32
	next := rune(256)
	for b := rune(0); b < 256; b++ {
		c := b
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			c, next = next, next+1
		}
		toks, kinds = append(toks, string(c)), append(kinds, 1)
	}
	toks, kinds = append(toks, "self.", "<end>"), append(kinds, 4, 3)
	g.String("tokenizer.ggml.model", "gpt2")
	g.String("tokenizer.ggml.pre", "gpt-2")
	g.Strings("tokenizer.ggml.tokens", toks)
	g.Int32s("tokenizer.ggml.token_type", kinds)
	g.Strings("tokenizer.ggml.merges", nil)
	g.Uint32("tokenizer.ggml.bos_token_id", tinyEnd)
	g.Uint32("tokenizer.ggml.eos_token_id", tinyEnd)
	g.Bool("tokenizer.ggml.add_bos_token", false)
	if extra != nil {
		extra(&g)
	}
	r := rand.New(rand.NewPCG(1, 2))
	add := func(name string, dims ...int) {
		n := 1
		for _, d := range dims {
			n *= d
		}
		v := random(r, n, 1/math.Sqrt(float64(dims[0])))
		if len(dims) == 1 {
			for i := range v {
				v[i] = 1
			}
		}
		if err := g.Tensor(name, F32, dims, v); err != nil {
			t.Fatal(err)
		}
	}
	add("token_embd.weight", s.dim, tinyVocab)
	add("output_norm.weight", s.dim)
	for l := range s.layers {
		add(fmt.Sprintf("blk.%d.attn_norm.weight", l), s.dim)
		add(fmt.Sprintf("blk.%d.ffn_norm.weight", l), s.dim)
		for _, name := range matrixOrder {
			m := s.matrices()[name]
			add(fmt.Sprintf("blk.%d.%s.weight", l, name), m[0], m[1])
		}
	}
	return written(t, &g)
}

// tinyAdapter writes a random LoRA adapter.
func tinyAdapter(t testing.TB, s shape, rank int, seed uint64) []byte {
	t.Helper()
	var g GGUFWriter
	g.String("general.type", "adapter")
	g.String("general.architecture", "llama")
	g.String("adapter.type", "lora")
	g.Float32("adapter.lora.alpha", float32(2*rank))
	r := rand.New(rand.NewPCG(seed, 3))
	for l := range s.layers {
		for _, name := range matrixOrder {
			m := s.matrices()[name]
			w := fmt.Sprintf("blk.%d.%s.weight", l, name)
			if err := g.Tensor(w+".lora_a", F32, []int{m[0], rank}, random(r, m[0]*rank, 0.1)); err != nil {
				t.Fatal(err)
			}
			if err := g.Tensor(w+".lora_b", F32, []int{rank, m[1]}, random(r, rank*m[1], 0.1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return written(t, &g)
}

func written(t testing.TB, g *GGUFWriter) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := g.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tinyModel(t testing.TB) *Model {
	t.Helper()
	m, err := library(t).LoadModel(save(t, tinyGGUF(t, tiny, nil)), ModelOptions{})
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
