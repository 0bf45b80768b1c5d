package forge

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
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

// small has a vocabulary of the 256 bytes, a word, broken UTF-8, and two
// control tokens.
var small = Arch{Layers: 2, Dim: 32, Heads: 4, KVHeads: 4, FF: 48, Ctx: 64, Vocab: 260}

func smallTokenizer() Tokenizer {
	tok := Tokenizer{BOS: 258, EOS: 259}
	for b := range 256 {
		tok.Entries = append(tok.Entries, TokenEntry{string([]byte{byte(b)}), NormalToken})
	}
	tok.Entries = append(tok.Entries,
		TokenEntry{"\nreturn ", NormalToken}, TokenEntry{"\xe6\x97", NormalToken},
		TokenEntry{"<begin>", ControlToken}, TokenEntry{"<end>", ControlToken})
	return tok
}

// spread makes weights that differ from their initial symmetry, norms too.
func spread(t testing.TB, a Arch) *Weights {
	t.Helper()
	w, err := NewWeights(a, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range w.tensors {
		for i := range v {
			v[i] *= 1 + 0.3*float32(math.Sin(float64(i)*1.7))
		}
	}
	for i, v := range w.tensors["token_embd.weight"] {
		w.tensors["token_embd.weight"][i] = 20 * v
	}
	return w
}

func saveModel(t testing.TB, w *Weights, meta Meta) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteGGUF(&b, w, smallTokenizer(), meta); err != nil {
		t.Fatal(err)
	}
	return save(t, b.Bytes())
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loadModel(t testing.TB, path string) *ggml.Model {
	t.Helper()
	m, err := library(t).LoadModel(path, ggml.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// engineLoss is the mean loss, by the engine's own inference, of the
// supervised tokens of n examples, each decoded by itself.
func engineLoss(t testing.TB, m *ggml.Model, data Source, n int, adapters ...ggml.Scaled) float64 {
	t.Helper()
	c, err := m.NewContext(ggml.ContextOptions{Tokens: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetAdapters(adapters); err != nil {
		t.Fatal(err)
	}
	sum, count := 0.0, 0
	for i := range n {
		tokens, marks := data.Example(i)
		items := make([]ggml.Item, len(tokens)-1)
		for j := range items {
			items[j] = ggml.Item{Token: ggml.Token(tokens[j]), Pos: j, Output: true}
		}
		c.Clear()
		if err := c.Decode(items); err != nil {
			t.Fatal(err)
		}
		for j := range items {
			if marks[j+1] {
				l, err := c.Logits(j)
				if err != nil {
					t.Fatal(err)
				}
				sum -= float64(ggml.Logprob(l, ggml.Token(tokens[j+1])))
				count++
			}
		}
	}
	return sum / float64(count)
}

// prepared builds a network with weights and one packed batch in place, and
// gives the number of examples in it.
func prepared(t testing.TB, c Config, w *Weights, data Source, kind graphKind) (*network, *batch, int) {
	t.Helper()
	net, err := newNetwork(library(t), c, c.Arch.layout(), nil, nil, lowRank{}, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(net.close)
	net.load(w.tensors)
	b := newBatch(c)
	n, err := b.fill(data, 0)
	if err != nil {
		t.Fatal(err)
	}
	net.set(b)
	return net, b, n
}

func mustRun(t testing.TB, net *network, b *batch) float64 {
	t.Helper()
	loss, err := net.run(b)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}
