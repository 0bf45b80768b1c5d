package logstore

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"batos"
	"batos/image/store"
	"batos/internal/crc32c"
)

// A start without an index reads the whole log, and one after a crash its end.
// The disk gives it faster than one processor verifies it: so as many
// goroutines as there are processors take turns in reading a piece of whole
// transactions, going by the lengths in their heads. Each verifies its piece
// and lists what it wrote while others read, and puts that into the index when
// the pieces before it are there. Nothing that is not verified gets there. A
// piece stays with one processor, in whose own cache it fits.

// pieceBytes is the size of a piece, unless one transaction is larger.
const pieceBytes = 1 << 20

// scanners is how many goroutines scan at most.
const scanners = 4

// piece is transactions in a row.
type piece struct {
	pos uint64
	buf []byte // as it was read
	b   []byte // of it, the transactions

	// What verifying found, up to the first that is not right.
	txns      []newTxn
	revisions []written // of all
	records   []int     // how many there are up to the end of each transaction
	blobs     []store.BlobHash
	whole     bool // all are right

	before <-chan struct{} // closed when the pieces before this one are in the index
	after  chan struct{}
}

// scanned is how far a scan got.
type scanned struct {
	end   uint64 // where no transaction is any more
	batch uint64 // of the last transaction
	n     int    // transactions
}

// scan is one scan of a segment.
type scan struct {
	s    *Store
	ctx  context.Context
	seg  *segment
	size int64

	mu   sync.Mutex // of whose turn it is to read
	next uint64     // what is read next
	rest []byte     // of it, what the last piece holds already, whose next turn is after this
	more bool
	last chan struct{} // of the last piece
	err  error

	out   scanned // belongs to whose turn it is to put into the index
	ended bool    // the log ends before what is left
}

// scan takes the transactions of a plain segment from pos on into the index, up
// to where none is or one is not right.
func (s *Store) scan(ctx context.Context, seg *segment, pos uint64) (scanned, error) {
	size, err := seg.f.Size()
	if err != nil {
		return scanned{end: pos}, err
	}
	sc := &scan{s: s, ctx: ctx, seg: seg, size: size, next: pos, more: true, last: make(chan struct{}), out: scanned{end: pos}}
	close(sc.last)
	n := min(int64(runtime.GOMAXPROCS(0)), scanners, 1+(size-int64(pos-seg.base))/(2*pieceBytes))
	var wg sync.WaitGroup
	for range n - 1 {
		wg.Go(sc.run)
	}
	sc.run()
	wg.Wait()
	return sc.out, sc.err
}

// run scans piece by piece until there are no more.
func (sc *scan) run() {
	for p := new(piece); sc.read(p); {
		p.verify(sc.s.seed)
		<-p.before
		if !sc.ended {
			sc.ended = !sc.s.take(p, &sc.out)
		}
		if sc.ended {
			sc.stop()
		}
		close(p.after)
	}
}

// read fills p with the next piece; false says that there is none.
func (sc *scan) read(p *piece) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if err := sc.ctx.Err(); err != nil && sc.more {
		sc.more, sc.err = false, err
	}
	if !sc.more {
		return false
	}
	if sc.more, sc.err = p.read(sc.seg, sc.next, sc.size, sc.rest); sc.err != nil {
		sc.more = false
	}
	if sc.err != nil || len(p.b) == 0 {
		return false
	}
	sc.next += uint64(len(p.b))
	sc.rest = p.buf[len(p.b):]
	p.before, p.after = sc.last, make(chan struct{})
	sc.last = p.after
	return true
}

// stop ends the reading.
func (sc *scan) stop() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.more = false
}

// read fills p with whole transactions from pos on, going by what their heads
// say, of which the first bytes are known; more is false if what follows is
// none.
func (p *piece) read(seg *segment, pos uint64, size int64, known []byte) (more bool, err error) {
	off := int64(pos - seg.base)
	want := min(max(int64(pieceBytes), int64(len(known))), size-off)
	for range 2 { // again if the first transaction is larger
		if int64(cap(p.buf)) < want {
			p.buf = make([]byte, want)
		}
		n := copy(p.buf[:max(want, 0)], known)
		read, err := seg.f.ReadAt(p.buf[n:max(want, 0)], off+int64(n))
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		n += read
		p.pos, p.buf, p.b = pos, p.buf[:n], p.buf[:0]
		for at := 0; ; {
			if n-at < txnHeader {
				more = off+want < size
				break
			}
			h, err := parseHeader(p.buf[at:], pos+uint64(at))
			if err != nil {
				return false, nil
			}
			if at+int(h.length) > n {
				if more = off+int64(at)+int64(h.length) <= size; more && at == 0 {
					want = int64(h.length)
				}
				break
			}
			at += int(h.length)
			p.b = p.buf[:at]
		}
		if !more || len(p.b) > 0 {
			return more, nil
		}
		known = p.buf // which may be where it was
	}
	return false, nil
}

// verify checks the transactions and lists what they wrote. That the checksum
// of a transaction is right goes for its records too.
func (p *piece) verify(seed uint32) {
	p.txns, p.revisions, p.records, p.blobs, p.whole = p.txns[:0], p.revisions[:0], p.records[:0], p.blobs[:0], false
	for at := 0; at < len(p.b); {
		pos := p.pos + uint64(at)
		h, err := parseHeader(p.b[at:], pos)
		if err != nil {
			return
		}
		b := p.b[at : at+int(h.length)]
		if crc32c.Update(seed, b[8:]) != le.Uint32(b[4:]) {
			return
		}
		if revisions, blobs := len(p.revisions), len(p.blobs); !p.list(b, &h) {
			p.revisions, p.blobs = p.revisions[:revisions], p.blobs[:blobs]
			return
		}
		p.txns = append(p.txns, newTxn{h.tid, pos, h.end(), h.next})
		p.records = append(p.records, len(p.revisions))

		at += int(h.length)
	}
	p.whole = true
}

// list adds the records of a transaction, and says whether they make sense.
func (p *piece) list(b []byte, h *header) bool {
	if free := cap(p.revisions) - len(p.revisions); free < int(h.records) { // which b has room for, by parseHeader
		p.revisions = slices.Grow(p.revisions, max(int(h.records), pieceBytes/256))
	}
	first := len(p.revisions)
	found := p.revisions[first : first+int(h.records)]
	pos := h.pos + txnHeader + uint64(h.meta)
	b = b[txnHeader+h.meta:]
	for i := range found {
		if len(b) < recordHeader {
			return false
		}
		flags, length := le.Uint32(b[4:]), recordLength(b)
		if length > uint64(len(b)) || recordLevels(b) > maxLevels || flags&flagStub != 0 || batos.TID(le.Uint64(b[16:])) != h.tid || le.Uint64(b[24:]) >= pos {
			return false
		}
		found[i] = written{batos.OID(le.Uint64(b[8:])), locationOf(pos, flags&flagDelete != 0)}
		if r := rawRecord(b); r.blobs() > 0 {
			p.refer(r)
		}
		pos += length
		b = b[length:]
	}
	p.revisions = p.revisions[:first+int(h.records)]
	return len(b) == 0
}

// refer adds the blobs that a record refers to.
func (p *piece) refer(r rawRecord) {
	for i := range r.blobs() {
		p.blobs = append(p.blobs, r.blob(i))
	}
}

// take puts what a piece holds into the index; false says that the log ends in
// it.
func (s *Store) take(p *piece, out *scanned) bool {
	x := s.idx
	x.mu.Lock()
	defer x.mu.Unlock()
	s.blobs.commit(p.blobs)
	from := 0
	for i, t := range p.txns {
		if t.tid <= x.last {
			return false
		}
		x.setAll(p.revisions[from:p.records[i]], t.tid)
		from = p.records[i]
		x.add(t.tid, t.pos, t.end, t.next)
		out.end, out.n = t.end, out.n+1
		out.batch = p.batchOf(t.pos)
	}
	return p.whole
}

// batchOf gives the batch of the transaction at pos.
func (p *piece) batchOf(pos uint64) uint64 { return le.Uint64(p.b[pos-p.pos+24:]) }
