package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"batos"
	"batos/image"
	"batos/image/store/logstore"
	"batos/image/store/rawlog"
	"batos/object"
)

// The suites image.… measure the image as a library, against what the disk and
// the processor allow in the same run.

// full asks for the sizes that the bars are about, which take minutes; without
// it each figure takes a few seconds, on a tenth or less of the objects.
var full = flag.Bool("full", false, "image suite: a million objects and more, instead of a part of it")

// sized gives the number for a full run, or the smaller one.
func sized(small, whole int) int {
	if *full {
		return whole
	}
	return small
}

// thing is an object like many.
func thing(n int) *object.State {
	return object.NewState(object.Open, batos.Person,
		object.Slot{Name: "parent*", Value: object.Ref(1)}, object.Slot{Name: "count", Value: object.NewInt(int64(n))},
		object.Slot{Name: "total", Value: object.Counter(0)}, object.Slot{Name: "name", Value: object.Str(fmt.Sprintf("thing number %d", n))},
		object.Slot{Name: "tags", Value: &object.List{Items: []object.Value{object.Str("a"), object.Str("b")}}},
	)
}

// perTx is how many objects are made in one transaction.
const perTx = 1000

// things makes n objects and gives their OIDs.
func things(ctx context.Context, im *image.Image, n int) ([]batos.OID, error) {
	oids := make([]batos.OID, 0, n)
	for len(oids) < n {
		done := len(oids)
		_, err := im.Update(ctx, func(tx *image.Tx) error {
			oids = oids[:done]
			for len(oids) < min(n, done+perTx) {
				oid, err := tx.Create(thing(len(oids)))
				if err != nil {
					return err
				}
				oids = append(oids, oid)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return oids, nil
}

// count adds one to a slot, as a method would.
func count(tx *image.Tx, oid batos.OID) error {
	v, _, err := tx.Slot(oid, "count")
	if err != nil {
		return err
	}
	n, _ := v.(object.Int)
	i, _ := n.Int64()
	return tx.SetSlot(oid, "count", object.NewInt(i+1))
}

// commits measures durable commits against the raw log with the same bytes and
// writers.
func commits(ctx context.Context, dir string, emit func(Figure)) error {
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	oids, err := things(ctx, im, 640)
	if err != nil {
		return err
	}
	write := func(objects int) func(int) error {
		return func(writer int) error {
			_, err := im.Update(ctx, func(tx *image.Tx) error {
				for i := range objects {
					if err := count(tx, oids[writer*objects+i]); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		}
	}
	for _, c := range []struct {
		name             string
		writers, objects int
		bar              float64
	}{{"image.commit.1", 1, 1, 0.75}, {"image.commit.16", 16, 1, 0.6}, {"image.commit.64", 64, 1, 0.6}, {"image.commit.10objects", 1, 10, 0.6}} {
		before := im.Stats()
		if _, err := load(c.writers, write(c.objects)); err != nil {
			return err
		}
		after := im.Stats()
		size := int(after.LogBytes-before.LogBytes) / int(max(1, after.Transactions-before.Transactions))
		rates, err := inTurn(func() (float64, error) {
			r, err := rawlog.Measure(dir, rawlog.Load{Writers: c.writers, Bytes: size, Duration: span})
			return r.PerSecond(), err
		}, func() (float64, error) { return load(c.writers, write(c.objects)) })
		if err != nil {
			return err
		}
		emit(Figure{Name: c.name, Value: rates[1], Unit: "commits/s", Against: rates[0], Bar: c.bar})
	}
	return nil
}

// shared measures two writers on one counter and on one tree against two that
// have an object each, and counts what arrived.
func shared(ctx context.Context, dir string, emit func(Figure)) error {
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	oids, err := things(ctx, im, 3)
	if err != nil {
		return err
	}
	var tree object.Tree
	if _, err := im.Update(ctx, func(tx *image.Tx) (err error) {
		tree, err = tx.NewTree()
		return err
	}); err != nil {
		return err
	}
	var mu sync.Mutex
	added, keys := int64(0), int64(0)
	update := func(fn func(*image.Tx) error) error {
		_, err := im.Update(ctx, fn)
		return err
	}
	rates, err := inTurn(
		func() (float64, error) {
			return load(2, func(w int) error { return update(func(tx *image.Tx) error { return count(tx, oids[w]) }) })
		},
		func() (float64, error) {
			return load(2, func(int) error {
				err := update(func(tx *image.Tx) error { return tx.AddCounter(oids[2], "total", 1) })
				mu.Lock()
				added++
				mu.Unlock()
				return err
			})
		},
		func() (float64, error) {
			return load(2, func(int) error {
				mu.Lock()
				keys++
				k := object.NewInt(keys)
				mu.Unlock()
				return update(func(tx *image.Tx) error { return tx.Tree(tree).Set(k, k) })
			})
		},
	)
	if err != nil {
		return err
	}
	err = im.View(ctx, func(tx *image.Tx) error {
		v, _, err := tx.Slot(oids[2], "total")
		if err != nil {
			return err
		}
		n, err := tx.Tree(tree).Len()
		if err == nil && (v != object.Counter(added) || n != keys) {
			err = fmt.Errorf("updates were lost: %v of %d additions, %d of %d keys", v, added, n, keys)
		}
		return err
	})
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.shared.counter", Value: rates[1], Unit: "commits/s", Against: rates[0], Bar: 0.7})
	emit(Figure{Name: "image.shared.tree", Value: rates[2], Unit: "commits/s", Against: rates[0], Bar: 0.7})
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// loads measures loads of random objects that are not in the image's cache,
// decoded, against pread and CRC of as many bytes at random places of the same
// files; and a slot read that is in the cache.
func loads(ctx context.Context, dir string, emit func(Figure)) error {
	where := filepath.Join(dir, "image")
	im, err := image.Open(ctx, where, image.Options{CacheBytes: 1})
	if err != nil {
		return err
	}
	defer im.Close()
	n := sized(100_000, 1_000_000)
	before := im.Stats().LogBytes
	oids, err := things(ctx, im, n)
	if err != nil {
		return err
	}
	record := int(im.Stats().LogBytes-before) / n
	log, err := segments(where)
	if err != nil {
		return err
	}
	defer log.close()
	// Both sides get their places at random, drawn before: what drawing costs,
	// and looking up what was drawn in a long list, is no part of reading.
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(n, func(i, j int) { oids[i], oids[j] = oids[j], oids[i] })
	places := make([]int64, n)
	for i := range places {
		places[i] = r.Int64N(log.size - int64(record))
	}
	buf := make([]byte, record)
	const some = 100
	nextPlace, nextOID := 0, 0
	rates, err := inTurn(
		func() (float64, error) {
			return load(1, func(int) error {
				for _, at := range places[nextPlace : nextPlace+some] {
					if err := log.readAt(buf, at); err != nil {
						return err
					}
					_ = crc32.Checksum(buf, castagnoli)
				}
				nextPlace = (nextPlace + some) % n
				return nil
			})
		},
		func() (float64, error) {
			return load(1, func(int) error {
				err := im.View(ctx, func(tx *image.Tx) error {
					for _, oid := range oids[nextOID : nextOID+some] {
						if _, err := tx.Load(oid); err != nil {
							return err
						}
					}
					return nil
				})
				nextOID = (nextOID + some) % n
				return err
			})
		},
	)
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.load.random", Value: rates[1] * some, Unit: "objects/s", Against: rates[0] * some, Bar: 0.7})
	return im.View(ctx, func(tx *image.Tx) error {
		const reads = 20_000_000
		began := time.Now()
		for range reads {
			if _, _, err := tx.Slot(oids[0], "count"); err != nil {
				return err
			}
		}
		emit(Figure{Name: "image.slot.warm", Value: float64(time.Since(began).Nanoseconds()) / reads, Unit: "ns", Bar: 30, AtMost: true})
		return nil
	})
}

// segmentFiles are the files of a log, as one.
type segmentFiles struct {
	files []*os.File
	sizes []int64
	size  int64
}

func segments(dir string) (*segmentFiles, error) {
	names, err := filepath.Glob(filepath.Join(dir, logstore.LogDir, "*"))
	if err != nil {
		return nil, err
	}
	s := &segmentFiles{}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close(), s.close())
		}
		s.files, s.sizes, s.size = append(s.files, f), append(s.sizes, info.Size()), s.size+info.Size()
	}
	return s, nil
}

func (s *segmentFiles) readAt(p []byte, off int64) error {
	for i, size := range s.sizes {
		if off < size {
			_, err := s.files[i].ReadAt(p[:min(int64(len(p)), size-off)], off)
			return err
		}
		off -= size
	}
	return io.EOF
}

func (s *segmentFiles) close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// sequential reads every file once, with CRC, and gives seconds.
func (s *segmentFiles) sequential() (float64, error) {
	began := time.Now()
	buf := make([]byte, 1<<20)
	for i, f := range s.files {
		sum := uint32(0)
		for off := int64(0); off < s.sizes[i]; {
			n, err := f.ReadAt(buf, off)
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
			sum = crc32.Update(sum, castagnoli, buf[:n])
			off += int64(n)
		}
	}
	return time.Since(began).Seconds(), nil
}

// trees measures a persistent ordered map: insertion in transactions of a
// thousand keys, look-up and iteration.
func trees(ctx context.Context, dir string, emit func(Figure)) error {
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	n := sized(200_000, 1_000_000)
	order := rand.New(rand.NewPCG(3, 4)).Perm(n)
	var tree object.Tree
	for _, c := range []struct {
		name string
		key  func(i int) int
		bar  float64
	}{{"image.tree.insert.ascending", func(i int) int { return i }, 200_000}, {"image.tree.insert.random", func(i int) int { return order[i] }, 50_000}} {
		if _, err := im.Update(ctx, func(tx *image.Tx) (err error) {
			tree, err = tx.NewTree()
			return err
		}); err != nil {
			return err
		}
		began := time.Now()
		for from := 0; from < n; from += perTx {
			if _, err := im.Update(ctx, func(tx *image.Tx) error {
				t := tx.Tree(tree)
				for i := from; i < from+perTx; i++ {
					k := object.NewInt(int64(c.key(i)))
					if err := t.Set(k, k); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		emit(Figure{Name: c.name, Value: float64(n) / time.Since(began).Seconds(), Unit: "keys/s", Bar: c.bar})
	}
	return im.View(ctx, func(tx *image.Tx) error {
		t := tx.Tree(tree)
		pass := func() (time.Duration, error) {
			began := time.Now()
			seen := 0
			for _, err := range t.Range(nil, nil) {
				if err != nil {
					return 0, err
				}
				seen++
			}
			if seen != n {
				return 0, fmt.Errorf("the tree has %d of %d keys", seen, n)
			}
			return time.Since(began), nil
		}
		if _, err := pass(); err != nil { // warm
			return err
		}
		took, err := pass()
		if err != nil {
			return err
		}
		emit(Figure{Name: "image.tree.iterate", Value: float64(n) / took.Seconds(), Unit: "keys/s", Bar: 3_000_000})
		began := time.Now()
		for i := range n {
			if _, ok, err := t.Get(object.NewInt(int64(order[i]))); !ok || err != nil {
				return fmt.Errorf("key %d: %v, %w", order[i], ok, err)
			}
		}
		emit(Figure{Name: "image.tree.lookup", Value: float64(n) / time.Since(began).Seconds(), Unit: "keys/s", Bar: 1_000_000})
		return nil
	})
}

// pastReads measures a read at the oldest of many revisions against one of the
// newest; neither is in a cache. The past one finds its moment first.
func pastReads(ctx context.Context, dir string, emit func(Figure)) error {
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{CacheBytes: 1})
	if err != nil {
		return err
	}
	defer im.Close()
	const objects, revisions = 50, 1000
	oids, err := things(ctx, im, objects)
	if err != nil {
		return err
	}
	oldest := im.LastTID()
	for range revisions {
		if _, err := im.Update(ctx, func(tx *image.Tx) error {
			for _, oid := range oids {
				if err := count(tx, oid); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	read := func(at batos.TID) func() (float64, error) {
		return func() (float64, error) {
			rate, err := load(1, func(int) error {
				tx, err := im.BeginAt(ctx, at)
				if err != nil {
					return err
				}
				defer tx.Abort()
				for _, oid := range oids {
					if _, err := tx.Load(oid); err != nil {
						return err
					}
				}
				return nil
			})
			return 1e6 / (rate * objects), err
		}
	}
	took, err := inTurn(read(im.LastTID()), read(oldest))
	if err != nil {
		return err
	}
	emit(Figure{Name: "image.past.oldest", Value: took[1], Unit: "us", Against: took[0], Bar: 8, AtMost: true})
	return nil
}

// packs measures a pack while four writers commit, against a sequential copy
// of the log, and the writers against themselves without it.
func packs(ctx context.Context, dir string, emit func(Figure)) error {
	where := filepath.Join(dir, "image")
	im, err := image.Open(ctx, where, image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	const objects = 100_000
	oids, err := things(ctx, im, objects)
	if err != nil {
		return err
	}
	for range 9 {
		for from := 0; from < objects; from += perTx {
			if _, err := im.Update(ctx, func(tx *image.Tx) error {
				for _, oid := range oids[from : from+perTx] {
					if err := count(tx, oid); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	size := im.Stats().LogBytes
	write := func(w int) error {
		_, err := im.Update(ctx, func(tx *image.Tx) error { return count(tx, oids[w]) })
		return err
	}
	idle, err := load(4, write)
	if err != nil {
		return err
	}
	copied, err := copyFiles(where, filepath.Join(dir, "copy"), size)
	if err != nil {
		return err
	}
	before := im.LastTID()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	took := make([][]time.Duration, 4)
	failed := make([]error, 4)
	for w := range 4 {
		wg.Go(func() {
			for failed[w] == nil {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				failed[w] = write(w)
				took[w] = append(took[w], time.Since(began))
			}
		})
	}
	began := time.Now()
	_, err = im.Pack(ctx, image.PackOptions{Before: before})
	packed := time.Since(began).Seconds()
	close(stop)
	wg.Wait()
	if err = errors.Join(append(failed, err)...); err != nil {
		return err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	const mega = 1 << 20
	emit(Figure{Name: "image.pack", Value: float64(size) / mega / packed, Unit: "MiB/s", Against: float64(size) / mega / copied, Bar: 0.3})
	emit(Figure{Name: "image.pack.writers", Value: float64(len(all)) / packed, Unit: "commits/s", Against: idle, Bar: 0.5})
	if len(all) > 0 {
		emit(Figure{Name: "image.pack.p99", Value: float64(all[len(all)*99/100].Microseconds()) / 1000, Unit: "ms", Bar: 50, AtMost: true})
	}
	return nil
}

// copyFiles copies that many bytes of an image's log, the space that is reserved
// behind them left out, with one sync for each file, and gives seconds.
func copyFiles(from, to string, size int64) (float64, error) {
	log, err := segments(from)
	if err != nil {
		return 0, err
	}
	defer log.close()
	if err := os.MkdirAll(to, 0o700); err != nil {
		return 0, err
	}
	began := time.Now()
	for i, f := range log.files {
		part := min(log.sizes[i], size)
		size -= part
		if err := plainCopy(io.NewSectionReader(f, 0, part), filepath.Join(to, fmt.Sprint(i))); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Seconds(), nil
}

func plainCopy(r io.Reader, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, 1<<20))
	return errors.Join(err, f.Sync(), f.Close())
}

// blobs measures a large blob in and out, durable, against a plain copy of a
// file with fsync, and what it takes of memory.
func blobs(ctx context.Context, dir string, emit func(Figure)) error {
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	size := int64(sized(128, 1024)) << 20
	oids, err := things(ctx, im, 1)
	if err != nil {
		return err
	}
	source := filepath.Join(dir, "source")
	if err := plainCopy(io.LimitReader(&noise{rand.NewChaCha8([32]byte{5})}, size), source); err != nil {
		return err
	}
	timed := func(fn func(*os.File) error) func() (float64, error) {
		return func() (float64, error) {
			f, err := os.Open(source)
			if err != nil {
				return 0, err
			}
			began := time.Now()
			err = fn(f)
			return float64(size>>20) / time.Since(began).Seconds(), errors.Join(err, f.Close())
		}
	}
	var blob object.Blob
	round := byte(0)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var most uint64 // of the heap, looked at after every round
	look := func() {
		runtime.ReadMemStats(&after)
		most = max(most, after.HeapInuse)
	}
	copies := 0
	fresh := func() string { // a blob is a new file each time, so the copies are
		copies++
		return filepath.Join(dir, fmt.Sprint("copy", copies))
	}
	rates, err := inTurn(
		timed(func(f *os.File) error { return plainCopy(f, fresh()) }),
		timed(func(f *os.File) error {
			round++ // another blob each time: one that is there costs nothing
			var err error
			if blob, err = im.NewBlob(ctx, io.MultiReader(bytes.NewReader([]byte{round}), f)); err != nil {
				return err
			}
			look()
			_, err = im.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(oids[0], "blob", blob) })
			return err
		}),
		timed(func(*os.File) error {
			b, err := im.OpenBlob(ctx, blob)
			if err != nil {
				return err
			}
			return errors.Join(plainCopy(io.NewSectionReader(b, 0, b.Size()), fresh()), b.Close())
		}),
	)
	if err != nil {
		return err
	}
	look()
	emit(Figure{Name: "image.blob.in", Value: rates[1], Unit: "MiB/s", Against: rates[0], Bar: 0.8})
	emit(Figure{Name: "image.blob.out", Value: rates[2], Unit: "MiB/s", Against: rates[0], Bar: 0.8})
	emit(Figure{Name: "image.blob.memory", Value: (float64(most) - float64(before.HeapInuse)) / (1 << 20), Unit: "MiB", Bar: 64, AtMost: true})
	return nil
}

// noise is endless and does not compress.
type noise struct{ r *rand.ChaCha8 }

func (n *noise) Read(p []byte) (int, error) { return n.r.Read(p) }
