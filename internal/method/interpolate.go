package method

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"batos"
)

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
