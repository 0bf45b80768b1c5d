package logstore

import (
	"context"
	"errors"
	"slices"

	"batos"
	"batos/image/store"
)

// A commit has two halves. Accepting, under mu, validates the transaction
// against everything accepted before it, gives it its TID and place, and
// appends its bytes to the last batch in the queue. Flushing writes one batch
// and syncs once, without mu, so that the next batch fills meanwhile. There is
// no writer goroutine: a committer that finds nobody flushing flushes its own
// batch, and then hands the next batch to one of those who wait for it. A
// single committer therefore pays no switch between goroutines, which on a
// quick disk would cost as much as a tenth of its sync.
//
// Since batches reach the disk in order, a transaction may be validated
// against one that is not durable yet: if that one fails, so do all later
// ones, and the store is poisoned.

// maxBatch is the size in bytes at which a batch takes no more transactions.
const maxBatch = 8 << 20

// batch is transactions that are written and synced together.
type batch struct {
	start        uint64 // position of buf
	buf          []byte
	segBase      uint64
	opensSegment bool // it is the first in its segment

	revisions []newRevision
	txns      []newTxn
	blobs     []store.BlobHash

	// For those who wait, nil until there is one.
	lead chan struct{} // one receiver becomes who flushes the batch
	done chan struct{} // closed once err is final

	err error
}

// await makes the batch ready for somebody to wait for it; mu is held.
func (b *batch) await() {
	if b.done == nil {
		b.lead, b.done = make(chan struct{}, 1), make(chan struct{})
	}
}

// end tells those who wait that err is final; mu is held.
func (b *batch) end(err error) {
	b.err = err
	if b.done != nil {
		close(b.done)
	}
}

type newRevision struct {
	oid   batos.OID
	entry entry
}

type newTxn struct {
	tid      batos.TID
	pos, end uint64
	next     batos.OID
}

// pendingRev is an accepted revision that is not durable yet.
type pendingRev struct {
	entry
	b *batch
}

// Commit implements [store.Store]. Once c is accepted, ctx is not heeded any
// more: the answer says what happened.
func (s *Store) Commit(ctx context.Context, c *store.Changes) (batos.TID, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.o.ReadOnly {
		return 0, errReadOnly
	}
	if err := s.checkWrites(c.Writes); err != nil {
		return 0, err
	}
	tid, b, leads, err := s.accept(c, s.prepare(c.Writes))
	if err != nil {
		return 0, err
	}
	s.land(b, leads)
	return b.result(tid)
}

// land waits until a batch is durable or failed; if the caller leads, or comes
// to, it does the work.
func (s *Store) land(b *batch, leads bool) {
	if !leads {
		select {
		case <-b.done:
			return
		case <-b.lead:
		}
	}
	s.flushNext()
}

// roll ends the last segment, so that pack may have it.
func (s *Store) roll() error {
	s.mu.Lock()
	switch {
	case s.poisoned != nil:
		s.mu.Unlock()
		return s.poisoned
	case s.closed:
		s.mu.Unlock()
		return errClosed
	}
	b := s.openBatch(true)
	leads := s.leads(b)
	s.mu.Unlock()
	s.land(b, leads)
	return b.err
}

func (b *batch) result(tid batos.TID) (batos.TID, error) {
	if b.err != nil {
		return 0, b.err
	}
	return tid, nil
}

// checkWrites refuses what no state of the store could accept.
func (s *Store) checkWrites(writes []store.Write) error {
	var seen map[batos.OID]bool
	if len(writes) > 16 {
		seen = make(map[batos.OID]bool, len(writes))
	}
	for i := range writes {
		w := &writes[i]
		twice := false
		if seen != nil {
			twice, seen[w.OID] = seen[w.OID], true
		} else {
			for j := range i {
				twice = twice || writes[j].OID == w.OID
			}
		}
		switch {
		case w.OID == 0:
			return batos.Errorf(batos.Invalid, "a write names no object")
		case twice:
			return batos.Errorf(batos.Invalid, "object %v is written twice in one transaction", w.OID)
		case w.Delete && len(w.Data)+len(w.Refs)+len(w.Blobs) > 0:
			return batos.Errorf(batos.Invalid, "the deletion of object %v carries data", w.OID)
		}
	}
	return s.checkBlobs(writes)
}

// checkBlobs refuses blobs that nobody has.
func (s *Store) checkBlobs(writes []store.Write) error {
	for i := range writes {
		for _, h := range writes[i].Blobs {
			if !s.blobs.has(h) {
				return batos.Errorf(batos.Invalid, "object %v refers to blob %x, which is neither sealed nor committed", writes[i].OID, h)
			}
		}
	}
	return nil
}

// accept orders c after everything accepted before. leads says that the
// caller has to flush.
func (s *Store) accept(c *store.Changes, ready []prepared) (tid batos.TID, b *batch, leads bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock() // also when Rebase panics
	switch {
	case s.poisoned != nil:
		return 0, nil, false, s.poisoned
	case s.closed:
		return 0, nil, false, errClosed
	}
	writes, err := s.validate(c)
	if err != nil {
		return 0, nil, false, err
	}
	if err := s.checkBlobs(writes); err != nil { // which pack may have removed meanwhile
		return 0, nil, false, err
	}
	lineages := s.lineages(writes, ready)
	size := uint64(txnHeader + len(c.Meta))
	for i := range writes {
		size += recordSize(&writes[i], &lineages[i].lineage)
	}
	if size > maxTxn {
		return 0, nil, false, batos.Errorf(batos.Limit, "a transaction of %d bytes is too large: the limit is %d", size, maxTxn)
	}
	b = s.room(size)
	s.tid = max(s.tid+1, batos.TID(max(s.o.Clock().UnixMicro(), 0)))
	s.append(b, c.Meta, writes, lineages)
	if c.Accepted != nil {
		c.Accepted(s.tid)
	}
	return s.tid, b, s.leads(b), nil
}

// leads reports whether the caller, who has something in b, has to flush it;
// otherwise it can wait for it. mu is held.
func (s *Store) leads(b *batch) bool {
	if !s.flushing {
		s.flushing = true
		return true
	}
	b.await()
	return false
}

// newest gives the newest accepted revision of an object; mu is held.
func (s *Store) newest(oid batos.OID) entry {
	if p, ok := s.pending[oid]; ok {
		return p.entry
	}
	return s.idx.get(oid)
}

// isNewest reports whether the object's newest revision is the one of tid, or
// for 0 whether the object does not exist.
func (s *Store) isNewest(oid batos.OID, tid batos.TID) bool {
	e := s.newest(oid)
	return e.tid == tid || tid == 0 && !e.live()
}

// validate gives the writes to make: those of c, or those it answers when it
// is shown that they are stale.
func (s *Store) validate(c *store.Changes) ([]store.Write, error) {
	writes := c.Writes
	stale := s.stale(writes, c.Reads)
	if stale != nil && c.Rebase == nil {
		return nil, s.conflict(stale)
	}
	if stale != nil || c.Late {
		var err error
		if writes, err = c.Rebase(newest{s}); err != nil {
			return nil, err
		}
		if err := s.checkWrites(writes); err != nil {
			return nil, err
		}
		if stale := s.stale(writes, nil); stale != nil {
			return nil, s.conflict(stale)
		}
	}
	for i := range writes {
		if w := &writes[i]; w.Delete && !s.newest(w.OID).live() {
			return nil, batos.Errorf(batos.Invalid, "object %v cannot be deleted: it does not exist", w.OID)
		}
	}
	return writes, nil
}

// stale gives the first base of writes, or of what was read, that is not the
// newest any more; nil if all are.
func (s *Store) stale(writes []store.Write, reads []store.Read) *store.Read {
	for i := range writes {
		if w := &writes[i]; !s.isNewest(w.OID, w.Base) {
			return &store.Read{OID: w.OID, TID: w.Base}
		}
	}
	for i := range reads {
		if r := &reads[i]; !s.isNewest(r.OID, r.TID) {
			return r
		}
	}
	return nil
}

func (s *Store) conflict(stale *store.Read) error {
	e := s.newest(stale.OID)
	switch {
	case stale.TID == 0:
		return batos.Errorf(batos.Conflict, "object %v exists already: %v made it", stale.OID, e.tid)
	case e.location == 0:
		return batos.Errorf(batos.Conflict, "object %v has no revision %v", stale.OID, stale.TID)
	default:
		return batos.Errorf(batos.Conflict, "object %v was changed by %v after it was read at %v", stale.OID, e.tid, stale.TID)
	}
}

// newest is what Rebase reads, while mu is held.
type newest struct{ s *Store }

func (n newest) TID(oid batos.OID) batos.TID {
	if e := n.s.newest(oid); e.live() {
		return e.tid
	}
	return 0
}

func (n newest) Load(oid batos.OID) (store.Revision, error) {
	p, ok := n.s.pending[oid]
	if !ok {
		return n.s.load(oid, n.s.idx.now().last)
	}
	if p.deleted() {
		return store.Revision{}, errNoObject(oid)
	}
	at := p.b.buf[p.pos()-p.b.start:]
	r, _, err := parseRecord(append([]byte(nil), at[:recordLength(at)]...), n.s.seed)
	return r.Revision, err
}

// room gives the batch that takes the next transaction, of size bytes.
func (s *Store) room(size uint64) *batch {
	full := s.nextPos+size > s.segBase+uint64(s.o.SegmentBytes) && s.nextPos > s.segBase+segmentHeader
	if n := len(s.queue); n > 0 && !full {
		if b := s.queue[n-1]; uint64(len(b.buf))+size <= maxBatch {
			return b
		}
	}
	return s.openBatch(full)
}

// openBatch adds a batch to the queue, with a segment of its own if opens.
func (s *Store) openBatch(opens bool) *batch {
	b := &batch{buf: s.spare.buf[:0], revisions: s.spare.revisions[:0], txns: s.spare.txns[:0]}
	s.spare = batch{}
	if opens {
		b.opensSegment = true
		s.segBase = s.nextPos
		s.nextPos += segmentHeader
	}
	b.segBase, b.start = s.segBase, s.nextPos
	s.queue = append(s.queue, b)
	return b
}

// append adds the transaction s.tid to b.
func (s *Store) append(b *batch, meta []byte, writes []store.Write, lineages []prepared) {
	pos := s.nextPos
	var zero [txnHeader]byte
	at := len(b.buf)
	b.buf = append(b.buf, zero[:]...)
	b.buf = append(b.buf, meta...)
	for i := range writes {
		w := &writes[i]
		e := makeEntry(b.start+uint64(len(b.buf)), s.tid, w.Delete)
		b.buf = appendRecord(b.buf, w, s.tid, lineages[i].pos, &lineages[i].lineage, s.seed)
		b.revisions = append(b.revisions, newRevision{w.OID, e})
		b.blobs = append(b.blobs, w.Blobs...)
		s.pending[w.OID] = pendingRev{e, b}
		if !w.OID.Derived() {
			s.raiseNextOID(w.OID + 1)
		}
	}
	next := batos.OID(s.nextOID.Load())
	h := header{
		length:  uint32(len(b.buf) - at),
		records: uint32(len(writes)),
		pos:     pos,
		batch:   b.start,
		tid:     s.tid,
		next:    next,
		meta:    uint32(len(meta)),
	}
	sealTransaction(b.buf[at:], h, s.seed)
	b.txns = append(b.txns, newTxn{s.tid, pos, h.end(), next})
	s.nextPos = h.end()
}

func (s *Store) raiseNextOID(to batos.OID) {
	for {
		now := s.nextOID.Load()
		if now >= uint64(to) || s.nextOID.CompareAndSwap(now, uint64(to)) {
			return
		}
	}
}

// flushNext writes the first batch in the queue, which is the caller's, tells
// who waits for it, and hands the next one on.
func (s *Store) flushNext() {
	s.mu.Lock()
	b := s.queue[0]
	s.queue = slices.Delete(s.queue, 0, 1)
	s.mu.Unlock()

	err := s.flush(b)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		var full *noRoomError
		if errors.As(err, &full) {
			s.refuse(b, full)
			return
		}
		s.poison(err)
		b.end(s.poisoned)
		return
	}
	s.publish(b)
	b.end(nil)
	if len(s.queue) > 0 {
		s.queue[0].lead <- struct{}{}
		return
	}
	s.flushing = false
	s.idle.Broadcast()
}

// flush makes a batch durable.
func (s *Store) flush(b *batch) error {
	if b.opensSegment {
		full := s.segs.last()
		seg, err := createSegment(s.fsys, s.path(LogDir), s.id, b.segBase)
		if err != nil {
			return err // a noRoomError if nothing was made
		}
		if err := full.f.Truncate(int64(b.segBase - full.base)); err != nil { // what was reserved too much
			return err
		}
		s.segs.add(seg) // from now on pack may replace the full one
		s.mapSegments()
	}
	seg := s.segs.last()
	off := int64(b.start - seg.base)
	if err := seg.reserve(off+int64(len(b.buf)), s.o.SegmentBytes); err != nil {
		if isFull(err) {
			return &noRoomError{err}
		}
		return err
	}
	if _, err := seg.f.WriteAt(b.buf, off); err != nil {
		return err
	}
	return seg.f.Datasync()
}

// publish makes a durable batch visible; mu is held.
func (s *Store) publish(b *batch) {
	s.blobs.commit(b.blobs)
	x := s.idx
	x.mu.Lock()
	for _, r := range b.revisions {
		x.set(r.oid, r.entry)
	}
	for _, t := range b.txns {
		x.add(t.tid, t.pos, t.end, t.next)
	}
	end := x.end
	x.mu.Unlock()
	for _, r := range b.revisions {
		if s.pending[r.oid].tid == r.entry.tid {
			delete(s.pending, r.oid)
		}
	}
	if cap(b.buf) <= maxBatch {
		s.spare = batch{buf: b.buf, revisions: b.revisions, txns: b.txns}
	}
	b.buf, b.revisions, b.txns = nil, nil, nil
	s.wake()
	if !s.indexing && end-s.checkpoint >= s.checkpointAfter() {
		s.indexing = true
		s.checkpoints.Go(s.backgroundCheckpoint)
	}
}

// refuse fails what is accepted and not durable, because there is no room for
// b. Nothing of it was written, so that commits may go on as if it had never
// been asked for; mu is held by whoever was flushing.
func (s *Store) refuse(b *batch, why *noRoomError) {
	err := batos.Errorf(batos.Limit, "the disk is full (%w): nothing was committed; free some space and try again", why.err)
	b.end(err)
	for _, b := range s.queue {
		b.end(err)
	}
	s.nextPos = b.start
	if last := s.segs.last(); last.base != b.segBase { // its segment was not made
		s.nextPos = b.segBase
	}
	s.segBase = s.segs.last().base
	s.queue = nil
	s.flushing = false
	clear(s.pending)
	s.idle.Broadcast()
}

// poison ends all committing; mu is held by whoever was flushing.
func (s *Store) poison(err error) {
	if s.poisoned == nil {
		s.poisoned = poisonError(err)
	}
	for _, b := range s.queue {
		b.end(s.poisoned)
	}
	s.queue = nil
	s.flushing = false
	clear(s.pending)
	s.idle.Broadcast()
}
