package logstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"batos"
	"batos/image/store"
)

// snapshot is the view as of one transaction. It needs no care from the
// store: the log below its end never changes.
type snapshot struct {
	s      *Store
	tid    batos.TID
	closed atomic.Bool
}

var _ store.Snapshot = (*snapshot)(nil)

// Snapshot implements [store.Store].
func (s *Store) Snapshot(ctx context.Context) (store.Snapshot, error) {
	return s.SnapshotAt(ctx, math.MaxUint64)
}

// SnapshotAt implements [store.Store].
func (s *Store) SnapshotAt(ctx context.Context, tid batos.TID) (store.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.closing.Load() {
		return nil, errClosed
	}
	if last := s.idx.now().last; tid >= last {
		return &snapshot{s: s, tid: last}, nil
	}
	at := batos.TID(0)
	err := s.walk(ctx, tid, func(h header, _ []byte) bool {
		if h.tid <= tid {
			at = h.tid
		}
		return h.tid < tid
	})
	if err != nil {
		return nil, err
	}
	return &snapshot{s: s, tid: at}, nil
}

func (p *snapshot) TID() batos.TID { return p.tid }

func (p *snapshot) Load(ctx context.Context, oid batos.OID) (store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return store.Revision{}, err
	}
	if p.closed.Load() {
		return store.Revision{}, batos.Errorf(batos.Invalid, "the snapshot is closed")
	}
	return p.s.load(oid, p.tid)
}

func (p *snapshot) Close() error {
	p.closed.Store(true)
	return nil
}

// load gives the object's newest durable revision not after tid.
func (s *Store) load(oid batos.OID, tid batos.TID) (store.Revision, error) {
	e := s.idx.get(oid)
	if e.tid <= tid && !e.live() {
		return store.Revision{}, errNoObject(oid)
	}
	for pos := e.pos(); pos != 0; {
		r, err := s.recordAt(pos, oid)
		if err != nil {
			return store.Revision{}, err
		}
		if r.TID <= tid {
			if r.Delete {
				break
			}
			return r.Revision, nil
		}
		pos = r.prev
	}
	return store.Revision{}, errNoObject(oid)
}

// readGuess is how much is read to get a record in one call.
const readGuess = 4096

var guesses = sync.Pool{New: func() any { return new([readGuess]byte) }}

// recordAt reads and verifies the record at pos, which has to be of oid.
func (s *Store) recordAt(pos uint64, oid batos.OID) (record, error) {
	seg := s.segs.find(pos)
	if seg == nil {
		return record{}, errClosed
	}
	b, err := readRecord(seg, pos)
	if err == nil {
		var r record
		if r, _, err = parseRecord(b, s.seed); err == nil && r.OID != oid {
			err = errBad
		}
		if err == nil {
			return r, nil
		}
	}
	return record{}, readError(s, pos, err)
}

// readRecord gives the bytes of the record at pos in memory of their own.
func readRecord(seg *segment, pos uint64) ([]byte, error) {
	guess := guesses.Get().(*[readGuess]byte)
	defer guesses.Put(guess)
	off := int64(pos - seg.base)
	n, err := seg.f.ReadAt(guess[:], off)
	if n < recordHeader {
		if err == nil || errors.Is(err, io.EOF) {
			err = errBad
		}
		return nil, err
	}
	length := recordLength(guess[:])
	if length <= uint64(n) {
		return bytes.Clone(guess[:length]), nil
	}
	size, err := seg.f.Size()
	if err != nil {
		return nil, err
	}
	if length > maxTxn || off+int64(length) > size {
		return nil, errBad
	}
	b := make([]byte, length)
	copy(b, guess[:n])
	if _, err := seg.f.ReadAt(b[n:], off+int64(n)); err != nil {
		return nil, err
	}
	return b, nil
}

// History implements [store.Store].
func (s *Store) History(ctx context.Context, oid batos.OID) iter.Seq2[store.Revision, error] {
	return func(yield func(store.Revision, error) bool) {
		for pos := s.idx.get(oid).pos(); pos != 0; {
			var r record
			err := ctx.Err()
			if err == nil {
				r, err = s.recordAt(pos, oid)
			}
			if !yield(r.Revision, err) || err != nil {
				return
			}
			pos = r.prev
		}
	}
}

// Transactions implements [store.Store].
func (s *Store) Transactions(ctx context.Context, from, to batos.TID) iter.Seq2[*store.Transaction, error] {
	return func(yield func(*store.Transaction, error) bool) {
		var bad error
		err := s.walk(ctx, from, func(h header, b []byte) bool {
			if h.tid < from {
				return true
			}
			if h.tid > to {
				return false
			}
			t := &store.Transaction{TID: h.tid, Revisions: make([]store.Revision, 0, h.records)}
			_, t.Meta, bad = parseTransaction(slices.Clone(b), s.seed, h.pos, func(_ uint64, r *record) error {
				t.Revisions = append(t.Revisions, r.Revision)
				return nil
			})
			if bad != nil {
				bad = readError(s, h.pos, bad)
				return false
			}
			return yield(t, nil)
		})
		if err == nil {
			err = bad
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// walk calls fn for the durable transactions in order, from one not after tid
// (or the first) on, until it answers false. b is valid during the call and
// not verified.
func (s *Store) walk(ctx context.Context, tid batos.TID, fn func(h header, b []byte) bool) error {
	end := s.idx.now().end
	from, ok := s.idx.markFor(tid)
	if !ok {
		return nil
	}
	r := reader{}
	for pos := from.pos; pos < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		seg := s.segs.find(pos)
		if pos == seg.base {
			pos += segmentHeader
			continue
		}
		h, b, err := r.transaction(seg, pos)
		if err != nil {
			return readError(s, pos, err)
		}
		if !fn(h, b) {
			return nil
		}
		pos = h.end()
	}
	return nil
}

// window is how much of the log a reader reads at once, after small
// beginnings.
const window = 1 << 20

// reader reads the log forward.
type reader struct {
	buf []byte
	pos uint64 // of buf
	seg *segment
	ask int // how much to read next
}

// bytes gives n bytes at pos, fewer if the file ends. They are valid until
// the next call.
func (r *reader) bytes(seg *segment, pos uint64, n int) ([]byte, error) {
	if r.seg != seg || pos < r.pos || pos+uint64(n) > r.pos+uint64(len(r.buf)) {
		r.ask = min(max(2*r.ask, 32<<10), window)
		size := max(n, r.ask)
		if cap(r.buf) < size {
			r.buf = make([]byte, size)
		}
		got, err := seg.f.ReadAt(r.buf[:size], int64(pos-seg.base))
		if err != nil && !errors.Is(err, io.EOF) {
			r.seg = nil
			return nil, err
		}
		r.buf, r.pos, r.seg = r.buf[:got], pos, seg
	}
	b := r.buf[pos-r.pos:]
	return b[:min(n, len(b))], nil
}

// transaction gives the head and the unverified bytes of the transaction at
// pos, errBad if there is none.
func (r *reader) transaction(seg *segment, pos uint64) (header, []byte, error) {
	b, err := r.bytes(seg, pos, txnHeader)
	if err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b, pos)
	if err != nil {
		return h, nil, err
	}
	if h.length > window { // memory for what the file really holds only
		size, err := seg.f.Size()
		if err != nil {
			return h, nil, err
		}
		if int64(h.end()-seg.base) > size {
			return h, nil, errBad
		}
	}
	b, err = r.bytes(seg, pos, int(h.length))
	if err == nil && len(b) < int(h.length) {
		err = errBad
	}
	return h, b, err
}
