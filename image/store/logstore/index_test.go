package logstore

import (
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// TestHalfTIDs: the index gives whole TIDs of transactions that lie close
// together in the log and far apart in time, also when it was in a file.
func TestHalfTIDs(t *testing.T) {
	x, rng := newIndex(), rand.New(rand.NewPCG(1, 9))
	pos, tid := uint64(segmentHeader), batos.TID(1<<50)
	want := map[batos.OID]entry{}
	for n := range 2000 {
		tid += []batos.TID{1, 1000, markAfter - 1, markAfter, markAfter + 1, 5 * markAfter}[rng.IntN(6)]
		size := uint64(200 + rng.IntN(3000))
		for i := range uint64(1 + rng.IntN(3)) {
			oid := batos.OID(1 + rng.IntN(9000))
			e := makeEntry(pos+txnHeader+50*i, tid, n%5 == 0)
			x.set(oid, e)
			want[oid] = e
		}
		x.add(tid, pos, pos+size, 9001)
		pos += size
	}
	b := indexBytes(t, testID, x, nil)
	f, err := parseIndex(strings.NewReader(string(b)), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*index{x, f.idx} {
		for oid, e := range want {
			if got := x.get(oid); got != e {
				t.Fatalf("%v is %v, want %v", oid, got, e)
			}
		}
		n := 0
		for oid, got := range x.entries() {
			if n++; got != want[oid] {
				t.Fatalf("%v of all is %v, want %v", oid, got, want[oid])
			}
		}
		if n != len(want) {
			t.Fatalf("%d entries of %d", n, len(want))
		}
	}
}

// TestEqualHalves: a revision is not taken for an older one whose TID has the
// same low half.
func TestEqualHalves(t *testing.T) {
	now := time.UnixMicro(1 << 50)
	s, err := Open(t.Context(), vfs.NewMem(), "/image", Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(base batos.TID, data string) (batos.TID, error) {
		return s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Base: base, Data: []byte(data)}}})
	}
	first, err := put(0, "one")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(markAfter * time.Microsecond)
	second, err := put(first, "two")
	if err != nil || second != first+markAfter {
		t.Fatalf("%v after %v, %v", second, first, err)
	}
	if _, err := put(first, "lost update"); batos.CodeOf(err) != batos.Conflict {
		t.Fatalf("a stale base: %v", err)
	}
	if _, err := put(second, "three"); err != nil {
		t.Fatal(err)
	}
}

// TestIndexOfVersion3 is not used, but says how far the log was durable.
func TestIndexOfVersion3(t *testing.T) {
	const dir, log = "/image", "/image/live_image.fs/0000000000000000.seg"
	disk := vfs.NewMem()
	open := func() (*Store, error) { return Open(t.Context(), disk, dir, Options{}) }
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	for oid := range batos.OID(20) {
		if _, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oid + 1, Data: []byte("data")}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := dir + "/" + IndexFile
	b, err := vfs.ReadFile(disk, name)
	if err != nil {
		t.Fatal(err)
	}
	le.PutUint32(b[8:], 3)
	le.PutUint32(b[indexHeader-4:], crc32.Update(imageID(b[16:]).seed(), castagnoli, b[:indexHeader-4]))
	write := func() {
		if err := vfs.WriteFile(disk, name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if s, err = open(); err != nil {
		t.Fatal(err)
	}
	if r, n := s.Recovery(), s.Stats().Objects; r.Replayed != 20 || !strings.Contains(r.IndexLost, "older release") || n != 20 {
		t.Errorf("%d objects, %+v", n, r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write()
	f, err := disk.OpenFile(log, os.O_RDWR, 0)
	if err == nil {
		err = f.Truncate(500)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = open(); batos.CodeOf(err) != batos.Corrupt || !strings.Contains(err.Error(), "was longer before") {
		t.Errorf("a log that lost its end: %v, %v", s, err)
	}
}
