package image

import (
	"reflect"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// revision is one stored record, decoded. It is immutable and shared by all
// transactions. Exactly one of state, root, leaf and inner is set. A nil
// *revision stands for an object that is not there.
type revision struct {
	oid     batos.OID
	tid     batos.TID
	state   *object.State
	parents []batos.OID  // state's
	first   [1]batos.OID // where one of them has room
	root    *codec.Root
	leaf    *codec.Leaf
	inner   *codec.Inner
	size    int64 // memory in bytes, by account: what a cache pays for it
}

// objectRevision is the revision of an object, in one piece.
type objectRevision struct {
	revision
	own object.State
}

// newObject makes the revision of an object of n slots, with room for them. A
// few are in one piece with it: there are very many objects like that, and
// each piece costs the collector.
func newObject(n int) (*objectRevision, []object.Slot) {
	switch n {
	case 1:
		o := &struct {
			objectRevision
			slots [1]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 2:
		o := &struct {
			objectRevision
			slots [2]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 3:
		o := &struct {
			objectRevision
			slots [3]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 4:
		o := &struct {
			objectRevision
			slots [4]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 5:
		o := &struct {
			objectRevision
			slots [5]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 6:
		o := &struct {
			objectRevision
			slots [6]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 7:
		o := &struct {
			objectRevision
			slots [7]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	case 8:
		o := &struct {
			objectRevision
			slots [8]object.Slot
		}{}
		return &o.objectRevision, o.slots[:]
	}
	return &objectRevision{}, nil
}

// tidOf gives the TID that stands for r where a store is asked about it.
func tidOf(r *revision) batos.TID {
	if r == nil {
		return 0
	}
	return r.tid
}

// stateOf gives the object in r, or nil if there is none.
func stateOf(r *revision) *object.State {
	if r == nil {
		return nil
	}
	return r.state
}

// decode reads what a store keeps. Damage is named with its place.
func decode(r store.Revision) (*revision, error) {
	kind, err := codec.KindOf(r.Data)
	var v *revision
	if err == nil && kind == codec.KindObject {
		v, err = decodeObject(r.Data)
	} else if err == nil {
		v, err = decodePage(kind, r.Data)
	}
	if err != nil {
		return nil, batos.Errorf(batos.CodeOf(err), "object %s as of %s: %w", r.OID, r.TID, err)
	}
	v.oid, v.tid = r.OID, r.TID
	return v, nil
}

func decodeObject(data []byte) (*revision, error) {
	var o *objectRevision
	state, held, err := codec.DecodeStateIn(data, func(n int) (*object.State, []object.Slot) {
		var room []object.Slot
		o, room = newObject(n)
		return &o.own, room
	})
	if err != nil {
		return nil, err
	}
	o.state = state
	o.parents = state.AppendParents(o.first[:0])
	o.size = objectMemory(len(state.Slots()), len(o.parents)) + int64(held)
	return &o.revision, nil
}

func decodePage(kind codec.Kind, data []byte) (v *revision, err error) {
	v = &revision{}
	switch kind {
	case codec.KindTree:
		v.root = &codec.Root{}
		*v.root, err = codec.DecodeRoot(data)
	case codec.KindLeaf:
		v.leaf, err = codec.DecodeLeaf(data)
	case codec.KindInner:
		v.inner, err = codec.DecodeInner(data)
	}
	if err == nil {
		v.size = v.pageMemory(len(data))
	}
	return v, err
}

// What a revision takes of memory beside its content, in the cache.
var (
	revisionSize = int(reflect.TypeFor[revision]().Size())
	pieceSize    = int(reflect.TypeFor[objectRevision]().Size())
	slotSize     = int(reflect.TypeFor[object.Slot]().Size())
	stateSize    = int(reflect.TypeFor[object.State]().Size())
	entryMemory  = codec.Allocated(int(reflect.TypeFor[entry]().Size())) + 28 // and its place in a map
)

// mostInPiece is up to how many slots an object is in one piece with its
// revision.
const mostInPiece = 8

// objectMemory is what newObject and the cache take for an object.
func objectMemory(slots, parents int) int64 {
	n := pieceSize
	if slots <= mostInPiece {
		n += slots * slotSize
	}
	return int64(entryMemory + codec.Allocated(n) + parentsMemory(parents))
}

func parentsMemory(n int) int {
	if n <= 1 {
		return 0 // in the revision
	}
	return codec.Allocated(8 * n)
}

// pageMemory is what a page or root takes whose record has that length.
func (v *revision) pageMemory(record int) int64 {
	n := entryMemory + codec.Allocated(revisionSize)
	switch {
	case v.root != nil:
		n += codec.Allocated(16)
	case v.leaf != nil:
		n += codec.PageMemory(record, 2*len(v.leaf.Keys), 0)
	case v.inner != nil:
		n += codec.PageMemory(record, len(v.inner.Keys), len(v.inner.Kids))
	}
	return int64(n)
}

// encode gives the write that makes v the next revision after base, with its
// bytes at the end of *buf. A page, which nobody else may be using yet, takes
// its content from there, so that what stays in memory holds on to nothing but
// itself.
func (v *revision) encode(base batos.TID, buf *[]byte) (store.Write, error) {
	w := store.Write{OID: v.oid, Base: base}
	start := len(*buf)
	var err error
	switch {
	case v.state != nil:
		v.parents = v.state.AppendParents(v.first[:0])
		*buf = codec.AppendState(*buf, v.state)
		w.Refs, w.Blobs = codec.Refs(v.state)
	case v.root != nil:
		*buf = codec.AppendRoot(*buf, *v.root)
		if v.root.Top != 0 {
			w.Refs = []batos.OID{v.root.Top}
		}
	case v.leaf != nil:
		*buf = codec.AppendLeaf(*buf, v.leaf)
		v.leaf.Own((*buf)[start:])
		w.Refs, w.Blobs, err = codec.LeafRefs(v.leaf)
	case v.inner != nil:
		*buf = codec.AppendInner(*buf, v.inner)
		if v.inner, err = codec.DecodeInner((*buf)[start:]); err == nil {
			w.Refs = v.inner.Kids
		}
	}
	end := len(*buf)
	w.Data = (*buf)[start:end:end]
	if v.state != nil {
		v.size = int64(entryMemory + codec.Allocated(revisionSize) + codec.Allocated(stateSize) + parentsMemory(len(v.parents)) + codec.Memory(v.state))
	} else if err == nil {
		v.size = v.pageMemory(len(w.Data))
	}
	return w, err
}

// loader gives the revision of an object that one view of the image has, or
// nil if that view has none.
type loader func(batos.OID) (*revision, error)

// notFound is the error for an object that a view lacks.
func notFound(oid batos.OID) error {
	return batos.Errorf(batos.NotFound, "there is no object %s", oid)
}
