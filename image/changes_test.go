package image

import (
	"reflect"
	"testing"

	"batos"
	"batos/object"
)

// trial does the same as any other trial of the same image.
func trial(t *testing.T, tx *Tx, oid batos.OID, tree object.Tree) {
	t.Helper()
	must(t, tx.SetSlot(oid, "a", i(2)), tx.SetSlot(oid, "same", i(7)), tx.AddCounter(oid, "n", 3), tx.SetProtection(oid, object.Protected))
	child, err := tx.Clone(oid, batos.Persona, "m1")
	must(t, err)
	own, err := tx.NewTree()
	must(t, err)
	gone, err := tx.Create(slots())
	must(t, err, tx.Delete(gone))
	must(t, tx.Tree(own).Set(object.Ref(child), object.Ref(child)), tx.SetSlot(child, "own", own), tx.SetSlot(oid, "children", list(object.Ref(child))))
	must(t, tx.Tree(tree).Set(object.Str("y"), i(2)), tx.Tree(tree).Set(object.Str("x"), i(1)), tx.Tree(tree).Set(object.Str("old"), i(0)))
	_, err = tx.Tree(tree).Delete(object.Str("dead"))
	must(t, err, tx.DeleteSlot(oid, "drop"))
}

func trialGround(t *testing.T, im *Image) (oid batos.OID, tree object.Tree) {
	t.Helper()
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		must(t, err, tx.Tree(tree).Set(object.Str("old"), i(0)), tx.Tree(tree).Set(object.Str("dead"), i(0)))
		oid, err = tx.Create(slots("a", i(1), "same", i(7), "drop", i(1), "n", object.Counter(10)))
		return err
	})
	return oid, tree
}

func TestChanges(t *testing.T) {
	im := open(t)
	oid, tree := trialGround(t, im)
	tx, err := im.Begin(t.Context())
	must(t, err)
	defer tx.Abort()
	trial(t, tx, oid, tree)
	got, err := tx.Changes()
	must(t, err)
	if len(got) != 4 {
		t.Fatalf("%d changes: %+v", len(got), got)
	}
	child, own := got[2].OID, got[3].OID
	protected, plain := object.Protected, object.Open
	ref := object.Ref(child)
	want := []Change{
		{OID: batos.OID(tree), Tree: true, Keys: []KeyChange{
			{object.Str("dead"), i(0), nil}, {object.Str("x"), nil, i(1)}, {object.Str("y"), nil, i(2)},
		}},
		{OID: oid, Protection: &protected, Slots: []SlotChange{
			{Name: "a", Before: i(1), After: i(2)}, {Name: "drop", Before: i(1)},
			{Name: "n", Before: object.Counter(10), After: object.Counter(13), Delta: 3}, {Name: "children", After: list(ref)},
		}},
		{OID: child, New: true, Protection: &plain, Slots: []SlotChange{
			{Name: "a", After: i(2)}, {Name: "same", After: i(7)}, {Name: "drop", After: i(1)},
			{Name: "n", After: object.Counter(13)}, {Name: "own", After: object.Tree(own)},
		}},
		{OID: own, Tree: true, New: true, Keys: []KeyChange{{ref, nil, ref}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("changes\n%+v\nwant\n%+v", got, want)
	}
	back, err := DecodeChanges(EncodeChanges(got))
	must(t, err)
	if !reflect.DeepEqual(back, got) {
		t.Errorf("changes came back as\n%+v", back)
	}
}

// TestFingerprint runs the same code in a scratch transaction and later for
// real, on a newer snapshot, where fresh OIDs and what was not read differ.
func TestFingerprint(t *testing.T) {
	im := open(t)
	oid, tree := trialGround(t, im)
	run := func(tx *Tx, last object.Value) ([32]byte, [32]byte) {
		t.Helper()
		defer tx.Abort()
		trial(t, tx, oid, tree)
		must(t, tx.SetSlot(oid, "last", last))
		cs, err := tx.Changes()
		must(t, err)
		return Fingerprint(cs), tx.ReadDigest()
	}
	snap, err := im.store.Snapshot(t.Context())
	must(t, err)
	tried, read := run(Scratch(t.Context(), snap), i(1))

	update(t, im, func(tx *Tx) error { // what the trial does not read
		_, err := tx.Create(slots())
		must(t, err)
		return tx.Tree(tree).Set(object.Str("elsewhere"), i(1))
	})
	begin := func() *Tx {
		tx, err := im.Begin(t.Context())
		must(t, err)
		return tx
	}
	if lived, again := run(begin(), i(1)); lived != tried || again != read {
		t.Errorf("a live run that reads the same: same changes %v, same reads %v", lived == tried, again == read)
	}
	if lived, again := run(begin(), i(2)); lived == tried || again != read {
		t.Errorf("a live run that writes another value: same changes %v, same reads %v", lived == tried, again == read)
	}
	update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "drop", i(5)) })
	if _, again := run(begin(), i(1)); again == read {
		t.Error("a live run that reads another value has the same digest of reads")
	}
}

func TestDamagedChangesAreRefused(t *testing.T) {
	good := EncodeChanges([]Change{{OID: 1, Slots: []SlotChange{{Name: "a", After: i(1)}}}, {OID: 2, Tree: true, Keys: []KeyChange{{Key: i(1)}}}})
	for n := range good {
		if cs, err := DecodeChanges(good[:n]); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("cut at %d: %v, %v", n, cs, err)
		}
	}
}

func FuzzDecodeChanges(f *testing.F) {
	p := object.Sealed
	f.Add(EncodeChanges([]Change{{OID: 1, New: true, Protection: &p, Slots: []SlotChange{{Name: "a", Before: i(2), After: i(1), Delta: 3}}}}))
	f.Add(EncodeChanges([]Change{{OID: 2, Tree: true, Deleted: true, Keys: []KeyChange{{Key: i(1), After: object.Str("x")}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cs, err := DecodeChanges(b)
		if err != nil {
			return
		}
		if again := EncodeChanges(cs); string(again) != string(b) {
			t.Fatalf("%x is taken for %x", b, again)
		}
		Fingerprint(cs)
	})
}
