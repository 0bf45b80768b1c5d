package logstore

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// TestChainIsSHA256 stops and takes up the hash at every chunk, and holds
// crypto/sha256 to the form of its state.
func TestChainIsSHA256(t *testing.T) {
	data := make([]byte, 3*chunk+1000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	h := sha256.New()
	h.Write(data[:64])
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(state) != chainedBytes || string(state[:4]) != chainMagic || le.Uint64(state[len(state)-8:]) != 64<<56 {
		t.Fatalf("the state of SHA-256 is %x, %v", state, err)
	}
	c := newChain()
	for off := 0; off < len(data); off += chunk {
		if off > 0 {
			state := c.state()
			c = chainAt(state[:], int64(off))
		}
		c.write(data[off:min(off+chunk, len(data))])
	}
	if c.hash() != sha256.Sum256(data) {
		t.Fatal("a chain that was taken up gives another hash")
	}
}

func blobFrom(t *testing.T, s *Store, r io.Reader) (store.BlobHash, int64) {
	t.Helper()
	w, err := s.NewBlob(t.Context())
	if err == nil {
		_, err = io.Copy(w, r)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, size, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return h, size
}

// TestBlobsOfAllSizes stores blobs around the sizes at which something
// changes, however they are written, and reads them whole and in parts.
func TestBlobsOfAllSizes(t *testing.T) {
	s, err := Open(t.Context(), vfs.NewMem(), "/image", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, size := range []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2*chunk + 32<<10, 20*chunk + 5} {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}).Read(data)
		h, n := blobFrom(t, s, struct{ io.Reader }{bytes.NewReader(data)})
		if h != sha256.Sum256(data) || n != int64(size) {
			t.Fatalf("%d bytes: hash %x of %d bytes", size, h, n)
		}
		if size > 0 && size < 4*chunk {
			if h2, _ := blobFrom(t, s, iotest.HalfReader(bytes.NewReader(append(data[:size:size], 'x')))); h2 == h {
				t.Fatal("another blob has the same hash")
			}
		}
		if _, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: batos.OID(size + 1), Blobs: []store.BlobHash{h}}}}); err != nil {
			t.Fatal(err)
		}
		b, err := s.OpenBlob(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{chunk, 3*chunk + 7, 100_000} { // read ahead, mixed, and in parts
			out, err := io.ReadAll(io.MultiReader(readers(b, step)...))
			if err != nil || !bytes.Equal(out, data) {
				t.Fatalf("%d bytes in steps of %d: %d bytes, %v", size, step, len(out), err)
			}
		}
		if err := errors.Join(b.Verify(t.Context()), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// readers gives b in pieces.
func readers(b store.Blob, step int) []io.Reader {
	var out []io.Reader
	for off := int64(0); off < b.Size(); off += int64(step) {
		out = append(out, io.NewSectionReader(b, off, min(int64(step), b.Size()-off)))
	}
	return out
}

// TestBlobReaderFails: a blob of which only a part arrived is none.
func TestBlobReaderFails(t *testing.T) {
	s, err := Open(t.Context(), vfs.NewMem(), "/image", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, size := range []int64{5, 100_000, 5 * chunk} {
		w, err := s.NewBlob(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cut := io.MultiReader(io.LimitReader(zeros{}, size), iotest.ErrReader(io.ErrUnexpectedEOF))
		if n, err := io.Copy(w, cut); !errors.Is(err, io.ErrUnexpectedEOF) || n != size {
			t.Fatalf("a reader that broke off after %d bytes: %d, %v", size, n, err)
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBlobsOfVersion2 reads a blob whose sums an older release wrote, and finds
// what was altered in it.
func TestBlobsOfVersion2(t *testing.T) {
	disk := vfs.NewMem()
	s, err := Open(t.Context(), disk, "/image", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := bytes.Repeat([]byte("0123456789abcdef"), chunk/8)
	h, _ := blobFrom(t, s, bytes.NewReader(data))
	if _, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Blobs: []store.BlobHash{h}}}}); err != nil {
		t.Fatal(err)
	}
	old := sums{size: int64(len(data))}
	for off := 0; off < len(data); off += chunk {
		sum := sha256.Sum256(data[off : off+chunk])
		old.list = append(old.list, sum[:]...)
	}
	if err := vfs.WriteFile(disk, s.blobs.file(h)+sumsSuffix, old.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() error {
		b, err := s.OpenBlob(t.Context(), h)
		if err != nil {
			return err
		}
		got := make([]byte, len(data))
		_, err = b.ReadAt(got, 0)
		if err == nil && !bytes.Equal(got, data) {
			t.Error("it reads as something else")
		}
		if e := b.Verify(t.Context()); (e == nil) != (err == nil) {
			t.Errorf("reading answers %v, verifying %v", err, e)
		}
		return errors.Join(err, b.Close())
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	data[chunk+3] ^= 1
	if err := vfs.WriteFile(disk, s.blobs.file(h), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(); batos.CodeOf(err) != batos.Corrupt {
		t.Fatalf("an altered blob reads with %v", err)
	}
}

// TestBlobChunksStandAlone: what was altered in one chunk is refused there, and
// the others read as they are.
func TestBlobChunksStandAlone(t *testing.T) {
	disk := vfs.NewMem()
	s, err := Open(t.Context(), disk, "/image", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := make([]byte, 4*chunk+10)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	h, _ := blobFrom(t, s, bytes.NewReader(data))
	if _, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Blobs: []store.BlobHash{h}}}}); err != nil {
		t.Fatal(err)
	}
	for bad := range 5 {
		altered := bytes.Clone(data)
		altered[bad*chunk+9] ^= 0x10
		if err := vfs.WriteFile(disk, s.blobs.file(h), altered, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := s.OpenBlob(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			p := make([]byte, min(chunk, len(data)-i*chunk))
			_, err := b.ReadAt(p, int64(i)*chunk)
			if i == bad && batos.CodeOf(err) != batos.Corrupt || i != bad && (err != nil || !bytes.Equal(p, data[i*chunk:i*chunk+len(p)])) {
				t.Errorf("chunk %d is altered; chunk %d reads with %v", bad, i, err)
			}
		}
		if err := b.Verify(t.Context()); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("chunk %d is altered; verifying answers %v", bad, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLargeBlobFaults makes each write and sync of a blob that is written and
// hashed at once fail: a full disk costs the blob, anything else poisons the
// store, and nothing of the blob is ever seen.
func TestLargeBlobFaults(t *testing.T) {
	const size = 20*chunk + 5 // two syncs on the way
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
			for n := 1; ; n += 3 {
				disk := vfs.NewFaulty(vfs.NewMem())
				s, err := Open(t.Context(), disk, "/image", Options{})
				if err != nil {
					t.Fatal(err)
				}
				before := disk.Calls(op)
				disk.Fail(op, n, false, cause)
				w, err := s.NewBlob(t.Context())
				if err == nil {
					_, err = io.Copy(w, io.LimitReader(zeros{}, size))
				}
				if err == nil {
					_, _, err = w.Seal()
				}
				through := disk.Calls(op) < before+n
				disk.Heal()
				if through && err != nil || !through && err == nil {
					t.Fatalf("%s %d with %v: %v", op, n, cause, err)
				}
				if !through {
					if want := map[error]batos.Code{syscall.ENOSPC: batos.Limit, syscall.EIO: batos.StorePoisoned}[cause]; batos.CodeOf(err) != want {
						t.Errorf("%s %d with %v: %v", op, n, cause, err)
					}
					_, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Data: []byte("x")}}})
					if (err == nil) != (cause == syscall.ENOSPC) {
						t.Errorf("%s %d with %v: a commit after it answers %v", op, n, cause, err)
					}
					names, _ := disk.ReadDir(s.blobs.dir)
					for _, name := range names {
						if !strings.HasSuffix(name, sumsSuffix) && !strings.HasSuffix(name, ".tmp") && !strings.HasPrefix(name, stagePrefix) {
							t.Errorf("%s %d with %v: %s has its name", op, n, cause, name)
						}
					}
				}
				_ = s.Close() // of a poisoned store
				if through {
					break
				}
			}
		}
	}
}
