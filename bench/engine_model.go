package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"batos/internal/gguf"
)

// bigShape is a model of the llama family, by its sizes.
type bigShape struct{ layers, width, hidden, heads, kv int }

// oneB is the shape of Llama 3.2 1B, with a vocabulary of 32,000; narrow has
// as many layers, and so as large a graph, of next to no work.
var (
	oneB   = bigShape{16, 2048, 8192, 32, 8}
	narrow = bigShape{16, 64, 128, 4, 4}
)

const (
	bigVocab = 32000
	bigTrain = 2048 // tokens of context
)

// linears are the layers that adapters act on: name, inputs, outputs.
func (s bigShape) linears(layer int, each func(name string, in, out int)) {
	p := fmt.Sprintf("blk.%d.", layer)
	kv := s.width / s.heads * s.kv
	each(p+"attn_q.weight", s.width, s.width)
	each(p+"attn_k.weight", s.width, kv)
	each(p+"attn_v.weight", s.width, kv)
	each(p+"attn_output.weight", s.width, s.width)
	each(p+"ffn_gate.weight", s.width, s.hidden)
	each(p+"ffn_up.weight", s.width, s.hidden)
	each(p+"ffn_down.weight", s.hidden, s.width)
}

// model writes a model of random weights in four bits (oneB: 0.6 GB), or finds
// the one that an earlier run wrote.
func (s bigShape) model(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if _, err := gguf.Open(path); err == nil {
		return path, nil
	}
	q4 := gguf.TensorType(2)
	r := rand.New(rand.NewPCG(1, 2))
	matrix := func(name string, in, out int) gguf.Part {
		return gguf.Part{Tensor: gguf.Tensor{Name: name, Type: q4, Dims: []int64{int64(in), int64(out)}}, Data: &blocks{r: r, scale: float32(1 / math.Sqrt(float64(s.width)) / 4.6)}}
	}
	ones := func(name string) gguf.Part {
		return gguf.Part{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Dims: []int64{int64(s.width)}}, Data: &repeat{binary.LittleEndian.AppendUint32(nil, math.Float32bits(1))}}
	}
	parts := []gguf.Part{matrix("token_embd.weight", s.width, bigVocab), ones("output_norm.weight"), matrix("output.weight", s.width, bigVocab)}
	for l := range s.layers {
		p := fmt.Sprintf("blk.%d.", l)
		parts = append(parts, ones(p+"attn_norm.weight"), ones(p+"ffn_norm.weight"))
		s.linears(l, func(name string, in, out int) { parts = append(parts, matrix(name, in, out)) })
	}
	var tokens []string
	var kinds []int32
	other := rune(0x100)
	for b := range rune(256) { // bytes as byte-level vocabularies spell them
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			tokens = append(tokens, string(b))
		} else {
			tokens = append(tokens, string(other))
			other++
		}
		kinds = append(kinds, 1)
	}
	tokens, kinds = append(tokens, "<|endoftext|>"), append(kinds, 3)
	for len(tokens) < bigVocab {
		tokens, kinds = append(tokens, fmt.Sprintf("word%d", len(tokens))), append(kinds, 1)
	}
	u := gguf.OfUint32
	meta := []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("llama")}, {Key: "general.name", Value: gguf.OfText("random weights")},
		{Key: "llama.context_length", Value: u(bigTrain)}, {Key: "llama.embedding_length", Value: u(uint32(s.width))},
		{Key: "llama.block_count", Value: u(uint32(s.layers))}, {Key: "llama.feed_forward_length", Value: u(uint32(s.hidden))},
		{Key: "llama.attention.head_count", Value: u(uint32(s.heads))}, {Key: "llama.attention.head_count_kv", Value: u(uint32(s.kv))},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: gguf.OfFloat(1e-5)},
		{Key: "tokenizer.ggml.model", Value: gguf.OfText("gpt2")}, {Key: "tokenizer.ggml.pre", Value: gguf.OfText("gpt-2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.OfTexts(tokens)}, {Key: "tokenizer.ggml.token_type", Value: gguf.OfInts(kinds)},
		{Key: "tokenizer.ggml.merges", Value: gguf.OfTexts(nil)}, {Key: "tokenizer.ggml.bos_token_id", Value: u(256)},
		{Key: "tokenizer.ggml.eos_token_id", Value: u(256)}, {Key: "tokenizer.ggml.add_bos_token", Value: gguf.OfBool(false)},
	}
	return path, writeFile(path, meta, parts)
}

// adapter writes a random adapter of all linear layers in half precision; for
// oneB 1.4 MB for each rank.
func (s bigShape) adapter(dir string, rank int, seed uint64) (file, hash string, err error) {
	r := rand.New(rand.NewPCG(seed, 3))
	var parts []gguf.Part
	add := func(name string, in, out int) {
		for _, m := range []struct {
			suffix string
			dims   []int64
		}{{".lora_a", []int64{int64(in), int64(rank)}}, {".lora_b", []int64{int64(rank), int64(out)}}} {
			parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: name + m.suffix, Type: gguf.F16, Dims: m.dims}, Data: &halves{r}})
		}
	}
	for l := range s.layers {
		s.linears(l, add)
	}
	file = filepath.Join(dir, fmt.Sprintf("adapter-%d-%d-%d.gguf", s.width, rank, seed))
	if err := writeFile(file, []gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")}, {Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "adapter.type", Value: gguf.OfText("lora")}, {Key: "adapter.lora.alpha", Value: gguf.OfFloat(float32(rank))},
	}, parts); err != nil {
		return "", "", err
	}
	in, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer in.Close()
	h := sha256.New()
	_, err = io.Copy(h, in)
	return file, hex.EncodeToString(h.Sum(nil)), err
}

func writeFile(path string, meta []gguf.Entry, parts []gguf.Part) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := gguf.Write(out, meta, parts); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// blocks gives random blocks of Q4_0: a half-precision scale and 32 numbers of
// four bits around eight.
type blocks struct {
	r     *rand.Rand
	scale float32
	left  []byte
}

func (b *blocks) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		block := binary.LittleEndian.AppendUint16(nil, half(b.scale))
		block = binary.LittleEndian.AppendUint64(block, b.r.Uint64())
		b.left = binary.LittleEndian.AppendUint64(block, b.r.Uint64())
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// half rounds a small positive number to half precision.
func half(x float32) uint16 {
	frac, exp := math.Frexp(float64(x)) // frac in [0.5, 1)
	return uint16((exp-1+15)<<10) | uint16((frac*2-1)*1024)
}

// halves gives half-precision numbers of either sign between 1/128 and 1/64.
type halves struct{ r *rand.Rand }

func (h *halves) Read(p []byte) (int, error) {
	p = p[:len(p)&^1]
	for i := 0; i < len(p); i += 2 {
		v := h.r.Uint32()
		binary.LittleEndian.PutUint16(p[i:], uint16(v&0x83ff)|8<<10)
	}
	return len(p), nil
}

type repeat struct{ b []byte }

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n+len(r.b) <= len(p) {
		n += copy(p[n:], r.b)
	}
	return n, nil
}
