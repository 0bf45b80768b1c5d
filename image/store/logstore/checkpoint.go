package logstore

import (
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"batos"
	"batos/image/store"
	"batos/internal/crc32c"
	"batos/internal/vfs"
)

// The index file is a cache of the log: it may be missing, old or damaged, and
// costs only time then. All numbers are little endian, all checksums CRC-32C
// that begin with the image's identity:
//
//	header  magic[8] version u32, 0 u32, image[16]
//	        end, last position, last tid, next oid, transactions, objects, up-to   u64 each
//	        tail position u64, tail length u64, 0[20], crc u32
//	pages   of each its used entries: record position u64, low half of the tid u32
//	tail    number of pages, other entries, marks, blobs   u64 each
//	        pages   number u32, used u32, crc u32, 0 u32
//	        others  oid u64, record position u64, tid u64
//	        marks   tid u64, position u64
//	        blobs   hash[32]
//	        crc u32
//
// The other half of a tid is found with the marks: there is one for the first
// transaction, and for each that is 256 KiB or 2^32 microseconds after the last
// one that has one.
//
// The pages are what the index has in memory, so that a start reads them into
// place. The file is written while commits go on, page by page: entries may be
// newer than end. That is right, because reading the log from end on sets them
// again, in order; up-to is how far the log was durable when the last entry was
// copied.
const (
	indexMagic  = "BATOSIDX"
	indexHeader = 128

	// IndexVersion is the format of the index that this release writes. An
	// older one is not used, but for what it says of the log's end.
	IndexVersion = 4

	directoryEntry = 16
	indexBuffer    = 1 << 20 // is written at once
)

// indexFile is the content of an index file.
type indexFile struct {
	image imageID
	idx   *index
	blobs []store.BlobHash
	upTo  uint64
}

// errOld says that an index file has a format that is not used any more.
var errOld = errors.New("an index of an older format")

// loadIndex reads the index file as it is. The error is fs.ErrNotExist, errBad,
// errOld with what can be used of it, or one of code newer_format.
func loadIndex(fsys vfs.FS, name string) (indexFile, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return indexFile{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return indexFile{}, err
	}
	return parseIndex(f, size)
}

// useIndex gives the index to begin with: the one that was loaded, or an empty
// one, with the reason noted, if that cannot be used.
func (s *Store) useIndex(f indexFile, err error) (indexFile, error) {
	name := s.path(IndexFile)
	none := indexFile{idx: newIndex()}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil // the usual case of a young image that was not closed
	case batos.CodeOf(err) == batos.NewerFormat:
		return none, batos.Errorf(batos.NewerFormat, "%s has %w", name, err)
	case errors.Is(err, errBad):
		s.recovery.IndexLost = "the index is damaged"
		return none, nil
	case err != nil && !errors.Is(err, errOld):
		s.recovery.IndexLost = "the index cannot be read: " + err.Error()
		return none, nil
	case f.image != s.id:
		s.recovery.IndexLost = "the index belongs to another image"
		return none, nil
	case err != nil:
		s.recovery.IndexLost = "the index has the format of an older release"
		none.upTo = f.upTo
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
	err := vfs.Replace(s.fsys, s.path(IndexFile), 0o600, func(f vfs.File) error {
		return writeIndexTo(f, s.id, s.idx, s.blobs.committed)
	})
	if err != nil {
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

// checkpointAfter is how much the log grows from one index file to the next. A
// large index waits longer, so that writing it costs no more than the log.
func (s *Store) checkpointAfter() uint64 {
	return max(uint64(s.o.CheckpointBytes), 2*s.idx.bytes())
}

// writeIndexTo encodes the index, which may be in use, into an empty file.
func writeIndexTo(f io.WriterAt, id imageID, x *index, blobs func() []store.BlobHash) error {
	st := x.now()
	marks := x.marksUpTo(st.end)
	seed := id.seed()

	var buf []byte
	off := int64(indexHeader)
	flush := func() error {
		_, err := f.WriteAt(buf, off)
		off += int64(len(buf))
		buf = buf[:0]
		return err
	}
	var directory []byte
	objects := int64(0)
	for p, more := 0, true; more; p++ {
		start := len(buf)
		buf, _, more = x.appendPage(buf, p)
		b := buf[start:]
		if len(b) == 0 {
			continue
		}
		for i := 0; i < len(b); i += entrySize {
			if parsePlace(b[i:]).live() {
				objects++
			}
		}
		for _, v := range []uint32{uint32(p), uint32(len(b) / entrySize), crc32c.Update(seed, b), 0} {
			directory = le.AppendUint32(directory, v)
		}
		if len(buf) >= indexBuffer {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(buf) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	w := tailWriter{to: f, off: off, start: off, buf: append(make([]byte, tailCounts, indexBuffer), directory...)}
	others, live, err := w.others(x)
	if err != nil {
		return err
	}
	for _, m := range marks {
		w.buf = le.AppendUint64(w.buf, uint64(m.tid))
		w.buf = le.AppendUint64(w.buf, m.pos)
	}
	hashes := blobs()
	for i := range hashes {
		w.buf = append(w.buf, hashes[i][:]...)
	}
	upTo := x.now().end
	tail, err := w.finish(seed, len(directory)/directoryEntry, others, len(marks), len(hashes))
	if err != nil {
		return err
	}

	h := append(make([]byte, 0, indexHeader), indexMagic...)
	h = le.AppendUint32(h, IndexVersion)
	h = le.AppendUint32(h, 0)
	h = append(h, id[:]...)
	for _, v := range []uint64{
		st.end, st.lastPos, uint64(st.last), uint64(st.next), uint64(st.transactions), uint64(objects + live), upTo, uint64(off), uint64(tail),
	} {
		h = le.AppendUint64(h, v)
	}
	h = h[:indexHeader-4]
	_, err = f.WriteAt(le.AppendUint32(h, crc32.Update(seed, castagnoli, h)), 0)
	return err
}

// tailCounts is the length of the four numbers that the tail begins with.
const tailCounts = 32

// tailWriter writes the tail of an index file piece by piece: it is as long as
// there are other entries.
type tailWriter struct {
	to         io.WriterAt
	start, off int64
	buf        []byte // what comes next, from off on; of the counts only their room
	crc        uint32 // of what comes after the counts, as if nothing came before
	written    bool   // the room of the counts is
}

func (w *tailWriter) flush() error {
	skip := 0
	if !w.written {
		w.written, w.crc, skip = true, ^uint32(0), tailCounts
	}
	w.crc = crc32.Update(w.crc, castagnoli, w.buf[skip:])
	_, err := w.to.WriteAt(w.buf, w.off)
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// others writes the entries that stand in no page, counts them and those of
// them that live.
func (w *tailWriter) others(x *index) (n int, live int64, err error) {
	for h, more := uint64(0), true; more; more = h != 0 {
		was := len(w.buf)
		w.buf, h = x.appendSparse(w.buf, h)
		for it := range slices.Chunk(w.buf[was:], sparseItem) {
			n++
			if entryOf(it).live() {
				live++
			}
		}
		if len(w.buf) >= indexBuffer {
			if err := w.flush(); err != nil {
				return 0, 0, err
			}
		}
	}
	return n, live, nil
}

// finish writes what is left, then the counts, which the checksum has in front:
// a CRC is linear, so that what comes after them counts as it would after
// zeros. It gives the tail's length.
func (w *tailWriter) finish(seed uint32, counts ...int) (int64, error) {
	if err := w.flush(); err != nil {
		return 0, err
	}
	head := make([]byte, 0, tailCounts)
	for _, n := range counts {
		head = le.AppendUint64(head, uint64(n))
	}
	front := crc32.Update(seed, castagnoli, head)
	zeros := make([]byte, 64<<10)
	for rest := w.off - w.start - tailCounts; rest > 0; rest -= int64(len(zeros)) {
		front = crc32.Update(front, castagnoli, zeros[:min(rest, int64(len(zeros)))])
	}
	if _, err := w.to.WriteAt(head, w.start); err != nil {
		return 0, err
	}
	_, err := w.to.WriteAt(le.AppendUint32(nil, ^(front^w.crc)), w.off)
	return w.off + 4 - w.start, err
}

// parseIndex reads an index file of size bytes. It answers errBad for damage,
// errOld with image and up-to for a format of the past, and code newer_format
// for one of the future.
func parseIndex(r io.ReaderAt, size int64) (indexFile, error) {
	if size < indexHeader {
		return indexFile{}, errBad
	}
	h := make([]byte, indexHeader)
	if err := readFull(r, h, 0); err != nil {
		return indexFile{}, err
	}
	if string(h[:8]) != indexMagic {
		return indexFile{}, errBad
	}
	switch v := le.Uint32(h[8:]); {
	case v > IndexVersion:
		return indexFile{}, batos.Errorf(batos.NewerFormat, "format %d, written by a newer release; this one reads up to %d: upgrade batos", v, IndexVersion)
	case v < IndexVersion:
		return parseOldIndex(r, size, v)
	}
	f := indexFile{idx: newIndex()}
	copy(f.image[:], h[16:])
	seed := f.image.seed()
	if crc32.Update(seed, castagnoli, h[:indexHeader-4]) != le.Uint32(h[indexHeader-4:]) {
		return indexFile{}, errBad
	}
	var v [9]uint64
	for i := range v {
		v[i] = le.Uint64(h[32+8*i:])
	}
	x := f.idx
	x.state = state{end: v[0], lastPos: v[1], last: batos.TID(v[2]), next: batos.OID(v[3]), transactions: int64(v[4]), objects: int64(v[5])}
	f.upTo = v[6]
	tailAt, tail := v[7], v[8]
	if x.next > batos.DerivedOID || x.lastPos > x.end || x.end > f.upTo || tailAt < indexHeader || tailAt > uint64(size) || tail != uint64(size)-tailAt || tail < 36 {
		return indexFile{}, errBad
	}
	memory := vfs.NewMemory(int(tail))
	defer runtime.KeepAlive(memory)
	t := memory.Bytes
	if err := readFull(r, t, int64(tailAt)); err != nil {
		return indexFile{}, err
	}
	if crc32.Update(seed, castagnoli, t[:tail-4]) != le.Uint32(t[tail-4:]) {
		return indexFile{}, errBad
	}
	c := cursor{b: t[:tail-4]}
	n := c.take(tailCounts)
	directory := c.many(le.Uint64(n), directoryEntry)
	others := c.many(le.Uint64(n[8:]), sparseItem)
	marks := c.many(le.Uint64(n[16:]), 16)
	hashes := c.many(le.Uint64(n[24:]), 32)
	if c.bad || len(c.b) > 0 {
		return indexFile{}, errBad
	}
	for ; len(others) > 0; others = others[sparseItem:] {
		oid := batos.OID(le.Uint64(others))
		if oid < denseOIDs {
			return indexFile{}, errBad
		}
		x.sparse.set(oid, entryOf(others))
	}
	for ; len(marks) > 0; marks = marks[16:] {
		m := mark{batos.TID(le.Uint64(marks)), le.Uint64(marks[8:])}
		if n := len(x.marks); n > 0 && (m.pos <= x.marks[n-1].pos || m.tid <= x.marks[n-1].tid) {
			return indexFile{}, errBad
		}
		x.marks = append(x.marks, m)
	}
	for ; len(hashes) > 0; hashes = hashes[32:] {
		f.blobs = append(f.blobs, store.BlobHash(hashes))
	}
	return f, x.readPages(r, directory, int64(tailAt), seed)
}

// storedPage is a page in an index file.
type storedPage struct {
	to  []byte // the used part of the page
	off int64
	crc uint32
}

// readPages reads the pages that the directory lists, which end at end.
func (x *index) readPages(r io.ReaderAt, directory []byte, end int64, seed uint32) error {
	list := make([]storedPage, 0, len(directory)/directoryEntry)
	off, last := int64(indexHeader), -1
	n := max(len(directory)/directoryEntry, 1)
	if n < manyPages {
		n += n/4 + 1 // with room to grow
	}
	x.reserve(n)
	for ; len(directory) > 0; directory = directory[directoryEntry:] {
		number, used := int(le.Uint32(directory)), int(le.Uint32(directory[4:]))
		if number <= last || number >= denseOIDs>>pageBits || used == 0 || used > pageLen || off+int64(used*entrySize) > end {
			return errBad
		}
		last = number
		list = append(list, storedPage{x.newPage(number)[:used*entrySize], off, le.Uint32(directory[8:])})
		off += int64(used * entrySize)
	}
	if off != end {
		return errBad
	}
	var next atomic.Int64
	errs := make([]error, min(runtime.GOMAXPROCS(0), 1+len(list)/32))
	work := func(w int) {
		for errs[w] == nil {
			i := int(next.Add(1)) - 1
			if i >= len(list) {
				return
			}
			p := &list[i]
			if len(list) > 1 {
				vfs.Populate(p.to)
			}
			errs[w] = readFull(r, p.to, p.off)
			last := p.to[len(p.to)-entrySize:] // that there is nothing behind it is what used means
			if errs[w] == nil && (crc32c.Update(seed, p.to) != p.crc || le.Uint64(last) == 0) {
				errs[w] = errBad
			}
		}
	}
	var wg sync.WaitGroup
	for w := 1; w < len(errs); w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
	runtime.KeepAlive(x)
	return errors.Join(errs...)
}

// parseOldIndex finds in an index of format 2 or 3 how far the log was durable,
// for which its checksum has to be right: in format 2 the whole file has one, in
// format 3 the header.
func parseOldIndex(r io.ReaderAt, size int64, version uint32) (indexFile, error) {
	upTo := 72
	if version > 2 {
		size, upTo = indexHeader, 80
	}
	b := make([]byte, size)
	if err := readFull(r, b, 0); err != nil {
		return indexFile{}, err
	}
	var f indexFile
	copy(f.image[:], b[16:])
	body := b[:len(b)-4]
	if crc32.Update(f.image.seed(), castagnoli, body) != le.Uint32(b[len(body):]) {
		return indexFile{}, errBad
	}
	f.upTo = le.Uint64(b[upTo:])
	return f, errOld
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errBad
	}
	return err
}

// cursor reads bytes from the front.
type cursor struct {
	b   []byte
	bad bool
}

// take gives the next n bytes, nil if there are fewer.
func (c *cursor) take(n int) []byte { return c.many(1, n) }

// many gives the bytes of n things of a size.
func (c *cursor) many(n uint64, size int) []byte {
	if n > uint64(len(c.b)/size) {
		c.bad = true
		return nil
	}
	b := c.b[:int(n)*size]
	c.b = c.b[len(b):]
	return b
}
