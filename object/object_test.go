package object_test

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"batos"
	"batos/object"
)

func list(items ...object.Value) *object.List { return &object.List{Items: items} }

func nested(depth int) object.Value {
	v := object.Value(object.None{})
	for range depth {
		v = list(v)
	}
	return v
}

func TestCheck(t *testing.T) {
	one := object.NewInt(1)
	many := &object.Set{}
	for n := range int64(30) {
		many.Items = append(many.Items, object.NewInt(n%29))
	}
	for name, c := range map[string]struct {
		v  object.Value
		ok bool
	}{
		"none":                    {object.None{}, true},
		"as deep as allowed":      {nested(object.MaxDepth), true},
		"too deep":                {nested(object.MaxDepth + 1), false},
		"missing":                 {nil, false},
		"missing within":          {list(nil), false},
		"text":                    {object.Str("é"), true},
		"text not UTF-8":          {object.Str("\xff"), false},
		"raw bytes":               {object.Bytes("\xff"), true},
		"a primitive not UTF-8":   {object.Primitive("\xff"), false},
		"a source not UTF-8":      {&object.Method{Source: "\xff"}, false},
		"a dict":                  {&object.Dict{Entries: []object.Entry{{Key: one, Value: list()}}}, true},
		"a list as key":           {&object.Dict{Entries: []object.Entry{{Key: list(), Value: one}}}, false},
		"a key twice":             {&object.Dict{Entries: []object.Entry{{Key: one, Value: one}, {Key: one, Value: one}}}, false},
		"1 and 1.0":               {&object.Set{Items: []object.Value{one, object.Float(1)}}, true},
		"a member twice in many":  {many, false},
		"a tuple as key":          {&object.Set{Items: []object.Value{&object.Tuple{Items: []object.Value{one}}}}, true},
		"a list in a key":         {&object.Set{Items: []object.Value{&object.Tuple{Items: []object.Value{list()}}}}, false},
		"a method is no key":      {&object.Set{Items: []object.Value{&object.Method{}}}, false},
		"a missing key in a dict": {&object.Dict{Entries: []object.Entry{{Value: one}}}, false},
	} {
		err := object.Check(c.v)
		if (err == nil) != c.ok || err != nil && batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckSlotName(t *testing.T) {
	for _, good := range []string{"a", "parent*", "setSlot_value_", "größe", strings.Repeat("x", object.MaxSlotName)} {
		if err := object.CheckSlotName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a\x00", "a\n", "\xff", strings.Repeat("x", object.MaxSlotName+1)} {
		if err := object.CheckSlotName(bad); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestEqual(t *testing.T) {
	huge := func() object.Value { return object.BigInt(new(big.Int).Lsh(big.NewInt(3), 90)) }
	// Every value equals itself made anew, and no other.
	values := func() []object.Value {
		return []object.Value{
			nil, object.None{}, object.Bool(false), object.Bool(true), object.NewInt(0), object.NewInt(1), huge(),
			object.Float(0), object.Float(math.Copysign(0, -1)), object.Float(1), object.Float(math.NaN()), object.Str(""), object.Str("1"), object.Bytes("1"),
			list(), list(object.NewInt(1)), list(object.NewInt(1), object.NewInt(1)), &object.Tuple{}, &object.Tuple{Items: []object.Value{object.NewInt(1)}},
			&object.Set{}, &object.Dict{}, &object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: huge()}}},
			&object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: object.NewInt(2)}}},
			&object.Method{Selector: "f"}, &object.Method{Selector: "g"}, object.Ref(1), object.Tree(1), object.Counter(1), object.Time(1),
			object.Primitive("1"), object.Blob{Size: 1}, object.Blob{Size: 2},
		}
	}
	a, b := values(), values()
	for i := range a {
		for j := range b {
			if got := object.Equal(a[i], b[j]); got != (i == j) {
				t.Errorf("Equal(%s, %s) is %v", object.Text(a[i], 40), object.Text(b[j], 40), got)
			}
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		v     object.Value
		limit int
		want  string
	}{
		{nil, 40, "absent"},
		{object.Float(2), 40, "2.0"},
		{object.Float(1e300), 40, "1e+300"},
		{object.Float(math.Inf(-1)), 40, "-Inf"},
		{object.Str("a\"b"), 40, `"a\"b"`},
		{object.Bytes("\x00é"), 40, `b"\x00\u00e9"`},
		{list(object.NewInt(1), object.Str("x")), 40, `[1, "x"]`},
		{&object.Tuple{Items: []object.Value{object.None{}}}, 40, "(None,)"},
		{&object.Dict{Entries: []object.Entry{{Key: object.Str("k"), Value: object.Bool(true)}}}, 40, `{"k": True}`},
		{object.Ref(0x12a), 40, "<0x12a>"},
		{&object.Method{Selector: "f", Author: batos.Persona}, 40, "<method f by persona>"},
		{object.Time(0), 40, "1970-01-01T00:00:00Z"},
		{object.Str(strings.Repeat("é", 100)), 10, "\"éééé…"},
		{list(object.NewInt(123456), object.NewInt(123456)), 9, "[123456, …"},
		{object.BigInt(new(big.Int).Lsh(big.NewInt(1), 1_000_000)), 40, "<int of 1000001 bits>"},
		{nested(60), 10, "[[[[[[[[[[…"},
	} {
		if got := object.Text(c.v, c.limit); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	s := object.NewState(object.Open, batos.Person, object.Slot{Name: "count", Value: object.NewInt(1)}, object.Slot{Name: "parent*", Value: object.Ref(1)})
	if got, want := object.Describe(0x12a, "counter", s), "<0x12a counter: count, parent*>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := object.Describe(0x12a, "", nil), "<0x12a>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestStatesAreImmutable(t *testing.T) {
	s := object.NewState(object.Open, batos.Person)
	var all []*object.State
	for n := range 30 {
		all = append(all, s)
		s = s.With(fmt.Sprintf("s%d", n%20), object.NewInt(int64(n)))
	}
	for n, s := range all {
		want := min(n, 20)
		if len(s.Slots()) != want {
			t.Fatalf("after %d writes there are %d slots", n, len(s.Slots()))
		}
		for k := range n {
			v, _ := s.Slot(fmt.Sprintf("s%d", k%20))
			if last := k + (n-1-k)/20*20; !object.Equal(v, object.NewInt(int64(last))) {
				t.Fatalf("after %d writes s%d holds %s", n, k%20, object.Text(v, 9))
			}
		}
	}
	gone := s.Without("s3")
	if gone.Index("s3") >= 0 || s.Index("s3") < 0 || s.Without("never") != s {
		t.Error("Without is not a copy without the slot")
	}
}

// world is objects by their parents; an object has a slot of its own name.
type world map[batos.OID][]batos.OID

func (w world) heap(oid batos.OID) (*object.State, error) {
	parents, ok := w[oid]
	if !ok {
		return nil, batos.Errorf(batos.NotFound, "there is no object %s", oid)
	}
	var refs []object.Value
	for _, p := range parents {
		refs = append(refs, object.Ref(p))
	}
	return object.NewState(object.Open, batos.Person,
		object.Slot{Name: oid.String(), Value: object.NewInt(int64(oid))}, object.Slot{Name: "all", Value: object.Ref(oid)},
		object.Slot{Name: "parent*", Value: list(refs...)}), nil
}

func TestLookupOrder(t *testing.T) {
	deep := world{}
	var line []batos.OID
	for n := batos.OID(1); n <= 1000; n++ {
		deep[n] = []batos.OID{n + 1, 1}
		line = append(line, n)
	}
	deep[1000] = nil
	for name, c := range map[string]struct {
		w    world
		want []batos.OID
	}{
		"alone":              {world{1: nil}, []batos.OID{1}},
		"depth first":        {world{1: {2, 4}, 2: {3}, 3: nil, 4: nil}, []batos.OID{1, 2, 3, 4}},
		"a diamond":          {world{1: {2, 3}, 2: {4}, 3: {4}, 4: nil}, []batos.OID{1, 2, 4, 3}},
		"a circle":           {world{1: {2}, 2: {3}, 3: {1}}, []batos.OID{1, 2, 3}},
		"itself":             {world{1: {1}}, []batos.OID{1}},
		"a long line of own": {deep, line},
	} {
		got, err := object.Heap(c.w.heap).Order(1)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestFindAndResend(t *testing.T) {
	h := object.Heap(world{1: {2, 3}, 2: {4}, 3: {9}, 4: nil}.heap)
	at := batos.OID(0)
	for _, want := range []batos.OID{1, 2, 4, 3} {
		_, holder, ok, err := h.FindAfter(1, at, "all")
		if err != nil || !ok || holder != want {
			t.Fatalf("after %s: %s, %v, %v; want %s", at, holder, ok, err, want)
		}
		at = holder
	}
	if v, holder, ok, err := h.Find(1, "0x4"); err != nil || !ok || holder != 4 || !object.Equal(v, object.NewInt(4)) {
		t.Errorf("0x4 in %s: %v, %v", holder, ok, err)
	}
	if _, _, _, err := h.Find(1, "nothing"); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("a search that gets to a missing parent: %v", err)
	}
}

func TestClone(t *testing.T) {
	s := object.NewState(object.Sealed, batos.Genesis,
		object.Slot{Name: "a", Value: list(object.Tree(5))}, object.Slot{Name: "_v_cache", Value: object.NewInt(1)},
		object.Slot{Name: "parent*", Value: object.Ref(3)}, object.Slot{Name: "d", Value: &object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: object.Tree(6)}}}})
	c := s.Clone(batos.Persona, "m1")
	if c.Protection != object.Open || c.Creator != batos.Persona || c.CreatedBy != "m1" || c.Index("_v_cache") >= 0 || len(c.Slots()) != 3 {
		t.Errorf("a clone is %+v", c)
	}
	copied, err := c.MapTrees(func(tr object.Tree) (object.Tree, error) { return tr + 10, nil })
	if err != nil {
		t.Fatal(err)
	}
	a, _ := copied.Slot("a")
	d, _ := copied.Slot("d")
	if got := object.Text(list(a, d), 80); got != "[[<tree 0xf>], {1: <tree 0x10>}]" {
		t.Errorf("with trees exchanged: %s", got)
	}
	if old, _ := c.Slot("a"); !object.Equal(old, list(object.Tree(5))) {
		t.Error("the original changed")
	}
	same, err := c.MapTrees(func(tr object.Tree) (object.Tree, error) { return tr, nil })
	if err != nil || same != c {
		t.Error("a state in which nothing changes was copied")
	}
}
