package image

import (
	"context"

	"batos"
	"batos/image/store"
)

// Branch is a scratch world on a snapshot of an image: it is read and written
// like the image itself, by any number of updates, and nobody else sees any of
// it. In the end it is merged or discarded. It lives in memory and in one
// process, and belongs to one goroutine at a time.
//
// Like a transaction, it keeps the context it was begun with: its reads end
// with it.
type Branch struct {
	im *Image
	tx *Tx
}

// Branch begins a branch on the image as it was right after at, which may be
// any past moment; zero is now. End it with Merge or Discard.
func (im *Image) Branch(ctx context.Context, at batos.TID) (*Branch, error) {
	var snap store.Snapshot
	var err error
	if at == 0 {
		snap, err = im.store.Snapshot(ctx)
	} else {
		snap, err = im.store.SnapshotAt(ctx, at)
	}
	if err != nil {
		return nil, err
	}
	tx := im.begin(ctx, snap)
	tx.im = nil // it cannot commit: Merge does
	return &Branch{im: im, tx: tx}, nil
}

// Base is the moment that the branch grew from.
func (b *Branch) Base() batos.TID { return b.tx.at }

// View runs fn in a transaction over the branch that can only read. What fn
// reads does not count when the branch is merged.
func (b *Branch) View(fn func(*Tx) error) error {
	if err := b.usable(); err != nil {
		return err
	}
	tx := &Tx{
		ctx: b.tx.ctx, snap: borrowed{b.tx.snap}, at: b.tx.at, cache: b.tx.cache, oids: b.tx.oids, readOnly: true, under: b.tx,
	}
	defer tx.Abort()
	return fn(tx)
}

// Update runs fn in a transaction over the branch and keeps what it wrote, or
// takes all of it back if fn returns an error, panics or dooms the
// transaction. What fn reads counts as read when the branch is merged. A
// function that commits or aborts the transaction ends the branch.
func (b *Branch) Update(fn func(*Tx) error) (err error) {
	if err := b.usable(); err != nil {
		return err
	}
	tx := b.tx
	sp, kept := tx.Savepoint(), false
	defer func() {
		if !kept && !tx.done {
			err = firstOf(err, tx.Rollback(sp))
		}
		tx.kept, tx.undo, tx.doom = nil, nil, nil
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.doom != nil {
		return tx.doom
	}
	kept = true
	return b.usable()
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Changes lists what the branch has made different, as [Tx.Changes] does.
func (b *Branch) Changes() ([]Change, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	return b.tx.Changes()
}

// Merge commits what the branch has changed as one transaction of the image,
// with the validation of any other ([Tx.Commit]): what its updates read must
// still be so, other changes that were committed since are kept, and counters
// add up. What the branch set without looking stays as the branch has it. After
// success the branch is over; after an error, such as a conflict, it is as
// before.
func (b *Branch) Merge(ctx context.Context, m Meta) (batos.TID, error) {
	if err := b.usable(); err != nil {
		return 0, err
	}
	tx := *b.tx
	tx.ctx, tx.im, tx.meta = ctx, b.im, m
	tx.snap, tx.buf = borrowed{b.tx.snap}, nil // those are the branch's
	tid, err := tx.Commit(ctx)
	if err != nil {
		return 0, err
	}
	b.Discard()
	return tid, nil
}

// Discard ends the branch without a trace. A no-op when it has ended.
func (b *Branch) Discard() { b.tx.Abort() }

func (b *Branch) usable() error {
	if b.tx.done {
		return batos.Errorf(batos.Invalid, "the branch is over")
	}
	return nil
}

// borrowed is a snapshot that somebody else closes.
type borrowed struct{ store.Snapshot }

func (borrowed) Close() error { return nil }

// above gives h as a transaction that only reads sees it from above.
func (h *handle) above() *handle {
	return &handle{oid: h.oid, base: h.base, fresh: h.fresh, deleted: h.deleted, protect: h.protect, writes: h.writes, made: h.made}
}

// above is handle.above for trees.
func (st *treeState) above() *treeState {
	return &treeState{id: st.id, base: st.base, fresh: st.fresh, writes: st.writes, sorted: st.ordered()}
}
