package wire

import (
	"encoding/json"
	"testing"

	"batos"
	"batos/object"
)

// Answers show objects with everything that a slot may hold, and clients read
// them.
func TestEveryValueComesBack(t *testing.T) {
	for _, v := range []object.Value{
		object.None{}, object.Bool(true), object.NewInt(-3), object.NewInt(1 << 60), object.Float(0.5), object.Str("text"), object.Bytes("\x00\xff"),
		object.Ref(7), object.Tree(8), object.Counter(-9), object.Time(1_700_000_000_123_456), object.Primitive("mind.infer"),
		object.Blob{Hash: [32]byte{1, 2, 3}, Size: 5},
		&object.List{Items: []object.Value{object.Tree(1), object.Primitive("p")}},
		&object.Tuple{Items: []object.Value{object.NewInt(1)}}, &object.Set{Items: []object.Value{object.Str("a")}},
		&object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: object.Str("one")}}},
		&object.Dict{Entries: []object.Entry{{Key: object.Str("$blob"), Value: object.Str("not one")}}},
		&object.Method{Selector: "grow", Source: "def grow(self): pass", Author: batos.Persona, AuthorName: "BRICK", Mission: 12, Version: 2},
	} {
		b, err := json.Marshal(Value{v})
		if err != nil {
			t.Fatal(err)
		}
		var back Value
		if err := json.Unmarshal(b, &back); err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		if !object.Equal(back.Value, v) {
			t.Errorf("%s came back as %s", b, object.Text(back.Value, 80))
		}
	}
	for _, bad := range []string{`{"$tree":3}`, `{"$primitive":3}`, `{"$blob":"00","size":1}`, `{"$blob":"x"}`, `{"$method":1}`, `{"$method":{"$dict":[[1,2],["version",-1]]}}`, `{"$method":{"author":"nobody"}}`} {
		_, err := ParseValue([]byte(bad))
		if batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
