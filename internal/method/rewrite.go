package method

import (
	"strconv"
	"strings"

	"go.starlark.net/syntax"

	"batos"
)

// The rewriter turns what could cost more than a constant, and what changes
// containers or sends messages, into calls of guards (see guard.go). A guard
// is a value of the universe under a name with two dots before it; a program
// imports each guard it uses into a global of its own, under one dot, because
// a global costs an array index and a name of the universe a map look-up.
//
// Every pass is linear: each visit returns what its parent needs to know
// about the expression ([facts]) and nothing is looked at twice.

// facts are what is known of an expression without running it.
type facts struct {
	scalar  bool // a literal number, string, None, True or False
	small   bool // a literal number within 32 bits
	numeric bool // a number, or evaluation fails
	stack   int  // operands alive at once while it is evaluated
}

type rewriter struct {
	name    string
	imports []syntax.Stmt
	known   map[string]bool // guards imported
	bound   map[string]bool // names that are variables anywhere in the method
	fn      *function
	err     error
}

// function is what the rewriter keeps about the function it is in.
type function struct {
	names  map[string]bool // its variables
	extra  int             // variables of comprehensions
	temps  int             // temporaries of the statement being rewritten
	native int             // arithmetic left native so far
}

// maxNative bounds the arithmetic of one function that is left native, and
// maxSmallLocals the variables of a method with any: together they bound what
// integers may take without being charged.
const (
	maxNative      = 128
	maxSmallLocals = 128
)

// rewrite makes the file to compile from the tree of one method.
func rewrite(name string, def *syntax.DefStmt) (*syntax.File, error) {
	w := &rewriter{name: name, known: map[string]bool{}, bound: map[string]bool{}}
	w.collect(def)
	renamed := *def
	renamed.Name = &syntax.Ident{NamePos: def.Name.NamePos, Name: methodName}
	body := w.def(&renamed, true)
	if w.err != nil {
		return nil, w.err
	}
	return &syntax.File{Path: name, Options: options, Stmts: append(w.imports, body...)}, nil
}

// methodName is the global that holds the compiled method. It is not the
// selector, so that a method may have the name of a function of the dialect
// and call it.
const methodName = "·method"

// collect notes every name that the method binds.
func (w *rewriter) collect(def *syntax.DefStmt) {
	var target func(e syntax.Expr)
	target = func(e syntax.Expr) {
		switch e := e.(type) {
		case *syntax.Ident:
			w.bound[e.Name] = true
		case *syntax.ParenExpr:
			target(e.X)
		case *syntax.TupleExpr:
			for _, x := range e.List {
				target(x)
			}
		case *syntax.ListExpr:
			for _, x := range e.List {
				target(x)
			}
		}
	}
	params := func(ps []syntax.Expr) {
		for _, p := range ps {
			switch p := p.(type) {
			case *syntax.Ident:
				target(p)
			case *syntax.BinaryExpr:
				target(p.X)
			case *syntax.UnaryExpr:
				if p.X != nil {
					target(p.X)
				}
			}
		}
	}
	syntax.Walk(def, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			target(n.LHS)
		case *syntax.ForStmt:
			target(n.Vars)
		case *syntax.ForClause:
			target(n.Vars)
		case *syntax.DefStmt:
			w.bound[n.Name.Name] = true
			params(n.Params)
		case *syntax.LambdaExpr:
			params(n.Params)
		}
		return true
	})
}

func (w *rewriter) fail(pos syntax.Position, code batos.Code, format string, args ...any) {
	if w.err == nil {
		w.err = errAt(pos, code, format, args...)
	}
}

// guard names a guard and imports it. Guards with an argument (a selector)
// are made when the program is initialised.
func (w *rewriter) guard(kind, arg string, pos syntax.Position) *syntax.Ident {
	name := "·" + kind + arg
	if !w.known[name] {
		w.known[name] = true
		var value syntax.Expr = &syntax.Ident{Name: "··" + kind, NamePos: pos}
		if arg != "" {
			value = callOf("··"+kind, pos, stringLit(arg, pos))
		}
		w.imports = append(w.imports, &syntax.AssignStmt{OpPos: pos, Op: syntax.EQ, LHS: &syntax.Ident{Name: name, NamePos: pos}, RHS: value})
	}
	return &syntax.Ident{Name: name, NamePos: pos}
}

func (w *rewriter) call(kind string, pos syntax.Position, args ...syntax.Expr) syntax.Expr {
	return &syntax.CallExpr{Fn: w.guard(kind, "", pos), Lparen: pos, Args: args, Rparen: pos}
}

func ident(name string, pos syntax.Position) *syntax.Ident {
	return &syntax.Ident{Name: name, NamePos: pos}
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

// mayStayNative takes one of the places of a function where arithmetic on
// unknown integers is not guarded.
func (w *rewriter) mayStayNative() bool {
	if len(w.bound) > maxSmallLocals || w.fn.native >= maxNative {
		return false
	}
	w.fn.native++
	return true
}

// isRoot says whether a name that is no variable means an object by its root
// name.
func isRoot(name string) bool { return strings.HasSuffix(name, "_obj") || name == "active_cycles" }

// expr rewrites an expression. The result takes its place.
func (w *rewriter) expr(e syntax.Expr) (syntax.Expr, facts) {
	if w.err != nil {
		return e, facts{}
	}
	switch e := e.(type) {
	case *syntax.Ident:
		if !w.bound[e.Name] && isRoot(e.Name) {
			return w.call("root", e.NamePos, stringLit(e.Name, e.NamePos)), facts{stack: 2}
		}
		return e, facts{scalar: isConstant(e.Name), stack: 1}
	case *syntax.Literal:
		if err := checkLiteral(e); err != nil && w.err == nil {
			w.err = err
		}
		f := facts{scalar: true, stack: 1}
		switch v := e.Value.(type) {
		case int64:
			f.numeric, f.small = true, v < 1<<31
		case float64:
			f.numeric, f.small = true, true
		default:
			f.numeric = e.Token == syntax.INT
		}
		return e, f
	case *syntax.ParenExpr:
		x, f := w.expr(e.X)
		e.X = x
		return e, f
	case *syntax.UnaryExpr:
		return w.unary(e)
	case *syntax.BinaryExpr:
		return w.binary(e)
	case *syntax.ListExpr:
		return w.display("list", e.Lbrack, e.List)
	case *syntax.TupleExpr:
		return w.tuple(e)
	case *syntax.DictExpr:
		return w.dict(e)
	case *syntax.CondExpr:
		cond, fc := w.expr(e.Cond)
		yes, fy := w.expr(e.True)
		no, fn := w.expr(e.False)
		e.Cond, e.True, e.False = cond, yes, no
		return e, facts{numeric: fy.numeric && fn.numeric, stack: w.stack(e.If, max(fc.stack, fy.stack, fn.stack))}
	case *syntax.IndexExpr:
		x, fx := w.expr(e.X)
		y, fy := w.expr(e.Y)
		e.X, e.Y = x, y
		return e, facts{stack: w.stack(e.Lbrack, max(fx.stack, 1+fy.stack))}
	case *syntax.SliceExpr:
		return w.args(w.guard("slice", "", e.Lbrack), e.Lbrack, e.X, orNone(e.Lo, e.Lbrack), orNone(e.Hi, e.Lbrack), orNone(e.Step, e.Lbrack))
	case *syntax.DotExpr:
		x, f := w.expr(e.X)
		if builtinMethods[e.Name.Name] {
			return &syntax.CallExpr{Fn: w.guard("@", e.Name.Name, e.Name.NamePos), Lparen: e.Dot, Args: []syntax.Expr{x}, Rparen: e.Dot}, facts{stack: 1 + f.stack}
		}
		e.X = x
		return e, facts{stack: f.stack}
	case *syntax.CallExpr:
		return w.callExpr(e)
	case *syntax.Comprehension:
		return w.comprehension(e)
	case *syntax.LambdaExpr:
		return w.lambda(e)
	}
	w.fail(syntax.Start(e), batos.Invalid, "this cannot be used here")
	return e, facts{}
}

func orNone(e syntax.Expr, pos syntax.Position) syntax.Expr {
	if e == nil {
		return ident("None", pos)
	}
	return e
}

// stack checks how many operands an expression keeps.
func (w *rewriter) stack(pos syntax.Position, n int) int {
	if n > maxStack {
		w.fail(pos, batos.Limit, "expression too large: it keeps more than %d values at once", maxStack)
	}
	return n
}

// args rewrites es as the arguments of a call of fn.
func (w *rewriter) args(fn syntax.Expr, pos syntax.Position, es ...syntax.Expr) (syntax.Expr, facts) {
	out := make([]syntax.Expr, len(es))
	need := 0
	for i, x := range es {
		y, f := w.expr(x)
		out[i] = y
		need = max(need, 1+i+f.stack)
	}
	return &syntax.CallExpr{Fn: fn, Lparen: pos, Args: out, Rparen: pos}, facts{stack: w.stack(pos, max(need, 1))}
}

func (w *rewriter) unary(e *syntax.UnaryExpr) (syntax.Expr, facts) {
	x, f := w.expr(e.X)
	e.X = x
	if e.Op == syntax.NOT {
		return e, facts{stack: f.stack}
	}
	if f.small {
		return e, facts{scalar: true, small: true, numeric: true, stack: f.stack}
	}
	if w.mayStayNative() {
		return e, facts{numeric: true, stack: f.stack}
	}
	return w.call("unary"+e.Op.String(), e.OpPos, x), facts{numeric: true, stack: 1 + f.stack}
}

func (w *rewriter) binary(e *syntax.BinaryExpr) (syntax.Expr, facts) {
	x, fx := w.expr(e.X)
	y, fy := w.expr(e.Y)
	e.X, e.Y = x, y
	out := facts{stack: w.stack(e.OpPos, max(fx.stack, 1+fy.stack))}
	switch e.Op {
	case syntax.AND, syntax.OR:
		return e, out
	case syntax.SLASH, syntax.SLASHSLASH, syntax.GTGT, syntax.LTLT:
		out.numeric = true
	case syntax.PLUS, syntax.MINUS:
		out.numeric = fx.numeric || fy.numeric
	case syntax.STAR, syntax.PERCENT:
		out.numeric = fx.numeric && fy.numeric
	}
	if w.native(e.Op, fx, fy) {
		return e, out
	}
	out.stack = w.stack(e.OpPos, 1+max(fx.stack, 1+fy.stack))
	return w.call(e.Op.String(), e.OpPos, x, y), out
}

// native says whether x op y needs no guard.
func (w *rewriter) native(op syntax.Token, x, y facts) bool {
	switch op {
	case syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE:
		return x.scalar || y.scalar || x.numeric || y.numeric
	case syntax.PLUS, syntax.MINUS, syntax.AMP, syntax.CIRCUMFLEX, syntax.PIPE:
		return x.small && y.small || (x.small || y.small) && w.mayStayNative()
	case syntax.STAR, syntax.LTLT:
		return x.small && y.small
	case syntax.SLASH:
		return true
	case syntax.SLASHSLASH, syntax.GTGT:
		return x.small || y.small && w.mayStayNative()
	case syntax.PERCENT:
		return x.small || x.numeric && w.mayStayNative()
	}
	return false
}

// tuple leaves a tuple of literals alone: it is a constant in all but name.
func (w *rewriter) tuple(e *syntax.TupleExpr) (syntax.Expr, facts) {
	for _, x := range e.List {
		if !isLiteral(x) || !isScalar(x) {
			return w.display("tuple", syntax.Start(e), e.List)
		}
		w.expr(x)
	}
	return e, facts{stack: w.stack(syntax.Start(e), max(1, len(e.List)))}
}

func isScalar(e syntax.Expr) bool {
	switch unparen(e).(type) {
	case *syntax.Literal, *syntax.Ident, *syntax.UnaryExpr:
		return true
	}
	return false
}

// maxArgs is how many arguments one guard call takes; the compiler allows 255.
const maxArgs = 250

// display makes a list, tuple or dict out of the arguments of a guard. Long
// ones are joined from pieces.
func (w *rewriter) display(kind string, pos syntax.Position, es []syntax.Expr) (syntax.Expr, facts) {
	if len(es) <= maxArgs {
		return w.args(w.guard(kind, "", pos), pos, es...)
	}
	var pieces []syntax.Expr
	need := 0
	for start := 0; start < len(es); start += maxArgs {
		piece, f := w.args(w.guard(kind, "", pos), pos, es[start:min(start+maxArgs, len(es))]...)
		need = max(need, 1+len(pieces)+f.stack)
		pieces = append(pieces, piece)
	}
	if len(pieces) > maxArgs {
		w.fail(pos, batos.Limit, "a literal of more than %d parts", maxArgs*maxArgs)
	}
	return w.call("join"+kind, pos, pieces...), facts{stack: w.stack(pos, need)}
}

func (w *rewriter) dict(e *syntax.DictExpr) (syntax.Expr, facts) {
	flat := make([]syntax.Expr, 0, 2*len(e.List))
	for _, x := range e.List {
		entry := x.(*syntax.DictEntry)
		flat = append(flat, entry.Key, entry.Value)
	}
	return w.display("dict", e.Lbrace, flat)
}

// callExpr rewrites x.f(…) into a send and leaves other calls to their
// functions, which are metered themselves.
func (w *rewriter) callExpr(e *syntax.CallExpr) (syntax.Expr, facts) {
	if id, ok := e.Fn.(*syntax.Ident); ok && (id.Name == FString || id.Name == FField) {
		return w.args(w.guard(strings.TrimPrefix(id.Name, "·"), "", e.Lparen), e.Lparen, e.Args...)
	}
	need := 0
	var fn syntax.Expr
	var args []syntax.Expr
	pos := e.Lparen
	if d, ok := unparen(e.Fn).(*syntax.DotExpr); ok {
		recv, f := w.expr(d.X)
		fn, need, pos = w.guard(".", d.Name.Name, d.Name.NamePos), 1+f.stack, d.Name.NamePos
		args = append(args, recv)
	} else {
		f := facts{}
		fn, f = w.expr(e.Fn)
		need = f.stack
	}
	for _, a := range e.Args {
		var f facts
		switch u := a.(type) {
		case *syntax.UnaryExpr:
			if u.Op == syntax.STAR || u.Op == syntax.STARSTAR {
				u.X, f = w.expr(u.X)
				u.X = w.call("args"+u.Op.String(), u.OpPos, u.X)
				f.stack++
				break
			}
			a, f = w.expr(a)
		case *syntax.BinaryExpr:
			if u.Op == syntax.EQ {
				u.Y, f = w.expr(u.Y)
				f.stack++
				break
			}
			a, f = w.expr(a)
		default:
			a, f = w.expr(a)
		}
		need = max(need, 1+2*len(args)+f.stack)
		args = append(args, a)
	}
	return &syntax.CallExpr{Fn: fn, Lparen: pos, Args: args, Rparen: e.Rparen}, facts{stack: w.stack(pos, max(need, 1))}
}

// comprehension charges each element as it is added.
func (w *rewriter) comprehension(e *syntax.Comprehension) (syntax.Expr, facts) {
	need := 0
	for _, c := range e.Clauses {
		var f facts
		switch c := c.(type) {
		case *syntax.ForClause:
			w.loopVars(c.Vars)
			c.X, f = w.expr(c.X)
		case *syntax.IfClause:
			c.Cond, f = w.expr(c.Cond)
		}
		need = max(need, 1+f.stack)
	}
	kind := "list"
	if entry, ok := e.Body.(*syntax.DictEntry); ok {
		kind = "dict"
		key, fk := w.expr(entry.Key)
		value, fv := w.expr(entry.Value)
		entry.Key = w.call("entry", entry.Colon, key)
		entry.Value = value
		if !fv.scalar {
			entry.Value = w.call("cell", entry.Colon, value)
		}
		need = max(need, 4+fk.stack, 5+fv.stack)
	} else {
		body, f := w.expr(e.Body)
		e.Body = w.call("cell", syntax.Start(e.Body), body)
		need = max(need, 3+f.stack)
	}
	return w.call("made"+kind, e.Lbrack, e), facts{stack: w.stack(e.Lbrack, 1+need)}
}

// loopVars checks the variables of a loop. Only names may stand there: an
// element of a container would be changed unseen.
func (w *rewriter) loopVars(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		w.fn.extra++
	case *syntax.ParenExpr:
		w.loopVars(e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			w.loopVars(x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			w.loopVars(x)
		}
	default:
		w.fail(syntax.Start(e), batos.Invalid, "a loop variable must be a name")
	}
}

// lambda charges the closure, and checks *args and **kwargs before the body.
func (w *rewriter) lambda(e *syntax.LambdaExpr) (syntax.Expr, facts) {
	need := w.params(e.Params)
	outer := w.enter()
	w.fn.extra += len(e.Params)
	body := w.only(e.Body)
	w.leave(outer, e.Lambda)
	if check := w.entry(e.Params, e.Lambda); check != nil {
		body = &syntax.BinaryExpr{X: check, OpPos: e.Lambda, Op: syntax.OR, Y: body}
	}
	e.Body = body
	return w.call("closure", e.Lambda, e), facts{stack: w.stack(e.Lambda, 2+need)}
}

// params rewrites the defaults of parameters, which are evaluated where the
// function is made.
func (w *rewriter) params(ps []syntax.Expr) (need int) {
	for i, p := range ps {
		if b, ok := p.(*syntax.BinaryExpr); ok {
			y, f := w.expr(b.Y)
			b.Y = w.call("cell", b.OpPos, y)
			need = max(need, i+2+f.stack)
		}
	}
	return need
}

// entry makes the call that charges and checks what *args and **kwargs
// collected; nil if the function has neither. Its value is False.
func (w *rewriter) entry(ps []syntax.Expr, pos syntax.Position) syntax.Expr {
	var rest []syntax.Expr
	for _, p := range ps {
		if u, ok := p.(*syntax.UnaryExpr); ok && u.X != nil {
			rest = append(rest, ident(u.X.(*syntax.Ident).Name, pos))
		}
	}
	if rest == nil {
		return nil
	}
	return w.call("entered", pos, rest...)
}

// enter begins a function nested in the present one.
func (w *rewriter) enter() *function {
	outer := w.fn
	w.fn = &function{names: map[string]bool{}}
	return outer
}

func (w *rewriter) leave(outer *function, pos syntax.Position) {
	if n := len(w.fn.names) + w.fn.extra; n > maxLocals {
		w.fail(pos, batos.Limit, "a function has at most %d variables, not %d", maxLocals, n)
	}
	w.fn = outer
}

// temp names a variable of the statement being rewritten.
func (w *rewriter) temp(pos syntax.Position) *syntax.Ident {
	w.fn.temps++
	name := "·t" + strconv.Itoa(w.fn.temps)
	w.fn.names[name] = true
	return ident(name, pos)
}
