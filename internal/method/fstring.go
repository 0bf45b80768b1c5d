package method

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.starlark.net/syntax"

	"batos"
)

// F-strings are lowered in two passes. Before parsing, each is masked by a
// plain literal of the same extent, so that every position in the tree is that
// of the source. After parsing, the lowerer puts a call in the literal's
// place: FString(part, …), where a part is a string literal or
// FField(value, conversion, spec); the fields are parsed at their own
// positions. Fields may hold f-strings again.
const (
	// FString is the function that an f-string is lowered to a call of. No
	// program can type its name; the call has no effect but its value.
	FString = "·fstring"
	// FField is the function that a replacement field is lowered to a call
	// of: value, "r", "s" or "" and the format spec.
	FField = "·field"
)

// place is a line and column, both from 1.
type place struct{ line, col int32 }

type fstring struct {
	raw   bool
	quote string
	parts []fpart
}

// fpart is a piece of text, or a replacement field if expr is not empty.
type fpart struct {
	text string // as in the source, but for {{ and }}
	at   place  // of expr
	expr string
	self string // for {expr=}: the text that precedes the value
	conv string // "r", "s" or ""
	spec []fpart
}

type masker struct {
	name   string
	src    string
	i      int
	at     place
	out    strings.Builder
	found  map[place]*fstring
	fields int
}

// maskFStrings replaces the f-strings of src, which begins at the given
// position, and gives them by the position of their prefix.
func maskFStrings(name, src string, at place, depth int) (string, map[place]*fstring, error) {
	m := masker{name: name, src: src, at: at, found: map[place]*fstring{}}
	for m.i < len(m.src) {
		c := m.src[m.i]
		switch {
		case c == '#':
			for m.i < len(m.src) && m.src[m.i] != '\n' {
				m.copyRune()
			}
		case c == '"' || c == '\'':
			if err := m.skipString(m.copyRune); err != nil {
				return "", nil, err
			}
		case isWord(c):
			j := m.i
			for j < len(m.src) && isWord(m.src[j]) {
				j++
			}
			if j < len(m.src) && (m.src[j] == '"' || m.src[j] == '\'') {
				if raw, ok := fPrefix(m.src[m.i:j]); ok {
					if depth >= maxFStrings {
						return "", nil, m.errorf("f-strings nested too deep")
					}
					if err := m.fstring(j-m.i, raw); err != nil {
						return "", nil, err
					}
					continue
				}
			}
			for m.i < j {
				m.copyRune()
			}
		default:
			m.copyRune()
		}
	}
	return m.out.String(), m.found, nil
}

func fPrefix(word string) (raw, ok bool) {
	switch strings.ToLower(word) {
	case "f":
		return false, true
	case "fr", "rf":
		return true, true
	}
	return false, false
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

func (m *masker) errorf(format string, args ...any) error {
	return errAt(syntax.MakePosition(&m.name, m.at.line, m.at.col), batos.Invalid, format, args...)
}

func (m *masker) next() string {
	_, n := utf8.DecodeRuneInString(m.src[m.i:])
	s := m.src[m.i : m.i+n]
	m.i += n
	if s == "\n" {
		m.at.line++
		m.at.col = 1
	} else {
		m.at.col++
	}
	return s
}

// copyRune passes one rune on; maskRune replaces it by one as wide.
func (m *masker) copyRune() { m.out.WriteString(m.next()) }

func (m *masker) maskRune() {
	if s := m.next(); s == "\n" {
		m.out.WriteByte('\n')
	} else {
		m.out.WriteByte('x')
	}
}

func (m *masker) ahead(p string) bool { return strings.HasPrefix(m.src[m.i:], p) }

// quote is the delimiter at the current position: one or three quotes.
func (m *masker) quote(i int) string {
	q := m.src[i : i+1]
	if t := q + q + q; strings.HasPrefix(m.src[i:], t) {
		return t
	}
	return q
}

// skipString passes a plain string, with what take does to each rune.
func (m *masker) skipString(take func()) error {
	start := *m
	q := m.quote(m.i)
	for range q {
		take()
	}
	for m.i < len(m.src) {
		switch {
		case m.ahead(q):
			for range q {
				take()
			}
			return nil
		case m.src[m.i] == '\\' && m.i+1 < len(m.src):
			take()
		case m.src[m.i] == '\n' && len(q) == 1:
			return start.errorf("unexpected newline in string")
		}
		take()
	}
	return start.errorf("unexpected end of file in string")
}

// fstring reads one f-string. Its mask begins where the prefix begins, so
// that a statement keeps its indentation.
func (m *masker) fstring(prefix int, raw bool) error {
	f := &fstring{raw: raw, quote: m.quote(m.i + prefix)}
	at := m.at
	m.fields = 0
	m.out.WriteString(f.quote)
	for range prefix + len(f.quote) {
		m.next()
	}
	for range prefix {
		m.out.WriteByte('x')
	}
	parts, err := m.parts(f.quote, raw, false)
	if err != nil {
		return err
	}
	f.parts = parts
	for range f.quote {
		m.copyRune()
	}
	m.found[at] = f
	return nil
}

// parts reads text and fields up to the closing quote, or in a format spec up
// to the closing brace.
func (m *masker) parts(q string, raw, inSpec bool) (ps []fpart, err error) {
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			ps = append(ps, fpart{text: text.String()})
			text.Reset()
		}
	}
	for {
		switch {
		case m.i >= len(m.src):
			return nil, m.errorf("unexpected end of file in f-string")
		case m.ahead(q):
			if inSpec {
				return nil, m.errorf("f-string: missing '}'")
			}
			flush()
			return ps, nil
		case len(q) == 1 && m.src[m.i] == '\n':
			return nil, m.errorf("unexpected newline in f-string")
		case inSpec && m.src[m.i] == '}':
			flush()
			return ps, nil
		case !inSpec && (m.ahead("{{") || m.ahead("}}")):
			text.WriteByte(m.src[m.i])
			m.maskRune()
			m.maskRune()
		case m.src[m.i] == '}':
			return nil, m.errorf("f-string: single '}' is not allowed; write }}")
		case m.src[m.i] == '{':
			if m.fields++; m.fields > maxFields {
				return nil, m.errorf("f-string: more than %d fields", maxFields)
			}
			flush()
			m.maskRune()
			p, err := m.field(q, raw, inSpec)
			if err != nil {
				return nil, err
			}
			ps = append(ps, p)
		case m.src[m.i] == '\\' && m.i+1 < len(m.src):
			if m.src[m.i+1] == '\n' && len(q) == 1 {
				return nil, m.errorf("f-string: a line break needs triple quotes")
			}
			text.WriteString(m.src[m.i : m.i+1])
			m.maskRune()
			start := m.i
			m.maskRune()
			text.WriteString(m.src[start:m.i])
		default:
			if m.src[m.i] == q[0] && !raw { // one quote among three
				text.WriteByte('\\')
			}
			start := m.i
			m.maskRune()
			text.WriteString(m.src[start:m.i])
		}
	}
}

// field reads a replacement field after its opening brace.
func (m *masker) field(q string, raw, inSpec bool) (p fpart, err error) {
	p.at = m.at
	start, depth := m.i, 0
	for {
		if m.i >= len(m.src) || len(q) == 1 && m.src[m.i] == '\n' {
			return p, m.errorf("f-string: missing '}'")
		}
		c := m.src[m.i]
		switch {
		case c == '"' || c == '\'':
			if err := m.skipString(m.maskRune); err != nil {
				return p, err
			}
			continue
		case c == '#':
			return p, m.errorf("f-string: a field cannot hold a comment")
		case c == '\\':
			return p, m.errorf("f-string: a field cannot hold a backslash")
		case c == '(' || c == '[' || c == '{':
			depth++
		case depth > 0:
			if c == ')' || c == ']' || c == '}' {
				depth--
			}
		case c == '}' || c == ':' || c == '!' && !m.ahead("!="):
			if err := m.expr(&p, m.src[start:m.i]); err != nil {
				return p, err
			}
			return p, m.tail(&p, q, raw, inSpec)
		}
		m.maskRune()
	}
}

// expr takes the expression of a field, and the = of {expr=}.
func (m *masker) expr(p *fpart, src string) error {
	trimmed := strings.TrimRight(src, " ")
	if head, ok := strings.CutSuffix(trimmed, "="); ok && head != "" && !strings.ContainsAny(head[len(head)-1:], "=!<>") {
		p.self, p.conv, src = src, "r", head
	}
	if strings.TrimSpace(src) == "" {
		return m.errorf("f-string: empty field")
	}
	p.expr = src
	return nil
}

// tail reads what may follow the expression: !r, !s and a format spec.
func (m *masker) tail(p *fpart, q string, raw, inSpec bool) (err error) {
	if m.src[m.i] == '!' {
		m.maskRune()
		if !m.ahead("r") && !m.ahead("s") {
			return m.errorf("f-string: the conversion is !r or !s")
		}
		p.conv = m.src[m.i : m.i+1]
		m.maskRune()
	}
	if m.ahead(":") {
		if inSpec {
			return m.errorf("f-string: format specs nested too deep")
		}
		m.maskRune()
		if p.spec, err = m.parts(q, raw, true); err != nil {
			return err
		}
		if p.self != "" && p.conv == "r" {
			p.conv = ""
		}
	}
	if !m.ahead("}") {
		return m.errorf("f-string: missing '}'")
	}
	m.maskRune()
	return nil
}

// lowerer replaces masked literals by calls.
type lowerer struct {
	name  string
	found map[place]*fstring
	depth int
}

func (l *lowerer) lower(f *fstring, parts []fpart, pos syntax.Position) (syntax.Expr, error) {
	var args []syntax.Expr
	for _, p := range parts {
		if p.expr == "" {
			e, err := l.text(f, p.text, pos)
			if err != nil {
				return nil, err
			}
			args = append(args, e)
			continue
		}
		if p.self != "" {
			args = append(args, stringLit(p.self, pos))
		}
		at := syntax.MakePosition(&l.name, p.at.line, p.at.col)
		value, err := l.value(p)
		if err != nil {
			return nil, err
		}
		var spec syntax.Expr = stringLit("", at)
		if len(p.spec) > 0 {
			if spec, err = l.lower(f, p.spec, at); err != nil {
				return nil, err
			}
		}
		args = append(args, callOf(FField, at, value, stringLit(p.conv, at), spec))
	}
	return callOf(FString, pos, args...), nil
}

// text unescapes a piece of text as the scanner would.
func (l *lowerer) text(f *fstring, text string, pos syntax.Position) (syntax.Expr, error) {
	if f.raw {
		return stringLit(text, pos), nil
	}
	src := f.quote + text + f.quote
	e, err := options.ParseExpr(l.name, syntax.FilePortion{Content: []byte(src), FirstLine: pos.Line, FirstCol: pos.Col}, 0)
	if err != nil {
		return nil, sourceError(l.name, err)
	}
	lit, ok := e.(*syntax.Literal)
	if !ok {
		return nil, errAt(pos, batos.Invalid, "f-string: cannot read %s", shorten(strconv.Quote(text)))
	}
	return lit, nil
}

// value parses the expression of a field. Parentheses around it make line
// breaks and leading blanks harmless.
func (l *lowerer) value(p fpart) (syntax.Expr, error) {
	at := place{p.at.line, p.at.col - 1}
	masked, found, err := maskFStrings(l.name, "("+p.expr+")", at, l.depth+1)
	if err != nil {
		return nil, err
	}
	e, err := options.ParseExpr(l.name, syntax.FilePortion{Content: []byte(masked), FirstLine: at.line, FirstCol: at.col}, 0)
	if err != nil {
		return nil, sourceError(l.name, err)
	}
	inner := lowerer{name: l.name, found: found, depth: l.depth + 1}
	return e, inner.expr(&e)
}

func callOf(name string, pos syntax.Position, args ...syntax.Expr) *syntax.CallExpr {
	return &syntax.CallExpr{Fn: &syntax.Ident{Name: name, NamePos: pos}, Lparen: pos, Args: args, Rparen: pos}
}

func stringLit(s string, pos syntax.Position) *syntax.Literal {
	return &syntax.Literal{Token: syntax.STRING, TokenPos: pos, Raw: strconv.Quote(s), Value: s}
}

func (l *lowerer) stmts(list []syntax.Stmt) error {
	if len(l.found) == 0 {
		return nil
	}
	for _, s := range list {
		if err := l.stmt(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *lowerer) stmt(s syntax.Stmt) error {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		return l.each(&s.LHS, &s.RHS)
	case *syntax.DefStmt:
		if err := l.list(s.Params); err != nil {
			return err
		}
		return l.stmts(s.Body)
	case *syntax.ExprStmt:
		return l.expr(&s.X)
	case *syntax.IfStmt:
		if err := l.expr(&s.Cond); err != nil {
			return err
		}
		if err := l.stmts(s.True); err != nil {
			return err
		}
		return l.stmts(s.False)
	case *syntax.ForStmt:
		if err := l.each(&s.Vars, &s.X); err != nil {
			return err
		}
		return l.stmts(s.Body)
	case *syntax.WhileStmt:
		if err := l.expr(&s.Cond); err != nil {
			return err
		}
		return l.stmts(s.Body)
	case *syntax.ReturnStmt:
		return l.expr(&s.Result)
	case *syntax.BranchStmt, *syntax.LoadStmt:
		return nil
	}
	return fmt.Errorf("unknown statement %T", s)
}

func (l *lowerer) list(es []syntax.Expr) error {
	for i := range es {
		if err := l.expr(&es[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *lowerer) each(es ...*syntax.Expr) error {
	for _, e := range es {
		if err := l.expr(e); err != nil {
			return err
		}
	}
	return nil
}

func (l *lowerer) expr(p *syntax.Expr) error {
	switch e := (*p).(type) {
	case nil, *syntax.Ident:
		return nil
	case *syntax.Literal:
		at := place{e.TokenPos.Line, e.TokenPos.Col}
		f := l.found[at]
		if f == nil {
			return nil
		}
		call, err := l.lower(f, f.parts, e.TokenPos)
		*p = call
		return err
	case *syntax.ParenExpr:
		return l.expr(&e.X)
	case *syntax.UnaryExpr:
		return l.expr(&e.X)
	case *syntax.DotExpr:
		return l.expr(&e.X)
	case *syntax.LambdaExpr:
		if err := l.list(e.Params); err != nil {
			return err
		}
		return l.expr(&e.Body)
	case *syntax.BinaryExpr:
		return l.each(&e.X, &e.Y)
	case *syntax.IndexExpr:
		return l.each(&e.X, &e.Y)
	case *syntax.DictEntry:
		return l.each(&e.Key, &e.Value)
	case *syntax.CondExpr:
		return l.each(&e.Cond, &e.True, &e.False)
	case *syntax.SliceExpr:
		return l.each(&e.X, &e.Lo, &e.Hi, &e.Step)
	case *syntax.ListExpr:
		return l.list(e.List)
	case *syntax.TupleExpr:
		return l.list(e.List)
	case *syntax.DictExpr:
		return l.list(e.List)
	case *syntax.CallExpr:
		if err := l.expr(&e.Fn); err != nil {
			return err
		}
		return l.list(e.Args)
	case *syntax.Comprehension:
		if err := l.expr(&e.Body); err != nil {
			return err
		}
		for _, c := range e.Clauses {
			switch c := c.(type) {
			case *syntax.ForClause:
				if err := l.each(&c.Vars, &c.X); err != nil {
					return err
				}
			case *syntax.IfClause:
				if err := l.expr(&c.Cond); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return fmt.Errorf("unknown expression %T", *p)
}
