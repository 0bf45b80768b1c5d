package codec

import (
	"bytes"

	"batos"
	"batos/object"
)

// Outline is the record of an object looked through without decoding it: for
// those who see very many and need little of each. It allocates nothing. It
// notices when the parts do not fit together, but not everything that
// [DecodeState] refuses.
//
//	for o.Next() {
//		use o.Name and o.Value
//	}
//	err := o.Err()
type Outline struct {
	Protection object.Protection
	Name       []byte // of the slot that Next came to, part of the record
	Value      []byte // its value as [DecodeValue] takes it, part of the record

	d    decoder
	left int // slots to come
}

// OutlineOf begins to look through an object's record. Another kind of record
// is an error.
func OutlineOf(data []byte) (o Outline, err error) {
	k, err := KindOf(data)
	if err != nil {
		return o, err
	}
	if k != KindObject {
		return o, batos.Errorf(batos.Corrupt, "a record of kind %q stands where %q is needed", byte(k), byte(KindObject))
	}
	o.d = decoder{b: data, i: 2}
	o.d.tuple(4)
	o.Protection = object.Protection(o.d.small(uint64(object.Sealed)))
	o.d.small(uint64(batos.Person))
	o.d.rawStr()
	o.left = o.d.mapLen()
	return o, o.d.err
}

// Next goes to the next slot, false after the last.
func (o *Outline) Next() bool {
	o.Name, o.Value = nil, nil
	if o.d.err != nil || o.left == 0 {
		return false
	}
	o.left--
	name := o.d.rawStr()
	at := o.d.i
	o.d.skip()
	if o.d.err != nil {
		return false
	}
	o.Name, o.Value = name, o.d.b[at:o.d.i:o.d.i]
	return true
}

// Err tells, after Next was false, what does not fit together.
func (o *Outline) Err() error { return o.d.end() }

// MayHoldMethod reports whether a method may be among the values in a record:
// false is certain, without looking at what the bytes mean, and quick. True is
// worth an [Outline].
func MayHoldMethod(data []byte) bool {
	for at := 0; ; at++ {
		i := bytes.IndexByte(data[at:], ExtMethod)
		if i < 0 {
			return false
		}
		at += i
		before := func(n int) byte { // the head of an extension, as extLen reads it
			if at < n {
				return 0
			}
			return data[at-n]
		}
		if t := before(1); t >= 0xd4 && t <= 0xd8 || before(2) == 0xc7 || before(3) == 0xc8 || before(5) == 0xc9 {
			return true
		}
	}
}

// IsMethod reports whether a value's bytes are those of a method.
func IsMethod(value []byte) bool {
	d := decoder{b: value}
	switch d.peek() {
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xc7, 0xc8, 0xc9:
		code, _ := d.extLen()
		return d.err == nil && code == ExtMethod
	}
	return false
}

// skip goes past one value. What is inside an extension it does not look at.
func (d *decoder) skip() {
	for left := 1; left > 0 && d.err == nil; left-- {
		switch t := d.peek(); {
		case d.i >= len(d.b):
			d.fail("it ends too early")
		case t < 0x80, t >= 0xe0, t == 0xc0, t == 0xc2, t == 0xc3:
			d.i++
		case t&0xe0 == 0xa0, t >= 0xd9 && t <= 0xdb:
			d.rawStr()
		case t >= 0xcc && t <= 0xcf:
			d.take(1 + 1<<(t-0xcc))
		case t >= 0xd0 && t <= 0xd3:
			d.take(1 + 1<<(t-0xd0))
		case t == 0xcb:
			d.take(9)
		case t >= 0xc4 && t <= 0xc6:
			d.bin()
		case t&0xf0 == 0x90, t == 0xdc, t == 0xdd:
			left += d.arrayLen()
		case t&0xf0 == 0x80, t == 0xde, t == 0xdf:
			left += 2 * d.mapLen()
		default:
			_, n := d.extLen()
			d.take(n)
		}
	}
}
