// Package memory moves LoRA adapters through three tiers of memory:
//
//   - cold: a blob of the image, on the disk;
//   - warm: verified bytes in a sealed memory file, outside Go's heap;
//   - hot: loaded in the engine, beside the base model.
//
// A fourth, active, is an adapter in force for a request: it is pinned hot.
//
// [Tiers] keeps the books. An adapter that is hot stays warm, since the engine
// reads from the warm bytes again should its process be started anew; so warm
// is the larger tier. Bytes are reserved before they are taken and counted as
// measured afterwards, so neither budget is ever exceeded, however many
// activate at once. Which adapter goes when room is needed is a [Policy]'s
// choice.
package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/mind"
)

// Tier is where an adapter is.
type Tier string

const (
	Cold   Tier = "cold"
	Warm   Tier = "warm"
	Hot    Tier = "hot"
	Active Tier = "active"
)

// Config is what tiers are made with.
type Config struct {
	// Open opens the bytes of an adapter; every read is verified against its
	// content hash by whoever stores them.
	Open func(ctx context.Context, hash string) (Source, error)
	// Host is the engine, or nil while there is none.
	Host func() mind.AdapterHost
	// Weigh gives the most bytes that the engine may take for an adapter's
	// file, so that they are there before it takes them; nil is the file's
	// size.
	Weigh func(f *os.File) int64
	// Budgets gives the bounds of the warm and the hot tier, in bytes. It is
	// asked before every decision, so a change holds at once.
	Budgets func() (warm, hot int64)
	// Policy chooses what goes; nil is [CostAware].
	Policy Policy
	Clock  func() time.Time // nil: time.Now
}

// Source is an adapter's bytes where they are cold.
type Source interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Candidate is an adapter that could go.
type Candidate struct {
	Hash    string
	Tier    Tier          // which tier it would leave
	Bytes   int64         // that would be free
	Hits    int64         // requests so far
	Weight  float64       // hits, each counting half after [HalfLife]
	LastUse time.Time     // zero: never
	Reload  time.Duration // what bringing it back took the last time; 0: not known
}

// Policy chooses which of at least one candidates goes first, by its place in
// the list.
type Policy func(candidates []Candidate) int

// HalfLife is the age at which a request counts half in [Candidate.Weight].
const HalfLife = 10 * time.Minute

// LRU lets go of what was used least recently.
func LRU(cs []Candidate) int {
	best := 0
	for i := range cs {
		if cs[i].LastUse.Before(cs[best].LastUse) {
			best = i
		}
	}
	return best
}

// CostAware lets go of what costs least to miss for the room it takes: aged
// frequency times the time to bring it back, divided by its bytes. It is the
// GreedyDual-Size-Frequency rule (Cherkasova 1998) with ageing by time.
func CostAware(cs []Candidate) int {
	best, least := 0, 0.0
	for i, c := range cs {
		cost := c.Weight * max(c.Reload.Seconds(), 1e-6) / float64(max(c.Bytes, 1))
		if i == 0 || cost < least {
			best, least = i, cost
		}
	}
	return best
}

// Tiers keeps adapters in their tiers. Safe for concurrent use.
type Tiers struct {
	c Config

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever room or a pin is given back
	known   map[string]*entry
	warm    int64 // bytes reserved or held
	hot     int64
	most    struct{ warm, hot int64 } // ever
	recent  []reload                  // newest last
	host    mind.AdapterHost          // that the hot entries are in
}

// entry is what is known of an adapter. Everything is under the tiers' mu.
type entry struct {
	hash    string
	size    int64    // of its bytes
	file    *os.File // warm, sealed
	warmed  int64    // bytes of the warm ledger
	heated  int64    // bytes of the hot ledger
	hot     bool
	pins    int
	busy    bool // somebody moves it
	hits    int64
	weight  float64
	last    time.Time
	staging time.Duration // cold to warm, the last time
	loading time.Duration // warm to hot, the last time
}

type reload struct {
	hash string
	at   time.Time
}

// New makes empty tiers.
func New(c Config) *Tiers {
	if c.Policy == nil {
		c.Policy = CostAware
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Weigh == nil {
		c.Weigh = func(f *os.File) int64 {
			st, err := f.Stat()
			if err != nil {
				return 0 // loading it will tell
			}
			return st.Size()
		}
	}
	return &Tiers{c: c, known: map[string]*entry{}, changed: make(chan struct{})}
}

// SetPolicy puts another policy in force.
func (t *Tiers) SetPolicy(p Policy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.Policy = p
}

// Lease keeps an adapter hot while a request uses it.
type Lease struct {
	t    *Tiers
	e    *entry
	once sync.Once
}

// Release lets the adapter go when room is needed. Calling it again does
// nothing.
func (l *Lease) Release() {
	l.once.Do(func() {
		l.t.mu.Lock()
		defer l.t.mu.Unlock()
		l.e.pins--
		l.t.tell()
	})
}

// tell wakes who waits for room; mu is held.
func (t *Tiers) tell() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Activate brings an adapter into the engine, through the warm tier, and pins
// it there until the lease is released. If all that is hot is pinned it waits
// for room until ctx ends. The error is limit if the adapter is larger than a
// budget, offline without an engine that holds adapters.
func (t *Tiers) Activate(ctx context.Context, hash string) (*Lease, error) {
	host := t.c.Host()
	if host == nil {
		return nil, batos.Errorf(batos.Offline, "the engine in use holds no adapters")
	}
	e, err := t.take(ctx, hash)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.follow(host)
	t.hit(e)
	warm, hot := e.file != nil, e.hot
	t.mu.Unlock()
	if !hot && !warm {
		err = t.stage(ctx, e)
	}
	if err == nil && !hot {
		err = t.load(ctx, host, e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e.busy = false
	t.tell()
	if err != nil {
		return nil, err
	}
	e.pins++
	return &Lease{t: t, e: e}, nil
}

// Stage brings an adapter into the warm tier, if it is not there: ahead of a
// use that is to come. Nothing hot or warm that is in use goes for it.
func (t *Tiers) Stage(ctx context.Context, hash string) error {
	e, err := t.take(ctx, hash)
	if err != nil {
		return err
	}
	t.mu.Lock()
	warm := e.file != nil
	t.mu.Unlock()
	if !warm {
		err = t.stage(ctx, e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e.busy = false
	t.tell()
	return err
}

// Evict takes an adapter out of the engine and, with cold, out of the warm
// tier. One that is in use is an error of code busy; one that is not there is
// none.
func (t *Tiers) Evict(ctx context.Context, hash string, cold bool) error {
	e, err := t.take(ctx, hash)
	if err != nil {
		return err
	}
	defer func() {
		t.mu.Lock()
		e.busy = false
		t.tell()
		t.mu.Unlock()
	}()
	t.mu.Lock()
	pinned, hot := e.pins > 0, e.hot
	t.mu.Unlock()
	if pinned {
		return batos.Errorf(batos.Busy, "adapter %.12s is in use", hash)
	}
	if hot {
		if err := t.cool(ctx, e); err != nil {
			return err
		}
	}
	if cold {
		t.mu.Lock()
		t.chill(e)
		t.mu.Unlock()
	}
	return nil
}

// take waits until nobody else moves the adapter, and claims it.
func (t *Tiers) take(ctx context.Context, hash string) (*entry, error) {
	for {
		t.mu.Lock()
		e := t.known[hash]
		if e == nil {
			e = &entry{hash: hash}
			t.known[hash] = e
		}
		if !e.busy {
			e.busy = true
			t.mu.Unlock()
			return e, nil
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, waited(ctx, hash)
		}
	}
}

func waited(ctx context.Context, hash string) error {
	code := batos.Timeout
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = batos.Cancelled
	}
	return batos.Errorf(code, "adapter %.12s: there was no room in time: %w", hash, ctx.Err())
}

// follow forgets what was hot in an engine that is gone; mu is held.
func (t *Tiers) follow(host mind.AdapterHost) {
	if t.host == host {
		return
	}
	t.host, t.hot = host, 0
	for _, e := range t.known {
		e.hot, e.heated = false, 0
	}
}

// hit counts a request; mu is held.
func (t *Tiers) hit(e *entry) {
	now := t.c.Clock()
	e.weight = aged(e.weight, now.Sub(e.last)) + 1
	e.hits++
	e.last = now
}

// reserve makes room of n bytes in a tier and books it to e. If nothing can go
// it waits, or fails at once with code limit if it must not: who holds room
// already and waits for more could wait for another who does the same.
func (t *Tiers) reserve(ctx context.Context, e *entry, tier Tier, n int64, wait bool) error {
	for {
		t.mu.Lock()
		warm, hot := t.c.Budgets()
		budget, held, mine := warm, &t.warm, &e.warmed
		if tier == Hot {
			budget, held, mine = hot, &t.hot, &e.heated
		}
		if n > budget {
			t.mu.Unlock()
			return batos.Errorf(batos.Limit, "adapter %.12s has %s, the whole %s tier %s; raise its budget", e.hash, mib(n), tier, mib(budget))
		}
		if *held+n <= budget {
			*held += n
			*mine += n
			t.most.warm, t.most.hot = max(t.most.warm, t.warm), max(t.most.hot, t.hot)
			t.mu.Unlock()
			return nil
		}
		victim := t.victim(tier)
		changed := t.changed
		policy := t.c.Policy
		t.mu.Unlock()
		if victim == nil && !wait {
			return batos.Errorf(batos.Limit, "adapter %.12s needs %s more in the %s tier than its file, and nothing there can go", e.hash, mib(n), tier)
		}
		if victim == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return waited(ctx, e.hash)
			}
		}
		if err := t.release(ctx, tier, victim, policy); err != nil {
			return err
		}
	}
}

// victim lists what could leave a tier, or nil; mu is held. What is hot leaves
// the warm tier only after it has left the hot one.
func (t *Tiers) victim(tier Tier) []*entry {
	var out []*entry
	for _, e := range t.known {
		if e.busy || e.pins > 0 {
			continue
		}
		if tier == Hot && e.hot || tier == Warm && e.file != nil && !e.hot {
			out = append(out, e)
		}
	}
	if tier == Warm && len(out) == 0 { // the warm tier is full of what is hot: some of it must go all the way
		for _, e := range t.known {
			if !e.busy && e.pins == 0 && e.file != nil {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { // a policy sees the same order for the same state
		if c := a.last.Compare(b.last); c != 0 {
			return c
		}
		if a.hash < b.hash {
			return -1
		}
		return 1
	})
	return out
}

// release lets one of the candidates go, by the policy, which runs without the
// lock since it may be the image's own method.
func (t *Tiers) release(ctx context.Context, tier Tier, among []*entry, policy Policy) error {
	t.mu.Lock()
	cs := make([]Candidate, len(among))
	for i, e := range among {
		cs[i] = t.candidate(e, tier)
	}
	t.mu.Unlock()
	i := policy(cs)
	if i < 0 || i >= len(cs) {
		i = LRU(cs)
	}
	e := among[i]
	t.mu.Lock()
	if e.busy || e.pins > 0 || e.file == nil { // it moved while the policy thought
		t.mu.Unlock()
		return nil
	}
	e.busy = true
	hot := e.hot
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		e.busy = false
		t.tell()
		t.mu.Unlock()
	}()
	if hot {
		if err := t.cool(ctx, e); err != nil {
			return err
		}
	}
	if tier == Warm {
		t.mu.Lock()
		t.chill(e)
		t.mu.Unlock()
	}
	return nil
}

// candidate is how a policy sees an entry; mu is held.
func (t *Tiers) candidate(e *entry, tier Tier) Candidate {
	c := Candidate{Hash: e.hash, Tier: tier, Bytes: e.warmed, Hits: e.hits, Weight: aged(e.weight, t.c.Clock().Sub(e.last)), LastUse: e.last, Reload: e.staging}
	if tier == Hot {
		c.Bytes, c.Reload = e.heated, e.loading
	}
	return c
}

// cool takes an entry that this caller holds out of the engine.
func (t *Tiers) cool(ctx context.Context, e *entry) error {
	t.mu.Lock()
	host := t.host
	t.mu.Unlock()
	if host != nil {
		if err := host.UnloadAdapter(ctx, e.hash); err != nil {
			return fmt.Errorf("adapter %.12s cannot be taken out of the engine: %w", e.hash, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.hot {
		t.hot -= e.heated
		e.hot, e.heated = false, 0
	}
	return nil
}

// chill drops an entry's warm bytes; mu is held.
func (t *Tiers) chill(e *entry) {
	if e.file == nil {
		return
	}
	_ = e.file.Close() // memory, not data: nothing can be lost
	t.warm -= e.warmed
	e.file, e.warmed = nil, 0
}

// load brings a warm entry that this caller holds into the engine.
func (t *Tiers) load(ctx context.Context, host mind.AdapterHost, e *entry) error {
	_, budget := t.c.Budgets() // one that fits by what is measured may not by what is feared
	if err := t.reserve(ctx, e, Hot, max(min(t.c.Weigh(e.file), budget), e.size), true); err != nil {
		return err
	}
	began := t.c.Clock()
	h, err := host.LoadAdapter(ctx, e.hash, e.file)
	took := t.c.Clock().Sub(began)
	t.mu.Lock()
	if err != nil {
		t.hot -= e.heated
		e.heated = 0
		t.tell()
		t.mu.Unlock()
		return err
	}
	e.hot, e.loading = true, took
	t.again(e.hash)
	more := h.Bytes - e.heated
	if more <= 0 {
		t.hot += more
		e.heated += more
		more = 0
		t.tell()
	}
	t.mu.Unlock()
	if more > 0 {
		if err := t.reserve(ctx, e, Hot, more, false); err != nil {
			return errors.Join(err, t.cool(context.WithoutCancel(ctx), e))
		}
	}
	return nil
}

// stage copies an entry that this caller holds into a sealed memory file. The
// source verifies what it gives.
func (t *Tiers) stage(ctx context.Context, e *entry) error {
	began := t.c.Clock()
	src, err := t.c.Open(ctx, e.hash)
	if err != nil {
		return err
	}
	defer src.Close()
	size := src.Size()
	if err := t.reserve(ctx, e, Warm, size, true); err != nil {
		return err
	}
	f, err := seal(ctx, src, e.hash)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.warm -= e.warmed
		e.warmed = 0
		t.tell()
		if ctx.Err() != nil {
			return waited(ctx, e.hash)
		}
		return err
	}
	e.file, e.size, e.staging = f, size, t.c.Clock().Sub(began)
	return nil
}

// Scratch makes an empty file in memory, outside Go's heap, which is gone when
// it is closed.
func Scratch(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, batos.Errorf(batos.Limit, "no memory file can be made: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
