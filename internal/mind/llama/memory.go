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
	s := shapeOf(f)
	contexts := int64(c.Contexts)
	caches := times(times(contexts, int64(c.Context)), s.tokenKV)
	if embedsOnly(f) {
		caches = 0
	}
	m := memory{working: plus(computeFloor, plus(caches, times(contexts, s.compute))), caches: caches}
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
