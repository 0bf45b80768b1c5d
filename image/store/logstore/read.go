package logstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"batos"
	"batos/image/store"
)

// snapshot is the view as of one transaction. While it is open, pack leaves
// what it sees; otherwise it needs no care from the store, because the log
// below its end never changes.
type snapshot struct {
	s      *Store
	tid    batos.TID
	closed atomic.Bool
}

var _ store.Snapshot = (*snapshot)(nil)

var _ store.Lister = (*Store)(nil)

// Objects implements [store.Lister].
func (s *Store) Objects(ctx context.Context) iter.Seq2[batos.OID, error] {
	return func(yield func(batos.OID, error) bool) {
		for oid, e := range s.idx.entries() {
			if err := ctx.Err(); err != nil {
				yield(0, err)
				return
			}
			if e.live() && !yield(oid, nil) {
				return
			}
		}
	}
}

// snapshots counts those that are open, and knows what pack did to the past.
type snapshots struct {
	mu      sync.Mutex
	open    map[batos.TID]int
	horizon atomic.Uint64 // a tid: moments before it may miss what was packed away
}

// add opens a snapshot of tid.
func (o *snapshots) add(s *Store, tid batos.TID) *snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.addLocked(s, tid)
}

func (o *snapshots) addLocked(s *Store, tid batos.TID) *snapshot {
	o.open[tid]++
	return &snapshot{s: s, tid: tid}
}

func (o *snapshots) remove(tid batos.TID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open[tid]--; o.open[tid] == 0 {
		delete(o.open, tid)
	}
}

// raise moves the horizon up.
func (o *snapshots) raise(to batos.TID) {
	for {
		now := o.horizon.Load()
		if now >= uint64(to) || o.horizon.CompareAndSwap(now, uint64(to)) {
			return
		}
	}
}

// past reports whether tid lies where pack was.
func (o *snapshots) past(tid batos.TID) bool { return uint64(tid) < o.horizon.Load() }

// Horizon implements [store.Packer].
func (s *Store) Horizon() batos.TID { return batos.TID(s.snaps.horizon.Load()) }

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
	if s.o.ReadOnly {
		if err := s.follow(); err != nil {
			return nil, err
		}
	}
	// Pack chooses what to remove under the same lock, from the newest commit
	// at most: so it sees this snapshot, or this one is newer.
	s.snaps.mu.Lock()
	last := s.idx.now().last
	if tid >= last {
		defer s.snaps.mu.Unlock()
		return s.snaps.addLocked(s, last), nil
	}
	s.snaps.mu.Unlock()
	if s.snaps.past(tid) {
		return s.snaps.add(s, tid), nil
	}
	p := s.snaps.add(s, tid) // holds the moment while it is looked for
	defer func() { s.snaps.remove(p.tid) }()
	from, ok := s.idx.markFor(tid)
	at := batos.TID(0)
	if ok && from.tid <= tid {
		err := s.walk(ctx, from.pos, func(t *txn) (bool, error) {
			if t.tid <= tid {
				at = t.tid
			}
			return t.tid < tid, nil
		})
		if err != nil {
			return nil, err
		}
	}
	s.snaps.mu.Lock()
	defer s.snaps.mu.Unlock()
	if horizon := batos.TID(s.snaps.horizon.Load()); at < horizon {
		at = min(horizon, tid) // a transaction of which nothing is left was not found, and what it did is to be seen
	}
	return s.snaps.addLocked(s, at), nil
}

func (p *snapshot) TID() batos.TID { return p.tid }

func (p *snapshot) usable(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case p.closed.Load():
		return batos.Errorf(batos.Invalid, "the snapshot is closed")
	case p.s.closing.Load():
		return errClosed
	}
	return nil
}

func (p *snapshot) Load(ctx context.Context, oid batos.OID) (store.Revision, error) {
	if err := p.usable(ctx); err != nil {
		return store.Revision{}, err
	}
	return p.s.load(oid, p.tid)
}

// LoadInto implements [store.Loader].
func (p *snapshot) LoadInto(ctx context.Context, oid batos.OID, buf *[]byte) (store.Revision, error) {
	if err := p.usable(ctx); err != nil {
		return store.Revision{}, err
	}
	var r record
	if err := p.s.loadInto(&r, oid, p.tid, buf); err != nil {
		return store.Revision{}, err
	}
	return r.Revision, nil
}

func (p *snapshot) Close() error {
	if p.closed.CompareAndSwap(false, true) {
		p.s.snaps.remove(p.tid)
	}
	return nil
}

// load gives the object's newest durable revision not after tid.
func (s *Store) load(oid batos.OID, tid batos.TID) (store.Revision, error) {
	var r record
	if err := s.loadInto(&r, oid, tid, nil); err != nil {
		return store.Revision{}, err
	}
	r.parseRest()
	return r.Revision, nil
}

// loadInto is load without references and blobs, in memory of the caller's if
// there is any.
func (s *Store) loadInto(r *record, oid batos.OID, tid batos.TID, buf *[]byte) error {
	_, err := s.locate(r, oid, tid, buf)
	switch {
	case err == nil && !r.Delete:
		return nil
	case err == nil || errors.Is(err, errGone) && !s.snaps.past(tid):
		return errNoObject(oid)
	case errors.Is(err, errGone):
		return s.errPacked(oid, tid)
	default:
		return err
	}
}

// locate finds in r the object's newest durable revision not after tid, and
// where it stands; of the record only what parseHead gives, in buf if that is
// not nil. The error is errGone if there is none any more: in a past that was packed it
// may have been removed, elsewhere it does not exist.
func (s *Store) locate(r *record, oid batos.OID, tid batos.TID, buf *[]byte) (uint64, error) {
	newest := s.idx.place(oid)
	if newest.deleted() {
		if at := s.idx.tid(newest); at <= tid {
			*r = record{Revision: store.Revision{OID: oid, TID: at, Delete: true}}
			return newest.pos(), nil
		}
	}
	for pos := newest.pos(); pos != 0; {
		err := s.headAt(r, pos, oid, buf)
		if err == nil && pos == newest.pos() && uint32(r.TID) != newest.low {
			err = readError(s, pos, errBad) // what the index says has no checksum in memory
		}
		if err != nil {
			return 0, err
		}
		if r.stub {
			if tid >= stubSince(r) {
				return 0, errGone
			}
		} else if r.TID <= tid {
			return pos, nil
		}
		r.lineage = parseLineage(r.raw)
		if pos, err = s.back(r, tid); err != nil {
			return 0, err
		}
	}
	return 0, errGone
}

// back gives the position from which to go on for a revision not after tid
// when r is after it: the farthest that is known not to be too far.
func (s *Store) back(r *record, tid batos.TID) (uint64, error) {
	for _, a := range slices.Backward(r.anchors) {
		if a.pos == 0 || a.tid < tid {
			continue
		}
		if seg := s.segs.find(a.pos); seg == nil || seg.packed == nil {
			return a.pos, nil
		}
		if _, err := s.recordAt(a.pos, r.OID); err == nil {
			return a.pos, nil
		} else if !errors.Is(err, errGone) {
			return 0, err
		}
	}
	return r.prev, nil
}

// stubSince is the tid from which on a stub says that nothing is left.
func stubSince(r *record) batos.TID {
	if len(r.Data) != 8 {
		return 0
	}
	return batos.TID(le.Uint64(r.Data))
}

// recordAt reads and verifies the record at pos, which has to be of oid. The
// answer is errGone, as it is, if pack removed it.
func (s *Store) recordAt(pos uint64, oid batos.OID) (record, error) {
	var r record
	if err := s.headAt(&r, pos, oid, nil); err != nil {
		return record{}, err
	}
	r.parseRest()
	return r, nil
}

// headAt is recordAt for what parseHead gives, in memory of the caller's if buf
// is not nil. After an error r is of no use.
func (s *Store) headAt(r *record, pos uint64, oid batos.OID, buf *[]byte) error {
	for {
		seg := s.segs.find(pos)
		if seg == nil {
			if s.o.Salvage {
				return batos.Errorf(batos.Corrupt, "the beginning of the log is missing")
			}
			return errClosed
		}
		b, err := seg.record(pos, s.seed, buf)
		if errors.Is(err, fs.ErrClosed) && s.segs.find(pos) != seg {
			continue
		}
		if err == nil {
			*r = record{}
			if err = r.parseHead(b, s.seed); err == nil && r.OID != oid {
				err = errBad
			}
			if err == nil {
				return nil
			}
		}
		if errors.Is(err, errGone) {
			return errGone
		}
		return readError(s, pos, err)
	}
}

// History implements [store.Store].
func (s *Store) History(ctx context.Context, oid batos.OID) iter.Seq2[store.Revision, error] {
	return func(yield func(store.Revision, error) bool) {
		r, err := s.older(s.idx.place(oid).pos(), oid)
		for r != nil || err != nil {
			if e := ctx.Err(); e != nil {
				err = e
			}
			if err != nil {
				yield(store.Revision{}, err)
				return
			}
			next, e := s.older(r.prev, oid)
			r.Gap = r.prev != 0 && (next == nil && e == nil || next != nil && next.Gap)
			if next != nil {
				next.Gap = false
			}
			if !yield(r.Revision, nil) {
				return
			}
			r, err = next, e
		}
	}
}

// older gives the revision at pos or, if that is gone, the one before it that
// is not, with Gap set; nil if there is none.
func (s *Store) older(pos uint64, oid batos.OID) (*record, error) {
	gap := false
	for pos != 0 {
		r, err := s.recordAt(pos, oid)
		if errors.Is(err, errGone) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !r.stub {
			r.Gap = gap
			return &r, nil
		}
		gap, pos = true, r.prev
	}
	return nil, nil
}

// Transactions implements [store.Store].
func (s *Store) Transactions(ctx context.Context, from, to batos.TID) iter.Seq2[*store.Transaction, error] {
	return func(yield func(*store.Transaction, error) bool) {
		first, ok := s.idx.markFor(from)
		if !ok {
			return
		}
		err := s.walk(ctx, first.pos, func(t *txn) (bool, error) {
			if t.tid < from {
				return true, nil
			}
			if t.tid > to {
				return false, nil
			}
			out := &store.Transaction{TID: t.tid, Revisions: make([]store.Revision, 0, t.records), Packed: int(t.gone)}
			t.b = slices.Clone(t.b)
			meta, err := t.each(s.seed, func(_ uint64, r *record) error {
				if !r.stub {
					out.Revisions = append(out.Revisions, r.Revision)
				}
				return nil
			})
			if err != nil {
				return false, readError(s, t.pos, err)
			}
			out.Meta = meta
			return yield(out, nil), nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// walk calls fn for the durable transactions in order, from position from on,
// until it answers false or an error. What fn gets is valid during the call
// and not verified.
func (s *Store) walk(ctx context.Context, from uint64, fn func(t *txn) (bool, error)) error {
	return s.walkTo(ctx, from, s.idx.now().end, fn)
}

// walkTo is walk up to a position.
func (s *Store) walkTo(ctx context.Context, from, end uint64, fn func(t *txn) (bool, error)) error {
	r := reader{}
	for pos := from; pos < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		seg := s.segs.find(pos)
		if pos == seg.base {
			pos += segmentHeader
			continue
		}
		t, err := r.next(seg, pos, s.seed)
		switch {
		case errors.Is(err, errEnd):
			pos = seg.packed.end
			continue
		case errors.Is(err, fs.ErrClosed) && s.segs.find(pos) != seg:
			continue
		case err != nil:
			return readError(s, pos, err)
		}
		if t.pos >= end { // what lay between is gone
			return nil
		}
		more, err := fn(&t)
		if !more || err != nil {
			return err
		}
		pos = t.end()
	}
	return nil
}

// txn is a transaction that was read and not verified.
type txn struct {
	header
	seg *segment
	off int64  // in the file
	b   []byte // its bytes there
}

// rawMeta is the transaction's meta, verified only while each runs.
func (t *txn) rawMeta() []byte {
	at := txnHeader
	if t.seg.packed != nil {
		at = itemHeader + packedTxn
	}
	return t.b[at : at+int(t.meta)]
}

// each verifies the transaction and calls fn for its records with their
// positions, stubs too. The revisions' bytes, and the meta it answers, are
// parts of b.
func (t *txn) each(seed uint32, fn func(pos uint64, r *record) error) ([]byte, error) {
	if t.seg.packed == nil {
		_, meta, err := parseTransaction(t.b, seed, t.pos, fn)
		return meta, err
	}
	it, err := parseItem(t.b, seed)
	if err != nil {
		return nil, err
	}
	h, meta, run, err := parsePackedTxn(t.b[itemHeader:], it, seed)
	if err != nil {
		return nil, err
	}
	b, last, n := t.b[itemHeader+it.length:], it.pos, uint32(0)
	if len(b) != run {
		return nil, errBad
	}
	for ; len(b) > 0; n++ {
		it, err := parseItem(b, seed)
		if err != nil {
			return nil, err
		}
		b = b[itemHeader:]
		if it.transaction || it.pos <= last || it.pos >= h.end() || it.length > len(b) {
			return nil, errBad
		}
		r, length, err := parseRecord(b, seed)
		if err != nil {
			return nil, err
		}
		if length != it.length || r.TID != h.tid || r.prev >= it.pos || r.stub && len(r.Data) != 8 {
			return nil, errBad
		}
		if err := fn(it.pos, &r); err != nil {
			return nil, err
		}
		last, b = it.pos, b[length:]
	}
	if n != h.records {
		return nil, errBad
	}
	return meta, nil
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

	// Where to go on in a packed segment: at offset off, if that is of after.
	in    *segment
	after uint64
	off   int64
}

// next gives the transaction at pos; in a packed segment the first that is
// there from pos on, or errEnd. What is at pos and no transaction is errBad.
func (r *reader) next(seg *segment, pos uint64, seed uint32) (txn, error) {
	if seg.packed == nil {
		h, b, err := r.transaction(seg, pos)
		if err != nil {
			return txn{}, err
		}
		return txn{h, seg, int64(pos - seg.base), b}, nil
	}
	p, off := seg.packed, r.off
	if r.in != seg || r.after != pos {
		off = p.fence(pos)
	}
	for off < p.items {
		b, err := r.bytes(seg, seg.base+uint64(off), itemHeader+packedTxn)
		if err != nil {
			return txn{}, err
		}
		it, err := parseItem(b, seed)
		if err != nil {
			return txn{}, err
		}
		length := itemHeader + it.length
		if !it.transaction || it.pos < pos {
			off += int64(length)
			continue
		}
		if off+int64(length) > p.items {
			return txn{}, errBad
		}
		if b, err = r.bytes(seg, seg.base+uint64(off), length); err != nil {
			return txn{}, err
		}
		if len(b) < length {
			return txn{}, errBad
		}
		h, _, run, err := parsePackedTxn(b[itemHeader:], it, seed)
		if err != nil {
			return txn{}, err
		}
		length += run
		if off+int64(length) > p.items || h.end() > p.end {
			return txn{}, errBad
		}
		if b, err = r.bytes(seg, seg.base+uint64(off), length); err != nil {
			return txn{}, err
		}
		if len(b) < length {
			return txn{}, errBad
		}
		r.in, r.after, r.off = seg, h.end(), off+int64(length)
		return txn{h, seg, off, b}, nil
	}
	if off > p.items {
		return txn{}, errBad
	}
	return txn{}, errEnd
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
