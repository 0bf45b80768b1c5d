package image

import (
	"slices"
	"strings"
	"testing"

	"batos"
	"batos/object"
)

func undo(t *testing.T, im *Image, tid batos.TID) batos.TID {
	t.Helper()
	out, err := im.Undo(t.Context(), tid, Meta{Author: batos.Person, AuthorName: "tester"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUndoLeavesTheRest(t *testing.T) {
	im := open(t)
	var tree object.Tree
	oid := create(t, im, slots("a", i(1), "b", i(1), "n", object.Counter(0)))
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		must(t, err, tx.Tree(tree).Set(i(1), i(1)), tx.Tree(tree).Set(i(2), i(2)))
		return err
	})
	deed := update(t, im, func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(2)), tx.SetSlot(oid, "new", i(2)), tx.AddCounter(oid, "n", 5), tx.SetProtection(oid, object.Protected))
		_, err := tx.Tree(tree).Delete(i(1))
		must(t, err, tx.Tree(tree).Set(i(2), i(20)), tx.Tree(tree).Set(i(3), i(3)))
		return nil
	})
	update(t, im, func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "b", i(3)), tx.AddCounter(oid, "n", 100))
		return tx.Tree(tree).Set(i(4), i(4))
	})
	check := func(want, wantTree string) {
		t.Helper()
		view(t, im, func(tx *Tx) error {
			s, err := tx.Load(oid)
			must(t, err)
			if got := showState(oid, s); got != oid.String()+want {
				t.Errorf("%s, want %s", got, want)
			}
			var keys []string
			for e, err := range tx.Tree(tree).Range(nil, nil) {
				must(t, err)
				keys = append(keys, object.Text(e.Key, 9)+"="+object.Text(e.Value, 9))
			}
			if got := strings.Join(keys, " "); got != wantTree {
				t.Errorf("tree %s, want %s", got, wantTree)
			}
			return nil
		})
	}
	undone := undo(t, im, deed)
	check(" open a=1 b=3 n=<counter 100>", "1=1 2=2 4=4")
	undo(t, im, undone)
	check(" protected a=2 b=3 n=<counter 105> new=2", "2=20 3=3 4=4")
	for tr, err := range im.Log(t.Context(), undone, undone) {
		must(t, err)
		if tr.Meta.Undoes != deed || tr.Meta.AuthorName != "tester" || !slices.Equal(tr.Objects, []batos.OID{oid}) || !slices.Equal(tr.Trees, []batos.OID{batos.OID(tree)}) {
			t.Errorf("the log has %+v", tr)
		}
	}
}

func TestUndoOfMakingAndEnding(t *testing.T) {
	im := open(t)
	var oid batos.OID
	made := update(t, im, func(tx *Tx) (err error) {
		oid, err = tx.Create(slots("a", i(1)))
		must(t, err)
		return tx.SetName("thing", oid)
	})
	unmade := undo(t, im, made)
	view(t, im, func(tx *Tx) error {
		if _, ok, err := tx.Name("thing"); ok || err != nil {
			t.Errorf("the name is still there: %v", err)
		}
		if ok, err := tx.Exists(oid); ok || err != nil {
			t.Errorf("the object is still there: %v", err)
		}
		return nil
	})
	undo(t, im, unmade)
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "a", i(1))
		return nil
	})
	var ends []bool
	for r, err := range im.History(t.Context(), oid) {
		must(t, err)
		ends = append(ends, r.Deleted)
	}
	if want := []bool{false, true, false}; !slices.Equal(ends, want) {
		t.Errorf("history says ended %v, want %v", ends, want)
	}
}

func TestUndoNamesWhatStandsInTheWay(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "b", i(1), "c", i(1)))
	var tree object.Tree
	deed := update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		must(t, err, tx.Tree(tree).Set(object.Str("k"), i(1)), tx.Tree(tree).Set(object.Str("l"), i(1)))
		must(t, tx.SetSlot(oid, "a", i(2)), tx.SetSlot(oid, "b", i(2)))
		return tx.SetSlot(oid, "c", i(2))
	})
	update(t, im, func(tx *Tx) error {
		must(t, tx.SetSlot(oid, "a", i(3)), tx.SetSlot(oid, "c", i(3)))
		return tx.Tree(tree).Set(object.Str("k"), i(3))
	})
	last := im.LastTID()
	_, err := im.Undo(t.Context(), deed, Meta{})
	wantCode(t, err, batos.Conflict)
	for _, want := range []string{deed.String(), `slot "a"`, `slot "c"`, `key "k"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	for _, not := range []string{`slot "b"`, `key "l"`} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("%q names %s", err, not)
		}
	}
	if im.LastTID() != last {
		t.Error("a refused undo committed something")
	}
	_, err = im.Undo(t.Context(), deed+1, Meta{})
	wantCode(t, err, batos.NotFound)

	var many batos.TID
	for round := range int64(2) {
		tid := update(t, im, func(tx *Tx) error {
			for k := range int64(1000) {
				must(t, tx.Tree(tree).Set(i(k), i(round)))
			}
			return nil
		})
		if round == 0 {
			many = tid
		}
	}
	_, err = im.Undo(t.Context(), many, Meta{})
	wantCode(t, err, batos.Conflict)
	if text := err.Error(); len(text) > 2000 || !strings.Contains(text, "and 980 more") {
		t.Errorf("an undo that clashes in 1,000 keys: %d bytes, %.200s", len(text), text)
	}
}

// TestUndoOfAPackedPast: what was packed away is code packed, also where
// nothing is left of the transaction; what never was is not found.
func TestUndoOfAPackedPast(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1)))
	set := func(n int64) batos.TID {
		return update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "a", i(n)) })
	}
	emptied, first, last := set(2), set(3), set(4)
	if _, err := im.Pack(t.Context(), PackOptions{Before: first}); err != nil {
		t.Fatal(err)
	}
	for tid, want := range map[batos.TID]batos.Code{emptied: batos.Packed, last + 1: batos.NotFound, 0: batos.NotFound} {
		if _, err := im.Undo(t.Context(), tid, Meta{}); batos.CodeOf(err) != want {
			t.Errorf("undo of %s: %v, want code %s", tid, err, want)
		}
	}
	undo(t, im, last)
}
