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
	r := bytes.NewReader(data)
	p := &unpacker{in: r, d: msgpack.NewDecoder(r)}
	v, err := p.value(0)
	if err != nil {
		if batos.CodeOf(err) != "" {
			return nil, err
		}
		return nil, batos.Errorf(batos.Invalid, "bad MessagePack at byte %d of %d: %w", len(data)-r.Len(), len(data), err)
	}
	if r.Len() > 0 {
		return nil, batos.Errorf(batos.Invalid, "bad MessagePack: %d bytes follow the value", r.Len())
	}
	return v, nil
}

type unpacker struct {
	in *bytes.Reader
	d  *msgpack.Decoder
}

func (p *unpacker) value(depth int) (object.Value, error) {
	if depth > maxNesting {
		return nil, batos.Errorf(batos.Invalid, "values nest at most %d deep", maxNesting)
	}
	c, err := p.d.PeekCode()
	if err != nil {
		return nil, err
	}
	switch {
	case c == msgpcode.Nil:
		return object.None{}, p.d.DecodeNil()
	case c == msgpcode.True, c == msgpcode.False:
		b, err := p.d.DecodeBool()
		return object.Bool(b), err
	case c == msgpcode.Float, c == msgpcode.Double:
		f, err := p.d.DecodeFloat64()
		return object.Float(f), err
	case c == msgpcode.Uint64:
		u, err := p.d.DecodeUint64()
		if u > math.MaxInt64 {
			return object.BigInt(bigOf(u)), err
		}
		return object.NewInt(int64(u)), err
	case msgpcode.IsFixedNum(c), c >= msgpcode.Uint8 && c <= msgpcode.Int64:
		i, err := p.d.DecodeInt64()
		return object.NewInt(i), err
	case msgpcode.IsString(c):
		b, err := p.bytes()
		if err == nil && !utf8.Valid(b) {
			err = batos.Errorf(batos.Invalid, "a text is not UTF-8; send bytes as bin")
		}
		return object.Str(b), err
	case msgpcode.IsBin(c):
		b, err := p.bytes()
		return object.Bytes(b), err
	case msgpcode.IsFixedArray(c), c == msgpcode.Array16, c == msgpcode.Array32:
		n, err := p.d.DecodeArrayLen()
		if err != nil {
			return nil, err
		}
		l := &object.List{}
		for range n {
			v, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			l.Items = append(l.Items, v)
		}
		return l, nil
	case msgpcode.IsFixedMap(c), c == msgpcode.Map16, c == msgpcode.Map32:
		return p.dict(depth)
	case msgpcode.IsExt(c):
		return p.extension()
	}
	return nil, batos.Errorf(batos.Invalid, "bad MessagePack: the code %#x means nothing", c)
}

func (p *unpacker) bytes() ([]byte, error) {
	n, err := p.d.DecodeBytesLen()
	if err != nil {
		return nil, err
	}
	return p.take(n)
}

func (p *unpacker) take(n int) ([]byte, error) {
	if n < 0 || n > p.in.Len() {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	return b, p.d.ReadFull(b)
}

func (p *unpacker) dict(depth int) (object.Value, error) {
	n, err := p.d.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	d := &object.Dict{}
	at := map[object.Str]int{}
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
			if i, twice := at[s]; twice {
				d.Entries[i].Value = v
				continue
			}
			at[s] = len(d.Entries)
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

func (p *unpacker) extension() (object.Value, error) {
	code, n, err := p.d.DecodeExtHeader()
	if err != nil {
		return nil, err
	}
	b, err := p.take(n)
	if err != nil {
		return nil, err
	}
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
