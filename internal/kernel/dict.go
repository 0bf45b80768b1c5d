package kernel

import (
	"batos"
	"batos/object"
)

// dict builds a dict value with string keys, in the order given.
type dict struct{ entries []object.Entry }

func (d *dict) set(key string, v object.Value) *dict {
	d.entries = append(d.entries, object.Entry{Key: object.Str(key), Value: v})
	return d
}
func (d *dict) str(key, v string) *dict       { return d.set(key, object.Str(v)) }
func (d *dict) int(key string, v int64) *dict { return d.set(key, object.NewInt(v)) }
func (d *dict) bool(key string, v bool) *dict { return d.set(key, object.Bool(v)) }
func (d *dict) ref(key string, oid batos.OID) *dict {
	if oid == 0 {
		return d.set(key, object.None{})
	}
	return d.set(key, object.Ref(oid))
}
func (d *dict) value() *object.Dict { return &object.Dict{Entries: d.entries} }

// fields reads a dict with string keys; a missing or wrong entry reads as the
// zero value.
type fields struct{ d *object.Dict }

func fieldsOf(v object.Value) fields {
	d, _ := v.(*object.Dict)
	return fields{d}
}

func (f fields) get(key string) object.Value {
	if f.d == nil {
		return nil
	}
	for _, e := range f.d.Entries {
		if k, ok := e.Key.(object.Str); ok && string(k) == key {
			return e.Value
		}
	}
	return nil
}
func (f fields) str(key string) string    { return strOf(f.get(key)) }
func (f fields) int(key string) int64     { return intOf(f.get(key)) }
func (f fields) ref(key string) batos.OID { return refOf(f.get(key)) }
func (f fields) list(key string) []object.Value {
	return itemsOf(f.get(key))
}

func strOf(v object.Value) string { s, _ := v.(object.Str); return string(s) }
func refOf(v object.Value) batos.OID {
	r, _ := v.(object.Ref)
	return batos.OID(r)
}
func intOf(v object.Value) int64 {
	switch v := v.(type) {
	case object.Int:
		i, _ := v.Int64()
		return i
	case object.Counter:
		return int64(v)
	}
	return 0
}
func itemsOf(v object.Value) []object.Value {
	switch v := v.(type) {
	case *object.List:
		return v.Items
	case *object.Tuple:
		return v.Items
	}
	return nil
}
func strList(items []string) *object.List {
	l := &object.List{Items: make([]object.Value, len(items))}
	for i, s := range items {
		l.Items[i] = object.Str(s)
	}
	return l
}
func stringsOf(v object.Value) []string {
	var out []string
	for _, it := range itemsOf(v) {
		out = append(out, strOf(it))
	}
	return out
}
