package storetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"batos"
	"batos/image/store"
)

// noise gives n bytes that look random.
func noise(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// seal makes a sealed blob in writes of some size.
func (e *env) seal(content []byte, step int) store.BlobHash {
	e.t.Helper()
	w, err := e.s.NewBlob(e.ctx)
	e.must(err)
	for part := range slices.Chunk(content, step) {
		n, err := w.Write(part)
		if err != nil || n != len(part) {
			e.t.Fatalf("Write = %d, %v", n, err)
		}
	}
	h, size, err := w.Seal()
	e.must(err)
	if h != sha256.Sum256(content) || size != int64(len(content)) {
		e.t.Fatalf("Seal = %x, %d", h, size)
	}
	return h
}

// wantBlob checks a committed blob in every way it can be read.
func (e *env) wantBlob(h store.BlobHash, content []byte) {
	e.t.Helper()
	b, err := e.s.OpenBlob(e.ctx, h)
	e.must(err)
	defer b.Close()
	if b.Size() != int64(len(content)) {
		e.t.Fatalf("Size = %d, want %d", b.Size(), len(content))
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	e.must(err)
	equalBytes(e.t, got, content)
	e.must(b.Verify(e.ctx))
	if p := b.Path(); p != "" {
		got, err := os.ReadFile(p)
		e.must(err)
		equalBytes(e.t, got, content)
	}
}

func testBlobs(t *testing.T, e *env) {
	content := noise(1, 2<<20+12345)
	h := e.seal(content, 100_000)
	_, err := e.s.OpenBlob(e.ctx, h)
	e.code(err, batos.NotFound) // sealed is not committed

	a, b := e.oid(), e.oid()
	e.refused(&store.Changes{Writes: []store.Write{{OID: a, Base: 1, Blobs: []store.BlobHash{h}}}}, batos.Conflict)
	_, err = e.s.OpenBlob(e.ctx, h)
	e.code(err, batos.NotFound)

	empty := e.seal(nil, 1)
	exact := e.seal(content[:2<<20], 2<<20)
	small := e.seal([]byte("small"), 1)
	blobs := []store.BlobHash{h, empty, exact, small}
	e.commit(store.Write{OID: a, Data: []byte("a"), Blobs: blobs})

	again := e.seal(content, 1<<20) // the same content is the same blob
	e.commit(store.Write{OID: b, Blobs: []store.BlobHash{again, small}})
	for range 2 {
		e.wantBlob(h, content)
		e.wantBlob(empty, nil)
		e.wantBlob(exact, content[:2<<20])
		e.wantBlob(small, []byte("small"))
		r, err := e.snapshot().Load(e.ctx, a)
		e.must(err)
		if !slices.Equal(r.Blobs, blobs) {
			t.Fatalf("blobs = %x", r.Blobs)
		}
		if st := e.s.Stats(); st.BlobBytes != int64(len(content)+2<<20+5) {
			t.Fatalf("Stats = %+v", st)
		}
		e.reopen()
	}
	e.seal(content, 1<<20) // and still is after reopening
	e.wantBlob(h, content)

	w, err := e.s.NewBlob(e.ctx)
	e.must(err)
	_, err = w.Write([]byte("dropped"))
	e.must(err)
	e.must(w.Abort())
	e.must(w.Abort())
	if _, err := w.Write([]byte("x")); err == nil {
		t.Fatal("wrote to a dropped blob")
	}
	if _, _, err := w.Seal(); err == nil {
		t.Fatal("sealed a dropped blob")
	}
}

func testBlobRanges(t *testing.T, e *env) {
	content := noise(2, 3<<20+77)
	h := e.seal(content, 1<<19)
	e.commit(store.Write{OID: e.oid(), Blobs: []store.BlobHash{h}})
	b, err := e.s.OpenBlob(e.ctx, h)
	e.must(err)
	defer b.Close()
	size := int64(len(content))
	for _, c := range []struct{ off, n int64 }{
		{0, 0}, {0, 1}, {0, 1 << 20}, {1, 1 << 20}, {1<<20 - 1, 2}, {1<<20 - 3, 1<<20 + 6}, {0, size}, {5, size - 5},
		{size - 1, 1}, {3 << 20, 77}, {3<<20 + 76, 1},
	} {
		p := make([]byte, c.n)
		n, err := b.ReadAt(p, c.off)
		if int64(n) != c.n || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d, %d) = %d, %v", c.n, c.off, n, err)
		}
		equalBytes(t, p, content[c.off:c.off+c.n])
	}
	for _, off := range []int64{size - 10, size, size + 1<<20} {
		n, err := b.ReadAt(make([]byte, 20), off)
		if !errors.Is(err, io.EOF) || int64(n) != max(0, min(20, size-off)) {
			t.Fatalf("ReadAt past the end, from %d = %d, %v", off, n, err)
		}
	}
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
		t.Fatal("read before the beginning")
	}
}

// testBlobsUnused: what no commit names is gone after reopening, and its
// content can be written again.
func testBlobsUnused(t *testing.T, e *env) {
	used, unused := []byte("used"), []byte("unused")
	hu, hn := e.seal(used, 10), e.seal(unused, 10)
	a := e.oid()
	tid := e.commit(store.Write{OID: a, Blobs: []store.BlobHash{hu}})
	w, err := e.s.NewBlob(e.ctx)
	e.must(err)
	_, err = io.Copy(w, bytes.NewReader(noise(3, 1000)))
	e.must(err)
	e.reopen()
	e.wantBlob(hu, used)
	e.refused(&store.Changes{Writes: []store.Write{{OID: a, Base: tid, Blobs: []store.BlobHash{hn}}}}, batos.Invalid)
	e.seal(unused, 3)
	e.commit(store.Write{OID: a, Base: tid, Blobs: []store.BlobHash{hn}})
	e.wantBlob(hn, unused)
	e.wantBlob(hu, used) // an older revision refers to it
	e.reopen()
	e.wantBlob(hu, used)
}
