package image

import (
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/object"
)

// textReader reads the files of an export. It trusts nothing: every error has
// code invalid and names file and line, nesting is bounded, and memory is a
// small multiple of the input.
type textReader struct {
	name string
	s    string
	i    int
}

// maxDigits bounds a number's length: turning more digits into a number takes
// longer than anybody means.
const maxDigits = 10_000

func (r *textReader) fail(format string, args ...any) error {
	line := 1 + strings.Count(r.s[:min(r.i, len(r.s))], "\n")
	text := batos.Errorf(batos.Invalid, format, args...).Text
	return batos.Errorf(batos.Invalid, "%s:%d: %s", r.name, line, text)
}

// space skips blanks and, with lines set, ends of lines and comments too.
func (r *textReader) space(lines bool) {
	for r.i < len(r.s) {
		switch c := r.s[r.i]; {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
			r.i++
		case lines && c == '#':
			if n := strings.IndexByte(r.s[r.i:], '\n'); n >= 0 {
				r.i += n
			} else {
				r.i = len(r.s)
			}
		default:
			return
		}
	}
}

// take reads c if it comes next, after blanks and ends of lines.
func (r *textReader) take(c byte) bool {
	r.space(true)
	if r.i < len(r.s) && r.s[r.i] == c {
		r.i++
		return true
	}
	return false
}

func (r *textReader) want(c byte) error {
	if !r.take(c) {
		return r.fail("want %q here", c)
	}
	return nil
}

func (r *textReader) done() bool {
	r.space(true)
	return r.i == len(r.s)
}

// endLine demands that nothing follows on this line.
func (r *textReader) endLine() error {
	r.space(false)
	if r.i < len(r.s) && r.s[r.i] == '\r' {
		r.i++
	}
	if r.i < len(r.s) && r.s[r.i] != '\n' && r.s[r.i] != '#' {
		return r.fail("something follows where the line should end")
	}
	for r.i < len(r.s) && r.s[r.i] != '\n' {
		r.i++
	}
	r.i = min(r.i+1, len(r.s))
	return nil
}

// word reads letters, digits and what numbers have besides.
func (r *textReader) word() string {
	r.space(true)
	from := r.i
	for r.i < len(r.s) {
		c := r.s[r.i]
		exponent := r.i > from && (r.s[r.i-1] == 'e' || r.s[r.i-1] == 'E') && r.s[from] <= '9'
		if !(c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			c == '-' && (r.i == from || exponent) || c == '+' && exponent) {
			break
		}
		r.i++
	}
	return r.s[from:r.i]
}

// text reads a quoted string.
func (r *textReader) text() (string, error) {
	r.space(true)
	if r.i >= len(r.s) || r.s[r.i] != '"' {
		return "", r.fail("want a string in double quotes")
	}
	q, err := strconv.QuotedPrefix(r.s[r.i:])
	if err != nil {
		return "", r.fail("a string does not end")
	}
	s, err := strconv.Unquote(q)
	if err != nil {
		return "", r.fail("a string has an escape that there is none of")
	}
	r.i += len(q)
	return s, nil
}

func (r *textReader) int64() (int64, error) {
	w := r.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		return 0, r.fail("want an integer, not %.40q", w)
	}
	return n, nil
}

// oid reads an OID; zero stands for none.
func (r *textReader) oid() (batos.OID, error) {
	w := r.word()
	hexes, ok := strings.CutPrefix(w, "0x")
	n, err := strconv.ParseUint(hexes, 16, 64)
	if !ok || err != nil {
		return 0, r.fail("want an oid such as 0x12a, not %.40q", w)
	}
	return batos.OID(n), nil
}

// value reads one value.
func (r *textReader) value(depth int) (object.Value, error) {
	if depth > object.MaxDepth {
		return nil, r.fail("a value nests deeper than %d levels", object.MaxDepth)
	}
	r.space(true)
	if r.i == len(r.s) {
		return nil, r.fail("a value is missing")
	}
	switch c := r.s[r.i]; {
	case c == '"':
		s, err := r.text()
		return object.Str(s), err
	case c == 'b' && strings.HasPrefix(r.s[r.i:], `b"`):
		r.i++
		s, err := r.text()
		return object.Bytes(s), err
	case c == '[':
		r.i++
		items, _, err := r.items(']', depth)
		return &object.List{Items: items}, err
	case c == '(':
		r.i++
		items, comma, err := r.items(')', depth)
		if err == nil && len(items) == 1 && !comma {
			err = r.fail("a tuple of one needs a comma: (1,)")
		}
		return &object.Tuple{Items: items}, err
	case c == '{':
		r.i++
		return r.dict(depth)
	case c == '-' || c >= '0' && c <= '9':
		return r.number(r.word())
	}
	w := r.word()
	switch w {
	case "None":
		return object.None{}, nil
	case "True", "False":
		return object.Bool(w == "True"), nil
	case "":
		return nil, r.fail("want a value here")
	}
	if err := r.want('('); err != nil {
		return nil, err
	}
	v, err := r.call(w, depth)
	if err != nil {
		return nil, err
	}
	return v, r.want(')')
}

// items reads what is between brackets, up to the closing one.
func (r *textReader) items(end byte, depth int) (items []object.Value, comma bool, err error) {
	for !r.take(end) {
		if len(items) > 0 && !comma {
			return nil, false, r.fail("want a comma or %q here", end)
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		items = append(items, v)
		comma = r.take(',')
	}
	return items, comma, nil
}

func (r *textReader) dict(depth int) (object.Value, error) {
	d := &object.Dict{}
	for comma := true; !r.take('}'); comma = r.take(',') {
		if !comma {
			return nil, r.fail("want a comma or '}' here")
		}
		k, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if err := r.want(':'); err != nil {
			return nil, err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.Entries = append(d.Entries, object.Entry{Key: k, Value: v})
	}
	return d, nil
}

func (r *textReader) number(w string) (object.Value, error) {
	if len(w) > maxDigits {
		return nil, r.fail("a number has more than %d digits", maxDigits)
	}
	if strings.ContainsAny(w, ".eE") {
		f, err := strconv.ParseFloat(w, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, r.fail("%.40q is not a number", w)
		}
		return object.Float(f), nil
	}
	n, ok := new(big.Int).SetString(w, 10)
	if !ok || strings.Contains(w, "_") {
		return nil, r.fail("%.40q is not a number", w)
	}
	return object.BigInt(n), nil
}

// call reads the arguments of a value that has no literal.
func (r *textReader) call(name string, depth int) (object.Value, error) {
	switch name {
	case "ref", "tree":
		oid, err := r.oid()
		if name == "ref" {
			return object.Ref(oid), err
		}
		return object.Tree(oid), err
	case "counter":
		n, err := r.int64()
		return object.Counter(n), err
	case "set":
		if err := r.want('['); err != nil {
			return nil, err
		}
		items, _, err := r.items(']', depth)
		return &object.Set{Items: items}, err
	case "method":
		m, _, err := r.method(false)
		return m, err
	case "primitive", "float", "time", "blob":
		s, err := r.text()
		if err != nil {
			return nil, err
		}
		return r.worded(name, s)
	}
	return nil, r.fail("%.40q is no kind of value", name)
}

// worded reads what begins with a string.
func (r *textReader) worded(name, s string) (object.Value, error) {
	switch name {
	case "primitive":
		return object.Primitive(s), nil
	case "float":
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, r.fail("%.40q is not a float", s)
		}
		return object.Float(f), nil
	case "time":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return object.Time(n), nil
		}
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return nil, r.fail("%.40q is not a time", s)
		}
		return object.Time(t.UnixMicro()), nil
	}
	var b object.Blob
	h, err := hex.DecodeString(s)
	if err != nil || len(h) != len(b.Hash) {
		return nil, r.fail("%.80q is not a SHA-256", s)
	}
	copy(b.Hash[:], h)
	if err := r.want(','); err != nil {
		return nil, err
	}
	b.Size, err = r.int64()
	if err == nil && b.Size < 0 {
		err = r.fail("a blob has no negative size")
	}
	return b, err
}

// method reads the arguments of a method. In a slot of its own the last one
// may be how many lines of source follow.
func (r *textReader) method(slot bool) (m *object.Method, lines int64, err error) {
	var words [3]string
	for i := range words {
		if words[i], err = r.text(); err == nil {
			err = r.want(',')
		}
		if err != nil {
			return nil, 0, err
		}
	}
	m = &object.Method{Selector: batos.Selector(words[0]), AuthorName: words[2]}
	if m.Author, err = batos.ParseAuthority(words[1]); err != nil {
		return nil, 0, r.fail("%s", err)
	}
	for _, oid := range []*batos.OID{&m.Mission, &m.Provenance} {
		if *oid, err = r.oid(); err == nil {
			err = r.want(',')
		}
		if err != nil {
			return nil, 0, err
		}
	}
	version, err := r.int64()
	if err == nil && (version < 0 || version > math.MaxInt32) {
		err = r.fail("%d is no method's version", version)
	}
	if err == nil {
		err = r.want(',')
	}
	if err != nil {
		return nil, 0, err
	}
	m.Version = int(version)
	if r.space(true); slot && r.i < len(r.s) && r.s[r.i] != '"' {
		lines, err = r.int64()
		if err == nil && lines <= 0 {
			err = r.fail("a method has at least one line")
		}
		return m, lines, err
	}
	m.Source, err = r.text()
	return m, 0, err
}

// object reads the file of an object.
func (r *textReader) object() (batos.OID, *object.State, error) {
	if w := r.word(); w != "object" {
		return 0, nil, r.fail("an object's file begins with object(…), not %.40q", w)
	}
	if err := r.want('('); err != nil {
		return 0, nil, err
	}
	oid, err := r.oid()
	var words [3]string
	for i := range words {
		if err == nil {
			err = r.want(',')
		}
		if err == nil {
			words[i], err = r.text()
		}
	}
	if err == nil {
		err = r.want(')')
	}
	if err == nil {
		err = r.endLine()
	}
	if err != nil {
		return 0, nil, err
	}
	protection, ok := protections[words[0]]
	if !ok || oid == 0 {
		return 0, nil, r.fail("the object's oid or protection is none that exists")
	}
	creator, err := batos.ParseAuthority(words[1])
	if err != nil {
		return 0, nil, r.fail("%s", err)
	}
	var slots []object.Slot
	for !r.done() {
		sl, err := r.slot()
		if err != nil {
			return 0, nil, err
		}
		slots = append(slots, sl)
	}
	s := object.NewState(protection, creator, slots...)
	s.CreatedBy = batos.MessageID(words[2])
	if err := checkState(s); err != nil {
		return 0, nil, r.fail("%s", err)
	}
	return oid, s, nil
}

var protections = map[string]object.Protection{"open": object.Open, "protected": object.Protected, "sealed": object.Sealed}

func (r *textReader) slot() (sl object.Slot, err error) {
	if r.s[r.i] == '"' {
		sl.Name, err = r.text()
	} else if sl.Name = r.word(); !isWord(sl.Name) {
		err = r.fail("%.40q is no slot's name", sl.Name)
	}
	if err == nil {
		err = r.want('=')
	}
	if err != nil {
		return sl, err
	}
	r.space(true)
	rest, isMethod := strings.CutPrefix(r.s[r.i:], "method(")
	if !isMethod {
		if sl.Value, err = r.value(0); err == nil {
			err = r.endLine()
		}
		return sl, err
	}
	r.i = len(r.s) - len(rest)
	m, lines, err := r.method(true)
	if err == nil {
		err = r.want(')')
	}
	if err == nil {
		err = r.endLine()
	}
	if err != nil {
		return sl, err
	}
	sl.Value = m
	from := r.i
	for range lines {
		n := strings.IndexByte(r.s[r.i:], '\n')
		if n < 0 {
			return sl, r.fail("the method has fewer than %d lines", lines)
		}
		r.i += n + 1
	}
	if lines > 0 {
		m.Source = r.s[from:r.i]
	}
	return sl, nil
}

// tree reads the file of a tree.
func (r *textReader) tree() (batos.OID, []object.Entry, error) {
	if w := r.word(); w != "tree" {
		return 0, nil, r.fail("a tree's file begins with tree(…), not %.40q", w)
	}
	if err := r.want('('); err != nil {
		return 0, nil, err
	}
	id, err := r.oid()
	if err == nil {
		err = r.want(')')
	}
	if err == nil {
		err = r.endLine()
	}
	if err == nil && id == 0 {
		err = r.fail("oid 0 is no tree")
	}
	var entries []object.Entry
	for err == nil && !r.done() {
		var e object.Entry
		if e.Key, err = r.value(0); err == nil {
			err = r.want(':')
		}
		if err == nil {
			e.Value, err = r.value(0)
		}
		if err == nil {
			err = r.endLine()
		}
		entries = append(entries, e)
	}
	if err != nil {
		return 0, nil, err
	}
	return id, entries, nil
}
