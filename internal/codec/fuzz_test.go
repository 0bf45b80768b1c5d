package codec

import (
	"bytes"
	"math/big"
	"runtime"
	"testing"

	"batos"
	"batos/object"
)

func seeds() []object.Value {
	return []object.Value{
		object.None{}, object.Bool(true), object.NewInt(-5), object.NewInt(1 << 40), object.BigInt(new(big.Int).Lsh(big.NewInt(-3), 70)), object.Float(2.5),
		object.Str("text"), object.Bytes("\x00\xff"), &object.List{Items: []object.Value{object.NewInt(1), object.Str("é")}},
		&object.Dict{Entries: []object.Entry{{Key: object.Str("k"), Value: object.Ref(7)}}}, &object.Tuple{Items: []object.Value{object.None{}}},
		&object.Set{Items: []object.Value{object.NewInt(1)}}, &object.Method{Selector: "f", Source: "def f(self): return 1", Author: batos.Persona, Version: 1},
		object.Primitive("object.clone"), object.Blob{Size: 3}, object.Tree(3), object.Counter(-1), object.Time(1),
	}
}

// FuzzDecode feeds every decoder of records, values and arguments. Whatever
// one accepts must be the one encoding of what it gives, so that nothing can
// be smuggled past a comparison of bytes.
func FuzzDecode(f *testing.F) {
	for _, v := range seeds() {
		f.Add(EncodeValue(v))
		f.Add(EncodeState(object.NewState(object.Protected, batos.Genesis, object.Slot{Name: "a", Value: v}, object.Slot{Name: "parent*", Value: v})))
		f.Add(EncodeArgs([]object.Value{v}, []object.Slot{{Name: "k", Value: v}}))
		f.Add(EncodeLeaf(&Leaf{Tree: 1, Keys: []string{"a"}, Values: []string{string(EncodeValue(v))}}))
	}
	f.Add(EncodeInner(&Inner{Tree: 1, Keys: []string{"", "b"}, Kids: []batos.OID{1, 2}}))
	f.Add(EncodeRoot(Root{Top: 1, Count: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, again []byte) {
			if !bytes.Equal(b, again) {
				t.Fatalf("%s: %x is taken for %x", what, b, again)
			}
		}
		if v, err := DecodeValue(b); err == nil {
			same("value", EncodeValue(v))
			if err := object.Check(v); err != nil {
				t.Fatalf("a decoded value cannot be stored: %v", err)
			}
		}
		if s, err := DecodeState(b); err == nil {
			same("state", EncodeState(s))
			sameOutline(t, b, s)
		} else if o, err := OutlineOf(b); err == nil {
			for o.Next() { // must not panic
				IsMethod(o.Value)
			}
		}
		if args, kwargs, err := DecodeArgs(b); err == nil && len(b) > 0 {
			same("arguments", EncodeArgs(args, kwargs))
		}
		if l, err := DecodeLeaf(b); err == nil {
			same("leaf", EncodeLeaf(l))
			l.Own(bytes.Clone(b))
			same("leaf that owns its text", EncodeLeaf(l))
			_, _, _ = LeafRefs(l) // must not panic
		}
		if p, err := DecodeInner(b); err == nil {
			same("inner page", EncodeInner(p))
		}
		if r, err := DecodeRoot(b); err == nil {
			same("root", EncodeRoot(r))
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	for _, v := range seeds() {
		if k, err := EncodeKey(v); err == nil {
			f.Add(k)
		}
	}
	f.Add("\x40\x30a\x00\xff\x00\x10\x7e\x00\x00")
	f.Fuzz(func(t *testing.T, key string) {
		v, err := DecodeKey(key)
		if err != nil {
			return
		}
		again, err := EncodeKey(v)
		if err != nil || again != key {
			t.Fatalf("%x is taken for %x, %v", key, again, err)
		}
	})
}

// TestHostileLengthsTakeNoMemory decodes short inputs that claim to be long.
func TestHostileLengthsTakeNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, b := range [][]byte{
		{0xdd, 0x7f, 0xff, 0xff, 0xff}, {0xdf, 0x7f, 0xff, 0xff, 0xff}, {0xdb, 0xff, 0xff, 0xff, 0xff}, {0xc6, 0xff, 0xff, 0xff, 0xff},
		{0xc9, 0xff, 0xff, 0xff, 0xff, ExtTuple}, {0xc9, 0xff, 0xff, 0xff, 0xff, ExtBigInt},
	} {
		for range 100 {
			if _, err := DecodeValue(b); err == nil {
				t.Fatalf("%x was accepted", b)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("600 refusals took %d bytes", used)
	}
}
