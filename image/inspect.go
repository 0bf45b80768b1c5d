package image

import (
	"context"

	"batos/image/store"
)

// Snapshot is the newest state of the store below the objects, for a
// transaction of [Scratch] in another process. Close it.
func (im *Image) Snapshot(ctx context.Context) (store.Snapshot, error) {
	return im.store.Snapshot(ctx)
}

// Dirty reports whether the transaction was written to. A write that changes
// nothing counts; Commit leaves it out.
func (tx *Tx) Dirty() bool {
	if len(tx.made) > 0 {
		return true
	}
	for _, o := range tx.objects {
		if o.fresh != nil || o.deleted || o.protect != nil || len(o.writes.list) > 0 {
			return true
		}
	}
	for _, t := range tx.trees {
		if t.fresh || len(t.writes) > 0 {
			return true
		}
	}
	return false
}
