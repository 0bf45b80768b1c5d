package logstore

import (
	"context"

	"batos"
	"batos/image/store"
)

// packedSalvage takes in what is whole of a packed segment.
type packedSalvage struct {
	s    *Store
	seg  *segment
	from uint64 // what is before is known
	r    reader

	txn    header  // the one under way; of one whose head is damaged only position and TID
	whole  bool    // something of it was taken
	fences []fence // so that what stands after damage is found again
	last   batos.TID
}

// salvagePacked takes in what is whole of a packed segment from pos on; what is
// before pos is known.
func (s *Store) salvagePacked(ctx context.Context, seg *segment, pos uint64) error {
	p := &packedSalvage{s: s, seg: seg, from: pos}
	untold := seg.packed.before == 0 // without a trailer
	if err := p.run(ctx); err != nil {
		return err
	}
	seg.packed.fences = p.fences
	if untold {
		seg.packed.before, seg.packed.last = p.last, p.last
		s.snaps.raise(p.last)
	}
	return nil
}

func (p *packedSalvage) run(ctx context.Context) error {
	end := p.seg.packed.items
	resumed := true
	for off := int64(segmentHeader); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		it, found, err := p.item(off)
		if err != nil {
			return err
		}
		if !found {
			next, err := p.search(ctx, off+1)
			if err != nil {
				return err
			}
			if next < end || p.seg.packed.before != 0 { // else those are the fences of the trailer that is gone
				p.lost(off, "%d bytes are lost, and objects that were changed there are as they were before", next-off)
			}
			off, resumed = next, true
			continue
		}
		if n := len(p.fences); resumed || off >= p.fences[n-1].off+fenceEvery {
			p.fences, resumed = append(p.fences, fence{it.pos, off}), false
		}
		b, err := p.r.bytes(p.seg, p.seg.base+uint64(off+itemHeader), it.length)
		if err != nil {
			return err
		}
		if it.transaction {
			p.transaction(off, it, b)
		} else {
			p.record(off, it, b)
		}
		off += itemHeader + int64(it.length)
	}
	p.end()
	return nil
}

// item gives the head of an item at off, if one is there.
func (p *packedSalvage) item(off int64) (item, bool, error) {
	b, err := p.r.bytes(p.seg, p.seg.base+uint64(off), itemHeader)
	if err != nil {
		return item{}, false, err
	}
	it, err := parseItem(b, p.s.seed)
	fits := err == nil && it.pos > p.seg.base && it.pos < p.seg.packed.end && off+itemHeader+int64(it.length) <= p.seg.packed.items
	return it, fits, nil
}

// search gives the offset of the next item from off on, or the end of them.
func (p *packedSalvage) search(ctx context.Context, off int64) (int64, error) {
	for ; off < p.seg.packed.items; off++ {
		if off%window == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if _, found, err := p.item(off); found || err != nil {
			return off, err
		}
	}
	return p.seg.packed.items, nil
}

// lost notes a loss, unless all of the segment is known: then it is told of
// where what is lost is read.
func (p *packedSalvage) lost(off int64, format string, args ...any) {
	if p.from >= p.seg.packed.end {
		return
	}
	args = append([]any{p.seg.name, off}, args...)
	p.s.lost(store.Problem{File: p.seg.name, Offset: off, TID: p.txn.tid, Since: p.txn.tid}, "%s is damaged at byte %d: "+format, args...)
}

// end ends the transaction under way.
func (p *packedSalvage) end() {
	if p.whole && p.txn.tid > p.s.idx.last {
		p.s.idx.add(p.txn.tid, p.txn.pos, p.txn.end(), p.txn.next)
		p.s.recovery.Replayed++
	}
	p.last = max(p.last, p.txn.tid)
	p.txn, p.whole = header{}, false
}

func (p *packedSalvage) transaction(off int64, it item, b []byte) {
	p.end()
	h, _, _, err := parsePackedTxn(b, it, p.s.seed)
	if err != nil || h.end() > p.seg.packed.end {
		p.lost(off, "it is not known who made a transaction, and when")
		return
	}
	p.txn, p.whole = h, it.pos >= p.from
}

func (p *packedSalvage) record(off int64, it item, b []byte) {
	r, _, err := parseRecord(b, p.s.seed)
	if err == nil && r.TID != p.txn.tid { // the head of its transaction is damaged
		p.end()
		p.txn = header{pos: it.pos, tid: r.TID}
	}
	if p.txn.length == 0 {
		p.txn.length = uint32(it.pos-p.txn.pos) + uint32(it.length)
	}
	if it.pos < p.from {
		return
	}
	x, raw := p.s.idx, rawRecord(b)
	switch oid := raw.oid(); {
	case err == nil && r.stub:
	case err == nil:
		p.whole = true
		x.set(r.OID, makeEntry(it.pos, r.TID, r.Delete))
		p.s.blobs.commit(r.Blobs)
	default:
		p.lost(off, "a revision of %v is lost", p.txn.tid)
		if prev := le.Uint64(raw[24:]); oid != 0 && raw.tid() == p.txn.tid && prev >= x.lookup(oid).pos() && prev < it.pos {
			x.set(oid, makeEntry(it.pos, raw.tid(), false)) // so that the object is lost rather than old
		}
	}
}
