package codec

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"batos"
	"batos/image/store"
	"batos/object"
)

func genOID() *rapid.Generator[batos.OID] {
	return rapid.Custom(func(t *rapid.T) batos.OID { return batos.OID(rapid.Uint64Min(1).Draw(t, "oid")) })
}

func genInt() *rapid.Generator[object.Value] {
	return rapid.OneOf(
		rapid.Custom(func(t *rapid.T) object.Value { return object.NewInt(rapid.Int64().Draw(t, "int")) }),
		rapid.Custom(func(t *rapid.T) object.Value {
			i := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "magnitude"))
			if rapid.Bool().Draw(t, "negative") {
				i.Neg(i)
			}
			return object.BigInt(i)
		}),
	)
}

func genHashable(depth int) *rapid.Generator[object.Value] {
	return rapid.Custom(func(t *rapid.T) object.Value {
		switch rapid.IntRange(0, 8).Draw(t, "kind") {
		case 0:
			return object.None{}
		case 1:
			return object.Bool(rapid.Bool().Draw(t, "bool"))
		case 2, 3:
			return genInt().Draw(t, "int")
		case 4:
			return object.Float(rapid.Float64().Draw(t, "float"))
		case 5:
			return object.Bytes(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		case 6:
			return object.Ref(genOID().Draw(t, "ref"))
		case 7:
			if depth > 0 {
				return &object.Tuple{Items: rapid.SliceOfN(genHashable(depth-1), 0, 4).Draw(t, "tuple")}
			}
			return object.Time(rapid.Int64().Draw(t, "time"))
		}
		return object.Str(rapid.String().Draw(t, "str"))
	})
}

func genValue(depth int) *rapid.Generator[object.Value] {
	return rapid.Custom(func(t *rapid.T) object.Value {
		kind := rapid.IntRange(0, 13).Draw(t, "kind")
		if depth == 0 && kind >= 9 {
			kind = 0
		}
		unique := func() []object.Value {
			return rapid.SliceOfNDistinct(genHashable(1), 0, 20, func(v object.Value) string { return string(EncodeValue(v)) }).Draw(t, "keys")
		}
		switch kind {
		case 0:
			return &object.Method{
				Selector: batos.Selector(rapid.StringMatching(`[a-z_]{1,12}`).Draw(t, "selector")),
				Source:   rapid.String().Draw(t, "source"), Author: batos.Authority(rapid.IntRange(0, 3).Draw(t, "author")),
				AuthorName: rapid.String().Draw(t, "name"), Mission: genOID().Draw(t, "mission"), Version: rapid.IntRange(0, 1000).Draw(t, "version"),
			}
		case 1:
			return object.Primitive(rapid.String().Draw(t, "primitive"))
		case 2:
			return object.Blob{Hash: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")), Size: rapid.Int64Min(0).Draw(t, "size")}
		case 3:
			return object.Tree(genOID().Draw(t, "tree"))
		case 4:
			return object.Counter(rapid.Int64().Draw(t, "counter"))
		case 9:
			return &object.List{Items: rapid.SliceOfN(genValue(depth-1), 0, 20).Draw(t, "list")}
		case 10:
			return &object.Tuple{Items: rapid.SliceOfN(genValue(depth-1), 0, 4).Draw(t, "tuple")}
		case 11:
			return &object.Set{Items: unique()}
		case 12:
			d := &object.Dict{}
			for _, k := range unique() {
				d.Entries = append(d.Entries, object.Entry{Key: k, Value: genValue(depth-1).Draw(t, "value")})
			}
			return d
		}
		return genHashable(2).Draw(t, "scalar")
	})
}

func TestValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(3).Draw(t, "value")
		if err := object.Check(v); err != nil {
			t.Fatalf("the generator made what cannot be stored: %v", err)
		}
		b := EncodeValue(v)
		got, err := DecodeValue(b)
		if err != nil {
			t.Fatal(err)
		}
		if !object.Equal(v, got) {
			t.Fatalf("%s came back as %s", object.Text(v, 200), object.Text(got, 200))
		}
		if again := EncodeValue(got); !bytes.Equal(b, again) {
			t.Fatalf("one value, two encodings:\n%x\n%x", b, again)
		}
		dec := msgpack.NewDecoder(bytes.NewReader(b))
		if err := dec.Skip(); err != nil {
			t.Fatalf("another MessagePack reader cannot follow: %v", err)
		}
	})
}

func TestPlainValuesAreMessagePack(t *testing.T) {
	for _, v := range []any{
		int64(0), int64(127), int64(128), int64(-1), int64(-32), int64(-33), int64(-128), int64(-129), int64(255), int64(256), int64(65535), int64(65536),
		int64(math.MaxUint32), int64(math.MaxUint32 + 1), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MinInt32), int64(math.MinInt32 - 1),
		"", "text", strings.Repeat("x", 31), strings.Repeat("x", 32), strings.Repeat("x", 256), strings.Repeat("x", 70000), 1.5, true, nil,
	} {
		var ours object.Value
		switch v := v.(type) {
		case int64:
			ours = object.NewInt(v)
		case string:
			ours = object.Str(v)
		case float64:
			ours = object.Float(v)
		case bool:
			ours = object.Bool(v)
		case nil:
			ours = object.None{}
		}
		var buf bytes.Buffer
		enc := msgpack.NewEncoder(&buf)
		enc.UseCompactInts(true)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if got := EncodeValue(ours); !bytes.Equal(got, buf.Bytes()) {
			t.Errorf("%v: %x, and by another encoder %x", v, got[:min(len(got), 20)], buf.Bytes()[:min(buf.Len(), 20)])
		}
	}
}

func TestStatesAndArgumentsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,6}\*?`), 0, 20, rapid.ID).Draw(t, "names")
		var slots []object.Slot
		for _, n := range names {
			slots = append(slots, object.Slot{Name: n, Value: genValue(2).Draw(t, n)})
		}
		s := object.NewState(object.Protection(rapid.IntRange(0, 2).Draw(t, "protection")), batos.Authority(rapid.IntRange(0, 3).Draw(t, "creator")), slots...)
		s.CreatedBy = batos.MessageID(rapid.String().Draw(t, "by"))
		got, err := DecodeState(EncodeState(s))
		if err != nil {
			t.Fatal(err)
		}
		if !object.Same(s, got) {
			t.Fatal("a state came back different")
		}
		args := rapid.SliceOfN(genValue(1), 0, 4).Draw(t, "args")
		b := EncodeArgs(args, slots)
		gotArgs, gotSlots, err := DecodeArgs(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, EncodeArgs(gotArgs, gotSlots)) {
			t.Fatal("arguments came back different")
		}
	})
}

// TestStrict holds, for each rule of the canonical form, bytes that break it.
func TestStrict(t *testing.T) {
	deep := func(n int) []byte {
		return append(bytes.Repeat([]byte{0x91}, n), 0xc0)
	}
	ext := func(code byte, payload ...byte) []byte {
		return append(appendExtHeader(nil, code, len(payload)), payload...)
	}
	for name, b := range map[string][]byte{
		"nothing":                {},
		"left over":              {0xc0, 0xc0},
		"reserved tag":           {0xc1},
		"wide small int":         {0xcc, 0x7f},
		"wide int 16":            {0xcd, 0x00, 0xff},
		"wide int 32":            {0xce, 0x00, 0x00, 0xff, 0xff},
		"wide int 64":            {0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"wide negative":          {0xd0, 0xff},
		"wide negative 16":       {0xd1, 0xff, 0x80},
		"signed positive":        {0xd0, 0x05},
		"int beyond int64":       {0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"float of 32 bits":       {0xca, 0, 0, 0, 0},
		"another NaN":            {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 9},
		"wide short text":        {0xd9, 0x01, 'a'},
		"wide text":              append([]byte{0xda, 0x00, 0x20}, bytes.Repeat([]byte("x"), 32)...),
		"text not UTF-8":         {0xa1, 0xff},
		"short text":             {0xa2, 'a'},
		"text beyond the end":    {0xdb, 0xff, 0xff, 0xff, 0xff},
		"wide list":              {0xdc, 0x00, 0x01, 0xc0},
		"list beyond the end":    {0xdd, 0xff, 0xff, 0xff, 0xff},
		"map beyond the end":     {0xdf, 0x7f, 0xff, 0xff, 0xff, 0xc0},
		"map without a value":    {0x81, 0x01},
		"key twice":              {0x82, 0x01, 0x01, 0x01, 0x02},
		"list as key":            {0x81, 0x90, 0x01},
		"bytes too wide":         {0xc5, 0x00, 0x01, 0x00},
		"unknown extension":      ext(99, 1),
		"wide extension":         {0xc7, 0x01, ExtPrimitive, 'p'},
		"extension too long":     ext(ExtTuple, 0x90, 0xc0),
		"extension too short":    ext(ExtRef, 1, 2, 3, 4),
		"big int that is small":  ext(ExtBigInt, 0, 5, 5),
		"big int with zeros":     ext(ExtBigInt, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
		"big int of odd sign":    ext(ExtBigInt, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9),
		"set member twice":       ext(ExtSet, 0x92, 0x01, 0x01),
		"set with a list":        ext(ExtSet, 0x91, 0x90),
		"primitive not UTF-8":    ext(ExtPrimitive, 0xff),
		"blob of negative size":  ext(ExtBlob, append(make([]byte, 32), 0xff, 0, 0, 0, 0, 0, 0, 0)...),
		"method of no authority": ext(ExtMethod, 0x97, 0xa0, 0xa0, 0x09, 0xa0, 0, 0, 0),
		"method too short":       ext(ExtMethod, 0x91, 0xa0),
		"too deep":               deep(object.MaxDepth + 1),
		"far too deep":           deep(1 << 20),
	} {
		if v, err := DecodeValue(b); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("%s: %s, %v", name, object.Text(v, 40), err)
		}
	}
	if _, err := DecodeValue(deep(object.MaxDepth)); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
}

func TestRecordHeaders(t *testing.T) {
	good := EncodeState(object.NewState(object.Open, batos.Person))
	newer := bytes.Clone(good)
	newer[1] = Version + 1
	if _, err := DecodeState(newer); batos.CodeOf(err) != batos.NewerFormat {
		t.Errorf("a newer record: %v", err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "one byte": {'O'}, "no kind": {'?', 1, 0x90}, "format 0": {'O', 0}, "another kind": EncodeRoot(Root{}),
		"no creator": append(appendHeader(nil, KindObject), 0x94, 0, 9, 0xa0, 0x80), "no protection": append(appendHeader(nil, KindObject), 0x94, 9, 0, 0xa0, 0x80),
		"a slot twice": append(appendHeader(nil, KindObject), 0x94, 0, 0, 0xa0, 0x82, 0xa1, 'a', 1, 0xa1, 'a', 1),
	} {
		if _, err := DecodeState(b); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// genKey makes values that trees take as keys.
func genKey(depth int) *rapid.Generator[object.Value] {
	return rapid.Custom(func(t *rapid.T) object.Value {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return genInt().Draw(t, "int")
		case 1:
			return object.NewInt(rapid.Int64Range(-300, 300).Draw(t, "small"))
		case 2:
			return object.Time(rapid.Int64().Draw(t, "time"))
		case 3:
			return object.Ref(genOID().Draw(t, "ref"))
		case 4:
			return object.Bytes(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xff, 'a'}), 0, 6).Draw(t, "bytes"))
		case 5:
			if depth > 0 {
				return &object.Tuple{Items: rapid.SliceOfN(genKey(depth-1), 0, 3).Draw(t, "tuple")}
			}
		}
		return object.Str(rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 'é'}), 0, 6, -1).Draw(t, "str"))
	})
}

// compareKeys is the order of keys as it is documented, written down anew.
func compareKeys(a, b object.Value) int {
	order := []object.Kind{object.KindInt, object.KindTime, object.KindRef, object.KindStr, object.KindBytes, object.KindTuple}
	if c := cmp.Compare(slices.Index(order, a.Kind()), slices.Index(order, b.Kind())); c != 0 {
		return c
	}
	switch a := a.(type) {
	case object.Int:
		return a.Big().Cmp(b.(object.Int).Big())
	case object.Time:
		return cmp.Compare(a, b.(object.Time))
	case object.Ref:
		return cmp.Compare(a, b.(object.Ref))
	case object.Str:
		return cmp.Compare(a, b.(object.Str))
	case object.Bytes:
		return cmp.Compare(a, b.(object.Bytes))
	}
	return slices.CompareFunc(a.(*object.Tuple).Items, b.(*object.Tuple).Items, compareKeys)
}

func TestKeysSortAsTheirValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genKey(2).Draw(t, "a"), genKey(2).Draw(t, "b")
		ka, err := EncodeKey(a)
		if err != nil {
			t.Fatal(err)
		}
		kb, err := EncodeKey(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := cmp.Compare(ka, kb), compareKeys(a, b); got != want {
			t.Fatalf("%s and %s sort %d, want %d (%x, %x)", object.Text(a, 80), object.Text(b, 80), got, want, ka, kb)
		}
		back, err := DecodeKey(ka)
		if err != nil || !object.Equal(a, back) {
			t.Fatalf("%s came back as %s, %v", object.Text(a, 80), object.Text(back, 80), err)
		}
	})
}

func TestKeysRefused(t *testing.T) {
	deep := object.Value(object.NewInt(1))
	for range object.MaxDepth + 1 {
		deep = &object.Tuple{Items: []object.Value{deep}}
	}
	for name, v := range map[string]object.Value{
		"missing": nil, "none": object.None{}, "bool": object.Bool(true), "float": object.Float(1), "list": &object.List{},
		"tuple with a float": &object.Tuple{Items: []object.Value{object.Float(1)}}, "text not UTF-8": object.Str("\xff"),
		"too long": object.Str(strings.Repeat("x", MaxKey)), "too deep": deep, "huge int": object.BigInt(new(big.Int).Lsh(big.NewInt(1), 2000)),
	} {
		if _, err := EncodeKey(v); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPagesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringN(0, 20, -1), 1, 100, rapid.ID).Draw(t, "keys")
		slices.Sort(keys)
		l := &Leaf{Tree: genOID().Draw(t, "tree"), Keys: keys}
		in := &Inner{Tree: l.Tree, Keys: keys}
		for range keys {
			l.Values = append(l.Values, string(EncodeValue(genValue(1).Draw(t, "value"))))
			in.Kids = append(in.Kids, genOID().Draw(t, "kid"))
		}
		b := EncodeLeaf(l)
		if bound := LeafSize(l.Keys, l.Values); len(b) > bound {
			t.Fatalf("a leaf of %d bytes was bounded by %d", len(b), bound)
		}
		gotLeaf, err := DecodeLeaf(b)
		if err != nil {
			t.Fatal(err)
		}
		if gotLeaf.Tree != l.Tree || !slices.Equal(gotLeaf.Keys, l.Keys) || !slices.Equal(gotLeaf.Values, l.Values) {
			t.Fatal("a leaf came back different")
		}
		b = EncodeInner(in)
		if bound := InnerSize(in.Keys); len(b) > bound {
			t.Fatalf("a page of %d bytes was bounded by %d", len(b), bound)
		}
		gotInner, err := DecodeInner(b)
		if err != nil {
			t.Fatal(err)
		}
		if gotInner.Tree != in.Tree || !slices.Equal(gotInner.Keys, in.Keys) || !slices.Equal(gotInner.Kids, in.Kids) {
			t.Fatal("a page came back different")
		}
	})
	for _, r := range []Root{{}, {Top: 5, Count: 3}, {Top: batos.DerivedOID, Count: math.MaxInt64}} {
		if got, err := DecodeRoot(EncodeRoot(r)); err != nil || got != r {
			t.Errorf("root %v came back as %v, %v", r, got, err)
		}
	}
}

func TestRefsInOrderWithoutDuplicates(t *testing.T) {
	blob := object.Blob{Hash: [32]byte{7}}
	items := []object.Value{object.Ref(9), object.Tree(4), object.Ref(9), blob, blob}
	s := object.NewState(object.Open, batos.Person,
		object.Slot{Name: "parent*", Value: object.Ref(3)},
		object.Slot{Name: "m", Value: &object.Method{Mission: 8, Provenance: 3}},
		object.Slot{Name: "d", Value: &object.Dict{Entries: []object.Entry{{Key: object.Ref(2), Value: &object.List{Items: items}}}}},
		object.Slot{Name: "s", Value: &object.Set{Items: []object.Value{&object.Tuple{Items: []object.Value{object.Ref(1)}}}}},
	)
	oids, blobs := Refs(s)
	if want := []batos.OID{3, 8, 2, 9, 4, 1}; !slices.Equal(oids, want) {
		t.Errorf("refs %v, want %v", oids, want)
	}
	if want := []store.BlobHash{{7}}; !slices.Equal(blobs, want) {
		t.Errorf("blobs %v, want %v", blobs, want)
	}
	var many []object.Value
	for n := range 200 {
		many = append(many, object.Ref(n%100+1))
	}
	oids, _ = Refs(object.NewState(object.Open, batos.Person, object.Slot{Name: "many", Value: &object.List{Items: many}}))
	if len(oids) != 100 || oids[0] != 1 || oids[99] != 100 {
		t.Errorf("%d refs of 100", len(oids))
	}
	key, err := EncodeKey(&object.Tuple{Items: []object.Value{object.Ref(5)}})
	if err != nil {
		t.Fatal(err)
	}
	oids, blobs, err = LeafRefs(&Leaf{
		Keys:   []string{key, "x", "y", "z"},
		Values: []string{string(EncodeValue(object.Ref(6))), string(EncodeValue(object.NewInt(-700))), string(EncodeValue(blob)), string(EncodeValue(&object.List{Items: items}))},
	})
	if want := []batos.OID{5, 6, 9, 4}; err != nil || !slices.Equal(oids, want) || len(blobs) != 1 {
		t.Errorf("a leaf's refs %v, %v, %v; want %v", oids, blobs, err, want)
	}
}

// TestALeafOwnsItsText demands that a page that took its content from its
// record has the same.
func TestALeafOwnsItsText(t *testing.T) {
	l := &Leaf{Tree: 7}
	for i, n := range []int{1, 200, 255, 256, 1000, 65535, 65536, 3} {
		l.Keys = append(l.Keys, fmt.Sprintf("%02d", i)+strings.Repeat("k", min(n, MaxKey-2)))
		l.Values = append(l.Values, strings.Repeat(string(rune('a'+i)), n))
	}
	want := &Leaf{Tree: 7, Keys: slices.Clone(l.Keys), Values: slices.Clone(l.Values)}
	data := EncodeLeaf(l)
	l.Own(data)
	clear(data) // it is a copy
	if !reflect.DeepEqual(l, want) {
		t.Fatalf("%+v became %+v", want, l)
	}
}
