package forge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"batos"
	"batos/internal/ggml"
)

// learn is a run small enough for a test and long enough to learn counting.
func learn() Config {
	a := small
	a.KVHeads, a.Tied = 2, true
	return Config{Arch: a, Steps: 150, BatchTokens: 128, RowTokens: 32, LR: 1e-2, Warmup: 10, Seed: 1, WeightDecay: 0.01}
}

// fewer is a counting language over the first 32 tokens.
var fewer = counting{1, 32}

func TestTrainLearns(t *testing.T) {
	lib := library(t)
	var first, last Progress
	w, err := Train(context.Background(), lib, learn(), fewer, func(p Progress) {
		if p.Step == 1 {
			first = p
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if !(last.Loss < 0.3 && last.Loss < first.Loss/10) || last.Step != 150 || last.Steps != 150 || last.Left != 0 {
		t.Errorf("from %+v to %+v", first, last)
	}

	m := loadModel(t, saveModel(t, w, Meta{}))
	if loss := engineLoss(t, m, counting{99, 32}, 50); loss > 0.3 {
		t.Errorf("the engine's loss on unseen examples is %.3f", loss)
	}
	c, err := m.NewContext(ggml.ContextOptions{Tokens: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := m.NewSampler(ggml.SamplerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	next := []ggml.Item{{Token: 10}, {Token: 12, Pos: 1, Output: true}}
	var wrote []ggml.Token
	for pos := 2; pos < 6; pos++ {
		if err := c.Decode(next); err != nil {
			t.Fatal(err)
		}
		tok, err := s.Sample(c, -1)
		if err != nil {
			t.Fatal(err)
		}
		wrote = append(wrote, tok)
		next = []ggml.Item{{Token: tok, Pos: pos, Output: true}}
	}
	if want := []ggml.Token{14, 16, 18, 20}; !reflect.DeepEqual(wrote, want) {
		t.Errorf("10, 12 goes on %d, want %d", wrote, want)
	}
}

// A run that was interrupted, twice, ends with the same weights, bit for bit,
// as one that was not.
func TestResume(t *testing.T) {
	lib := library(t)
	c := learn()
	c.Steps = 30
	whole, err := Train(context.Background(), lib, c, fewer, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.CheckpointDir, c.CheckpointEvery = t.TempDir(), 7
	for _, stop := range []int{11, 21} {
		ctx, cancel := context.WithCancel(context.Background())
		first := 0
		_, err := Train(ctx, lib, c, fewer, func(p Progress) {
			if first == 0 {
				first = p.Step
			}
			if p.Step == stop {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at %d: %v", stop, err)
		}
		if want := map[int]int{11: 1, 21: 12}[stop]; first != want {
			t.Errorf("the run to %d began at step %d, not %d", stop, first, want)
		}
	}
	pieces, err := Train(context.Background(), lib, c, fewer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(whole, pieces) {
		t.Error("the weights differ")
	}
	steps := 0
	again, err := Train(context.Background(), lib, c, fewer, func(Progress) { steps++ })
	if err != nil || steps != 0 || !reflect.DeepEqual(whole, again) {
		t.Errorf("a finished run did %d steps more: %v", steps, err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.CheckpointDir, "*")); len(left) != 1 {
		t.Errorf("files left: %q", left)
	}

	if w, step, err := Snapshot(c.CheckpointDir, c.Arch); err != nil || step != c.Steps || !reflect.DeepEqual(whole, w) {
		t.Errorf("the snapshot is of step %d, or differs: %v", step, err)
	}
	if _, _, err := Snapshot(t.TempDir(), c.Arch); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("a snapshot of nothing: %v", err)
	}

	other := c
	other.Seed = 2
	if _, err := Train(context.Background(), lib, other, fewer, nil); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a checkpoint of another run: %v", err)
	}
	path := filepath.Join(c.CheckpointDir, checkpointFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":           func(b []byte) []byte { return b[:len(b)-1] },
		"empty":         func([]byte) []byte { return nil },
	} {
		if err := os.WriteFile(path, spoil(append([]byte(nil), b...)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Train(context.Background(), lib, c, fewer, nil); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrainSeeds(t *testing.T) {
	lib := library(t)
	run := func(seed uint64) *Weights {
		c := learn()
		c.Steps, c.Seed = 3, seed
		w, err := Train(context.Background(), lib, c, fewer, nil)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if first := run(1); !reflect.DeepEqual(first, run(1)) || reflect.DeepEqual(first, run(2)) {
		t.Error("the weights do not follow the seed")
	}
}

type fixedExample struct {
	tokens []int32
	marks  []bool
}

func (f fixedExample) Example(int) ([]int32, []bool) { return f.tokens, f.marks }

func TestTrainRefuses(t *testing.T) {
	lib := library(t)
	for _, c := range []struct {
		name   string
		change func(*Config)
		data   Source
		want   string
	}{
		{"no steps", func(c *Config) { c.Steps = 0 }, fewer, "make no sense"},
		{"no rate", func(c *Config) { c.LR = 0 }, fewer, "make no sense"},
		{"rows that do not divide", func(c *Config) { c.RowTokens = 60 }, fewer, "do not divide into rows"},
		{"rows beyond the context", func(c *Config) { c.RowTokens = 128 }, fewer, "exceed the context"},
		{"odd heads", func(c *Config) { c.Arch.Dim = 36; c.Arch.Heads = 4 }, fewer, "do not divide into 4 heads of even length"},
		{"unshared heads", func(c *Config) { c.Arch.KVHeads = 3 }, fewer, "do not share"},
		{"no layers", func(c *Config) { c.Arch.Layers = 0 }, fewer, "shape makes no sense"},
		{"an unknown token", nil, fixedExample{[]int32{1, 260}, []bool{false, true}}, "has token 260"},
		{"a long example", nil, fixedExample{make([]int32, 34), make([]bool, 34)}, "34 tokens"},
		{"one token", nil, fixedExample{[]int32{1}, []bool{true}}, "1 tokens"},
		{"marks missing", nil, fixedExample{[]int32{1, 2}, []bool{true}}, "1 marks"},
		{"nothing supervised", nil, fixedExample{[]int32{1, 2}, []bool{true, false}}, "without a supervised token"},
		{"a rate that diverges", func(c *Config) { c.LR = 1e30; c.Warmup = 0 }, fewer, "diverged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := learn()
			if c.change != nil {
				c.change(&cfg)
			}
			_, err := Train(context.Background(), lib, cfg, c.data, nil)
			if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want invalid: …%s…", err, c.want)
			}
		})
	}
}
