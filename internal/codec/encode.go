package codec

import (
	"encoding/binary"
	"math"
	"math/big"

	"batos/object"
)

// AppendValue appends the encoding of v to b. A nil is written as None.
func AppendValue(b []byte, v object.Value) []byte {
	switch v := v.(type) {
	case nil, object.None:
		return append(b, 0xc0)
	case object.Bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case object.Int:
		if i, ok := v.Int64(); ok {
			return appendInt(b, i)
		}
		return appendBig(b, v.Big())
	case object.Float:
		bits := math.Float64bits(float64(v))
		if v != v {
			bits = math.Float64bits(math.NaN())
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcb), bits)
	case object.Str:
		return appendStr(b, string(v))
	case object.Bytes:
		return appendBin(b, string(v))
	case *object.List:
		return appendValues(b, v.Items)
	case *object.Dict:
		b = appendMap(b, len(v.Entries))
		for _, e := range v.Entries {
			b = AppendValue(b, e.Key)
			b = AppendValue(b, e.Value)
		}
		return b
	case *object.Tuple:
		return appendExt(b, ExtTuple, func(b []byte) []byte { return appendValues(b, v.Items) })
	case *object.Set:
		return appendExt(b, ExtSet, func(b []byte) []byte { return appendValues(b, v.Items) })
	case object.Ref:
		return appendWord(b, ExtRef, uint64(v))
	case *object.Method:
		return appendExt(b, ExtMethod, func(b []byte) []byte { return appendMethod(b, v) })
	case object.Primitive:
		return append(appendExtHeader(b, ExtPrimitive, len(v)), v...)
	case object.Blob:
		b = append(appendExtHeader(b, ExtBlob, len(v.Hash)+8), v.Hash[:]...)
		return binary.BigEndian.AppendUint64(b, uint64(v.Size))
	case object.Tree:
		return appendWord(b, ExtTree, uint64(v))
	case object.Counter:
		return appendWord(b, ExtCounter, uint64(v))
	case object.Time:
		return appendWord(b, ExtTime, uint64(v))
	}
	panic("codec: a value of no known kind")
}

func appendValues(b []byte, items []object.Value) []byte {
	b = appendArray(b, len(items))
	for _, it := range items {
		b = AppendValue(b, it)
	}
	return b
}

func appendMethod(b []byte, m *object.Method) []byte {
	b = appendArray(b, 7)
	b = appendStr(b, string(m.Selector))
	b = appendStr(b, m.Source)
	b = appendInt(b, int64(m.Author))
	b = appendStr(b, m.AuthorName)
	b = appendUint(b, uint64(m.Mission))
	b = appendUint(b, uint64(m.Provenance))
	return appendInt(b, int64(m.Version))
}

// appendBig writes an integer beyond 64 bits.
func appendBig(b []byte, i *big.Int) []byte {
	mag := i.Bytes()
	b = appendExtHeader(b, ExtBigInt, 1+len(mag))
	if i.Sign() < 0 {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return append(b, mag...)
}

func appendInt(b []byte, i int64) []byte {
	switch {
	case i >= 0:
		return appendUint(b, uint64(i))
	case i >= -32:
		return append(b, byte(i))
	case i >= math.MinInt8:
		return append(b, 0xd0, byte(i))
	case i >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(i))
	case i >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(i))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(i))
}

func appendUint(b []byte, u uint64) []byte {
	switch {
	case u < 0x80:
		return append(b, byte(u))
	case u <= math.MaxUint8:
		return append(b, 0xcc, byte(u))
	case u <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(u))
	case u <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), u)
}

func appendStr(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	default:
		b = appendLen(b, n, 0xd9, 0xda, 0xdb)
	}
	return append(b, s...)
}

func appendBin(b []byte, s string) []byte {
	return append(appendLen(b, len(s), 0xc4, 0xc5, 0xc6), s...)
}

// binHeader is how many bytes are before the n of appendBin.
func binHeader(n int) int {
	switch {
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

func appendArray(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return appendLen(b, n, 0, 0xdc, 0xdd)
}

func appendMap(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return appendLen(b, n, 0, 0xde, 0xdf)
}

// appendLen writes a length behind the tag of its width; a tag of 0 says that
// there is no 8-bit form.
func appendLen(b []byte, n int, tag8, tag16, tag32 byte) []byte {
	switch {
	case n <= math.MaxUint8 && tag8 != 0:
		return append(b, tag8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, tag16), uint16(n))
	case uint64(n) <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, tag32), uint32(n))
	}
	panic("codec: a value of 4 GiB or more")
}

func appendExtHeader(b []byte, code byte, n int) []byte {
	switch n {
	case 1:
		b = append(b, 0xd4)
	case 2:
		b = append(b, 0xd5)
	case 4:
		b = append(b, 0xd6)
	case 8:
		b = append(b, 0xd7)
	case 16:
		b = append(b, 0xd8)
	default:
		b = appendLen(b, n, 0xc7, 0xc8, 0xc9)
	}
	return append(b, code)
}

func appendWord(b []byte, code byte, u uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xd7, code), u)
}

// appendExt writes an extension whose length is known only once it is
// written: the payload goes behind room for the longest header, and moves up.
func appendExt(b []byte, code byte, payload func([]byte) []byte) []byte {
	const longest = 6
	start := len(b)
	b = append(b, make([]byte, longest)...)
	b = payload(b)
	n := len(b) - start - longest
	var room [longest]byte
	head := appendExtHeader(room[:0], code, n)
	copy(b[start:], head)
	copy(b[start+len(head):], b[start+longest:])
	return b[:start+len(head)+n]
}
