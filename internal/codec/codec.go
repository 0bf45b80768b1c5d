// Package codec gives everything an image stores its one canonical form in
// bytes, and reads it back without trusting it.
//
// The form is MessagePack. Equal values have equal bytes: integers and lengths
// take their shortest encoding, floats are 64 bits wide with a single NaN, and
// dicts, sets and slots keep their order. What MessagePack has no type for is
// an extension; see [ExtBigInt] and those after it. The decoders refuse every
// other form of the same value, bytes left over, lengths beyond the input,
// text that is not UTF-8 and nesting beyond [object.MaxDepth]; they never
// panic, and never allocate more than a small multiple of the input. Their
// errors have code corrupt, or newer_format.
//
// A record starts with two bytes: its [Kind] and [Version]. There are four:
//
//   - [KindObject]: [EncodeState], [DecodeState]. An array of protection,
//     creator, the message that made it, and a map from slot name to value.
//   - [KindTree]: [Root], the fixed point of a persistent ordered map.
//   - [KindLeaf] and [KindInner]: [Leaf] and [Inner], its pages.
//
// Keys of trees have a form of their own, [EncodeKey], whose bytes sort as the
// keys do. [EncodeValue] and [EncodeArgs] carry no header: what they are part
// of has one.
package codec

import (
	"batos"
	"batos/object"
)

// Kind is the first byte of a record.
type Kind byte

// The kinds of record.
const (
	KindObject Kind = 'O'
	KindTree   Kind = 'T'
	KindLeaf   Kind = 'L'
	KindInner  Kind = 'I'
)

// Version is the second byte of a record. A decoder refuses newer ones.
const Version = 1

// Codes of the MessagePack extensions, with what they carry.
const (
	ExtBigInt    = 1  // sign (0 or 1) and magnitude, big-endian, of an int beyond 64 bits
	ExtTuple     = 2  // an array
	ExtSet       = 3  // an array
	ExtRef       = 4  // oid, 8 bytes big-endian
	ExtMethod    = 5  // an array of selector, source, author, author's name, mission, provenance, version
	ExtPrimitive = 6  // its name
	ExtBlob      = 7  // SHA-256, then the size in 8 bytes
	ExtTree      = 8  // oid, 8 bytes
	ExtCounter   = 9  // int64, 8 bytes
	ExtTime      = 10 // microseconds since 1970, int64, 8 bytes
)

// KindOf gives the kind of a record.
func KindOf(data []byte) (Kind, error) {
	if len(data) < 2 {
		return 0, batos.Errorf(batos.Corrupt, "a record of %d bytes is too short to be one", len(data))
	}
	k := Kind(data[0])
	switch k {
	case KindObject, KindTree, KindLeaf, KindInner:
	default:
		return 0, batos.Errorf(batos.Corrupt, "a record begins with %#02x, which is no kind of record", data[0])
	}
	if data[1] > Version {
		return 0, batos.Errorf(batos.NewerFormat, "a record has format %d; this release reads up to %d", data[1], Version)
	}
	if data[1] == 0 {
		return 0, batos.Errorf(batos.Corrupt, "a record has format 0, which never was")
	}
	return k, nil
}

// body gives what follows the header of a record of the given kind.
func body(data []byte, want Kind) (decoder, error) {
	k, err := KindOf(data)
	if err != nil {
		return decoder{}, err
	}
	if k != want {
		return decoder{}, batos.Errorf(batos.Corrupt, "a record of kind %q stands where %q is needed", byte(k), byte(want))
	}
	return decoder{b: data, i: 2}, nil
}

func room(n int) []byte { return make([]byte, 0, n+2) }

func appendHeader(b []byte, k Kind) []byte { return append(b, byte(k), Version) }

// EncodeState gives the record of an object. It encodes whatever it is given;
// what [object.Check] refuses will not decode.
func EncodeState(s *object.State) []byte { return AppendState(room(64*len(s.Slots())+32), s) }

// AppendState appends to b what EncodeState gives.
func AppendState(b []byte, s *object.State) []byte {
	b = appendArray(appendHeader(b, KindObject), 4)
	b = appendInt(b, int64(s.Protection))
	b = appendInt(b, int64(s.Creator))
	b = appendStr(b, string(s.CreatedBy))
	b = appendMap(b, len(s.Slots()))
	for _, sl := range s.Slots() {
		b = appendStr(b, sl.Name)
		b = AppendValue(b, sl.Value)
	}
	return b
}

// DecodeState is the inverse of [EncodeState].
func DecodeState(data []byte) (*object.State, error) {
	s, _, err := DecodeStateIn(data, func(int) (*object.State, []object.Slot) { return &object.State{}, nil })
	return s, err
}

// DecodeStateIn is DecodeState in memory of the caller's: place is called once,
// with the number of slots, and answers where the state goes and, if it likes,
// room for its slots. It is not called for a record that ends before that, and
// after an error what it gave is of no use. Held is the bytes of memory that the
// state takes beside what place gave.
func DecodeStateIn(data []byte, place func(slots int) (*object.State, []object.Slot)) (s *object.State, held int, err error) {
	d, err := body(data, KindObject)
	if err != nil {
		return nil, 0, err
	}
	d.tuple(4)
	protection := object.Protection(d.small(uint64(object.Sealed)))
	creator := batos.Authority(d.small(uint64(batos.Person)))
	by := d.str()
	n := d.mapLen()
	if d.err != nil {
		return nil, 0, d.err
	}
	s, room := place(n)
	slots := d.slots(n, room)
	if err := d.end(); err != nil {
		return nil, 0, err
	}
	s.Init(protection, creator, slots)
	s.CreatedBy = batos.MessageID(by)
	return s, d.held + indexMemory(n), nil
}

// EncodeValue gives one value in bytes. What [object.Check] refuses will not
// decode.
func EncodeValue(v object.Value) []byte { return AppendValue(nil, v) }

// DecodeValue is the inverse of [EncodeValue].
func DecodeValue(data []byte) (object.Value, error) {
	d := decoder{b: data}
	v := d.value()
	if err := d.end(); err != nil {
		return nil, err
	}
	return v, nil
}

// EncodeArgs gives the arguments of a message: an array of those without a
// name and a map of those with one, in order.
func EncodeArgs(args []object.Value, kwargs []object.Slot) []byte {
	b := appendArray(nil, 2)
	b = appendArray(b, len(args))
	for _, v := range args {
		b = AppendValue(b, v)
	}
	b = appendMap(b, len(kwargs))
	for _, kw := range kwargs {
		b = appendStr(b, kw.Name)
		b = AppendValue(b, kw.Value)
	}
	return b
}

// DecodeArgs is the inverse of [EncodeArgs]. No bytes at all are no arguments.
func DecodeArgs(data []byte) ([]object.Value, []object.Slot, error) {
	if len(data) == 0 {
		return nil, nil, nil
	}
	d := &decoder{b: data}
	d.tuple(2)
	args := d.values(d.arrayLen())
	kwargs := d.slots(d.mapLen(), nil)
	if err := d.end(); err != nil {
		return nil, nil, err
	}
	return args, kwargs, nil
}
