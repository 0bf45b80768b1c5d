package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// copyChunk is how much is read at once: the unit that blobs are verified by.
// It stays in a processor's cache between the hash and the copy.
const copyChunk = 1 << 20

// copyMost bounds the parts of a source that are copied side by side.
const copyMost = 4

// seal makes a memory file of a source and forbids every change of it. The
// source verifies what it gives while it is read; writing from a small buffer
// costs less than half of reading into mapped memory, whose pages would have to
// be cleared first.
func seal(ctx context.Context, src Source, hash string) (*os.File, error) {
	f, err := Scratch("adapter-" + hash)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, f, src); err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, fmt.Errorf("adapter %.12s: %w", hash, err)
	}
	return f, nil
}

func fill(ctx context.Context, f *os.File, src Source) error {
	size := src.Size()
	if err := f.Truncate(size); err != nil {
		return err
	}
	chunks := (size + copyChunk - 1) / copyChunk
	parts := min(int64(runtime.NumCPU()), copyMost, chunks)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { errs[p] = copyPart(ctx, f, src, p*chunks/parts, (p+1)*chunks/parts) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil { // the others are of the same damage or the same end
			return err
		}
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return err
	}
	return nil
}

// copyPart copies the chunks from first to before last. It goes backwards: a
// source that reads ahead for those who go forward would copy once more.
func copyPart(ctx context.Context, f *os.File, src Source, first, last int64) error {
	size := src.Size()
	buf := make([]byte, min(copyChunk, size))
	for i := last - 1; i >= first; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(copyChunk, size-i*copyChunk)]
		if n, err := src.ReadAt(p, i*copyChunk); n < len(p) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := f.WriteAt(p, i*copyChunk); err != nil {
			return err
		}
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
