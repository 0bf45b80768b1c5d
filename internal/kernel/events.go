package kernel

import (
	"sync"
	"time"

	"batos"
	"batos/object"
)

// Event is one thing that happened, told after it was committed. Events are
// for people who watch; nothing depends on them, and a slow watcher misses
// some (see [Feed.Subscribe]).
type Event struct {
	Seq     uint64 // grows by one with each event of this process
	Time    time.Time
	Kind    string // "state", "plan", "attempt", "verdict", "installed", "mission", "message", "engine"
	Mission batos.OID
	Message batos.MessageID
	Data    *object.Dict // what the kind says more; may be nil
}

// ends reports whether an event of kind state says that a mission is over.
func (e Event) ends() bool {
	switch fieldsOf(e.Data).str("state") {
	case "COMPLETE", "FAILED", "CANCELLED":
		return true
	}
	return false
}

// keptEvents is how many past events a new subscriber can still get.
const keptEvents = 1024

// Feed hands events to whoever subscribed. The zero value is ready. Safe for
// concurrent use.
type Feed struct {
	mu   sync.Mutex
	seq  uint64
	past []Event // newest last, at most keptEvents
	subs map[chan Event]struct{}
}

func (f *Feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	e.Seq, e.Time = f.seq, time.Now()
	if len(f.past) == keptEvents {
		f.past = append(f.past[:0], f.past[1:]...)
	}
	f.past = append(f.past, e)
	for c := range f.subs {
		select {
		case c <- e:
		default: // a watcher that does not keep up loses events, not the kernel time
		}
	}
}

// Subscribe gives the kept events after seq, and all that follow, on a
// channel that buffers 256; a subscriber that falls further behind misses
// events and can see it by a gap in Seq. A number that was not reached yet is
// of a process before this one, and all kept events come after it. Call the
// returned function to end.
func (f *Feed) Subscribe(after uint64) (<-chan Event, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after > f.seq {
		after = 0
	}
	var missed []Event
	for _, e := range f.past {
		if e.Seq > after {
			missed = append(missed, e)
		}
	}
	c := make(chan Event, len(missed)+256)
	for _, e := range missed {
		c <- e
	}
	if f.subs == nil {
		f.subs = map[chan Event]struct{}{}
	}
	f.subs[c] = struct{}{}
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, c)
	}
}

// Last is the sequence number of the newest event.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq
}
