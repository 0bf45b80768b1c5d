package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

func TestLookupDelegates(t *testing.T) {
	im := open(t)
	var a, b, c batos.OID
	update(t, im, func(tx *Tx) (err error) {
		c, err = tx.Create(slots("x", i(3), "y", i(3)))
		must(t, err)
		b, err = tx.Create(slots("x", i(2), "parent*", object.Ref(c)))
		must(t, err)
		a, err = tx.Create(slots("parent*", list(object.Ref(b), object.Ref(c))))
		must(t, err)
		return tx.SetSlot(c, "parent*", object.Ref(a)) // a circle
	})
	find := func(tx *Tx, after batos.OID, name string, want object.Value, from batos.OID) {
		t.Helper()
		v, holder, ok, err := tx.LookupAfter(a, after, name)
		if err != nil || ok != (want != nil) || holder != from || !object.Equal(v, want) {
			t.Errorf("%s after %s: %s in %s, %v, %v", name, after, object.Text(v, 20), holder, ok, err)
		}
	}
	update(t, im, func(tx *Tx) error {
		find(tx, 0, "x", i(2), b)
		find(tx, b, "x", i(3), c)
		find(tx, c, "x", nil, 0)
		find(tx, 0, "y", i(3), c)
		find(tx, 0, "z", nil, 0)
		must(t, tx.SetSlot(a, "x", i(1)), tx.DeleteSlot(b, "x"))
		find(tx, 0, "x", i(1), a)
		find(tx, a, "x", i(3), c)
		must(t, tx.SetSlot(a, "parent*", object.Ref(c)))
		find(tx, c, "y", nil, 0)
		must(t, tx.Delete(c))
		_, _, _, err := tx.Lookup(a, "z")
		wantCode(t, err, batos.NotFound)
		return nil
	})
}

func TestCloneCopiesTrees(t *testing.T) {
	im := open(t)
	var proto, child batos.OID
	update(t, im, func(tx *Tx) error {
		tree, err := tx.NewTree()
		must(t, err, tx.Tree(tree).Set(i(1), i(10)))
		proto, err = tx.Create(object.NewState(object.Protected, batos.Genesis,
			object.Slot{Name: "tree", Value: tree}, object.Slot{Name: "list", Value: list(i(1))}, object.Slot{Name: "parent*", Value: object.Ref(1)}))
		return err
	})
	update(t, im, func(tx *Tx) (err error) {
		child, err = tx.Clone(proto, batos.Persona, "m7")
		must(t, err)
		v, _, err := tx.Slot(child, "tree")
		must(t, err)
		return tx.Tree(v.(object.Tree)).Set(i(2), i(20))
	})
	view(t, im, func(tx *Tx) error {
		for oid, want := range map[batos.OID]int64{proto: 1, child: 2} {
			v, _, err := tx.Slot(oid, "tree")
			must(t, err)
			if n, err := tx.Tree(v.(object.Tree)).Len(); err != nil || n != want {
				t.Errorf("the tree of %s has %d keys, %v; want %d", oid, n, err, want)
			}
		}
		wantSlot(t, tx, child, "list", list(i(1)))
		creator, by, err := tx.Creator(child)
		must(t, err)
		if p, err := tx.Protection(child); creator != batos.Persona || by != "m7" || p != object.Open || err != nil {
			t.Errorf("the clone is %s, made by %s in %s, %v", p, creator, by, err)
		}
		return nil
	})
}

func TestProtectionSurvives(t *testing.T) {
	fsys := vfs.NewMem()
	im, err := Open(t.Context(), "/image", Options{FS: fsys})
	must(t, err)
	oids := map[object.Protection]batos.OID{}
	update(t, im, func(tx *Tx) (err error) {
		for _, p := range []object.Protection{object.Open, object.Protected, object.Sealed} {
			s := object.NewState(p, batos.Genesis, object.Slot{Name: "a", Value: i(1)})
			s.CreatedBy = "m1"
			if oids[p], err = tx.Create(s); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, im, func(tx *Tx) error {
		for _, oid := range oids {
			must(t, tx.SetSlot(oid, "a", i(2)))
		}
		return nil
	})
	must(t, im.Close())
	if im, err = Open(t.Context(), "/image", Options{FS: fsys}); err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	view(t, im, func(tx *Tx) error {
		for p, oid := range oids {
			s, err := tx.Load(oid)
			must(t, err)
			if s.Protection != p || s.Creator != batos.Genesis || s.CreatedBy != "m1" {
				t.Errorf("a %s object came back %s, made by %s in %q", p, s.Protection, s.Creator, s.CreatedBy)
			}
		}
		return nil
	})
}

func TestEndOfATransaction(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1)))
	tx, err := im.Begin(t.Context())
	must(t, err, tx.SetSlot(oid, "a", i(2)))
	tx.Doom(errors.New("first"))
	tx.Doom(errors.New("second"))
	must(t, tx.SetSlot(oid, "a", i(3)))
	if _, err := tx.Commit(t.Context()); err == nil || err.Error() != "first" {
		t.Errorf("a doomed transaction: %v", err)
	}
	_, _, err = tx.Slot(oid, "a")
	wantCode(t, err, batos.Invalid)
	wantCode(t, tx.SetSlot(oid, "a", i(1)), batos.Invalid)
	_, err = tx.Commit(t.Context())
	wantCode(t, err, batos.Invalid)
	_, err = tx.Tree(namesTree).Len()
	wantCode(t, err, batos.Invalid)
	tx.Abort()

	stopped, cancel := context.WithCancel(t.Context())
	tx, err = im.Begin(t.Context())
	must(t, err, tx.SetSlot(oid, "a", i(2)))
	cancel()
	if _, err := tx.Commit(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("a commit that is not wanted any more: %v", err)
	}

	func() {
		defer func() { _ = recover() }()
		_, _ = im.Update(t.Context(), func(tx *Tx) error {
			must(t, tx.SetSlot(oid, "a", i(9)))
			panic("no")
		})
	}()
	boom := errors.New("boom")
	if _, err := im.Update(t.Context(), func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(9)))
		return boom
	}); err != boom {
		t.Errorf("an update that fails: %v", err)
	}
	for name, end := range map[string]func(*Tx){
		"commits": func(tx *Tx) { _, err := tx.Commit(t.Context()); must(t, err) },
		"aborts":  (*Tx).Abort,
	} {
		_, err := im.Update(t.Context(), func(tx *Tx) error { end(tx); return nil })
		if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "ended its transaction itself") {
			t.Errorf("an update whose function %s: %v", name, err)
		}
	}
	last := im.LastTID()
	if tid := update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(1)) }); tid != last {
		t.Errorf("an update that changes nothing gave %s, want %s", tid, last)
	}
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(1))
		return nil
	})
}

func TestRefusals(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "n", object.Counter(1<<63-2)))
	update(t, im, func(tx *Tx) error {
		tree, err := tx.NewTree()
		must(t, err)
		deep := object.Value(i(1))
		for range object.MaxDepth + 1 {
			deep = list(deep)
		}
		for name, c := range map[string]struct {
			err  error
			code batos.Code
		}{
			"a volatile slot":          {tx.SetSlot(oid, "_v_cache", i(1)), batos.Invalid},
			"a slot without a name":    {tx.SetSlot(oid, "", i(1)), batos.Invalid},
			"a value too deep":         {tx.SetSlot(oid, "a", deep), batos.Invalid},
			"no value":                 {tx.SetSlot(oid, "a", nil), batos.Invalid},
			"a slot that is not there": {tx.DeleteSlot(oid, "b"), batos.NoSlot},
			"an absent counter":        {tx.AddCounter(oid, "b", 1), batos.NoSlot},
			"no counter":               {tx.AddCounter(oid, "a", 1), batos.Invalid},
			"a counter that overflows": {tx.AddCounter(oid, "n", 5), batos.Invalid},
			"no object":                {tx.SetSlot(12345, "a", i(1)), batos.NotFound},
			"object 0":                 {tx.Delete(0), batos.NotFound},
			"a tree as an object":      {tx.SetSlot(batos.OID(tree), "a", i(1)), batos.NotFound},
			"an object as a tree":      {tx.Tree(object.Tree(oid)).Set(i(1), i(1)), batos.NotFound},
			"no tree":                  {tx.Tree(4711).Set(i(1), i(1)), batos.NotFound},
			"a float as key":           {tx.Tree(tree).Set(object.Float(1), i(1)), batos.Invalid},
			"a tree value too deep":    {tx.Tree(tree).Set(i(1), deep), batos.Invalid},
			"an object that exists":    {tx.CreateAt(oid, slots()), batos.Invalid},
			"a slot twice":             {tx.CreateAt(77, slots("a", i(1), "a", i(1))), batos.Invalid},
			"no protection":            {tx.SetProtection(oid, 9), batos.Invalid},
			"a foreign savepoint":      {tx.Rollback(Savepoint{}), batos.Invalid},
			"a nil list":               {tx.SetSlot(oid, "a", (*object.List)(nil)), batos.Invalid},
			"a nil method in a list":   {tx.SetSlot(oid, "a", list((*object.Method)(nil))), batos.Invalid},
			"a nil tuple as key":       {tx.Tree(tree).Set((*object.Tuple)(nil), i(1)), batos.Invalid},
			"a nil dict in a tree":     {tx.Tree(tree).Set(i(1), (*object.Dict)(nil)), batos.Invalid},
		} {
			if batos.CodeOf(c.err) != c.code {
				t.Errorf("%s: %v, want code %s", name, c.err, c.code)
			}
		}
		return nil
	})
}

// TestSavepoints: what comes after a savepoint that was gone back to is no
// savepoint any more, also when as much was written since.
func TestSavepoints(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(0)))
	tx, err := im.Begin(t.Context())
	must(t, err)
	defer tx.Abort()
	first := tx.Savepoint()
	must(t, tx.SetSlot(oid, "a", i(1)))
	second := tx.Savepoint()
	must(t, tx.SetSlot(oid, "a", i(2)), tx.Rollback(first), tx.SetSlot(oid, "a", i(3)))
	wantCode(t, tx.Rollback(second), batos.Invalid)
	wantSlot(t, tx, oid, "a", i(3))
	third := tx.Savepoint()
	must(t, tx.SetSlot(oid, "a", i(4)), tx.Rollback(third))
	wantSlot(t, tx, oid, "a", i(3))
	must(t, tx.Rollback(first), tx.Rollback(first))
	wantSlot(t, tx, oid, "a", i(0))

	b, err := im.Branch(t.Context(), 0)
	must(t, err)
	defer b.Discard()
	must(t, b.Update(func(tx *Tx) error { first = tx.Savepoint(); return nil }))
	must(t, b.Update(func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(5)))
		wantCode(t, tx.Rollback(first), batos.Invalid)
		return nil
	}))
}

func TestReadOnlyImage(t *testing.T) {
	fsys := vfs.NewMem()
	_, err := Open(t.Context(), "/none", Options{FS: fsys, ReadOnly: true})
	if err == nil {
		t.Fatal("an image that is not there was opened for reading")
	}
	im, err := Open(t.Context(), "/image", Options{FS: fsys})
	must(t, err)
	oid := create(t, im, slots("a", i(1)))
	_, err = Open(t.Context(), "/image", Options{FS: fsys})
	wantCode(t, err, batos.Locked)
	must(t, im.Close())
	if im, err = Open(t.Context(), "/image", Options{FS: fsys, ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(1))
		return nil
	})
	_, err = im.Update(t.Context(), func(tx *Tx) error { return tx.SetSlot(oid, "a", i(2)) })
	wantCode(t, err, batos.Denied)
	_, err = im.NewBlob(t.Context(), strings.NewReader("x"))
	wantCode(t, err, batos.Denied)
}

func TestBlobs(t *testing.T) {
	im := open(t)
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	blob, err := im.NewBlob(t.Context(), bytes.NewReader(content))
	must(t, err)
	var oid batos.OID
	update(t, im, func(tx *Tx) (err error) {
		oid, err = tx.Create(slots("model_blob", blob))
		must(t, err)
		return tx.Names().Set(object.Str("blob"), blob)
	})
	view(t, im, func(tx *Tx) error {
		v, _, err := tx.Slot(oid, "model_blob")
		must(t, err)
		b, err := im.OpenBlob(t.Context(), v.(object.Blob))
		must(t, err)
		defer b.Close()
		got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		return b.Verify(t.Context())
	})
	_, err = im.Update(t.Context(), func(tx *Tx) error { return tx.SetSlot(oid, "model_blob", object.Blob{Hash: [32]byte{1}, Size: 1}) })
	wantCode(t, err, batos.Invalid)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := im.NewBlob(stopped, bytes.NewReader(content)); !errors.Is(err, context.Canceled) {
		t.Errorf("a blob that is not wanted any more: %v", err)
	}
}

func TestHistoryAndLog(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1)))
	meta := Meta{Author: batos.Persona, AuthorName: "BRICK", Message: "m3", Note: "first"}
	second := update(t, im, func(tx *Tx) error {
		tx.SetMeta(meta)
		must(t, tx.SetName("x", oid))
		return tx.SetSlot(oid, "a", i(2))
	})
	third := update(t, im, func(tx *Tx) error { must(t, tx.SetName("x", 0)); return tx.Delete(oid) })
	var seen []string
	for r, err := range im.History(t.Context(), oid) {
		must(t, err)
		value := object.Value(nil)
		if r.State != nil {
			value, _ = r.State.Slot("a")
		}
		seen = append(seen, fmt.Sprint(object.Text(value, 9), " ", r.Deleted, " ", r.Meta.Note))
		if r.TID == second && r.Meta != meta {
			t.Errorf("meta %+v", r.Meta)
		}
	}
	if got, want := strings.Join(seen, "; "), "absent true ; 2 false first; 1 false "; got != want {
		t.Errorf("history %q, want %q", got, want)
	}
	for tr, err := range im.Log(t.Context(), third, third) { // the last page of the tree of names ended too
		must(t, err)
		if len(tr.Objects) != 1 || tr.Objects[0] != oid || len(tr.Trees) != 1 || tr.Trees[0] != batos.OID(namesTree) {
			t.Errorf("the log has %+v", tr)
		}
	}
	for _, err := range im.History(t.Context(), 4711) {
		wantCode(t, err, batos.NotFound)
	}
	for _, err := range im.History(t.Context(), batos.OID(namesTree)) {
		wantCode(t, err, batos.NotFound)
	}
	tx, err := im.BeginAt(t.Context(), second)
	must(t, err)
	defer tx.Abort()
	wantSlot(t, tx, oid, "a", i(2))
	wantCode(t, tx.SetSlot(oid, "a", i(3)), batos.Denied)
	if got, ok, err := tx.Name("x"); !ok || got != oid || err != nil {
		t.Errorf("the name then: %s, %v, %v", got, ok, err)
	}
}

func TestScratchNeverCommits(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1)))
	snap, err := im.Snapshot(t.Context())
	must(t, err)
	tx := Scratch(t.Context(), snap)
	must(t, tx.SetSlot(oid, "a", i(2)))
	fresh, err := tx.Create(slots())
	must(t, err)
	wantSlot(t, tx, oid, "a", i(2))
	if ok, err := tx.Exists(fresh); !ok || err != nil {
		t.Errorf("what a scratch transaction made: %v, %v", ok, err)
	}
	_, err = tx.Commit(t.Context())
	wantCode(t, err, batos.Invalid)
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(1))
		return nil
	})
}

// TestOldSnapshotsDoNotPoisonTheCache reads the past and holds old snapshots
// open while commits go on, through a cache that everything passes.
func TestOldSnapshotsDoNotPoisonTheCache(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(0)))
	var olds []*Tx
	var tids []batos.TID
	for n := range int64(20) {
		tx, err := im.Begin(t.Context())
		must(t, err)
		defer tx.Abort()
		olds = append(olds, tx)
		tids = append(tids, update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(n+1)) }))
	}
	for n, tx := range olds {
		wantSlot(t, tx, oid, "a", i(int64(n)))
		past, err := im.BeginAt(t.Context(), tids[n])
		must(t, err)
		wantSlot(t, past, oid, "a", i(int64(n+1)))
		past.Abort()
		view(t, im, func(tx *Tx) error {
			wantSlot(t, tx, oid, "a", i(20))
			return nil
		})
	}
}

func TestCacheStaysInBounds(t *testing.T) {
	const bound = 64 << 10
	im, err := Open(t.Context(), "/image", Options{FS: vfs.NewMem(), CacheBytes: bound})
	must(t, err)
	defer im.Close()
	var oids []batos.OID
	for range 10 {
		update(t, im, func(tx *Tx) error {
			for range 100 {
				oid, err := tx.Create(slots("text", object.Str(strings.Repeat("x", 50))))
				must(t, err)
				oids = append(oids, oid)
			}
			return nil
		})
	}
	for range 2 {
		view(t, im, func(tx *Tx) error {
			for _, oid := range oids {
				wantSlot(t, tx, oid, "text", object.Str(strings.Repeat("x", 50)))
			}
			return nil
		})
	}
	if s := im.Stats(); s.CacheBytes > bound || s.CacheBytes == 0 || s.CacheMisses == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestDiskFails lets the disk fail under a commit. The image goes on serving
// what was durable, from the cache too, and refuses to commit; after a restart
// the transaction that failed is there wholly or not at all.
func TestDiskFails(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		t.Run(string(op), func(t *testing.T) {
			inner := vfs.NewMem()
			disk := vfs.NewFaulty(inner)
			im, err := Open(t.Context(), "/image", Options{FS: disk})
			must(t, err)
			oid := create(t, im, slots("a", i(1), "b", i(1)))
			disk.Fail(op, 1, true, syscall.EIO)
			set := func(tx *Tx) error { must(t, tx.SetSlot(oid, "a", i(2))); return tx.SetSlot(oid, "b", i(2)) }
			for range 2 {
				_, err = im.Update(t.Context(), set)
				wantCode(t, err, batos.StorePoisoned)
				view(t, im, func(tx *Tx) error {
					wantSlot(t, tx, oid, "a", i(1))
					return nil
				})
			}
			_ = im.Close() // it tells of the failure again
			disk.Heal()
			im, err = Open(t.Context(), "/image", Options{FS: disk})
			must(t, err)
			defer im.Close()
			view(t, im, func(tx *Tx) error {
				a, err := intSlot(tx, oid, "a")
				must(t, err)
				wantSlot(t, tx, oid, "b", i(a))
				return nil
			})
			update(t, im, set)
		})
	}
}

// A second process that only reads sees what the writer commits, also of
// objects and trees that it has read before.
func TestReadOnlyImageFollows(t *testing.T) {
	fsys := vfs.NewMem()
	writer, err := Open(t.Context(), "/image", Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	var tree object.Tree
	var oid, gone batos.OID
	update(t, writer, func(tx *Tx) (err error) {
		if tree, err = tx.NewTree(); err != nil {
			return err
		}
		if gone, err = tx.Create(slots("n", i(0))); err != nil {
			return err
		}
		oid, err = tx.Create(slots("n", i(0), "tree", tree))
		return err
	})
	reader, err := Open(t.Context(), "/image", Options{FS: fsys, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	view(t, reader, func(tx *Tx) error { _, err := tx.Load(gone); return err })
	for n := range int64(20) {
		before, err := reader.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantSlot(t, before, oid, "n", i(n))
		update(t, writer, func(tx *Tx) error {
			if n == 10 {
				if err := tx.Delete(gone); err != nil {
					return err
				}
			}
			if err := tx.SetSlot(oid, "n", i(n+1)); err != nil {
				return err
			}
			return tx.Tree(tree).Set(i(n), i(n))
		})
		wantSlot(t, before, oid, "n", i(n)) // an old snapshot stays what it was
		before.Abort()
		view(t, reader, func(tx *Tx) error {
			wantSlot(t, tx, oid, "n", i(n+1))
			if l, err := tx.Tree(tree).Len(); l != n+1 || err != nil {
				t.Errorf("the tree has %d keys (%v), want %d", l, err, n+1)
			}
			if ok, err := tx.Exists(gone); ok != (n < 10) || err != nil {
				t.Errorf("after commit %d the object is there: %v, %v", n, ok, err)
			}
			return nil
		})
	}
}
