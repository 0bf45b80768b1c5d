package image

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/object"
)

// The text of a value is what the dialect would write, with calls for what it
// has no literal for:
//
//	None True 12 -1.5 float("nan") "text" b"\x00" [1, 2] (1,) {"a": 1} set([1])
//	ref(0x12a) tree(0x12b) counter(3) time("2026-11-23T01:02:03Z")
//	blob("<sha-256>", 1024) primitive("object.clone")
//	method("selector", "person", "ada", 0x0, 0x0, 1, "def selector(self): …")
//
// The numbers of a method are its mission, its provenance and its version. A
// container that is long goes over several lines, one element each.

// lineWidth is the length from which on a container is broken into lines.
const lineWidth = 100

// appendText writes v; what goes over lines is indented by level.
func appendText(b []byte, v object.Value, level int) []byte {
	start := len(b)
	if b = appendFlat(b, v); len(b)-start <= lineWidth {
		return b
	}
	open, end, n := "", "", 0
	var item func(i int)
	switch v := v.(type) {
	case *object.List:
		open, end, n = "[", "]", len(v.Items)
		item = func(i int) { b = appendText(b, v.Items[i], level+1) }
	case *object.Tuple:
		open, end, n = "(", ")", len(v.Items)
		item = func(i int) { b = appendText(b, v.Items[i], level+1) }
	case *object.Set:
		open, end, n = "set([", "])", len(v.Items)
		item = func(i int) { b = appendText(b, v.Items[i], level+1) }
	case *object.Dict:
		open, end, n = "{", "}", len(v.Entries)
		item = func(i int) {
			b = append(appendFlat(b, v.Entries[i].Key), ": "...)
			b = appendText(b, v.Entries[i].Value, level+1)
		}
	}
	if n == 0 {
		return b
	}
	b = append(b[:start], open...)
	for i := range n {
		b = append(append(b, '\n'), strings.Repeat("    ", level+1)...)
		item(i)
		b = append(b, ',')
	}
	b = append(append(b, '\n'), strings.Repeat("    ", level)...)
	return append(b, end...)
}

// appendFlat writes v in one line.
func appendFlat(b []byte, v object.Value) []byte {
	switch v := v.(type) {
	case object.Bool:
		if v {
			return append(b, "True"...)
		}
		return append(b, "False"...)
	case object.Int:
		if n, ok := v.Int64(); ok {
			return strconv.AppendInt(b, n, 10)
		}
		return v.Big().Append(b, 10)
	case object.Float:
		return appendFloatText(b, float64(v))
	case object.Str:
		return strconv.AppendQuote(b, string(v))
	case object.Bytes:
		return strconv.AppendQuoteToASCII(append(b, 'b'), string(v))
	case *object.List:
		return append(appendFlatItems(append(b, '['), v.Items), ']')
	case *object.Tuple:
		b = appendFlatItems(append(b, '('), v.Items)
		if len(v.Items) == 1 {
			b = append(b, ',')
		}
		return append(b, ')')
	case *object.Set:
		return append(appendFlatItems(append(b, "set(["...), v.Items), "])"...)
	case *object.Dict:
		b = append(b, '{')
		for i, e := range v.Entries {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendFlat(b, e.Key), ": "...)
			b = appendFlat(b, e.Value)
		}
		return append(b, '}')
	case object.Ref:
		return append(append(append(b, "ref("...), batos.OID(v).String()...), ')')
	case object.Tree:
		return append(append(append(b, "tree("...), batos.OID(v).String()...), ')')
	case object.Counter:
		return append(strconv.AppendInt(append(b, "counter("...), int64(v), 10), ')')
	case object.Time:
		return appendTimeText(b, v)
	case object.Primitive:
		return append(strconv.AppendQuote(append(b, "primitive("...), string(v)), ')')
	case object.Blob:
		b = append(append(append(b, `blob("`...), hex.EncodeToString(v.Hash[:])...), `", `...)
		return append(strconv.AppendInt(b, v.Size, 10), ')')
	case *object.Method:
		b = append(appendMethodHead(b, v), ", "...)
		return append(strconv.AppendQuote(b, v.Source), ')')
	}
	return append(b, "None"...)
}

func appendFlatItems(b []byte, items []object.Value) []byte {
	for i, it := range items {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendFlat(b, it)
	}
	return b
}

// appendMethodHead writes what comes before a method's source.
func appendMethodHead(b []byte, m *object.Method) []byte {
	b = append(b, "method("...)
	for _, s := range []string{string(m.Selector), m.Author.String(), m.AuthorName} {
		b = append(strconv.AppendQuote(b, s), ", "...)
	}
	for _, oid := range []batos.OID{m.Mission, m.Provenance} {
		b = append(append(b, oid.String()...), ", "...)
	}
	return strconv.AppendInt(b, int64(m.Version), 10)
}

func appendFloatText(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `float("nan")`...)
	case math.IsInf(f, 0):
		return append(strconv.AppendQuote(append(b, "float("...), strconv.FormatFloat(f, 'g', -1, 64)), ')')
	}
	at := len(b)
	if b = strconv.AppendFloat(b, f, 'g', -1, 64); !strings.ContainsAny(string(b[at:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendTimeText(b []byte, t object.Time) []byte {
	s := t.AsTime().Format(time.RFC3339Nano)
	if back, err := time.Parse(time.RFC3339Nano, s); err != nil || back.UnixMicro() != int64(t) {
		s = strconv.FormatInt(int64(t), 10) // microseconds; years of more digits
	}
	return append(strconv.AppendQuote(append(b, "time("...), s), ')')
}

// appendObject writes the file of an object: a heading, then slots in order.
func appendObject(b []byte, oid batos.OID, s *object.State) []byte {
	b = append(append(append(b, "object("...), oid.String()...), ", "...)
	b = append(strconv.AppendQuote(b, s.Protection.String()), ", "...)
	b = append(strconv.AppendQuote(b, s.Creator.String()), ", "...)
	b = append(strconv.AppendQuote(b, string(s.CreatedBy)), ")\n"...)
	for _, sl := range s.Slots() {
		m, isMethod := sl.Value.(*object.Method)
		isMethod = isMethod && strings.HasSuffix(m.Source, "\n")
		if isMethod {
			b = append(b, '\n')
		}
		if isWord(sl.Name) {
			b = append(b, sl.Name...)
		} else {
			b = strconv.AppendQuote(b, sl.Name)
		}
		b = append(b, " = "...)
		if !isMethod {
			b = append(appendText(b, sl.Value, 0), '\n')
			continue
		}
		b = append(appendMethodHead(b, m), ", "...)
		b = strconv.AppendInt(b, int64(strings.Count(m.Source, "\n")), 10)
		b = append(append(b, ")\n"...), m.Source...)
	}
	return b
}

// isWord reports whether a slot's name needs no quotes.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// appendTreeHead begins the file of a tree; an entry a line follows.
func appendTreeHead(b []byte, id batos.OID) []byte {
	return append(append(append(b, "tree("...), id.String()...), ")\n"...)
}

func appendTreeEntry(b []byte, e object.Entry) []byte {
	b = append(appendFlat(b, e.Key), ": "...)
	return append(appendText(b, e.Value, 0), '\n')
}
