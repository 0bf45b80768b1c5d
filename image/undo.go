package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// Undo takes back what the transaction tid did, in a new transaction, and
// leaves everything else as it is: slots and keys get back what they held
// before, objects it made end, objects it ended exist again, and counters lose
// what it added. It need not be the newest. A slot or key that has been
// changed since is a conflict; the error has that code and names them, the first
// of them if there are many, and nothing is changed. The undo of an undo does the thing again.
func (im *Image) Undo(ctx context.Context, tid batos.TID, m Meta) (batos.TID, error) {
	m.Undoes = tid
	return im.Update(ctx, func(tx *Tx) error {
		tx.SetMeta(m)
		return tx.Undo(tid, nil)
	})
}

// Undo takes back what the transaction tid did, as [Image.Undo] does, within a
// transaction of its own making. Leave, unless it is nil, names objects and
// trees that stay as they are whatever tid did to them, such as records of what
// happened. After an error the transaction is to be aborted.
func (tx *Tx) Undo(tid batos.TID, leave func(oid batos.OID) (bool, error)) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if tx.im == nil {
		return batos.Errorf(batos.Invalid, "a scratch transaction cannot undo")
	}
	d, err := tx.im.deed(tx.ctx, tid)
	if err != nil {
		return err
	}
	if leave != nil {
		for _, oid := range append(sorted(d.objects), sorted(d.trees)...) {
			stays, err := leave(oid)
			if err != nil {
				return err
			}
			if stays {
				delete(d.objects, oid)
				delete(d.trees, oid)
			}
		}
	}
	u := &undoing{tx: tx}
	if err := u.all(d); err != nil {
		return err
	}
	if len(u.clashes) > 0 {
		what := strings.Join(u.clashes[:min(len(u.clashes), maxClashes)], ", ")
		if n := len(u.clashes) - maxClashes; n > 0 {
			what += fmt.Sprintf(" and %d more", n)
		}
		return batos.Errorf(batos.Conflict, "%s cannot be undone, because later transactions changed %s", tid, what)
	}
	return nil
}

// deed is what one transaction did.
type deed struct {
	objects map[batos.OID]objectDeed
	trees   map[batos.OID]map[string]keyDeed
}

type objectDeed struct{ was, is *object.State } // nil: not there

type keyDeed struct{ was, is string } // encoded values; "": not there

func newDeed() *deed {
	return &deed{objects: map[batos.OID]objectDeed{}, trees: map[batos.OID]map[string]keyDeed{}}
}

// noTransaction is the error for a transaction that the log does not have: of
// a past that was packed nobody knows whether there was one.
func (im *Image) noTransaction(ctx context.Context, tid batos.TID) error {
	at, err := im.store.SnapshotAt(ctx, tid)
	if err != nil {
		return err
	}
	defer at.Close()
	if tid != 0 && at.TID() == tid { // only there a snapshot has the TID of no commit
		return batos.Errorf(batos.Packed, "there is nothing left of a transaction %s: that past was packed away", tid)
	}
	return batos.Errorf(batos.NotFound, "there is no transaction %s", tid)
}

// deed finds out what tid did.
func (im *Image) deed(ctx context.Context, tid batos.TID) (*deed, error) {
	var done *store.Transaction
	for t, err := range im.store.Transactions(ctx, tid, tid) {
		if err != nil {
			return nil, err
		}
		done = t
	}
	if done == nil {
		return nil, im.noTransaction(ctx, tid)
	}
	if done.Packed > 0 {
		return nil, errPacked(tid)
	}
	before, err := im.store.SnapshotAt(ctx, tid-1)
	if err != nil {
		return nil, err
	}
	defer before.Close()
	d := newDeed()
	for _, r := range done.Revisions {
		var was, is *revision
		old, err := before.Load(ctx, r.OID)
		switch {
		case err == nil:
			if was, err = decode(old); err != nil {
				return nil, err
			}
		case batos.CodeOf(err) != batos.NotFound:
			return nil, err
		}
		if !r.Delete {
			if is, err = decode(r); err != nil {
				return nil, err
			}
		}
		d.note(r.OID, was, is)
	}
	d.settle()
	return d, nil
}

// settle drops keys that came out as they were.
func (d *deed) settle() {
	for id, keys := range d.trees {
		maps.DeleteFunc(keys, func(_ string, k keyDeed) bool { return k.was == k.is })
		if len(keys) == 0 {
			delete(d.trees, id)
		}
	}
}

// note adds one record. Entries that only moved from page to page cancel out:
// a transaction that moves one writes both pages.
func (d *deed) note(oid batos.OID, was, is *revision) {
	if stateOf(was) != nil || stateOf(is) != nil {
		d.objects[oid] = objectDeed{stateOf(was), stateOf(is)}
		return
	}
	entries := func(rev *revision, each func(k *keyDeed, raw string)) {
		if rev == nil || rev.leaf == nil {
			return
		}
		keys := d.trees[rev.leaf.Tree]
		if keys == nil {
			keys = map[string]keyDeed{}
			d.trees[rev.leaf.Tree] = keys
		}
		for i, key := range rev.leaf.Keys {
			k := keys[key]
			each(&k, rev.leaf.Values[i])
			keys[key] = k
		}
	}
	entries(was, func(k *keyDeed, raw string) { k.was = raw })
	entries(is, func(k *keyDeed, raw string) { k.is = raw })
}

// maxClashes bounds how many an error names.
const maxClashes = 20

// undoing is an undo under way.
type undoing struct {
	tx      *Tx
	clashes []string // what later transactions changed
}

func (u *undoing) clash(format string, args ...any) {
	u.clashes = append(u.clashes, fmt.Sprintf(format, args...))
}

func (u *undoing) all(d *deed) error {
	for _, oid := range sorted(d.objects) {
		if err := u.object(oid, d.objects[oid]); err != nil {
			return err
		}
	}
	for _, id := range sorted(d.trees) {
		for _, key := range slices.Sorted(maps.Keys(d.trees[id])) {
			if err := u.key(id, key, d.trees[id][key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *undoing) object(oid batos.OID, d objectDeed) error {
	exists, err := u.tx.Exists(oid)
	if err != nil {
		return err
	}
	switch {
	case exists != (d.is != nil):
		u.clash("object %s as a whole", oid)
		return nil
	case d.is == nil:
		return u.tx.CreateAt(oid, d.was)
	case d.was == nil:
		now, err := u.tx.Load(oid)
		if err != nil {
			return err
		}
		for _, c := range slotChanges(d.is, now) {
			u.clash("slot %q of %s", c.Name, oid)
		}
		if now.Protection != d.is.Protection {
			u.clash("the protection of %s", oid)
		}
		return u.tx.Delete(oid)
	}
	if d.was.Creator != d.is.Creator || d.was.CreatedBy != d.is.CreatedBy { // ended and made anew in one go
		if err := u.object(oid, objectDeed{nil, d.is}); err != nil {
			return err
		}
		return u.tx.CreateAt(oid, d.was)
	}
	if d.was.Protection != d.is.Protection {
		now, err := u.tx.Protection(oid)
		if err != nil {
			return err
		}
		if now != d.is.Protection {
			u.clash("the protection of %s", oid)
		} else if err := u.tx.SetProtection(oid, d.was.Protection); err != nil {
			return err
		}
	}
	for _, c := range slotChanges(d.was, d.is) {
		if err := u.slot(oid, c); err != nil {
			return err
		}
	}
	return nil
}

func (u *undoing) slot(oid batos.OID, c SlotChange) error {
	was, counted := c.Before.(object.Counter)
	is, counts := c.After.(object.Counter)
	if counted && counts {
		err := u.tx.AddCounter(oid, c.Name, int64(was)-int64(is))
		if code := batos.CodeOf(err); code == batos.NoSlot || code == batos.Invalid {
			u.clash("slot %q of %s", c.Name, oid)
			return nil
		}
		return err
	}
	now, _, err := u.tx.Slot(oid, c.Name)
	switch {
	case err != nil:
		return err
	case !object.Equal(now, c.After):
		u.clash("slot %q of %s", c.Name, oid)
		return nil
	case c.Before == nil:
		return u.tx.DeleteSlot(oid, c.Name)
	}
	return u.tx.SetSlot(oid, c.Name, c.Before)
}

func (u *undoing) key(id batos.OID, key string, d keyDeed) error {
	tree := u.tx.Tree(object.Tree(id))
	st, err := tree.state()
	if err != nil {
		return err
	}
	now, _, err := u.tx.below(st, key)
	if err != nil {
		return err
	}
	if now != d.is {
		u.clash("key %s of tree %s", keyText(key), id)
		return nil
	}
	if d.was == "" {
		u.tx.writeKey(st, key, keyWrite{kind: writeDelete})
		return nil
	}
	v, err := codec.DecodeValue([]byte(d.was))
	if err != nil {
		return err
	}
	u.tx.writeKey(st, key, keyWrite{kind: writeSet, raw: d.was, value: v})
	return nil
}
