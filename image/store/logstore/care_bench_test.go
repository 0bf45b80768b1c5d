package logstore_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// BenchmarkAsOf loads the newest, the oldest and any of 1,000 revisions;
// "oldest/newest" and "any/newest" are ratios of the times.
func BenchmarkAsOf(b *testing.B) {
	s := open(b, vfs.OS(), b.TempDir(), logstore.Options{})
	defer s.Close()
	tids := []batos.TID{0}
	for i := range 1000 {
		tids = append(tids, put(b, s, 1, tids[i], fmt.Sprintf("%0200d", i)))
	}
	views := make([]store.Snapshot, 1000)
	for i := range views {
		p, err := s.SnapshotAt(b.Context(), tids[i+1])
		must(b, err)
		views[i] = p
	}
	rng := rand.New(rand.NewPCG(1, 1))
	times := map[string]time.Duration{}
	for b.Loop() {
		for what, pick := range map[string]func() int{"newest": func() int { return 999 }, "oldest": func() int { return 0 }, "any": func() int { return rng.IntN(1000) }} {
			begin := time.Now()
			for range 200 {
				if _, err := views[pick()].Load(b.Context(), 1); err != nil {
					b.Fatal(err)
				}
			}
			times[what] += time.Since(begin)
		}
	}
	b.ReportMetric(float64(times["newest"].Nanoseconds())/float64(200*b.N), "newest-ns")
	b.ReportMetric(float64(times["oldest"])/float64(times["newest"]), "oldest/newest")
	b.ReportMetric(float64(times["any"])/float64(times["newest"]), "any/newest")
}

// BenchmarkPack packs revisions of 10 times fewer objects while 4 writers
// commit: its speed in ratio to a plain copy of the log, the writers' to
// theirs before, and the time in which 99 of 100 of their commits are done.
func BenchmarkPack(b *testing.B) {
	const objects, rounds = 40_000, 10
	for range b.N {
		dir := b.TempDir()
		s := open(b, vfs.OS(), dir, logstore.Options{SegmentBytes: 16 << 20})
		oids, err := s.NewOIDs(b.Context(), objects+4)
		must(b, err)
		base := batos.TID(0)
		for range rounds {
			writes := make([]store.Write, objects)
			for i := range writes {
				writes[i] = store.Write{OID: oids + batos.OID(i), Base: base, Data: make([]byte, 100)}
			}
			base, err = s.Commit(b.Context(), &store.Changes{Writes: writes})
			must(b, err)
		}
		copied := copyLog(b, filepath.Join(dir, logstore.LogDir))
		idle, _ := writeFor(b, s, oids+objects, func() { time.Sleep(time.Second) })
		var took time.Duration
		var r store.PackReport
		busy, p99 := writeFor(b, s, oids+objects, func() {
			begin := time.Now()
			r, err = s.Pack(b.Context(), store.PackOptions{Before: base})
			must(b, err)
			took = time.Since(begin)
		})
		if r.Revisions != objects*(rounds-1) {
			b.Fatalf("packed %+v", r)
		}
		b.ReportMetric(float64(copied)/float64(took), "copy-ratio")
		b.ReportMetric(busy/idle, "writers-ratio")
		b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(r.Revisions)/took.Seconds(), "revisions/s")
		must(b, s.Close())
	}
}

// copyLog copies the files of a folder into one, with a sync, and says how
// long it took.
func copyLog(b *testing.B, dir string) time.Duration {
	names, err := os.ReadDir(dir)
	must(b, err)
	begin := time.Now()
	out, err := os.Create(filepath.Join(b.TempDir(), "copy"))
	must(b, err)
	for _, n := range names {
		in, err := os.Open(filepath.Join(dir, n.Name()))
		must(b, err)
		_, err = io.Copy(struct{ io.Writer }{out}, in) // as a program does that looks at the bytes
		must(b, err)
		must(b, in.Close())
	}
	must(b, out.Sync())
	must(b, out.Close())
	return time.Since(begin)
}

// writeFor lets 4 writers commit while fn runs: commits in a second, and the
// time in which 99 of 100 were done.
func writeFor(b *testing.B, s *logstore.Store, first batos.OID, fn func()) (float64, time.Duration) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	times := make([][]time.Duration, 4)
	begin := time.Now()
	for w := range times {
		wg.Go(func() {
			oid, base := first+batos.OID(w), batos.TID(0)
			for r, err := range s.History(b.Context(), oid) {
				must(b, err)
				base = r.TID
				break
			}
			for {
				select {
				case <-done:
					return
				default:
				}
				at := time.Now()
				tid, err := s.Commit(b.Context(), &store.Changes{Writes: []store.Write{{OID: oid, Base: base, Data: make([]byte, 200)}}})
				if err != nil {
					b.Error(err)
					return
				}
				base = tid
				times[w] = append(times[w], time.Since(at))
			}
		})
	}
	fn()
	took := time.Since(begin)
	close(done)
	wg.Wait()
	all := slices.Concat(times...)
	slices.Sort(all)
	return float64(len(all)) / took.Seconds(), all[len(all)*99/100]
}
