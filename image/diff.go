package image

import (
	"context"
	"maps"
	"slices"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// Diff lists what is different between two moments: what would have to be
// done to the image as it was right after from, to make it what it was right
// after to, which may be the earlier one. The order is that of [Tx.Changes].
// It takes time by what was committed between the two, not by the size of the
// image. Moments that were packed away are an error with code packed.
func (im *Image) Diff(ctx context.Context, from, to batos.TID) ([]Change, error) {
	if from <= to {
		return im.diff(ctx, from, to, false)
	}
	return im.diff(ctx, to, from, true)
}

// diff is Diff for early <= late, and backwards if so asked.
func (im *Image) diff(ctx context.Context, early, late batos.TID, backwards bool) (changes []Change, err error) {
	before, err := im.store.SnapshotAt(ctx, early) // holds back pack
	if err != nil {
		return nil, err
	}
	defer before.Close()
	after, err := im.store.SnapshotAt(ctx, late)
	if err != nil {
		return nil, err
	}
	defer after.Close()
	if err := im.whole(early); err != nil {
		return nil, err
	}
	defer func() { // the process that writes packs as if nobody read
		if e := im.whole(early); err == nil && e != nil {
			changes, err = nil, e
		}
	}()
	touched := map[batos.OID]bool{}
	for t, err := range im.store.Transactions(ctx, early+1, late) {
		if err != nil {
			return nil, err
		}
		if t.Packed > 0 {
			return nil, errPacked(t.TID)
		}
		for _, r := range t.Revisions {
			touched[r.OID] = true
		}
	}
	if backwards {
		before, after = after, before
	}
	d := newDeed()
	roots := map[batos.OID]bool{} // trees that one side lacks, and whether it is the first
	for oid := range touched {
		was, err := revisionIn(ctx, before, oid)
		if err != nil {
			return nil, err
		}
		is, err := revisionIn(ctx, after, oid)
		if err != nil {
			return nil, err
		}
		if (was != nil && was.root != nil || is != nil && is.root != nil) && (was == nil) != (is == nil) {
			roots[oid] = was == nil
		}
		d.note(oid, was, is)
	}
	d.settle()
	return d.changes(roots)
}

// whole is an error with code packed if the image as of a moment may lack what
// pack removed without a trace.
func (im *Image) whole(at batos.TID) error {
	p, ok := im.store.(store.Packer)
	if !ok {
		return nil
	}
	if h := p.Horizon(); at < h {
		return batos.Errorf(batos.Packed, "the image as of %s is not whole any more: what was before %s was packed away", at, h)
	}
	return nil
}

// revisionIn gives what a snapshot has of an object, or nil.
func revisionIn(ctx context.Context, snap store.Snapshot, oid batos.OID) (*revision, error) {
	r, err := snap.Load(ctx, oid)
	if batos.CodeOf(err) == batos.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(r)
}

// changes gives a deed in the form of a transaction's changes.
func (d *deed) changes(roots map[batos.OID]bool) ([]Change, error) {
	var old, made []Change
	put := func(c Change) {
		if c.New {
			made = append(made, c)
		} else {
			old = append(old, c)
		}
	}
	for oid, o := range d.objects {
		if c, differs := objectChange(oid, o.was, o.is); differs {
			put(c)
		}
	}
	for id := range roots {
		if d.trees[id] == nil {
			d.trees[id] = map[string]keyDeed{}
		}
	}
	for id, keys := range d.trees {
		made, known := roots[id]
		c := Change{OID: id, Tree: true, New: known && made, Deleted: known && !made}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			k, err := keyChange(key, keys[key])
			if err != nil {
				return nil, err
			}
			c.Keys = append(c.Keys, k)
		}
		put(c)
	}
	byOID := func(a, b Change) int {
		switch {
		case a.OID < b.OID:
			return -1
		case a.OID > b.OID:
			return 1
		}
		return 0
	}
	slices.SortFunc(old, byOID)
	slices.SortFunc(made, byOID)
	return append(old, made...), nil
}

func objectChange(oid batos.OID, was, is *object.State) (Change, bool) {
	c := Change{OID: oid, New: was == nil, Deleted: is == nil, Slots: slotChanges(was, is)}
	if is != nil && (was == nil || was.Protection != is.Protection) {
		p := is.Protection
		c.Protection = &p
	}
	return c, (was == nil) != (is == nil) || c.Protection != nil || len(c.Slots) > 0
}

func keyChange(key string, d keyDeed) (k KeyChange, err error) {
	if k.Key, err = codec.DecodeKey(key); err != nil {
		return k, err
	}
	if d.was != "" {
		if k.Before, err = codec.DecodeValue([]byte(d.was)); err != nil {
			return k, err
		}
	}
	if d.is != "" {
		k.After, err = codec.DecodeValue([]byte(d.is))
	}
	return k, err
}

func errPacked(tid batos.TID) error {
	return batos.Errorf(batos.Packed, "a part of transaction %s was packed away", tid)
}
