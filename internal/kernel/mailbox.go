package kernel

import (
	"context"
	"slices"
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

// mailbox is one receiver's line. It exists only while somebody has the turn.
type mailbox struct{ line []waiter }

// waiter is a place in a line: of a message that whoever has the turn before it
// carries out next, or of a goroutine that waits for its turn itself.
type waiter struct {
	f    *flight
	turn chan struct{} // closed when its turn has come; nil for a message
}

func newMailboxes(limit int) *mailboxes {
	return &mailboxes{open: map[batos.OID]*mailbox{}, limit: limit}
}

// join takes the next place in oid's line for f, without waiting: who joins
// first runs first. If first, the line was empty: it is f's turn, and the
// caller must leave after. Else the one before gets f from leave. It fails with
// code busy when too many messages are in line, unless the message is durable:
// what was promised to be carried out is not turned away half done.
func (m *mailboxes) join(oid batos.OID, f *flight, durable bool) (first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(oid, waiter{f: f}, durable)
}

// add puts w in oid's line; m.mu is held.
func (m *mailboxes) add(oid batos.OID, w waiter, durable bool) (first bool, err error) {
	b := m.open[oid]
	if b == nil {
		m.open[oid] = &mailbox{}
		return true, nil
	}
	if m.waiting >= m.limit && !durable {
		return false, batos.Errorf(batos.Busy, "%d messages are waiting already; send again later", m.limit)
	}
	b.line = append(b.line, w)
	m.waiting++
	return false, nil
}

// await joins and waits for the turn; the caller must leave after. It fails
// with the context's error when that ends first, and the place is given up.
func (m *mailboxes) await(ctx context.Context, oid batos.OID, durable bool) error {
	w := waiter{turn: make(chan struct{})}
	m.mu.Lock()
	first, err := m.add(oid, w, durable)
	m.mu.Unlock()
	if first || err != nil {
		return err
	}
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.turn: // the turn came at the same moment, and is the caller's
		return nil
	default:
	}
	b := m.open[oid]
	b.line = slices.DeleteFunc(b.line, func(o waiter) bool { return o.turn == w.turn })
	m.waiting--
	return ctx.Err()
}

// leave ends the caller's turn. If the next in line is a message, it is that
// one's turn now, and the caller must see to it.
func (m *mailboxes) leave(oid batos.OID) (next *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.open[oid]
	if len(b.line) == 0 {
		delete(m.open, oid)
		return nil
	}
	w := b.line[0]
	b.line[0] = waiter{}
	b.line = b.line[1:]
	m.waiting--
	if w.turn != nil {
		close(w.turn)
	}
	return w.f
}

// empty takes all messages out of all lines. Goroutines that wait stay.
func (m *mailboxes) empty() (all []*flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.open {
		rest := b.line[:0]
		for _, w := range b.line {
			if w.f == nil {
				rest = append(rest, w)
				continue
			}
			all = append(all, w.f)
			m.waiting--
		}
		b.line = rest
	}
	return all
}
