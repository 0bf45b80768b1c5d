package method

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
)

// Program is one compiled method. It is immutable and may be run by any
// number of goroutines at once.
type Program struct {
	fn   *starlark.Function
	sig  signature
	doc  string
	hash [32]byte
}

// signature is what a method's def line says.
type signature struct {
	sel             batos.Selector
	names           []string // without self; those after required have defaults
	required        int
	kwonly          []kwonly
	varargs, kwargs bool
}

type kwonly struct {
	name     string
	optional bool
}

// Compile makes a program of one method: source is exactly one
// "def selector(self, …):". name is what positions in errors begin with,
// usually the selector. The error is a *batos.Error with code Invalid for
// source that is wrong and Limit for source that is too large or too deep;
// its text begins with the position.
func Compile(name, source string) (*Program, error) { return compileAt(name, source, 1) }

// compileAt compiles a method whose first line has the given number.
func compileAt(name, source string, line int32) (p *Program, err error) {
	// The interpreter's resolver and compiler panic on trees they do not
	// expect. No source may end the process, whatever we overlooked.
	defer func() {
		if e := recover(); e != nil {
			p, err = nil, batos.Errorf(batos.Invalid, "%s: %s: %v", name, internalError, e)
		}
	}()
	def, err := parseMethod(name, source, line)
	if err != nil {
		return nil, err
	}
	sig, err := signatureOf(def)
	if err != nil {
		return nil, err
	}
	file, err := rewrite(name, def)
	if err != nil {
		return nil, err
	}
	prog, err := starlark.FileProgram(file, universe.Has)
	if err != nil {
		return nil, sourceError(name, err)
	}
	thread := &starlark.Thread{Name: name}
	globals, err := prog.Init(thread, universe)
	if err != nil {
		return nil, sourceError(name, err)
	}
	globals.Freeze()
	fn, ok := globals[methodName].(*starlark.Function)
	if !ok {
		return nil, errAt(def.Def, batos.Invalid, "no method %s", def.Name.Name)
	}
	return &Program{fn: fn, sig: sig, doc: docOf(def.Body), hash: sha256.Sum256([]byte(source))}, nil
}

// internalError begins the text of an error that is the compiler's own fault.
const internalError = "internal error of the compiler"

// Selector is the name the def line gives.
func (p *Program) Selector() batos.Selector { return p.sig.sel }

// Params are the parameters after self that can be given by position: the
// first required of them have no default. varargs and kwargs say whether the
// method takes *args and **kwargs. Keyword-only parameters are not listed.
func (p *Program) Params() (names []string, required int, varargs, kwargs bool) {
	return p.sig.names, p.sig.required, p.sig.varargs, p.sig.kwargs
}

// Doc is the string literal that begins the body, or "".
func (p *Program) Doc() string { return p.doc }

// Hash is SHA-256 of the source.
func (p *Program) Hash() [32]byte { return p.hash }

// Signature reads the def line of a method without compiling it: its selector
// and the parameters after self as they are written ("n", "by=1", "*rest").
func Signature(source string) (sel batos.Selector, params []string, err error) {
	def, err := parseMethod("method", source, 1)
	if err != nil {
		return "", nil, err
	}
	sig, err := signatureOf(def)
	if err != nil {
		return "", nil, err
	}
	return sig.sel, spell(def.Params[1:]), nil
}

func spell(params []syntax.Expr) []string {
	out := make([]string, 0, len(params))
	for _, p := range params {
		switch p := p.(type) {
		case *syntax.Ident:
			out = append(out, p.Name)
		case *syntax.BinaryExpr:
			out = append(out, p.X.(*syntax.Ident).Name+"="+spellLiteral(p.Y))
		case *syntax.UnaryExpr:
			s := p.Op.String()
			if id, ok := p.X.(*syntax.Ident); ok {
				s += id.Name
			}
			out = append(out, s)
		}
	}
	return out
}

// spellLiteral writes a default back as source; [isLiteral] says what can
// come here.
func spellLiteral(e syntax.Expr) string {
	list := func(open string, es []syntax.Expr, end string) string {
		parts := make([]string, len(es))
		for i, x := range es {
			parts[i] = spellLiteral(x)
		}
		return open + strings.Join(parts, ", ") + end
	}
	switch e := e.(type) {
	case *syntax.Literal:
		return e.Raw
	case *syntax.Ident:
		return e.Name
	case *syntax.ParenExpr:
		return "(" + spellLiteral(e.X) + ")"
	case *syntax.UnaryExpr:
		return e.Op.String() + spellLiteral(e.X)
	case *syntax.ListExpr:
		return list("[", e.List, "]")
	case *syntax.TupleExpr:
		return list("", e.List, "")
	case *syntax.DictExpr:
		return list("{", e.List, "}")
	case *syntax.DictEntry:
		return spellLiteral(e.Key) + ": " + spellLiteral(e.Value)
	}
	return "…"
}

func signatureOf(def *syntax.DefStmt) (signature, error) {
	sel, err := batos.ParseSelector(def.Name.Name)
	if err != nil {
		return signature{}, errAt(def.Name.NamePos, batos.Invalid, "%s", err)
	}
	if len(def.Params) == 0 {
		return signature{}, errAt(def.Lparen, batos.Invalid, "the first parameter of a method is self")
	}
	if id, ok := def.Params[0].(*syntax.Ident); !ok || id.Name != "self" {
		return signature{}, errAt(syntax.Start(def.Params[0]), batos.Invalid, "the first parameter of a method is self")
	}
	s := signature{sel: sel}
	star := false
	for _, p := range def.Params[1:] {
		name, optional := "", false
		switch p := p.(type) {
		case *syntax.Ident:
			name = p.Name
		case *syntax.BinaryExpr:
			if !isLiteral(p.Y) {
				return signature{}, errAt(syntax.Start(p.Y), batos.Invalid, "a default of a method's parameter is a literal; compute it in the body")
			}
			name, optional = p.X.(*syntax.Ident).Name, true
		case *syntax.UnaryExpr:
			if p.Op == syntax.STARSTAR {
				s.kwargs = true
			} else {
				star, s.varargs = true, p.X != nil
			}
			continue
		}
		if star {
			s.kwonly = append(s.kwonly, kwonly{name, optional})
			continue
		}
		s.names = append(s.names, name)
		if !optional {
			s.required = len(s.names)
		}
	}
	return s, nil
}

// isLiteral says whether e is data without any computation.
func isLiteral(e syntax.Expr) bool {
	all := func(es []syntax.Expr) bool {
		for _, x := range es {
			if !isLiteral(x) {
				return false
			}
		}
		return true
	}
	switch e := e.(type) {
	case *syntax.Literal:
		return true
	case *syntax.Ident:
		return isConstant(e.Name)
	case *syntax.ParenExpr:
		return isLiteral(e.X)
	case *syntax.UnaryExpr:
		return (e.Op == syntax.MINUS || e.Op == syntax.PLUS) && e.X != nil && isLiteral(e.X)
	case *syntax.ListExpr:
		return all(e.List)
	case *syntax.TupleExpr:
		return all(e.List)
	case *syntax.DictExpr:
		return all(e.List)
	case *syntax.DictEntry:
		return isLiteral(e.Key) && isLiteral(e.Value)
	}
	return false
}

func isConstant(name string) bool { return name == "None" || name == "True" || name == "False" }

// checkArity says whether a call fits, before it is made, so that a wrong
// call is told from a failure of the method itself.
func (p *Program) checkArity(args starlark.Tuple, kwargs []starlark.Tuple) error {
	s := &p.sig
	if len(kwargs) == 0 && len(s.kwonly) == 0 && len(args) >= s.required && (len(args) <= len(s.names) || s.varargs) {
		return nil
	}
	if len(args) > len(s.names) && !s.varargs {
		return p.arity("got %d arguments", len(args))
	}
	given := make(map[string]bool, len(kwargs))
	for _, kv := range kwargs {
		name := string(kv[0].(starlark.String))
		at := index(s.names, name)
		if given[name] || at >= 0 && at < len(args) {
			return p.arity("got %s twice", name)
		}
		if at < 0 && !s.kwargs && !s.hasKwonly(name) {
			return p.arity("there is no %s", shorten(name))
		}
		given[name] = true
	}
	for i := len(args); i < s.required; i++ {
		if !given[s.names[i]] {
			return p.arity("%s is missing", s.names[i])
		}
	}
	for _, k := range s.kwonly {
		if !k.optional && !given[k.name] {
			return p.arity("%s= is missing", k.name)
		}
	}
	return nil
}

func (s *signature) hasKwonly(name string) bool {
	for _, k := range s.kwonly {
		if k.name == name {
			return true
		}
	}
	return false
}

func index(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// arity is the error of a call that does not fit.
func (p *Program) arity(format string, args ...any) error {
	s := &p.sig
	words := append([]string(nil), s.names[:s.required]...)
	for _, n := range s.names[s.required:] {
		words = append(words, n+"=…")
	}
	if s.varargs {
		words = append(words, "*…")
	}
	for _, k := range s.kwonly {
		words = append(words, k.name+"=…")
	}
	if s.kwargs {
		words = append(words, "**…")
	}
	return batos.Errorf(batos.Arity, "%s takes (%s): %s", s.sel, strings.Join(words, ", "), fmt.Sprintf(format, args...))
}

// docOf gives the string literal that begins a body.
func docOf(body []syntax.Stmt) string {
	if len(body) == 0 {
		return ""
	}
	if s, ok := body[0].(*syntax.ExprStmt); ok {
		if lit, ok := s.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
			return strings.TrimSpace(lit.Value.(string))
		}
	}
	return ""
}
