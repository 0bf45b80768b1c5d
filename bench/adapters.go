package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"batos/image"
	"batos/internal/adapter"
	"batos/internal/gguf"
	"batos/internal/memory"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/object"
)

// The crowd: how many adapters of the shipped model share how much memory.
const (
	crowdAdapters = 1000
	crowdWarm     = 64 << 20
	crowdHot      = 16 << 20
	crowdCycles   = 10_000
)

// crowds measures a thousand adapters of the shipped model: blobs of an image,
// asked for as popular things are, in two budgets that hold a part of them.
func crowds(ctx context.Context, dir string, emit func(Figure)) error {
	c, err := newCrowd(ctx, dir)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.expect(); err != nil {
		return err
	}
	requests := zipf(4000)
	best := [2]float64{belady(requests, crowdHot/int(c.heavy)), belady(requests, crowdWarm/int(c.size))}
	var total crowdResult
	for _, p := range []struct {
		name   string
		policy memory.Policy
	}{{"lru", memory.LRU}, {"cost", memory.CostAware}} {
		r, err := c.play(ctx, p.policy, requests)
		if err != nil {
			return err
		}
		emit(Figure{Name: "adapters.crowd." + p.name + ".hot", Value: r.hot, Unit: "hits/request", Against: best[0]})
		emit(Figure{Name: "adapters.crowd." + p.name + ".warm", Value: r.warm, Unit: "hits/request", Against: best[1]})
		total.add(r)
	}
	r, err := c.storm(ctx)
	if err != nil {
		return err
	}
	total.add(r)
	emit(Figure{Name: "adapters.crowd.right", Value: 1 - float64(total.wrong)/float64(total.asked), Unit: "share", Bar: 1})
	for _, f := range []struct {
		name  string
		bytes int64
		most  float64
		bar   float64
	}{
		{"ledger.warm", total.usage.WarmMost, crowdWarm, 1}, {"ledger.hot", total.usage.HotMost, crowdHot, 1},
		{"engine", total.engine, crowdHot, 1}, {"heap", total.heap, crowdWarm, 0.25},
	} {
		emit(Figure{Name: "adapters.crowd." + f.name, Value: float64(f.bytes), Unit: "B", Against: f.most, Bar: f.bar, AtMost: true})
	}
	return c.cycles(ctx, emit)
}

type crowd struct {
	im     *image.Image
	engine *llama.Engine
	path   string
	files  [][]byte
	hashes []string
	want   [][]int32 // what each answers
	blobs  map[string]object.Blob
	size   int64 // of a file
	heavy  int64 // the most it may take in the engine
}

func newCrowd(ctx context.Context, dir string) (_ *crowd, err error) {
	c := &crowd{path: filepath.Join(dir, "seed.gguf"), blobs: map[string]object.Blob{}}
	if err := copySeed(c.path); err != nil {
		return nil, err
	}
	cfg, err := engineConfig(c.path)
	if err != nil {
		return nil, err
	}
	if c.im, err = image.Open(ctx, filepath.Join(dir, "image"), image.Options{}); err != nil {
		return nil, err
	}
	if c.engine, err = llama.Open(ctx, cfg); err != nil {
		return nil, errors.Join(err, c.im.Close())
	}
	if err := c.fill(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *crowd) close() error { return errors.Join(c.engine.Close(), c.im.Close()) }

// fill makes the adapters and puts them into the image.
func (c *crowd) fill(ctx context.Context) error {
	base, err := gguf.Open(c.path)
	if err != nil {
		return err
	}
	all := &object.List{}
	for i := range crowdAdapters {
		b, err := smallAdapter(base, uint64(i))
		if err != nil {
			return err
		}
		blob, err := c.im.NewBlob(ctx, bytes.NewReader(b))
		if err != nil {
			return err
		}
		h := sha256.Sum256(b)
		hash := hex.EncodeToString(h[:])
		c.files, c.hashes, c.blobs[hash] = append(c.files, b), append(c.hashes, hash), blob
		all.Items = append(all.Items, blob)
	}
	if _, err := c.im.Update(ctx, func(tx *image.Tx) error {
		_, err := tx.Create(object.NewState(0, 0, object.Slot{Name: "blobs", Value: all}))
		return err
	}); err != nil {
		return err
	}
	c.size = int64(len(c.files[0]))
	f, err := memory.Scratch("weigh")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(c.files[0]); err != nil {
		return err
	}
	c.heavy = adapter.Weigh(f)
	return nil
}

// smallAdapter is a random adapter of rank 16 on the shipped model's attention.
func smallAdapter(base *gguf.File, seed uint64) ([]byte, error) {
	number := func(key string) int64 {
		v, _ := base.Get(key)
		n, _ := v.Uint()
		return int64(n)
	}
	const rank = 16
	width := number("llama.embedding_length")
	r := rand.New(rand.NewPCG(seed, 9))
	var parts []gguf.Part
	add := func(name string, in, out int64) {
		parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: name, Type: gguf.F16, Dims: []int64{in, out}}, Data: &halves{r}})
	}
	for l := range number("llama.block_count") {
		for _, kind := range []string{"attn_q", "attn_output"} {
			weight := fmt.Sprintf("blk.%d.%s.weight", l, kind)
			add(weight+".lora_a", width, rank)
			add(weight+".lora_b", rank, width)
		}
	}
	var out bytes.Buffer
	err := gguf.Write(&out, []gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")}, {Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "adapter.type", Value: gguf.OfText("lora")}, {Key: "adapter.lora.alpha", Value: gguf.OfFloat(1500)},
	}, parts)
	return out.Bytes(), err
}

var crowdPrompt = []int32{31, 77, 140, 52, 201, 90}

const crowdAnswer = 6

// expect computes what each adapter answers, with the library alone.
func (c *crowd) expect() error {
	dir, err := llama.FindLibrary("")
	if err != nil {
		return err
	}
	b, err := openBare(dir, c.path, 64)
	if err != nil {
		return err
	}
	defer b.close()
	different := map[string]bool{}
	for _, file := range c.files {
		want, err := b.answer(file, crowdPrompt, crowdAnswer)
		if err != nil {
			return err
		}
		c.want = append(c.want, want)
		different[fmt.Sprint(want)] = true
	}
	if len(different) < crowdAdapters/10 {
		return fmt.Errorf("%d adapters answer in only %d ways: a mistake would not be seen", crowdAdapters, len(different))
	}
	return nil
}

// tiers are tiers over the image's blobs and the engine. The clock goes on by
// a second with every tick.
func (c *crowd) tiers(policy memory.Policy) (t *memory.Tiers, tick func()) {
	var ahead atomic.Int64
	t = memory.New(memory.Config{
		Open: func(ctx context.Context, hash string) (memory.Source, error) {
			return c.im.OpenBlob(ctx, c.blobs[hash])
		},
		Host: func() mind.AdapterHost { return c.engine }, Weigh: adapter.Weigh,
		Budgets: func() (int64, int64) { return crowdWarm, crowdHot }, Policy: policy,
		Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	return t, func() { ahead.Add(int64(time.Second)) }
}

// crowdResult is what came of requests.
type crowdResult struct {
	hot, warm    float64 // hits for each request
	asked, wrong int64
	engine       int64 // most bytes of adapters that the engine was seen with
	heap         int64 // growth of Go's heap
	usage        memory.Usage
}

func (r *crowdResult) add(o crowdResult) {
	r.asked += o.asked
	r.wrong += o.wrong
	r.engine, r.heap = max(r.engine, o.engine), max(r.heap, o.heap)
	r.usage.WarmMost, r.usage.HotMost = max(r.usage.WarmMost, o.usage.WarmMost), max(r.usage.HotMost, o.usage.HotMost)
}

// ask answers one request and tells whether it came out right.
func (c *crowd) ask(ctx context.Context, t *memory.Tiers, i int) (right bool, err error) {
	l, err := t.Activate(ctx, c.hashes[i])
	if err != nil {
		return false, err
	}
	defer l.Release()
	res, err := c.engine.Generate(ctx, mind.Request{Tokens: crowdPrompt, MaxTokens: crowdAnswer, Adapter: c.hashes[i]})
	if err != nil {
		return false, err
	}
	return slices.Equal(res.Tokens, c.want[i]), nil
}

func (c *crowd) inEngine(ctx context.Context) (int64, error) {
	m, err := c.engine.Memory(ctx)
	total := int64(0)
	for _, a := range m.Adapters {
		total += a.Bytes
	}
	return total, err
}

// play asks one request after the other.
func (c *crowd) play(ctx context.Context, policy memory.Policy, requests []int) (crowdResult, error) {
	t, tick := c.tiers(policy)
	defer c.empty(ctx, t)
	before := heap()
	r := crowdResult{asked: int64(len(requests))}
	for n, i := range requests {
		tick()
		switch t.State(c.hashes[i]).Tier {
		case memory.Hot, memory.Active:
			r.hot++
			r.warm++
		case memory.Warm:
			r.warm++
		}
		right, err := c.ask(ctx, t, i)
		if err != nil {
			return r, err
		}
		if !right {
			r.wrong++
		}
		if n%20 > 0 {
			continue
		}
		b, err := c.inEngine(ctx)
		if err != nil {
			return r, err
		}
		r.engine = max(r.engine, b)
	}
	r.heap = heap() - before
	r.usage = t.Usage()
	r.hot, r.warm = r.hot/float64(len(requests)), r.warm/float64(len(requests))
	return r, nil
}

// storm asks from eight sides at once while another looks at the engine.
func (c *crowd) storm(ctx context.Context) (crowdResult, error) {
	t, tick := c.tiers(memory.CostAware)
	defer c.empty(ctx, t)
	const sides, each = 8, 200
	r := crowdResult{asked: sides * each}
	var wrong atomic.Int64
	errs := make([]error, sides+1)
	done := make(chan struct{})
	var askers, looker sync.WaitGroup
	for g := range sides {
		askers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 11))
			for range each {
				tick()
				right, err := c.ask(ctx, t, rng.IntN(crowdAdapters))
				if err != nil {
					errs[g] = err
					return
				}
				if !right {
					wrong.Add(1)
				}
			}
		})
	}
	looker.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			b, err := c.inEngine(ctx)
			if err != nil {
				errs[sides] = err
				return
			}
			r.engine = max(r.engine, b)
		}
	})
	askers.Wait()
	close(done)
	looker.Wait()
	r.wrong, r.usage = wrong.Load(), t.Usage()
	return r, errors.Join(errs...)
}

// empty takes everything out of tiers that are not used any more.
func (c *crowd) empty(ctx context.Context, t *memory.Tiers) {
	for _, h := range c.hashes {
		_ = t.Evict(ctx, h, true) // an engine that is gone holds nothing
	}
}

// cycles brings adapters into the engine and out of all memory, over and over,
// and compares what both processes hold after many with what they held after
// some.
func (c *crowd) cycles(ctx context.Context, emit func(Figure)) error {
	t, tick := c.tiers(memory.LRU)
	defer c.empty(ctx, t)
	rounds := func(n int) error {
		for i := range n {
			tick()
			h := c.hashes[i%16]
			l, err := t.Activate(ctx, h)
			if err != nil {
				return err
			}
			l.Release()
			if err := t.Evict(ctx, h, true); err != nil {
				return err
			}
		}
		return nil
	}
	var engine, own [2]float64
	for i, n := range []int{crowdCycles / 10, crowdCycles} {
		if err := rounds(n); err != nil {
			return err
		}
		m, err := c.engine.Memory(ctx)
		if err != nil {
			return err
		}
		engine[i], own[i] = float64(m.Resident), float64(heap())
	}
	emit(Figure{Name: "adapters.cycles.engine", Value: engine[1], Unit: "B", Against: engine[0], Bar: 1.02, AtMost: true})
	emit(Figure{Name: "adapters.cycles.heap", Value: own[1], Unit: "B", Against: own[0], Bar: 1.02, AtMost: true})
	return nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// zipf gives n requests for the crowd, the k-th most popular asked for in
// proportion to 1/k.
func zipf(n int) []int {
	sums := make([]float64, crowdAdapters)
	total := 0.0
	for k := range sums {
		total += 1 / float64(k+1)
		sums[k] = total
	}
	r := rand.New(rand.NewPCG(4, 2))
	who := r.Perm(crowdAdapters)
	out := make([]int, n)
	for i := range out {
		k, _ := slices.BinarySearch(sums, r.Float64()*total)
		out[i] = who[min(k, crowdAdapters-1)]
	}
	return out
}

// belady gives the share of hits of the best there can be with so many places
// of equal size: what is needed last goes first.
func belady(requests []int, places int) float64 {
	next := make([]int, len(requests))
	seen := map[int]int{}
	for i := len(requests) - 1; i >= 0; i-- {
		next[i] = math.MaxInt
		if n, ok := seen[requests[i]]; ok {
			next[i] = n
		}
		seen[requests[i]] = i
	}
	in := map[int]int{} // who is in, and when needed next
	hits := 0
	for i, who := range requests {
		if _, ok := in[who]; ok {
			hits++
		} else if len(in) >= places {
			worst, when := -1, -1
			for k, n := range in {
				if n > when {
					worst, when = k, n
				}
			}
			delete(in, worst)
		}
		in[who] = next[i]
	}
	return float64(hits) / float64(len(requests))
}
