package adapter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"batos/internal/gguf"
)

// array is a tensor as authors write them: rows one after another.
type array struct {
	name  string
	shape []int
	data  []float32
	typ   gguf.TensorType
}

func random(r *rand.Rand, name string, spread float64, shape ...int) array {
	a := array{name: name, shape: shape, typ: gguf.F32}
	n := 1
	for _, d := range shape {
		n *= d
	}
	for range n {
		a.data = append(a.data, float32(r.NormFloat64()*spread))
	}
	return a
}

func (a array) bytes() []byte {
	var b []byte
	for _, v := range a.data {
		if a.typ == gguf.BF16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(v)>>16))
		} else {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

// safetensors writes a file as the format's own library does.
func safetensors(t testing.TB, arrays []array) []byte {
	t.Helper()
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	for _, a := range arrays {
		b := a.bytes()
		header[a.name] = map[string]any{"dtype": a.typ.String(), "shape": a.shape, "data_offsets": []int{len(data), len(data) + len(b)}}
		data = append(data, b...)
	}
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	for len(h)%8 != 0 {
		h = append(h, ' ')
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h...), data...)
}

// world is a base model in its authors' form and in the engine's.
type world struct {
	heads, kv, width, hidden, layers int
	theirs                           []array
	ours                             []byte
}

const testEps = 1e-5

func newWorld(t testing.TB, seed uint64, heads, kv int) *world {
	t.Helper()
	w := &world{heads: heads, kv: kv, width: 64, hidden: 96, layers: 2}
	r := rand.New(rand.NewPCG(seed, 7))
	const vocab = 259
	spread := 1 / math.Sqrt(float64(w.width))
	kvWidth := w.width / heads * kv
	add := func(a array) { w.theirs = append(w.theirs, a) }
	add(random(r, "model.embed_tokens.weight", 1, vocab, w.width))
	add(random(r, "model.norm.weight", 1, w.width))
	add(random(r, "lm_head.weight", 2*spread, vocab, w.width))
	for l := range w.layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(random(r, p+"input_layernorm.weight", 1, w.width))
		add(random(r, p+"self_attn.q_proj.weight", 2*spread, w.width, w.width))
		add(random(r, p+"self_attn.k_proj.weight", 2*spread, kvWidth, w.width))
		add(random(r, p+"self_attn.v_proj.weight", spread, kvWidth, w.width))
		add(random(r, p+"self_attn.o_proj.weight", spread, w.width, w.width))
		add(random(r, p+"post_attention_layernorm.weight", 1, w.width))
		add(random(r, p+"mlp.gate_proj.weight", spread, w.hidden, w.width))
		add(random(r, p+"mlp.up_proj.weight", spread, w.hidden, w.width))
		add(random(r, p+"mlp.down_proj.weight", spread, w.width, w.hidden))
	}
	w.ours = w.gguf(t)
	return w
}

// gguf writes the model as converters do: queries and keys with their rotated
// halves interleaved.
func (w *world) gguf(t testing.TB) []byte {
	t.Helper()
	rename := map[string]string{
		"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
		"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	}
	var parts []gguf.Part
	for _, a := range w.theirs {
		name, ok := rename[a.name]
		if !ok {
			var layer int
			for from, to := range rename {
				for l := range w.layers {
					if a.name == fmt.Sprintf("model.layers.%d.%s.weight", l, from) {
						layer, name = l, to
					}
				}
			}
			name = fmt.Sprintf("blk.%d.%s.weight", layer, name)
		}
		data := a
		heads := 0
		if bytes.Contains([]byte(name), []byte("attn_q.")) {
			heads = w.heads
		}
		if bytes.Contains([]byte(name), []byte("attn_k.")) {
			heads = w.kv
		}
		if heads > 0 {
			data.data = slices.Clone(a.data)
			row, size := a.shape[1], a.shape[0]/heads
			for o := range a.shape[0] {
				h, within := o/size, o%size
				from := h*size + within%2*size/2 + within/2
				copy(data.data[o*row:(o+1)*row], a.data[from*row:(from+1)*row])
			}
		}
		dims := []int64{}
		for i := len(a.shape) - 1; i >= 0; i-- {
			dims = append(dims, int64(a.shape[i]))
		}
		parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Dims: dims}, Data: bytes.NewReader(data.bytes())})
	}
	toks, kinds := make([]string, 259), make([]int32, 259)
	other := rune(0x100)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			toks[b] = string(b)
		} else {
			toks[b] = string(other)
			other++
		}
		kinds[b] = 1
	}
	for i := 256; i < 259; i++ {
		toks[i], kinds[i] = fmt.Sprintf("<|%d|>", i), 3
	}
	meta := []gguf.Entry{{Key: "general.architecture", Value: gguf.OfText("llama")}}
	for key, n := range map[string]int{
		"context_length": 128, "embedding_length": w.width, "block_count": w.layers, "feed_forward_length": w.hidden,
		"attention.head_count": w.heads, "attention.head_count_kv": w.kv,
	} {
		meta = append(meta, gguf.Entry{Key: "llama." + key, Value: gguf.OfUint32(uint32(n))})
	}
	meta = append(meta, gguf.Entry{Key: "llama.attention.layer_norm_rms_epsilon", Value: gguf.OfFloat(testEps)},
		gguf.Entry{Key: "llama.rope.freq_base", Value: gguf.OfFloat(10000)},
		gguf.Entry{Key: "tokenizer.ggml.model", Value: gguf.OfText("gpt2")}, gguf.Entry{Key: "tokenizer.ggml.pre", Value: gguf.OfText("gpt-2")},
		gguf.Entry{Key: "tokenizer.ggml.tokens", Value: gguf.OfTexts(toks)}, gguf.Entry{Key: "tokenizer.ggml.token_type", Value: gguf.OfInts(kinds)},
		gguf.Entry{Key: "tokenizer.ggml.merges", Value: gguf.OfTexts(nil)}, gguf.Entry{Key: "tokenizer.ggml.bos_token_id", Value: gguf.OfUint32(256)},
		gguf.Entry{Key: "tokenizer.ggml.eos_token_id", Value: gguf.OfUint32(256)}, gguf.Entry{Key: "tokenizer.ggml.add_bos_token", Value: gguf.OfBool(false)})
	var b bytes.Buffer
	if err := gguf.Write(&b, meta, parts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// adapter gives random LoRA matrices over all seven kinds of layers.
func (w *world) adapter(seed uint64, typ gguf.TensorType, rank func(module string) int) []array {
	r := rand.New(rand.NewPCG(seed, 9))
	kvWidth := w.width / w.heads * w.kv
	var out []array
	for l := range w.layers {
		for _, m := range []struct {
			name    string
			in, out int
		}{
			{"self_attn.q_proj", w.width, w.width}, {"self_attn.k_proj", w.width, kvWidth}, {"self_attn.v_proj", w.width, kvWidth}, {"self_attn.o_proj", w.width, w.width},
			{"mlp.gate_proj", w.width, w.hidden}, {"mlp.up_proj", w.width, w.hidden}, {"mlp.down_proj", w.hidden, w.width},
		} {
			module := fmt.Sprintf("model.layers.%d.%s", l, m.name)
			n := rank(module)
			a := random(r, "base_model.model."+module+".lora_A.weight", 0.1, n, m.in)
			b := random(r, "base_model.model."+module+".lora_B.weight", 0.1, m.out, n)
			a.typ, b.typ = typ, typ
			out = append(out, a, b)
		}
	}
	return out
}

func randomSource() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }

// newSized is an adapter for a model of another width.
func newSized(w *world, seed uint64) []array {
	other := *w
	other.width = 32
	return other.adapter(seed, gguf.F32, func(string) int { return 4 })
}
