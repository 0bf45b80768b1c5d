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

// textParts collects the pieces of a text and copies them once, at the end.
type textParts struct {
	run   *Run
	parts []string
	total int
}

func (t *textParts) add(s string) error {
	if t.total += len(s); t.total > maxText {
		return t.run.text(t.total)
	}
	t.parts = append(t.parts, s)
	return t.run.charge(cellCost)
}

func (t *textParts) join() (string, error) {
	if err := t.run.text(t.total); err != nil {
		return "", err
	}
	return strings.Join(t.parts, ""), nil
}

// strFormat is str.format, with the specs of f-strings.
func strFormat(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	out := textParts{run: r}
	rest := string(s)
	next := 0
	for {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			if err := out.add(rest); err != nil {
				return nil, err
			}
			text, err := out.join()
			return starlark.String(text), err
		}
		c := rest[i]
		double := i+1 < len(rest) && rest[i+1] == c
		if double {
			i++ // keep one of the two
		}
		if err := out.add(rest[:i]); err != nil {
			return nil, err
		}
		rest = rest[i+1:]
		if double {
			continue
		}
		end := strings.IndexByte(rest, '}')
		if c == '}' || end < 0 {
			return nil, fmt.Errorf("format: single %q in format", c)
		}
		piece, err := r.replacement(rest[:end], &next, args, kwargs)
		if err != nil {
			return nil, err
		}
		if err := out.add(piece); err != nil {
			return nil, err
		}
		rest = rest[end+1:]
	}
}

// replacement is one field of str.format: [name][!conv][:spec]. next counts
// the fields without a name.
func (r *Run) replacement(field string, next *int, args starlark.Tuple, kwargs []starlark.Tuple) (string, error) {
	name, spec, _ := strings.Cut(field, ":")
	name, conv, _ := strings.Cut(name, "!")
	if conv != "" && conv != "r" && conv != "s" {
		return "", fmt.Errorf("format: the conversion is !r or !s, not !%s", shorten(conv))
	}
	at := -1
	if name == "" {
		at = *next
		*next++
	} else if n, err := strconv.Atoi(name); err == nil {
		at = n
	}
	if at >= len(args) {
		return "", fmt.Errorf("format: there is no argument %d", at)
	}
	if at >= 0 {
		return r.format(args[at], conv, spec)
	}
	for _, kv := range kwargs {
		if kv[0] == starlark.Value(starlark.String(name)) {
			return r.format(kv[1], conv, spec)
		}
	}
	return "", fmt.Errorf("format: there is no argument %s", shorten(name))
}

// percent is format % x.
func (r *Run) percent(format string, x starlark.Value) (starlark.Value, error) {
	out := textParts{run: r}
	args, isTuple := x.(starlark.Tuple)
	if !isTuple {
		args = starlark.Tuple{x}
	}
	next := 0
	for {
		before, rest, found := strings.Cut(format, "%")
		if err := out.add(before); err != nil {
			return nil, err
		}
		if !found {
			break
		}
		if format = rest; strings.HasPrefix(format, "%") {
			if err := out.add("%"); err != nil {
				return nil, err
			}
			format = format[1:]
			continue
		}
		var v starlark.Value
		if strings.HasPrefix(format, "(") {
			key, rest, ok := strings.Cut(format[1:], ")")
			d, isDict := x.(*starlark.Dict)
			if !ok || !isDict {
				return nil, fmt.Errorf("%%(name) needs a dict on the right")
			}
			value, ok, err := d.Get(starlark.String(key))
			if err != nil || !ok {
				return nil, fmt.Errorf("key not found: %s", shorten(key))
			}
			v, format, next = value, rest, len(args)
		}
		p, rest, err := percentLayout(format)
		if err != nil {
			return nil, err
		}
		format = rest
		if v == nil {
			if next >= len(args) {
				return nil, fmt.Errorf("not enough arguments for format string")
			}
			v = args[next]
			next++
		}
		piece, err := r.percentField(v, p)
		if err != nil {
			return nil, err
		}
		if err := out.add(piece); err != nil {
			return nil, err
		}
	}
	if _, isDict := x.(*starlark.Dict); next < len(args) && !isDict {
		return nil, fmt.Errorf("too many arguments for format string")
	}
	text, err := out.join()
	return starlark.String(text), err
}

// percentLayout reads [flags][width][.prec]verb.
func percentLayout(s string) (layout, string, error) {
	p := layout{fill: " ", prec: -1, align: '>'}
	whole := s
	for s != "" && strings.IndexByte("-+ #0", s[0]) >= 0 {
		switch s[0] {
		case '-':
			p.align = '<'
		case '+', ' ':
			p.sign = s[0]
		case '#':
			p.alt = true
		case '0':
			p.zero = true
		}
		s = s[1:]
	}
	p.width, s = cutNumber(s)
	if dot, rest := cutByte(s, '.'); dot {
		p.prec, s = cutNumber(rest)
	}
	if s == "" || !strings.ContainsRune("srdiuoxXeEfFgGc", rune(s[0])) {
		return p, s, fmt.Errorf("unknown conversion %%%s", shorten(whole[:min(len(whole), len(whole)-len(s)+1)]))
	}
	if p.width > maxWidth || p.prec > maxPrecision {
		return p, s, batos.Errorf(batos.Limit, "a field is at most %d wide with %d digits", maxWidth, maxPrecision)
	}
	p.verb = s[0]
	return p, s[1:], nil
}

func (r *Run) percentField(v starlark.Value, p layout) (string, error) {
	switch p.verb {
	case 's', 'r':
		print := r.str
		if p.verb == 'r' {
			print = r.repr
		}
		s, err := print(v)
		if err != nil {
			return "", err
		}
		p.verb, p.zero = 's', false
		return r.pad(starlark.String(s), p)
	case 'd', 'i', 'u', 'o', 'x', 'X':
		n, err := starlark.NumberToInt(v)
		if err != nil {
			return "", fmt.Errorf("%%%c needs a number, not a %s", p.verb, v.Type())
		}
		if p.verb == 'i' || p.verb == 'u' {
			p.verb = 'd'
		}
		v, p.prec = n, -1
	case 'c':
		if s, ok := v.(starlark.String); ok && utf8.RuneCountInString(string(s)) == 1 {
			p.verb = 's'
		}
	default:
		if _, ok := starlark.AsFloat(v); !ok {
			return "", fmt.Errorf("%%%c needs a number, not a %s", p.verb, v.Type())
		}
	}
	if p.zero && p.align == '>' {
		p.align = 0
	}
	return r.pad(v, p)
}
