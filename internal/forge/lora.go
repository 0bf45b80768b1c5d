package forge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// Names of an adapter's tensors, after the name of the matrix they change.
const (
	loraA = ".lora_a"
	loraB = ".lora_b"
)

// lowRank is the shape of an adapter; the zero value is none.
type lowRank struct {
	rank  int
	alpha float32
}

// scale is what the product of an adapter's matrices is multiplied by.
func (l lowRank) scale() float32 { return l.alpha / float32(l.rank) }

// Targets are the matrices of a block that an adapter may change.
func Targets() []string {
	return []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
}

// AdapterConfig says how to train an adapter. The shape comes from the base
// model: Train.Arch is not used.
type AdapterConfig struct {
	Base    string   // GGUF file of the frozen model; any quantisation
	Rank    int      // inner length of the adapter's matrices
	Alpha   float32  // strength: the adapter acts with Alpha/Rank; 0: Rank
	Targets []string // matrices to change; empty: all
	Start   *Adapter // what training begins from; its shape is used; nil: one that changes nothing
	Train   Config
}

// Adapter is LoRA tensors for one base model.
type Adapter struct {
	Rank    int
	Alpha   float32
	slots   []slot
	tensors map[string][]float32
}

// TrainAdapter fits LoRA tensors over the frozen model of a file, as [Train]
// fits a model. The start is an adapter that changes nothing.
func TrainAdapter(ctx context.Context, lib *ggml.Library, c AdapterConfig, data Source, progress func(Progress)) (*Adapter, error) {
	b, err := openBase(c.Base)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if c.Start != nil {
		if err := c.Start.fits(b.arch); err != nil {
			return nil, err
		}
		c.Rank, c.Alpha = c.Start.Rank, c.Start.Alpha
	}
	if c.Alpha == 0 {
		c.Alpha = float32(c.Rank)
	}
	if len(c.Targets) == 0 {
		c.Targets = Targets()
	}
	if c.Rank < 1 || !(c.Alpha > 0) {
		return nil, batos.Errorf(batos.Invalid, "adapter: rank %d and alpha %g make no sense", c.Rank, c.Alpha)
	}
	c.Train.Arch = b.arch
	c.Train = c.Train.withDefaults()
	if err := c.Train.check(); err != nil {
		return nil, err
	}
	a := &Adapter{Rank: c.Rank, Alpha: c.Alpha}
	if c.Start != nil {
		a.slots = c.Start.slots
	} else if a.slots, err = adapterLayout(b.arch, c.Rank, c.Targets); err != nil {
		return nil, err
	}
	net, err := newAdapterNetwork(lib, c, b, a.slots, optimizing)
	if err != nil {
		return nil, err
	}
	defer net.close()
	if c.Start != nil {
		net.load(c.Start.tensors)
	} else {
		net.load(newAdapterValues(a.slots, c.Train.Seed))
	}
	what, err := c.identity(b)
	if err != nil {
		return nil, err
	}
	if err := net.train(ctx, c.Train, what, data, progress); err != nil {
		return nil, err
	}
	a.tensors = net.values()
	return a, nil
}

// identity names an adapter's run beyond its Config: the base model's bytes
// and the adapter's shape.
func (c AdapterConfig) identity(b *base) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(b.f, 0, math.MaxInt64)); err != nil {
		return "", batos.Errorf(batos.Invalid, "base model: %w", err)
	}
	what := fmt.Sprintf("adapter %x %d %g %q", h.Sum(nil), c.Rank, c.Alpha, c.Targets)
	if c.Start == nil {
		return what, nil
	}
	h.Reset()
	for _, s := range c.Start.slots {
		fmt.Fprintf(h, "%s %d ", s.name, s.shape)
		h.Write(floatBytes(c.Start.tensors[s.name])) // a hash takes everything
	}
	return fmt.Sprintf("%s from %x", what, h.Sum(nil)), nil
}

// newAdapterNetwork builds the graph and loads the frozen weights.
func newAdapterNetwork(lib *ggml.Library, c AdapterConfig, b *base, slots []slot, kind graphKind) (*network, error) {
	types := make(map[string]ggml.Type)
	for _, t := range b.file.Tensors {
		types[t.Name] = loadedType(t.Type)
	}
	net, err := newNetwork(lib, c.Train, slots, b.arch.layout(), types, lowRank{c.Rank, c.Alpha}, kind)
	if err != nil {
		return nil, err
	}
	for _, t := range b.file.Tensors {
		if err := b.load(net.fixed[t.Name], t); err != nil {
			net.close()
			return nil, err
		}
	}
	return net, nil
}

// adapterLayout lists the tensors of an adapter in file order.
func adapterLayout(a Arch, rank int, targets []string) ([]slot, error) {
	for i, t := range targets {
		if !slices.Contains(Targets(), t) || slices.Contains(targets[:i], t) {
			return nil, batos.Errorf(batos.Invalid, "adapter: target %q is unknown or named twice; there are %s", t, strings.Join(Targets(), ", "))
		}
	}
	shapes := make(map[string][]int)
	for _, s := range a.layout() {
		shapes[s.name] = s.shape
	}
	var out []slot
	for l := range a.Layers {
		for _, t := range targets {
			name := blockTensor(l, t)
			out = append(out, slot{name + loraA, []int{shapes[name][0], rank}}, slot{name + loraB, []int{rank, shapes[name][1]}})
		}
	}
	return out, nil
}

// newAdapterValues makes the start: A random, B zero.
func newAdapterValues(slots []slot, seed uint64) map[string][]float32 {
	out := make(map[string][]float32)
	for i, s := range slots {
		v := make([]float32, s.elements())
		if strings.HasSuffix(s.name, loraA) {
			r := rand.New(rand.NewPCG(seed, uint64(i)+1))
			dev := 1 / math.Sqrt(float64(s.shape[0]))
			for j := range v {
				v[j] = float32(r.NormFloat64() * dev)
			}
		}
		out[s.name] = v
	}
	return out
}

// Tensor gives the values of a tensor, nil if the adapter has none of that
// name. They are the adapter itself, not a copy.
func (a *Adapter) Tensor(name string) []float32 { return a.tensors[name] }

// WriteAdapter writes an adapter file that the engine loads over the same base
// model. Of meta, Profile and ChatTemplate do not apply.
func WriteAdapter(w io.Writer, a *Adapter, meta Meta) error {
	meta.Profile = ""
	typ := gguf.F32
	if meta.Half {
		typ = gguf.F16
	}
	keys := append([]gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")},
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "adapter.type", Value: gguf.OfText("lora")},
		{Key: "adapter.lora.alpha", Value: gguf.OfFloat(a.Alpha)},
	}, meta.entries()...)
	return writeTensors("adapter file", w, keys, a.slots, a.tensors, typ)
}
