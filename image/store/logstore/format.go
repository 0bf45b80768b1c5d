package logstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"batos"
	"batos/image/store"
)

// FormatVersion is the format of the log and its index that this release
// writes, and the newest that it reads.
const FormatVersion = 2

// The log is a sequence of bytes cut into segments, one file each. A position
// counts from the beginning of the whole log, headers included, so that the
// file of a segment is named by the position of its first byte. All numbers
// are little endian, all checksums CRC-32C.
//
//	segment      header, transactions, then zeros or nothing
//	header       magic[8] version u32, kind u32, image[16], base u64, end u64, 0[12], crc u32
//	transaction  magic u32, crc u32, length u32, records u32, pos u64, batch u64,
//	             tid u64, next oid u64, meta length u32, 0 u32, meta, records
//	record       crc u32, flags u32, oid u64, tid u64, previous u64,
//	             data length u32, refs u32, blobs u32, number u32,
//	             anchors, refs, blobs, data
//	anchor       tid u64, position u64
//
// The kind of a segment is 0, and its end 0; packed segments (packed.go) have
// kind 1 and know their end. A header keeps magic and version in the same place in every format. The
// checksums of transactions and records begin with the image's identity, so
// that bytes of another image, or of an older file in the same place on the
// disk, are never taken for this one's. A transaction's covers everything
// after it; a record's covers the record, so that one revision can be verified
// without the transaction around it.
//
// pos is where the transaction stands; batch is where the first transaction
// of its write stands. A batch is written when the batches before it are
// known to be on the disk: this is how recovery tells a torn end, after which
// at most bytes of the same batch can stand, from damage.
//
// previous is the position of the object's revision before this one, 0 if it
// is the first. number counts the object's revisions from 0, and the anchors
// shorten the way back: the one of level k = 1, 2, … says where the newest
// earlier revision is whose number is a multiple of 8^k. There are as many as
// flags say in bits 8 to 15, those with 8^k <= number; zeros where it is not
// known.
const (
	segmentMagic = "BATOSLOG"
	txnMagic     = 0x314e5854 // "TXN1"

	segmentHeader = 64
	txnHeader     = 56
	recordHeader  = 48
	anchorSize    = 16

	kindLog    = 0
	kindPacked = 1

	flagDelete  = 1
	flagStub    = 2 // in packed segments only
	levelsShift = 8

	// maxTxn bounds one transaction in the log.
	maxTxn = 1 << 30
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
	be         = binary.BigEndian // of SHA-256

	errBad = errors.New("not a transaction")
)

// imageID tells the files of one image from those of others.
type imageID [16]byte

// seed is where the image's checksums begin.
func (id imageID) seed() uint32 { return crc32.Checksum(id[:], castagnoli) }

type segmentInfo struct {
	version uint32
	kind    uint32
	image   imageID
	base    uint64
	end     uint64
}

func appendSegmentHeader(b []byte, id imageID, kind uint32, base, end uint64) []byte {
	at := len(b)
	b = append(b, make([]byte, segmentHeader)...)
	h := b[at:]
	copy(h, segmentMagic)
	le.PutUint32(h[8:], FormatVersion)
	le.PutUint32(h[12:], kind)
	copy(h[16:], id[:])
	le.PutUint64(h[32:], base)
	le.PutUint64(h[40:], end)
	le.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
	return b
}

// parseSegmentHeader reads a header. Another format answers only its version.
func parseSegmentHeader(h []byte) (segmentInfo, error) {
	if len(h) < segmentHeader || string(h[:8]) != segmentMagic {
		return segmentInfo{}, errBad
	}
	info := segmentInfo{version: le.Uint32(h[8:]), kind: le.Uint32(h[12:]), base: le.Uint64(h[32:]), end: le.Uint64(h[40:])}
	if info.version > FormatVersion {
		return info, nil
	}
	if info.version < FormatVersion || info.kind > kindPacked || crc32.Checksum(h[:60], castagnoli) != le.Uint32(h[60:]) {
		return segmentInfo{}, errBad
	}
	copy(info.image[:], h[16:32])
	return info, nil
}

// header is the head of a transaction.
type header struct {
	length  uint32
	records uint32
	pos     uint64
	batch   uint64
	tid     batos.TID
	next    batos.OID // no OID below DerivedOID from here on was given out before
	meta    uint32
	gone    uint32 // records that pack removed
}

// end is the position after the transaction.
func (h *header) end() uint64 { return h.pos + uint64(h.length) }

// parseHeader reads the head of the transaction at pos. It says nothing about
// the checksum yet, for which the whole transaction is needed.
func parseHeader(b []byte, pos uint64) (header, error) {
	if len(b) < txnHeader || le.Uint32(b) != txnMagic {
		return header{}, errBad
	}
	h := header{
		length:  le.Uint32(b[8:]),
		records: le.Uint32(b[12:]),
		pos:     le.Uint64(b[16:]),
		batch:   le.Uint64(b[24:]),
		tid:     batos.TID(le.Uint64(b[32:])),
		next:    batos.OID(le.Uint64(b[40:])),
		meta:    le.Uint32(b[48:]),
	}
	least := uint64(txnHeader) + uint64(h.meta) + uint64(h.records)*recordHeader
	if h.pos != pos || h.batch > pos || h.tid == 0 || h.length > maxTxn || uint64(h.length) < least {
		return header{}, errBad
	}
	return h, nil
}

// parseTransaction verifies and takes apart the transaction at pos, whose
// bytes are b, and calls each for its records with their positions. The
// revisions' bytes are parts of b.
func parseTransaction(b []byte, seed uint32, pos uint64, each func(pos uint64, r *record) error) (header, []byte, error) {
	h, err := parseHeader(b, pos)
	if err != nil {
		return h, nil, err
	}
	if int(h.length) != len(b) || crc32.Update(seed, castagnoli, b[8:]) != le.Uint32(b[4:]) {
		return h, nil, errBad
	}
	meta := b[txnHeader : txnHeader+h.meta]
	at := txnHeader + int(h.meta)
	for range h.records {
		r, n, err := parseRecord(b[at:], seed)
		if err != nil {
			return h, nil, err
		}
		if r.TID != h.tid || r.prev >= pos+uint64(at) || r.stub {
			return h, nil, errBad
		}
		if err := each(pos+uint64(at), &r); err != nil {
			return h, nil, err
		}
		at += n
	}
	if at != len(b) {
		return h, nil, errBad
	}
	return h, meta, nil
}

// sealTransaction writes the head of a transaction whose meta and records
// stand in b already.
func sealTransaction(b []byte, h header, seed uint32) {
	le.PutUint32(b, txnMagic)
	le.PutUint32(b[8:], h.length)
	le.PutUint32(b[12:], h.records)
	le.PutUint64(b[16:], h.pos)
	le.PutUint64(b[24:], h.batch)
	le.PutUint64(b[32:], uint64(h.tid))
	le.PutUint64(b[40:], uint64(h.next))
	le.PutUint32(b[48:], h.meta)
	le.PutUint32(b[52:], 0)
	le.PutUint32(b[4:], crc32.Update(seed, castagnoli, b[8:]))
}

// record is one revision as it stands in the log.
type record struct {
	store.Revision
	prev uint64
	lineage
	stub bool // says only where the next older revision is (see packed.go)
	raw  []byte
}

// lineage is what a record says of the revisions before it.
type lineage struct {
	number  uint32
	anchors []anchor // of level 1, 2, …
}

// anchor points to an earlier revision of the same object.
type anchor struct {
	tid batos.TID
	pos uint64 // 0: not known
}

const (
	anchorBits = 3 // 8 revisions to a step of the next lower level
	maxLevels  = 32 / anchorBits
)

// levels is how many anchors the revision of a number has.
func levels(number uint32) int {
	n := 0
	for number >>= anchorBits; number > 0; number >>= anchorBits {
		n++
	}
	return n
}

func recordSize(w *store.Write, l *lineage) uint64 {
	return recordHeader + uint64(len(l.anchors))*anchorSize + uint64(len(w.Refs))*8 + uint64(len(w.Blobs))*32 + uint64(len(w.Data))
}

func appendRecord(b []byte, w *store.Write, tid batos.TID, prev uint64, l *lineage, seed uint32) []byte {
	at := len(b)
	flags := uint32(len(l.anchors)) << levelsShift
	if w.Delete {
		flags |= flagDelete
	}
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, uint64(w.OID))
	b = le.AppendUint64(b, uint64(tid))
	b = le.AppendUint64(b, prev)
	b = le.AppendUint32(b, uint32(len(w.Data)))
	b = le.AppendUint32(b, uint32(len(w.Refs)))
	b = le.AppendUint32(b, uint32(len(w.Blobs)))
	b = le.AppendUint32(b, l.number)
	for _, a := range l.anchors {
		b = le.AppendUint64(b, uint64(a.tid))
		b = le.AppendUint64(b, a.pos)
	}
	for _, ref := range w.Refs {
		b = le.AppendUint64(b, uint64(ref))
	}
	for i := range w.Blobs {
		b = append(b, w.Blobs[i][:]...)
	}
	b = append(b, w.Data...)
	le.PutUint32(b[at:], crc32.Update(seed, castagnoli, b[at+4:]))
	return b
}

// recordLength gives the length of the record that begins with b, which holds
// at least a record header.
func recordLength(b []byte) uint64 {
	return (recordHeader + uint64(le.Uint32(b[32:])) + uint64(le.Uint32(b[36:]))*8) +
		(uint64(recordLevels(b))*anchorSize + uint64(le.Uint32(b[40:]))*32)
}

func recordLevels(b []byte) uint8 { return uint8(le.Uint32(b[4:]) >> levelsShift) }

// parseRecord verifies and takes apart the record at the beginning of b, and
// gives its length. Data is part of b.
func parseRecord(b []byte, seed uint32) (record, int, error) {
	var r record
	if err := r.parseHead(b, seed); err != nil {
		return record{}, 0, err
	}
	r.parseRest()
	return r, len(r.raw), nil
}

// parseHead is parseRecord without lineage, references and blobs; r is empty.
func (r *record) parseHead(b []byte, seed uint32) error {
	if len(b) < recordHeader {
		return errBad
	}
	n := recordLength(b)
	if n > uint64(len(b)) || recordLevels(b) > maxLevels {
		return errBad
	}
	b = b[:n]
	if crc32.Update(seed, castagnoli, b[4:]) != le.Uint32(b) {
		return errBad
	}
	r.raw, r.prev = b, le.Uint64(b[24:])
	r.OID, r.TID = batos.OID(le.Uint64(b[8:])), batos.TID(le.Uint64(b[16:]))
	flags := le.Uint32(b[4:])
	r.Delete, r.stub = flags&flagDelete != 0, flags&flagStub != 0
	data := len(b) - int(le.Uint32(b[32:]))
	r.Data = b[data:len(b):len(b)]
	return nil
}

// parseRest reads what parseHead left out.
func (r *record) parseRest() {
	b := r.raw
	r.lineage = parseLineage(b)
	refs, blobs := int(le.Uint32(b[36:])), int(le.Uint32(b[40:]))
	b = b[recordHeader+anchorSize*len(r.anchors):]
	if refs > 0 {
		r.Refs = make([]batos.OID, refs)
		for i := range r.Refs {
			r.Refs[i] = batos.OID(le.Uint64(b[8*i:]))
		}
		b = b[8*refs:]
	}
	if blobs > 0 {
		r.Blobs = make([]store.BlobHash, blobs)
		for i := range r.Blobs {
			copy(r.Blobs[i][:], b[32*i:])
		}
	}
}
