package method

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"batos"
)

// Text made of values: str, repr, f-strings, str.format and the % operator.
// They share one format-spec language, which is Python's, and one way of
// charging: a value is walked and charged before it is printed.

const (
	maxPrint     = 200  // nesting of what is printed or encoded
	maxWidth     = 4096 // of a formatted field
	maxPrecision = 400
)

// str is str(v).
func (r *Run) str(v starlark.Value) (string, error) {
	switch v := v.(type) {
	case starlark.String:
		return string(v), nil
	case starlark.Bytes:
		if err := r.text(3 * len(v)); err != nil {
			return "", err
		}
		return strings.ToValidUTF8(string(v), "\uFFFD"), nil
	}
	return r.repr(v)
}

// repr is repr(v).
func (r *Run) repr(v starlark.Value) (string, error) {
	w := printWalk{run: r}
	if err := w.walk(v, 0); err != nil {
		return "", err
	}
	return v.String(), nil
}

// printWalk charges the printed size of a value from above.
type printWalk struct {
	run   *Run
	total int
}

func (w *printWalk) take(n int) error {
	if w.total += n; w.total > maxText {
		return w.run.text(w.total)
	}
	return w.run.charge(n)
}

func (w *printWalk) walk(v starlark.Value, depth int) error {
	if depth > maxPrint {
		return w.run.stop(batos.Errorf(batos.Limit, "a value nested more than %d deep cannot be written out", maxPrint))
	}
	switch v := v.(type) {
	case starlark.String:
		return w.take(quotedLen(string(v)))
	case starlark.Bytes:
		return w.take(4*len(v) + 3)
	case starlark.Int:
		return w.take(20 + bits(v)/3)
	case *starlark.List:
		for i := range v.Len() {
			if err := w.walk(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case starlark.Tuple:
		for _, e := range v {
			if err := w.walk(e, depth+1); err != nil {
				return err
			}
		}
	case *starlark.Dict:
		for k, e := range v.Entries() {
			if err := w.walk(k, depth+1); err != nil {
				return err
			}
			if err := w.walk(e, depth+1); err != nil {
				return err
			}
		}
	case *starlark.Set:
		for e := range v.Elements() {
			if err := w.walk(e, depth+1); err != nil {
				return err
			}
		}
	case *starlark.Function, starlark.NoneType, starlark.Bool, starlark.Float:
	default:
		return w.take(200)
	}
	return w.take(24)
}

// quotedLen bounds the length of s as a quoted literal.
func quotedLen(s string) int {
	n := len(s) + 2
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			n += 3
		}
	}
	return n
}

// formatField is the guard of one replacement field: value, conversion, spec.
func formatField(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	s, err := r.format(args[0], string(args[1].(starlark.String)), string(args[2].(starlark.String)))
	return starlark.String(s), err
}

// concat is the guard of an f-string: it joins its parts.
func concat(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	n := 0
	for _, a := range args {
		n += len(a.(starlark.String))
	}
	if err := r.text(n); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(n)
	for _, a := range args {
		b.WriteString(string(a.(starlark.String)))
	}
	return starlark.String(b.String()), nil
}

// format is format(v, spec) after the conversion "r", "s" or "".
func (r *Run) format(v starlark.Value, conv, spec string) (string, error) {
	if conv != "" || spec == "" {
		print := r.str
		if conv == "r" {
			print = r.repr
		}
		s, err := print(v)
		if err != nil || spec == "" {
			return s, err
		}
		v = starlark.String(s)
	}
	p, err := parseSpec(spec)
	if err != nil {
		return "", err
	}
	return r.pad(v, p)
}

// layout is a parsed format spec: [[fill]align][sign][#][0][width][,][.prec][verb].
type layout struct {
	fill  string
	align byte // '<', '>', '^', '=' or 0
	sign  byte // '+', ' ' or 0
	alt   bool
	zero  bool
	group string // ",", "_" or ""
	width int
	prec  int  // -1: none
	verb  byte // 0: none
}

func parseSpec(spec string) (layout, error) {
	p := layout{fill: " ", prec: -1}
	s := spec
	isAlign := func(c byte) bool { return c == '<' || c == '>' || c == '^' || c == '=' }
	if _, n := utf8.DecodeRuneInString(s); n < len(s) && isAlign(s[n]) {
		p.fill, p.align, s = s[:n], s[n], s[n+1:]
	} else if s != "" && isAlign(s[0]) {
		p.align, s = s[0], s[1:]
	}
	if s != "" && (s[0] == '+' || s[0] == '-' || s[0] == ' ') {
		if s[0] != '-' {
			p.sign = s[0]
		}
		s = s[1:]
	}
	p.alt, s = cutByte(s, '#')
	p.zero, s = cutByte(s, '0')
	p.width, s = cutNumber(s)
	if s != "" && (s[0] == ',' || s[0] == '_') {
		p.group, s = s[:1], s[1:]
	}
	if dot, rest := cutByte(s, '.'); dot {
		if rest == "" || rest[0] < '0' || rest[0] > '9' {
			return p, fmt.Errorf("format spec %q: no precision after the point", shorten(spec))
		}
		p.prec, s = cutNumber(rest)
	}
	if s != "" {
		p.verb, s = s[0], s[1:]
	}
	if s != "" || p.verb != 0 && !strings.ContainsRune("sdbcoxXeEfFgGn%", rune(p.verb)) {
		return p, fmt.Errorf("invalid format spec %q", shorten(spec))
	}
	if p.width > maxWidth || p.prec > maxPrecision {
		return p, batos.Errorf(batos.Limit, "format spec %q: a field is at most %d wide with %d digits", shorten(spec), maxWidth, maxPrecision)
	}
	return p, nil
}

func cutByte(s string, c byte) (bool, string) {
	if s != "" && s[0] == c {
		return true, s[1:]
	}
	return false, s
}

// cutNumber reads digits; what is beyond any limit is not read exactly.
func cutNumber(s string) (int, string) {
	n, i := 0, 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), 1<<20)
	}
	return n, s[i:]
}

// pad writes v by a layout.
func (r *Run) pad(v starlark.Value, p layout) (string, error) {
	body, number, err := r.body(v, p)
	if err != nil {
		return "", err
	}
	if number && p.sign != 0 && !strings.HasPrefix(body, "-") {
		body = string(p.sign) + body
	}
	if err := r.work(len(body) / bytesPerStep); err != nil {
		return "", err
	}
	missing := p.width - utf8.RuneCountInString(body)
	if missing <= 0 {
		return body, nil
	}
	align := p.align
	fill := p.fill
	if p.zero && align == 0 && number {
		fill, align = "0", '='
	}
	if align == 0 {
		align = '<'
		if number {
			align = '>'
		}
	}
	if err := r.text(len(body) + missing*len(fill)); err != nil {
		return "", err
	}
	switch align {
	case '<':
		return body + strings.Repeat(fill, missing), nil
	case '^':
		return strings.Repeat(fill, missing/2) + body + strings.Repeat(fill, missing-missing/2), nil
	case '=':
		head := 0
		if number && body != "" && strings.IndexByte("+- ", body[0]) >= 0 {
			head = 1
		}
		return body[:head] + strings.Repeat(fill, missing) + body[head:], nil
	}
	return strings.Repeat(fill, missing) + body, nil
}

// body writes v without padding, and says whether it is a number.
func (r *Run) body(v starlark.Value, p layout) (string, bool, error) {
	if b, ok := v.(starlark.Bool); ok {
		v = starlark.MakeInt(0)
		if b {
			v = starlark.MakeInt(1)
		}
	}
	switch n := v.(type) {
	case starlark.Int:
		if strings.IndexByte("eEfFgG%", p.verb) >= 0 && p.verb != 0 {
			f, ok := starlark.AsFloat(n)
			if !ok || math.IsInf(f, 0) {
				return "", false, fmt.Errorf("int too large to convert to float")
			}
			return floatBody(f, p), true, nil
		}
		s, err := r.intBody(n, p)
		return s, p.verb != 'c', err
	case starlark.Float:
		switch p.verb {
		case 's', 'd', 'b', 'c', 'o', 'x', 'X':
			return "", false, fmt.Errorf("format code %q needs an int, not a float", p.verb)
		case 0:
			if p.prec < 0 {
				return group(n.String(), p.group, 3), true, nil
			}
		}
		return floatBody(float64(n), p), true, nil
	}
	if p.verb != 0 && p.verb != 's' {
		return "", false, fmt.Errorf("format code %q needs a number, not a %s", p.verb, v.Type())
	}
	s, err := r.str(v)
	if err != nil {
		return "", false, err
	}
	if p.prec >= 0 {
		s = firstRunes(s, p.prec)
	}
	return s, false, nil
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func (r *Run) intBody(n starlark.Int, p layout) (string, error) {
	if err := r.charge(32 + bits(n)); err != nil {
		return "", err
	}
	if p.prec >= 0 {
		return "", fmt.Errorf("a precision needs a float; use f")
	}
	base, prefix, every := 10, "", 3
	switch p.verb {
	case 's':
		return "", fmt.Errorf("format code 's' needs a string, not an int")
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'x', 'X':
		base, prefix, every = 16, "0x", 4
	case 'c':
		c, ok := n.Int64()
		if !ok || c < 0 || c > utf8.MaxRune {
			return "", fmt.Errorf("format code 'c' needs a code point")
		}
		return string(rune(c)), nil
	}
	s := n.BigInt().Text(base)
	neg := strings.HasPrefix(s, "-")
	s = group(strings.TrimPrefix(s, "-"), p.group, every)
	if p.alt {
		s = prefix + s
	}
	if p.verb == 'X' {
		s = strings.ToUpper(s)
	}
	if neg {
		s = "-" + s
	}
	return s, nil
}

func floatBody(f float64, p layout) string {
	verb, prec := p.verb, p.prec
	if prec < 0 {
		prec = 6
	}
	var s string
	switch verb {
	case '%':
		s = strconv.FormatFloat(f*100, 'f', prec, 64)
	case 'f', 'F':
		s = strconv.FormatFloat(f, 'f', prec, 64)
	case 'e', 'E':
		s = strconv.FormatFloat(f, 'e', prec, 64)
	default: // g, n, or none with a precision
		s = strconv.FormatFloat(f, 'g', max(1, prec), 64)
		if verb == 0 && !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
	}
	switch {
	case math.IsNaN(f):
		s = "nan"
	case math.IsInf(f, 1):
		s = "inf"
	case math.IsInf(f, -1):
		s = "-inf"
	}
	if verb == 'E' || verb == 'F' || verb == 'G' {
		s = strings.ToUpper(s)
	}
	s = group(s, p.group, 3)
	if verb == '%' {
		s += "%"
	}
	return s
}

// group puts sep between groups of digits before the point.
func group(s, sep string, every int) string {
	if sep == "" {
		return s
	}
	start := 0
	if strings.HasPrefix(s, "-") {
		start = 1
	}
	end := start
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || every == 4 && s[end] >= 'a' && s[end] <= 'f') {
		end++
	}
	var b strings.Builder
	b.WriteString(s[:start])
	for i := start; i < end; i++ {
		if i > start && (end-i)%every == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(s[i])
	}
	b.WriteString(s[end:])
	return b.String()
}
