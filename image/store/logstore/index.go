package logstore

import (
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	"batos"
	"batos/internal/vfs"
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

// page holds the entries of pageLen OIDs in a row, as they stand in the index
// file: position and TID, little endian.
type page [pageLen * entrySize]byte

const entrySize = 16

func (p *page) get(i int) entry {
	e := p[i*entrySize : (i+1)*entrySize]
	return entry{le.Uint64(e), batos.TID(le.Uint64(e[8:]))}
}

func (p *page) set(i int, v entry) {
	e := p[i*entrySize : (i+1)*entrySize]
	le.PutUint64(e, v.at)
	le.PutUint64(e[8:], uint64(v.tid))
}

// used is how many entries there are up to the last that is set.
func (p *page) used() int {
	n := pageLen
	for n > 0 && p.get(n-1).at == 0 {
		n--
	}
	return n
}

// index is what the store knows of the durable part of the log. Its methods
// are safe for concurrent use.
//
// It is the one thing that grows with the number of objects, and is large: so
// its pages lie outside the collector's heap, where they cost what they are.
// They live as long as the index; no pointer to one may leave its methods.
type index struct {
	mu     sync.RWMutex
	pages  []*page
	free   []byte // of memory, for new pages
	memory []*vfs.Memory
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
		return x.pages[p].get(int(oid & (pageLen - 1)))
	}
	return entry{}
}

// The system is asked for memory for so many pages at once, at first and when
// there are many.
const (
	fewPages  = 8
	manyPages = 64
)

// newPage adds an empty page and gives its memory, of which nothing is used yet.
func (x *index) newPage(p int) []byte {
	if p >= len(x.pages) {
		x.pages = append(x.pages, make([]*page, p+1-len(x.pages))...)
	}
	if len(x.free) == 0 {
		if len(x.pages) <= fewPages {
			x.reserve(fewPages)
		} else {
			x.reserve(manyPages)
		}
	}
	b := x.free[:len(page{})]
	x.pages[p], x.free = (*page)(b), x.free[len(page{}):]
	return b
}

// page gives a page, which it adds if need be.
func (x *index) page(p int) *page {
	if p < len(x.pages) && x.pages[p] != nil {
		return x.pages[p]
	}
	if b := x.newPage(p); p > 0 { // the first may stay nearly empty
		vfs.Populate(b)
	}
	return x.pages[p]
}

// reserve gets memory for n pages.
func (x *index) reserve(n int) {
	m := vfs.NewMemory(n * len(page{}))
	x.memory, x.free = append(x.memory, m), m.Bytes
}

// set changes one entry; the caller holds the lock or owns the index.
func (x *index) set(oid batos.OID, e entry) {
	if oid >= denseOIDs {
		x.count(x.sparse[oid], e)
		x.sparse[oid] = e
		return
	}
	p, i := x.page(int(oid>>pageBits)), int(oid&(pageLen-1))
	x.count(p.get(i), e)
	p.set(i, e)
}

// setAll is set for many, which as a rule are neighbours.
func (x *index) setAll(list []newRevision) {
	var in *page
	at := batos.OID(denseOIDs) // of which in is the page
	for _, r := range list {
		if r.oid >= denseOIDs {
			x.set(r.oid, r.entry)
			continue
		}
		if r.oid>>pageBits != at {
			at = r.oid >> pageBits
			in = x.page(int(at))
		}
		e := in[r.oid%pageLen*entrySize:][:entrySize]
		x.count(entry{at: le.Uint64(e)}, r.entry)
		le.PutUint64(e, r.entry.at)
		le.PutUint64(e[8:], uint64(r.entry.tid))
	}
}

func (x *index) count(was, is entry) {
	switch {
	case is.live() && !was.live():
		x.objects++
	case was.live() && !is.live():
		x.objects--
	}
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
		var copied []byte
		for p, more := 0, true; more; p++ {
			copied, more = x.appendPage(copied[:0], p)
			for i := 0; i < len(copied); i += entrySize {
				e := entry{le.Uint64(copied[i:]), batos.TID(le.Uint64(copied[i+8:]))}
				if e.at != 0 && !yield(batos.OID(p<<pageBits|i/entrySize), e) {
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

// appendPage appends what is used of a page to b; more is false past the last
// page.
func (x *index) appendPage(b []byte, p int) (_ []byte, more bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p >= len(x.pages) {
		return b, false
	}
	if x.pages[p] != nil {
		b = append(b, x.pages[p][:x.pages[p].used()*entrySize]...)
	}
	return b, true
}

// bytes is about how large the index is in a file.
func (x *index) bytes() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return uint64(x.objects)*entrySize + 24*uint64(len(x.sparse))
}
