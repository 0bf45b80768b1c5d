package logstore

import (
	"sync"

	"batos"
	"batos/image/store"
)

// A revision is found from a newer one in few steps, because every record
// points to some far behind it: with the anchors of format.go, at most seven
// steps for each factor of eight between the newest and the wanted revision.
// Pointers cost no memory, unlike a table of all revisions; and the record
// before, from which a new record's are derived, is one that its writer has
// usually just read.

// parseLineage reads the lineage of the record that b begins with, unverified.
func parseLineage(b []byte) lineage {
	l := lineage{number: le.Uint32(b[44:])}
	if n := int(recordLevels(b)); n > 0 {
		l.anchors = make([]anchor, n)
		for i, at := 0, b[recordHeader:]; i < n; i, at = i+1, at[anchorSize:] {
			l.anchors[i] = anchor{batos.TID(le.Uint64(at)), le.Uint64(at[8:])}
		}
	}
	return l
}

// next gives the lineage of the revision that follows the one of l, which is
// of tid and stands at pos. A level that begins with it has no anchor yet: it
// leads to revision 0.
func (l *lineage) next(tid batos.TID, pos uint64) lineage {
	out := lineage{number: l.number + 1}
	n := levels(out.number)
	if n == 0 {
		return out
	}
	out.anchors = make([]anchor, n)
	for i := range out.anchors {
		switch step := uint32(1) << (anchorBits * (i + 1)); {
		case l.number%step == 0:
			out.anchors[i] = anchor{tid, pos}
		case i < len(l.anchors):
			out.anchors[i] = l.anchors[i]
		}
	}
	return out
}

// prepared is the lineage of a revision that is going to follow the one at
// pos.
type prepared struct {
	pos uint64
	lineage
}

// prepare works out the lineages of writes from the newest durable revisions,
// without holding up commits.
func (s *Store) prepare(writes []store.Write) []prepared {
	out := make([]prepared, len(writes))
	for i := range writes {
		if writes[i].Base == 0 {
			continue // as a rule it has no revision
		}
		if pos := s.idx.place(writes[i].OID).pos(); pos != 0 {
			out[i] = prepared{pos, s.lineageAfter(pos, writes[i].OID)}
		}
	}
	return out
}

// lineages gives the lineages of writes that come next; mu is held. Those
// prepared are used where they still apply.
func (s *Store) lineages(writes []store.Write, ready []prepared) []prepared {
	if len(ready) != len(writes) {
		ready = make([]prepared, len(writes))
	}
	for i := range writes {
		oid := writes[i].OID
		if p, ok := s.pending[oid]; ok {
			b := p.b.buf[p.pos()-p.b.start:]
			l := parseLineage(b)
			ready[i] = prepared{p.pos(), l.next(p.tid, p.pos())}
		} else if pos := s.idx.place(oid).pos(); pos != ready[i].pos {
			ready[i] = prepared{pos, s.lineageAfter(pos, oid)}
		}
	}
	return ready
}

var lineageBuffers = sync.Pool{New: func() any { return new([]byte) }}

// lineageAfter gives the lineage of the revision that follows the durable one
// at pos. If that cannot be read, it begins anew: old revisions are found all
// the same, more slowly.
func (s *Store) lineageAfter(pos uint64, oid batos.OID) lineage {
	buf := lineageBuffers.Get().(*[]byte)
	defer lineageBuffers.Put(buf)
	var r record
	if err := s.headAt(&r, pos, oid, buf); err != nil || r.stub {
		return lineage{}
	}
	r.lineage = parseLineage(r.raw)
	l := r.next(r.TID, pos)
	if n := len(l.anchors); n > 0 && l.anchors[n-1].pos == 0 {
		l.anchors[n-1] = s.origin(&r)
	}
	return l
}

// origin finds revision 0 of r's object; the zero anchor if it is gone.
func (s *Store) origin(r *record) anchor {
	at := *r
	for at.number > 0 {
		pos := at.prev
		for _, a := range at.anchors {
			if a.pos != 0 {
				pos = a.pos
			}
		}
		if pos == 0 {
			return anchor{}
		}
		before, err := s.recordAt(pos, r.OID)
		if err != nil || before.stub || before.number >= at.number {
			return anchor{}
		}
		if before.number == 0 {
			return anchor{before.TID, pos}
		}
		at = before
	}
	return anchor{}
}
