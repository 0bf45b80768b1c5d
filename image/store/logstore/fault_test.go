package logstore_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

func wantCode(t *testing.T, err error, want batos.Code, words ...string) {
	t.Helper()
	if batos.CodeOf(err) != want {
		t.Fatalf("error %v has code %q, want %q", err, batos.CodeOf(err), want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Fatalf("the error %q is not one line", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Fatalf("the error %q does not say %q", err, word)
		}
	}
}

// put commits one revision.
func put(t testing.TB, s *logstore.Store, oid batos.OID, base batos.TID, data string) batos.TID {
	t.Helper()
	tid, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oid, Base: base, Data: []byte(data)}}})
	must(t, err)
	return tid
}

// TestFaultsEverywhere makes each single call of each kind fail once, and
// from then on, as a broken and as a full disk. Nothing acknowledged is lost,
// and after a commit that failed in the middle no other succeeds.
func TestFaultsEverywhere(t *testing.T) {
	t.Parallel()
	refused := 0
	life := func(t *testing.T, disk *vfs.Faulty, w *world) {
		s, err := logstore.Open(t.Context(), disk, "/image", crashOptions)
		if err != nil {
			if batos.CodeOf(err) == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Open: %v has no code or several lines", err)
			}
			return
		}
		w.work(t.Context(), s, "w", rand.New(rand.NewPCG(5, 5)), 25)
		_, err = s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1 << 40, Base: 1}}})
		if len(w.inFlight) > 0 && batos.CodeOf(err) == batos.Conflict {
			refused++ // the disk was full before anything was written
		} else if len(w.inFlight) > 0 {
			for range 2 {
				_, err := s.Commit(t.Context(), &store.Changes{})
				wantCode(t, err, batos.StorePoisoned)
			}
			if _, err := s.NewBlob(t.Context()); err == nil {
				t.Fatal("a poisoned store takes a blob")
			}
			disk.Heal()
			_, err := s.Commit(t.Context(), &store.Changes{}) // for good
			wantCode(t, err, batos.StorePoisoned)
			p, err := s.Snapshot(t.Context())
			must(t, err)
			for _, x := range w.acked {
				for oid := range x.data {
					if _, err := p.Load(t.Context(), oid); err != nil {
						t.Fatalf("a poisoned store does not serve %v: %v", oid, err)
					}
				}
			}
		}
		_ = s.Close()
	}
	whole := vfs.NewFaulty(vfs.NewMem())
	life(t, whole, newWorld())
	points := 0
	for _, op := range vfs.Ops() {
		for n := 1; n <= whole.Calls(op); n++ {
			for _, broken := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
				for _, keeps := range []bool{false, true} {
					disk, w := vfs.NewFaulty(vfs.NewMem()), newWorld()
					disk.Fail(op, n, keeps, broken)
					life(t, disk, w)
					disk.Heal()
					s := open(t, disk, "/image", crashOptions)
					w.check(t, s)
					must(t, s.Close())
					if t.Failed() {
						t.Fatalf("%v at call %d of %s, keeps %v", broken, n, op, keeps)
					}
					points++
				}
			}
		}
	}
	if refused == 0 {
		t.Error("no full disk only refused")
	}
	t.Logf("%d faults", points)
}

// TestFullDiskSparesTheStore: a blob that finds no room fails alone.
func TestFullDiskSparesTheStore(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewMem())
	s := open(t, disk, "/image", logstore.Options{})
	defer s.Close()
	w, err := s.NewBlob(t.Context())
	must(t, err)
	disk.Fail(vfs.OpWrite, 1, false, syscall.ENOSPC)
	_, err = w.Write([]byte("too much"))
	wantCode(t, err, batos.Limit, "disk is full")
	_, _, err = w.Seal()
	wantCode(t, err, batos.Limit)
	put(t, s, 1, 0, "fits")
}

// TestFullDiskRefuses: commits that find no room before anything of them is
// written are refused, all that were accepted with them too, and others go on
// once there is room again.
func TestFullDiskRefuses(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpAllocate, vfs.OpOpen} {
		disk := vfs.NewFaulty(vfs.NewMem())
		o := logstore.Options{SegmentBytes: 2 << 10}
		s := open(t, disk, "/image", o)
		acked, bases := map[batos.OID]string{}, map[batos.OID]batos.TID{}
		var mu sync.Mutex
		commit := func(oid batos.OID, data string) error {
			mu.Lock()
			base := bases[oid]
			mu.Unlock()
			tid, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oid, Base: base, Data: []byte(data)}}})
			if err == nil {
				mu.Lock()
				acked[oid], bases[oid] = data, tid
				mu.Unlock()
			}
			return err
		}
		refused := 0
		for round := range 20 {
			if round%4 == 2 {
				disk.Fail(op, 1, true, syscall.ENOSPC)
			}
			errs := make([]error, 8)
			var wg sync.WaitGroup
			for w := range errs {
				wg.Go(func() { errs[w] = commit(batos.OID(w+1), fmt.Sprintf("%d.%d %s", w, round, strings.Repeat("#", 90*w))) })
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					wantCode(t, err, batos.Limit, "disk is full", "nothing was committed")
					refused++
				}
			}
			disk.Heal()
		}
		if refused == 0 {
			t.Fatalf("no commit met a full disk at %s", op)
		}
		for range 2 {
			p, err := s.Snapshot(t.Context())
			must(t, err)
			for oid, data := range acked {
				r, err := p.Load(t.Context(), oid)
				must(t, err)
				if string(r.Data) != data || r.TID != bases[oid] {
					t.Errorf("object %v is %q of %v, want %q of %v", oid, r.Data, r.TID, data, bases[oid])
				}
			}
			must(t, s.Close())
			s = open(t, disk, "/image", o)
		}
		must(t, s.Close())
	}
}

func TestFullAndReadOnlyDisk(t *testing.T) {
	for _, c := range []struct {
		op   vfs.Op
		err  error
		code batos.Code
		says string
	}{
		{vfs.OpMkdir, syscall.EROFS, batos.Denied, "read-only"},
		{vfs.OpLock, syscall.EROFS, batos.Denied, "read-only"},
		{vfs.OpOpen, syscall.EACCES, batos.Denied, "read-only"},
		{vfs.OpMkdir, syscall.ENOSPC, batos.Limit, "disk is full"},
		{vfs.OpOpen, syscall.ENOSPC, batos.Limit, "disk is full"},
		{vfs.OpWrite, syscall.ENOSPC, batos.Limit, "disk is full"},
	} {
		disk := vfs.NewFaulty(vfs.NewMem())
		disk.Fail(c.op, 1, true, c.err)
		_, err := logstore.Open(t.Context(), disk, "/image", logstore.Options{})
		wantCode(t, err, c.code, c.says, "/image")
	}
	disk := vfs.NewFaulty(vfs.NewMem())
	s := open(t, disk, "/image", logstore.Options{})
	put(t, s, 1, 0, "one")
	disk.Fail(vfs.OpWrite, 1, true, syscall.ENOSPC)
	_, err := s.Commit(t.Context(), &store.Changes{})
	wantCode(t, err, batos.StorePoisoned, "disk is full", "free some space")
	must(t, s.Close())
}

// image makes a closed image with several segments, a blob and an index, and
// gives its files.
func image(t *testing.T) (vfs.FS, []string) {
	disk := vfs.NewMem()
	s := open(t, disk, "/image", logstore.Options{SegmentBytes: 600, Clock: func() time.Time { return time.UnixMicro(1000) }})
	w, err := s.NewBlob(t.Context())
	must(t, err)
	_, err = w.Write([]byte("a blob"))
	must(t, err)
	h, _, err := w.Seal()
	must(t, err)
	base := batos.TID(0)
	for i := range 8 {
		base = put(t, s, 1, base, fmt.Sprint("hot ", i))
		_, err := s.Commit(t.Context(), &store.Changes{
			Meta:   []byte("meta"),
			Writes: []store.Write{{OID: batos.OID(10 + i), Data: fmt.Append(nil, "cold ", i), Refs: []batos.OID{1}, Blobs: []store.BlobHash{h}}},
		})
		must(t, err)
	}
	must(t, s.Close())
	var files []string
	for _, dir := range []string{logstore.LogDir, logstore.BlobDir, "."} {
		names, err := disk.ReadDir(filepath.Join("/image", dir))
		must(t, err)
		for _, name := range names {
			if f := filepath.Join("/image", dir, name); strings.Count(name, "live_image.fs") == 0 || name == logstore.IndexFile {
				files = append(files, f)
			}
		}
	}
	return disk, files
}

// readAll describes everything there is, piece by piece: what each way to
// read it answers, or the error with code corrupt that it answers instead.
func readAll(t *testing.T, s *logstore.Store) map[string]string {
	out := map[string]string{}
	note := func(what, answer string, err error) {
		switch code := batos.CodeOf(err); {
		case err == nil:
			out[what] += answer
		case code == batos.Corrupt, code == batos.NewerFormat: // the latter if the version itself is damaged
			out[what] = damaged
		case code == batos.NotFound:
			out[what] = "none"
		default:
			t.Fatalf("%s: %v", what, err)
		}
	}
	ctx := t.Context()
	p, err := s.Snapshot(ctx)
	must(t, err)
	blobs := map[store.BlobHash]bool{}
	for oid := range batos.OID(30) {
		r, err := p.Load(ctx, oid)
		note(fmt.Sprint("load ", oid), fmt.Sprintf("%+v", r), err)
		for _, h := range r.Blobs {
			blobs[h] = true
		}
		for r, err := range s.History(ctx, oid) {
			note(fmt.Sprint("history ", oid), fmt.Sprintf("%+v", r), err)
		}
	}
	for tx, err := range s.Transactions(ctx, 0, 1<<64-1) {
		if err != nil {
			note("log", "", err)
			break
		}
		note("log", fmt.Sprintf("%v %q %+v\n", tx.TID, tx.Meta, tx.Revisions), nil)
	}
	for h := range blobs {
		b, err := s.OpenBlob(ctx, h)
		var content []byte
		if err == nil {
			content = make([]byte, b.Size())
			_, err = b.ReadAt(content, 0)
			if e := b.Verify(ctx); err == nil {
				err = e
			}
			must(t, b.Close())
		}
		note(fmt.Sprintf("blob %x", h), string(content), err)
	}
	return out
}

// damaged is what readAll notes for an error with code corrupt.
const damaged = "damaged"

// change opens a file of a disk for a test to damage it.
func change(t *testing.T, disk vfs.FS, name string, fn func(f vfs.File)) {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	fn(f)
	must(t, f.Close())
}

func flip(t *testing.T, disk vfs.FS, name string, off int64, bit int) {
	t.Helper()
	change(t, disk, name, func(f vfs.File) {
		var b [1]byte
		_, err := f.ReadAt(b[:], off)
		must(t, err)
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b[:], off)
		must(t, err)
	})
}

// TestBitFlips flips one bit of each byte of each file, in turn. Each is found,
// at opening or by Verify; no way of reading ever answers something wrong.
// BATOS_LONG=1 flips all bits.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	disk, files := image(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	flipAll(t, disk, files, step)
}

// flipAll flips bits of every step-th byte of the files of an image.
func flipAll(t *testing.T, disk vfs.FS, files []string, step int) {
	s := open(t, disk, "/image", logstore.Options{ReadOnly: true})
	want := readAll(t, s)
	must(t, s.Close())
	long := os.Getenv("BATOS_LONG") != ""
	if long {
		step = 1
	}
	flips, refused := 0, 0
	for _, name := range files {
		content, err := vfs.ReadFile(disk, name)
		must(t, err)
		for off := 0; off < len(content); off += step {
			for bit := range 8 {
				if bit != off%8 && !long {
					continue
				}
				flips++
				flip(t, disk, name, int64(off), bit)
				if !checkFlip(t, disk, name, off, bit, want) {
					refused++
				}
				flip(t, disk, name, int64(off), bit)
			}
		}
	}
	t.Logf("%d flips found in %d files, %d at opening", flips, len(files), refused)
}

// checkFlip demands that one flipped bit is found, and never answered as data.
// It reports whether the image opens.
func checkFlip(t *testing.T, disk vfs.FS, name string, off, bit int, want map[string]string) bool {
	t.Helper()
	s, err := logstore.Open(t.Context(), disk, "/image", logstore.Options{ReadOnly: true})
	if code := batos.CodeOf(err); code == batos.Corrupt || code == batos.NewerFormat && off >= 8 && off < 12 {
		return false
	}
	if err != nil {
		t.Fatalf("%s byte %d bit %d: %v", name, off, bit, err)
	}
	found := s.Recovery().IndexLost != "" && strings.HasSuffix(name, logstore.IndexFile)
	for p, err := range s.Verify(t.Context(), store.VerifyOptions{}) {
		if err != nil {
			t.Fatalf("%s byte %d bit %d: %v", name, off, bit, err)
		}
		found = found || p.Text != "" && p.Kind != store.Dangling && p.Kind != store.Unreachable
	}
	if !found {
		t.Fatalf("verify does not find %s byte %d bit %d", name, off, bit)
	}
	for what, answer := range readAll(t, s) {
		if answer != want[what] && answer != damaged {
			t.Fatalf("%s byte %d bit %d: %s is %s, want %s", name, off, bit, what, answer, want[what])
		}
	}
	must(t, s.Close())
	return true
}

// TestBitFlipsWithoutIndex: with the whole log read at opening, damage before
// the last write is refused there, with its place; the last write cannot be
// told from an unfinished one and is cut, which is told.
func TestBitFlipsWithoutIndex(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	s := open(t, disk, "/image", logstore.Options{})
	var ends []int64
	base := batos.TID(0)
	for i := range 5 {
		base = put(t, s, 1, base, fmt.Sprint("revision ", i))
		ends = append(ends, s.Stats().LogBytes)
	}
	must(t, s.Close())
	must(t, disk.Remove(filepath.Join("/image", logstore.IndexFile)))
	name := filepath.Join("/image", logstore.LogDir, "0000000000000000.seg")
	for off := int64(64); off < ends[4]; off++ {
		flip(t, disk, name, off, 3)
		s, err := logstore.Open(t.Context(), disk, "/image", logstore.Options{ReadOnly: true})
		if off < ends[3] {
			start := int64(64)
			for _, end := range ends {
				if end <= off {
					start = end
				}
			}
			wantCode(t, err, batos.Corrupt, name, fmt.Sprintf("byte %d:", start), "restore")
		} else {
			must(t, err)
			r := s.Recovery()
			if r.Cut != ends[4]-ends[3] || r.Replayed != 4 || !strings.Contains(r.String(), "cut") {
				t.Fatalf("recovery = %+v", r)
			}
			must(t, s.Close())
		}
		flip(t, disk, name, off, 3)
	}
}

// TestMissingPieces: files that are gone, swapped or from elsewhere are noticed.
func TestMissingPieces(t *testing.T) {
	log := func(base string) string { return filepath.Join("/image", logstore.LogDir, base+".seg") }
	for name, c := range map[string]struct {
		harm func(disk vfs.FS, segs []string)
		code batos.Code
		says string
	}{
		"first segment":  {func(d vfs.FS, segs []string) { must(t, d.Remove(segs[0])) }, batos.Corrupt, "earlier segment is missing"},
		"middle segment": {func(d vfs.FS, segs []string) { must(t, d.Remove(segs[1])) }, batos.Corrupt, "gap"},
		"last segment":   {func(d vfs.FS, segs []string) { must(t, d.Remove(segs[len(segs)-1])) }, batos.Corrupt, "was longer before"},
		"whole log": {func(d vfs.FS, segs []string) {
			for _, s := range segs {
				must(t, d.Remove(s))
			}
		}, batos.Corrupt, "remove the index"},
		"renamed segment": {func(d vfs.FS, segs []string) { must(t, d.Rename(segs[len(segs)-1], log("00000000000fffff"))) }, batos.Corrupt, "its name"},
		"cut segment": {func(d vfs.FS, segs []string) {
			change(t, d, segs[0], func(f vfs.File) { must(t, f.Truncate(100)) })
		}, batos.Corrupt, "gap"},
		"cut end": {func(d vfs.FS, segs []string) {
			change(t, d, segs[len(segs)-1], func(f vfs.File) { must(t, f.Truncate(100)) })
		}, batos.Corrupt, "was longer before"},
		"foreign segment": {func(d vfs.FS, segs []string) {
			other, _ := image(t)
			b, err := vfs.ReadFile(other, segs[1])
			must(t, err)
			must(t, vfs.WriteFile(d, segs[1], b, 0o600))
		}, batos.Corrupt, "another image"},
		"newer segment": {func(d vfs.FS, segs []string) {
			change(t, d, segs[0], func(f vfs.File) {
				_, err := f.WriteAt([]byte{logstore.FormatVersion + 1}, 8)
				must(t, err)
			})
		}, batos.NewerFormat, "upgrade batos"},
		"newer index": {func(d vfs.FS, segs []string) {
			change(t, d, filepath.Join("/image", logstore.IndexFile), func(f vfs.File) {
				_, err := f.WriteAt([]byte{logstore.IndexVersion + 1}, 8)
				must(t, err)
			})
		}, batos.NewerFormat, "upgrade batos"},
	} {
		t.Run(name, func(t *testing.T) {
			disk, files := image(t)
			var segs []string
			for _, f := range files {
				if strings.HasSuffix(f, ".seg") {
					segs = append(segs, f)
				}
			}
			c.harm(disk, segs)
			_, err := logstore.Open(t.Context(), disk, "/image", logstore.Options{})
			wantCode(t, err, c.code, c.says)
		})
	}
}

// TestForeignIndex: an index of another image, or of an older log, is not used.
func TestForeignIndex(t *testing.T) {
	disk, _ := image(t)
	other, _ := image(t)
	b, err := vfs.ReadFile(other, filepath.Join("/image", logstore.IndexFile))
	must(t, err)
	must(t, vfs.WriteFile(disk, filepath.Join("/image", logstore.IndexFile), b, 0o600))
	s := open(t, disk, "/image", logstore.Options{})
	defer s.Close()
	if r := s.Recovery(); !strings.Contains(r.IndexLost, "another image") || r.Replayed != 16 {
		t.Fatalf("recovery = %+v", r)
	}
	for what, answer := range readAll(t, s) {
		if answer == damaged {
			t.Fatalf("%s is damaged", what)
		}
	}
}

func TestMissingBlob(t *testing.T) {
	disk, files := image(t)
	for _, f := range files {
		if strings.Contains(f, logstore.BlobDir) && !strings.HasSuffix(f, ".sums") {
			must(t, disk.Remove(f))
		}
	}
	s := open(t, disk, "/image", logstore.Options{})
	defer s.Close()
	missing := s.Recovery().BlobsMissing
	if len(missing) != 1 || !strings.Contains(s.Recovery().String(), hex.EncodeToString(missing[0][:])) {
		t.Fatalf("recovery = %v", s.Recovery())
	}
	_, err := s.OpenBlob(t.Context(), missing[0])
	wantCode(t, err, batos.Corrupt, "restore")
}

// TestLostSums: a blob that lost the checksums beside it is still whole, which
// verify says; who writes the image makes them again. What is not whole is not
// taken for it.
func TestLostSums(t *testing.T) {
	disk := vfs.NewMem()
	content := bytes.Repeat([]byte("some bytes of a blob"), 150_000) // several chunks
	s := open(t, disk, "/image", logstore.Options{})
	var blobs []store.BlobHash
	for _, b := range [][]byte{content, nil} {
		w, err := s.NewBlob(t.Context())
		must(t, err)
		_, err = w.Write(b)
		must(t, err)
		h, _, err := w.Seal()
		must(t, err)
		blobs = append(blobs, h)
	}
	_, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Data: []byte("x"), Blobs: blobs}}})
	must(t, err)
	must(t, s.Close())
	file := filepath.Join("/image", logstore.BlobDir, hex.EncodeToString(blobs[0][:]))
	sums, err := vfs.ReadFile(disk, file+".sums")
	must(t, err)
	for name, lose := range map[string]func(){
		"gone":    func() { must(t, disk.Remove(file+".sums")) },
		"damaged": func() { flip(t, disk, file+".sums", 40, 3) },
		"cut":     func() { change(t, disk, file+".sums", func(f vfs.File) { must(t, f.Truncate(20)) }) },
	} {
		lose()
		if name == "gone" {
			must(t, disk.Remove(filepath.Join("/image", logstore.BlobDir, hex.EncodeToString(blobs[1][:])+".sums")))
		}
		s := open(t, disk, "/image", logstore.Options{ReadOnly: true})
		p := problems(t, s, store.VerifyOptions{SkipBlobs: true})
		if n := len(p[store.WrongSums]); n == 0 || len(p) != 1 || name == "gone" && n != 2 {
			t.Errorf("%s: %+v", name, p)
		}
		b, err := s.OpenBlob(t.Context(), blobs[0])
		must(t, err)
		got := make([]byte, len(content))
		if _, err := b.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: the blob is not whole, %v", name, err)
		}
		must(t, b.Close())
		must(t, s.Close())

		flip(t, disk, file, 1<<20+5, 1)
		s = open(t, disk, "/image", logstore.Options{})
		_, err = s.OpenBlob(t.Context(), blobs[0])
		wantCode(t, err, batos.Corrupt, "it holds something else")
		flip(t, disk, file, 1<<20+5, 1)
		if p := problems(t, s, store.VerifyOptions{}); len(p[store.WrongSums]) == 0 || len(p) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
		if p := problems(t, s, store.VerifyOptions{}); len(p) != 0 {
			t.Errorf("%s: mended, there is still %+v", name, p)
		}
		must(t, s.Close())
		if again, err := vfs.ReadFile(disk, file+".sums"); err != nil || !bytes.Equal(again, sums) {
			t.Errorf("%s: the sums are not what they were, %v", name, err)
		}
	}
}

func TestSecondOpener(t *testing.T) {
	dir := t.TempDir()
	s := open(t, vfs.OS(), dir, logstore.Options{})
	_, err := logstore.Open(t.Context(), vfs.OS(), dir, logstore.Options{})
	wantCode(t, err, batos.Locked, fmt.Sprint("pid ", os.Getpid()), logstore.LockFile)
	must(t, s.Close())
	must(t, open(t, vfs.OS(), dir, logstore.Options{}).Close())
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	_, err := logstore.Open(t.Context(), vfs.OS(), filepath.Join(dir, "none"), logstore.Options{ReadOnly: true})
	wantCode(t, err, batos.NotFound)
	s := open(t, vfs.OS(), dir, logstore.Options{})
	put(t, s, 7, 0, "seven")
	must(t, s.Close())
	before := folder(t, dir)

	a := open(t, vfs.OS(), dir, logstore.Options{ReadOnly: true})
	b := open(t, vfs.OS(), dir, logstore.Options{ReadOnly: true})
	p, err := b.Snapshot(t.Context())
	must(t, err)
	if r, err := p.Load(t.Context(), 7); err != nil || string(r.Data) != "seven" {
		t.Fatalf("Load = %v, %v", r, err)
	}
	_, err = a.Commit(t.Context(), &store.Changes{})
	wantCode(t, err, batos.Denied)
	_, err = a.NewBlob(t.Context())
	wantCode(t, err, batos.Denied)
	_, err = a.NewOIDs(t.Context(), 1)
	wantCode(t, err, batos.Denied)
	must(t, a.Close())
	must(t, b.Close())
	if after := folder(t, dir); after != before {
		t.Fatalf("reading changed the folder from\n%s\nto\n%s", before, after)
	}
}

// folder describes all files below dir by name, size and content.
func folder(t *testing.T, dir string) string {
	var out bytes.Buffer
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		fmt.Fprintf(&out, "%s %x\n", name, b)
		return err
	}))
	return out.String()
}

// TestNotAFolder: a path that cannot hold an image is the caller's mistake.
func TestNotAFolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(name, nil, 0o600))
	_, err := logstore.Open(t.Context(), vfs.OS(), name, logstore.Options{})
	wantCode(t, err, batos.Invalid)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestClock: TIDs follow the clock, and go on when it stands or goes back.
func TestClock(t *testing.T) {
	now := time.UnixMicro(5000)
	s := open(t, vfs.NewMem(), "/image", logstore.Options{Clock: func() time.Time { return now }})
	defer s.Close()
	commit := func(want batos.TID) {
		t.Helper()
		if tid, err := s.Commit(t.Context(), &store.Changes{}); err != nil || tid != want {
			t.Fatalf("tid = %d, %v, want %d", uint64(tid), err, uint64(want))
		}
	}
	commit(5000)
	commit(5001)
	now = time.UnixMicro(10)
	commit(5002)
	now = time.UnixMicro(9000)
	commit(9000)
	now = time.Time{}
	commit(9001)
}
