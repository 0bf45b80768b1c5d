package logstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

var testID = imageID{1, 2, 3}

// encode makes a transaction at pos with one record per write.
func encode(pos uint64, tid batos.TID, meta []byte, writes []store.Write) []byte {
	b := append(make([]byte, txnHeader), meta...)
	for i := range writes {
		b = appendRecord(b, &writes[i], tid, 0, &lineage{number: uint32(i)}, testID.seed())
	}
	sealTransaction(b, header{
		length: uint32(len(b)), records: uint32(len(writes)), pos: pos, batch: pos, tid: tid, next: 9, meta: uint32(len(meta)),
	}, testID.seed())
	return b
}

func parseAll(b []byte, pos uint64) (h header, meta []byte, revs []store.Revision, err error) {
	h, meta, err = parseTransaction(b, testID.seed(), pos, func(_ uint64, r *record) error {
		revs = append(revs, r.Revision)
		return nil
	})
	return h, meta, revs, err
}

func TestTransactionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		oid := rapid.Custom(func(t *rapid.T) batos.OID { return batos.OID(rapid.Uint64().Draw(t, "oid")) })
		hash := rapid.Custom(func(t *rapid.T) store.BlobHash {
			return sha256.Sum256([]byte{rapid.Byte().Draw(t, "blob")})
		})
		data := rapid.SliceOfN(rapid.Byte(), 0, 100)
		var writes []store.Write
		var want []store.Revision
		pos, tid := rapid.Uint64Range(segmentHeader, 1<<50).Draw(t, "pos"), batos.TID(rapid.Uint64Min(1).Draw(t, "tid"))
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			w := store.Write{OID: oid.Draw(t, "oid"), Delete: rapid.Bool().Draw(t, "delete")}
			r := store.Revision{OID: w.OID, TID: tid, Delete: w.Delete, Data: []byte{}}
			if !w.Delete {
				w.Data = data.Draw(t, "data")
				w.Refs = rapid.SliceOfN(oid, 0, 4).Draw(t, "refs")
				w.Blobs = rapid.SliceOfN(hash, 0, 3).Draw(t, "blobs")
				r.Data = w.Data
				if len(w.Refs) > 0 {
					r.Refs = w.Refs
				}
				if len(w.Blobs) > 0 {
					r.Blobs = w.Blobs
				}
			}
			writes, want = append(writes, w), append(want, r)
		}
		meta := data.Draw(t, "meta")
		b := encode(pos, tid, meta, writes)
		h, gotMeta, got, err := parseAll(b, pos)
		if err != nil || h.tid != tid || h.end() != pos+uint64(len(b)) || !bytes.Equal(gotMeta, meta) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %+v, %v", want, h, got, err)
		}
		// Nothing but exactly these bytes in exactly this place is a transaction.
		if _, _, _, err := parseAll(b, pos+1); err == nil {
			t.Fatal("accepted in another place")
		}
		if _, _, _, err := parseAll(b[:len(b)-1], pos); err == nil {
			t.Fatal("accepted cut")
		}
		if _, _, err := parseTransaction(b, testID.seed()+1, pos, func(uint64, *record) error { return nil }); err == nil {
			t.Fatal("accepted in another image")
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, _, _, err := parseAll(b, pos); err == nil {
			t.Fatal("accepted with a flipped bit")
		}
	})
}

// FuzzTransaction: no bytes make the parser panic, not even with a right
// checksum, and what it accepts fits in what it was given.
func FuzzTransaction(f *testing.F) {
	f.Add(encode(64, 7, []byte("meta"), []store.Write{{OID: 1, Data: []byte("data"), Refs: []batos.OID{2}, Blobs: []store.BlobHash{{3}}}}), true)
	f.Add(encode(64, 7, nil, []store.Write{{OID: 1, Delete: true}, {OID: 2}}), false)
	f.Add([]byte("TXN1"), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = bytes.Clone(b)
		if seal && len(b) >= txnHeader {
			le.PutUint32(b[4:], crc32.Update(testID.seed(), castagnoli, b[8:]))
		}
		_, meta, revs, err := parseAll(b, 64)
		if err != nil {
			return
		}
		size := txnHeader + len(meta)
		for _, r := range revs {
			size += recordHeader + len(r.Data) + 8*len(r.Refs) + 32*len(r.Blobs)
		}
		if size != len(b) {
			t.Fatalf("%d bytes parsed of %d", size, len(b))
		}
	})
}

// FuzzRecord: the same for a record alone.
func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, &store.Write{OID: 1, Data: []byte("data"), Refs: []batos.OID{2}}, 3, 4, &lineage{number: 9, anchors: []anchor{{1, 2}}}, testID.seed()), true)
	f.Add(make([]byte, recordHeader), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = bytes.Clone(b)
		if n := len(b); seal && n >= recordHeader && recordLength(b) <= uint64(n) {
			le.PutUint32(b, crc32.Update(testID.seed(), castagnoli, b[4:recordLength(b)]))
		}
		r, n, err := parseRecord(b, testID.seed())
		if err == nil && n != recordHeader+anchorSize*len(r.anchors)+len(r.Data)+8*len(r.Refs)+32*len(r.Blobs) {
			t.Fatalf("%d bytes parsed of %d", n, len(b))
		}
	})
}

// someIndex makes an index with something of everything.
func someIndex() (*index, []store.BlobHash) {
	x := newIndex()
	rng := rand.New(rand.NewPCG(3, 3))
	pos := uint64(segmentHeader)
	for i := range 500 {
		oid := batos.OID(1 + rng.IntN(20_000))
		switch i % 10 {
		case 0:
			oid = batos.DeriveOID("x", string(rune(i)))
		case 1:
			oid += denseOIDs
		}
		x.set(oid, makeEntry(pos+txnHeader, batos.TID(i+1), i%7 == 0))
		x.add(batos.TID(i+1), pos, pos+5000, batos.OID(i))
		pos += 5000
	}
	return x, []store.BlobHash{{1}, {2}}
}

func TestIndexRoundTrip(t *testing.T) {
	for _, empty := range []bool{false, true} {
		x, blobs := newIndex(), []store.BlobHash(nil)
		if !empty {
			x, blobs = someIndex()
		}
		b := indexBytes(t, testID, x, blobs)
		f, err := parseIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if f.image != testID || f.upTo != x.end || !reflect.DeepEqual(f.blobs, blobs) || f.idx.state != x.state || !reflect.DeepEqual(f.idx.marks, x.marks) {
			t.Fatalf("%+v became %+v", x.state, f.idx.state)
		}
		for oid := range batos.OID(21_000) {
			if x.get(oid) != f.idx.get(oid) || x.get(oid+denseOIDs) != f.idx.get(oid+denseOIDs) {
				t.Fatalf("%v was %v and is %v", oid, x.get(oid), f.idx.get(oid))
			}
		}
		if got, want := maps.Collect(f.idx.entries()), maps.Collect(x.entries()); !maps.Equal(got, want) {
			t.Fatal("entries differ")
		}
	}
}

func FuzzIndex(f *testing.F) {
	x := newIndex()
	x.set(1, entry{100, 1})
	x.set(batos.DerivedOID+5, entry{200, 2})
	x.add(2, 64, 300, 6)
	f.Add(indexBytes(f, testID, x, []store.BlobHash{{1}}), true)
	f.Add([]byte(indexMagic), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = bytes.Clone(b)
		if n := len(b) - 4; seal && n >= indexHeader { // makes all checksums right
			seed := imageID(b[16:]).seed()
			off, tail := uint64(indexHeader), le.Uint64(b[88:])
			if tail <= uint64(n) && uint64(n)-tail >= 32 {
				t := b[tail:]
				pages := le.Uint64(t)
				for t = t[32:]; pages > 0 && len(t) >= directoryEntry; pages, t = pages-1, t[directoryEntry:] {
					if end := off + entrySize*uint64(le.Uint32(t[4:])); end <= uint64(n) {
						le.PutUint32(t[8:], crc32.Update(seed, castagnoli, b[off:end]))
						off = end
					}
				}
				le.PutUint32(b[n:], crc32.Update(seed, castagnoli, b[tail:n]))
			}
			le.PutUint32(b[indexHeader-4:], crc32.Update(seed, castagnoli, b[:indexHeader-4]))
		}
		file, err := parseIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		b = indexBytes(t, file.image, file.idx, file.blobs)
		again, err := parseIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(again.idx.pages) != len(file.idx.pages) {
			t.Fatalf("accepted once only: %v", err)
		}
	})
}

// indexBytes gives an index as a file.
func indexBytes(t testing.TB, id imageID, x *index, blobs []store.BlobHash) []byte {
	t.Helper()
	disk := vfs.NewMem()
	err := vfs.Replace(disk, "/index", 0o600, func(f vfs.File) error {
		return writeIndexTo(f, id, x, func() []store.BlobHash { return blobs })
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := vfs.ReadFile(disk, "/index")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzSums(f *testing.F) {
	f.Add((&sums{size: 5, chained: true, list: make([]byte, sha256.Size)}).encode(), true)
	f.Add((&sums{}).encode(), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = bytes.Clone(b)
		if n := len(b) - 4; seal && n >= 0 {
			le.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		}
		s, err := parseSums(b)
		if err != nil {
			return
		}
		if int64(len(s.list)/sha256.Size) != (s.size+chunk-1)/chunk {
			t.Fatalf("%d bytes have %d sums", s.size, len(s.list)/sha256.Size)
		}
		if again, err := parseSums(s.encode()); err != nil || again.size != s.size || again.chained != s.chained || !bytes.Equal(again.list, s.list) {
			t.Fatalf("%+v is read again as %+v, %v", s, again, err)
		}
	})
}

// FuzzOpen: whatever stands in a segment after its header, opening answers
// with a store that can be read and written, or an error with a code.
func FuzzOpen(f *testing.F) {
	one := encode(segmentHeader, 7, []byte("meta"), []store.Write{{OID: 1, Data: []byte("data")}})
	f.Add(one)
	f.Add(append(bytes.Clone(one), encode(segmentHeader+uint64(len(one)), 8, nil, []store.Write{{OID: 1, Delete: true}})...))
	f.Add(append(bytes.Repeat([]byte{1}, 50), encode(segmentHeader+50, 8, nil, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := vfs.NewMem()
		name := filepath.Join("/image", LogDir, segmentName(0))
		if err := disk.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(disk, name, append(appendSegmentHeader(nil, testID, kindLog, 0, 0), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		salvageAll(t, disk)
		s, err := Open(t.Context(), disk, "/image", Options{})
		if err != nil {
			if batos.CodeOf(err) != batos.Corrupt {
				t.Fatal(err)
			}
			return
		}
		defer s.Close()
		n := 0
		for _, err := range s.Transactions(t.Context(), 0, 1<<64-1) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if s.Stats().Transactions != int64(n) {
			t.Fatalf("%d transactions of %d", n, s.Stats().Transactions)
		}
		if _, err := s.Commit(t.Context(), &store.Changes{}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzManifest: what is accepted as the manifest of a backup is written as it
// was read, and names nothing outside of the backup.
func FuzzManifest(f *testing.F) {
	m := &manifest{
		Format: backupVersion, Image: strings.Repeat("0a", 16), End: 200, LastPos: 64, LastTID: 7, Blobs: []string{strings.Repeat("00", 32)},
		Segments: []savedPiece{{File: segmentName(0), Base: 0, End: 100, Bytes: 100, CRC: 1}, {File: segmentName(100), Base: 100, End: 200, Bytes: 100, Gone: 3, Before: 5}},
	}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add([]byte("{}\n00000000\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if line, _, ok := bytes.Cut(b, []byte("\n")); ok && seal {
			b = fmt.Appendf(bytes.Clone(line), "\n%08x\n", crc32.Checksum(line, castagnoli))
		}
		m, err := parseManifest(b)
		if err != nil {
			if !errors.Is(err, errBad) && batos.CodeOf(err) != batos.NewerFormat {
				t.Fatal(err)
			}
			return
		}
		for _, p := range m.Segments {
			if filepath.Base(p.File) != p.File || p.File == ".." {
				t.Fatalf("a segment's copy is called %q", p.File)
			}
		}
		again, err := m.encode()
		if err == nil {
			_, err = parseManifest(again)
		}
		if err != nil {
			t.Fatalf("accepted once only: %v", err)
		}
	})
}

// sealItems makes the checksums of items right, as far as they look like items.
func sealItems(b []byte, seed uint32) {
	for len(b) >= itemHeader {
		le.PutUint32(b[12:], crc32.Update(seed, castagnoli, b[:12]))
		it, err := parseItem(b, seed)
		b = b[itemHeader:]
		if err != nil || it.length > len(b) {
			return
		}
		if n := uint64(it.length); it.transaction {
			le.PutUint32(b, crc32.Update(seed, castagnoli, b[4:n]))
		} else if recordLength(b) <= n {
			le.PutUint32(b, crc32.Update(seed, castagnoli, b[4:recordLength(b)]))
		}
		b = b[it.length:]
	}
}

// salvageAll opens what is left of an image and reads it: this works, or is an
// error with a code.
func salvageAll(t *testing.T, disk vfs.FS) {
	t.Helper()
	s, err := Open(t.Context(), disk, "/image", Options{Salvage: true})
	if err != nil {
		if batos.CodeOf(err) == "" {
			t.Fatal(err)
		}
		return
	}
	defer s.Close()
	p, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for oid, err := range s.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if r, err := p.Load(t.Context(), oid); err != nil && batos.CodeOf(err) == "" || err == nil && r.OID != oid {
			t.Fatalf("%v is %+v, %v", oid, r, err)
		}
	}
}

// FuzzPacked: whatever stands in a packed segment, its trailer sealed or not,
// opening, reading, verifying and packing answer with an error with a code or
// work.
func FuzzPacked(f *testing.F) {
	one := func(keep bool) []byte {
		disk := vfs.NewMem()
		s, err := Open(f.Context(), disk, "/image", Options{SegmentBytes: 256})
		if err != nil {
			f.Fatal(err)
		}
		base := batos.TID(0)
		for i := range 4 {
			if base, err = s.Commit(f.Context(), &store.Changes{Meta: []byte("m"), Writes: []store.Write{{OID: 1, Base: base, Data: bytes.Repeat([]byte{byte(i)}, 60)}}}); err != nil {
				f.Fatal(err)
			}
		}
		if _, err := s.Pack(f.Context(), store.PackOptions{Before: base, Keep: func(_ []byte, r *store.Revision) bool { return keep && r.Data[0] == 0 }}); err != nil {
			f.Fatal(err)
		}
		b, err := vfs.ReadFile(disk, s.segs.all()[0].name)
		if err != nil || s.Close() != nil {
			f.Fatal(err)
		}
		return b[segmentHeader:]
	}
	f.Add(one(false), false)
	f.Add(one(true), true)
	f.Add(one(true)[:len(one(true))-20], true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		disk := vfs.NewMem()
		name := filepath.Join("/image", LogDir, segmentName(0))
		if err := disk.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		b = bytes.Clone(b)
		const end = 4096
		if n := len(b) - packedTrailer; seal && n >= 0 {
			items := int(min(le.Uint64(b[n+8:]), uint64(n+segmentHeader)))
			if items >= segmentHeader {
				sealItems(b[:items-segmentHeader], testID.seed())
				sum := crc32.Update(testID.seed(), castagnoli, b[items-segmentHeader:len(b)-4])
				le.PutUint32(b[len(b)-4:], sum)
			}
		}
		files := map[string][]byte{name: append(appendSegmentHeader(nil, testID, kindPacked, 0, end), b...)}
		files[filepath.Join("/image", LogDir, segmentName(end))] = appendSegmentHeader(nil, testID, kindLog, end, 0)
		for name, b := range files {
			if err := vfs.WriteFile(disk, name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		coded := func(err error) bool { return err == nil || batos.CodeOf(err) != "" }
		salvageAll(t, disk)
		s, err := Open(t.Context(), disk, "/image", Options{})
		if err != nil {
			if !coded(err) {
				t.Fatal(err)
			}
			return
		}
		defer s.Close()
		for _, err := range s.Transactions(t.Context(), 0, 1<<64-1) {
			if !coded(err) {
				t.Fatal(err)
			}
		}
		for _, err := range s.History(t.Context(), 1) {
			if !coded(err) {
				t.Fatal(err)
			}
		}
		for _, err := range s.Verify(t.Context(), store.VerifyOptions{}) {
			if !coded(err) {
				t.Fatal(err)
			}
		}
		if _, err := s.Pack(t.Context(), store.PackOptions{Before: s.LastTID()}); !coded(err) {
			t.Fatal(err)
		}
	})
}
