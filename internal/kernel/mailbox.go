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

// place is a message's place in its receiver's line.
type place struct {
	receiver batos.OID
	turn     chan struct{} // closed when its turn has come; nil if it came at once
}

// join takes the next place in oid's line, without waiting: who joins first
// runs first. The caller must await its turn. It fails with code busy when too
// many messages are in line, unless the message is durable: what was promised
// to be carried out is not turned away half done.
func (m *mailboxes) join(oid batos.OID, durable bool) (place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.open[oid]
	if b == nil {
		b = &mailbox{}
		m.open[oid] = b
	}
	if !b.busy {
		b.busy = true
		return place{receiver: oid}, nil
	}
	if m.waiting >= m.limit && !durable {
		return place{}, batos.Errorf(batos.Busy, "%d messages are waiting already; send again later", m.limit)
	}
	p := place{receiver: oid, turn: make(chan struct{})}
	b.line = append(b.line, p.turn)
	m.waiting++
	return p, nil
}

// await waits for the turn of p; the caller must leave after. It fails with
// the context's error when that ends first, and the place is given up.
func (m *mailboxes) await(ctx context.Context, p place) error {
	if p.turn == nil {
		return nil
	}
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	b := m.open[p.receiver]
	for i, t := range b.line {
		if t == p.turn {
			b.line = append(b.line[:i], b.line[i+1:]...)
			m.waiting--
			m.mu.Unlock()
			return ctx.Err()
		}
	}
	m.mu.Unlock()
	m.leave(p.receiver) // the turn came at the same moment: pass it on
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
