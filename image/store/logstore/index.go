package logstore

import (
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	"batos"
)

const (
	pageBits = 12
	pageLen  = 1 << pageBits

	// denseOIDs bounds the OIDs that are kept in pages; those above, derived
	// ones and stray ones, are few and live in a map.
	denseOIDs = 1 << 32

	// markEvery is the distance in bytes of the marks by which a transaction
	// is found from its TID.
	markEvery = 256 << 10
)

// entry says where an object's newest revision is; its zero value: nowhere.
type entry struct {
	at  uint64 // position of the record; the top bit says that it is a deletion
	tid batos.TID
}

const deletedBit = 1 << 63

func makeEntry(pos uint64, tid batos.TID, deleted bool) entry {
	if deleted {
		pos |= deletedBit
	}
	return entry{pos, tid}
}

func (e entry) pos() uint64   { return e.at &^ deletedBit }
func (e entry) deleted() bool { return e.at&deletedBit != 0 }

// live reports whether the object exists now.
func (e entry) live() bool { return e.at != 0 && !e.deleted() }

// mark is the position of one transaction.
type mark struct {
	tid batos.TID
	pos uint64
}

// index is what the store knows of the durable part of the log. Its methods
// are safe for concurrent use.
type index struct {
	mu     sync.RWMutex
	pages  []*[pageLen]entry
	sparse map[batos.OID]entry
	marks  []mark // ascending
	state
}

// state is the index apart from its tables.
type state struct {
	end          uint64    // the log is durable up to here
	lastPos      uint64    // where the last transaction begins, 0 if there is none
	last         batos.TID // its TID
	next         batos.OID // no OID below DerivedOID from here on was given out
	transactions int64
	objects      int64 // that exist now
}

func newIndex() *index {
	return &index{sparse: map[batos.OID]entry{}, state: state{next: 1}}
}

func (x *index) get(oid batos.OID) entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.lookup(oid)
}

func (x *index) lookup(oid batos.OID) entry {
	if oid >= denseOIDs {
		return x.sparse[oid]
	}
	if p := int(oid >> pageBits); p < len(x.pages) && x.pages[p] != nil {
		return x.pages[p][oid&(pageLen-1)]
	}
	return entry{}
}

// set changes one entry; the caller holds the lock or owns the index.
func (x *index) set(oid batos.OID, e entry) {
	if was := x.lookup(oid); was.live() != e.live() {
		if e.live() {
			x.objects++
		} else {
			x.objects--
		}
	}
	if oid >= denseOIDs {
		x.sparse[oid] = e
		return
	}
	p := int(oid >> pageBits)
	if p >= len(x.pages) {
		x.pages = append(x.pages, make([]*[pageLen]entry, p+1-len(x.pages))...)
	}
	if x.pages[p] == nil {
		x.pages[p] = new([pageLen]entry)
	}
	x.pages[p][oid&(pageLen-1)] = e
}

// add notes one transaction at the end; the caller holds the lock or owns the
// index.
func (x *index) add(tid batos.TID, pos, end uint64, next batos.OID) {
	if n := len(x.marks); n == 0 || pos >= x.marks[n-1].pos+markEvery {
		x.marks = append(x.marks, mark{tid, pos})
	}
	x.last, x.lastPos, x.end = tid, pos, end
	x.next = max(x.next, next)
	x.transactions++
}

// now gives the state.
func (x *index) now() state {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.state
}

// markFor gives the newest mark whose TID is at most tid, or the first mark;
// false if there is none at all.
func (x *index) markFor(tid batos.TID) (mark, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.marks) == 0 {
		return mark{}, false
	}
	i := sort.Search(len(x.marks), func(i int) bool { return x.marks[i].tid > tid })
	return x.marks[max(i-1, 0)], true
}

// marksUpTo gives a copy of the marks below a position.
func (x *index) marksUpTo(end uint64) []mark {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.marks), func(i int) bool { return x.marks[i].pos >= end })
	return slices.Clone(x.marks[:i])
}

// entries yields all that is known, page by page, so that it may be used while
// the index changes.
func (x *index) entries() iter.Seq2[batos.OID, entry] {
	return func(yield func(batos.OID, entry) bool) {
		var page [pageLen]entry
		for p := 0; ; p++ {
			x.mu.RLock()
			more, used := p < len(x.pages), false
			if more && x.pages[p] != nil {
				page, used = *x.pages[p], true
			}
			x.mu.RUnlock()
			if !more {
				break
			}
			for i := range page {
				if used && page[i].at != 0 && !yield(batos.OID(p<<pageBits|i), page[i]) {
					return
				}
			}
		}
		x.mu.RLock()
		sparse := maps.Clone(x.sparse)
		x.mu.RUnlock()
		for oid, e := range sparse {
			if !yield(oid, e) {
				return
			}
		}
	}
}
