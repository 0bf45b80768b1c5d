package logstore

import (
	"math/bits"
	"math/rand/v2"

	"batos"
	"batos/internal/vfs"
)

// sparse is the table of the entries whose OIDs are far apart: derived ones,
// of which each message that is kept has one. So it is as large as the index's
// pages, and like them lies outside the collector's heap.
//
// It is a hash table that grows by a page at a time (extendible hashing): the
// first bits of an OID's hash choose a slot of the directory, which leads to a
// page; a page that is full is split in two by one bit more. Nothing is ever
// copied as a whole, so that no commit waits for that. Hashes are keyed anew in
// each process: nobody can choose message ids that crowd in one page.
//
// Not safe for concurrent use; the index's lock is held. No pointer to a page
// may outlive the index.
type sparse struct {
	key    [2]uint64
	depth  int // the directory has 2^depth slots
	slots  []*sparsePage
	n      int
	free   []byte // of memory, for new pages
	made   int    // pages
	memory []*vfs.Memory
}

// sparsePage has its items where their hashes say, or in the next free place.
// What is not used is zero.
//
//	number of items u16, depth u16: so many bits of their hashes are the same, 0[12]
//	items  oid u64, record position u64, tid u64
type sparsePage [sparsePageSize]byte

const (
	sparsePageSize = 4096
	sparseHeader   = 16
	sparseItem     = 24
	sparseItems    = (sparsePageSize - sparseHeader) / sparseItem
	// sparseFull is when a page is split: above, items would be too far from
	// their right places.
	sparseFull = 150
)

func newSparse() sparse { return sparse{key: [2]uint64{rand.Uint64(), rand.Uint64() | 1}} }

func (t *sparse) hash(oid batos.OID) uint64 {
	hi, lo := bits.Mul64(uint64(oid)^t.key[0], t.key[1])
	hi, lo = bits.Mul64(hi^lo, t.key[1])
	return hi ^ lo
}

func (p *sparsePage) len() int   { return int(le.Uint16(p[:])) }
func (p *sparsePage) depth() int { return int(le.Uint16(p[2:])) }

func (p *sparsePage) setLen(n int) { le.PutUint16(p[:], uint16(n)) }

// clear empties the page.
func (p *sparsePage) clear(depth int) {
	*p = sparsePage{}
	le.PutUint16(p[2:], uint16(depth))
}

// item gives the i-th place, in which the first eight bytes are zero if it is
// free.
func (p *sparsePage) item(i int) []byte {
	return p[sparseHeader+i*sparseItem:][:sparseItem:sparseItem]
}

// find gives the place of an item of that hash, or the free one that it would
// take.
func (p *sparsePage) find(oid batos.OID, h uint64) []byte {
	for i := int(h & 0xffffffff * sparseItems >> 32); ; i++ {
		if i == sparseItems {
			i = 0
		}
		it := p.item(i)
		if at := le.Uint64(it); at == uint64(oid) || at == 0 {
			return it
		}
	}
}

// items yields those that there are.
func (p *sparsePage) items(yield func(it []byte) bool) {
	for i := range sparseItems {
		if it := p.item(i); le.Uint64(it) != 0 && !yield(it) {
			return
		}
	}
}

func entryOf(it []byte) entry {
	return entry{location(le.Uint64(it[8:])), batos.TID(le.Uint64(it[16:]))}
}

// slot is the place of a hash in the directory.
func (t *sparse) slot(h uint64) int { return int(h >> (64 - t.depth)) } // 0 for depth 0

func (t *sparse) get(oid batos.OID) entry {
	if t.n == 0 {
		return entry{}
	}
	h := t.hash(oid)
	return entryOf(t.slots[t.slot(h)].find(oid, h))
}

// set changes an entry and gives what it was. An OID is never 0.
func (t *sparse) set(oid batos.OID, e entry) (was entry) {
	if t.slots == nil {
		t.slots = []*sparsePage{t.newPage()}
	}
	h := t.hash(oid)
	for {
		p := t.slots[t.slot(h)]
		it := p.find(oid, h)
		fresh := le.Uint64(it) == 0
		if fresh && p.len() == sparseFull {
			t.split(t.slot(h))
			continue
		}
		if fresh {
			le.PutUint64(it, uint64(oid))
			p.setLen(p.len() + 1)
			t.n++
		} else {
			was = entryOf(it)
		}
		le.PutUint64(it[8:], uint64(e.location))
		le.PutUint64(it[16:], uint64(e.tid))
		return was
	}
}

// remove takes an item out that is there. Its place is for others; no page goes.
func (t *sparse) remove(oid batos.OID) {
	p := t.slots[t.slot(t.hash(oid))]
	was := *p
	p.clear(was.depth())
	for it := range was.items {
		if at := batos.OID(le.Uint64(it)); at != oid {
			p.put(it, t.hash(at))
		}
	}
	t.n--
}

// split gives half of the page at a slot of the directory to a new one.
func (t *sparse) split(slot int) {
	p, q := t.slots[slot], t.newPage()
	if p.depth() == t.depth {
		wider := make([]*sparsePage, 2*len(t.slots))
		for i := range wider {
			wider[i] = t.slots[i/2]
		}
		t.slots, t.depth, slot = wider, t.depth+1, 2*slot
	}
	run := 1 << (t.depth - p.depth()) // slots that lead to p; the second half from now on to q
	for i := slot&^(run-1) + run/2; i < slot&^(run-1)+run; i++ {
		t.slots[i] = q
	}
	was, bit := *p, 63-p.depth()
	p.clear(was.depth() + 1)
	q.clear(was.depth() + 1)
	for it := range was.items {
		if h := t.hash(batos.OID(le.Uint64(it))); h>>bit&1 == 0 {
			p.put(it, h)
		} else {
			q.put(it, h)
		}
	}
}

// put adds a copy of an item that is not there.
func (p *sparsePage) put(it []byte, h uint64) {
	copy(p.find(batos.OID(le.Uint64(it)), h), it)
	p.setLen(p.len() + 1)
}

// page gives the page of a hash, and the first hash that is not in it, which is
// 0 after the last. Going from one to the next one meets every item that was
// there all the time, and none twice, whatever is added meanwhile. It is nil
// for an empty table.
func (t *sparse) page(h uint64) (p *sparsePage, next uint64) {
	if t.n == 0 {
		return nil, 0
	}
	p = t.slots[t.slot(h)]
	if p.depth() == 0 {
		return p, 0
	}
	width := uint64(1) << (64 - p.depth())
	return p, h&^(width-1) + width
}

// Memory for pages is asked for a fourth of what there is at a time, between
// these.
const (
	fewSparse  = 16
	manySparse = 1024
)

func (t *sparse) newPage() *sparsePage {
	if len(t.free) == 0 {
		m := vfs.NewMemory(min(max(t.made/4, fewSparse), manySparse) * sparsePageSize)
		t.memory, t.free = append(t.memory, m), m.Bytes
	}
	p := (*sparsePage)(t.free)
	t.free = t.free[sparsePageSize:]
	t.made++
	return p
}
