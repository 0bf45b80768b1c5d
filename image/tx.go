package image

import (
	"context"
	"slices"
	"sync"

	"batos"
	"batos/image/store"
	"batos/object"
)

// Tx is one transaction: a snapshot, what was written over it, and a record
// of what was read, which Commit validates. Everything it reads includes its
// own writes. It belongs to one goroutine at a time, and ends with Commit or
// Abort; after that its methods answer an error with code invalid.
//
// The transaction keeps the context it was begun with, because its whole life
// is part of that one piece of work: reads end with it.
type Tx struct {
	ctx      context.Context
	im       *Image // nil: a scratch transaction
	snap     store.Snapshot
	at       batos.TID
	cache    *cache
	oids     *oids
	readOnly bool
	turn     bool // others give way to it
	done     bool
	doom     error
	meta     Meta
	under    *Tx // what it reads first, with what is written there: a branch

	objects map[batos.OID]*handle
	last    *handle // the one used last: most reads come in runs
	buf     *[]byte // of loadBuffers, once something was loaded
	trees   map[batos.OID]*treeState
	made    []batos.OID // objects and trees it created, in order

	marks int      // savepoints taken
	kept  []int    // those that can be gone back to, ascending, by their number
	undo  []func() // how to take back each write since the first savepoint
}

// Snapshot is the commit that the transaction sees the image as of.
func (tx *Tx) Snapshot() batos.TID { return tx.at }

// ReadOnly reports whether the transaction refuses writes.
func (tx *Tx) ReadOnly() bool { return tx.readOnly }

// Dirty reports whether the transaction was written to. A write that changes
// nothing counts; Commit leaves it out.
func (tx *Tx) Dirty() bool {
	for _, h := range tx.objects {
		if h.written() {
			return true
		}
	}
	for _, st := range tx.trees {
		if st.fresh {
			return true
		}
		for _, w := range st.writes {
			if w.kind != writeNone {
				return true
			}
		}
	}
	return false
}

// SetMeta says on whose word the transaction is made. It is kept with it.
func (tx *Tx) SetMeta(m Meta) { tx.meta = m }

// Doom makes Commit answer reason instead of committing. Reads and writes go
// on as before. The first reason stays; nil becomes one of code refused.
func (tx *Tx) Doom(reason error) {
	if tx.doom != nil {
		return
	}
	if reason == nil {
		reason = batos.Errorf(batos.Refused, "the transaction was doomed: it can only be aborted")
	}
	tx.doom = reason
}

// Abort ends the transaction without a trace. A no-op when it has ended.
func (tx *Tx) Abort() {
	if tx.done {
		return
	}
	tx.done, tx.last = true, nil
	tx.objects, tx.trees, tx.undo = nil, nil, nil
	if tx.buf != nil && cap(*tx.buf) <= keptBuffer {
		loadBuffers.Put(tx.buf)
	}
	tx.buf = nil
	_ = tx.snap.Close() // a snapshot that does not close holds back pack, and nothing else
}

// Savepoint is a moment in a transaction that [Tx.Rollback] returns to.
type Savepoint struct {
	tx     *Tx
	undo   int
	number int
}

// Savepoint marks this moment.
func (tx *Tx) Savepoint() Savepoint {
	tx.marks++
	tx.kept = append(tx.kept, tx.marks)
	return Savepoint{tx, len(tx.undo), tx.marks}
}

// Rollback takes back every write since sp. What was read since then still
// counts as read, for its content may have been used to decide on the
// rollback. The savepoint can be used again; those after it cannot.
func (tx *Tx) Rollback(sp Savepoint) error {
	if err := tx.usable(); err != nil {
		return err
	}
	at, there := slices.BinarySearch(tx.kept, sp.number)
	if sp.tx != tx || !there {
		return batos.Errorf(batos.Invalid, "this savepoint is not one of the transaction any more")
	}
	tx.kept = tx.kept[:at+1]
	for i := len(tx.undo) - 1; i >= sp.undo; i-- {
		tx.undo[i]()
	}
	tx.undo = tx.undo[:sp.undo]
	return nil
}

// undoable notes how to take a write back, if anybody could ask for it.
func (tx *Tx) undoable(back func()) {
	if tx.marks > 0 {
		tx.undo = append(tx.undo, back)
	}
}

func (tx *Tx) usable() error {
	if tx.done {
		return batos.Errorf(batos.Invalid, "the transaction is over")
	}
	return nil
}

func (tx *Tx) writable() error {
	if tx.done {
		return tx.usable()
	}
	if tx.readOnly {
		return batos.Errorf(batos.Denied, "this transaction can only read")
	}
	return nil
}

// load gives the revision that the snapshot has.
func (tx *Tx) load(oid batos.OID) (*revision, error) {
	if rev := tx.cache.get(oid, tx.at); rev != nil {
		return rev, nil
	}
	rev, err := tx.fetch(oid)
	if err != nil {
		if batos.CodeOf(err) == batos.NotFound {
			return nil, nil
		}
		return nil, err
	}
	tx.cache.loaded(rev, tx.at)
	return rev, nil
}

// loadBuffers are for stored bytes, of which decoding copies what it needs.
var loadBuffers = sync.Pool{New: func() any { return new([]byte) }}

// keptBuffer is how large a buffer may have become and be kept.
const keptBuffer = 64 << 10

// fetch loads and decodes the revision that the snapshot has.
func (tx *Tx) fetch(oid batos.OID) (*revision, error) {
	loader, ok := tx.snap.(store.Loader)
	if !ok {
		stored, err := tx.snap.Load(tx.ctx, oid)
		if err != nil {
			return nil, err
		}
		return decode(stored)
	}
	if tx.buf == nil {
		tx.buf = loadBuffers.Get().(*[]byte)
	}
	stored, err := loader.LoadInto(tx.ctx, oid, tx.buf)
	if err != nil {
		return nil, err
	}
	return decode(stored)
}

// maxHandles bounds what a transaction that only reads remembers of objects;
// one that may write must remember all it has read.
const maxHandles = 1 << 16

// object gives the transaction's view of an object. The object may not exist.
func (tx *Tx) object(oid batos.OID) (*handle, error) {
	if h := tx.last; h != nil && h.oid == oid {
		return h, nil
	}
	if h := tx.objects[oid]; h != nil {
		tx.last = h
		return h, nil
	}
	if err := tx.usable(); err != nil {
		return nil, err
	}
	h, err := tx.find(oid)
	if err != nil {
		return nil, err
	}
	if tx.objects == nil || tx.readOnly && len(tx.objects) >= maxHandles {
		tx.objects = map[batos.OID]*handle{}
	}
	tx.objects[oid] = h
	tx.last = h
	return h, nil
}

// find makes the handle of an object that the transaction has not used yet.
func (tx *Tx) find(oid batos.OID) (*handle, error) {
	if oid == 0 {
		return nil, batos.Errorf(batos.NotFound, "oid 0 is no object")
	}
	if tx.under != nil {
		if h := tx.under.objects[oid]; h != nil {
			return h.above(), nil
		}
	}
	rev, err := tx.load(oid)
	if err != nil {
		return nil, err
	}
	if rev != nil && rev.state == nil {
		return nil, batos.Errorf(batos.NotFound, "%s is part of a tree, not an object", oid)
	}
	return &handle{oid: oid, base: rev}, nil
}

// existing is object for those that must exist.
func (tx *Tx) existing(oid batos.OID) (*handle, error) {
	h, err := tx.object(oid)
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, notFound(oid)
	}
	return h, nil
}

// changing is existing for a write.
func (tx *Tx) changing(oid batos.OID) (*handle, error) {
	if err := tx.writable(); err != nil {
		return nil, err
	}
	return tx.existing(oid)
}

// Load gives a whole object. Every slot counts as read.
func (tx *Tx) Load(oid batos.OID) (*object.State, error) {
	if tx.readOnly && tx.under == nil && tx.objects[oid] == nil && !tx.done && oid != 0 {
		rev, err := tx.load(oid) // nothing to note, and the cache remembers it
		if err == nil && rev != nil && rev.state != nil {
			return rev.state, nil
		}
		if err != nil {
			return nil, err
		}
	}
	h, err := tx.existing(oid)
	if err != nil {
		return nil, err
	}
	h.readAll = true
	return h.current()
}

// Exists reports whether there is an object oid.
func (tx *Tx) Exists(oid batos.OID) (bool, error) {
	h, err := tx.object(oid)
	if err != nil {
		if batos.CodeOf(err) == batos.NotFound {
			return false, nil
		}
		return false, err
	}
	return h.exists(), nil
}

// Created reports whether this transaction made the object.
func (tx *Tx) Created(oid batos.OID) bool {
	h := tx.objects[oid]
	return h != nil && h.fresh != nil
}
