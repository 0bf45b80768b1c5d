package llama

import (
	"os"
	"strconv"
	"strings"

	"batos/internal/gguf"
)

// memory is an estimate, in bytes, of what a model takes.
type memory struct {
	weights int64 // mapped from the file: shared, and given back under pressure
	working int64 // key-value caches and compute buffers: the process's own
	caches  int64 // the first of these
}

// computeFloor stands for what a context takes apart from cache and logits.
const computeFloor = 32 << 20

// memoryOf estimates for a transformer of the usual shape: a cache of two
// half-precision vectors for each token, layer and key-value head, and logits
// and hidden vectors for one chunk; both for each context.
func memoryOf(f *gguf.File, c Config) memory {
	arch := f.Text("general.architecture") + "."
	number := func(key string) float64 {
		v, _ := f.Get(key)
		n, _ := v.Uint()
		return float64(n)
	}
	layers, width := number(arch+"block_count"), number(arch+"embedding_length")
	heads, kv := number(arch+"attention.head_count"), number(arch+"attention.head_count_kv")
	size := number(arch + "attention.key_length")
	if size == 0 && heads > 0 {
		size = width / heads
	}
	if kv == 0 {
		kv = heads
	}
	list, _ := f.Get("tokenizer.ggml.tokens")
	_, vocab := list.Elem()
	contexts := float64(c.Contexts)
	caches := contexts * 4 * float64(c.Context) * layers * kv * size
	if embedsOnly(f) {
		caches = 0
	}
	working := caches + contexts*4*chunk*(float64(vocab)+8*width)
	m := memory{working: computeFloor + int64(min(working, 1<<60)), caches: int64(min(caches, 1<<60))}
	for _, t := range f.Tensors {
		m.weights += t.Size
	}
	return m
}

// availableMemory is what the system says could be had without swapping, in
// bytes; 0 where it does not say.
func availableMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseInt(kib, 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
