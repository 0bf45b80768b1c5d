package kernel

import (
	"context"
	"sync"

	"batos"
)

// mailboxes keeps the messages to one receiver in order: they run one at a
// time, first come first served, while other receivers run beside them.
type mailboxes struct {
	mu      sync.Mutex
	open    map[batos.OID]*mailbox
	waiting int // messages in line, all mailboxes together
	limit   int // of waiting
}

// mailbox is one receiver's line. It exists only while somebody is in it.
type mailbox struct {
	busy bool
	line []chan struct{} // closed when it is that message's turn
}

func newMailboxes(limit int) *mailboxes {
	return &mailboxes{open: map[batos.OID]*mailbox{}, limit: limit}
}

// enter waits for the caller's turn with oid. The caller must leave after.
// It fails with code busy when too many messages are in line, and with the
// context's error when that ends first.
func (m *mailboxes) enter(ctx context.Context, oid batos.OID) error {
	m.mu.Lock()
	b := m.open[oid]
	if b == nil {
		b = &mailbox{}
		m.open[oid] = b
	}
	if !b.busy {
		b.busy = true
		m.mu.Unlock()
		return nil
	}
	if m.waiting >= m.limit {
		m.mu.Unlock()
		return batos.Errorf(batos.Busy, "%d messages are waiting already; send again later", m.limit)
	}
	turn := make(chan struct{})
	b.line = append(b.line, turn)
	m.waiting++
	m.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	for i, t := range b.line {
		if t == turn {
			b.line = append(b.line[:i], b.line[i+1:]...)
			m.waiting--
			m.mu.Unlock()
			return ctx.Err()
		}
	}
	m.mu.Unlock()
	m.leave(oid) // the turn came at the same moment: pass it on
	return ctx.Err()
}

// leave ends the caller's turn and lets the next in line begin.
func (m *mailboxes) leave(oid batos.OID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.open[oid]
	if len(b.line) == 0 {
		delete(m.open, oid)
		return
	}
	next := b.line[0]
	b.line = b.line[1:]
	m.waiting--
	close(next)
}

// depth is the number of messages in line.
func (m *mailboxes) depth() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}
