package image

import (
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

func branch(t testing.TB, im *Image, at batos.TID) *Branch {
	t.Helper()
	b, err := im.Branch(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Discard)
	return b
}

func TestBranchIsAWorldOfItsOwn(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "n", object.Counter(1)))
	b := branch(t, im, 0)
	var made batos.OID
	must(t, b.Update(func(tx *Tx) (err error) {
		made, err = tx.Create(slots("x", i(9)))
		must(t, err, tx.SetSlot(oid, "a", i(2)), tx.AddCounter(oid, "n", 10), tx.SetName("made", made))
		return nil
	}))
	wantCode(t, b.Update(func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(77)))
		return batos.Errorf(batos.Raised, "no")
	}), batos.Raised)
	wantCode(t, b.Update(func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(78)))
		tx.Doom(nil)
		return nil
	}), batos.Refused)
	must(t, b.View(func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(2))
		wantSlot(t, tx, made, "x", i(9))
		if got, ok, err := tx.Name("made"); got != made || !ok || err != nil {
			t.Errorf("the branch's name leads to %s, %v, %v", got, ok, err)
		}
		wantCode(t, tx.SetSlot(oid, "a", i(3)), batos.Denied)
		return nil
	}))
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(1))
		_, _, err := tx.Slot(made, "x")
		wantCode(t, err, batos.NotFound)
		return nil
	})
	update(t, im, func(tx *Tx) error { return tx.AddCounter(oid, "n", 100) })
	changes, err := b.Changes()
	must(t, err)
	if len(changes) != 3 {
		t.Errorf("the branch lists %d changes, want 3: %+v", len(changes), changes)
	}
	tid, err := b.Merge(t.Context(), Meta{Author: batos.Person, AuthorName: "tester", Note: "merge"})
	must(t, err)
	if tid != im.LastTID() {
		t.Errorf("the merge is %s, the image is at %s", tid, im.LastTID())
	}
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(2))
		wantSlot(t, tx, oid, "n", object.Counter(111))
		wantSlot(t, tx, made, "x", i(9))
		return nil
	})
	wantCode(t, b.View(func(*Tx) error { return nil }), batos.Invalid)
}

func TestMergeValidatesWhatUpdatesRead(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "b", i(1)))
	read := func(b *Branch, run func(func(*Tx) error) error) {
		must(t, run(func(tx *Tx) error {
			_, _, err := tx.Slot(oid, "a")
			return err
		}), b.Update(func(tx *Tx) error { return tx.SetSlot(oid, "b", i(2)) }))
	}
	decided, looked := branch(t, im, 0), branch(t, im, 0)
	read(decided, decided.Update)
	read(looked, looked.View)
	update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(5)) })
	_, err := decided.Merge(t.Context(), Meta{})
	wantCode(t, err, batos.Conflict)
	must(t, decided.View(func(tx *Tx) error { wantSlot(t, tx, oid, "b", i(2)); return nil }))
	if _, err := looked.Merge(t.Context(), Meta{}); err != nil {
		t.Errorf("what was only looked at is no reason not to merge: %v", err)
	}
}

func TestBranchOfThePast(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "b", i(1)))
	then := im.LastTID()
	update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(2)) })
	b := branch(t, im, then)
	must(t, b.Update(func(tx *Tx) error {
		wantSlot(t, tx, oid, "b", i(1))
		return tx.SetSlot(oid, "b", i(7))
	}))
	must(t, b.View(func(tx *Tx) error { wantSlot(t, tx, oid, "a", i(1)); return nil }))
	_, err := b.Merge(t.Context(), Meta{})
	must(t, err)
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(2))
		wantSlot(t, tx, oid, "b", i(7))
		return nil
	})
}

// TestAMergeGivesNoBufferBackTwice: what a branch reads into is its own until it
// is over, and is given back once. Who got it a second time would have it
// overwritten while it reads.
func TestAMergeGivesNoBufferBackTwice(t *testing.T) {
	im, err := Open(t.Context(), "/image", Options{FS: vfs.NewMem(), CacheBytes: 1}) // everything is loaded
	must(t, err)
	defer im.Close()
	oid := create(t, im, slots("a", i(1), "b", i(1)))
	for _, conflict := range []bool{true, false} {
		b, err := im.Branch(t.Context(), 0)
		must(t, err)
		must(t, b.Update(func(tx *Tx) error {
			n, err := intSlot(tx, oid, "a")
			must(t, err)
			return tx.SetSlot(oid, "b", i(n+5))
		}))
		if conflict {
			update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(2)) })
		}
		own := b.tx.buf
		if own == nil {
			t.Fatal("the branch loaded nothing")
		}
		if _, err := b.Merge(t.Context(), Meta{}); (batos.CodeOf(err) == batos.Conflict) != conflict {
			t.Fatal(err)
		}
		times := 0
		for range 20 {
			if loadBuffers.Get().(*[]byte) == own {
				times++
			}
		}
		if conflict && times > 0 || times > 1 {
			t.Errorf("conflict %v: the branch's buffer was given back %d times", conflict, times)
		}
		b.Discard()
	}
}
