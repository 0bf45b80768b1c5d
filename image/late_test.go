package image

import (
	"io/fs"
	"slices"
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

// TestPackedMomentsAreRefused: what asks for all of a moment that pack has
// thinned out says so, also when nothing of what is gone left a trace.
func TestPackedMomentsAreRefused(t *testing.T) {
	im := open(t)
	kept := create(t, im, slots("a", i(1)))
	update(t, im, func(tx *Tx) error { return tx.SetName("kept", kept) })
	lost := create(t, im, slots("a", i(1)))
	first := im.LastTID()
	second := update(t, im, func(tx *Tx) error { return tx.SetSlot(lost, "a", i(2)) })
	third := update(t, im, func(tx *Tx) error { return tx.SetSlot(lost, "a", i(3)) })
	if _, err := im.Pack(t.Context(), PackOptions{Before: third}); err != nil {
		t.Fatal(err)
	}
	_, err := im.Diff(t.Context(), first, second)
	wantCode(t, err, batos.Packed)
	_, err = im.Diff(t.Context(), third, first)
	wantCode(t, err, batos.Packed)
	_, err = im.Export(t.Context(), t.TempDir(), first)
	wantCode(t, err, batos.Packed)
	if r, err := im.Export(t.Context(), t.TempDir(), third); err != nil || r.Objects != 2 {
		t.Errorf("the oldest moment that is whole: %+v, %v", r, err)
	}
	if c, err := im.Diff(t.Context(), third, im.LastTID()); err != nil || len(c) != 0 {
		t.Errorf("the difference to it: %v, %v", c, err)
	}
	tx, err := im.BeginAt(t.Context(), first) // one object is still as it was
	must(t, err)
	defer tx.Abort()
	wantSlot(t, tx, kept, "a", i(1))
	_, _, err = tx.Slot(lost, "a")
	wantCode(t, err, batos.Packed)
}

// TestLogOfAPackedPast: the log says what is left of it, also where an object
// ended whose last state is gone and an older one is not.
func TestLogOfAPackedPast(t *testing.T) {
	im := open(t)
	m := &object.Method{Selector: "m", Source: "def m(self):\n    return 1\n", Author: batos.Person, Version: 1}
	oid := create(t, im, slots("m", m, "a", i(1)))
	other := create(t, im, slots("a", i(1)))
	update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(2)) })
	ended := update(t, im, func(tx *Tx) error {
		must(t, tx.SetSlot(other, "a", i(2)))
		return tx.Delete(oid)
	})
	update(t, im, func(tx *Tx) error { return tx.SetSlot(other, "a", i(3)) })
	if _, err := im.Pack(t.Context(), PackOptions{Before: im.LastTID()}); err != nil {
		t.Fatal(err)
	}
	seen := false
	for tx, err := range im.Log(t.Context(), 0, im.LastTID()) {
		if err != nil {
			t.Fatal(err)
		}
		if tx.TID == ended {
			seen = slices.Contains(tx.Objects, oid)
		}
	}
	if !seen {
		t.Error("the log does not say that the object ended")
	}
	last := true
	for r, err := range im.History(t.Context(), oid) {
		if err != nil {
			t.Fatal(err)
		}
		if last != r.Deleted {
			t.Errorf("revision %s: ended %v", r.TID, r.Deleted)
		}
		last = false
	}
	for p, err := range im.Verify(t.Context(), VerifyOptions{}, nil) {
		if err != nil || IsDamage(p) {
			t.Errorf("%v, %+v", err, p)
		}
	}
}
