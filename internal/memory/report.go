package memory

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

// State is what is known of an adapter now.
type State struct {
	Hash      string
	Tier      Tier
	WarmBytes int64
	HotBytes  int64
	Hits      int64
	LastUse   time.Time // zero: never
}

// State tells about one adapter; an unknown one is cold.
func (t *Tiers) State(hash string) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.known[hash]
	if e == nil {
		return State{Hash: hash, Tier: Cold}
	}
	s := State{Hash: hash, Tier: Cold, WarmBytes: e.warmed, HotBytes: e.heated, Hits: e.hits, LastUse: e.last}
	switch {
	case e.hot && e.pins > 0:
		s.Tier = Active
	case e.hot:
		s.Tier = Hot
	case e.file != nil:
		s.Tier = Warm
	}
	return s
}

// Usage is how full the tiers are, in bytes.
type Usage struct {
	Warm, WarmBudget, WarmMost int64 // now, allowed, ever
	Hot, HotBudget, HotMost    int64
	// Thrash reports that the adapters in use do not fit: the same ones are
	// loaded again and again. More memory, or fewer personas, helps.
	Thrash bool
}

// Usage tells how full the tiers are.
func (t *Tiers) Usage() Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := Usage{Warm: t.warm, Hot: t.hot, WarmMost: t.most.warm, HotMost: t.most.hot, Thrash: t.thrash()}
	u.WarmBudget, u.HotBudget = t.c.Budgets()
	return u
}

// Candidates lists what could leave the hot tier, for whoever plans ahead.
func (t *Tiers) Candidates() []Candidate {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Candidate
	for _, e := range t.victim(Hot) {
		out = append(out, t.candidate(e, Hot))
	}
	return out
}

// Thrashing is noticed by the newest loads: so many of them, within so long.
const (
	thrashLoads  = 16
	thrashWindow = time.Minute
)

// again notes a load; mu is held.
func (t *Tiers) again(hash string) {
	t.recent = append(t.recent, reload{hash, t.c.Clock()})
	if len(t.recent) > thrashLoads {
		t.recent = slices.Delete(t.recent, 0, len(t.recent)-thrashLoads)
	}
}

// thrash reports whether the newest loads are mostly of adapters that were
// loaded just before; mu is held.
func (t *Tiers) thrash() bool {
	if len(t.recent) < thrashLoads || t.c.Clock().Sub(t.recent[0].at) > thrashWindow {
		return false
	}
	different := map[string]bool{}
	for _, r := range t.recent {
		different[r.hash] = true
	}
	return len(different) <= thrashLoads/2
}

// Close lets go of everything warm. Leases must have been released.
func (t *Tiers) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	for _, e := range t.known {
		if e.file != nil {
			err = errors.Join(err, e.file.Close())
			t.warm -= e.warmed
			e.file, e.warmed = nil, 0
		}
	}
	return err
}

// CloseHot forgets what is in an engine that is being stopped.
func (t *Tiers) CloseHot(context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follow(nil)
	t.tell()
}

func aged(weight float64, age time.Duration) float64 {
	return weight * math.Exp2(-age.Seconds()/HalfLife.Seconds())
}
