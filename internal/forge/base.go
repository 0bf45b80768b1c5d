package forge

import (
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// base is a model file opened to be read, tensor by tensor.
type base struct {
	f    *os.File
	file *gguf.File
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
	g, err := gguf.Read(f, st.Size())
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "base model %s: %w", path, err)
	}
	b := &base{f: f, file: g}
	if err := b.readArch(); err != nil {
		return nil, batos.Errorf(batos.Invalid, "base model %s: %w", path, err)
	}
	return b, nil
}

func (b *base) close() { _ = b.f.Close() } // read only

func (b *base) tensor(name string) (gguf.Tensor, bool) {
	for _, t := range b.file.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return gguf.Tensor{}, false
}

func (b *base) readArch() error {
	if name := b.file.Text("general.architecture"); name != "llama" {
		return batos.Errorf(batos.Invalid, "its architecture is %q; only llama can be trained", name)
	}
	number := func(key string) int {
		v, _ := b.file.Get("llama." + key)
		n, _ := v.Uint()
		return int(min(n, math.MaxInt32))
	}
	float := func(key string) float32 {
		v, _ := b.file.Get("llama." + key)
		f, _ := v.Float()
		return float32(f)
	}
	a := Arch{
		Layers: number("block_count"), Dim: number("embedding_length"), FF: number("feed_forward_length"),
		Heads: number("attention.head_count"), KVHeads: number("attention.head_count_kv"), Ctx: number("context_length"),
	}
	a.Eps = float("attention.layer_norm_rms_epsilon")
	a.RopeBase = float("rope.freq_base")
	embd, ok := b.tensor("token_embd.weight")
	if !ok || len(embd.Dims) != 2 {
		return batos.Errorf(batos.Invalid, "it has no token_embd.weight")
	}
	a.Vocab = int(embd.Dims[1])
	_, untied := b.tensor("output.weight")
	a.Tied = !untied
	a = a.withDefaults()
	if err := a.check(); err != nil {
		return err
	}
	if n := number("rope.dimension_count"); n != 0 && n != a.head() {
		return batos.Errorf(batos.Invalid, "%d of %d values of a head turn with the position; only all can be trained", n, a.head())
	}
	if kind := b.file.Text("llama.rope.scaling.type"); kind != "" && kind != "none" {
		return batos.Errorf(batos.Invalid, "its positions are scaled (%s), which cannot be trained", kind)
	}
	known := make(map[string]slot)
	for _, s := range a.layout() {
		known[s.name] = s
	}
	for _, t := range b.file.Tensors {
		s, ok := known[t.Name]
		if !ok {
			return batos.Errorf(batos.Invalid, "its tensor %s has no place in the training graph", t.Name)
		}
		if !slices.Equal(t.Dims, s.dims()) {
			return batos.Errorf(batos.Invalid, "its tensor %s has the shape %d, not %d", t.Name, t.Dims, s.dims())
		}
		delete(known, t.Name)
	}
	for name := range known {
		return batos.Errorf(batos.Invalid, "its tensor %s is missing", name)
	}
	b.arch = a
	return nil
}

// loadedType is the type a tensor has in the graph: half-precision ones become
// F32, which the products of gradients need; quantized ones stay.
func loadedType(t gguf.TensorType) gguf.TensorType {
	if t == gguf.F16 || t == gguf.BF16 {
		return gguf.F32
	}
	return t
}

// load copies a tensor of the file into one of its loadedType.
func (b *base) load(t *ggml.Tensor, info gguf.Tensor) error {
	raw := make([]byte, info.Size)
	if _, err := b.f.ReadAt(raw, info.Offset); err != nil && err != io.EOF {
		return batos.Errorf(batos.Invalid, "base model: tensor %s: %w", info.Name, err)
	}
	switch info.Type {
	case gguf.F16, gguf.BF16:
		v := make([]float32, info.Elements())
		for i := range v {
			h := binary.LittleEndian.Uint16(raw[2*i:])
			if info.Type == gguf.F16 {
				v[i] = half(h).float()
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
