package llama

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
	"batos/internal/mind"
)

// session is one loaded model with its contexts and adapters. Its methods are
// safe for concurrent use.
//
// Each context serves one request at a time. A request takes a context with
// its adapter in force, computes, and gives it back; what lies in the context's
// cache stays for a later request that begins alike.
type session struct {
	lib       *ggml.Library
	model     *ggml.Model
	tokens    int  // room for prompt and answer; a context's own may be rounded up
	embedOnly bool // the model reads and does not write
	work      int64

	compute *semaphore.Weighted // who may run threads, taken for one decode at a time
	free    *semaphore.Weighted // as many as there are idle contexts; waiters go in order
	loading *semaphore.Weighted // one load at a time: the library does not lock

	mu       sync.Mutex // guards what follows
	slots    []*slot
	adapters map[string]*hotAdapter
	clock    uint64

	embedding *embedder
	prefixes  *prefixes
}

// slot is one context. Who took it owns it; an idle one is the session's.
type slot struct {
	ctx    *ggml.Context
	busy   bool
	active string // hash of the adapter in force, "" is none
	cached []piece
	used   uint64 // the session's clock when it was given back
}

// hotAdapter is a loaded adapter. It is freed when it is doomed and no request
// uses it.
type hotAdapter struct {
	adapter *ggml.Adapter
	bytes   int64
	users   int
	doomed  bool
	gone    chan struct{} // closed when it is freed or wanted again
}

// chunk is how many tokens of a prompt are computed at once, and the unit in
// which a cached prefix is reused.
const chunk = 128

func openSession(a openArgs, progress func(float64)) (*session, error) {
	lib, err := ggml.Load(a.LibDir)
	if err != nil {
		return nil, err
	}
	progress(0.1)
	f, err := gguf.Open(a.ModelPath)
	if err != nil {
		return nil, err
	}
	plan := planOf(f, Config{Context: a.Context, Contexts: a.Contexts, Prefixes: a.Prefixes, GPULayers: a.GPULayers}, lib.Devices(), availableMemory())
	m, err := lib.LoadModel(a.ModelPath, ggml.ModelOptions{GPULayers: plan.Layers})
	if err != nil {
		return nil, err
	}
	if !a.EmbedsOnly && !m.Generates() {
		return nil, batos.Errorf(batos.Invalid, "model %s does not generate text", a.ModelPath)
	}
	progress(0.9)
	s := &session{
		lib: lib, model: m, tokens: a.Context, embedOnly: a.EmbedsOnly,
		compute: semaphore.NewWeighted(int64(a.Parallel)), loading: semaphore.NewWeighted(1),
		adapters: map[string]*hotAdapter{},
	}
	s.embedding = newEmbedder(m, a)
	s.prefixes = newPrefixes(whoComputes(a, plan), a.Prefixes)
	before := lib.Allocated()
	if !a.EmbedsOnly {
		for range a.Contexts {
			c, err := m.NewContext(ggml.ContextOptions{Tokens: a.Context, Batch: chunk, Threads: a.Threads})
			if err != nil {
				return nil, err
			}
			s.slots = append(s.slots, &slot{ctx: c})
		}
	}
	s.work = lib.Allocated() - before
	s.free = semaphore.NewWeighted(int64(len(s.slots)))
	return s, nil
}

// whoComputes names everything that a state of the cache depends on but the
// adapter and the tokens.
func whoComputes(a openArgs, p Plan) string {
	who := fmt.Sprintf("%s %s, model %s, %d threads", ggml.Version, mappedCPU(), a.ModelHash, a.Threads)
	if p.Layers > 0 {
		who += fmt.Sprintf(", %d layers on %s", p.Layers, p.Device)
	}
	return who
}

// take waits for a context and puts the adapter in force on it: the idle one
// that holds most of the prompt already, else the one idle longest.
func (s *session) take(ctx context.Context, hash string, prompt []piece) (*slot, error) {
	if err := s.free.Acquire(ctx, 1); err != nil {
		return nil, batos.Errorf(batos.Cancelled, "cancelled while waiting for a context")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var set []ggml.Scaled
	var hot *hotAdapter
	if hash != "" {
		if hot = s.adapters[hash]; hot == nil || hot.doomed {
			s.free.Release(1)
			return nil, batos.Errorf(batos.Invalid, "adapter %.16s is not loaded", hash)
		}
		set = []ggml.Scaled{{Adapter: hot.adapter, Scale: 1}}
	}
	var best *slot
	most := 0
	for _, sl := range s.slots {
		if sl.busy {
			continue
		}
		n := -1
		if sl.active == hash {
			n = common(sl.cached, prompt)
		}
		if best == nil || n > most || n == most && sl.used < best.used {
			best, most = sl, n
		}
	}
	if best.active != hash {
		// What the cache holds was computed under the former adapter and goes.
		best.forget()
		if err := best.ctx.SetAdapters(set); err != nil {
			s.free.Release(1)
			return nil, err
		}
		best.active = hash
	}
	best.busy = true
	if hot != nil {
		hot.users++
	}
	return best, nil
}

// give hands a context back.
func (s *session) give(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	sl.busy, sl.used = false, s.clock
	if hot := s.adapters[sl.active]; hot != nil {
		hot.users--
		s.bury(sl.active, hot)
	}
	s.free.Release(1)
}

// bury frees an adapter that is doomed and unused, out of every context first.
func (s *session) bury(hash string, hot *hotAdapter) {
	if !hot.doomed || hot.users > 0 {
		return
	}
	for _, sl := range s.slots {
		if sl.active != hash { // a busy one has the adapter of its request
			continue
		}
		sl.forget()
		if sl.ctx.SetAdapters(nil) != nil {
			return // it stays in memory, and is told as held
		}
		sl.active = ""
	}
	if hot.adapter.Close() != nil {
		return
	}
	delete(s.adapters, hash)
	close(hot.gone)
}

func (sl *slot) forget() {
	sl.ctx.Clear()
	sl.cached = nil
}

func (s *session) loadAdapter(ctx context.Context, hash string, f *os.File) (*mind.HotAdapter, error) {
	if s.embedOnly {
		return nil, batos.Errorf(batos.Invalid, "the model only embeds: it takes no adapters")
	}
	if err := s.loading.Acquire(ctx, 1); err != nil {
		return nil, batos.Errorf(batos.Cancelled, "cancelled while waiting to load an adapter")
	}
	defer s.loading.Release(1)
	s.mu.Lock()
	hot := s.adapters[hash]
	if hot != nil && hot.doomed { // in use still, and wanted again
		hot.doomed = false
		close(hot.gone)
		hot.gone = make(chan struct{})
	}
	s.mu.Unlock()
	if hot == nil {
		a, err := s.model.LoadAdapterFile(f)
		if err != nil {
			return nil, err
		}
		hot = &hotAdapter{adapter: a, bytes: a.Bytes(), gone: make(chan struct{})}
		s.mu.Lock()
		s.adapters[hash] = hot
		s.mu.Unlock()
	}
	return &mind.HotAdapter{Hash: hash, Bytes: hot.bytes}, nil
}

func (s *session) unloadAdapter(ctx context.Context, hash string) error {
	s.mu.Lock()
	hot := s.adapters[hash]
	if hot == nil {
		s.mu.Unlock()
		return nil
	}
	hot.doomed = true
	gone := hot.gone
	s.bury(hash, hot)
	s.mu.Unlock()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return batos.Errorf(batos.Cancelled, "adapter %.16s goes when the requests that use it end", hash)
	}
}

// memory measures: contexts by what the allocator gave out for them, adapters
// by their tensors, the process by the system's count.
func (s *session) memory() *mind.Memory {
	m := &mind.Memory{Model: int64(s.model.Size()), Compute: s.work + s.embedding.work(), Prefixes: s.prefixes.held(), Resident: resident()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, hot := range s.adapters {
		m.Adapters = append(m.Adapters, mind.HotAdapter{Hash: hash, Bytes: hot.bytes})
	}
	slices.SortFunc(m.Adapters, func(a, b mind.HotAdapter) int { return strings.Compare(a.Hash, b.Hash) })
	return m
}

// resident is how much of this process lies in memory, in bytes; 0 where the
// system does not say.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
