package adapter

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"batos/internal/gguf"
)

// names are the modules of a Llama-like model that can be changed, with what
// the engine calls them.
var names = map[string]string{
	"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
	"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}

// interleaved says, for the architectures whose adapters can be converted,
// whether the engine's queries and keys have their rotated halves interleaved,
// which the authors' files have one after the other.
var interleaved = map[string]bool{"llama": true, "qwen2": false, "qwen3": false}

var modulePath = regexp.MustCompile(`^(?:base_model\.model\.)?model\.layers\.(\d+)\.([a-z_]+\.[a-z_]+)\.lora_([AB])(?:\.default)?\.weight$`)

// pair is the two matrices of one weight.
type pair struct {
	module string // as PEFT calls it
	weight string // as the engine calls it
	layer  int
	a, b   *Matrix
}

// Convert writes the adapter whose matrices r holds, described by s and c, as
// GGUF for models like base. meta is added to the file's own keys. Matrices
// keep their number format and their bytes, except those of queries and keys,
// whose rows change places, and those that need a scale of their own.
func Convert(w io.Writer, base *Base, r io.ReaderAt, s *Safetensors, c Config, meta []gguf.Entry) (Info, error) {
	info := Info{Alpha: c.Alpha}
	swap, ok := interleaved[base.Architecture]
	if !ok {
		return info, refuse("adapters for models of architecture %q cannot be converted, only for llama, qwen2 and qwen3; convert it to GGUF with llama.cpp first", base.Architecture)
	}
	pairs, err := pairsOf(s)
	if err != nil {
		return info, err
	}
	// One alpha stands in the file, and the engine divides it by each pair's
	// rank. Where PEFT's factor is another, B takes the difference.
	alpha := c.Alpha
	if c.RSLoRA {
		alpha *= math.Sqrt(float64(c.Rank))
	}
	var parts []gguf.Part
	for _, p := range pairs {
		if len(p.a.Shape) != 2 || len(p.b.Shape) != 2 || p.a.Shape[0] != p.b.Shape[1] {
			return info, refuse("the two matrices of %q do not multiply: %v and %v", p.module, p.a.Shape, p.b.Shape)
		}
		in, rank, out := p.a.Shape[1], p.a.Shape[0], p.b.Shape[0]
		if err := base.fits(p.weight, in, rank, out); err != nil {
			return info, err
		}
		if want := int64(of(c.RankPattern, p.module, float64(c.Rank))); rank != want {
			return info, refuse("%q has matrices of rank %d, adapter_config.json says %d", p.module, rank, want)
		}
		factor := c.scale(p.module, rank) / (alpha / float64(rank))
		heads := 0
		if swap && strings.HasSuffix(p.weight, ".attn_q.weight") {
			heads = base.heads(p.layer)
		}
		if swap && strings.HasSuffix(p.weight, ".attn_k.weight") {
			heads = base.kv(p.layer)
		}
		if heads > 0 && (out%int64(heads) != 0 || out/int64(heads)%2 != 0) {
			return info, refuse("%q has %d outputs, which %d heads do not share in halves", p.module, out, heads)
		}
		b := gguf.Part{Tensor: gguf.Tensor{Name: p.weight + suffixB, Type: p.b.Type, Dims: []int64{rank, out}}, Data: p.b.reader(r)}
		switch {
		case math.Abs(factor-1) > 1e-12:
			b.Type, b.Data = gguf.F32, &lazy{func() ([]byte, error) { return rows(r, p.b, heads, factor) }, nil}
		case heads > 0:
			b.Data = &lazy{func() ([]byte, error) { return rows(r, p.b, heads, 0) }, nil}
		}
		parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: p.weight + suffixA, Type: p.a.Type, Dims: []int64{in, rank}}, Data: p.a.reader(r)}, b)
		info.add(p.weight, int(rank), in*rank+rank*out)
	}
	keys := append([]gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")},
		{Key: "general.architecture", Value: gguf.OfText(base.Architecture)},
		{Key: "adapter.type", Value: gguf.OfText("lora")},
		{Key: "adapter.lora.alpha", Value: gguf.OfFloat(float32(alpha))},
	}, meta...)
	return info, gguf.Write(w, keys, parts)
}

// pairsOf sorts the matrices of an adapter; what is no LoRA matrix of a known
// module is refused by its name.
func pairsOf(s *Safetensors) ([]*pair, error) {
	byWeight := map[string]*pair{}
	var out []*pair
	for i := range s.Tensors {
		t := &s.Tensors[i]
		m := modulePath.FindStringSubmatch(t.Name)
		if m == nil {
			return nil, refuse("tensor %.120q is no LoRA matrix of a layer; this release changes %s", t.Name, supported())
		}
		kind, ok := names[m[2]]
		if !ok {
			return nil, refuse("tensor %.120q changes %q; this release changes %s", t.Name, m[2], supported())
		}
		layer, err := strconv.Atoi(m[1])
		if err != nil || layer > 1<<16 {
			return nil, refuse("tensor %.120q is of no layer", t.Name)
		}
		weight := "blk." + strconv.Itoa(layer) + "." + kind + ".weight"
		p := byWeight[weight]
		if p == nil {
			p = &pair{module: "model.layers." + m[1] + "." + m[2], weight: weight, layer: layer}
			byWeight[weight] = p
			out = append(out, p)
		}
		side := &p.a
		if m[3] == "B" {
			side = &p.b
		}
		if *side != nil {
			return nil, refuse("%q has two matrices %s", p.module, m[3])
		}
		*side = t
	}
	if len(out) == 0 {
		return nil, refuse("the adapter has no tensors")
	}
	for _, p := range out {
		if p.a == nil || p.b == nil {
			return nil, refuse("%q has only one of its two matrices", p.module)
		}
	}
	return out, nil
}

func supported() string {
	var all []string
	for name := range names {
		_, short, _ := strings.Cut(name, ".")
		all = append(all, short)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (m *Matrix) reader(r io.ReaderAt) io.Reader { return io.NewSectionReader(r, m.Offset, m.Size) }

// lazy makes its bytes when the first is read, so that one matrix at a time is
// in memory.
type lazy struct {
	bytes func() ([]byte, error)
	data  *bytes.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.data == nil {
		b, err := l.bytes()
		if err != nil {
			return 0, err
		}
		l.data = bytes.NewReader(b)
	}
	return l.data.Read(p)
}

// rows reads matrix B. With heads, the rows of each head change places: those
// of the first and the second half alternate. With a factor, the numbers are
// multiplied and written as F32.
func rows(r io.ReaderAt, m *Matrix, heads int, factor float64) ([]byte, error) {
	src := make([]byte, m.Size)
	if _, err := r.ReadAt(src, m.Offset); err != nil {
		return nil, refuse("tensor %.80q cannot be read: %w", m.Name, err)
	}
	if heads > 0 {
		out := make([]byte, len(src))
		row := len(src) / int(m.Shape[0])
		size := int(m.Shape[0]) / heads
		for h := range heads {
			for i := range size / 2 {
				for j := range 2 {
					to, from := h*size+2*i+j, h*size+j*size/2+i
					copy(out[to*row:(to+1)*row], src[from*row:(from+1)*row])
				}
			}
		}
		src = out
	}
	if factor == 0 {
		return src, nil
	}
	width := 2
	if m.Type == gguf.F32 {
		width = 4
	}
	out := make([]byte, 0, len(src)/width*4)
	for ; len(src) > 0; src = src[width:] {
		v := float32(factor * float64(number(m.Type, src)))
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out, nil
}

// number reads one float.
func number(t gguf.TensorType, b []byte) float32 {
	switch t {
	case gguf.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case gguf.BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}
	h := uint32(binary.LittleEndian.Uint16(b))
	sign, exp, frac := h&0x8000<<16, h>>10&0x1f, h&0x3ff
	switch {
	case exp == 0: // zero and numbers below the smallest normal one
		return math.Float32frombits(sign) + float32(math.Copysign(float64(frac)*0x1p-24, float64(1-2*int(sign>>31))))
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
