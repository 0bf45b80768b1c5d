package logstore

import (
	"errors"
	"hash/crc32"
	"io/fs"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// The index file is a cache of the log: it may be missing, old or damaged, and
// costs only time then. All numbers are little endian:
//
//	magic[8] version u32, 0 u32, image[16]
//	end, last position, last tid, next oid, transactions, upTo   u64 each
//	number of pages, other entries, marks, blobs                 u64 each
//	pages   number u32, used u32, used × (record position u64, tid u64)
//	others  oid u64, record position u64, tid u64
//	marks   tid u64, position u64
//	blobs   hash[32]
//	crc u32
//
// It is written while commits go on, page by page: entries may be newer than
// end. That is right, because reading the log from end on sets them again, in
// order; upTo is how far the log was durable when the last entry was copied.
const (
	indexMagic  = "BATOSIDX"
	indexHeader = 32 + 10*8
)

// indexFile is the content of an index file.
type indexFile struct {
	image imageID
	idx   *index
	blobs []store.BlobHash
	upTo  uint64
}

// readIndex gives the index to begin with: what the file holds, whose bytes or
// error it is given, or an empty one, with the reason noted, if that cannot be
// used.
func (s *Store) readIndex(b []byte, err error) (indexFile, error) {
	name := s.path(IndexFile)
	none := indexFile{idx: newIndex()}
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil // the usual case of a young image that was not closed
	}
	if err != nil {
		s.recovery.IndexLost = "the index cannot be read: " + err.Error()
		return none, nil
	}
	f, err := parseIndex(b)
	switch {
	case batos.CodeOf(err) == batos.NewerFormat:
		return none, batos.Errorf(batos.NewerFormat, "%s has %w", name, err)
	case err != nil:
		s.recovery.IndexLost = "the index is damaged"
		return none, nil
	case f.image != s.id:
		s.recovery.IndexLost = "the index belongs to another image"
		return none, nil
	case !s.indexFits(f.idx):
		s.recovery.IndexLost = "the index does not fit the log"
		none.upTo = f.upTo
		return none, nil
	}
	return f, nil
}

// indexFits reports whether the transaction that the index says is its last
// is one in the log.
func (s *Store) indexFits(x *index) bool {
	if x.lastPos == 0 {
		return x.last == 0 && x.end == segmentHeader
	}
	seg := s.segs.find(x.lastPos)
	var r reader
	t, err := r.next(seg, x.lastPos, s.id.seed())
	if err == nil {
		_, err = t.each(s.id.seed(), func(uint64, *record) error { return nil })
	}
	for _, seg := range s.segs.all() {
		if seg.packed != nil && seg.packed.end > x.end {
			return false // it may name what pack removed
		}
	}
	return err == nil && t.pos == x.lastPos && t.tid == x.last && (t.end() == x.end || t.end()+segmentHeader == x.end)
}

// writeIndex replaces the index file by what is known now. What was in the
// trash before is not in it, and goes for good.
func (s *Store) writeIndex() error {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	trash := s.blobs.discarded()
	if err := vfs.WriteFile(s.fsys, s.path(IndexFile), appendIndex(nil, s.id, s.idx, s.blobs.committed), 0o600); err != nil {
		return err
	}
	return s.blobs.empty(trash)
}

// backgroundCheckpoint writes the index while commits go on. If it fails,
// nothing is lost but time at the next start: the next checkpoint tries again,
// and Close tells if that fails too.
func (s *Store) backgroundCheckpoint() {
	end := s.idx.now().end
	_ = s.writeIndex()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexing = false
	s.checkpoint = end
}

// appendIndex encodes the index, which may be in use.
func appendIndex(b []byte, id imageID, x *index, blobs func() []store.BlobHash) []byte {
	st := x.now()
	marks := x.marksUpTo(st.end)

	start := len(b)
	b = append(b, indexMagic...)
	b = le.AppendUint32(b, FormatVersion)
	b = le.AppendUint32(b, 0)
	b = append(b, id[:]...)
	for _, v := range []uint64{st.end, st.lastPos, uint64(st.last), uint64(st.next), uint64(st.transactions)} {
		b = le.AppendUint64(b, v)
	}
	counts := len(b)
	b = append(b, make([]byte, 5*8)...) // upTo and four counts, known at the end

	var pages uint64
	for p := 0; ; p++ {
		var more bool
		var used int
		if b, used, more = x.appendPage(b, p); !more {
			break
		}
		if used > 0 {
			pages++
		}
	}
	b, others := x.appendSparse(b)
	for _, m := range marks {
		b = le.AppendUint64(b, uint64(m.tid))
		b = le.AppendUint64(b, m.pos)
	}
	hashes := blobs()
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	for i, v := range []uint64{x.now().end, pages, others, uint64(len(marks)), uint64(len(hashes))} {
		le.PutUint64(b[counts+8*i:], v)
	}
	return le.AppendUint32(b, crc32.Update(id.seed(), castagnoli, b[start:]))
}

// appendPage encodes one page, nothing if it is empty; more is false past the
// last.
func (x *index) appendPage(b []byte, p int) (_ []byte, used int, more bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if p >= len(x.pages) {
		return b, 0, false
	}
	page := x.pages[p]
	if page == nil {
		return b, 0, true
	}
	for used = pageLen; used > 0 && page[used-1].at == 0; used-- {
	}
	if used == 0 {
		return b, 0, true
	}
	b = le.AppendUint32(b, uint32(p))
	b = le.AppendUint32(b, uint32(used))
	for _, e := range page[:used] {
		b = le.AppendUint64(b, e.at)
		b = le.AppendUint64(b, uint64(e.tid))
	}
	return b, used, true
}

func (x *index) appendSparse(b []byte) ([]byte, uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for oid, e := range x.sparse {
		b = le.AppendUint64(b, uint64(oid))
		b = le.AppendUint64(b, e.at)
		b = le.AppendUint64(b, uint64(e.tid))
	}
	return b, uint64(len(x.sparse))
}

// parseIndex takes an index file apart. It answers errBad for damage and code
// newer_format for a format of the future.
func parseIndex(b []byte) (indexFile, error) {
	if len(b) < indexHeader+4 || string(b[:8]) != indexMagic {
		return indexFile{}, errBad
	}
	if v := le.Uint32(b[8:]); v > FormatVersion {
		return indexFile{}, batos.Errorf(batos.NewerFormat, "format %d, written by a newer release; this one reads up to %d: upgrade batos", v, FormatVersion)
	}
	f := indexFile{idx: newIndex()}
	copy(f.image[:], b[16:])
	body := b[:len(b)-4]
	if crc32.Update(f.image.seed(), castagnoli, body) != le.Uint32(b[len(body):]) {
		return indexFile{}, errBad
	}
	var v [10]uint64
	for i := range v {
		v[i] = le.Uint64(b[32+8*i:])
	}
	x := f.idx
	x.end, x.lastPos, x.last, x.next, x.transactions = v[0], v[1], batos.TID(v[2]), batos.OID(v[3]), int64(v[4])
	f.upTo = v[5]
	c := cursor{b: body[indexHeader:]}
	for range v[6] {
		if !c.page(x) {
			return indexFile{}, errBad
		}
	}
	for range v[7] {
		e := c.take(24)
		if e == nil {
			return indexFile{}, errBad
		}
		if oid := batos.OID(le.Uint64(e)); oid >= denseOIDs {
			x.set(oid, entry{le.Uint64(e[8:]), batos.TID(le.Uint64(e[16:]))})
		}
	}
	for range v[8] {
		m := c.take(16)
		if m == nil {
			return indexFile{}, errBad
		}
		x.marks = append(x.marks, mark{batos.TID(le.Uint64(m)), le.Uint64(m[8:])})
	}
	for range v[9] {
		h := c.take(32)
		if h == nil {
			return indexFile{}, errBad
		}
		f.blobs = append(f.blobs, store.BlobHash(h))
	}
	if len(c.b) > 0 || x.next > batos.DerivedOID || x.lastPos > x.end || x.end > f.upTo {
		return indexFile{}, errBad
	}
	return f, nil
}

// cursor reads bytes from the front.
type cursor struct{ b []byte }

// take gives the next n bytes, nil if there are fewer.
func (c *cursor) take(n int) []byte {
	if len(c.b) < n {
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// page reads one page into x.
func (c *cursor) page(x *index) bool {
	h := c.take(8)
	if h == nil {
		return false
	}
	number, used := le.Uint32(h), le.Uint32(h[4:])
	if number >= denseOIDs>>pageBits || used > pageLen {
		return false
	}
	b := c.take(int(used) * 16)
	if b == nil {
		return false
	}
	if int(number) >= len(x.pages) {
		x.pages = append(x.pages, make([]*[pageLen]entry, int(number)+1-len(x.pages))...)
	}
	if x.pages[number] != nil {
		return false
	}
	page := new([pageLen]entry)
	x.pages[number] = page
	for i := range page[:used] {
		e := entry{le.Uint64(b[16*i:]), batos.TID(le.Uint64(b[16*i+8:]))}
		page[i] = e
		if e.live() {
			x.objects++
		}
	}
	return true
}
