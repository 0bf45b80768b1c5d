package guardian

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"

	"batos"
	"batos/internal/method"
)

// Bounds on the shape of a method. No method by a person comes near them; they
// keep every pass here, and the compiler behind it, linear.
const (
	maxFunctions = 16  // defs and lambdas within each other
	maxBlocks    = 64  // statements within each other
	maxNesting   = 512 // expressions within each other
)

// run audits src into a.report.
func (a *audit) run(src string) {
	if len(src) > method.MaxSource {
		a.find(1, 1, Size, Refusal, "the source has %d bytes; a method may have %d", len(src), method.MaxSource)
		return
	}
	if i := invalidUTF8(src); i >= 0 {
		a.find(int32(1+strings.Count(src[:i], "\n")), 1, Syntax, Refusal, "the source is not UTF-8 text")
		return
	}
	def, err := method.Parse(parsedAs, src)
	if err != nil {
		a.syntaxError(src, err)
		return
	}
	if !a.shallow(def) {
		return
	}
	// Every free name is let through here; rules.go says which are unknown.
	file := &syntax.File{Path: parsedAs, Stmts: []syntax.Stmt{def}, Options: dialect}
	if err := resolve.File(file, func(string) bool { return true }, func(string) bool { return false }); err != nil {
		a.resolveErrors(err)
		return
	}
	a.signature(def)
	a.rules(def)
	a.covenant(def)
}

// parsedAs is the file name that positions of the source begin with.
const parsedAs = "method"

// dialect are the parts of the language that the resolver lets through.
var dialect = &syntax.FileOptions{Set: true, While: true, Recursion: true}

func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

func (a *audit) syntaxError(src string, err error) {
	line, col, msg := position(err.Error())
	if h := syntaxHint(src, int(line)); h != "" {
		msg += ": " + h
	} else if strings.Contains(msg, " one def ") {
		msg += ": write def " + a.wanted()
	}
	a.find(line, col, Syntax, Refusal, "%s", msg)
}

// position takes "method:LINE:COL: text" apart; line is 0 if there is none.
func position(text string) (line, col int32, msg string) {
	rest, ok := strings.CutPrefix(text, parsedAs+":")
	if !ok {
		return 0, 0, text
	}
	parts := strings.SplitN(rest, ":", 3)
	if len(parts) == 3 {
		l, err1 := strconv.Atoi(parts[0])
		c, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil {
			return int32(l), int32(c), strings.TrimSpace(parts[2])
		}
	}
	return 0, 0, strings.TrimSpace(rest)
}

func (a *audit) resolveErrors(err error) {
	var list resolve.ErrorList
	if !errors.As(err, &list) {
		a.find(1, 1, Syntax, Refusal, "%s", err)
		return
	}
	for _, e := range list {
		a.find(e.Pos.Line, e.Pos.Col, Syntax, Refusal, "%s", e.Msg)
	}
}

// wanted writes the first line of the def that is asked for.
func (a *audit) wanted() string {
	name := string(a.opts.Selector)
	if name == "" {
		name = "selector"
	}
	params := []string{"self"}
	if c := a.opts.Call; c != nil {
		for i := range c.Args {
			params = append(params, fmt.Sprintf("a%d", i+1))
		}
		params = append(params, c.Kwargs...)
	} else {
		params = append(params, "…")
	}
	return name + "(" + strings.Join(params, ", ") + "):"
}

// nesting counts how deep a node is in functions, statements and expressions.
type nesting struct{ functions, blocks, exprs int }

// of is what a node adds to the depth of what is in it. An if adds nothing: a
// chain of elif nests without being deep, and indentation bounds the rest.
func (nesting) of(n syntax.Node) nesting {
	switch n.(type) {
	case *syntax.DefStmt:
		return nesting{functions: 1, blocks: 1}
	case *syntax.LambdaExpr:
		return nesting{functions: 1, exprs: 1}
	case *syntax.ForStmt, *syntax.WhileStmt:
		return nesting{blocks: 1}
	case syntax.Expr:
		return nesting{exprs: 1}
	}
	return nesting{}
}

func (d nesting) plus(e nesting) nesting {
	return nesting{d.functions + e.functions, d.blocks + e.blocks, d.exprs + e.exprs}
}

func (d nesting) within() bool {
	return d.functions <= maxFunctions && d.blocks <= maxBlocks && d.exprs <= maxNesting
}

// shallow checks the bounds on nesting.
func (a *audit) shallow(def *syntax.DefStmt) bool {
	depths := []nesting{{}}
	statement := def.Def // the last one that was entered
	ok := true
	syntax.Walk(def, func(n syntax.Node) bool {
		if n == nil {
			depths = depths[:len(depths)-1]
			return true
		}
		if s, is := n.(syntax.Stmt); is && ok {
			statement = keywordPos(s, statement)
		}
		d := depths[len(depths)-1].plus(nesting{}.of(n))
		if !d.within() || !ok {
			if ok {
				a.find(statement.Line, statement.Col, Size, Refusal, "nested too deeply: at most %d functions, %d statements and %d expressions within each other",
					maxFunctions, maxBlocks, maxNesting)
			}
			ok = false
			return false // Walk does not report the end of what it does not enter
		}
		depths = append(depths, d)
		return true
	})
	return ok
}

// signature checks the def's name and parameters and fills the report's.
func (a *audit) signature(def *syntax.DefStmt) {
	sel, err := batos.ParseSelector(def.Name.Name)
	if err != nil {
		a.find(def.Name.NamePos.Line, def.Name.NamePos.Col, Name, Refusal, "%s", err)
	}
	a.report.Selector = sel
	if want := a.opts.Selector; want != "" && sel != want {
		a.find(def.Name.NamePos.Line, def.Name.NamePos.Col, Name, Refusal, "the def is called %s; it must be called %s", def.Name.Name, want)
	}

	var required, accepted int // positional parameters after self
	var variadic, named bool
	keyword := map[string]bool{} // names that can be passed by name: true if they must be
	afterStar := false
	for i, p := range def.Params {
		name, text, hasDefault := param(p)
		if i == 0 {
			if _, plain := p.(*syntax.Ident); !plain || name != "self" {
				pos := def.Lparen
				a.find(pos.Line, pos.Col, Shape, Refusal, "the first parameter must be self, not %s", text)
			}
			continue
		}
		a.report.Params = append(a.report.Params, text)
		switch {
		case text == "*":
			afterStar = true
		case strings.HasPrefix(text, "**"):
			named = true
		case strings.HasPrefix(text, "*"):
			variadic, afterStar = true, true
		default:
			keyword[name] = !hasDefault
			if !afterStar {
				accepted++
				if !hasDefault {
					required++
				}
			}
		}
		if b, ok := p.(*syntax.BinaryExpr); ok && !constant(b.Y) {
			a.find(b.OpPos.Line, b.OpPos.Col, Toplevel, Refusal, "the default of %s would run before the method is called: write a literal", name)
		}
	}
	if len(def.Params) == 0 {
		a.find(def.Lparen.Line, def.Lparen.Col, Shape, Refusal, "the first parameter must be self")
		return
	}
	c := a.opts.Call
	if c == nil {
		return
	}
	misfit := ""
	switch {
	case c.Args > accepted && !variadic:
		misfit = fmt.Sprintf("takes at most %d", accepted)
	default:
		left := required - c.Args // positional parameters that must come by name
		for _, k := range c.Kwargs {
			must, known := keyword[k]
			switch {
			case !known && !named:
				misfit = "does not take " + k + "="
			case known && must:
				left--
			}
		}
		if misfit == "" && left > 0 {
			misfit = fmt.Sprintf("needs %d", required)
		}
	}
	if misfit != "" {
		a.find(def.Lparen.Line, def.Lparen.Col, Arity, Refusal, "the message passes %s but the def %s: write def %s", c, misfit, a.wanted())
	}
}

func (c *Call) String() string {
	s := fmt.Sprintf("%d arguments", c.Args)
	if c.Args == 1 {
		s = "1 argument"
	}
	for _, k := range c.Kwargs {
		s += ", " + k + "="
	}
	return s
}

// param takes a parameter apart: its name, how it is written, whether it has
// a default.
func param(p syntax.Expr) (name, text string, hasDefault bool) {
	switch p := p.(type) {
	case *syntax.Ident:
		return p.Name, p.Name, false
	case *syntax.BinaryExpr:
		id := p.X.(*syntax.Ident)
		return id.Name, id.Name + "=" + literalText(p.Y), true
	case *syntax.UnaryExpr:
		star := "*"
		if p.Op == syntax.STARSTAR {
			star = "**"
		}
		if p.X == nil {
			return "", star, false
		}
		id := p.X.(*syntax.Ident)
		return id.Name, star + id.Name, false
	}
	return "", "", false
}

func literalText(e syntax.Expr) string {
	switch e := e.(type) {
	case *syntax.Literal:
		return e.Raw
	case *syntax.Ident:
		return e.Name
	case *syntax.UnaryExpr:
		if e.X != nil {
			return e.Op.String() + literalText(e.X)
		}
	}
	return "…"
}

// constant reports whether e is made of literals alone.
func constant(e syntax.Expr) bool {
	switch e := e.(type) {
	case *syntax.Literal:
		return true
	case *syntax.Ident:
		return e.Name == "None" || e.Name == "True" || e.Name == "False"
	case *syntax.ParenExpr:
		return constant(e.X)
	case *syntax.UnaryExpr:
		return e.X != nil && (e.Op == syntax.MINUS || e.Op == syntax.PLUS) && constant(e.X)
	case *syntax.ListExpr:
		return allConstant(e.List)
	case *syntax.TupleExpr:
		return allConstant(e.List)
	case *syntax.DictExpr:
		for _, x := range e.List {
			d := x.(*syntax.DictEntry)
			if !constant(d.Key) || !constant(d.Value) {
				return false
			}
		}
		return true
	}
	return false
}

func allConstant(list []syntax.Expr) bool {
	for _, x := range list {
		if !constant(x) {
			return false
		}
	}
	return true
}

// stmtPos is where a statement starts.
func stmtPos(s syntax.Stmt) syntax.Position {
	if p := keywordPos(s, syntax.Position{}); p.IsValid() {
		return p
	}
	return syntax.Start(s)
}

// keywordPos is where a statement starts that begins with a keyword, found
// without walking down its expressions, or otherwise.
func keywordPos(s syntax.Stmt, otherwise syntax.Position) syntax.Position {
	switch s := s.(type) {
	case *syntax.DefStmt:
		return s.Def
	case *syntax.IfStmt:
		return s.If
	case *syntax.ForStmt:
		return s.For
	case *syntax.WhileStmt:
		return s.While
	case *syntax.ReturnStmt:
		return s.Return
	case *syntax.BranchStmt:
		return s.TokenPos
	}
	return otherwise
}

// syntaxHint looks at the words of a line that does not parse and says what
// to write instead of what the dialect lacks.
func syntaxHint(src string, line int) string {
	lines := strings.Split(src, "\n")
	if line > len(lines) {
		line = len(lines)
	}
	text := ""
	if line >= 1 {
		text = strings.TrimSpace(lines[line-1])
	}
	word := text
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }); i >= 0 {
		word = text[:i]
	}
	if h, ok := hints[word]; ok {
		return h
	}
	switch {
	case strings.HasPrefix(text, "```"):
		return "write the code alone, without fences"
	case strings.HasPrefix(text, "@"):
		return "there are no decorators: leave it out"
	case strings.Contains(text, ":="):
		return "there is no := : assign on a line of its own"
	case strings.Contains(text, "->"), strings.HasPrefix(text, "def ") && strings.Count(text, ":") > 1:
		return "there are no type annotations: leave them out"
	case strings.Contains(text, " is "):
		return "there is no is: use =="
	case strings.Contains(text, "**"):
		return "there is no ** operator: use math.pow(x, y) or a product"
	case strings.Contains(text, "++"), strings.Contains(text, "--"):
		return "there is no ++ or --: use += 1 or -= 1"
	}
	return ""
}

var hints = map[string]string{
	"import":   "there is no import: json, math and time are there without it",
	"from":     "there is no import: json, math and time are there without it",
	"try":      "there is no try: check before you act, or let the message fail",
	"except":   "there is no try: check before you act, or let the message fail",
	"finally":  "there is no try: check before you act, or let the message fail",
	"raise":    "there is no raise: use fail(text)",
	"class":    "there are no classes: state lives in self's slots",
	"with":     "there is no with: leave it out",
	"del":      "there is no del: use pop on the list or dict",
	"global":   "there is no global: state lives in self's slots",
	"nonlocal": "there is no nonlocal: state lives in self's slots",
	"load":     "load is not allowed: json, math and time are there without it",
	"assert":   "there is no assert: use if and fail(text)",
	"yield":    "there are no generators: build a list and return it",
	"async":    "there is no async: write a plain def",
	"await":    "there is no await: call it",
	"match":    "there is no match: use if and elif",
}
