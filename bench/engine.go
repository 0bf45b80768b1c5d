package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"batos/internal/ggml"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/seedmind"
)

// bare is a model on the library itself, in this process: what the engine's
// process is measured against.
type bare struct {
	m *ggml.Model
	c *ggml.Context
}

const benchChunk = 128 // the engine's own

func openBare(dir, path string, context int) (*bare, error) {
	lib, err := ggml.Load(dir)
	if err != nil {
		return nil, err
	}
	m, err := lib.LoadModel(path, ggml.ModelOptions{})
	if err != nil {
		return nil, err
	}
	c, err := m.NewContext(ggml.ContextOptions{Tokens: context, Batch: benchChunk, Threads: 1})
	return &bare{m, c}, err
}

func (b *bare) close() {
	b.c.Close()
	_ = b.m.Close() // nothing of it is open
}

// run computes a prompt and up to n tokens after it, the likeliest ones.
func (b *bare) run(prompt []int32, n int) (int, error) {
	s, err := b.m.NewSampler(ggml.SamplerOptions{})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	b.c.Clear()
	pos := 0
	for piece := range slices.Chunk(prompt, benchChunk) {
		var items []ggml.Item
		for _, t := range piece {
			items = append(items, ggml.Item{Token: ggml.Token(t), Pos: pos, Output: pos == len(prompt)-1})
			pos++
		}
		if err := b.c.Decode(items); err != nil {
			return 0, err
		}
	}
	for got := 0; ; pos++ {
		t, err := s.Sample(b.c, -1)
		if err != nil || b.m.IsEOG(t) {
			return got, err
		}
		if got++; got == n {
			return got, nil
		}
		if err := b.c.Decode([]ggml.Item{{Token: t, Pos: pos, Output: true}}); err != nil {
			return got, err
		}
	}
}

// speeds compares the engine with the bare library, taking turns, and gives the
// ratio of their best times and the engine's best speed in tokens a second: the
// best is what is left when nothing else had the processor.
func speeds(ctx context.Context, e *llama.Engine, b *bare, prompt func(i int) []int32, n, rounds int, count func(prompt, answer int) int) (ratio, speed float64, err error) {
	var best, bareBest float64
	for i := range rounds {
		p := prompt(i)
		var want int
		var res *mind.Result
		var bareTook, took float64
		steps := []func() error{
			func() (err error) {
				began := time.Now()
				want, err = b.run(p, n)
				bareTook = time.Since(began).Seconds()
				return err
			},
			func() (err error) {
				began := time.Now()
				res, err = e.Generate(ctx, mind.Request{Tokens: p, MaxTokens: n})
				took = time.Since(began).Seconds()
				return err
			},
		}
		for k := range steps { // neither always finds the other's caches
			if err := steps[(i+k)%2](); err != nil {
				return 0, 0, err
			}
		}
		if len(res.Tokens) != want || res.CachedTokens != 0 {
			return 0, 0, fmt.Errorf("the engine wrote %d tokens with %d cached, the bare library %d", len(res.Tokens), res.CachedTokens, want)
		}
		work := float64(count(len(p), want))
		best, bareBest = max(best, work/took), max(bareBest, work/bareTook)
	}
	return best / bareBest, best, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func engineConfig(path string) (llama.Config, error) {
	dir, err := llama.FindLibrary("")
	if err != nil {
		return llama.Config{}, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return llama.Config{}, err
	}
	return llama.Config{LibDir: dir, ModelPath: path, Threads: 1, Contexts: 1, Prefixes: -1}, nil
}

// engineSeed measures the engine with the shipped model.
func engineSeed(ctx context.Context, dir string, emit func(Figure)) error {
	path := filepath.Join(dir, "seed.gguf")
	if err := copySeed(path); err != nil {
		return err
	}
	cfg, err := engineConfig(path)
	if err != nil {
		return err
	}
	e, err := llama.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	info, err := e.Info(ctx)
	if err != nil {
		return err
	}
	b, err := openBare(cfg.LibDir, path, info.ContextTokens)
	if err != nil {
		return err
	}
	defer b.close()
	prompt := func(length int) func(int) []int32 {
		return func(i int) []int32 {
			p := make([]int32, length)
			for k := range p {
				p[k] = int32(30 + (i*7+k*13)%200)
			}
			return p
		}
	}
	for _, c := range []struct {
		name           string
		prompt, answer int
		count          func(prompt, answer int) int
	}{
		{"decode", 48, 60, func(_, answer int) int { return answer }},
		{"prefill", benchChunk, 1, func(prompt, _ int) int { return prompt }},
	} {
		ratio, speed, err := speeds(ctx, e, b, prompt(c.prompt), c.answer, 82, c.count)
		if err != nil {
			return err
		}
		emit(Figure{Name: "engine.seed." + c.name, Value: speed, Unit: "tokens/s", Against: speed / ratio, Bar: 0.85})
	}
	return nil
}

func copySeed(path string) error {
	in, err := seedmind.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

// engineBig measures the engine with a model of a billion weights, which is
// made once and kept in the system's temporary folder (0.6 GB).
func engineBig(ctx context.Context, dir string, emit func(Figure)) error {
	path, err := oneB.model(os.TempDir(), "batos-bench-1b.gguf")
	if err != nil {
		return err
	}
	cfg, err := engineConfig(path)
	if err != nil {
		return err
	}
	cfg.Prefixes = 512 << 20
	b, err := openBare(cfg.LibDir, path, bigTrain)
	if err != nil {
		return err
	}
	defer b.close()
	e, err := llama.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	prompt := func(length int) func(int) []int32 {
		return func(i int) []int32 {
			p := make([]int32, length)
			for k := range p {
				p[k] = int32(1000 + (i*977+k*131)%30000)
			}
			return p
		}
	}
	for _, c := range []struct {
		name           string
		prompt, answer int
		rounds         int
		count          func(prompt, answer int) int
	}{
		{"decode", 4, 8, 14, func(_, answer int) int { return answer }},
		{"prefill", 128, 1, 12, func(prompt, _ int) int { return prompt }},
	} {
		ratio, speed, err := speeds(ctx, e, b, prompt(c.prompt), c.answer, c.rounds, c.count)
		if err != nil {
			return err
		}
		emit(Figure{Name: "engine.1b." + c.name, Value: speed, Unit: "tokens/s", Against: speed / ratio, Bar: 0.98})
	}
	if err := switches(ctx, e, dir, emit); err != nil {
		return err
	}
	return loadsOf(ctx, e, b, dir, emit)
}

// engineSwitch measures what a request costs more when the one before it had
// another adapter, on a model with as many layers as one of a billion weights
// and next to no work in them: as small models are served, with a context for
// each persona; and with a single context, where the library plans its graph
// anew with every switch. The call that puts an adapter in force is measured
// by itself.
func engineSwitch(ctx context.Context, dir string, emit func(Figure)) error {
	path, err := narrow.model(dir, "narrow.gguf")
	if err != nil {
		return err
	}
	var files, hashes []string
	for seed := range uint64(2) {
		file, hash, err := narrow.adapter(dir, 16, seed)
		if err != nil {
			return err
		}
		files, hashes = append(files, file), append(hashes, hash)
	}
	for _, c := range []struct {
		name     string
		contexts int
		bar      float64
	}{{"engine.switch", 0, 1}, {"engine.switch.one", 1, 0}} {
		cfg, err := engineConfig(path)
		if err != nil {
			return err
		}
		cfg.Contexts = c.contexts
		cost, err := switchCost(ctx, cfg, files, hashes)
		if err != nil {
			return err
		}
		emit(Figure{Name: c.name, Value: cost, Unit: "ms", Bar: c.bar, AtMost: true})
	}
	cfg, err := engineConfig(path)
	if err != nil {
		return err
	}
	b, err := openBare(cfg.LibDir, path, bigTrain)
	if err != nil {
		return err
	}
	defer b.close()
	var sets []ggml.Scaled
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		a, err := b.m.LoadAdapterFile(f)
		_ = f.Close() // read only
		if err != nil {
			return err
		}
		defer func() { _ = b.c.SetAdapters(nil); _ = a.Close() }()
		sets = append(sets, ggml.Scaled{Adapter: a, Scale: 1})
	}
	best := 1.0
	for i := range 200 {
		began := time.Now()
		if err := b.c.SetAdapters(sets[i%2 : i%2+1]); err != nil {
			return err
		}
		best = min(best, time.Since(began).Seconds())
	}
	emit(Figure{Name: "engine.switch.set", Value: best * 1e3, Unit: "ms", Bar: 1, AtMost: true})
	return nil
}

func switchCost(ctx context.Context, cfg llama.Config, files, hashes []string) (ms float64, err error) {
	e, err := llama.Open(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	for i, file := range files {
		if _, err := give(ctx, e, file, hashes[i]); err != nil {
			return 0, err
		}
	}
	best := [2]float64{1, 1} // the same adapter, another one
	for i := range 300 {
		began := time.Now()
		_, err := e.Generate(ctx, mind.Request{Tokens: []int32{int32(1000 + i)}, MaxTokens: 1, Adapter: hashes[i/2%2]})
		if err != nil {
			return 0, err
		}
		if k := (i + 1) % 2; i > 20 { // each adapter has its context by then
			best[k] = min(best[k], time.Since(began).Seconds())
		}
	}
	return (best[1] - best[0]) * 1e3, nil
}

// switches measures the change from one persona to another and back, each with
// a system prompt of a thousand tokens.
func switches(ctx context.Context, e *llama.Engine, dir string, emit func(Figure)) error {
	var hashes []string
	for seed := range uint64(2) {
		path, hash, err := oneB.adapter(dir, 15, seed)
		if err != nil {
			return err
		}
		if _, err := give(ctx, e, path, hash); err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	timed := func(r mind.Request) (float64, *mind.Result, error) {
		began := time.Now()
		res, err := e.Generate(ctx, r)
		return time.Since(began).Seconds(), res, err
	}

	// A system prompt of a thousand tokens: computed, then put back after the
	// other persona has spoken.
	chat := []mind.Turn{{Role: mind.System, Text: strings.Repeat("Be just. ", 112)}, {Role: mind.User, Text: "Go."}}
	r := mind.Request{Chat: chat, MaxTokens: 1, Adapter: hashes[0]}
	full, res, err := timed(r)
	if err != nil || res.CachedTokens != 0 {
		return cmp.Or(err, fmt.Errorf("part of a new prompt was there"))
	}
	if _, _, err := timed(mind.Request{Tokens: []int32{1000}, MaxTokens: 1, Adapter: hashes[1]}); err != nil {
		return err
	}
	kept, res, err := timed(r)
	if err != nil || res.CachedTokens < 900 {
		return cmp.Or(err, fmt.Errorf("the prompt was not kept"))
	}
	emit(Figure{Name: "engine.1b.kept", Value: full / kept, Unit: "times", Bar: 10})
	for _, hash := range hashes {
		if err := e.UnloadAdapter(ctx, hash); err != nil {
			return err
		}
	}
	return nil
}

func give(ctx context.Context, e *llama.Engine, path, hash string) (mind.HotAdapter, error) {
	f, err := os.Open(path)
	if err != nil {
		return mind.HotAdapter{}, err
	}
	defer f.Close()
	return e.LoadAdapter(ctx, hash, f)
}

// loadsOf measures how fast adapters of two sizes come into the engine, from
// the page cache, against the library's own loading in this process.
func loadsOf(ctx context.Context, e *llama.Engine, b *bare, dir string, emit func(Figure)) error {
	for _, c := range []struct {
		name string
		rank int
	}{{"20MB", 15}, {"160MB", 114}} {
		path, hash, err := oneB.adapter(dir, c.rank, 7)
		if err != nil {
			return err
		}
		var bareTook, took []float64
		for range 5 {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			began := time.Now()
			a, err := b.m.LoadAdapterFile(f)
			bareTook = append(bareTook, time.Since(began).Seconds())
			_ = f.Close() // read only
			if err != nil {
				return err
			}
			if err := a.Close(); err != nil {
				return err
			}
			began = time.Now()
			if _, err := give(ctx, e, path, hash); err != nil {
				return err
			}
			took = append(took, time.Since(began).Seconds())
			if err := e.UnloadAdapter(ctx, hash); err != nil {
				return err
			}
		}
		emit(Figure{Name: "engine.1b.load." + c.name, Value: 1 / median(took), Unit: "loads/s", Against: 1 / median(bareTook), Bar: 0.9})
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
