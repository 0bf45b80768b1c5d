package logstore_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// crashOptions make segments and checkpoints so small that power fails in
// the middle of each kind of work.
var crashOptions = logstore.Options{SegmentBytes: 3 << 10, CheckpointBytes: 2 << 10}

// world is what a workload was told, across crashes: the transactions that
// were acknowledged and those whose answer never came, by their meta.
type world struct {
	mu       sync.Mutex
	acked    map[string]wish
	inFlight map[string]wish
}

// wish is one transaction that a workload asked for.
type wish struct {
	tid   batos.TID // 0 while in flight
	data  map[batos.OID]string
	blobs map[store.BlobHash][]byte
}

func newWorld() *world {
	return &world{acked: map[string]wish{}, inFlight: map[string]wish{}}
}

// work commits random transactions as one of several writers, until the
// power fails. Writers own their objects, so that only the power disturbs.
func (w *world) work(ctx context.Context, s *logstore.Store, name string, rng *rand.Rand, rounds int) {
	bases := map[batos.OID]batos.TID{}
	var own []batos.OID
	for i := range rounds {
		meta := fmt.Sprintf("%s.%d", name, i)
		x := wish{data: map[batos.OID]string{}, blobs: map[store.BlobHash][]byte{}}
		c := &store.Changes{Meta: []byte(meta)}
		for range 1 + rng.IntN(3) {
			oid := batos.DeriveOID(name, fmt.Sprint(rng.IntN(4)))
			if rng.IntN(2) == 0 {
				if len(own) < 3 {
					fresh, err := s.NewOIDs(ctx, 1)
					if err != nil {
						return
					}
					own = append(own, fresh)
				}
				oid = own[rng.IntN(len(own))]
			}
			if _, twice := x.data[oid]; twice {
				continue
			}
			x.data[oid] = meta + strings.Repeat("#", rng.IntN(300))
			write := store.Write{OID: oid, Base: bases[oid], Data: []byte(x.data[oid])}
			if rng.IntN(5) == 0 {
				content := bytes.Repeat([]byte(meta), rng.IntN(400))
				blob, err := s.NewBlob(ctx)
				if err != nil {
					return
				}
				if _, err := blob.Write(content); err != nil {
					return
				}
				h, _, err := blob.Seal()
				if err != nil {
					return
				}
				x.blobs[h] = content
				write.Blobs = []store.BlobHash{h}
			}
			c.Writes = append(c.Writes, write)
		}
		w.mu.Lock()
		w.inFlight[meta] = x
		w.mu.Unlock()
		tid, err := s.Commit(ctx, c)
		if err != nil {
			return
		}
		for oid := range x.data {
			bases[oid] = tid
		}
		x.tid = tid
		w.mu.Lock()
		delete(w.inFlight, meta)
		w.acked[meta] = x
		w.mu.Unlock()
	}
}

// check compares an image after a crash with what was told. What is there now
// has to stay from here on.
func (w *world) check(t *testing.T, s *logstore.Store) {
	t.Helper()
	ctx := t.Context()
	newest := map[batos.OID]string{}
	missing := map[string]wish{}
	for meta, x := range w.acked {
		missing[meta] = x
	}
	for tx, err := range s.Transactions(ctx, 0, 1<<64-1) {
		must(t, err)
		meta := string(tx.Meta)
		x, ok := missing[meta]
		if ok {
			if x.tid != tx.TID {
				t.Fatalf("%s was acknowledged as %v and is %v", meta, x.tid, tx.TID)
			}
		} else if x, ok = w.inFlight[meta]; !ok {
			t.Fatalf("%s is there twice, or was never asked for", meta)
		}
		delete(missing, meta)
		delete(w.inFlight, meta)
		if len(tx.Revisions) != len(x.data) {
			t.Fatalf("%s has %d revisions of %d", meta, len(tx.Revisions), len(x.data))
		}
		for _, r := range tx.Revisions {
			if string(r.Data) != x.data[r.OID] {
				t.Fatalf("%s has other data in %v", meta, r.OID)
			}
			newest[r.OID] = string(r.Data)
		}
		for h, content := range x.blobs {
			b, err := s.OpenBlob(ctx, h)
			must(t, err)
			got := make([]byte, len(content))
			if n, err := b.ReadAt(got, 0); n != len(content) || !bytes.Equal(got, content) {
				t.Fatalf("%s: blob %x has %d bytes, %v", meta, h, n, err)
			}
			must(t, b.Verify(ctx))
			must(t, b.Close())
		}
		x.tid = tx.TID
		w.acked[meta] = x
	}
	if len(missing) > 0 {
		t.Fatalf("%d acknowledged transactions are lost: %v", len(missing), slices.Sorted(maps.Keys(missing)))
	}
	clear(w.inFlight)
	p, err := s.Snapshot(ctx)
	must(t, err)
	for oid, data := range newest {
		if r, err := p.Load(ctx, oid); err != nil || string(r.Data) != data {
			t.Fatalf("%v = %q, %v; want %q", oid, r.Data, err, data)
		}
		first := true
		for r, err := range s.History(ctx, oid) {
			must(t, err)
			if first && string(r.Data) != data {
				t.Fatalf("the history of %v begins with %q", oid, r.Data)
			}
			first = false
		}
	}
	if n := len(s.Recovery().BlobsMissing); n > 0 {
		t.Fatalf("%d blobs are missing", n)
	}
	for p, err := range s.Verify(ctx, store.VerifyOptions{}) {
		must(t, err)
		t.Fatalf("problem: %+v", p)
	}
}

// fates is how often the power fails at each call, to lose and tear and
// reorder other bytes each time.
func fates() int {
	if os.Getenv("BATOS_LONG") != "" {
		return 12
	}
	return 1
}

// seeds is how many crash stories to tell; BATOS_CRASH_SEEDS tells more.
func seeds(t *testing.T, usual int) int {
	if n, err := strconv.Atoi(os.Getenv("BATOS_CRASH_SEEDS")); err == nil {
		return n
	}
	if os.Getenv("BATOS_LONG") != "" {
		return 20 * usual
	}
	if testing.Short() {
		return usual / 10
	}
	return usual
}

// TestCrashWriters lets the power fail three times in a row under four
// writers, in work, in recovery or in closing, at a point that the seed
// chooses.
func TestCrashWriters(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 250) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			disk := vfs.NewCrash(uint64(seed))
			w := newWorld()
			for life := range 3 {
				disk.StopAt(disk.Calls() + 1 + rng.IntN(250))
				s, err := logstore.Open(t.Context(), disk, "/image", crashOptions)
				if err == nil {
					var wg sync.WaitGroup
					for n := range 4 {
						rng := rand.New(rand.NewPCG(rng.Uint64(), 2))
						wg.Go(func() { w.work(t.Context(), s, fmt.Sprintf("%d-%d", life, n), rng, 12) })
					}
					wg.Wait()
					_ = s.Close()
				} else if !disk.Stopped() {
					t.Fatal(err)
				}
				if rng.IntN(3) == 0 {
					disk.Kill() // the power goes later: what was seen meanwhile has to stay
				} else {
					disk.Crash()
				}
				s = open(t, disk, "/image", crashOptions)
				w.check(t, s)
				if rng.IntN(2) == 0 {
					must(t, s.Close())
				} // else the power fails again without more work
				disk.Crash()
			}
			s := open(t, disk, "/image", crashOptions)
			w.check(t, s)
			must(t, s.Close())
		})
	}
}

// TestCrashEverywhere lets the power fail at each single call of one writer's
// life, from the first folder to the last index, and once more in recovery.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	run := func(disk *vfs.Crash) *world {
		w := newWorld()
		s, err := logstore.Open(t.Context(), disk, "/deep/image", crashOptions)
		if err != nil {
			return w
		}
		w.work(t.Context(), s, "w", rand.New(rand.NewPCG(5, 5)), 40)
		_ = s.Close()
		return w
	}
	whole := vfs.NewCrash(0)
	run(whole)
	step := 1
	if testing.Short() {
		step = 7
	}
	points := 0
	for at := range fates() * whole.Calls() / step {
		n, fate := 1+at*step%whole.Calls(), at*step/whole.Calls()
		disk := vfs.NewCrash(uint64(n) + uint64(fate)<<32)
		disk.StopAt(n)
		w := run(disk)
		if (n+fate)%3 == 0 {
			disk.Kill()
		} else {
			disk.Crash()
		}
		disk.StopAt(disk.Calls() + 1 + (n+fate)%8) // and again while it recovers
		if s, err := logstore.Open(t.Context(), disk, "/deep/image", crashOptions); err == nil {
			w.check(t, s)
		} else if !disk.Stopped() {
			t.Fatal(err)
		}
		if n%2 == 0 {
			disk.Kill()
		} else {
			disk.Crash()
		}
		s := open(t, disk, "/deep/image", crashOptions)
		w.check(t, s)
		disk.Crash() // what was just seen has to stay
		s = open(t, disk, "/deep/image", crashOptions)
		w.check(t, s)
		w.work(t.Context(), s, "again", rand.New(rand.NewPCG(6, 6)), 3)
		w.check(t, s)
		must(t, s.Close())
		if t.Failed() {
			t.Fatalf("power failed at call %d of %d, fate %d", n, whole.Calls(), fate)
		}
		points++
	}
	t.Logf("%d crashes at %d calls", points, whole.Calls())
}
