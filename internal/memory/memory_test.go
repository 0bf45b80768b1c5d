package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"batos"
	"batos/internal/mind"
)

// fakeHost stands in for an engine: it keeps what it is given, with an
// overhead, and notices if that is ever more than it may have.
type fakeHost struct {
	mu       sync.Mutex
	loaded   map[string][]byte
	bytes    int64
	most     int64
	overhead int64
	loads    int
	fail     error
}

func (h *fakeHost) LoadAdapter(_ context.Context, hash string, f *os.File) (mind.HotAdapter, error) {
	st, err := f.Stat()
	if err != nil {
		return mind.HotAdapter{}, err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, st.Size()))
	if err != nil {
		return mind.HotAdapter{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return mind.HotAdapter{}, h.fail
	}
	if h.loaded == nil {
		h.loaded = map[string][]byte{}
	}
	if _, twice := h.loaded[hash]; !twice {
		h.loaded[hash] = b
		h.bytes += int64(len(b)) + h.overhead
		h.most = max(h.most, h.bytes)
		h.loads++
	}
	return mind.HotAdapter{Hash: hash, Bytes: int64(len(b)) + h.overhead}, nil
}

func (h *fakeHost) UnloadAdapter(_ context.Context, hash string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b, ok := h.loaded[hash]; ok {
		h.bytes -= int64(len(b)) + h.overhead
		delete(h.loaded, hash)
	}
	return nil
}

func (h *fakeHost) Memory(context.Context) (mind.Memory, error) { return mind.Memory{}, nil }

func (h *fakeHost) has(hash string, want []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Equal(h.loaded[hash], want)
}

type memSource struct{ *bytes.Reader }

func (memSource) Close() error { return nil }

// shelf holds adapters of the given sizes.
func shelf(sizes ...int) (map[string][]byte, func(context.Context, string) (Source, error)) {
	all := map[string][]byte{}
	for i, n := range sizes {
		all[fmt.Sprintf("%064d", i)] = bytes.Repeat([]byte{byte(i + 1)}, n)
	}
	return all, func(_ context.Context, hash string) (Source, error) {
		b, ok := all[hash]
		if !ok {
			return nil, batos.Errorf(batos.NotFound, "no adapter %.12s", hash)
		}
		return memSource{bytes.NewReader(b)}, nil
	}
}

func tiers(t *testing.T, h mind.AdapterHost, open func(context.Context, string) (Source, error), warm, hot int64, p Policy) *Tiers {
	t.Helper()
	m := New(Config{Open: open, Host: func() mind.AdapterHost { return h }, Budgets: func() (int64, int64) { return warm, hot }, Policy: p})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func name(i int) string { return fmt.Sprintf("%064d", i) }

func TestThroughTheTiers(t *testing.T) {
	all, open := shelf(100, 100, 100, 100)
	h := &fakeHost{}
	m := tiers(t, h, open, 300, 200, LRU)
	if s := m.State(name(0)); s.Tier != Cold {
		t.Errorf("%+v", s)
	}
	l, err := m.Activate(t.Context(), name(0))
	if err != nil || !h.has(name(0), all[name(0)]) {
		t.Fatal(err)
	}
	if s := m.State(name(0)); s.Tier != Active || s.WarmBytes != 100 || s.HotBytes != 100 || s.Hits != 1 {
		t.Errorf("%+v", s)
	}
	if err := m.Evict(t.Context(), name(0), true); batos.CodeOf(err) != batos.Busy {
		t.Errorf("an adapter in use was evicted: %v", err)
	}
	l.Release()
	l.Release() // again is harmless
	if s := m.State(name(0)); s.Tier != Hot {
		t.Errorf("%+v", s)
	}
	for i := 1; i < 4; i++ {
		l, err := m.Activate(t.Context(), name(i))
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	// The least recently used went: the first from all memory, the second from
	// the engine only.
	for i, want := range []Tier{Cold, Warm, Hot, Hot} {
		if s := m.State(name(i)); s.Tier != want {
			t.Errorf("adapter %d is %s, want %s", i, s.Tier, want)
		}
	}
	if err := m.Stage(t.Context(), name(0)); err != nil || m.State(name(0)).Tier != Warm || m.State(name(1)).Tier != Cold {
		t.Errorf("%v, %+v", err, m.State(name(0)))
	}
	if err := m.Evict(t.Context(), name(3), false); err != nil || m.State(name(3)).Tier != Warm {
		t.Errorf("%v, %+v", err, m.State(name(3)))
	}
	if u := m.Usage(); u.Warm != 300 || u.Hot != 100 || u.WarmMost > 300 || u.HotMost > 200 {
		t.Errorf("%+v", u)
	}
}

func TestTiersRefuse(t *testing.T) {
	_, open := shelf(100, 1000)
	h := &fakeHost{}
	m := tiers(t, h, open, 300, 200, nil)
	if _, err := m.Activate(t.Context(), name(1)); batos.CodeOf(err) != batos.Limit {
		t.Errorf("larger than the tier: %v", err)
	}
	if _, err := m.Activate(t.Context(), name(7)); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("unknown: %v", err)
	}
	h.fail = batos.Errorf(batos.Invalid, "does not fit the model")
	if _, err := m.Activate(t.Context(), name(0)); batos.CodeOf(err) != batos.Invalid || m.Usage().Hot != 0 || m.State(name(0)).Tier != Warm {
		t.Errorf("refused by the engine: %v, %+v", err, m.Usage())
	}
	h.fail, h.overhead = nil, 150
	if _, err := m.Activate(t.Context(), name(0)); batos.CodeOf(err) != batos.Limit || m.Usage().Hot != 0 || h.bytes != 0 {
		t.Errorf("larger in the engine than the tier: %v, %+v, %d", err, m.Usage(), h.bytes)
	}
	none := New(Config{Open: open, Host: func() mind.AdapterHost { return nil }, Budgets: func() (int64, int64) { return 1, 1 }})
	if _, err := none.Activate(t.Context(), name(0)); batos.CodeOf(err) != batos.Offline {
		t.Errorf("without an engine: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.overhead = 0
	a, err := m.Activate(ctx, name(0))
	if err != nil {
		t.Fatal(err)
	}
	_, open2 := shelf(150, 150)
	m2 := tiers(t, h, open2, 300, 200, nil)
	b, err := m2.Activate(ctx, name(0))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := m2.Activate(ctx, name(1)); batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("no room, and no time: %v", err)
	}
	a.Release()
	b.Release()
}

// Many at once, with every policy: no budget is ever exceeded, and an adapter
// is in the engine as long as its lease is held.
func TestManyAtOnce(t *testing.T) {
	for policy, p := range map[string]Policy{"lru": LRU, "cost": CostAware, "odd": func(cs []Candidate) int { return len(cs) + 7 }} {
		t.Run(policy, func(t *testing.T) {
			sizes := make([]int, 40)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range sizes {
				sizes[i] = 50 + r.IntN(200)
			}
			all, open := shelf(sizes...)
			h := &fakeHost{overhead: 30}
			const warm, hot = 2000, 800
			m := tiers(t, h, open, warm, hot, p)
			m.c.Weigh = func(f *os.File) int64 { // a little more than it takes
				st, err := f.Stat()
				if err != nil {
					t.Error(err)
				}
				return st.Size() + 40
			}
			var wg sync.WaitGroup
			var wrong atomic.Int64
			for g := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(g), 3))
					for range 300 {
						hash := name(r.IntN(len(sizes)))
						switch r.IntN(10) {
						case 0:
							if err := m.Stage(t.Context(), hash); err != nil {
								t.Error(err)
							}
						case 1:
							if err := m.Evict(t.Context(), hash, r.IntN(2) == 0); err != nil && batos.CodeOf(err) != batos.Busy {
								t.Error(err)
							}
						default:
							l, err := m.Activate(t.Context(), hash)
							if err != nil {
								t.Error(err)
								return
							}
							if !h.has(hash, all[hash]) {
								wrong.Add(1)
							}
							l.Release()
						}
					}
				})
			}
			wg.Wait()
			u := m.Usage()
			if wrong.Load() > 0 || u.WarmMost > warm || u.HotMost > hot || h.most > hot {
				t.Errorf("%d wrong, %+v, the engine held up to %d", wrong.Load(), u, h.most)
			}
			m.CloseHot(t.Context())
			if u := m.Usage(); u.Hot != 0 {
				t.Errorf("%+v", u)
			}
		})
	}
}

// An engine that was started anew has nothing loaded.
func TestNewEngine(t *testing.T) {
	all, open := shelf(100)
	var host atomic.Pointer[fakeHost]
	host.Store(&fakeHost{})
	m := New(Config{Open: open, Host: func() mind.AdapterHost { return host.Load() }, Budgets: func() (int64, int64) { return 300, 200 }})
	defer m.Close()
	for range 2 {
		l, err := m.Activate(t.Context(), name(0))
		if err != nil || !host.Load().has(name(0), all[name(0)]) {
			t.Fatal(err)
		}
		l.Release()
		host.Store(&fakeHost{})
	}
}

func TestPolicies(t *testing.T) {
	now := time.Now()
	cs := []Candidate{
		{Hash: "often", Bytes: 100, Weight: 50, LastUse: now.Add(-time.Hour), Reload: time.Second},
		{Hash: "rare and large", Bytes: 1000, Weight: 1, LastUse: now, Reload: time.Second},
		{Hash: "rare and small", Bytes: 10, Weight: 1, LastUse: now.Add(-time.Minute), Reload: time.Second},
	}
	if i := LRU(cs); cs[i].Hash != "often" {
		t.Errorf("LRU lets go of %s", cs[i].Hash)
	}
	if i := CostAware(cs); cs[i].Hash != "rare and large" {
		t.Errorf("the cost-aware policy lets go of %s", cs[i].Hash)
	}
}

func TestThrashIsNoticed(t *testing.T) {
	_, open := shelf(100, 100, 100)
	m := tiers(t, &fakeHost{}, open, 300, 200, LRU)
	for i := range 3 * thrashLoads {
		l, err := m.Activate(t.Context(), name(i%3))
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	if !m.Usage().Thrash {
		t.Error("three in turn where two fit, and nobody noticed")
	}
}

// What is warm cannot be changed by anybody.
func TestWarmIsSealed(t *testing.T) {
	_, open := shelf(100)
	m := tiers(t, &fakeHost{}, open, 300, 200, nil)
	if err := m.Stage(t.Context(), name(0)); err != nil {
		t.Fatal(err)
	}
	f := m.known[name(0)].file
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a warm adapter was overwritten")
	}
	if err := f.Truncate(1); err == nil {
		t.Error("a warm adapter was cut")
	}
	broken := New(Config{Open: func(context.Context, string) (Source, error) { return brokenSource{}, nil }, Host: func() mind.AdapterHost { return nil },
		Budgets: func() (int64, int64) { return 300, 200 }})
	if err := broken.Stage(t.Context(), name(0)); !errors.Is(err, errBroken) || broken.Usage().Warm != 0 || !slices.Equal(broken.Candidates(), nil) {
		t.Errorf("damage on the disk: %v, %+v", err, broken.Usage())
	}
}

var errBroken = errors.New("the hash does not fit")

type brokenSource struct{}

func (brokenSource) ReadAt([]byte, int64) (int, error) { return 0, errBroken }
func (brokenSource) Close() error                      { return nil }
func (brokenSource) Size() int64                       { return 100 }
