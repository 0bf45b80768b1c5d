package logstore

import (
	"hash/crc32"

	"batos"
	"batos/image/store"
)

// rawRecord is the bytes of one record that stand in a verified transaction.
// Pack looks at millions of them and keeps few, so that it takes none apart
// that it need not.
type rawRecord []byte

func (r rawRecord) oid() batos.OID { return batos.OID(le.Uint64(r[8:])) }
func (r rawRecord) tid() batos.TID { return batos.TID(le.Uint64(r[16:])) }
func (r rawRecord) number() uint32 { return le.Uint32(r[44:]) }
func (r rawRecord) deleted() bool  { return le.Uint32(r[4:])&flagDelete != 0 }
func (r rawRecord) stub() bool     { return le.Uint32(r[4:])&flagStub != 0 }
func (r rawRecord) refs() int      { return int(le.Uint32(r[36:])) }
func (r rawRecord) blobs() int     { return int(le.Uint32(r[40:])) }

// refsAt is where the references begin.
func (r rawRecord) refsAt() int { return recordHeader + anchorSize*int(recordLevels(r)) }

func (r rawRecord) blob(i int) store.BlobHash {
	return store.BlobHash(r[r.refsAt()+8*r.refs()+32*i:])
}

func (r rawRecord) data() []byte {
	at := r.refsAt() + 8*r.refs() + 32*r.blobs()
	return r[at:len(r):len(r)]
}

// since is that of a stub.
func (r rawRecord) since() batos.TID { return batos.TID(le.Uint64(r.data())) }

// revision takes the record apart into a revision that is used again and again.
func (r rawRecord) revision(into *store.Revision) *store.Revision {
	into.OID, into.TID, into.Delete, into.Data = r.oid(), r.tid(), r.deleted(), r.data()
	into.Refs, into.Blobs = into.Refs[:0], into.Blobs[:0]
	for i, at := 0, r.refsAt(); i < r.refs(); i, at = i+1, at+8 {
		into.Refs = append(into.Refs, batos.OID(le.Uint64(r[at:])))
	}
	for i := range r.blobs() {
		into.Blobs = append(into.Blobs, r.blob(i))
	}
	return into
}

// intact verifies the record's own checksum.
func (r rawRecord) intact(seed uint32) bool {
	return crc32.Update(seed, castagnoli, r[4:]) == le.Uint32(r)
}

// fits reports whether the record is one of transaction h that may stand at
// pos; what is before it is known to be as long as it says.
func (r rawRecord) fits(h *header, pos uint64) bool {
	return recordLevels(r) <= maxLevels && r.tid() == h.tid && le.Uint64(r[24:]) < pos && (!r.stub() || len(r.data()) == 8)
}

// scan verifies the transaction and calls fn for its records with their
// positions, stubs too. In a segment as it was written the transaction's
// checksum covers the records, whose own are not looked at; in a packed one
// theirs are all there is.
func (t *txn) scan(seed uint32, fn func(pos uint64, r rawRecord) error) error {
	if t.seg.packed != nil {
		return t.scanPacked(seed, fn)
	}
	if crc32.Update(seed, castagnoli, t.b[8:]) != le.Uint32(t.b[4:]) {
		return errBad
	}
	b := t.b[txnHeader+int(t.meta):]
	pos := t.end() - uint64(len(b))
	for range t.records {
		r, rest := cutRecord(b)
		if r == nil || r.stub() || !r.fits(&t.header, pos) {
			return errBad
		}
		if err := fn(pos, r); err != nil {
			return err
		}
		pos += uint64(len(r))
		b = rest
	}
	if len(b) > 0 {
		return errBad
	}
	return nil
}

func (t *txn) scanPacked(seed uint32, fn func(pos uint64, r rawRecord) error) error {
	it, err := parseItem(t.b, seed)
	if err != nil {
		return err
	}
	h, _, run, err := parsePackedTxn(t.b[itemHeader:], it, seed)
	if err != nil {
		return err
	}
	b, last, n := t.b[itemHeader+it.length:], it.pos, uint32(0)
	if len(b) != run {
		return errBad
	}
	for ; len(b) > 0; n++ {
		it, err := parseItem(b, seed)
		if err != nil {
			return err
		}
		r, rest := cutRecord(b[itemHeader:])
		if it.transaction || it.pos <= last || it.pos >= h.end() || r == nil || it.length != len(r) || !r.intact(seed) || !r.fits(&h, it.pos) {
			return errBad
		}
		if err := fn(it.pos, r); err != nil {
			return err
		}
		last, b = it.pos, rest
	}
	if n != h.records {
		return errBad
	}
	return nil
}

// cutRecord gives the record that b begins with and what follows it; nil if b
// is too short for one.
func cutRecord(b []byte) (rawRecord, []byte) {
	if len(b) < recordHeader {
		return nil, nil
	}
	n := recordLength(b)
	if n > uint64(len(b)) {
		return nil, nil
	}
	return rawRecord(b[:n:n]), b[n:]
}
