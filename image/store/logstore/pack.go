package logstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"batos"
	"batos/image/store"
)

// Pack goes through the segments from the oldest on and rewrites those that
// have something to give back, one at a time, as packed segments under the
// same name. Because positions stay what they were, that is all: the rename is
// the commit point of each segment, nothing else has to agree with it, writers
// never notice, and a pack that was cut short is taken up by the next.
//
// A revision may go if a newer one of its object is not after the chosen
// moment; a deletion also if it is the object's last revision. What is decided
// for an object depends on what was decided for its older revisions:
//
//   - A deletion stays while an older revision stays (because of Keep), or else
//     a log that is read from its beginning would bring the object back.
//   - Where an older revision stays, the last one that goes before a newer one
//     leaves a stub, so that the way back does not end there.
//
// That is why the oldest segment comes first. Before a segment is replaced,
// the index file is at least as new as its end: an older one could name what
// is gone.
type packing struct {
	s      *Store
	o      store.PackOptions
	report store.PackReport

	at   map[batos.OID]uint64    // revision at Before of objects changed since; 0: none
	old  map[batos.OID]oldRev    // objects of which an old revision stays
	live map[store.BlobHash]bool // blobs that what stays refers to
	done uint64                  // the index file reaches at least to here
	bare bool                    // there are no blobs to look for
	told uint64                  // the progress that was told last, as a position
	work time.Time               // when this stretch of work began
	end  uint64                  // of the log then
	past store.Revision          // what Keep is shown
}

// oldRev is the newest old revision of an object that stays, so far.
type oldRev struct {
	pos   uint64
	since batos.TID // of the first revision after it that goes; 0: none yet
}

// Pack implements [store.Packer].
func (s *Store) Pack(ctx context.Context, o store.PackOptions) (store.PackReport, error) {
	if s.o.ReadOnly && !o.DryRun {
		return store.PackReport{}, errReadOnly
	}
	if err := s.beginCare(ctx); err != nil {
		return store.PackReport{}, err
	}
	defer s.endCare()
	p := &packing{s: s, o: o, at: map[batos.OID]uint64{}, old: map[batos.OID]oldRev{}, live: map[store.BlobHash]bool{}}
	p.bare = !s.blobs.collect()
	defer s.blobs.stopCollecting()
	err := p.run(ctx)
	return p.report, fileError("pack the image", err)
}

// beginCare waits until no pack or backup goes on.
func (s *Store) beginCare(ctx context.Context) error {
	select {
	case s.care <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.closing.Load() {
		s.endCare()
		return errClosed
	}
	return nil
}

func (s *Store) endCare() { <-s.care }

// going reports why the work of pack or backup has to end now.
func (s *Store) going(ctx context.Context) error {
	if s.closing.Load() {
		return errClosed
	}
	return ctx.Err()
}

func (p *packing) run(ctx context.Context) error {
	s := p.s
	p.choose()
	for i := 0; i < len(s.segs.all()); i++ {
		seg := s.segs.all()[i]
		if seg == s.segs.last() && !p.o.DryRun {
			probe, err := p.plan(ctx, seg, true)
			if err != nil {
				return err
			}
			if probe != nil && probe.gone > 0 {
				if err := s.roll(); err != nil {
					return err
				}
			}
		}
		plan, err := p.plan(ctx, seg, false)
		if err != nil {
			return err
		}
		if plan == nil {
			break
		}
		smaller := int64(plan.end-seg.base) - plan.size
		if seg.packed != nil {
			smaller = seg.packed.size - plan.size
		}
		if plan.gone > 0 && !p.o.DryRun {
			if smaller, err = p.rewrite(ctx, seg, plan); err != nil {
				return err
			}
		}
		p.settle(plan, smaller)
	}
	if !p.o.DryRun {
		if err := p.forget(ctx); err != nil {
			return err
		}
	}
	return p.blobs()
}

// forget takes objects out of the index of which the log has nothing any more:
// those with derived OIDs that ended, down to the record of their end. Others
// cost the same whether they are there or not.
func (p *packing) forget(ctx context.Context) error {
	x := p.s.idx
	var items []byte
	gone := map[batos.OID]entry{}
	for h, more := uint64(0), true; more; {
		if err := p.pause(ctx); err != nil {
			return err
		}
		items, h = x.appendSparse(items[:0], h)
		more = h != 0
		clear(gone)
		for it := range slices.Chunk(items, sparseItem) {
			oid, e := batos.OID(le.Uint64(it)), entryOf(it)
			if !e.deleted() || e.tid > p.report.Before {
				continue
			}
			if _, err := p.s.recordAt(e.pos(), oid); errors.Is(err, errGone) {
				gone[oid] = e
			} else if err != nil {
				return err
			}
		}
		if len(gone) > 0 {
			x.forget(gone)
		}
	}
	return nil
}

// choose settles the moment that stays whole: at most that of the oldest open
// snapshot. From here on, other moments before it answer code packed.
func (p *packing) choose() {
	s := p.s
	s.snaps.mu.Lock()
	defer s.snaps.mu.Unlock()
	before := min(p.o.Before, s.idx.now().last)
	for tid := range s.snaps.open {
		before = min(before, tid)
	}
	p.report.Before = before
	if !p.o.DryRun {
		s.snaps.raise(before)
	}
}

// copyBuffer is how much is written at once.
const copyBuffer = 1 << 20

// fate is what becomes of a record.
type fate uint8

const (
	stays fate = iota
	goes
	leavesStub
)

// plan is what becomes of a segment.
type plan struct {
	end     uint64       // position after it, when the plan was made
	lastTxn uint64       // position of its last transaction, which stays in any case
	fates   []fate       // of its records in order
	stubs   map[int]stub // of those that leave one, by their number
	gone    int64        // revisions that it has and will not have
	txns    int64        // transactions, likewise
	kept    int64        // revisions, because of Keep
	size    int64        // of the file that is left, about

	// What it found out about objects of which an old revision stays, and which
	// of their records is the newest to leave a stub.
	old   map[batos.OID]oldRev
	heirs map[batos.OID]int
}

// stub is what a record leaves.
type stub struct {
	prev  uint64
	since batos.TID
}

// plan decides about every record of a segment; nil if there is nothing to
// decide. A probe ends at the first that is not to stay.
func (p *packing) plan(ctx context.Context, seg *segment, probe bool) (*plan, error) {
	s := p.s
	out := &plan{end: min(s.segmentEnd(seg), s.idx.now().end), stubs: map[int]stub{}, old: map[batos.OID]oldRev{}, heirs: map[batos.OID]int{}}
	if out.end <= seg.base+segmentHeader {
		return nil, nil
	}
	out.size = segmentHeader + packedTrailer
	lastGoes := false
	p.work = time.Now()
	err := s.walkTo(ctx, seg.base, out.end, func(t *txn) (bool, error) {
		if err := p.pause(ctx); err != nil {
			return false, err
		}
		if t.tid > p.report.Before && out.gone == 0 && p.bare {
			lastGoes = false
			return false, nil // nothing goes from here on
		}
		p.progress(seg, t.pos, 0)
		gone, size := out.gone, int64(0)
		stay := t.records == 0 && t.gone == 0
		err := t.scan(s.seed, func(pos uint64, r rawRecord) error {
			f, err := p.fate(out, t, pos, r)
			if err != nil {
				return err
			}
			out.fates = append(out.fates, f)
			switch f {
			case stays:
				size += itemHeader + int64(len(r))
			case leavesStub:
				size += itemHeader + stubSize
			}
			stay = stay || f != goes
			if f != stays && !r.stub() {
				out.gone++
			}
			return nil
		})
		if err != nil {
			return false, p.damage(t, err)
		}
		if probe && out.gone > 0 {
			return false, nil
		}
		out.lastTxn, lastGoes = t.pos, !stay && (out.gone > gone || t.gone > 0)
		if lastGoes {
			out.txns++
		} else {
			out.size += itemHeader + packedTxn + int64(t.meta) + size
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if lastGoes {
		out.txns--
	}
	out.size += out.size / fenceEvery * fenceSize
	return out, nil
}

// damage gives an error of reading a transaction its place.
func (p *packing) damage(t *txn, err error) error {
	if errors.Is(err, errBad) {
		return readError(p.s, t.pos, err)
	}
	return err
}

// stretch is how long pack works before it lets writers go first for
// as long again.
const stretch = 2 * time.Millisecond

// pause leaves half of the time to the writers, if there are any, and reports
// why the work has to end now. A pack is never urgent.
func (p *packing) pause(ctx context.Context) error {
	if err := p.s.going(ctx); err != nil {
		return err
	}
	worked := time.Since(p.work)
	if worked < stretch {
		return nil
	}
	end := p.s.idx.now().end
	if end != p.end {
		select {
		case <-time.After(min(worked, 5*stretch)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.work, p.end = time.Now(), end
	return nil
}

// progress tells how far the work on a segment came: pass 0 is the plan, pass
// 1 the copy, each half of it.
func (p *packing) progress(seg *segment, pos uint64, pass uint64) {
	if p.o.Progress == nil {
		return
	}
	end := p.s.idx.now().end
	half := (min(p.s.segmentEnd(seg), end) - seg.base) / 2
	at := seg.base + pass*half + (pos-seg.base)/2
	if at < p.told+progressEvery {
		return
	}
	p.told = at
	p.o.Progress(store.PackProgress{Done: int64(at), Total: int64(end), Revisions: p.report.Revisions})
}

// progressEvery is the distance in bytes of log between two calls of Progress.
const progressEvery = 4 << 20

// fate decides about one record and notes in the plan what that means for
// newer ones of the object.
func (p *packing) fate(out *plan, t *txn, pos uint64, r rawRecord) (fate, error) {
	oid, since := r.oid(), r.tid()
	old, hasOld := out.old[oid]
	if !hasOld {
		old, hasOld = p.old[oid]
	}
	stay := func() (fate, error) {
		delete(out.heirs, oid)
		for i := range r.blobs() {
			p.live[r.blob(i)] = true
		}
		return stays, nil
	}
	switch {
	case since > p.report.Before:
		return stay()
	case r.stub():
		since = r.since()
	default:
		at, err := p.visible(oid)
		if err != nil {
			return stays, err
		}
		if at == pos && (!r.deleted() || hasOld) {
			return stay()
		}
		if at != pos && !r.deleted() && p.o.Keep != nil && p.o.Keep(t.rawMeta(), r.revision(&p.past)) {
			out.kept++
			out.old[oid] = oldRev{pos: pos}
			return stay()
		}
	}
	if !hasOld {
		return goes, nil
	}
	if old.since == 0 || since < old.since {
		old.since = since
	}
	out.old[oid] = old
	if i, ok := out.heirs[oid]; ok { // its newer neighbour goes too
		out.fates[i] = goes
	}
	out.heirs[oid] = len(out.fates)
	out.stubs[len(out.fates)] = stub{old.pos, old.since}
	return leavesStub, nil
}

// visible gives the position of the object's revision as of Before, 0 if there
// is none.
func (p *packing) visible(oid batos.OID) (uint64, error) {
	if e := p.s.idx.get(oid); e.tid <= p.report.Before {
		return e.pos(), nil
	}
	if at, ok := p.at[oid]; ok {
		return at, nil
	}
	at, err := p.s.locate(new(record), oid, p.report.Before, nil)
	if err != nil && !errors.Is(err, errGone) {
		return 0, err
	}
	p.at[oid] = at
	return at, nil
}

// settle takes over what a plan that is final found out.
func (p *packing) settle(out *plan, smaller int64) {
	maps.Copy(p.old, out.old)
	p.report.Kept += out.kept
	if out.gone == 0 {
		return
	}
	p.report.Segments++
	p.report.Revisions += out.gone
	p.report.Transactions += out.txns
	p.report.Bytes += smaller
}

// rewrite replaces a segment by what its plan leaves of it.
func (p *packing) rewrite(ctx context.Context, seg *segment, plan *plan) (smaller int64, err error) {
	s := p.s
	if p.done < plan.end {
		end := s.idx.now().end
		if err := s.writeIndex(); err != nil {
			return 0, err
		}
		p.done = end
	}
	before := p.report.Before
	if seg.packed != nil {
		before = max(before, seg.packed.before)
	}
	w, err := newPackedWriter(s.fsys, s.path(LogDir), s.id, seg.base, plan.end, before)
	if err != nil {
		return 0, err
	}
	was := int64(plan.end - seg.base)
	if seg.packed != nil {
		was, w.p.transactions, w.p.revisions = seg.packed.size, seg.packed.transactions, seg.packed.revisions
	}
	w.p.revisions += plan.gone
	plan.txns = 0 // a stub that was taken back may have been all that was left of one
	if err := p.copy(ctx, seg, plan, w); err != nil {
		w.drop()
		return 0, err
	}
	w.p.transactions += plan.txns
	fresh, err := w.finish()
	if err != nil {
		w.drop()
		return 0, err
	}
	if err := s.segs.replace(fresh).f.Close(); err != nil {
		return 0, err
	}
	s.mapSegments()
	return was - fresh.packed.size, nil
}

// copy writes what the plan leaves of a segment.
func (p *packing) copy(ctx context.Context, seg *segment, plan *plan, w *packedWriter) error {
	s := p.s
	n := 0
	var items []byte
	var places []fence // of the items, counted from the first
	return s.walkTo(ctx, seg.base, plan.end, func(t *txn) (bool, error) {
		if err := p.pause(ctx); err != nil {
			return false, err
		}
		p.progress(seg, t.pos, 1)
		fates := plan.fates[n : n+int(t.records)]
		if len(fates) > 0 && t.pos != plan.lastTxn && !slices.ContainsFunc(fates, func(f fate) bool { return f != goes }) {
			n += len(fates)
			plan.txns++
			return true, nil
		}
		items, places = items[:0], places[:0]
		h := t.header
		h.records = 0
		err := t.scan(s.seed, func(pos uint64, r rawRecord) error {
			f := fates[0]
			fates = fates[1:]
			n++
			if f != stays && !r.stub() {
				h.gone++
			}
			if f == goes {
				return nil
			}
			if !r.intact(s.seed) {
				return errBad
			}
			left := []byte(r)
			if f == leavesStub {
				left = appendStub(nil, r, plan.stubs[n-1], s.seed)
			}
			places = append(places, fence{pos, int64(len(items))})
			items = appendItem(items, pos, len(left), false, s.seed)
			items = append(items, left...)
			h.records++
			return nil
		})
		if err != nil {
			return false, p.damage(t, err)
		}
		if h.records == 0 && h.gone > 0 && t.pos != plan.lastTxn {
			plan.txns++
			return true, nil
		}
		return true, w.transaction(&h, t.rawMeta(), items, places)
	})
}

// blobs moves those to the trash that nothing refers to any more.
func (p *packing) blobs() error {
	b := p.s.blobs
	if p.o.DryRun {
		unused, bytes := b.unused(p.live)
		p.report.Blobs, p.report.BlobBytes = len(unused), bytes
		return nil
	}
	gone, bytes, err := b.discard(p.live)
	if err != nil {
		return err
	}
	p.report.Blobs, p.report.BlobBytes = len(gone), bytes
	return nil
}
