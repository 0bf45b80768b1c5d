package llama

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"batos/internal/ggml"
	"batos/internal/gguf"
)

// Plan says how a model is spread over memories, in bytes. It is a function of
// the model's header, the configuration and what was free when it was made.
type Plan struct {
	Context  int // tokens of one context
	Contexts int
	Layers   int    // on devices with memory of their own; one more than the model has is all, the output too
	Of       int    // layers of the model
	Device   string // their names, "" if there are none

	Own   Share // of the machine's memory
	There Share // of the devices'
}

// Share is what lies in one memory, and how much of it was free.
type Share struct {
	Base     int64 // weights
	KV       int64 // key-value caches
	Compute  int64 // scratch buffers
	Adapters int64 // room for adapters of rank 16, one a persona
	Prefixes int64 // kept states of prompt beginnings
	Margin   int64 // left alone
	Free     int64 // when it was measured; 0: not known
}

// Need is the sum of the parts, the margin included.
func (s Share) Need() int64 {
	return plus(plus(plus(s.Base, s.KV), plus(s.Compute, s.Adapters)), plus(s.Prefixes, s.Margin))
}

func (s Share) String() string {
	mib := func(n int64) int64 { return (n + 1<<19) >> 20 }
	text := fmt.Sprintf("%d MiB", mib(s.Need()))
	if s.Free > 0 {
		text += fmt.Sprintf(" of %d free", mib(s.Free))
	}
	return text + fmt.Sprintf(": base %d, KV %d, compute %d, adapters %d, prefixes %d, margin %d", mib(s.Base), mib(s.KV), mib(s.Compute), mib(s.Adapters), mib(s.Prefixes), mib(s.Margin))
}

// Rules of the plan.
const (
	marginShare  = 10      // a tenth of what is free is left alone,
	marginMost   = 2 << 30 // and no more than this
	planRank     = 16      // of the adapters that room is kept for
	planAdapters = 4       // one for each persona
	leastContext = 1024    // a shorter one holds no covenant prompt
)

// shape is what of a model's header memory depends on. Bytes but for layers.
type shape struct {
	layers  int
	layer   []int64 // weights of each
	output  int64   // weights behind the last layer
	rest    int64   // weights before the first; they stay with the processor
	tokenKV int64   // cache of one token over all layers
	compute int64   // scratch of one context
	adapter int64   // an adapter of planRank over all linear layers, in half precision
}

func shapeOf(f *gguf.File) shape {
	arch := f.Text("general.architecture") + "."
	number := func(key string) int64 {
		v, _ := f.Get(arch + key)
		n, _ := v.Uint()
		return int64(min(n, 1<<31))
	}
	width, heads, kv, size := number("embedding_length"), number("attention.head_count"), number("attention.head_count_kv"), number("attention.key_length")
	if size == 0 && heads > 0 {
		size = width / heads
	}
	if kv == 0 {
		kv = heads
	}
	list, _ := f.Get("tokenizer.ggml.tokens")
	_, vocab := list.Elem()
	s := shape{layers: int(min(number("block_count"), int64(len(f.Tensors))))}
	s.tokenKV = times(4, times(number("block_count"), times(kv, size)))
	s.compute = times(4*chunk, plus(int64(vocab), times(8, width)))
	s.layer = make([]int64, s.layers)
	for _, t := range f.Tensors {
		n, name, in := -1, t.Name, false
		if after, ok := strings.CutPrefix(name, "blk."); ok {
			number, kind, _ := strings.Cut(after, ".")
			if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < s.layers {
				n, in = i, len(t.Dims) == 2 && strings.HasSuffix(kind, ".weight")
			}
		}
		switch {
		case n >= 0:
			s.layer[n] += t.Size
		case strings.HasPrefix(name, "output"):
			s.output += t.Size
		default:
			s.rest += t.Size
		}
		if in {
			s.adapter = plus(s.adapter, times(2*planRank, plus(t.Dims[0], t.Dims[1])))
		}
	}
	return s
}

// planOf spreads a model. c is complete but for Context, of which 0 stands for
// as much as fits. Layers go to devices with memory of their own as long as
// they fit there with their caches, adapters and scratch; what is left lies in
// the machine's memory, of which free bytes could be had.
func planOf(f *gguf.File, c Config, devices []ggml.DeviceInfo, free int64) Plan {
	s := shapeOf(f)
	most := min(defaultContext, trainedContext(f))
	if c.Context > 0 {
		most = c.Context
	}
	p := s.spread(f, c, devices, free, most)
	for c.Context == 0 && p.Own.Free > 0 && p.Own.Need() > p.Own.Free && most/2 >= leastContext {
		most /= 2
		p = s.spread(f, c, devices, free, most)
	}
	return p
}

func (s shape) spread(f *gguf.File, c Config, devices []ggml.DeviceInfo, free int64, context int) Plan {
	p := Plan{Context: context, Contexts: max(1, c.Contexts), Of: s.layers}
	caches := times(times(int64(p.Contexts), int64(context)), s.tokenKV)
	compute := plus(computeFloor, times(int64(p.Contexts), s.compute))
	adapters := times(planAdapters, s.adapter)
	if embedsOnly(f) {
		caches, adapters = 0, 0
	}
	var names []string
	for _, d := range devices {
		if d.Kind == ggml.GPU && d.Free > 0 {
			names = append(names, d.Name)
			p.There.Free = plus(p.There.Free, d.Free)
			p.There.Margin = plus(p.There.Margin, margin(d.Free))
			p.There.Compute = plus(p.There.Compute, compute)
		}
	}
	each := int64(max(1, s.layers))
	if len(names) > 0 && c.GPULayers >= 0 {
		room := p.There.Free - p.There.Margin - p.There.Compute
		for i := s.layers - 1; i >= -1; i-- { // the library takes the last ones first
			need := plus(s.output, 0)
			if i >= 0 {
				need = plus(s.layer[i], plus(caches/each, adapters/each))
			}
			if c.GPULayers > 0 && p.Layers >= c.GPULayers || c.GPULayers == 0 && need > room {
				break
			}
			room -= need
			p.Layers++
			if i >= 0 {
				p.There.Base = plus(p.There.Base, s.layer[i])
			} else {
				p.There.Base = plus(p.There.Base, s.output)
			}
		}
	}
	p.Own = Share{KV: caches, Compute: compute, Adapters: adapters, Prefixes: max(0, c.Prefixes), Margin: margin(free), Free: free}
	for _, t := range f.Tensors {
		p.Own.Base = plus(p.Own.Base, t.Size)
	}
	if p.Layers == 0 {
		p.There = Share{}
		return p
	}
	p.Device = strings.Join(names, ", ")
	there := int64(min(p.Layers, s.layers))
	p.There.KV, p.There.Adapters = caches/each*there, adapters/each*there
	p.Own.Base -= p.There.Base
	p.Own.KV -= p.There.KV
	p.Own.Adapters -= p.There.Adapters
	return p
}

func margin(free int64) int64 { return min(free/marginShare, marginMost) }

// Words explains the plan, a line for each memory.
func (p Plan) Words() []string {
	if p.Layers == 0 {
		return []string{"all in the machine's memory, " + p.Own.String()}
	}
	on := fmt.Sprintf("%d of %d layers", min(p.Layers, p.Of), p.Of)
	if p.Layers > p.Of {
		on = "all layers and the output"
	}
	return []string{on + " on " + p.Device + ", " + p.There.String(), "the rest in the machine's memory, " + p.Own.String()}
}

// plus and times hold at a number that no memory has: a header may say
// anything.
const unthinkable = 1 << 60

func plus(a, b int64) int64 { return min(a+b, unthinkable) }

func times(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(max(0, a)), uint64(max(0, b)))
	if hi > 0 || lo > unthinkable {
		return unthinkable
	}
	return int64(lo)
}
