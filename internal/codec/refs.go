package codec

import (
	"strings"

	"batos"
	"batos/image/store"
	"batos/object"
)

// Refs lists what s refers to: objects, trees, and blobs, each once, in the
// order in which they first appear.
func Refs(s *object.State) ([]batos.OID, []store.BlobHash) {
	var r refs
	for _, sl := range s.Slots() {
		r.value(sl.Value)
	}
	return r.oids, r.blobs
}

// LeafRefs lists what the keys and then the values of l refer to. What does
// not decode is an error, where it may refer.
func LeafRefs(l *Leaf) ([]batos.OID, []store.BlobHash, error) {
	var r refs
	for _, k := range l.Keys {
		if k == "" || k[0] != keyRef && (k[0] != keyTuple || strings.IndexByte(k, keyRef) < 0) {
			continue
		}
		key, err := DecodeKey(k)
		if err != nil {
			return nil, nil, err
		}
		r.value(key)
	}
	for _, v := range l.Values {
		if !mayRefer(v) {
			continue
		}
		val, err := DecodeValue([]byte(v))
		if err != nil {
			return nil, nil, err
		}
		r.value(val)
	}
	return r.oids, r.blobs, nil
}

// mayRefer tells quickly that a value is a scalar that refers to nothing, by
// its first byte. Containers and extensions may.
func mayRefer(v string) bool {
	if v == "" {
		return true
	}
	switch t := v[0]; {
	case t < 0x80, t >= 0xe0, t&0xe0 == 0xa0: // small ints, short text
		return false
	case t >= 0xca && t <= 0xd3, t >= 0xd9 && t <= 0xdb, t >= 0xc0 && t <= 0xc6: // numbers, text, none, bools, bytes
		return false
	}
	return true
}

type refs struct {
	oids     []batos.OID
	blobs    []store.BlobHash
	seen     map[batos.OID]struct{}
	seenBlob map[store.BlobHash]struct{}
}

func (r *refs) value(v object.Value) {
	switch v := v.(type) {
	case object.Ref:
		r.oid(batos.OID(v))
	case object.Tree:
		r.oid(batos.OID(v))
	case object.Blob:
		r.blob(store.BlobHash(v.Hash))
	case *object.Method:
		r.oid(v.Mission)
		r.oid(v.Provenance)
	case *object.List:
		r.values(v.Items)
	case *object.Tuple:
		r.values(v.Items)
	case *object.Set:
		r.values(v.Items)
	case *object.Dict:
		for _, e := range v.Entries {
			r.value(e.Key)
			r.value(e.Value)
		}
	}
}

func (r *refs) values(items []object.Value) {
	for _, it := range items {
		r.value(it)
	}
}

// fewRefs is the number up to which a scan beats a map.
const fewRefs = 16

func (r *refs) oid(oid batos.OID) {
	if oid == 0 {
		return
	}
	if len(r.oids) < fewRefs {
		for _, o := range r.oids {
			if o == oid {
				return
			}
		}
		r.oids = append(r.oids, oid)
		return
	}
	if r.seen == nil {
		r.seen = make(map[batos.OID]struct{}, 2*fewRefs)
		for _, o := range r.oids {
			r.seen[o] = struct{}{}
		}
	}
	if _, ok := r.seen[oid]; !ok {
		r.seen[oid] = struct{}{}
		r.oids = append(r.oids, oid)
	}
}

func (r *refs) blob(h store.BlobHash) {
	if r.seenBlob == nil {
		r.seenBlob = map[store.BlobHash]struct{}{}
	}
	if _, ok := r.seenBlob[h]; !ok {
		r.seenBlob[h] = struct{}{}
		r.blobs = append(r.blobs, h)
	}
}
