package vfs

import (
	"errors"
	"math/rand/v2"
)

// Crash is a filesystem in memory whose power can fail. What was synced
// survives. Of the writes to a file that were not, each may survive wholly,
// partly or not at all, whatever their order; of the names in a folder, those
// up to some change survive. The same seed and calls lose the same bytes.
type Crash struct{ *memory }

var _ FS = (*Crash)(nil)

// errPower is what every call answers once the power has failed.
var errPower = errors.New("power failure")

// power is the state of a Crash beside its tree.
type power struct {
	rng    *rand.Rand
	calls  int
	stopAt int
	off    bool
	life   int
}

// step counts one changing call.
func (p *power) step() (failing bool, err error) {
	if p.off {
		return false, errPower
	}
	p.calls++
	if p.stopAt > 0 && p.calls >= p.stopAt {
		p.off = true
		return true, nil
	}
	return false, nil
}

// NewCrash makes an empty filesystem that loses unsynced bytes as seed says.
func NewCrash(seed uint64) *Crash {
	m := newMemory()
	m.power = &power{rng: rand.New(rand.NewPCG(seed, 0x6261746f73))}
	return &Crash{m}
}

// Calls counts the calls so far that change the disk or sync.
func (c *Crash) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.power.calls
}

// StopAt lets the power fail in the call that makes Calls n: that call may
// take effect or not, and it and all later ones fail. 0 means never.
func (c *Crash) StopAt(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.power.stopAt = n
}

// Stopped reports whether the power has failed.
func (c *Crash) Stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.power.off
}

// Crash turns the power off and on again: open files are dead, locks are
// free, and the disk holds what survived.
func (c *Crash) Crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survive(c.root)
	c.restart()
}

// Kill ends the process alone: open files are dead and locks are free, but
// the machine still has every write in memory, to be lost in a later Crash.
func (c *Crash) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restart()
}

func (c *Crash) restart() {
	c.locks = map[string]*memLocks{}
	c.power.life++
	c.power.stopAt = 0
	c.power.off = false
}

func (c *Crash) survive(n *node) {
	rng := c.power.rng
	if !n.dir {
		fate := rng.IntN(4)
		for _, w := range n.writes {
			switch fate {
			case 0: // all lost
			case 1: // all kept
				w.apply(&n.safeContent)
			default: // each for itself
				w.survive(&n.safeContent, rng)
			}
		}
		n.writes = nil
		n.content = n.safeContent.clone()
		return
	}
	for _, change := range n.names[:rng.IntN(len(n.names)+1)] {
		change.apply(n.safeEntries)
	}
	n.names = nil
	n.entries = map[string]*node{}
	for _, name := range sortedNames(n.safeEntries) {
		child := n.safeEntries[name]
		n.entries[name] = child
		c.survive(child)
	}
}

// nameChange is a change of a folder that a disk makes all or nothing. A nil
// node removes the name.
type nameChange map[string]*node

func (c nameChange) apply(entries map[string]*node) {
	for name, n := range c {
		if n == nil {
			delete(entries, name)
		} else {
			entries[name] = n
		}
	}
}

// fileChange is a write, or with size other than keepSize a truncation or
// (grow) a reservation of space.
type fileChange struct {
	data []byte
	off  int64
	size int64
	grow bool
}

// keepSize marks a fileChange that writes data.
const keepSize = 1<<63 - 1

func (c fileChange) apply(to *content) {
	switch {
	case c.size == keepSize:
		to.writeAt(c.data, c.off)
	case c.grow:
		to.size = max(to.size, c.size)
	default:
		to.truncate(c.size)
	}
}

// sector is what a disk writes all or nothing.
const sector = 512

// survive applies what is left of a change that was under way.
func (c fileChange) survive(to *content, rng *rand.Rand) {
	fate := rng.IntN(4)
	if fate == 0 {
		return
	}
	if fate == 1 || c.size != keepSize {
		c.apply(to)
		return
	}
	if fate == 2 { // torn at some byte
		to.writeAt(c.data[:rng.IntN(len(c.data)+1)], c.off)
		return
	}
	for data, off := c.data, c.off; len(data) > 0; { // some sectors only
		n := min(int64(len(data)), sector-off%sector)
		if rng.IntN(2) == 0 {
			to.writeAt(data[:n], off)
		}
		data, off = data[n:], off+n
	}
}
