package codec

import (
	"testing"

	"batos"
	"batos/object"
)

// BenchmarkState encodes and decodes an object like many.
func BenchmarkState(b *testing.B) {
	s := object.NewState(object.Open, batos.Person,
		object.Slot{Name: "parent*", Value: object.Ref(1)}, object.Slot{Name: "count", Value: object.NewInt(123_456)},
		object.Slot{Name: "total", Value: object.Counter(0)}, object.Slot{Name: "name", Value: object.Str("thing number 123456")},
		object.Slot{Name: "tags", Value: &object.List{Items: []object.Value{object.Str("a"), object.Str("b")}}},
	)
	data := EncodeState(s)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			EncodeState(s)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeState(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
