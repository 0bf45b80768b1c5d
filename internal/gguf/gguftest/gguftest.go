// Package gguftest makes tiny GGUF files with random weights for tests: a
// llama-like model that generates nonsense fast and the same for the same
// seed, and a LoRA adapter for it. Nothing outside tests imports it.
package gguftest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"batos/internal/gguf"
)

// Shape is the size of a model. Zero fields take the defaults.
type Shape struct {
	Layers, Width, Hidden, Heads, Context int
	Seed                                  uint64
	Template                              string       // chat template; "" leaves it out
	Meta                                  []gguf.Entry // more metadata; a key of the model's own replaces it
}

// The vocabulary has a token for each byte, numbered by it, and after them:
const (
	End      = 256 // <|endoftext|>, the token that ends a text
	TurnHead = 257 // <|im_start|>
	TurnEnd  = 258 // <|im_end|>
	Vocab    = 259
)

func (s Shape) complete() Shape {
	for _, f := range []struct {
		field *int
		value int
	}{{&s.Layers, 2}, {&s.Width, 64}, {&s.Hidden, 128}, {&s.Heads, 4}, {&s.Context, 512}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return s
}

// Model writes a model into a temporary folder and gives its path.
func Model(t testing.TB, s Shape) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := os.WriteFile(path, ModelBytes(t, s), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ModelBytes gives a model as the bytes of its file.
func ModelBytes(t testing.TB, s Shape) []byte {
	t.Helper()
	s = s.complete()
	meta := []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "general.name", Value: gguf.OfText("tiny random")},
		{Key: "llama.context_length", Value: gguf.OfUint32(uint32(s.Context))},
		{Key: "llama.embedding_length", Value: gguf.OfUint32(uint32(s.Width))},
		{Key: "llama.block_count", Value: gguf.OfUint32(uint32(s.Layers))},
		{Key: "llama.feed_forward_length", Value: gguf.OfUint32(uint32(s.Hidden))},
		{Key: "llama.attention.head_count", Value: gguf.OfUint32(uint32(s.Heads))},
		{Key: "llama.attention.head_count_kv", Value: gguf.OfUint32(uint32(s.Heads))},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: gguf.OfFloat(1e-5)},
		{Key: "tokenizer.ggml.model", Value: gguf.OfText("gpt2")},
		{Key: "tokenizer.ggml.pre", Value: gguf.OfText("gpt-2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.OfTexts(vocabulary())},
		{Key: "tokenizer.ggml.token_type", Value: gguf.OfInts(kinds())},
		{Key: "tokenizer.ggml.merges", Value: gguf.OfTexts(nil)},
		{Key: "tokenizer.ggml.bos_token_id", Value: gguf.OfUint32(End)},
		{Key: "tokenizer.ggml.eos_token_id", Value: gguf.OfUint32(End)},
		{Key: "tokenizer.ggml.add_bos_token", Value: gguf.OfBool(false)},
	}
	if s.Template != "" {
		meta = append(meta, gguf.Entry{Key: "tokenizer.chat_template", Value: gguf.OfText(s.Template)})
	}
	meta = replace(meta, s.Meta)
	r := rand.New(rand.NewPCG(s.Seed, 1))
	w, h := s.Width, s.Hidden
	spread := 1 / math.Sqrt(float64(w))
	parts := []gguf.Part{
		matrix(r, "token_embd.weight", 1, w, Vocab),
		ones("output_norm.weight", w),
		matrix(r, "output.weight", 4*spread, w, Vocab),
	}
	for l := range s.Layers {
		p := fmt.Sprintf("blk.%d.", l)
		parts = append(parts,
			ones(p+"attn_norm.weight", w),
			matrix(r, p+"attn_q.weight", spread, w, w), matrix(r, p+"attn_k.weight", spread, w, w),
			matrix(r, p+"attn_v.weight", spread, w, w), matrix(r, p+"attn_output.weight", spread, w, w),
			ones(p+"ffn_norm.weight", w),
			matrix(r, p+"ffn_gate.weight", spread, w, h), matrix(r, p+"ffn_up.weight", spread, w, h),
			matrix(r, p+"ffn_down.weight", spread, h, w),
		)
	}
	return write(t, meta, parts)
}

// Adapter gives a LoRA adapter of rank 4 for a model of shape s, as the bytes
// of its file, and their hash.
func Adapter(t testing.TB, s Shape, seed uint64) (file []byte, hash string) {
	t.Helper()
	s = s.complete()
	r := rand.New(rand.NewPCG(seed, 2))
	var parts []gguf.Part
	for l := range s.Layers {
		for _, name := range []string{"attn_q", "attn_v", "attn_output"} {
			base := fmt.Sprintf("blk.%d.%s.weight", l, name)
			parts = append(parts, matrix(r, base+".lora_a", 0.3, s.Width, 4), matrix(r, base+".lora_b", 0.3, 4, s.Width))
		}
	}
	b := write(t, []gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")},
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "adapter.type", Value: gguf.OfText("lora")},
		{Key: "adapter.lora.alpha", Value: gguf.OfFloat(8)},
	}, parts)
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:])
}

func replace(meta, with []gguf.Entry) []gguf.Entry {
next:
	for _, e := range with {
		for i := range meta {
			if meta[i].Key == e.Key {
				meta[i] = e
				continue next
			}
		}
		meta = append(meta, e)
	}
	return meta
}

func write(t testing.TB, meta []gguf.Entry, parts []gguf.Part) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(&b, meta, parts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func matrix(r *rand.Rand, name string, spread float64, dims ...int) gguf.Part {
	return tensor(name, func() float32 { return float32(r.NormFloat64() * spread) }, dims...)
}

func ones(name string, n int) gguf.Part {
	return tensor(name, func() float32 { return 1 }, n)
}

func tensor(name string, next func() float32, dims ...int) gguf.Part {
	p := gguf.Part{Tensor: gguf.Tensor{Name: name, Type: gguf.F32}}
	n := 1
	for _, d := range dims {
		n *= d
		p.Dims = append(p.Dims, int64(d))
	}
	data := make([]byte, 0, 4*n)
	for range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(next()))
	}
	p.Data = bytes.NewReader(data)
	return p
}

// vocabulary spells bytes as byte-level tokenizers do: printable ones as
// themselves, the others as letters from U+0100 on.
func vocabulary() []string {
	var toks []string
	other := rune(0x100)
	for b := range rune(256) {
		switch {
		case b >= '!' && b <= '~', b >= 0xa1 && b <= 0xac, b >= 0xae:
			toks = append(toks, string(b))
		default:
			toks = append(toks, string(other))
			other++
		}
	}
	return append(toks, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
}

func kinds() []int32 {
	k := make([]int32, Vocab)
	for i := range k {
		k[i] = 1
		if i >= End {
			k[i] = 3 // control
		}
	}
	return k
}
