package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"batos"
	"batos/image"
	"batos/image/store/logstore"
)

// opens measures starts: after a clean end and after a kill against reading the
// index file, without the index against reading the log with CRC; and what an
// open image takes of memory.
func opens(ctx context.Context, dir string, emit func(Figure)) error {
	where, killed := filepath.Join(dir, "image"), filepath.Join(dir, "killed")
	n := sized(100_000, 1_000_000)
	im, err := image.Open(ctx, where, image.Options{})
	if err != nil {
		return err
	}
	oids, err := things(ctx, im, n)
	if err == nil {
		_, err = im.Update(ctx, func(tx *image.Tx) error { return count(tx, oids[0]) })
	}
	if err == nil {
		err = copyTree(where, killed) // what a kill would leave, with the last checkpoint
	}
	if err = errors.Join(err, im.Close()); err != nil {
		return err
	}
	open := func(where string) func() (float64, error) {
		return func() (float64, error) {
			began := time.Now()
			im, err := image.Open(ctx, where, image.Options{ReadOnly: true})
			took := time.Since(began).Seconds()
			if err != nil {
				return 0, err
			}
			return took, im.Close()
		}
	}
	if err := touch(); err != nil {
		return err
	}
	index := filepath.Join(where, logstore.IndexFile)
	clean, err := inTurn(func() (float64, error) {
		began := time.Now()
		b, err := os.ReadFile(index)
		_ = crc32.Checksum(b, castagnoli)
		return time.Since(began).Seconds(), err
	}, open(where), open(killed))
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.open.clean", Value: clean[1], Unit: "s", Against: clean[0], Bar: 1.5, AtMost: true})
	emit(Figure{Name: "image.open.killed", Value: clean[2], Unit: "s", Against: clean[0], Bar: 3, AtMost: true})
	if err := os.Remove(index); err != nil {
		return err
	}
	log, err := segments(where)
	if err != nil {
		return err
	}
	defer log.close()
	if err := touch(); err != nil {
		return err
	}
	bare, err := inTurn(log.sequential, open(where))
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.open.noindex", Value: bare[1], Unit: "s", Against: bare[0], Bar: 1.5, AtMost: true})
	grown, im, err := opened(ctx, where)
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.open.memory", Value: grown / float64(n), Unit: "B/object"})
	if all, ok := resident("VmRSS"); ok {
		emit(Figure{Name: "image.open.resident", Value: all / (1 << 20), Unit: "MiB", Bar: 64, AtMost: true})
	}
	return im.Close()
}

// touch takes memory in large pages, half of what is free and at most 2 GiB,
// writes to it, and gives it back. A virtual machine gives free memory back to
// its host, and the first write to it after that is a fault there, of a tenth of
// a millisecond and more for 2 MiB: an open, which wants memory, would pay for
// it, and the reading that it is held against, which wants none, would not.
func touch() error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	b, err := unix.Mmap(-1, 0, int(min(info.Freeram*uint64(info.Unit)/2, 2<<30)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // small ones do as well, slower
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return unix.Munmap(b)
}

// opened opens an image and says by how much the process's own memory grew.
func opened(ctx context.Context, where string) (float64, *image.Image, error) {
	debug.FreeOSMemory()
	before, _ := resident("RssAnon")
	im, err := image.Open(ctx, where, image.Options{})
	debug.FreeOSMemory()
	after, _ := resident("RssAnon")
	return after - before, im, err
}

// resident gives a line of /proc/self/status in bytes, where there is one.
func resident(what string) (float64, bool) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, what+":%f kB", &kib); n == 1 {
			return kib * 1024, true
		}
	}
	return 0, false
}

// copyTree copies a folder.
func copyTree(from, to string) error { return os.CopyFS(to, os.DirFS(from)) }

var huge = flag.Bool("bulk", false, "suite image.bulk: make ten million objects (3 GB of disk, minutes)")

// bulk opens an image of ten million objects and reads it at random: what that
// takes of the process's own memory, less what the cache may take.
func bulk(ctx context.Context, dir string, emit func(Figure)) error {
	if !*huge {
		return nil
	}
	where := filepath.Join(dir, "image")
	const n = 10_000_000
	im, err := image.Open(ctx, where, image.Options{CacheBytes: 1})
	if err != nil {
		return err
	}
	first := batos.OID(0)
	began := time.Now()
	for made := 0; made < n; made += 10 * perTx {
		if _, err := im.Update(ctx, func(tx *image.Tx) error {
			for i := range 10 * perTx {
				oid, err := tx.Create(thing(made + i))
				if err != nil {
					return err
				}
				if first == 0 {
					first = oid
				}
			}
			return nil
		}); err != nil {
			return errors.Join(err, im.Close())
		}
	}
	emit(Figure{Name: "image.bulk.make", Value: n / time.Since(began).Seconds(), Unit: "objects/s"})
	if err := im.Close(); err != nil {
		return err
	}
	const cache = 32 << 20
	debug.FreeOSMemory()
	before, _ := resident("RssAnon")
	began = time.Now()
	if im, err = image.Open(ctx, where, image.Options{CacheBytes: cache}); err != nil {
		return err
	}
	defer im.Close()
	emit(Figure{Name: "image.bulk.open", Value: time.Since(began).Seconds(), Unit: "s"})
	r := rand.New(rand.NewPCG(1, 2))
	rate, err := load(1, func(int) error {
		return im.View(ctx, func(tx *image.Tx) error {
			for range 100 {
				if _, err := tx.Load(first + batos.OID(r.IntN(n))); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.bulk.load", Value: rate * 100, Unit: "objects/s"})
	debug.FreeOSMemory()
	after, _ := resident("RssAnon")
	emit(Figure{Name: "image.bulk.memory", Value: (after - before - cache) / n, Unit: "B/object", Bar: 16, AtMost: true})
	return nil
}
