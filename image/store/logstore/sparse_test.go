package logstore

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// TestSparse holds the table to a map.
func TestSparse(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	x, want := newIndex(), map[batos.OID]entry{}
	var oids []batos.OID
	for i := range 90_000 {
		oid := batos.OID(rng.Uint64()) | denseOIDs
		if i%2 == 0 { // neighbours, too
			oid = denseOIDs + batos.OID(i)
		}
		if i%3 == 0 && len(oids) > 0 {
			oid = oids[rng.IntN(len(oids))]
		}
		e := makeEntry(uint64(i+1), batos.TID(i+1), i%5 == 0)
		if was := x.sparse.set(oid, e); was != want[oid] {
			t.Fatalf("%v was %v, and %v was told", oid, want[oid], was)
		}
		want[oid] = e
		oids = append(oids, oid)
	}
	if got := maps.Collect(x.entries()); !maps.Equal(got, want) || x.sparse.n != len(want) {
		t.Fatalf("there are %d entries, %d are counted, %d were set", len(got), x.sparse.n, len(want))
	}
	for oid, e := range want {
		if got := x.get(oid); got != e {
			t.Fatalf("%v is %v, not %v", oid, got, e)
		}
		if got := x.get(oid ^ 1<<40); got != want[oid^1<<40] {
			t.Fatalf("%v, which was never set, is %v", oid^1<<40, got)
		}
	}
	for i, oid := range oids { // some go again
		if _, there := want[oid]; i%7 == 0 && there {
			x.sparse.remove(oid)
			delete(want, oid)
		}
	}
	if got := maps.Collect(x.entries()); !maps.Equal(got, want) || x.sparse.n != len(want) {
		t.Fatalf("there are %d entries, %d are counted, %d should be", len(got), x.sparse.n, len(want))
	}
	// As large as it is, it goes into the index file and back, in pieces.
	b := indexBytes(t, testID, x, []store.BlobHash{{1}})
	if len(b) < indexBuffer {
		t.Fatalf("%d bytes are one piece", len(b))
	}
	f, err := parseIndex(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if got := maps.Collect(f.idx.entries()); !maps.Equal(got, want) {
		t.Fatalf("of %d entries %d came back, or others", len(want), len(got))
	}
}

// TestSparseWhileItGrows: who goes through the entries meets each that is
// there all the time, once, while others come and pages are split.
func TestSparseWhileItGrows(t *testing.T) {
	x := newIndex()
	for i := range batos.OID(3000) {
		x.set(denseOIDs+i, entry{1, 1})
	}
	met, next := map[batos.OID]int{}, denseOIDs+batos.OID(1<<20)
	for oid := range x.entries() {
		met[oid]++
		for range 20 {
			x.set(next, entry{2, 2})
			next++
		}
		if next > denseOIDs+1<<20+100_000 {
			next = denseOIDs + 1<<20
		}
	}
	for oid, n := range met {
		if n != 1 {
			t.Fatalf("%v was met %d times", oid, n)
		}
	}
	for i := range batos.OID(3000) {
		if met[denseOIDs+i] != 1 {
			t.Fatalf("%v was not met", denseOIDs+i)
		}
	}
}

// TestSparseIsNoHeap: what is kept of a message costs no more than its item and
// the room that pages leave, and the collector knows nothing of it.
func TestSparseIsNoHeap(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := newIndex()
	for i := range n {
		x.set(batos.DeriveOID("message", strconv.Itoa(i)), entry{location(i + 1), batos.TID(i)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if heap := int64(after.HeapAlloc) - int64(before.HeapAlloc); heap > n {
		t.Errorf("%d entries are %d bytes of heap", n, heap)
	}
	if got := float64(x.sparse.made*sparsePageSize) / n; got > 60 {
		t.Errorf("an entry takes %.1f bytes", got)
	}
	runtime.KeepAlive(x)
}

func BenchmarkSparseSet(b *testing.B) {
	x := newIndex()
	rng := rand.New(rand.NewPCG(5, 5))
	for b.Loop() {
		x.set(batos.OID(rng.Uint64())|batos.DerivedOID, entry{1, 1})
	}
	b.ReportMetric(float64(x.sparse.made*sparsePageSize)/float64(x.sparse.n), "B/entry")
}

// TestPackForgetsWhatEnded: of an object with a derived OID that ended and was
// packed away, the index keeps nothing, here and after the next start.
func TestPackForgetsWhatEnded(t *testing.T) {
	fsys, ctx := vfs.NewMem(), context.Background()
	start := func() *Store {
		s, err := Open(ctx, fsys, "/image", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	const n = 2000
	commit := func(end bool) {
		var c store.Changes
		for i := range n {
			oid := batos.DeriveOID("message", strconv.Itoa(i))
			w := store.Write{OID: oid, Data: []byte("record")}
			if end {
				w = store.Write{OID: oid, Base: s.idx.get(oid).tid, Delete: true}
			}
			c.Writes = append(c.Writes, w)
		}
		if _, err := s.Commit(ctx, &c); err != nil {
			t.Fatal(err)
		}
	}
	commit(false)
	if s.idx.sparse.n != n {
		t.Fatalf("%d entries, not %d", s.idx.sparse.n, n)
	}
	commit(true)
	later := store.Write{OID: 5, Data: []byte("something else")}
	if _, err := s.Commit(ctx, &store.Changes{Writes: []store.Write{later}}); err != nil {
		t.Fatal(err)
	}
	pages := s.idx.sparse.made
	if _, err := s.Pack(ctx, store.PackOptions{Before: s.LastTID()}); err != nil {
		t.Fatal(err)
	}
	if s.idx.sparse.n != 0 {
		t.Errorf("%d entries are left of %d", s.idx.sparse.n, n)
	}
	commit(false)
	if s.idx.sparse.n != n || s.idx.sparse.made != pages {
		t.Errorf("%d entries in %d pages, which were %d", s.idx.sparse.n, s.idx.sparse.made, pages)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start()
	defer s.Close()
	if s.idx.sparse.n != n {
		t.Errorf("%d entries after a start, not %d", s.idx.sparse.n, n)
	}
}
