package image

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// commits counts those that the store has and has not answered. A commit is
// validated against others that are accepted but not durable yet, which no
// snapshot shows: without waiting for them, one that lost would lose again
// and again in the time of one sync.
type commits struct {
	mu       sync.Mutex
	under    int
	answered chan struct{} // closed at the next answer; nil: nobody waits
}

func (c *commits) begin() {
	c.mu.Lock()
	c.under++
	c.mu.Unlock()
}

func (c *commits) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under--
	if c.answered != nil {
		close(c.answered)
		c.answered = nil
	}
}

// settle waits until enough, or no commit is under way, or ctx ends.
func (c *commits) settle(ctx context.Context, enough func() bool) {
	for {
		c.mu.Lock()
		if c.under == 0 || enough() {
			c.mu.Unlock()
			return
		}
		if c.answered == nil {
			c.answered = make(chan struct{})
		}
		answered := c.answered
		c.mu.Unlock()
		select {
		case <-answered:
		case <-ctx.Done():
			return
		}
	}
}

// How long anybody waits out of courtesy: many times what a short transaction
// takes, and an end to the waiting of those that wait for each other.
const (
	patienceWithOne = 100 * time.Millisecond // who has the turn
	patienceInLine  = 2 * time.Second        // for the turn
)

// turns lets transactions that lost too often go first. Whoever has just won
// is quick to begin again, and without this could win for ever against those
// who have yet to hear that they lost.
type turns struct {
	free chan struct{}                 // holds the turn while nobody has it
	over atomic.Pointer[chan struct{}] // closed at the end of the turn; nil: nobody has it
}

func newTurns() turns {
	free := make(chan struct{}, 1)
	free <- struct{}{}
	return turns{free: free}
}

// take waits for the turn, and reports whether it got it. End ends it.
func (t *turns) take(ctx context.Context) (got bool, end func()) {
	if !wait(ctx, t.free, patienceInLine) {
		return false, func() {}
	}
	over := make(chan struct{})
	t.over.Store(&over)
	return true, func() {
		t.over.Store(nil)
		close(over)
		t.free <- struct{}{}
	}
}

// giveWay waits while somebody else has the turn.
func (t *turns) giveWay(ctx context.Context) {
	if over := t.over.Load(); over != nil {
		wait(ctx, *over, patienceWithOne)
	}
}

// wait reports whether something came out of ch before patience ended.
func wait(ctx context.Context, ch <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
