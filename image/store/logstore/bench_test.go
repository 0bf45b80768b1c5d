package logstore_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/image/store/rawlog"
	"batos/internal/vfs"
)

// BenchmarkCommit measures durable commits of one object of 200 bytes each,
// and the same bytes by the same number of writers on a raw log: "ratio".
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			const slice = 400 * time.Millisecond
			s := open(b, vfs.OS(), b.TempDir(), logstore.Options{})
			defer s.Close()
			oids, err := s.NewOIDs(b.Context(), writers)
			must(b, err)
			bases := make([]batos.TID, writers)
			var mine, raw float64
			for range b.N { // slices in turn, so that both meet the same noise
				before := s.Stats()
				begin := time.Now()
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						data := make([]byte, 200)
						for time.Since(begin) < slice {
							tid, err := s.Commit(b.Context(), &store.Changes{Writes: []store.Write{{OID: oids + batos.OID(w), Base: bases[w], Data: data}}})
							if err != nil {
								b.Error(err)
								return
							}
							bases[w] = tid
						}
					})
				}
				wg.Wait()
				took := time.Since(begin)
				after := s.Stats()
				n := after.Transactions - before.Transactions
				mine += float64(n) / took.Seconds()
				r, err := rawlog.Measure(b.TempDir(), rawlog.Load{Writers: writers, Bytes: int((after.LogBytes - before.LogBytes) / n), Duration: slice})
				must(b, err)
				raw += r.PerSecond()
			}
			b.ReportMetric(mine/float64(b.N), "commits/s")
			b.ReportMetric(raw/float64(b.N), "raw/s")
			b.ReportMetric(mine/raw, "ratio")
		})
	}
}

// filled gives a store of n objects.
func filled(b *testing.B, dir string, n int) *logstore.Store {
	s := open(b, vfs.OS(), dir, logstore.Options{})
	for at := 0; at < n; {
		first, err := s.NewOIDs(b.Context(), 10_000)
		must(b, err)
		writes := make([]store.Write, 10_000)
		for i := range writes {
			writes[i] = store.Write{OID: first + batos.OID(i), Data: make([]byte, 100)}
		}
		_, err = s.Commit(b.Context(), &store.Changes{Writes: writes})
		must(b, err)
		at += len(writes)
	}
	return s
}

func BenchmarkLoad(b *testing.B) {
	const objects = 200_000
	s := filled(b, b.TempDir(), objects)
	defer s.Close()
	p, err := s.Snapshot(b.Context())
	must(b, err)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := p.Load(b.Context(), batos.OID(1+rng.IntN(objects))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens 200,000 objects with and without their index.
func BenchmarkOpen(b *testing.B) {
	for _, with := range []bool{true, false} {
		b.Run(fmt.Sprint("index=", with), func(b *testing.B) {
			dir := b.TempDir()
			must(b, filled(b, dir, 200_000).Close())
			b.ResetTimer()
			for range b.N {
				if !with {
					must(b, vfs.OS().Remove(dir+"/"+logstore.IndexFile))
				}
				s := open(b, vfs.OS(), dir, logstore.Options{})
				b.StopTimer()
				must(b, s.Close())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkBlob writes, seals and reads a blob of 64 MiB.
func BenchmarkBlob(b *testing.B) {
	s := open(b, vfs.OS(), b.TempDir(), logstore.Options{})
	defer s.Close()
	content := make([]byte, 64<<20)
	b.SetBytes(int64(len(content)))
	for i := range b.N {
		content[0], content[1] = byte(i), byte(i>>8)
		w, err := s.NewBlob(b.Context())
		must(b, err)
		_, err = w.Write(content)
		must(b, err)
		h, _, err := w.Seal()
		must(b, err)
		_, err = s.Commit(b.Context(), &store.Changes{Writes: []store.Write{{OID: batos.OID(i + 1), Blobs: []store.BlobHash{h}}}})
		must(b, err)
		r, err := s.OpenBlob(b.Context(), h)
		must(b, err)
		_, err = r.ReadAt(content, 0)
		must(b, err)
		must(b, r.Close())
	}
}
