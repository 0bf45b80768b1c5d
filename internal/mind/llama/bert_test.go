package llama

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf"
	"batos/internal/mind"
)

// bert is a random model that only embeds, with its weights at hand.
type bert struct {
	path    string
	weights map[string][]float32 // row by row: one row for each output
	words   []string
}

const (
	bertWidth, bertHeads, bertHidden, bertLayers, bertContext = 32, 2, 64, 2, 48
)

func newBert(t *testing.T) *bert {
	t.Helper()
	b := &bert{weights: map[string][]float32{}, words: []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁cat", "▁dog", "▁sat", "▁barks", "▁on"}}
	r := rand.New(rand.NewPCG(5, 5))
	var parts []gguf.Part
	add := func(name string, spread, middle float64, dims ...int) {
		n, shape := 1, []int64(nil)
		for _, d := range dims {
			n *= d
			shape = append(shape, int64(d))
		}
		v := make([]float32, n)
		var data []byte
		for i := range v {
			v[i] = float32(middle + spread*r.NormFloat64())
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v[i]))
		}
		b.weights[name] = v
		parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Dims: shape}, Data: bytes.NewReader(data)})
	}
	norm := func(name string) { add(name+".weight", 0.1, 1, bertWidth); add(name+".bias", 0.1, 0, bertWidth) }
	linear := func(name string, in, out int) {
		add(name+".weight", 0.3, 0, in, out)
		add(name+".bias", 0.1, 0, out)
	}
	add("token_embd.weight", 1, 0, bertWidth, len(b.words))
	add("token_types.weight", 0.3, 0, bertWidth, 2)
	add("position_embd.weight", 0.3, 0, bertWidth, bertContext)
	norm("token_embd_norm")
	for l := range bertLayers {
		p := fmt.Sprintf("blk.%d.", l)
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			linear(p+name, bertWidth, bertWidth)
		}
		norm(p + "attn_output_norm")
		linear(p+"ffn_up", bertWidth, bertHidden)
		linear(p+"ffn_down", bertHidden, bertWidth)
		norm(p + "layer_output_norm")
	}
	kinds := make([]int32, len(b.words))
	for i := range kinds {
		kinds[i] = 1
		if i < 4 {
			kinds[i] = 3
		}
	}
	u := gguf.OfUint32
	var out bytes.Buffer
	if err := gguf.Write(&out, []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("bert")}, {Key: "general.name", Value: gguf.OfText("random bert")},
		{Key: "bert.context_length", Value: u(bertContext)}, {Key: "bert.embedding_length", Value: u(bertWidth)},
		{Key: "bert.block_count", Value: u(bertLayers)}, {Key: "bert.feed_forward_length", Value: u(bertHidden)},
		{Key: "bert.attention.head_count", Value: u(bertHeads)}, {Key: "bert.attention.layer_norm_epsilon", Value: gguf.OfFloat(1e-5)},
		{Key: "bert.attention.causal", Value: gguf.OfBool(false)}, {Key: "bert.pooling_type", Value: u(1)},
		{Key: "tokenizer.ggml.model", Value: gguf.OfText("bert")}, {Key: "tokenizer.ggml.token_type_count", Value: u(2)},
		{Key: "tokenizer.ggml.tokens", Value: gguf.OfTexts(b.words)}, {Key: "tokenizer.ggml.token_type", Value: gguf.OfInts(kinds)},
		{Key: "tokenizer.ggml.padding_token_id", Value: u(0)}, {Key: "tokenizer.ggml.unknown_token_id", Value: u(1)},
		{Key: "tokenizer.ggml.bos_token_id", Value: u(2)}, {Key: "tokenizer.ggml.eos_token_id", Value: u(3)},
		{Key: "tokenizer.ggml.cls_token_id", Value: u(2)}, {Key: "tokenizer.ggml.seperator_token_id", Value: u(3)},
		{Key: "tokenizer.ggml.mask_token_id", Value: u(1)},
	}, parts); err != nil {
		t.Fatal(err)
	}
	b.path = filepath.Join(t.TempDir(), "bert.gguf")
	if err := os.WriteFile(b.path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// linear computes weight·x + bias.
func (b *bert) linear(name string, x []float64) []float64 {
	w, bias := b.weights[name+".weight"], b.weights[name+".bias"]
	out := make([]float64, len(bias))
	for o := range out {
		out[o] = float64(bias[o])
		for i, v := range x {
			out[o] += float64(w[o*len(x)+i]) * v
		}
	}
	return out
}

func (b *bert) norm(name string, x []float64) []float64 {
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (v-mean)/math.Sqrt(square+1e-5)*float64(b.weights[name+".weight"][i]) + float64(b.weights[name+".bias"][i])
	}
	return out
}

// embed is the forward pass by the book, in double precision.
func (b *bert) embed(toks []int) []float64 {
	var h [][]float64
	for pos, tok := range toks {
		x := make([]float64, bertWidth)
		for i := range x {
			x[i] = float64(b.weights["token_embd.weight"][tok*bertWidth+i]) + float64(b.weights["token_types.weight"][i]) + float64(b.weights["position_embd.weight"][pos*bertWidth+i])
		}
		h = append(h, b.norm("token_embd_norm", x))
	}
	size := bertWidth / bertHeads
	for l := range bertLayers {
		p := fmt.Sprintf("blk.%d.", l)
		var q, k, v, next [][]float64
		for _, x := range h {
			q, k, v = append(q, b.linear(p+"attn_q", x)), append(k, b.linear(p+"attn_k", x)), append(v, b.linear(p+"attn_v", x))
		}
		for i, x := range h {
			mixed := make([]float64, bertWidth)
			for head := range bertHeads {
				at := head * size
				scores, sum := make([]float64, len(h)), 0.0
				for j := range h {
					for d := range size {
						scores[j] += q[i][at+d] * k[j][at+d] / math.Sqrt(float64(size))
					}
					scores[j] = math.Exp(scores[j])
					sum += scores[j]
				}
				for j := range h {
					for d := range size {
						mixed[at+d] += scores[j] / sum * v[j][at+d]
					}
				}
			}
			a := b.linear(p+"attn_output", mixed)
			for d := range a {
				a[d] += x[d]
			}
			a = b.norm(p+"attn_output_norm", a)
			up := b.linear(p+"ffn_up", a)
			for d, z := range up {
				up[d] = z / 2 * (1 + math.Erf(z/math.Sqrt2))
			}
			down := b.linear(p+"ffn_down", up)
			for d := range down {
				down[d] += a[d]
			}
			next = append(next, b.norm(p+"layer_output_norm", down))
		}
		h = next
	}
	out := make([]float64, bertWidth)
	for _, x := range h {
		for i, v := range x {
			out[i] += v
		}
	}
	return out
}

// A model that only embeds gives the vectors of its own forward pass, and is
// not asked to write.
func TestEmbeddingModel(t *testing.T) {
	b := newBert(t)
	e := open(t, Config{ModelPath: b.path})
	if i, err := e.Info(t.Context()); err != nil || !i.EmbedsOnly || i.ContextTokens != bertContext {
		t.Errorf("%+v, %v", i, err)
	}
	long := strings.TrimSpace(strings.Repeat("cat sat on the dog ", 20)) // beyond the window
	got, err := e.Embed(t.Context(), []string{"the cat sat", "the dog barks", long})
	if err != nil {
		t.Fatal(err)
	}
	for i, toks := range [][]int{{2, 4, 5, 7, 3}, {2, 4, 6, 8, 3}} {
		want, length, cos := b.embed(toks), 0.0, 0.0
		for d, x := range want {
			length += x * x
			cos += x * float64(got[i][d])
		}
		if cos /= math.Sqrt(length); cos < 0.9999 {
			t.Errorf("text %d: the cosine to the vector by the book is %g", i, cos)
		}
	}
	if len(got[2]) != bertWidth || math.Abs(dot(got[2], got[2])-1) > 1e-5 {
		t.Errorf("a long text: %v", got[2])
	}
	if dot(got[0], got[1]) > 0.999 {
		t.Error("different texts have the same vector")
	}
	if _, err := e.Generate(t.Context(), mind.Request{Text: "the cat"}); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "only embeds") {
		t.Errorf("asked to write: %v", err)
	}
	if m := memoryIn(t, e); m.KV != 0 || m.Compute <= 0 {
		t.Errorf("%+v", m)
	}
}
