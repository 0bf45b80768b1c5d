package image

import (
	"context"
	"iter"
	"slices"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// Revision is one past or present state of an object.
type Revision struct {
	OID     batos.OID
	TID     batos.TID     // the transaction that made it
	Meta    Meta          // on whose word
	State   *object.State // nil if Deleted
	Deleted bool          // the transaction ended the object
}

// Transaction is one commit as the log has it.
type Transaction struct {
	TID     batos.TID
	Meta    Meta
	Objects []batos.OID // the objects it wrote or ended, ascending
	Trees   []batos.OID // the trees in which it wrote keys, ascending
}

// History yields the revisions of one object, newest first, those that were
// packed away left out. An error is the last thing it yields; an object that never was is one with code not_found.
func (im *Image) History(ctx context.Context, oid batos.OID) iter.Seq2[Revision, error] {
	return func(yield func(Revision, error) bool) {
		none := true
		for r, err := range im.store.History(ctx, oid) {
			none = false
			var rev Revision
			if err == nil {
				rev, err = im.revision(ctx, r)
			}
			if !yield(rev, err) || err != nil {
				return
			}
		}
		if none {
			yield(Revision{}, notFound(oid))
		}
	}
}

func (im *Image) revision(ctx context.Context, r store.Revision) (Revision, error) {
	out := Revision{OID: r.OID, TID: r.TID, Deleted: r.Delete}
	if !r.Delete {
		rev, err := decode(r)
		if err != nil {
			return Revision{}, err
		}
		if rev.state == nil {
			return Revision{}, batos.Errorf(batos.NotFound, "%s is part of a tree, not an object", r.OID)
		}
		out.State = rev.state
	}
	for t, err := range im.store.Transactions(ctx, r.TID, r.TID) {
		if err != nil {
			return Revision{}, err
		}
		if out.Meta, err = decodeMeta(t.TID, t.Meta); err != nil {
			return Revision{}, err
		}
	}
	return out, nil
}

// Log yields the transactions with from <= TID <= to, oldest first, as far as
// something is left of them after a pack. An error is the last thing it yields.
func (im *Image) Log(ctx context.Context, from, to batos.TID) iter.Seq2[Transaction, error] {
	return func(yield func(Transaction, error) bool) {
		for t, err := range im.store.Transactions(ctx, from, to) {
			var out Transaction
			if err == nil {
				out, err = im.transaction(ctx, t)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

func (im *Image) transaction(ctx context.Context, t *store.Transaction) (Transaction, error) {
	out := Transaction{TID: t.TID}
	var err error
	if out.Meta, err = decodeMeta(t.TID, t.Meta); err != nil {
		return Transaction{}, err
	}
	var before store.Snapshot // opened for the kind of what has ended
	defer func() {
		if before != nil {
			_ = before.Close() // it was only read
		}
	}()
	for _, r := range t.Revisions {
		oid := r.OID
		if r.Delete {
			if before == nil {
				if before, err = im.store.SnapshotAt(ctx, t.TID-1); err != nil {
					return Transaction{}, err
				}
			}
			r, err = before.Load(ctx, oid)
			if batos.CodeOf(err) == batos.Packed {
				r, err = im.older(ctx, oid, t.TID)
			}
			if err != nil {
				return Transaction{}, err
			}
		}
		kind, err := codec.KindOf(r.Data)
		if err != nil {
			return Transaction{}, err
		}
		switch kind {
		case codec.KindObject:
			out.Objects = append(out.Objects, oid)
		case codec.KindTree:
			out.Trees = append(out.Trees, oid)
		default:
			rev, err := decode(r)
			if err != nil {
				return Transaction{}, err
			}
			out.Trees = append(out.Trees, rev.tree())
		}
	}
	slices.Sort(out.Objects)
	slices.Sort(out.Trees)
	out.Trees = slices.Compact(out.Trees)
	return out, nil
}

// older gives the newest state before tid that pack has left of an object that
// ended then; without one, that deletion would be gone as well.
func (im *Image) older(ctx context.Context, oid batos.OID, tid batos.TID) (store.Revision, error) {
	for r, err := range im.store.History(ctx, oid) {
		if err != nil || r.TID < tid && !r.Delete {
			return r, err
		}
	}
	return store.Revision{}, batos.Errorf(batos.Packed, "there is nothing left of object %s as it was before %s", oid, tid)
}

// tree gives the tree that a page is part of, or 0.
func (v *revision) tree() batos.OID {
	switch {
	case v.leaf != nil:
		return v.leaf.Tree
	case v.inner != nil:
		return v.inner.Tree
	}
	return 0
}
