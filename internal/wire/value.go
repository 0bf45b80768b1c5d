package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"batos"
	"batos/object"
)

// maxNesting bounds how deep values nest, as in slots.
const maxNesting = 64

// maxPlainInt is the largest integer written as a JSON number.
const maxPlainInt = 1 << 53

// AppendValue appends the JSON form of v.
func AppendValue(b []byte, v object.Value) []byte {
	switch v := v.(type) {
	case nil, object.None:
		return append(b, "null"...)
	case object.Bool:
		return strconv.AppendBool(b, bool(v))
	case object.Int:
		i, ok := v.Int64()
		if !ok || i > maxPlainInt || i < -maxPlainInt {
			return appendTag(b, "$int", v.Big().String())
		}
		return strconv.AppendInt(b, i, 10)
	case object.Float:
		return appendFloat(b, float64(v))
	case object.Str:
		return appendString(b, string(v))
	case object.Bytes:
		return appendTag(b, "$bytes", base64.StdEncoding.EncodeToString([]byte(v)))
	case *object.List:
		return appendItems(b, v.Items)
	case *object.Tuple:
		return append(appendItems(append(b, `{"$tuple":`...), v.Items), '}')
	case *object.Set:
		return append(appendItems(append(b, `{"$set":`...), v.Items), '}')
	case *object.Dict:
		return appendDict(b, v)
	case object.Ref:
		return appendTag(b, "$ref", batos.OID(v).String())
	case object.Time:
		return appendTag(b, "$time", v.AsTime().Format(time.RFC3339Nano))
	case object.Tree:
		return appendTag(b, "$tree", batos.OID(v).String())
	case object.Counter:
		return append(strconv.AppendInt(append(b, `{"$counter":`...), int64(v), 10), '}')
	case object.Blob:
		return append(strconv.AppendInt(append(b, `{"$blob":"`+hex.EncodeToString(v.Hash[:])+`","size":`...), v.Size, 10), '}')
	case object.Primitive:
		return appendTag(b, "$primitive", string(v))
	case *object.Method:
		j, _ := json.Marshal(map[string]MethodInfo{"$method": methodInfo(v)}) // strings and numbers always marshal
		return append(b, j...)
	}
	return append(b, "null"...)
}

func appendTag(b []byte, tag, s string) []byte {
	b = append(b, `{"`+tag+`":`...)
	return append(appendString(b, s), '}')
}

func appendString(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	j, _ := json.Marshal(s) // a string always marshals
	return append(b, j...)
}

func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return appendTag(b, "$float", "NaN")
	case math.IsInf(f, 1):
		return appendTag(b, "$float", "+Inf")
	case math.IsInf(f, -1):
		return appendTag(b, "$float", "-Inf")
	}
	at := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !bytes.ContainsAny(b[at:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendItems(b []byte, items []object.Value) []byte {
	b = append(b, '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendValue(b, it)
	}
	return append(b, ']')
}

func appendDict(b []byte, d *object.Dict) []byte {
	plain := true
	for _, e := range d.Entries {
		k, ok := e.Key.(object.Str)
		if !ok || strings.HasPrefix(string(k), "$") {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '{')
		for i, e := range d.Entries {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, string(e.Key.(object.Str))), ':')
			b = AppendValue(b, e.Value)
		}
		return append(b, '}')
	}
	b = append(b, `{"$dict":[`...)
	for i, e := range d.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendValue(append(b, '['), e.Key), ',')
		b = append(AppendValue(b, e.Value), ']')
	}
	return append(b, "]}"...)
}

// Value is a slot value that marshals as this package's JSON.
type Value struct{ object.Value }

func (v Value) MarshalJSON() ([]byte, error) { return AppendValue(nil, v.Value), nil }

// UnmarshalJSON reads what MarshalJSON writes, and plain JSON of people.
func (v *Value) UnmarshalJSON(data []byte) error {
	x, err := ParseValue(data)
	if err == nil {
		v.Value = x
	}
	return err
}

// ParseValue reads one JSON value; code invalid says what is wrong and where.
func ParseValue(data []byte) (object.Value, error) {
	if !utf8.Valid(data) {
		return nil, batos.Errorf(batos.Invalid, "the JSON is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parse(d, 0)
	if err != nil {
		return nil, badJSON(d, err)
	}
	if _, err := d.Token(); err == nil {
		return nil, batos.Errorf(batos.Invalid, "bad JSON: something follows the value at byte %d", d.InputOffset())
	}
	return v, nil
}

func badJSON(d *json.Decoder, err error) error {
	if batos.CodeOf(err) != "" {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return batos.Errorf(batos.Invalid, "bad JSON: it ends in the middle, after %d bytes", d.InputOffset())
	}
	return batos.Errorf(batos.Invalid, "bad JSON at byte %d: %w", d.InputOffset(), err)
}

func parse(d *json.Decoder, depth int) (object.Value, error) {
	if depth > maxNesting {
		return nil, batos.Errorf(batos.Invalid, "values nest at most %d deep", maxNesting)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case nil:
		return object.None{}, nil
	case bool:
		return object.Bool(t), nil
	case string:
		return object.Str(t), nil
	case json.Number:
		return number(string(t))
	case json.Delim:
		if t == '[' {
			l := &object.List{}
			for d.More() {
				it, err := parse(d, depth+1)
				if err != nil {
					return nil, err
				}
				l.Items = append(l.Items, it)
			}
			_, err := d.Token()
			return l, err
		}
		return parseObject(d, depth)
	}
	return nil, fmt.Errorf("unexpected %v", t)
}

func parseObject(d *json.Decoder, depth int) (object.Value, error) {
	dict := &object.Dict{}
	at := map[string]int{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("a key must be a string")
		}
		v, err := parse(d, depth+1)
		if err != nil {
			return nil, err
		}
		if i, twice := at[key]; twice {
			dict.Entries[i].Value = v
			continue
		}
		at[key] = len(dict.Entries)
		dict.Entries = append(dict.Entries, object.Entry{Key: object.Str(key), Value: v})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if len(dict.Entries) > 0 {
		if tag := string(dict.Entries[0].Key.(object.Str)); strings.HasPrefix(tag, "$") {
			return tagged(tag, dict)
		}
	}
	return dict, nil
}

func number(s string) (object.Value, error) {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return object.NewInt(i), nil
		}
		return bigInt(s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "the number %.40s is out of range", s)
	}
	return object.Float(f), nil
}

// maxDigits bounds integers on the wire.
const maxDigits = 4096

func bigInt(s string) (object.Value, error) {
	if len(s) > maxDigits {
		return nil, batos.Errorf(batos.Invalid, "an integer has at most %d digits", maxDigits)
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "%.40q is not an integer", s)
	}
	return object.BigInt(b), nil
}

// blob reads {"$blob": hash in hex, "size": bytes}.
func blob(hash object.Str, d *object.Dict) (object.Value, error) {
	var b object.Blob
	raw, err := hex.DecodeString(string(hash))
	if err == nil && len(raw) == len(b.Hash) && len(d.Entries) == 2 && object.Equal(d.Entries[1].Key, object.Str("size")) {
		n, _ := d.Entries[1].Value.(object.Int)
		if size, fits := n.Int64(); fits && size >= 0 {
			copy(b.Hash[:], raw)
			b.Size = size
			return b, nil
		}
	}
	return nil, batos.Errorf(batos.Invalid, `$blob wants a SHA-256 in hex, and "size" beside it`)
}

// method reads what [MethodInfo] says of one.
func method(v object.Value) (object.Value, error) {
	bad := batos.Errorf(batos.Invalid, "$method wants selector, source, author and version")
	d, ok := v.(*object.Dict)
	if !ok {
		return nil, bad
	}
	m := &object.Method{}
	for _, e := range d.Entries {
		text, _ := e.Value.(object.Str)
		key, _ := e.Key.(object.Str)
		switch key {
		case "selector":
			m.Selector = batos.Selector(text)
		case "source":
			m.Source = string(text)
		case "author":
			a, err := batos.ParseAuthority(string(text))
			if err != nil {
				return nil, err
			}
			m.Author = a
		case "author_name":
			m.AuthorName = string(text)
		case "mission":
			oid, err := batos.ParseOID(string(text))
			if err != nil {
				return nil, err
			}
			m.Mission = oid
		case "version":
			n, _ := e.Value.(object.Int)
			i, fits := n.Int64()
			if !fits || i < 0 || i > math.MaxInt32 {
				return nil, bad
			}
			m.Version = int(i)
		}
	}
	return m, nil
}

func tagged(tag string, d *object.Dict) (object.Value, error) {
	v := d.Entries[0].Value
	text, isText := v.(object.Str)
	bad := func(want string) error { return batos.Errorf(batos.Invalid, "%s wants %s", tag, want) }
	if tag == "$blob" {
		return blob(text, d)
	}
	if len(d.Entries) != 1 {
		return nil, batos.Errorf(batos.Invalid, "an object that begins with %.40q has no other keys", tag)
	}
	switch tag {
	case "$ref":
		if !isText {
			return nil, bad("an oid as a string")
		}
		oid, err := batos.ParseOID(string(text))
		return object.Ref(oid), err
	case "$bytes":
		b, err := base64.StdEncoding.DecodeString(string(text))
		if !isText || err != nil {
			return nil, bad("base64")
		}
		return object.Bytes(b), nil
	case "$int":
		if !isText {
			return nil, bad("digits in a string")
		}
		return bigInt(string(text))
	case "$float":
		switch text {
		case "NaN":
			return object.Float(math.NaN()), nil
		case "+Inf":
			return object.Float(math.Inf(1)), nil
		case "-Inf":
			return object.Float(math.Inf(-1)), nil
		}
		return nil, bad(`"NaN", "+Inf" or "-Inf"`)
	case "$time":
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if !isText || err != nil {
			return nil, bad("a time such as 2026-11-23T01:02:03Z")
		}
		return object.Time(t.UnixMicro()), nil
	case "$counter":
		i, ok := v.(object.Int)
		n, fits := i.Int64()
		if !ok || !fits {
			return nil, bad("a whole number")
		}
		return object.Counter(n), nil
	// Answers hold these. Who takes values from outside refuses them: the kernel.
	case "$tree":
		if !isText {
			return nil, bad("an oid as a string")
		}
		oid, err := batos.ParseOID(string(text))
		return object.Tree(oid), err
	case "$primitive":
		if !isText {
			return nil, bad("a name as a string")
		}
		return object.Primitive(text), nil
	case "$method":
		return method(v)
	}
	l, ok := v.(*object.List)
	switch tag {
	case "$tuple":
		if !ok {
			return nil, bad("a list")
		}
		return &object.Tuple{Items: l.Items}, nil
	case "$set":
		if !ok {
			return nil, bad("a list")
		}
		return &object.Set{Items: l.Items}, nil
	case "$dict":
		if !ok {
			return nil, bad("a list of pairs")
		}
		out := &object.Dict{}
		for _, it := range l.Items {
			pair, ok := it.(*object.List)
			if !ok || len(pair.Items) != 2 {
				return nil, bad("a list of pairs")
			}
			out.Entries = append(out.Entries, object.Entry{Key: pair.Items[0], Value: pair.Items[1]})
		}
		return out, nil
	}
	return nil, batos.Errorf(batos.Invalid, "%.40q is not a tag that can be sent", tag)
}
