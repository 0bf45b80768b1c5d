package image

import (
	"context"
	"iter"

	"batos"
	"batos/object"
)

// Tx is one transaction: a snapshot and what was written over it. One
// goroutine at a time.
type Tx struct{}

// Savepoint marks a moment in a transaction for Rollback.
type Savepoint struct{}

func (tx *Tx) Snapshot() batos.TID                           { panic("being written") }
func (tx *Tx) ReadOnly() bool                                { panic("being written") }
func (tx *Tx) SetMeta(m Meta)                                { panic("being written") }
func (tx *Tx) Commit(ctx context.Context) (batos.TID, error) { panic("being written") }
func (tx *Tx) Abort()                                        { panic("being written") }
func (tx *Tx) Savepoint() Savepoint                          { panic("being written") }
func (tx *Tx) Rollback(sp Savepoint)                         { panic("being written") }

// Doom makes Commit answer reason, for ever.
func (tx *Tx) Doom(reason error) { panic("being written") }

func (tx *Tx) Load(oid batos.OID) (*object.State, error) { panic("being written") }
func (tx *Tx) Slot(oid batos.OID, name string) (object.Value, bool, error) {
	panic("being written")
}

// Protection reads only the protection: no slot counts as read.
func (tx *Tx) Protection(oid batos.OID) (object.Protection, error) { panic("being written") }

// Creator reads who made the object: no slot counts as read.
func (tx *Tx) Creator(oid batos.OID) (batos.Authority, batos.MessageID, error) {
	panic("being written")
}

// Created reports whether this transaction made the object.
func (tx *Tx) Created(oid batos.OID) bool { panic("being written") }

// SlotNames lists the object's own slots: their names count as read, not what they hold.
func (tx *Tx) SlotNames(oid batos.OID) ([]string, error) { panic("being written") }
func (tx *Tx) Lookup(oid batos.OID, name string) (v object.Value, holder batos.OID, ok bool, err error) {
	panic("being written")
}
func (tx *Tx) LookupAfter(oid, after batos.OID, name string) (v object.Value, holder batos.OID, ok bool, err error) {
	panic("being written")
}
func (tx *Tx) SetSlot(oid batos.OID, name string, v object.Value) error { panic("being written") }
func (tx *Tx) DeleteSlot(oid batos.OID, name string) error              { panic("being written") }
func (tx *Tx) SetProtection(oid batos.OID, p object.Protection) error   { panic("being written") }
func (tx *Tx) AddCounter(oid batos.OID, slot string, delta int64) error { panic("being written") }
func (tx *Tx) Create(s *object.State) (batos.OID, error)                { panic("being written") }
func (tx *Tx) CreateAt(oid batos.OID, s *object.State) error            { panic("being written") }
func (tx *Tx) Delete(oid batos.OID) error                               { panic("being written") }
func (tx *Tx) Exists(oid batos.OID) (bool, error)                       { panic("being written") }
func (tx *Tx) Clone(oid batos.OID, creator batos.Authority, by batos.MessageID) (batos.OID, error) {
	panic("being written")
}
func (tx *Tx) Name(name string) (batos.OID, bool, error) { panic("being written") }
func (tx *Tx) SetName(name string, oid batos.OID) error  { panic("being written") }
func (tx *Tx) Names() *Tree                              { panic("being written") }
func (tx *Tx) NewTree() (object.Tree, error)             { panic("being written") }
func (tx *Tx) Tree(t object.Tree) *Tree                  { panic("being written") }

// Changes lists what Commit would write, in canonical order.
func (tx *Tx) Changes() ([]Change, error) { panic("being written") }

// ReadDigest identifies everything the transaction has read.
func (tx *Tx) ReadDigest() [32]byte { panic("being written") }

// Change is what a transaction does to one object or tree.
type Change struct {
	OID        batos.OID
	Tree       bool // OID is a tree: Keys, else Slots
	New        bool
	Deleted    bool
	Protection *object.Protection // set to this, or nil
	Slots      []SlotChange
	Keys       []KeyChange
}

// SlotChange is what happens to one slot.
type SlotChange struct {
	Name          string
	Before, After object.Value // nil: absent
	Delta         int64        // an addition to a counter, if not 0
}

// KeyChange is what happens to one key of a tree.
type KeyChange struct{ Key, Before, After object.Value }

// EncodeChanges and DecodeChanges carry changes between processes.
func EncodeChanges(cs []Change) []byte            { panic("being written") }
func DecodeChanges(data []byte) ([]Change, error) { panic("being written") }

// Fingerprint is equal for changes that do the same: fresh OIDs are numbered
// in order of creation, and what was there before is left out.
func Fingerprint(cs []Change) [32]byte { panic("being written") }

// Tree is a persistent ordered map as a transaction sees it.
type Tree struct{}

func (t *Tree) ID() object.Tree                                  { panic("being written") }
func (t *Tree) Get(key object.Value) (object.Value, bool, error) { panic("being written") }
func (t *Tree) Set(key, v object.Value) error                    { panic("being written") }
func (t *Tree) Delete(key object.Value) (bool, error)            { panic("being written") }
func (t *Tree) Len() (int64, error)                              { panic("being written") }
func (t *Tree) Min() (key, v object.Value, ok bool, err error)   { panic("being written") }
func (t *Tree) Max() (key, v object.Value, ok bool, err error)   { panic("being written") }

// Range yields keys with from <= key < to in order; nil is no bound.
func (t *Tree) Range(from, to object.Value) iter.Seq2[object.Entry, error] { panic("being written") }

