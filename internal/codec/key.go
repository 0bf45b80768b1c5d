package codec

import (
	"encoding/binary"
	"math/big"

	"batos"
	"batos/object"
)

// MaxKey bounds an encoded key's length in bytes.
const MaxKey = 1024

// First bytes of keys, in the order in which kinds sort. All are above the
// zero that ends text, bytes and tuples, and below the 0xff that guards a zero
// within.
const (
	keyInt   = 0x10
	keyTime  = 0x20
	keyRef   = 0x28
	keyStr   = 0x30
	keyBytes = 0x38
	keyTuple = 0x40
)

// EncodeKey gives the key of a tree in bytes that sort as keys do: by kind
// (int, time, reference, text, bytes, tuple), then by value; tuples element by
// element, the shorter first. Other kinds, and keys longer than [MaxKey], are
// refused with code invalid.
func EncodeKey(v object.Value) (string, error) {
	b, err := appendKey(make([]byte, 0, 32), v, 0)
	if err != nil {
		return "", err
	}
	if len(b) > MaxKey {
		return "", batos.Errorf(batos.Invalid, "a tree's key takes %d bytes; %d are allowed", len(b), MaxKey)
	}
	return string(b), nil
}

func appendKey(b []byte, v object.Value, depth int) ([]byte, error) {
	switch v := v.(type) {
	case object.Int:
		return appendKeyInt(append(b, keyInt), v)
	case object.Time:
		return binary.BigEndian.AppendUint64(append(b, keyTime), uint64(v)^1<<63), nil
	case object.Ref:
		return binary.BigEndian.AppendUint64(append(b, keyRef), uint64(v)), nil
	case object.Str:
		if err := object.Check(v); err != nil {
			return nil, err
		}
		return appendKeyText(append(b, keyStr), string(v)), nil
	case object.Bytes:
		return appendKeyText(append(b, keyBytes), string(v)), nil
	case *object.Tuple:
		if v == nil {
			return nil, batos.Errorf(batos.Invalid, "a tree's key is missing")
		}
		if depth == object.MaxDepth {
			return nil, batos.Errorf(batos.Invalid, "a tree's key nests deeper than %d levels", object.MaxDepth)
		}
		b = append(b, keyTuple)
		for _, it := range v.Items {
			var err error
			if b, err = appendKey(b, it, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, 0), nil
	case nil:
		return nil, batos.Errorf(batos.Invalid, "a tree's key is missing")
	}
	return nil, batos.Errorf(batos.Invalid, "a %s cannot be a tree's key; an int, str, bytes, time, reference or tuple of those can", v.Kind())
}

// appendKeyInt writes the length of the magnitude, then the magnitude. The
// length byte is 0x80 for zero, above it for positive numbers, and both length
// and magnitude are inverted for negative ones.
func appendKeyInt(b []byte, v object.Int) ([]byte, error) {
	i, ok := v.Int64()
	if !ok {
		return appendKeyMagnitude(b, v.Big())
	}
	switch {
	case i == 0:
		return append(b, 0x80), nil
	case i > 0:
		return appendMagnitude(b, uint64(i), 0), nil
	}
	return appendMagnitude(b, uint64(-i), 0xff), nil // also right for the least int64
}

func appendMagnitude(b []byte, u uint64, invert byte) []byte {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], u)
	i := 0
	for p[i] == 0 {
		i++
	}
	b = append(b, byte(0x80+8-i)^invert)
	for _, c := range p[i:] {
		b = append(b, c^invert)
	}
	return b
}

const maxMagnitude = 0x7e // bytes; keeps the inverted length apart from 0x80

func appendKeyMagnitude(b []byte, i *big.Int) ([]byte, error) {
	mag := i.Bytes()
	if len(mag) > maxMagnitude {
		return nil, batos.Errorf(batos.Invalid, "an integer of %d bits is too large to be a tree's key", i.BitLen())
	}
	var invert byte
	if i.Sign() < 0 {
		invert = 0xff
	}
	b = append(b, byte(0x80+len(mag))^invert)
	for _, c := range mag {
		b = append(b, c^invert)
	}
	return b, nil
}

// appendKeyText ends text with a zero; a zero within is followed by 0xff.
func appendKeyText(b []byte, s string) []byte {
	for i := range len(s) {
		if b = append(b, s[i]); s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0)
}

// DecodeKey is the inverse of [EncodeKey], with an error of code corrupt.
func DecodeKey(key string) (object.Value, error) {
	if len(key) > MaxKey {
		return nil, corruptKey(key)
	}
	v, rest, ok := readKey(key, 0)
	if !ok || rest != "" {
		return nil, corruptKey(key)
	}
	return v, nil
}

func corruptKey(key string) error {
	return batos.Errorf(batos.Corrupt, "a tree's key is damaged: %.40x", key)
}

func readKey(s string, depth int) (v object.Value, rest string, ok bool) {
	if s == "" {
		return nil, "", false
	}
	kind, s := s[0], s[1:]
	switch kind {
	case keyInt:
		return readKeyInt(s)
	case keyTime, keyRef:
		if len(s) < 8 {
			return nil, "", false
		}
		u := binary.BigEndian.Uint64([]byte(s[:8]))
		if kind == keyRef {
			return object.Ref(u), s[8:], true
		}
		return object.Time(u ^ 1<<63), s[8:], true
	case keyStr, keyBytes:
		text, rest, ok := readKeyText(s)
		if !ok {
			return nil, "", false
		}
		if kind == keyBytes {
			return object.Bytes(text), rest, true
		}
		return object.Str(text), rest, object.Check(object.Str(text)) == nil
	case keyTuple:
		if depth == object.MaxDepth {
			return nil, "", false
		}
		var items []object.Value
		for s != "" && s[0] != 0 {
			it, rest, ok := readKey(s, depth+1)
			if !ok {
				return nil, "", false
			}
			items, s = append(items, it), rest
		}
		if s == "" {
			return nil, "", false
		}
		return &object.Tuple{Items: items}, s[1:], true
	}
	return nil, "", false
}

func readKeyInt(s string) (v object.Value, rest string, ok bool) {
	if s == "" {
		return nil, "", false
	}
	head := s[0]
	if head == 0x80 {
		return object.NewInt(0), s[1:], true
	}
	var invert byte
	if head < 0x80 {
		invert = 0xff
	}
	n := int(head^invert) - 0x80
	if n < 1 || n > maxMagnitude || len(s) < 1+n {
		return nil, "", false
	}
	if s[1]^invert == 0 {
		return nil, "", false
	}
	if n < 8 { // of most keys
		u := int64(0)
		for i := 1; i <= n; i++ {
			u = u<<8 | int64(s[i]^invert)
		}
		if invert != 0 {
			u = -u
		}
		return boxed(u), s[1+n:], true
	}
	mag := []byte(s[1 : 1+n])
	for i := range mag {
		mag[i] ^= invert
	}
	i := new(big.Int).SetBytes(mag)
	if invert != 0 {
		i.Neg(i)
	}
	return object.BigInt(i), s[1+n:], true
}

func readKeyText(s string) (text, rest string, ok bool) {
	plain := true
	for i := 0; i < len(s); i++ {
		if s[i] != 0 {
			continue
		}
		if i+1 < len(s) && s[i+1] == 0xff {
			plain = false
			i++
			continue
		}
		if plain {
			return s[:i], s[i+1:], true
		}
		var b []byte
		for j := 0; j < i; j++ {
			if b = append(b, s[j]); s[j] == 0 {
				j++
			}
		}
		return string(b), s[i+1:], true
	}
	return "", "", false
}
