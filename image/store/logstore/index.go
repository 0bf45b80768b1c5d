package logstore

import (
	"iter"
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
	// ones and stray ones, are far apart and stand in a table (sparse.go).
	denseOIDs = 1 << 32

	// markEvery and markAfter are the distances in bytes and microseconds of the
	// marks, by which a transaction is found from its TID, and a TID completed.
	markEvery = 256 << 10
	markAfter = 1 << 32
)

// location is the position of a record; the top bit says that it is a deletion.
// Its zero value: nowhere.
type location uint64

const deletedBit = 1 << 63

func locationOf(pos uint64, deleted bool) location {
	if deleted {
		pos |= deletedBit
	}
	return location(pos)
}

func (l location) pos() uint64   { return uint64(l) &^ deletedBit }
func (l location) deleted() bool { return l&deletedBit != 0 }

// live reports whether an object whose newest revision is there exists now.
func (l location) live() bool { return int64(l) > 0 }

// entry says which an object's newest revision is, and where.
type entry struct {
	location
	tid batos.TID
}

func makeEntry(pos uint64, tid batos.TID, deleted bool) entry {
	return entry{locationOf(pos, deleted), tid}
}

// place is an entry as a page has it, with the low half of the TID: the other
// half follows from the position.
type place struct {
	location
	low uint32
}

// mark is the position of one transaction.
type mark struct {
	tid batos.TID
	pos uint64
}

// tidOf completes the TID of a place: its transaction is not before the last
// mark up to there, and by less than 2^32 after it.
func tidOf(marks []mark, p place) batos.TID {
	i := len(marks) - 1
	if i >= 0 && marks[i].pos > p.pos() {
		i = sort.Search(i, func(i int) bool { return marks[i].pos > p.pos() }) - 1
	}
	if i < 0 {
		return batos.TID(p.low)
	}
	from := marks[i].tid
	return from + batos.TID(p.low-uint32(from))
}

// page holds the entries of pageLen OIDs in a row, as they stand in the index
// file, little endian.
type page [pageLen * entrySize]byte

const entrySize = 12

func parsePlace(b []byte) place { return place{location(le.Uint64(b)), le.Uint32(b[8:])} }

func (p place) put(b []byte) {
	le.PutUint64(b, uint64(p.location))
	le.PutUint32(b[8:], p.low)
}

// at gives the bytes of an entry.
func (p *page) at(i int) []byte { return p[i*entrySize : (i+1)*entrySize] }

// used is how many entries there are up to the last that is set.
func (p *page) used() int {
	n := pageLen
	for n > 0 && le.Uint64(p.at(n-1)) == 0 {
		n--
	}
	return n
}

// index is what the store knows of the durable part of the log. Its methods
// are safe for concurrent use.
//
// It is the one thing that grows with the number of objects, and is large: so
// its pages, of both kinds, lie outside the collector's heap, where they cost
// what they are. They live as long as the index; no pointer to one may leave
// its methods.
type index struct {
	mu     sync.RWMutex
	pages  []*page
	free   []byte // of memory, for new pages
	memory []*vfs.Memory
	sparse sparse
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
	return &index{sparse: newSparse(), state: state{next: 1}}
}

// get gives the entry of an object.
func (x *index) get(oid batos.OID) entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if oid >= denseOIDs {
		return x.sparse.get(oid)
	}
	p := x.lookup(oid)
	if p.location == 0 {
		return entry{}
	}
	return entry{p.location, tidOf(x.marks, p)}
}

// place is get where the whole TID is not needed.
func (x *index) place(oid batos.OID) place {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.lookup(oid)
}

func (x *index) lookup(oid batos.OID) place {
	if oid >= denseOIDs {
		e := x.sparse.get(oid)
		return place{e.location, uint32(e.tid)}
	}
	if p := int(oid >> pageBits); p < len(x.pages) && x.pages[p] != nil {
		return parsePlace(x.pages[p].at(int(oid & (pageLen - 1))))
	}
	return place{}
}

// tid gives the whole TID of a place.
func (x *index) tid(p place) batos.TID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return tidOf(x.marks, p)
}

// The system is asked for memory for so many pages at once, at first and when
// there are many: these fill three large pages of the system's.
const (
	fewPages  = 8
	manyPages = 128
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

// set changes one entry; the caller holds the lock or owns the index, and adds
// the transaction before anything asks for its TID.
func (x *index) set(oid batos.OID, e entry) {
	if oid >= denseOIDs {
		x.count(x.sparse.set(oid, e).location, e.location)
		return
	}
	b := x.page(int(oid >> pageBits)).at(int(oid & (pageLen - 1)))
	x.count(location(le.Uint64(b)), e.location)
	place{e.location, uint32(e.tid)}.put(b)
}

// setAll is set for what one transaction wrote, as a rule neighbours.
func (x *index) setAll(list []written, tid batos.TID) {
	var in *page
	at := batos.OID(denseOIDs) // of which in is the page
	for _, w := range list {
		if w.oid >= denseOIDs {
			x.set(w.oid, entry{w.location, tid})
			continue
		}
		if w.oid>>pageBits != at {
			at = w.oid >> pageBits
			in = x.page(int(at))
		}
		b := in.at(int(w.oid % pageLen))
		x.count(location(le.Uint64(b)), w.location)
		place{w.location, uint32(tid)}.put(b)
	}
}

// written is an object that a transaction wrote, and where.
type written struct {
	oid batos.OID
	location
}

func (x *index) count(was, is location) {
	if is.live() {
		x.objects++
	}
	if was.live() {
		x.objects--
	}
}

// add notes one transaction at the end; the caller holds the lock or owns the
// index.
func (x *index) add(tid batos.TID, pos, end uint64, next batos.OID) {
	if n := len(x.marks); n == 0 || pos >= x.marks[n-1].pos+markEvery || tid >= x.marks[n-1].tid+markAfter {
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
			var marks []mark
			copied, marks, more = x.appendPage(copied[:0], p)
			for i := 0; i < len(copied)/entrySize; i++ {
				at := parsePlace(copied[i*entrySize:])
				if at.location != 0 && !yield(batos.OID(p<<pageBits|i), entry{at.location, tidOf(marks, at)}) {
					return
				}
			}
		}
		for h, more := uint64(0), true; more; {
			copied, h = x.appendSparse(copied[:0], h)
			for it := range slices.Chunk(copied, sparseItem) {
				if !yield(batos.OID(le.Uint64(it)), entryOf(it)) {
					return
				}
			}
			more = h != 0
		}
	}
}

// appendPage appends what is used of a page to b, and gives the marks, which
// do not change; more is false past the last page.
func (x *index) appendPage(b []byte, p int) (_ []byte, marks []mark, more bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p >= len(x.pages) {
		return b, nil, false
	}
	if x.pages[p] != nil {
		b = append(b, x.pages[p][:x.pages[p].used()*entrySize]...)
	}
	return b, x.marks, true
}

// appendSparse appends the items of the page of other entries that has a hash,
// and gives the hash to go on with, 0 after the last page: see [sparse.page].
func (x *index) appendSparse(b []byte, h uint64) (_ []byte, next uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p, next := x.sparse.page(h)
	if p != nil {
		for it := range p.items {
			b = append(b, it...)
		}
	}
	return b, next
}

// forget takes entries of objects out that do not exist, unless they have
// changed.
func (x *index) forget(gone map[batos.OID]entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for oid, e := range gone {
		if x.sparse.get(oid) == e {
			x.sparse.remove(oid)
		}
	}
}

// bytes is about how large the index is in a file.
func (x *index) bytes() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return uint64(x.objects)*entrySize + sparseItem*uint64(x.sparse.n)
}
