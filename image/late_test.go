package image

import (
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// gated is a filesystem whose Datasync waits for a word from the test.
type gated struct {
	vfs.FS
	gate chan struct{} // one receive lets one Datasync pass; nil: all pass
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
	if gate := f.g.gate; gate != nil {
		<-gate
	}
	return f.File.Datasync()
}

// TestBuiltOnWhatIsNotDurable commits to one tree while another commit to it is
// accepted and not on the disk yet: what only sets keys builds on it, what read
// a key that it changes conflicts.
func TestBuiltOnWhatIsNotDurable(t *testing.T) {
	run := func(t *testing.T, fail bool) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		g := &gated{FS: faulty}
		im, err := Open(t.Context(), "/image", Options{FS: g})
		must(t, err)
		var tree object.Tree
		update(t, im, func(tx *Tx) (err error) {
			if tree, err = tx.NewTree(); err == nil {
				err = tx.Tree(tree).Set(i(0), i(0))
			}
			return err
		})
		g.gate = make(chan struct{})
		var mu sync.Mutex
		errs := map[string]error{}
		commit := func(name string, act func(tr *Tree) error) {
			tx, err := im.Begin(t.Context())
			must(t, err)
			must(t, act(tx.Tree(tree)))
			go func() {
				_, err := tx.Commit(t.Context())
				mu.Lock()
				defer mu.Unlock()
				errs[name] = err
			}()
			synctest.Wait()
		}
		commit("flushed", func(tr *Tree) error { return tr.Set(i(1), i(1)) })
		commit("waits", func(tr *Tree) error { return tr.Set(i(2), object.Str(strings.Repeat("long", 1<<20))) })
		commit("built on it", func(tr *Tree) error { return tr.Set(i(3), i(3)) })
		commit("read what it changes", func(tr *Tree) error {
			if _, ok, err := tr.Get(i(2)); ok || err != nil {
				t.Errorf("a key that is not durable is seen: %v", err)
			}
			return tr.Set(i(4), i(4))
		})
		commit("built on all", func(tr *Tree) error {
			err := tr.Set(i(5), i(5))
			if p := (&plan{tx: tr.tx}); !p.late() {
				t.Error("a write set that is bound to be stale is made all the same")
			}
			return err
		})
		if fail {
			faulty.Fail(vfs.OpAllocate, 1, true, syscall.ENOSPC)
		}
		for range 3 {
			select {
			case g.gate <- struct{}{}:
				synctest.Wait()
			default:
			}
		}
		g.gate = nil
		faulty.Heal()
		want := map[string]batos.Code{"read what it changes": batos.Conflict}
		count := int64(5) // 0, 1, 2, 3, 5
		if fail {
			want["waits"], want["built on it"], want["built on all"] = batos.Limit, batos.Limit, batos.Limit
			count = 2
		}
		for name, err := range errs {
			if batos.CodeOf(err) != want[name] {
				t.Errorf("%s: %v, want code %q", name, err, want[name])
			}
		}
		if len(errs) != 5 {
			t.Errorf("%d of 5 commits answered", len(errs))
		}
		update(t, im, func(tx *Tx) error { return tx.Tree(tree).Set(i(6), i(6)) })
		view(t, im, func(tx *Tx) error {
			n, err := tx.Tree(tree).Len()
			if err != nil || n != count+1 {
				t.Errorf("%d keys, %v; want %d", n, err, count+1)
			}
			for _, err := range tx.Tree(tree).Range(nil, nil) {
				must(t, err)
				n--
			}
			if n != 0 {
				t.Errorf("the number of keys is wrong by %d", n)
			}
			return nil
		})
		must(t, im.Close())
	}
	t.Run("all is well", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { run(t, false) }) })
	t.Run("the disk is full", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { run(t, true) }) })
}
