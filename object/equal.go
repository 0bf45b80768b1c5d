package object

import (
	"encoding/binary"
	"math"

	"batos"
)

// Equal reports whether a and b are the same stored value: same kind, same
// content, and for dicts and sets the same order. Floats are equal when their
// bits are, except that any NaN equals any other. A nil stands for absence and
// equals only nil.
func Equal(a, b Value) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	switch a := a.(type) {
	case Int:
		b, ok := b.(Int)
		if !ok || a.small != b.small || (a.big == nil) != (b.big == nil) {
			return false
		}
		return a.big == nil || a.big == b.big || a.big.Cmp(b.big) == 0
	case Float:
		b, ok := b.(Float)
		return ok && floatBits(a) == floatBits(b)
	case *List:
		b, ok := b.(*List)
		return ok && (a == b || equalItems(a.Items, b.Items))
	case *Tuple:
		b, ok := b.(*Tuple)
		return ok && (a == b || equalItems(a.Items, b.Items))
	case *Set:
		b, ok := b.(*Set)
		return ok && (a == b || equalItems(a.Items, b.Items))
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a == b {
			return ok
		}
		if len(a.Entries) != len(b.Entries) {
			return false
		}
		for i, e := range a.Entries {
			if !Equal(e.Key, b.Entries[i].Key) || !Equal(e.Value, b.Entries[i].Value) {
				return false
			}
		}
		return true
	case *Method:
		b, ok := b.(*Method)
		return ok && (a == b || *a == *b)
	}
	return a == b // the other kinds are comparable
}

func equalItems(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func floatBits(f Float) uint64 {
	if f != f {
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(float64(f))
}

// Same reports whether a and b are the same revision of an object: metadata,
// and slots in the same order. A nil stands for an object that is not there.
func Same(a, b *State) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	if a.Protection != b.Protection || a.Creator != b.Creator || a.CreatedBy != b.CreatedBy || len(a.slots) != len(b.slots) {
		return false
	}
	for i := range a.slots {
		if a.slots[i].Name != b.slots[i].Name || !Equal(a.slots[i].Value, b.slots[i].Value) {
			return false
		}
	}
	return true
}

// identity gives hashable values strings that are equal exactly when they are.
func identity(v Value) string { return string(appendIdentity(nil, v)) }

func appendIdentity(b []byte, v Value) []byte {
	b = append(b, byte(v.Kind()))
	switch v := v.(type) {
	case Bool:
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case Int:
		if v.big == nil {
			return binary.BigEndian.AppendUint64(append(b, 0), uint64(v.small))
		}
		return appendBytes(append(b, byte(2+v.big.Sign())), v.big.Bytes())
	case Float:
		return binary.BigEndian.AppendUint64(b, floatBits(v))
	case Str:
		return appendBytes(b, []byte(v))
	case Bytes:
		return appendBytes(b, []byte(v))
	case Ref:
		return binary.BigEndian.AppendUint64(b, uint64(batos.OID(v)))
	case Time:
		return binary.BigEndian.AppendUint64(b, uint64(v))
	case *Tuple:
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Items)))
		for _, it := range v.Items {
			b = appendIdentity(b, it)
		}
	}
	return b
}

func appendBytes(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
