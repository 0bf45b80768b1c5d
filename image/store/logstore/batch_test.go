package logstore_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// gated is a filesystem whose Datasync waits for a word from the test.
type gated struct {
	vfs.FS
	gate  chan struct{} // one receive lets one Datasync pass
	syncs int
}

type gatedFile struct {
	vfs.File
	g *gated
}

func (g *gated) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := g.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &gatedFile{f, g}, nil
}

func (f *gatedFile) Datasync() error {
	<-f.g.gate
	f.g.syncs++
	return f.File.Datasync()
}

// inBatch commits one transaction alone and then others that share one batch,
// oid 10+i holding "batch i" each.
func inBatch(t *testing.T, disk vfs.FS, n int, o logstore.Options) *logstore.Store {
	g := &gated{FS: disk, gate: make(chan struct{})}
	s := open(t, g, "/image", o)
	commit := func(oid batos.OID, data string) {
		if _, err := s.Commit(t.Context(), &store.Changes{Meta: []byte(data), Writes: []store.Write{{OID: oid, Data: []byte(data)}}}); err != nil {
			t.Error(err)
		}
	}
	go commit(1, "alone")
	synctest.Wait()
	for i := range n {
		go commit(batos.OID(10+i), fmt.Sprint("batch ", i))
		synctest.Wait() // one after the other, so that the log's order is known
	}
	if s.LastTID() != 0 {
		t.Error("a transaction is visible before it is durable")
	}
	g.gate <- struct{}{}
	synctest.Wait()
	first := s.LastTID()
	if first == 0 || s.Stats().Transactions != 1 {
		t.Errorf("after one sync: %+v", s.Stats())
	}
	g.gate <- struct{}{}
	synctest.Wait()
	if st := s.Stats(); st.Transactions != int64(n)+1 || g.syncs != 2 {
		t.Errorf("after %d syncs: %+v", g.syncs, st)
	}
	return s
}

// TestGroupCommit: transactions that come while the disk is busy share the
// next sync, and nothing is seen before its own.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBatch(t, vfs.NewMem(), 20, logstore.Options{})
		must(t, s.Close())
	})
}

// TestPipelined: a transaction is validated against one that is accepted but
// not durable, sees it in Rebase, and shares its fate.
func TestPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		g := &gated{FS: faulty, gate: make(chan struct{})}
		s := open(t, g, "/image", logstore.Options{})
		var mu sync.Mutex
		errs := map[string]error{}
		commit := func(name string, c *store.Changes) {
			go func() {
				_, err := s.Commit(t.Context(), c)
				mu.Lock()
				defer mu.Unlock()
				errs[name] = err
			}()
			synctest.Wait()
		}
		commit("first", &store.Changes{Writes: []store.Write{{OID: 1, Data: []byte("first")}}})
		commit("stale", &store.Changes{Writes: []store.Write{{OID: 1, Data: []byte("stale")}}})
		if batos.CodeOf(errs["stale"]) != batos.Conflict {
			t.Errorf("a stale commit answered %v before the sync", errs["stale"])
		}
		saw := ""
		commit("rebased", &store.Changes{
			Writes: []store.Write{{OID: 1, Data: []byte("stale")}},
			Rebase: func(n store.Newest) ([]store.Write, error) {
				r, err := n.Load(1)
				saw = string(r.Data)
				return []store.Write{{OID: 1, Base: r.TID, Delete: true}}, err
			},
		})
		commit("after deletion", &store.Changes{
			Reads: []store.Read{{OID: 1, TID: 1}},
			Rebase: func(n store.Newest) ([]store.Write, error) {
				_, err := n.Load(1)
				if batos.CodeOf(err) != batos.NotFound {
					t.Errorf("Load of a pending deletion: %v", err)
				}
				return []store.Write{{OID: 1, Data: []byte("new")}}, nil
			},
		})
		if saw != "first" {
			t.Errorf("Rebase saw %q", saw)
		}
		if _, answered := errs["first"]; answered {
			t.Error("acknowledged before the sync")
		}
		faulty.Fail(vfs.OpSync, 1, false, fs.ErrInvalid)
		g.gate <- struct{}{}
		synctest.Wait()
		for _, name := range []string{"first", "rebased", "after deletion"} {
			if batos.CodeOf(errs[name]) != batos.StorePoisoned {
				t.Errorf("%s: %v", name, errs[name])
			}
		}
		p, err := s.Snapshot(t.Context())
		must(t, err)
		if _, err := p.Load(t.Context(), 1); batos.CodeOf(err) != batos.NotFound || p.TID() != 0 {
			t.Errorf("what was not durable is visible: %v", err)
		}
		must(t, s.Close())
	})
}

// logEnds gives where the transactions of the first segment end.
func logEnds(t *testing.T, disk vfs.FS) (name string, ends []int64) {
	name = filepath.Join("/image", logstore.LogDir, "0000000000000000.seg")
	b, err := vfs.ReadFile(disk, name)
	must(t, err)
	for at := int64(64); at+56 <= int64(len(b)) && string(b[at:at+4]) == "TXN1"; {
		at += int64(b[at+8]) | int64(b[at+9])<<8 | int64(b[at+10])<<16
		ends = append(ends, at)
	}
	return name, ends
}

// TestTornBatch: when the disk kept a later part of an unfinished batch and
// lost an earlier one, the whole rest is cut and never comes back; the same
// loss in a batch that another one follows is damage.
func TestTornBatch(t *testing.T) {
	fixed := logstore.Options{Clock: func() time.Time { return time.UnixMicro(1) }}
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		inBatch(t, disk, 4, fixed)
		disk.Kill()
		name, ends := logEnds(t, disk) // alone, and 4 of the batch
		if len(ends) != 5 {
			t.Fatalf("ends = %v", ends)
		}
		flip(t, disk, name, ends[1]+20, 0) // "batch 1"

		s := open(t, disk, "/image", fixed)
		if r := s.Recovery(); r.Cut < ends[4]-ends[1] || r.Replayed != 2 {
			t.Fatalf("recovery = %+v, ends %v", r, ends)
		}
		for oid, want := range map[batos.OID]string{1: "alone", 10: "batch 0", 11: "", 12: "", 13: ""} {
			wantData(t, s, oid, want)
		}
		// What takes the place of "batch 1" exactly must not bring back 2 and 3.
		_, err := s.Commit(t.Context(), &store.Changes{Meta: []byte("another"), Writes: []store.Write{{OID: 20, Data: []byte("another")}}})
		must(t, err)
		disk.Kill()
		s = open(t, disk, "/image", fixed)
		if n := s.Stats().Transactions; n != 3 {
			t.Fatalf("%d transactions after the cut", n)
		}
		wantData(t, s, 20, "another")
		wantData(t, s, 12, "")

		disk.Kill()
		flip(t, disk, name, ends[0]+20, 0) // "batch 0" now has a later batch behind it
		_, err = logstore.Open(t.Context(), disk, "/image", fixed)
		wantCode(t, err, batos.Corrupt, fmt.Sprintf("byte %d:", ends[0]), fmt.Sprintf("next at byte %d", ends[1]))
	})
}

func wantData(t *testing.T, s *logstore.Store, oid batos.OID, want string) {
	t.Helper()
	p, err := s.Snapshot(t.Context())
	must(t, err)
	r, err := p.Load(t.Context(), oid)
	if want == "" && batos.CodeOf(err) == batos.NotFound {
		return
	}
	if err != nil || string(r.Data) != want {
		t.Fatalf("%v holds %q, %v; want %q", oid, r.Data, err, want)
	}
}
