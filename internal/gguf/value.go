package gguf

import (
	"encoding/binary"
	"iter"
	"math"
)

// Value is one metadata value: a scalar, a string, or an array of either. It
// is a view of the header's bytes; arrays are decoded when asked for. The zero
// Value has no type anyone asks for, so every accessor refuses it.
type Value struct {
	typ, elem ValueType
	set       bool
	raw       []byte // a string's text, a scalar's bytes, an array's items
	n         int    // items of an array
}

// Type is the value's type; for an array see [Value.Elem].
func (v Value) Type() ValueType { return v.typ }

// Elem is the type of an array's items, and the length.
func (v Value) Elem() (ValueType, int) { return v.elem, v.n }

// Text gives a string.
func (v Value) Text() (string, bool) {
	if !v.set || v.typ != String {
		return "", false
	}
	return string(v.raw), true
}

// Bool gives a truth value.
func (v Value) Bool() (value, ok bool) {
	if !v.set || v.typ != Bool {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Uint gives an integer of any width that is not negative.
func (v Value) Uint() (uint64, bool) {
	if !v.set {
		return 0, false
	}
	n, ok := integer(v.typ, v.raw)
	return uint64(n), ok && (n >= 0 || v.typ == Uint64)
}

// Float gives a float of either width.
func (v Value) Float() (float64, bool) {
	switch {
	case v.set && v.typ == Float32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw))), true
	case v.set && v.typ == Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.raw)), true
	}
	return 0, false
}

// Strings gives an array of strings, without copying them all at once.
func (v Value) Strings() (iter.Seq2[int, []byte], bool) {
	if !v.set || v.typ != Array || v.elem != String {
		return nil, false
	}
	return func(yield func(int, []byte) bool) {
		raw := v.raw
		for i := range v.n {
			n := binary.LittleEndian.Uint64(raw)
			if !yield(i, raw[8:8+n]) {
				return
			}
			raw = raw[8+n:]
		}
	}, true
}

// Ints gives an array of integers of any width; those of uint64 beyond the
// range of int64 come out negative.
func (v Value) Ints() (iter.Seq2[int, int64], bool) {
	if !v.set || v.typ != Array {
		return nil, false
	}
	size := valueTypes[v.elem].size
	if _, ok := integer(v.elem, make([]byte, size)); !ok {
		return nil, false
	}
	return func(yield func(int, int64) bool) {
		for i := range v.n {
			n, _ := integer(v.elem, v.raw[i*size:(i+1)*size])
			if !yield(i, n) {
				return
			}
		}
	}, true
}

func integer(t ValueType, raw []byte) (int64, bool) {
	le := binary.LittleEndian
	switch t {
	case Uint8:
		return int64(raw[0]), true
	case Int8:
		return int64(int8(raw[0])), true
	case Uint16:
		return int64(le.Uint16(raw)), true
	case Int16:
		return int64(int16(le.Uint16(raw))), true
	case Uint32:
		return int64(le.Uint32(raw)), true
	case Int32:
		return int64(int32(le.Uint32(raw))), true
	case Uint64, Int64:
		return int64(le.Uint64(raw)), true
	}
	return 0, false
}

func scalar(t ValueType, n uint64) Value {
	raw := binary.LittleEndian.AppendUint64(nil, n)
	return Value{typ: t, set: true, raw: raw[:valueTypes[t].size]}
}

// OfUint32 makes a number to write.
func OfUint32(n uint32) Value { return scalar(Uint32, uint64(n)) }

// OfUint64 makes a wide number to write.
func OfUint64(n uint64) Value { return scalar(Uint64, n) }

// OfFloat makes a float32 to write.
func OfFloat(f float32) Value { return scalar(Float32, uint64(math.Float32bits(f))) }

// OfBool makes a truth value to write.
func OfBool(b bool) Value {
	if b {
		return scalar(Bool, 1)
	}
	return scalar(Bool, 0)
}

// OfText makes a string to write.
func OfText(s string) Value { return Value{typ: String, set: true, raw: []byte(s)} }

// OfTexts makes an array of strings to write.
func OfTexts(ss []string) Value {
	v := Value{typ: Array, elem: String, set: true, n: len(ss)}
	for _, s := range ss {
		v.raw = binary.LittleEndian.AppendUint64(v.raw, uint64(len(s)))
		v.raw = append(v.raw, s...)
	}
	return v
}

// OfInts makes an array of integers to write.
func OfInts(ns []int32) Value {
	v := Value{typ: Array, elem: Int32, set: true, n: len(ns)}
	for _, n := range ns {
		v.raw = binary.LittleEndian.AppendUint32(v.raw, uint32(n))
	}
	return v
}

// OfFloats makes an array of floats to write.
func OfFloats(fs []float32) Value {
	v := Value{typ: Array, elem: Float32, set: true, n: len(fs)}
	for _, f := range fs {
		v.raw = binary.LittleEndian.AppendUint32(v.raw, math.Float32bits(f))
	}
	return v
}
