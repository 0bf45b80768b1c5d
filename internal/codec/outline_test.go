package codec

import (
	"bytes"
	"testing"

	"batos"
	"batos/object"
)

// sameOutline compares what an outline shows of a record with what decoding
// it gives.
func sameOutline(t *testing.T, data []byte, s *object.State) {
	t.Helper()
	o, err := OutlineOf(data)
	if err != nil || o.Protection != s.Protection {
		t.Fatalf("%x: %v, protection %v instead of %v", data, err, o.Protection, s.Protection)
	}
	for _, sl := range s.Slots() {
		if !o.Next() || string(o.Name) != sl.Name || !bytes.Equal(o.Value, EncodeValue(sl.Value)) {
			t.Fatalf("%x: slot %q shows as %q %x", data, sl.Name, o.Name, o.Value)
		}
		if _, is := sl.Value.(*object.Method); is != IsMethod(o.Value) {
			t.Fatalf("%x: slot %q is a method: %v", data, sl.Name, is)
		}
		if IsMethod(o.Value) && !MayHoldMethod(data) {
			t.Fatalf("%x: the method in slot %q is overlooked", data, sl.Name)
		}
	}
	if o.Next() || o.Err() != nil {
		t.Fatalf("%x: after the last slot: %q, %v", data, o.Name, o.Err())
	}
}

func TestOutline(t *testing.T) {
	all := []object.Slot{{Name: "empty", Value: &object.List{}}, {Name: "long", Value: object.Str(bytes.Repeat([]byte("x"), 70_000))}}
	for i, v := range seeds() {
		name := string(rune('a' + i))
		all = append(all, object.Slot{Name: name, Value: v}, object.Slot{Name: name + "s", Value: &object.List{Items: []object.Value{v, &object.Tuple{Items: []object.Value{v}}}}})
	}
	s := object.NewState(object.Sealed, batos.Persona, all...)
	s.CreatedBy = "m1"
	data := EncodeState(s)
	sameOutline(t, data, s)
	if n := testing.AllocsPerRun(100, func() {
		o, _ := OutlineOf(data)
		for o.Next() {
		}
	}); n > 0 {
		t.Errorf("looking through a record allocates %v times", n)
	}
	for cut := 0; cut < len(data); cut += 1 + cut/2000*997 { // finely where it is dense
		o, err := OutlineOf(data[:cut:cut])
		for err == nil && o.Next() {
		}
		if err == nil && o.Err() == nil {
			t.Fatalf("a record cut at %d of %d bytes goes unnoticed", cut, len(data))
		}
	}
	if _, err := OutlineOf(EncodeRoot(Root{Top: 1, Count: 1})); batos.CodeOf(err) != batos.Corrupt {
		t.Errorf("a tree taken for an object: %v", err)
	}
}

// TestMayHoldMethod makes methods of every length of head, and records that hold
// none.
func TestMayHoldMethod(t *testing.T) {
	record := func(v object.Value) []byte {
		return EncodeState(object.NewState(object.Open, batos.Person, object.Slot{Name: "m", Value: v}))
	}
	for _, n := range []int{0, 1, 2, 3, 4, 8, 100, 300, 70_000} {
		if !MayHoldMethod(record(&object.Method{Source: string(bytes.Repeat([]byte("x"), n))})) {
			t.Errorf("a method with a source of %d bytes is overlooked", n)
		}
	}
	for _, v := range []object.Value{object.Str("five"), object.NewInt(5), object.Ref(5), object.Counter(5)} {
		if MayHoldMethod(record(v)) {
			t.Errorf("%v may hold a method", v)
		}
	}
}
