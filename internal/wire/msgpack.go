package wire

import (
	"bytes"
	"io"
	"math"
	"math/big"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"batos"
	"batos/internal/codec"
	"batos/object"
)

// AppendMsgpack appends the MessagePack form of v: plain MessagePack wherever
// it can say it, and the extensions of internal/codec (codes 1 to 10) where it
// cannot.
func AppendMsgpack(b []byte, v object.Value) []byte { return codec.AppendValue(b, v) }

// extTimestamp is MessagePack's own extension for moments.
const extTimestamp = -1

// ParseMsgpack reads one value as any MessagePack library writes it: numbers
// and lengths in any width, MessagePack's own timestamps, and the extensions
// that AppendMsgpack writes, without behaviour. Code invalid says what is
// wrong. Memory is bounded by a multiple of the input.
func ParseMsgpack(data []byte) (object.Value, error) {
	p := unpacker{data: data}
	v, err := p.value(0)
	if err != nil {
		if batos.CodeOf(err) != "" {
			return nil, err
		}
		return nil, batos.Errorf(batos.Invalid, "bad MessagePack at byte %d of %d: %w", p.at, len(data), err)
	}
	if n := len(data) - p.at; n > 0 {
		return nil, batos.Errorf(batos.Invalid, "bad MessagePack: %d bytes follow the value", n)
	}
	return v, nil
}

// unpacker reads a value from data, which it neither changes nor keeps.
type unpacker struct {
	data []byte
	at   int
}

// take gives the next n bytes, of data.
func (p *unpacker) take(n uint64) ([]byte, error) {
	if n > uint64(len(p.data)-p.at) {
		return nil, io.ErrUnexpectedEOF
	}
	b := p.data[p.at : p.at+int(n)]
	p.at += int(n)
	return b, nil
}

// number reads a big-endian number of at most 8 bytes.
func (p *unpacker) number(bytes uint64) (uint64, error) {
	b, err := p.take(bytes)
	return be(b), err
}

// length reads the length that follows the code c; shortest is the code with a
// length of one byte, behind which those with two and four stand.
func (p *unpacker) length(c, shortest byte) (uint64, error) { return p.number(1 << (c - shortest)) }

// room is for n items at first: memory is taken as they come, not as a header
// promises.
func room(n uint64) int { return int(min(n, 16)) }

func (p *unpacker) value(depth int) (object.Value, error) {
	if depth > maxNesting {
		return nil, batos.Errorf(batos.Invalid, "values nest at most %d deep", maxNesting)
	}
	code, err := p.take(1)
	if err != nil {
		return nil, err
	}
	c := code[0]
	switch {
	case c <= msgpcode.PosFixedNumHigh, c >= msgpcode.NegFixedNumLow:
		return object.NewInt(int64(int8(c))), nil
	case msgpcode.IsFixedMap(c):
		return p.dict(uint64(c&msgpcode.FixedMapMask), depth)
	case msgpcode.IsFixedArray(c):
		return p.list(uint64(c&msgpcode.FixedArrayMask), depth)
	case msgpcode.IsFixedString(c):
		return p.text(uint64(c & msgpcode.FixedStrMask))
	case msgpcode.IsFixedExt(c):
		return p.extension(1 << (c - msgpcode.FixExt1))
	}
	var n uint64
	switch c {
	case msgpcode.Nil:
		return object.None{}, nil
	case msgpcode.True, msgpcode.False:
		return object.Bool(c == msgpcode.True), nil
	case msgpcode.Float:
		n, err = p.number(4)
		return object.Float(math.Float32frombits(uint32(n))), err
	case msgpcode.Double:
		n, err = p.number(8)
		return object.Float(math.Float64frombits(n)), err
	case msgpcode.Uint8, msgpcode.Uint16, msgpcode.Uint32, msgpcode.Uint64:
		if n, err = p.length(c, msgpcode.Uint8); n > math.MaxInt64 {
			return object.BigInt(bigOf(n)), err
		}
		return object.NewInt(int64(n)), err
	case msgpcode.Int8, msgpcode.Int16, msgpcode.Int32, msgpcode.Int64:
		unused := 64 - 8<<(c-msgpcode.Int8) // bits; shifted out and in again, with the sign
		n, err = p.length(c, msgpcode.Int8)
		return object.NewInt(int64(n<<unused) >> unused), err
	case msgpcode.Str8, msgpcode.Str16, msgpcode.Str32:
		if n, err = p.length(c, msgpcode.Str8); err != nil {
			return nil, err
		}
		return p.text(n)
	case msgpcode.Bin8, msgpcode.Bin16, msgpcode.Bin32:
		if n, err = p.length(c, msgpcode.Bin8); err != nil {
			return nil, err
		}
		b, err := p.take(n)
		return object.Bytes(b), err // Bytes is text: a copy
	case msgpcode.Array16, msgpcode.Array32:
		if n, err = p.length(c, msgpcode.Array16-1); err != nil {
			return nil, err
		}
		return p.list(n, depth)
	case msgpcode.Map16, msgpcode.Map32:
		if n, err = p.length(c, msgpcode.Map16-1); err != nil {
			return nil, err
		}
		return p.dict(n, depth)
	case msgpcode.Ext8, msgpcode.Ext16, msgpcode.Ext32:
		if n, err = p.length(c, msgpcode.Ext8); err != nil {
			return nil, err
		}
		return p.extension(n)
	}
	return nil, batos.Errorf(batos.Invalid, "bad MessagePack: the code %#x means nothing", c)
}

// known are texts that come with every request of the bridge: they are there
// already.
var known = func() map[string]object.Value {
	m := map[string]object.Value{}
	for _, s := range []string{"command", "send", "token", "ref", "id", "target", "selector", "args", "kwargs", "wait", "notify"} {
		m[s] = object.Str(s)
	}
	return m
}()

func (p *unpacker) text(n uint64) (object.Value, error) {
	b, err := p.take(n)
	if err != nil {
		return nil, err
	}
	if v := known[string(b)]; v != nil {
		return v, nil
	}
	if !utf8.Valid(b) {
		return nil, batos.Errorf(batos.Invalid, "a text is not UTF-8; send bytes as bin")
	}
	return object.Str(b), nil
}

func (p *unpacker) list(n uint64, depth int) (object.Value, error) {
	l := &object.List{}
	if n > 0 {
		l.Items = make([]object.Value, 0, room(n))
	}
	for range n {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, v)
	}
	return l, nil
}

// fewKeys are found one by one faster than in a map.
const fewKeys = 16

func (p *unpacker) dict(n uint64, depth int) (object.Value, error) {
	d := &object.Dict{Entries: make([]object.Entry, 0, room(n))}
	var at map[object.Str]int
	if n > fewKeys {
		at = map[object.Str]int{}
	}
	find := func(s object.Str) (int, bool) {
		if at != nil {
			i, ok := at[s]
			return i, ok
		}
		for i := range d.Entries {
			if k, ok := d.Entries[i].Key.(object.Str); ok && k == s {
				return i, true
			}
		}
		return 0, false
	}
	for range n {
		k, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if err := checkKey(k); err != nil {
			return nil, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if s, ok := k.(object.Str); ok {
			if i, twice := find(s); twice {
				d.Entries[i].Value = v
				continue
			}
			if at != nil {
				at[s] = len(d.Entries)
			}
		}
		d.Entries = append(d.Entries, object.Entry{Key: k, Value: v})
	}
	return d, nil
}

// checkKey accepts what a dict may have as a key.
func checkKey(k object.Value) error {
	switch k.(type) {
	case object.None, object.Bool, object.Int, object.Float, object.Str, object.Bytes, object.Ref, object.Time, *object.Tuple:
		return nil
	}
	return batos.Errorf(batos.Invalid, "a %s cannot be the key of a dict", k.Kind())
}

func (p *unpacker) extension(n uint64) (object.Value, error) {
	kind, err := p.take(1)
	if err != nil {
		return nil, err
	}
	b, err := p.take(n)
	if err != nil {
		return nil, err
	}
	code := int8(kind[0])
	if code == extTimestamp {
		return timestamp(b)
	}
	// The image's own form is the strict one, so it is also the check.
	raw, err := extensionBytes(code, b)
	if err != nil {
		return nil, err
	}
	v, err := codec.DecodeValue(raw)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "the extension %d does not hold what it should: %w", code, err)
	}
	switch v.(type) {
	case *object.Method, object.Primitive:
		return nil, batos.Errorf(batos.Denied, "behaviour cannot be sent as a value; define it with def")
	}
	return v, nil
}

// extensionBytes writes an extension in its shortest form.
func extensionBytes(code int8, b []byte) ([]byte, error) {
	var out bytes.Buffer
	e := msgpack.NewEncoder(&out)
	if err := e.EncodeExtHeader(code, len(b)); err != nil {
		return nil, err
	}
	out.Write(b)
	return out.Bytes(), nil
}

// timestamp reads MessagePack's timestamps of 4, 8 or 12 bytes.
func timestamp(b []byte) (object.Value, error) {
	var sec, nano int64
	switch len(b) {
	case 4:
		sec = int64(be(b))
	case 8:
		v := be(b)
		sec, nano = int64(v&(1<<34-1)), int64(v>>34)
	case 12:
		sec, nano = int64(be(b[4:])), int64(be(b[:4]))
	default:
		return nil, batos.Errorf(batos.Invalid, "a timestamp has 4, 8 or 12 bytes, not %d", len(b))
	}
	if nano >= 1e9 || sec > math.MaxInt64/2_000_000 || sec < math.MinInt64/2_000_000 {
		return nil, batos.Errorf(batos.Invalid, "a timestamp is out of range")
	}
	return object.Time(time.Unix(sec, nano).UnixMicro()), nil
}

// be reads a big-endian number of at most 8 bytes.
func be(b []byte) (u uint64) {
	for _, c := range b {
		u = u<<8 | uint64(c)
	}
	return u
}

func bigOf(u uint64) *big.Int { return new(big.Int).SetUint64(u) }
