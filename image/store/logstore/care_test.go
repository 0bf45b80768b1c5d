package logstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// careOptions make a segment of every few commits.
var careOptions = logstore.Options{SegmentBytes: 1 << 10, CheckpointBytes: 2 << 10}

// ledger is what one writer was told: what the image was after each commit,
// and to where packs may have gone.
type ledger struct {
	tids   []batos.TID
	states []map[batos.OID]thing
	maybe  map[batos.OID]thing // after the commit whose answer never came
	before batos.TID           // the latest moment that a pack was asked for
	backup batos.TID           // the newest transaction of a backup that was acknowledged
}

// thing is an object as the ledger has it.
type thing struct {
	tid  batos.TID
	data string
	blob string
}

func (l *ledger) last() (batos.TID, map[batos.OID]thing) {
	if len(l.tids) == 0 {
		return 0, nil
	}
	return l.tids[len(l.tids)-1], l.states[len(l.states)-1]
}

// work commits random changes of few objects, deletions too.
func (l *ledger) work(ctx context.Context, s *logstore.Store, rng *rand.Rand, rounds int) error {
	for range rounds {
		_, now := l.last()
		next := maps.Clone(now)
		if next == nil {
			next = map[batos.OID]thing{}
		}
		c := &store.Changes{Meta: fmt.Appendf(nil, "m%d", len(l.tids))}
		for _, oid := range rng.Perm(6)[:1+rng.IntN(3)] {
			oid := batos.OID(oid + 1)
			w := store.Write{OID: oid, Base: now[oid].tid}
			if now[oid].tid != 0 && rng.IntN(4) == 0 {
				w.Delete = true
				delete(next, oid)
				c.Writes = append(c.Writes, w)
				continue
			}
			x := thing{data: fmt.Sprint(len(l.tids), ".", oid, strings.Repeat("#", rng.IntN(60)))}
			w.Data = []byte(x.data)
			if rng.IntN(4) == 0 {
				x.blob = fmt.Sprint("blob ", len(l.tids), oid)
				b, err := s.NewBlob(ctx)
				if err != nil {
					return err
				}
				if _, err := b.Write([]byte(x.blob)); err != nil {
					return err
				}
				h, _, err := b.Seal()
				if err != nil {
					return err
				}
				w.Blobs = []store.BlobHash{h}
			}
			next[oid] = x
			c.Writes = append(c.Writes, w)
		}
		l.maybe = next
		tid, err := s.Commit(ctx, c)
		if err != nil {
			return err
		}
		l.maybe = nil
		l.commit(tid, next, c)
	}
	return nil
}

func (l *ledger) commit(tid batos.TID, next map[batos.OID]thing, c *store.Changes) {
	for _, w := range c.Writes {
		if x, ok := next[w.OID]; ok {
			x.tid = tid
			next[w.OID] = x
		}
	}
	l.tids, l.states = append(l.tids, tid), append(l.states, next)
}

// keepSome wants some old revisions to stay.
func keepSome(_ []byte, r *store.Revision) bool { return len(r.Data)%5 == 0 }

func (l *ledger) pack(ctx context.Context, s *logstore.Store, back int, keep func([]byte, *store.Revision) bool) error {
	before := l.tids[len(l.tids)-1-back]
	l.before = max(l.before, before)
	_, err := s.Pack(ctx, store.PackOptions{Before: before, Keep: keep})
	return err
}

// life is everything an image goes through, up to the first error.
func (l *ledger) life(ctx context.Context, disk vfs.FS) error {
	rng := rand.New(rand.NewPCG(9, 9))
	s, err := logstore.Open(ctx, disk, "/image", careOptions)
	if err != nil {
		return err
	}
	backup := func() error {
		r, err := s.Backup(ctx, "/backup")
		if err == nil {
			l.backup = r.Last
		}
		return err
	}
	for _, step := range []func() error{
		func() error { return l.work(ctx, s, rng, 12) },
		func() error { return l.pack(ctx, s, 4, keepSome) },
		func() error { return l.work(ctx, s, rng, 4) },
		backup,
		func() error { return l.work(ctx, s, rng, 8) },
		func() error { return l.pack(ctx, s, 0, nil) },
		func() error { return l.work(ctx, s, rng, 2) },
		backup,
		func() error {
			_, err := logstore.Restore(ctx, disk, "/backup", "/restored", l.tids[len(l.tids)-2])
			return err
		},
		func() error { return l.work(ctx, s, rng, 1) },
	} {
		if err := step(); err != nil {
			_ = s.Close()
			return err
		}
	}
	return s.Close()
}

// check compares an image with the ledger up to a transaction, 0 meaning all
// that was acknowledged.
func (l *ledger) check(t *testing.T, s *logstore.Store, upTo batos.TID) {
	t.Helper()
	for p, err := range s.Verify(t.Context(), store.VerifyOptions{}) {
		must(t, err)
		t.Fatalf("problem: %+v", p)
	}
	if n := s.Recovery().BlobsMissing; len(n) > 0 {
		t.Fatalf("blobs are missing: %x", n)
	}
	if tid, _ := l.last(); upTo == 0 && s.LastTID() != tid {
		if l.maybe == nil || s.LastTID() < tid {
			t.Fatalf("the image ends at %v, want %v", s.LastTID(), tid)
		}
		for oid, x := range l.maybe { // it was committed after all
			if x.tid == 0 {
				x.tid = s.LastTID()
				l.maybe[oid] = x
			}
		}
		l.tids, l.states = append(l.tids, s.LastTID()), append(l.states, l.maybe)
	}
	if upTo == 0 {
		l.maybe = nil
	}
	for i, tid := range l.tids {
		if upTo != 0 && tid > upTo {
			break
		}
		p, err := s.SnapshotAt(t.Context(), tid)
		must(t, err)
		for oid := range batos.OID(7) {
			r, err := p.Load(t.Context(), oid)
			want, exists := l.states[i][oid]
			switch code := batos.CodeOf(err); {
			case err == nil && exists && string(r.Data) == want.data && r.TID == want.tid && (want.blob != "") == (len(r.Blobs) == 1):
				if want.blob == "" {
					continue
				}
				b, err := s.OpenBlob(t.Context(), r.Blobs[0])
				must(t, err)
				got := make([]byte, b.Size())
				if _, err := b.ReadAt(got, 0); err != nil || string(got) != want.blob {
					t.Fatalf("%v at %v has the blob %q, %v; want %q", oid, tid, got, err, want.blob)
				}
				must(t, b.Close())
			case code == batos.NotFound && !exists:
			case code == batos.Packed && tid < l.before:
			default:
				t.Fatalf("%v at %v (%d of %d, up to %v) = %+v, %v; want %+v (packed before %v), the image ends at %v", oid, tid, i, len(l.tids), upTo, r, err, want, l.before, s.LastTID())
			}
		}
		must(t, p.Close())
	}
}

// checkBackup restores what was acknowledged as saved.
func (l *ledger) checkBackup(t *testing.T, disk vfs.FS) {
	t.Helper()
	if l.backup == 0 {
		return
	}
	b, err := logstore.ReadBackup(disk, "/backup")
	must(t, err)
	if b.Last < l.backup {
		t.Fatalf("the backup ends at %v, want %v", b.Last, l.backup)
	}
	r, err := logstore.Restore(t.Context(), disk, "/backup", "/again", b.Last)
	must(t, err)
	if r.Last != b.Last {
		t.Fatalf("restored %v of %v", r.Last, b.Last)
	}
	s := open(t, disk, "/again", careOptions)
	l.check(t, s, b.Last)
	must(t, s.Close())
}

// checkRestored looks at what an interrupted restore left: nothing that opens,
// or all of it.
func (l *ledger) checkRestored(t *testing.T, disk vfs.FS) {
	t.Helper()
	if _, err := disk.Stat("/restored"); err != nil {
		return
	}
	s, err := logstore.Open(t.Context(), disk, "/restored", careOptions)
	if err != nil {
		wantCode(t, err, batos.Corrupt, "restore again")
		r, err := logstore.Restore(t.Context(), disk, "/backup", "/restored", 1<<62)
		must(t, err)
		s = open(t, disk, "/restored", careOptions)
		l.check(t, s, r.Last)
	} else if s.LastTID() != 0 { // else the folder was made and nothing else
		l.check(t, s, s.LastTID())
	}
	must(t, s.Close())
}

// TestCrashCare lets the power fail at each single call of an image's life
// with packs, backups and a restore, and checks all of them afterwards.
func TestCrashCare(t *testing.T) {
	t.Parallel()
	whole := vfs.NewCrash(0)
	must(t, (&ledger{}).life(t.Context(), whole))
	step := 1
	if testing.Short() {
		step = 23
	}
	points := 0
	for at := range fates() * whole.Calls() / step {
		n, fate := 1+at*step%whole.Calls(), at*step/whole.Calls()
		disk, l := vfs.NewCrash(uint64(n)+uint64(fate)<<32), &ledger{}
		disk.StopAt(n)
		if err := l.life(t.Context(), disk); err == nil && n < whole.Calls()-20 { // checkpoints come when they come
			t.Fatalf("no failure at call %d", n)
		}
		if (n+fate)%3 == 0 {
			disk.Kill()
		} else {
			disk.Crash()
		}
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("power failed at call %d of %d, fate %d", n, whole.Calls(), fate)
				}
			}()
			s := open(t, disk, "/image", careOptions)
			l.check(t, s, 0)
			if len(l.tids) > 4 { // what was cut short goes on
				must(t, l.pack(t.Context(), s, 0, keepSome))
				l.check(t, s, 0)
				_, err := s.Backup(t.Context(), "/backup")
				must(t, err)
				l.backup, _ = l.last()
			}
			must(t, l.work(t.Context(), s, rand.New(rand.NewPCG(1, uint64(n))), 2))
			must(t, s.Close())
			must(t, disk.Remove(filepath.Join("/image", logstore.IndexFile)))
			s = open(t, disk, "/image", careOptions) // the log alone says the same
			l.check(t, s, 0)
			must(t, s.Close())
			l.checkBackup(t, disk)
			l.checkRestored(t, disk)
		}()
		points++
	}
	t.Logf("%d crashes at %d calls", points, whole.Calls())
}

// TestFaultsCare makes calls fail once in such a life, and each second of them
// from then on, as a broken and as a full disk. BATOS_LONG=1 lets each call fail
// both ways, else it is about sixty calls of each kind.
func TestFaultsCare(t *testing.T) {
	t.Parallel()
	whole := vfs.NewFaulty(vfs.NewMem())
	must(t, (&ledger{}).life(t.Context(), whole))
	points := 0
	for _, op := range vfs.Ops() {
		step := max(1, whole.Calls(op)/60)
		if testing.Short() {
			step *= 10
		}
		ways := []bool{false}
		if os.Getenv("BATOS_LONG") != "" {
			step, ways = 1, []bool{false, true}
		}
		for n := 1; n <= whole.Calls(op); n += step {
			for i := range 2 * len(ways) {
				broken := []syscall.Errno{syscall.EIO, syscall.ENOSPC}[i%2]
				disk, l := vfs.NewFaulty(vfs.NewMem()), &ledger{}
				disk.Fail(op, n, (n%2 == 0) != ways[i/2], broken)
				err := l.life(t.Context(), disk)
				if err != nil && (batos.CodeOf(err) == "" || strings.Contains(err.Error(), "\n")) {
					t.Fatalf("%v at call %d of %s: %v has no code or several lines", broken, n, op, err)
				}
				disk.Heal()
				s := open(t, disk, "/image", careOptions)
				l.check(t, s, 0)
				must(t, s.Close())
				l.checkBackup(t, disk)
				if t.Failed() {
					t.Fatalf("%v at call %d of %s", broken, n, op)
				}
				points++
			}
		}
	}
	t.Logf("%d faults", points)
}

// packedImage makes a closed image that was packed, and lists its files.
func packedImage(t *testing.T) (vfs.FS, *ledger, []string) {
	disk, l := vfs.NewMem(), &ledger{}
	s := open(t, disk, "/image", logstore.Options{SegmentBytes: 1 << 10})
	must(t, l.work(t.Context(), s, rand.New(rand.NewPCG(2, 3)), 14))
	must(t, l.pack(t.Context(), s, 3, keepSome))
	must(t, l.work(t.Context(), s, rand.New(rand.NewPCG(4, 5)), 3))
	must(t, s.Close())
	var files []string
	for _, dir := range []string{logstore.LogDir, logstore.BlobDir, "."} {
		names, err := disk.ReadDir(filepath.Join("/image", dir))
		must(t, err)
		for _, name := range names {
			if name == "trash" || strings.Contains(name, "live_image.fs") && name != logstore.IndexFile {
				continue
			}
			files = append(files, filepath.Join("/image", dir, name))
		}
	}
	return disk, l, files
}

// TestBitFlipsPacked is TestBitFlips for a packed image.
func TestBitFlipsPacked(t *testing.T) {
	t.Parallel()
	disk, _, files := packedImage(t)
	step := 1
	if testing.Short() {
		step = 13
	}
	flipAll(t, disk, files, step)
}

// TestBackupFlips: a damaged backup restores nothing.
func TestBackupFlips(t *testing.T) {
	t.Parallel()
	disk, _, _ := packedImage(t)
	s := open(t, disk, "/image", logstore.Options{})
	_, err := s.Backup(t.Context(), "/backup")
	must(t, err)
	must(t, s.Close())
	n := 0
	for _, dir := range []string{"/backup", "/backup/log", "/backup/blob"} {
		names, err := disk.ReadDir(dir)
		must(t, err)
		for _, base := range names {
			name := filepath.Join(dir, base)
			content, err := vfs.ReadFile(disk, name)
			if err != nil || base == "backup.lock" {
				continue
			}
			for off := 0; off < len(content); off += 1 + len(content)/40 {
				n++
				flip(t, disk, name, int64(off), n%8)
				_, err := logstore.Restore(t.Context(), disk, "/backup", fmt.Sprint("/restored", n), 1<<62)
				if code := batos.CodeOf(err); code != batos.Corrupt && code != batos.NewerFormat {
					blobUnused := dir == "/backup/blob" && err == nil // the newest state need not name every blob
					if !blobUnused {
						t.Fatalf("%s byte %d: %v", name, off, err)
					}
				}
				flip(t, disk, name, int64(off), n%8)
			}
		}
	}
	t.Logf("%d flips", n)
}

// TestPackUnderLoad packs while writers commit and readers hold snapshots:
// every snapshot keeps its view.
func TestPackUnderLoad(t *testing.T) {
	t.Parallel()
	s := open(t, vfs.NewMem(), "/image", logstore.Options{SegmentBytes: 16 << 10, CheckpointBytes: 32 << 10})
	ctx, stop := context.WithCancel(t.Context())
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			oids := [2]batos.OID{batos.OID(2*w + 1), batos.OID(2*w + 2)}
			base := batos.TID(0)
			for i := range 400 {
				data := fmt.Append(nil, "both hold ", i, strings.Repeat(".", 200))
				tid, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oids[0], Base: base, Data: data}, {OID: oids[1], Base: base, Data: data}}})
				if err != nil {
					t.Error(err)
					return
				}
				base = tid
			}
		})
		readers.Go(func() {
			for ctx.Err() == nil {
				p, err := s.Snapshot(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					for w := range 4 {
						a, errA := p.Load(t.Context(), batos.OID(2*w+1))
						b, errB := p.Load(t.Context(), batos.OID(2*w+2))
						if batos.CodeOf(errA) == batos.NotFound && batos.CodeOf(errB) == batos.NotFound {
							continue
						}
						if errA != nil || errB != nil || string(a.Data) != string(b.Data) || a.TID != b.TID {
							t.Errorf("a snapshot is torn: %v %v, %v %v", a.TID, errA, b.TID, errB)
							return
						}
					}
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Pack(t.Context(), store.PackOptions{Before: s.LastTID(), Keep: keepSome}); err != nil {
				t.Error(err)
				return
			}
			for p, err := range s.Verify(t.Context(), store.VerifyOptions{}) {
				if err != nil || p.Text != "" {
					t.Errorf("problem: %+v, %v", p, err)
					return
				}
			}
		}
	})
	writers.Wait()
	stop()
	readers.Wait()
	r, err := s.Pack(t.Context(), store.PackOptions{Before: s.LastTID()})
	must(t, err)
	if st := s.Stats(); st.LogBytes > 64<<10 {
		t.Fatalf("8 objects take %d bytes after packing; %+v", st.LogBytes, r)
	}
	must(t, s.Close())
}

// TestCareEnds: cancelling and closing end a pack early, and harm nothing.
func TestCareEnds(t *testing.T) {
	s := open(t, vfs.NewMem(), "/image", careOptions)
	l := &ledger{}
	must(t, l.work(t.Context(), s, rand.New(rand.NewPCG(1, 1)), 20))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Pack(ctx, store.PackOptions{Before: s.LastTID(), Keep: func([]byte, *store.Revision) bool {
		cancel()
		return false
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled pack answered %v", err)
	}
	closed := make(chan error, 1)
	_, err = s.Pack(t.Context(), store.PackOptions{Before: s.LastTID(), Keep: func([]byte, *store.Revision) bool {
		select {
		case closed <- nil:
			go func() { closed <- s.Close() }()
		default:
		}
		return false
	}})
	if err != nil && batos.CodeOf(err) != batos.Cancelled {
		t.Fatal(err)
	}
	<-closed
	must(t, <-closed)
	_, err = s.Backup(t.Context(), "/backup")
	wantCode(t, err, batos.Cancelled)
}

// TestPackTellsHowFarItCame: progress only grows, and comes near the end.
func TestPackTellsHowFarItCame(t *testing.T) {
	s := open(t, vfs.NewMem(), "/image", logstore.Options{SegmentBytes: 16 << 20})
	defer s.Close()
	base := batos.TID(0)
	for range 40 {
		tid, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Base: base, Data: make([]byte, 1<<20)}}})
		must(t, err)
		base = tid
	}
	var seen []store.PackProgress
	_, err := s.Pack(t.Context(), store.PackOptions{Before: base, Progress: func(p store.PackProgress) { seen = append(seen, p) }})
	must(t, err)
	for i, p := range seen {
		if p.Done > p.Total || i > 0 && (p.Done <= seen[i-1].Done || p.Revisions < seen[i-1].Revisions) {
			t.Fatalf("progress %d is %+v in %+v", i, p, seen)
		}
	}
	if n := len(seen); n < 5 || seen[n-1].Done < seen[n-1].Total*3/4 {
		t.Fatalf("progress was %+v", seen)
	}
}
