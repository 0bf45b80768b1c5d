package wire

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/object"
)

func TestMsgpackRoundTrip(t *testing.T) {
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	for _, v := range []object.Value{
		object.None{}, object.Bool(true), object.NewInt(-7), object.NewInt(1 << 60), object.BigInt(huge), object.Float(2.5), object.Str("héllo"),
		object.Bytes("\x00\xff"), object.Ref(0x12a), object.Time(1700000000123456), object.Counter(-3),
		&object.List{Items: []object.Value{object.NewInt(1), object.Str("a")}},
		&object.Tuple{Items: []object.Value{object.NewInt(1), object.None{}}},
		&object.Set{Items: []object.Value{object.Str("x")}},
		&object.Dict{Entries: []object.Entry{{Key: object.Str("k"), Value: object.Float(1)}, {Key: object.NewInt(2), Value: object.None{}}}},
	} {
		got, err := ParseMsgpack(AppendMsgpack(nil, v))
		if err != nil || !object.Equal(got, v) {
			t.Errorf("%s came back as %v, %v", object.Text(v, 80), got, err)
		}
	}
}

// Other libraries write numbers and lengths wider than they need be.
func TestMsgpackOfOthers(t *testing.T) {
	for in, want := range map[string]object.Value{
		"\xcd\x00\x07":                         object.NewInt(7),
		"\xd3\x00\x00\x00\x00\x00\x00\x00\x05": object.NewInt(5),
		"\xff":                                 object.NewInt(-1),
		"\xd0\x80":                             object.NewInt(-128),
		"\xd1\xff\xfe":                         object.NewInt(-2),
		"\xd2\x80\x00\x00\x00":                 object.NewInt(-1 << 31),
		"\xd3\xff\xff\xff\xff\xff\xff\xff\xfd": object.NewInt(-3),
		"\xcc\xff":                             object.NewInt(255),
		"\xce\xff\xff\xff\xff":                 object.NewInt(1<<32 - 1),
		"\xda\x00\x01a":                        object.Str("a"),
		"\xc5\x00\x01\xff":                     object.Bytes("\xff"),
		"\xdc\x00\x01\x01":                     &object.List{Items: []object.Value{object.NewInt(1)}},
		"\xde\x00\x01\x01\x02":                 &object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: object.NewInt(2)}}},
		"\xdf\x00\x00\x00\x01\x01\x02":         &object.Dict{Entries: []object.Entry{{Key: object.NewInt(1), Value: object.NewInt(2)}}},
		"\xc8\x00\x08\x04\x00\x00\x00\x00\x00\x00\x01\x2a": object.Ref(0x12a),
		"\xca\x40\x20\x00\x00":                             object.Float(2.5),
		"\xd9\x01a":                                        object.Str("a"),
		"\xdd\x00\x00\x00\x01\x01":                         &object.List{Items: []object.Value{object.NewInt(1)}},
		"\xcf\xff\xff\xff\xff\xff\xff\xff\xff":             object.BigInt(new(big.Int).SetUint64(1<<64 - 1)),
		"\xd6\xff\x00\x00\x00\x01":                         object.Time(time.Unix(1, 0).UnixMicro()),
		"\x82\xa1a\x01\xa1a\x02":                           &object.Dict{Entries: []object.Entry{{Key: object.Str("a"), Value: object.NewInt(2)}}},
		"\xc7\x08\x04\x00\x00\x00\x00\x00\x00\x01\x2a":     object.Ref(0x12a), // a length in its long form
	} {
		got, err := ParseMsgpack([]byte(in))
		if err != nil || !object.Equal(got, want) {
			t.Errorf("%x: %v, %v; want %s", in, got, err, object.Text(want, 60))
		}
	}
}

func TestMsgpackRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "cut": "\x92\x01", "left over": "\x01\x01", "a reserved code": "\xc1", "a huge array": "\xdd\xff\xff\xff\xff",
		"a huge text": "\xdb\xff\xff\xff\xff", "bytes as text": "\xa1\xff", "a list as key": "\x81\x90\x01", "deep": strings.Repeat("\x91", 100) + "\x01",
		"an unknown extension": "\xd4\x63\x00", "a short oid": "\xd4\x04\x00", "a bad timestamp": "\xd4\xff\x00", "a method": "\xd4\x05\x90",
	} {
		if v, err := ParseMsgpack([]byte(in)); batos.CodeOf(err) != batos.Invalid || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if _, err := ParseMsgpack(AppendMsgpack(nil, object.Primitive("gate.install"))); batos.CodeOf(err) != batos.Denied {
		t.Errorf("a primitive: %v", err)
	}
}

func FuzzMsgpack(f *testing.F) {
	f.Add([]byte("\x82\xa1a\x01\xa1b\x93\x01\x02\xc0"))
	f.Add(AppendMsgpack(nil, object.Ref(7)))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := ParseMsgpack(in)
		if err != nil {
			return
		}
		out := AppendMsgpack(nil, v)
		again, err := ParseMsgpack(out)
		if err != nil {
			t.Fatalf("%x was read as %s, which is not read back: %v", in, object.Text(v, 200), err)
		}
		if !bytes.Equal(AppendMsgpack(nil, again), out) {
			t.Fatalf("%x changes on the way", in)
		}
	})
}
