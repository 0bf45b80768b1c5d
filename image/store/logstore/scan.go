package logstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"runtime"

	"batos"
	"batos/image/store"
)

// A start without an index reads the whole log, and one after a crash its end.
// The disk gives it faster than one processor verifies it: so one goroutine
// reads pieces of whole transactions, going by the lengths in their heads, others
// verify them and list what they wrote, and the first puts that into the index,
// in order. Nothing that is not verified gets there.

// pieceBytes is the size of a piece, unless one transaction is larger.
const pieceBytes = 512 << 10

// piece is transactions in a row.
type piece struct {
	pos uint64
	buf []byte // as it was read
	b   []byte // of it, the transactions

	// What verifying found, up to the first that is not right.
	txns      []newTxn
	revisions []newRevision // of all
	records   []int         // how many there are up to the end of each transaction
	blobs     []store.BlobHash
	whole     bool // all are right
	done      chan struct{}
}

// scanned is how far a scan got.
type scanned struct {
	end   uint64 // where no transaction is any more
	batch uint64 // of the last transaction
	n     int    // transactions
}

// scan takes the transactions of a plain segment from pos on into the index, up
// to where none is or one is not right.
func (s *Store) scan(ctx context.Context, seg *segment, pos uint64) (scanned, error) {
	out := scanned{end: pos}
	size, err := seg.f.Size()
	if err != nil {
		return out, err
	}
	workers := min(runtime.GOMAXPROCS(0)-1, 4)
	if size-int64(pos-seg.base) <= pieceBytes {
		workers = 0
	}
	jobs := make(chan *piece, 2*workers+1)
	defer close(jobs)
	for range workers {
		go func() {
			for p := range jobs {
				p.verify(s.seed)
				close(p.done)
			}
		}()
	}
	var waiting, spare []*piece
	for next, more := pos, true; more || len(waiting) > 0; {
		if more && len(waiting) <= 2*workers {
			p := &piece{}
			if n := len(spare); n > 0 {
				p, spare = spare[n-1], spare[:n-1]
			}
			if more, err = p.read(seg, next, size); err != nil {
				return out, err
			}
			if len(p.b) == 0 {
				continue
			}
			next += uint64(len(p.b))
			p.done = make(chan struct{})
			if waiting = append(waiting, p); workers > 0 {
				jobs <- p
			} else {
				p.verify(s.seed)
				close(p.done)
			}
			continue
		}
		p := waiting[0]
		waiting = waiting[1:]
		<-p.done
		if !s.take(p, &out) {
			return out, nil
		}
		if err := ctx.Err(); err != nil {
			return out, err
		}
		spare = append(spare, p)
	}
	return out, nil
}

// read fills p with whole transactions from pos on, going by what their heads
// say; more is false if what follows is none.
func (p *piece) read(seg *segment, pos uint64, size int64) (more bool, err error) {
	off := int64(pos - seg.base)
	want := min(int64(pieceBytes), size-off)
	for range 2 { // again if the first transaction is larger
		if int64(cap(p.buf)) < want {
			p.buf = make([]byte, want)
		}
		n, err := seg.f.ReadAt(p.buf[:max(want, 0)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
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
		if crc32.Update(seed, castagnoli, b[8:]) != le.Uint32(b[4:]) {
			return
		}
		if blobs := len(p.blobs); !p.list(b, &h) {
			p.blobs = p.blobs[:blobs]
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
	at := uint64(txnHeader) + uint64(h.meta)
	for range h.records {
		if uint64(len(b)) < at+recordHeader {
			return false
		}
		r := b[at:]
		n := recordLength(r)
		flags := le.Uint32(r[4:])
		levels := recordLevels(r)
		if n > uint64(len(r)) || levels > maxLevels || flags&flagStub != 0 || batos.TID(le.Uint64(r[16:])) != h.tid || le.Uint64(r[24:]) >= h.pos+at {
			return false
		}
		p.revisions = append(p.revisions, newRevision{batos.OID(le.Uint64(r[8:])), makeEntry(h.pos+at, h.tid, flags&flagDelete != 0)})
		if blobs := int(le.Uint32(r[40:])); blobs > 0 {
			first := recordHeader + anchorSize*int(levels) + 8*int(le.Uint32(r[36:]))
			for i := range blobs {
				p.blobs = append(p.blobs, store.BlobHash(r[first+32*i:]))
			}
		}
		at += n
	}
	return at == uint64(len(b))
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
		for _, r := range p.revisions[from:p.records[i]] {
			x.set(r.oid, r.entry)
		}
		from = p.records[i]
		x.add(t.tid, t.pos, t.end, t.next)
		out.end, out.n = t.end, out.n+1
		out.batch = p.batchOf(t.pos)
	}
	return p.whole
}

// batchOf gives the batch of the transaction at pos.
func (p *piece) batchOf(pos uint64) uint64 { return le.Uint64(p.b[pos-p.pos+24:]) }
