// Package adapter reads LoRA adapters as other people's tools write them and
// makes of them the one form that the engine loads: GGUF.
//
// Read in this order: [Base], what an adapter must fit; [Inspect], which checks
// a GGUF adapter; [ReadSafetensors] and [ReadConfig], the two files of a PEFT
// adapter; [Convert], which makes GGUF of them; [Info], what is known of an
// adapter afterwards.
//
// Every file is other people's bytes: all of it is checked here, before any
// code of the engine's library sees it, and no more memory is taken than a
// small multiple of what a file really holds. What an adapter asks for and this
// package cannot do exactly is refused by its name; nothing is dropped in
// silence. Errors have code invalid.
package adapter

import (
	"slices"
	"strconv"
	"strings"

	"batos"
	"batos/internal/gguf"
)

// Info is what is known of an adapter.
type Info struct {
	Rank       int      // the largest of its layers
	Alpha      float64  // as its author wrote it
	Targets    []string // kinds of layers it changes, in the engine's words: attn_q, ffn_up, …
	Parameters int64
	Layers     int // how many weights of the base it changes
}

// Base is what of a base model an adapter must fit.
type Base struct {
	Architecture string
	weights      map[string][2]int64 // inputs and outputs of each matrix
	heads, kv    func(layer int) int
}

// BaseOf reads a model's header.
func BaseOf(f *gguf.File) (*Base, error) {
	if err := gguf.CheckModel(f); err != nil {
		return nil, err
	}
	arch := f.Text("general.architecture")
	b := &Base{Architecture: arch, weights: map[string][2]int64{}}
	for _, t := range f.Tensors {
		if len(t.Dims) == 2 {
			b.weights[t.Name] = [2]int64{t.Dims[0], t.Dims[1]}
		}
	}
	b.heads = perLayer(f, arch+".attention.head_count")
	b.kv = perLayer(f, arch+".attention.head_count_kv")
	if _, ok := f.Get(arch + ".attention.head_count_kv"); !ok {
		b.kv = b.heads
	}
	return b, nil
}

// perLayer reads a number, or one for each layer; 0 where there is none.
func perLayer(f *gguf.File, key string) func(int) int {
	v, _ := f.Get(key)
	if n, ok := v.Uint(); ok {
		return func(int) int { return int(n) }
	}
	var all []int
	if items, ok := v.Ints(); ok {
		for _, n := range items {
			all = append(all, int(n))
		}
	}
	return func(layer int) int {
		if layer < 0 || layer >= len(all) {
			return 0
		}
		return all[layer]
	}
}

func refuse(format string, args ...any) error { return batos.Errorf(batos.Invalid, format, args...) }

// Suffixes of the two matrices of a pair.
const (
	suffixA = ".lora_a"
	suffixB = ".lora_b"
)

// Inspect checks that f is a LoRA adapter that fits the base, and says what it
// is. The weights themselves are gguf.CheckFinite's to check.
func Inspect(f *gguf.File, base *Base) (Info, error) {
	if err := gguf.CheckAdapter(f); err != nil {
		return Info{}, err
	}
	if arch := f.Text("general.architecture"); arch != base.Architecture {
		return Info{}, refuse("the adapter is for models of architecture %q, the base is %q", arch, base.Architecture)
	}
	alpha, _ := f.Get("adapter.lora.alpha")
	var info Info
	info.Alpha, _ = alpha.Float()
	byName := map[string]gguf.Tensor{}
	for _, t := range f.Tensors {
		byName[t.Name] = t
	}
	for _, a := range f.Tensors {
		weight, isA := strings.CutSuffix(a.Name, suffixA)
		if !isA {
			continue
		}
		b := byName[weight+suffixB]
		if err := base.fits(weight, a.Dims[0], a.Dims[1], b.Dims[1]); err != nil {
			return Info{}, err
		}
		info.add(weight, int(a.Dims[1]), a.Elements()+b.Elements())
	}
	return info, nil
}

// fits checks the shape of a pair of matrices against the weight it changes.
func (b *Base) fits(weight string, in, rank, out int64) error {
	w, ok := b.weights[weight]
	switch {
	case !ok:
		return refuse("the adapter changes %q, which the base model does not have", weight)
	case w != [2]int64{in, out}:
		return refuse("the adapter changes %q from %d to %d numbers, the base model's has %d and %d", weight, in, out, w[0], w[1])
	case rank < 1 || rank > min(in, out):
		return refuse("the adapter's rank of %d for %q makes no sense", rank, weight)
	}
	return nil
}

func (i *Info) add(weight string, rank int, parameters int64) {
	i.Rank = max(i.Rank, rank)
	i.Parameters += parameters
	i.Layers++
	if t := kindOf(weight); !slices.Contains(i.Targets, t) {
		i.Targets = append(i.Targets, t)
		slices.Sort(i.Targets)
	}
}

// kindOf is the part of a weight's name that all layers share.
func kindOf(weight string) string {
	name := strings.TrimSuffix(weight, ".weight")
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		if n, kind, ok := strings.Cut(rest, "."); ok {
			if _, err := strconv.Atoi(n); err == nil {
				return kind
			}
		}
	}
	return name
}
