package forge

import (
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"

	"batos"
	"batos/internal/ggml"
)

// base is a model file opened to be read, tensor by tensor.
type base struct {
	f    *os.File
	gguf *ggml.GGUF
	arch Arch
}

// openBase opens a GGUF file and reads its shape. It refuses, by name,
// whatever the training graph does not compute: other architectures, scaled
// positions, biases.
func openBase(path string) (_ *base, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, batos.Errorf(batos.NotFound, "base model: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // read only
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "base model: %w", err)
	}
	g, err := ggml.ReadGGUF(f, st.Size())
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "base model %s: %w", path, err)
	}
	b := &base{f: f, gguf: g}
	if err := b.readArch(); err != nil {
		return nil, batos.Errorf(batos.Invalid, "base model %s: %w", path, err)
	}
	return b, nil
}

func (b *base) close() { _ = b.f.Close() } // read only

func (b *base) readArch() error {
	if name, _ := b.gguf.String("general.architecture"); name != "llama" {
		return batos.Errorf(batos.Invalid, "its architecture is %q; only llama can be trained", name)
	}
	number := func(key string) int {
		n, _ := b.gguf.Int("llama." + key)
		return int(min(max(n, 0), math.MaxInt32))
	}
	a := Arch{
		Layers: number("block_count"), Dim: number("embedding_length"), FF: number("feed_forward_length"),
		Heads: number("attention.head_count"), KVHeads: number("attention.head_count_kv"), Ctx: number("context_length"),
	}
	if eps, ok := b.gguf.Float("llama.attention.layer_norm_rms_epsilon"); ok {
		a.Eps = float32(eps)
	}
	if freq, ok := b.gguf.Float("llama.rope.freq_base"); ok {
		a.RopeBase = float32(freq)
	}
	embd, ok := b.gguf.Tensor("token_embd.weight")
	if !ok || len(embd.Shape) != 2 {
		return batos.Errorf(batos.Invalid, "it has no token_embd.weight")
	}
	a.Vocab = int(embd.Shape[1])
	_, untied := b.gguf.Tensor("output.weight")
	a.Tied = !untied
	a = a.withDefaults()
	if err := a.check(); err != nil {
		return err
	}
	if n := number("rope.dimension_count"); n != 0 && n != a.head() {
		return batos.Errorf(batos.Invalid, "%d of %d values of a head turn with the position; only all can be trained", n, a.head())
	}
	if kind, ok := b.gguf.String("llama.rope.scaling.type"); ok && kind != "none" {
		return batos.Errorf(batos.Invalid, "its positions are scaled (%s), which cannot be trained", kind)
	}
	known := make(map[string]slot)
	for _, s := range a.layout() {
		known[s.name] = s
	}
	for _, t := range b.gguf.Tensors {
		s, ok := known[t.Name]
		if !ok {
			return batos.Errorf(batos.Invalid, "its tensor %s has no place in the training graph", t.Name)
		}
		if !slices.Equal(t.Shape, s.wide()) {
			return batos.Errorf(batos.Invalid, "its tensor %s has the shape %d, not %d", t.Name, t.Shape, s.wide())
		}
		delete(known, t.Name)
	}
	for name := range known {
		return batos.Errorf(batos.Invalid, "its tensor %s is missing", name)
	}
	b.arch = a
	return nil
}

func (s slot) wide() []int64 {
	out := make([]int64, len(s.shape))
	for i, d := range s.shape {
		out[i] = int64(d)
	}
	return out
}

// loadedType is the type a tensor has in the graph: half-precision ones become
// F32, which the products of gradients need; quantized ones stay.
func loadedType(t ggml.Type) ggml.Type {
	if t == ggml.F16 || t == ggml.BF16 {
		return ggml.F32
	}
	return t
}

// load copies a tensor of the file into one of its loadedType.
func (b *base) load(t *ggml.Tensor, info ggml.TensorInfo) error {
	raw := make([]byte, info.Size)
	if _, err := b.f.ReadAt(raw, info.Offset); err != nil && err != io.EOF {
		return batos.Errorf(batos.Invalid, "base model: tensor %s: %w", info.Name, err)
	}
	switch info.Type {
	case ggml.F16, ggml.BF16:
		v := make([]float32, info.Elements())
		for i := range v {
			h := binary.LittleEndian.Uint16(raw[2*i:])
			if info.Type == ggml.F16 {
				v[i] = ggml.Half(h).Float32()
			} else {
				v[i] = math.Float32frombits(uint32(h) << 16)
			}
		}
		t.SetFloats(v)
	default:
		t.SetBytes(raw)
	}
	return nil
}
