package logstore

import (
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"sort"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// A packed segment holds what is left of a segment of the log. Positions stay
// what they were, so that nothing that points into it has to change: not the
// index, not the records of other segments, not a snapshot that is open. What
// it lost in bytes, it says by giving each thing its position.
//
//	packed segment  header, items, fences, trailer
//	item            position u64, length u32, crc u32, content
//	                length in its low 31 bits; the top bit marks a transaction
//	transaction     crc u32, run u32, length u32, records u32, gone u32, meta length u32,
//	                tid u64, next oid u64, meta
//	fence           position u64, offset u64
//	trailer         magic[8], items end u64, fences u64, transactions gone u64,
//	                revisions gone u64, before u64, last u64, 0 u32, crc u32
//
// The items of a transaction are the transaction itself and then its records,
// as they were; run is the bytes of those records with their heads, length
// the transaction's length in the log before, gone how many records it lost.
// The checksum of an item's head covers the head, with the image's identity
// before it, that of a transaction all its content after it.
//
// A stub is a record of flagStub that stands in for one that is gone, when an
// older revision of the object is not: previous says where that is, and data,
// a tid, that from there to the stub's own nothing is left.
//
// There is a fence for about every fenceEvery bytes of items: an item that
// begins there. They are kept in memory. The trailer's checksum covers fences
// and trailer. before is the oldest moment that the packed log shows whole,
// last the TID of the segment's last transaction, which is never removed.
const (
	itemHeader    = 16
	packedTxn     = 40
	packedTrailer = 64
	fenceSize     = 16
	fenceEvery    = 2 << 10
	packedGuess   = fenceEvery + 512 // is read to get a record at once
	trailerMagic  = "BATOSEND"
	isTransaction = 1 << 31
)

var (
	// errGone is the answer where a record was that pack removed.
	errGone = errors.New("packed away")
	// errEnd is the answer when a packed segment has no transaction any more.
	errEnd = errors.New("end of segment")
)

// packed is what is known of a packed segment in memory.
type packed struct {
	end          uint64 // position after the segment
	items        int64  // offset after its items
	size         int64  // of the file
	fences       []fence
	transactions int64 // gone
	revisions    int64 // gone
	before       batos.TID
	last         batos.TID
}

// fence is an item's place.
type fence struct {
	pos uint64
	off int64
}

// item is one head.
type item struct {
	pos         uint64
	length      int
	transaction bool
}

func appendItem(b []byte, pos uint64, length int, transaction bool, seed uint32) []byte {
	at := len(b)
	n := uint32(length)
	if transaction {
		n |= isTransaction
	}
	b = le.AppendUint64(b, pos)
	b = le.AppendUint32(b, n)
	return le.AppendUint32(b, crc32.Update(seed, castagnoli, b[at:at+12]))
}

func parseItem(b []byte, seed uint32) (item, error) {
	if len(b) < itemHeader || crc32.Update(seed, castagnoli, b[:12]) != le.Uint32(b[12:]) {
		return item{}, errBad
	}
	n := le.Uint32(b[8:])
	it := item{le.Uint64(b), int(n &^ isTransaction), n&isTransaction != 0}
	if it.length > maxTxn || it.transaction && it.length < packedTxn || !it.transaction && it.length < recordHeader {
		return item{}, errBad
	}
	return it, nil
}

// appendPackedTxn encodes a transaction's own item; run is the length of those
// of its records.
func appendPackedTxn(b []byte, h *header, run int, meta []byte, seed uint32) []byte {
	b = appendItem(b, h.pos, packedTxn+len(meta), true, seed)
	at := len(b)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint32{uint32(run), h.length, h.records, h.gone, uint32(len(meta))} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, uint64(h.tid))
	b = le.AppendUint64(b, uint64(h.next))
	b = append(b, meta...)
	le.PutUint32(b[at:], crc32.Update(seed, castagnoli, b[at+4:]))
	return b
}

// parsePackedTxn verifies a transaction's content and gives its head, its meta
// and the length of its records.
func parsePackedTxn(b []byte, it item, seed uint32) (h header, meta []byte, run int, err error) {
	if len(b) < it.length || crc32.Update(seed, castagnoli, b[4:it.length]) != le.Uint32(b) {
		return h, nil, 0, errBad
	}
	h = header{
		pos: it.pos, batch: it.pos, length: le.Uint32(b[8:]), records: le.Uint32(b[12:]), gone: le.Uint32(b[16:]), meta: le.Uint32(b[20:]),
		tid: batos.TID(le.Uint64(b[24:])), next: batos.OID(le.Uint64(b[32:])),
	}
	run = int(le.Uint32(b[4:]))
	if it.length != packedTxn+int(h.meta) || h.tid == 0 || h.length > maxTxn || run > 2*maxTxn {
		return h, nil, 0, errBad
	}
	return h, b[packedTxn:it.length], run, nil
}

// readPacked loads what is kept in memory of the packed segment in f.
func readPacked(f vfs.File, info segmentInfo) (*packed, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < segmentHeader+packedTrailer {
		return nil, errBad
	}
	var t [packedTrailer]byte
	if _, err := f.ReadAt(t[:], size-packedTrailer); err != nil {
		return nil, err
	}
	if string(t[:8]) != trailerMagic {
		return nil, errBad
	}
	p := &packed{
		end: info.end, size: size, items: int64(le.Uint64(t[8:])), transactions: int64(le.Uint64(t[24:])), revisions: int64(le.Uint64(t[32:])),
		before: batos.TID(le.Uint64(t[40:])), last: batos.TID(le.Uint64(t[48:])),
	}
	n := le.Uint64(t[16:])
	if p.items < segmentHeader || p.items > size || n > uint64(size)/fenceSize || p.items+int64(n)*fenceSize+packedTrailer != size || p.end <= info.base {
		return nil, errBad
	}
	b := make([]byte, int(n)*fenceSize, int(n)*fenceSize+packedTrailer)
	if len(b) > 0 {
		if _, err := f.ReadAt(b, p.items); err != nil {
			return nil, err
		}
	}
	sum := crc32.Update(crc32.Update(info.image.seed(), castagnoli, b), castagnoli, t[:packedTrailer-4])
	if sum != le.Uint32(t[packedTrailer-4:]) {
		return nil, errBad
	}
	p.fences = make([]fence, n)
	for i := range p.fences {
		p.fences[i] = fence{le.Uint64(b[fenceSize*i:]), int64(le.Uint64(b[fenceSize*i+8:]))}
	}
	return p, nil
}

// fence gives the last fence not after pos; without one, that of the first item.
func (p *packed) fence(pos uint64) int64 {
	i := sort.Search(len(p.fences), func(i int) bool { return p.fences[i].pos > pos })
	if i == 0 {
		return segmentHeader
	}
	return p.fences[i-1].off
}

// record gives the bytes of the record at pos, in memory of the caller's if buf
// is not nil and else in some of their own. They are read from f.
func (p *packed) record(f io.ReaderAt, pos uint64, seed uint32, buf *[]byte) ([]byte, error) {
	guess := guesses.Get().(*[readGuess]byte)
	defer guesses.Put(guess)
	off, b := p.fence(pos), guess[:0]
	start := off // of b
	for off < p.items {
		if off+itemHeader > start+int64(len(b)) {
			n, err := f.ReadAt(guess[:min(packedGuess, p.items-off)], off)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			start, b = off, guess[:n]
		}
		it, err := parseItem(b[off-start:], seed)
		if err != nil {
			return nil, err
		}
		off += itemHeader
		switch {
		case it.pos > pos || it.pos == pos && it.transaction:
			return nil, errGone
		case it.pos == pos:
			if off+int64(it.length) > p.items {
				return nil, errBad
			}
			out := room(buf, it.length)
			n := 0
			if off < start+int64(len(b)) {
				n = copy(out, b[off-start:])
			}
			if n < len(out) {
				if _, err := f.ReadAt(out[n:], off+int64(n)); err != nil {
					return nil, err
				}
			}
			return out, nil
		}
		off += int64(it.length)
	}
	if off > p.items {
		return nil, errBad
	}
	return nil, errGone
}

// stubSize is the length of a stub's record.
const stubSize = recordHeader + 8

// appendStub encodes what r leaves.
func appendStub(b []byte, r rawRecord, s stub, seed uint32) []byte {
	at := len(b)
	w := store.Write{OID: r.oid(), Data: le.AppendUint64(nil, uint64(s.since))}
	b = appendRecord(b, &w, r.tid(), s.prev, &lineage{number: r.number()}, seed)
	le.PutUint32(b[at+4:], flagStub)
	le.PutUint32(b[at:], crc32.Update(seed, castagnoli, b[at+4:]))
	return b
}

// packedWriter writes a packed segment. Its file gets its name in the end.
type packedWriter struct {
	fsys vfs.FS
	dir  string
	seed uint32
	f    vfs.File
	base uint64
	tmp  string
	off  int64
	safe int64 // synced
	buf  []byte
	p    packed
}

const (
	packedSuffix = ".packing"
	// syncEvery bounds what a sync at the end of a file has to write at once,
	// so that the syncs of commits never wait for long.
	syncEvery = 4 << 20
)

// newPackedWriter begins a packed segment in a folder. Its end has to be known
// now.
func newPackedWriter(fsys vfs.FS, dir string, id imageID, base, end uint64, before batos.TID) (*packedWriter, error) {
	tmp := filepath.Join(dir, segmentName(base)+packedSuffix)
	f, err := createFile(fsys, tmp)
	if err != nil {
		return nil, err
	}
	w := &packedWriter{fsys: fsys, dir: dir, seed: id.seed(), f: f, base: base, tmp: tmp, p: packed{end: end, before: before}}
	w.buf = appendSegmentHeader(nil, id, kindPacked, base, end)
	return w, nil
}

// transaction adds a transaction with the items of its records, whose places
// are counted from the first of them.
func (w *packedWriter) transaction(h *header, meta, items []byte, places []fence) error {
	w.fence(fence{h.pos, w.off + int64(len(w.buf))})
	w.buf = appendPackedTxn(w.buf, h, len(items), meta, w.seed)
	start := w.off + int64(len(w.buf))
	for _, at := range places {
		w.fence(fence{at.pos, start + at.off})
	}
	w.buf = append(w.buf, items...)
	w.p.last = h.tid
	return w.flush(copyBuffer)
}

// fence notes that an item begins there.
func (w *packedWriter) fence(f fence) {
	if n := len(w.p.fences); n == 0 || f.off >= w.p.fences[n-1].off+fenceEvery {
		w.p.fences = append(w.p.fences, f)
	}
}

// flush writes what is buffered once there is enough of it.
func (w *packedWriter) flush(least int) error {
	if len(w.buf) < least {
		return nil
	}
	if _, err := w.f.WriteAt(w.buf, w.off); err != nil {
		return err
	}
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	if w.off-w.safe >= syncEvery {
		w.safe = w.off
		return w.f.Datasync()
	}
	return nil
}

// finish completes the file and makes it the segment, durably.
func (w *packedWriter) finish() (*segment, error) {
	w.p.items = w.off + int64(len(w.buf))
	at := len(w.buf)
	for _, f := range w.p.fences {
		w.buf = le.AppendUint64(w.buf, f.pos)
		w.buf = le.AppendUint64(w.buf, uint64(f.off))
	}
	w.buf = append(w.buf, trailerMagic...)
	for _, v := range []uint64{
		uint64(w.p.items), uint64(len(w.p.fences)), uint64(w.p.transactions), uint64(w.p.revisions), uint64(w.p.before), uint64(w.p.last),
	} {
		w.buf = le.AppendUint64(w.buf, v)
	}
	w.buf = le.AppendUint32(w.buf, 0)
	w.buf = le.AppendUint32(w.buf, crc32.Update(w.seed, castagnoli, w.buf[at:]))
	if err := w.flush(0); err != nil {
		return nil, err
	}
	w.p.size = w.off
	if err := w.f.Sync(); err != nil {
		return nil, err
	}
	name := filepath.Join(w.dir, segmentName(w.base))
	if err := w.fsys.Rename(w.tmp, name); err != nil {
		return nil, err
	}
	if err := w.fsys.SyncDir(w.dir); err != nil {
		return nil, err
	}
	p := w.p
	return &segment{base: w.base, f: w.f, name: name, allocated: p.size, packed: &p}, nil
}

// drop removes the unfinished file; what cannot be removed now is at the next
// open.
func (w *packedWriter) drop() {
	_ = w.f.Close()
	_ = w.fsys.Remove(w.tmp)
}
