package forge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
)

// Weights are the numbers of a model, by tensor, as its GGUF file names them.
type Weights struct {
	Arch    Arch
	tensors map[string][]float32
}

// slot is one tensor of a model: its GGUF name and shape, fastest dimension
// first.
type slot struct {
	name  string
	shape []int
}

func (s slot) elements() int {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	return n
}

func (s slot) dims() []int64 {
	out := make([]int64, len(s.shape))
	for i, d := range s.shape {
		out[i] = int64(d)
	}
	return out
}

// layout lists the tensors of a shape in file order.
func (a Arch) layout() []slot {
	s := []slot{
		{"token_embd.weight", []int{a.Dim, a.Vocab}},
		{"output_norm.weight", []int{a.Dim}},
	}
	if !a.Tied {
		s = append(s, slot{"output.weight", []int{a.Dim, a.Vocab}})
	}
	for l := range a.Layers {
		for _, t := range []slot{
			{"attn_norm", []int{a.Dim}},
			{"attn_q", []int{a.Dim, a.Dim}},
			{"attn_k", []int{a.Dim, a.kvDim()}},
			{"attn_v", []int{a.Dim, a.kvDim()}},
			{"attn_output", []int{a.Dim, a.Dim}},
			{"ffn_norm", []int{a.Dim}},
			{"ffn_gate", []int{a.Dim, a.FF}},
			{"ffn_up", []int{a.Dim, a.FF}},
			{"ffn_down", []int{a.FF, a.Dim}},
		} {
			s = append(s, slot{blockTensor(l, t.name), t.shape})
		}
	}
	return s
}

func blockTensor(layer int, name string) string { return fmt.Sprintf("blk.%d.%s.weight", layer, name) }

// NewWeights makes random weights: normal with a deviation of 0.02 for the
// embedding, 1/√inputs for the other matrices, less in the depth for those that
// add to the residual stream; norms are 1.
func NewWeights(a Arch, seed uint64) (*Weights, error) {
	a = a.withDefaults()
	if err := a.check(); err != nil {
		return nil, err
	}
	w := &Weights{Arch: a, tensors: make(map[string][]float32)}
	for i, s := range a.layout() {
		v := make([]float32, s.elements())
		if len(s.shape) == 1 {
			for j := range v {
				v[j] = 1
			}
		} else {
			r := rand.New(rand.NewPCG(seed, uint64(i)+1))
			dev := a.deviation(s)
			for j := range v {
				v[j] = float32(r.NormFloat64() * dev)
			}
		}
		w.tensors[s.name] = v
	}
	return w, nil
}

// fingerprint identifies the values of all tensors.
func (w *Weights) fingerprint() string {
	h := sha256.New()
	for _, s := range w.Arch.layout() {
		h.Write([]byte(s.name))
		h.Write(floatBytes(w.tensors[s.name]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (a Arch) deviation(s slot) float64 {
	switch s.name {
	case "token_embd.weight":
		return 0.02
	case "output.weight":
		return 1 / math.Sqrt(float64(a.Dim))
	}
	dev := 1 / math.Sqrt(float64(s.shape[0]))
	var layer int
	var part string
	if _, err := fmt.Sscanf(s.name, "blk.%d.%s", &layer, &part); err == nil && (part == "attn_output.weight" || part == "ffn_down.weight") {
		dev /= math.Sqrt(float64(2 * a.Layers))
	}
	return dev
}

// Tensor gives the values of a tensor, nil if the model has none of that name.
// They are the weights themselves, not a copy.
func (w *Weights) Tensor(name string) []float32 { return w.tensors[name] }
