package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"batos"
)

const (
	maxLayers     = 512 // the library's own limit
	maxExperts    = 512
	maxDim        = 1 << 20
	maxVocabulary = 1 << 22
	byteToken     = 6 // tokenizer.ggml.token_type of <0x0A> and its like
)

func refuse(format string, args ...any) error { return batos.Errorf(batos.Invalid, format, args...) }

// CheckModel checks that f describes a whole language model whose metadata
// the library can read: it would end the process on some of what is refused
// here, and read beyond its arrays on the rest.
func CheckModel(f *File) error {
	arch, err := architecture(f, "model")
	if err != nil {
		return err
	}
	if parts, ok := f.uint("split.count"); ok && parts > 1 {
		return refuse("this is one of %d parts of a model: merge them into one file first", parts)
	}
	if len(f.Tensors) == 0 {
		return refuse("the model has no tensors")
	}
	if f.Alignment%32 != 0 {
		return refuse("general.alignment is %d, the library computes in place at multiples of 32", f.Alignment)
	}
	if err := checkShape(f, arch+"."); err != nil {
		return err
	}
	return checkVocabulary(f)
}

// architecture checks the keys that models and adapters share.
func architecture(f *File, want string) (string, error) {
	if v, ok := f.Get("general.type"); ok {
		if t, ok := v.Text(); !ok || t != want {
			return "", refuse("general.type is %.40q, want %q", t, want)
		}
	} else if want != "model" {
		return "", refuse("general.type is missing, want %q", want)
	}
	v, _ := f.Get("general.architecture")
	arch, ok := v.Text()
	if !ok || arch == "" || len(arch) > 64 || strings.Trim(arch, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return "", refuse("general.architecture is missing or not a name")
	}
	return arch, nil
}

func (f *File) uint(key string) (uint64, bool) {
	v, _ := f.Get(key)
	return v.Uint()
}

// checkShape checks the numbers that the library computes sizes from.
func checkShape(f *File, arch string) error {
	for _, c := range []struct {
		key      string
		min, max uint64
		needed   bool
	}{
		{"block_count", 1, maxLayers, true},
		{"embedding_length", 1, maxDim, true},
		{"context_length", 1, math.MaxInt32, true},
		{"attention.key_length", 1, 1 << 16, false},
		{"attention.value_length", 1, 1 << 16, false},
		{"rope.dimension_count", 0, 1 << 16, false},
		{"nextn_predict_layers", 0, maxLayers, false},
		{"expert_count", 0, maxExperts, false},
		{"expert_group_count", 0, maxExperts, false},
		{"expert_group_used_count", 0, maxExperts, false},
		{"rope.scaling.original_context_length", 1, math.MaxInt32, false},
	} {
		v, present := f.Get(arch + c.key)
		if !present && !c.needed {
			continue
		}
		n, ok := v.Uint()
		if !ok || n < c.min || n > c.max {
			return refuse("%s%s is missing or outside %d to %d", arch, c.key, c.min, c.max)
		}
	}
	layers, _ := f.uint(arch + "block_count")
	width, _ := f.uint(arch + "embedding_length")
	if next, _ := f.uint(arch + "nextn_predict_layers"); next > layers {
		return refuse("%snextn_predict_layers exceeds the %d layers", arch, layers)
	}
	for _, key := range []string{"attention.head_count", "attention.head_count_kv", "feed_forward_length", "expert_used_count"} {
		if err := f.perLayer(arch+key, layers, maxDim); err != nil {
			return err
		}
	}
	heads, one := f.uint(arch + "attention.head_count")
	kv, oneKV := f.uint(arch + "attention.head_count_kv")
	_, ownSize := f.Get(arch + "attention.key_length")
	switch {
	case one && (heads > width || !ownSize && heads > 0 && width%heads != 0):
		return refuse("%d attention heads do not divide an embedding of %d", heads, width)
	case one && oneKV && heads > 0 && (kv == 0 || heads%kv != 0):
		return refuse("%d key-value heads do not divide %d attention heads", kv, heads)
	}
	if rot, ok := f.uint(arch + "rope.dimension_count"); ok && rot%2 != 0 {
		return refuse("%srope.dimension_count %d is odd", arch, rot)
	}
	if v, ok := f.Get(arch + "rope.scaling.type"); ok {
		switch t, _ := v.Text(); t {
		case "none", "linear", "yarn", "longrope":
		default:
			return refuse("%srope.scaling.type is the unknown %.40q", arch, t)
		}
	}
	for _, e := range f.Meta {
		if x, ok := e.Value.Float(); ok && strings.HasPrefix(e.Key, arch) {
			if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 && strings.HasSuffix(e.Key, "epsilon") {
				return refuse("%s is %g", e.Key, x)
			}
		}
	}
	return checkExperts(f, arch)
}

// perLayer checks a number, or an array with a number for each layer.
func (f *File) perLayer(key string, layers, limit uint64) error {
	v, ok := f.Get(key)
	if !ok {
		return nil
	}
	if n, ok := v.Uint(); ok {
		if n > limit {
			return refuse("%s is %d, more than %d", key, n, limit)
		}
		return nil
	}
	ns, ok := v.Ints()
	if _, n := v.Elem(); !ok || uint64(n) != layers {
		return refuse("%s is neither a number nor an array of %d", key, layers)
	}
	for _, n := range ns {
		if n < 0 || uint64(n) > limit {
			return refuse("%s has an item of %d", key, n)
		}
	}
	return nil
}

func checkExperts(f *File, arch string) error {
	experts, _ := f.uint(arch + "expert_count")
	groups, _ := f.uint(arch + "expert_group_count")
	groupsUsed, _ := f.uint(arch + "expert_group_used_count")
	var most uint64
	if v, ok := f.Get(arch + "expert_used_count"); ok {
		if n, ok := v.Uint(); ok {
			most = n
		} else if ns, ok := v.Ints(); ok {
			for _, n := range ns {
				most = max(most, uint64(n))
			}
		}
	}
	switch {
	case experts == 0 && (most > 0 || groups > 0):
		return refuse("the model uses experts and has none")
	case experts > 0 && (most == 0 || most > experts || groups >= experts):
		return refuse("the model uses %d of %d experts in %d groups", most, experts, groups)
	case groups > 1 && (experts%groups != 0 || groupsUsed == 0 || groupsUsed >= groups):
		return refuse("the model uses %d of %d groups of %d experts", groupsUsed, groups, experts)
	}
	return nil
}

func checkVocabulary(f *File) error {
	v, _ := f.Get("tokenizer.ggml.model")
	kind, ok := v.Text()
	if !ok || kind == "" {
		return refuse("tokenizer.ggml.model is missing")
	}
	if kind == "none" {
		return refuse("the model has no tokenizer")
	}
	list, _ := f.Get("tokenizer.ggml.tokens")
	tokens, ok := list.Strings()
	_, count := list.Elem()
	if !ok || count == 0 || count > maxVocabulary {
		return refuse("tokenizer.ggml.tokens is no list of 1 to %d tokens", maxVocabulary)
	}
	kinds, err := f.parallel("tokenizer.ggml.token_type", count, Int32)
	if err != nil {
		return err
	}
	if _, err := f.parallel("tokenizer.ggml.scores", count, Float32, Int32); err != nil {
		return err
	}
	seen := make(map[string]struct{})
	for i, t := range tokens {
		if _, dup := seen[string(t)]; dup && len(t) > 0 {
			return refuse("token %d repeats the text %.40q", i, t)
		}
		seen[string(t)] = struct{}{}
		if kinds != nil && binary.LittleEndian.Uint32(kinds[4*i:]) == byteToken && !byteText(t) {
			return refuse("token %d is marked as a byte and reads %.40q, want <0x0A>", i, t)
		}
	}
	if kind == "llama" { // the library looks each byte up without asking whether it is there
		for b := range 256 {
			_, hex := seen[fmt.Sprintf("<0x%02X>", b)]
			if _, plain := seen[string([]byte{byte(b)})]; !hex && !plain {
				return refuse("the vocabulary has no token for the byte 0x%02X", b)
			}
		}
	}
	if v, ok := f.Get("tokenizer.ggml.merges"); ok {
		if _, ok := v.Strings(); !ok {
			return refuse("tokenizer.ggml.merges is no list of strings")
		}
	}
	return checkSpecials(f, count)
}

// parallel gives the items of an array that has one for each token, or nil if
// the key is absent.
func (f *File) parallel(key string, count int, types ...ValueType) ([]byte, error) {
	v, ok := f.Get(key)
	if !ok {
		return nil, nil
	}
	elem, n := v.Elem()
	for _, t := range types {
		if v.typ == Array && elem == t && n == count {
			return v.raw, nil
		}
	}
	return nil, refuse("%s is no list of %d items of type %s", key, count, types[0])
}

func byteText(t []byte) bool {
	return len(t) == 6 && string(t[:3]) == "<0x" && t[5] == '>' &&
		strings.Trim(string(t[3:5]), "0123456789abcdefABCDEF") == ""
}

func checkSpecials(f *File, count int) error {
	for _, e := range f.Meta {
		name, ok := strings.CutPrefix(e.Key, "tokenizer.ggml.")
		if !ok || !strings.HasSuffix(name, "_token_id") {
			continue
		}
		if id, ok := e.Value.Uint(); !ok || id >= uint64(count) {
			return refuse("%s is not the number of one of the %d tokens", e.Key, count)
		}
	}
	for _, side := range []string{"bos", "eos", "sep"} {
		v, ok := f.Get("tokenizer.ggml.add_" + side + "_token")
		if !ok {
			continue
		}
		add, ok := v.Bool()
		if !ok {
			return refuse("tokenizer.ggml.add_%s_token is no truth value", side)
		}
		name := side
		if side == "sep" {
			name = "seperator" // the format's own spelling
		}
		if _, has := f.Get("tokenizer.ggml." + name + "_token_id"); add && !has {
			return refuse("tokenizer.ggml.add_%s_token is set and the model names no such token", side)
		}
	}
	return nil
}

// CheckAdapter checks that f describes a LoRA adapter of a llama-like model,
// with whole pairs of matrices and nothing beside them. It does not read the
// weights; [CheckFinite] does.
func CheckAdapter(f *File) error {
	if _, err := architecture(f, "adapter"); err != nil {
		return err
	}
	v, _ := f.Get("adapter.type")
	if t, ok := v.Text(); !ok || t != "lora" {
		return refuse("adapter.type is %.40q, want \"lora\"", t)
	}
	v, _ = f.Get("adapter.lora.alpha")
	alpha, ok := v.Float()
	if !ok || v.Type() != Float32 || math.IsNaN(alpha) || math.IsInf(alpha, 0) {
		return refuse("adapter.lora.alpha is no finite float32")
	}
	if _, ok := f.Get("adapter.alora.invocation_tokens"); ok {
		return refuse("adapters that begin at an invocation sequence are not supported")
	}
	if len(f.Tensors) == 0 {
		return refuse("the adapter has no tensors")
	}
	byName := make(map[string]Tensor)
	for _, t := range f.Tensors {
		byName[t.Name] = t
	}
	for _, t := range f.Tensors {
		base, isA := strings.CutSuffix(t.Name, ".lora_a")
		other := ".lora_b"
		if !isA {
			var isB bool
			if base, isB = strings.CutSuffix(t.Name, ".lora_b"); !isB {
				return refuse("tensor %q belongs to no LoRA pair", t.Name)
			}
			other = ".lora_a"
		}
		if strings.Contains(base, ".lora_") {
			return refuse("tensor %q has a nested name", t.Name)
		}
		o, ok := byName[base+other]
		if !ok {
			return refuse("tensor %q has no %s beside it", t.Name, base+other)
		}
		if t.Type != F32 && t.Type != F16 && t.Type != BF16 {
			return refuse("tensor %q is stored as %s, want F32, F16 or BF16", t.Name, t.Type)
		}
		if len(t.Dims) != 2 || len(o.Dims) != 2 || isA && t.Dims[1] != o.Dims[0] {
			return refuse("tensor %q and its pair do not multiply", t.Name)
		}
	}
	return nil
}

// CheckFinite reads the data of every float tensor of f from r and refuses NaN
// and infinities. Quantized tensors are passed over.
func CheckFinite(f *File, r io.ReaderAt) error {
	for _, t := range f.Tensors {
		in := bufio.NewReaderSize(io.NewSectionReader(r, t.Offset, t.Size), 1<<16)
		bad, err := false, error(nil)
		switch t.Type {
		case F32:
			bad, err = scan(in, 4, func(b []byte) bool { return binary.LittleEndian.Uint32(b)&0x7f800000 == 0x7f800000 })
		case F16:
			bad, err = scan(in, 2, func(b []byte) bool { return binary.LittleEndian.Uint16(b)&0x7c00 == 0x7c00 })
		case BF16:
			bad, err = scan(in, 2, func(b []byte) bool { return binary.LittleEndian.Uint16(b)&0x7f80 == 0x7f80 })
		}
		if err != nil {
			return refuse("tensor %q cannot be read: %w", t.Name, err)
		}
		if bad {
			return refuse("tensor %q has a weight that is no finite number", t.Name)
		}
	}
	return nil
}

func scan(in *bufio.Reader, size int, bad func([]byte) bool) (bool, error) {
	for {
		b, err := in.Peek(size)
		if err == io.EOF && len(b) == 0 {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		n := in.Buffered() / size * size
		b, _ = in.Peek(n)
		for i := 0; i < n; i += size {
			if bad(b[i : i+size]) {
				return true, nil
			}
		}
		_, _ = in.Discard(n) // n bytes are buffered
	}
}
