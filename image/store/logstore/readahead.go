package logstore

import "sync"

// readAhead reads and verifies chunks of a blob before they are asked for, once
// its reader has shown that it goes on and on. Several are under way, so that
// neither waits for the other whenever the processor is busy elsewhere.
type readAhead struct {
	mu   sync.Mutex
	last int64        // chunk that was asked for last
	run  *chunkReader // nil: nothing is read ahead
}

// chunksAhead is how many chunks wait for the reader at most.
const chunksAhead = 4

// chunkReader is a goroutine that reads one chunk after the other.
type chunkReader struct {
	next int64 // the chunk that out gives next
	out  chan readChunk
	stop chan struct{}
}

type readChunk struct {
	buf *[chunk]byte // of buffers
	n   int64
	err error
}

// through is read for readers that may go on to the next chunk.
func (b *blob) through(p []byte, i int64) error {
	c, ok := b.ahead.take(b, i)
	if !ok {
		return b.read(p, i)
	}
	copy(p, c.buf[:c.n])
	buffers.Put(c.buf)
	return c.err
}

// take gives chunk i if it was or is being read ahead, and begins to read ahead
// for a reader that goes on.
func (a *readAhead) take(b *blob, i int64) (c readChunk, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	onward := i == a.last+1
	a.last = i
	if a.run != nil && a.run.next == i {
		a.run.next++
		c, ok = <-a.run.out
		return c, ok
	}
	a.drop()
	if onward && (i+1)*chunk < b.size {
		a.run = &chunkReader{next: i + 1, out: make(chan readChunk, chunksAhead-1), stop: make(chan struct{})}
		go a.run.read(b, i+1)
	}
	return c, false
}

// read runs to the blob's end, an error or stop.
func (r *chunkReader) read(b *blob, i int64) {
	defer close(r.out)
	for ; i*chunk < b.size; i++ {
		c := readChunk{buf: buffers.Get().(*[chunk]byte), n: b.length(i)}
		c.err = b.read(c.buf[:c.n], i)
		select {
		case r.out <- c:
		case <-r.stop:
			buffers.Put(c.buf)
			return
		}
		if c.err != nil {
			return
		}
	}
}

// drop ends what goes on; mu is held.
func (a *readAhead) drop() {
	if a.run == nil {
		return
	}
	close(a.run.stop)
	for c := range a.run.out {
		buffers.Put(c.buf)
	}
	a.run = nil
}

// end waits until nothing is read ahead any more.
func (a *readAhead) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop()
}
