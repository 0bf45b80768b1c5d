package logstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// blobWriter receives a blob. Not for concurrent use.
//
// A large blob costs little more than a copy of a file, because what can go on
// beside is done beside: both hashes while the next bytes are read and written,
// and the disk's work while there is more to come, which a single sync at the
// end would wait for.
type blobWriter struct {
	b     *blobs
	f     vfs.File
	size  int64
	hash  *chain
	sums  []byte // of the chunks that are known not to be the last
	flush flusher
	err   error // no more can be done, since this
	ended bool
}

var (
	_ store.BlobWriter = (*blobWriter)(nil)
	_ io.ReaderFrom    = (*blobWriter)(nil)
)

// NewBlob implements [store.Store].
func (s *Store) NewBlob(ctx context.Context) (store.BlobWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.o.ReadOnly {
		return nil, errReadOnly
	}
	s.mu.Lock()
	poisoned, closed := s.poisoned, s.closed
	s.mu.Unlock()
	switch {
	case poisoned != nil:
		return nil, poisoned
	case closed:
		return nil, errClosed
	}
	b := s.blobs
	b.mu.Lock()
	b.staged++
	name := filepath.Join(b.dir, fmt.Sprintf("%s%d", stagePrefix, b.staged))
	b.mu.Unlock()
	f, err := s.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fileError("make a blob", err)
	}
	return &blobWriter{b: b, f: f, hash: newChain(), flush: flusher{f: f}}, nil
}

func (w *blobWriter) Write(p []byte) (int, error) {
	if n, err := w.put(p); err != nil {
		return n, err
	}
	w.add(p)
	return len(p), nil
}

// add hashes what was put.
func (w *blobWriter) add(p []byte) {
	for len(p) > 0 {
		if at := w.hash.length; at > 0 && at%chunk == 0 {
			state := w.hash.state()
			w.sums = append(w.sums, state[:]...)
		}
		n := min(len(p), int(chunk-w.hash.length%chunk))
		w.hash.write(p[:n])
		p = p[n:]
	}
}

// put writes bytes that are not hashed yet.
func (w *blobWriter) put(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.ended {
		return 0, errSealed()
	}
	n, err := w.f.WriteAt(p, w.size)
	w.size += int64(n)
	if err == nil {
		err = w.flush.upTo(w.size)
	}
	if err != nil {
		return n, w.fail(err)
	}
	return n, nil
}

func errSealed() error { return batos.Errorf(batos.Invalid, "the blob is sealed or dropped") }

// buffers of one chunk are for ReadFrom, which has this many under way, and for
// reading ahead.
var buffers = sync.Pool{New: func() any { return new([chunk]byte) }}

const underWay = 8

// ReadFrom implements [io.ReaderFrom]: it writes all that r has, and hashes
// beside.
func (w *blobWriter) ReadFrom(r io.Reader) (n int64, err error) {
	var small [32 << 10]byte
	got, end, err := fill(r, small[:])
	if _, werr := w.Write(small[:got]); werr != nil {
		return 0, werr
	}
	n = int64(got)
	if end || err != nil {
		return n, err
	}

	type piece struct {
		buf *[chunk]byte
		n   int
	}
	free := make(chan *[chunk]byte, underWay)
	for range underWay {
		free <- buffers.Get().(*[chunk]byte)
	}
	pieces := make(chan piece, underWay)
	var hashing sync.WaitGroup
	hashing.Go(func() {
		for p := range pieces {
			w.add(p.buf[:p.n])
			free <- p.buf
		}
	})
	defer func() {
		close(pieces)
		hashing.Wait()
		for range underWay {
			buffers.Put(<-free)
		}
	}()
	for {
		buf := <-free
		got, end, rerr := fill(r, buf[:])
		if _, err := w.put(buf[:got]); err != nil {
			free <- buf
			return n, err
		}
		n += int64(got)
		pieces <- piece{buf, got}
		if end || rerr != nil {
			return n, rerr
		}
	}
}

// fill reads until p is full or r ends. A reader that says that its bytes were
// cut off has an error, not an end.
func fill(r io.Reader, p []byte) (n int, end bool, err error) {
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// flushEvery is how much is written between two syncs of a blob that grows.
const flushEvery = 8 << 20

// flusher has the disk write what there is of a file while more is coming.
type flusher struct {
	f    vfs.File
	at   int64 // size when it was last begun
	done chan error
}

// upTo is told that the file has grown to size. Its error is that of a sync
// before: nothing is known then of what reached the disk.
func (l *flusher) upTo(size int64) error {
	if size-l.at < flushEvery {
		return nil
	}
	if l.done != nil {
		select {
		case err := <-l.done:
			l.done = nil
			if err != nil {
				return err
			}
		default:
			return nil // it is not through yet
		}
	}
	l.at = size
	l.done = make(chan error, 1)
	go func() { l.done <- l.f.Datasync() }()
	return nil
}

// wait ends what goes on.
func (l *flusher) wait() error {
	if l.done == nil {
		return nil
	}
	err := <-l.done
	l.done = nil
	return err
}

// fail drops the blob. A full disk costs only this blob; any other failure
// says that the disk cannot be trusted with commits either.
func (w *blobWriter) fail(err error) error {
	w.err = fileError("write a blob", err)
	if !isFull(err) {
		s := w.b.s
		s.mu.Lock()
		if s.poisoned == nil {
			s.poisoned = poisonError(err)
		}
		w.err = s.poisoned
		s.mu.Unlock()
	}
	w.drop()
	return w.err
}

// drop removes the staging file; what cannot be removed now is at the next
// open.
func (w *blobWriter) drop() {
	w.ended = true
	_ = w.flush.wait() // what it wrote is not wanted any more
	_ = w.f.Close()
	_ = w.b.s.fsys.Remove(w.f.Name())
}

func (w *blobWriter) Abort() error {
	if !w.ended {
		w.drop()
	}
	return nil
}

func (w *blobWriter) Seal() (h store.BlobHash, size int64, err error) {
	if w.err != nil {
		return h, 0, w.err
	}
	if w.ended {
		return h, 0, errSealed()
	}
	h = w.hash.hash()
	if w.size > 0 {
		w.sums = append(w.sums, h[:]...)
	}
	err = w.flush.wait()
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		return h, 0, w.fail(err)
	}
	if err := w.b.name(w, h); err != nil {
		return h, 0, w.fail(err)
	}
	return h, w.size, nil
}
