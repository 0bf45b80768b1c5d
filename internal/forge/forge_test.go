package forge

import (
	"os"
	"testing"

	"batos/internal/ggml"
)

const repoRoot = "../.."

// library loads the engine, or skips the test where npm ci has not run.
func library(t testing.TB) *ggml.Library {
	t.Helper()
	dir := ggml.Dir(repoRoot)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("engine library is not installed (npm ci installs %s)", ggml.Package)
	}
	lib, err := ggml.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// counting is a language of rising runs: a few tokens, each one more than the
// last, modulo the vocabulary. The first two are given.
type counting struct {
	seed  uint64
	vocab int
}

func (s counting) Example(n int) ([]int32, []bool) {
	x := (uint64(n)+1)*0x9e3779b97f4a7c15 ^ s.seed
	x ^= x >> 29
	length := 5 + int(x%9)
	step := 1 + int32(x>>8%3)
	tok := int32(x >> 16 % uint64(s.vocab))
	tokens, marks := make([]int32, length), make([]bool, length)
	for i := range tokens {
		tokens[i], marks[i] = tok, i >= 2
		tok = (tok + step) % int32(s.vocab)
	}
	return tokens, marks
}

var small = Arch{Layers: 2, Dim: 32, Heads: 4, KVHeads: 2, FF: 48, Ctx: 64, Vocab: 40}
