package method

import (
	"go.starlark.net/syntax"

	"batos"
)

// stmts rewrites a block. A statement may become several. An absent block
// stays nil: the parser's nodes tell it from an empty one.
func (w *rewriter) stmts(in []syntax.Stmt) []syntax.Stmt {
	if in == nil {
		return nil
	}
	out := make([]syntax.Stmt, 0, len(in))
	for _, s := range in {
		if w.err != nil {
			return in
		}
		w.fn.temps = 0
		out = w.stmt(out, s)
	}
	return out
}

func (w *rewriter) stmt(out []syntax.Stmt, s syntax.Stmt) []syntax.Stmt {
	switch s := s.(type) {
	case *syntax.ExprStmt:
		s.X = w.only(s.X)
	case *syntax.ReturnStmt:
		if s.Result != nil {
			s.Result = w.only(s.Result)
		}
	case *syntax.BranchStmt:
	case *syntax.AssignStmt:
		return w.assign(out, s)
	case *syntax.IfStmt:
		w.ifChain(s)
	case *syntax.WhileStmt:
		s.Cond = w.only(s.Cond)
		s.Body = w.stmts(s.Body)
	case *syntax.ForStmt:
		w.loopVars(s.Vars)
		s.X = w.only(s.X)
		s.Body = w.stmts(s.Body)
	case *syntax.DefStmt:
		w.fn.names[s.Name.Name] = true
		return append(out, w.def(s, false)...)
	default:
		w.fail(syntax.Start(s), batos.Invalid, "a method cannot load other files")
	}
	return append(out, s)
}

// ifChain rewrites an if with its elif branches, which the parser nests.
func (w *rewriter) ifChain(s *syntax.IfStmt) {
	for n := 0; ; n++ {
		if n > maxChain {
			w.fail(s.If, batos.Limit, "an if has at most %d branches", maxChain)
			return
		}
		s.Cond = w.only(s.Cond)
		s.True = w.stmts(s.True)
		next, ok := elif(s)
		if !ok {
			s.False = w.stmts(s.False)
			return
		}
		s = next
	}
}

func elif(s *syntax.IfStmt) (*syntax.IfStmt, bool) {
	if len(s.False) != 1 {
		return nil, false
	}
	next, ok := s.False[0].(*syntax.IfStmt)
	return next, ok && next.If == s.ElsePos
}

// only rewrites an expression whose facts nobody needs.
func (w *rewriter) only(e syntax.Expr) syntax.Expr {
	x, _ := w.expr(e)
	return x
}

// def rewrites a function. One inside the method is charged as a closure; the
// defaults of the method itself are literals, and those that can be changed
// are made anew for each call.
func (w *rewriter) def(s *syntax.DefStmt, method bool) []syntax.Stmt {
	var out []syntax.Stmt
	if !method {
		out = append(out, &syntax.ExprStmt{X: w.call("closure", s.Def)})
		w.params(s.Params)
	}
	outer := w.enter()
	var head []syntax.Stmt
	if method {
		head = w.defaults(s)
	}
	if check := w.entry(s.Params, s.Def); check != nil {
		head = append(head, &syntax.ExprStmt{X: check})
	}
	w.fn.extra += len(s.Params)
	s.Body = append(head, w.stmts(s.Body)...)
	w.leave(outer, s.Def)
	return append(out, s)
}

// defaults moves the containers among a method's defaults into its body.
func (w *rewriter) defaults(s *syntax.DefStmt) (head []syntax.Stmt) {
	for i, p := range s.Params {
		b, ok := p.(*syntax.BinaryExpr)
		if !ok {
			continue
		}
		if isScalar(b.Y) {
			w.checkNumber(b.Y)
			continue
		}
		id := b.X.(*syntax.Ident)
		made := &syntax.CondExpr{
			If: b.OpPos, ElsePos: b.OpPos,
			Cond:  w.call("omitted", b.OpPos, ident(id.Name, id.NamePos)),
			True:  w.only(b.Y),
			False: ident(id.Name, id.NamePos),
		}
		head = append(head, &syntax.AssignStmt{OpPos: b.OpPos, Op: syntax.EQ, LHS: ident(id.Name, id.NamePos), RHS: made})
		s.Params[i] = &syntax.BinaryExpr{X: id, OpPos: b.OpPos, Op: syntax.EQ, Y: w.guard("omission", "", b.OpPos)}
	}
	return head
}

// checkNumber checks a default that stays where it is.
func (w *rewriter) checkNumber(e syntax.Expr) {
	e = unparen(e)
	if u, ok := e.(*syntax.UnaryExpr); ok {
		w.checkNumber(u.X)
	}
	if lit, ok := e.(*syntax.Literal); ok {
		w.expr(lit)
	}
}

func (w *rewriter) assign(out []syntax.Stmt, s *syntax.AssignStmt) []syntax.Stmt {
	if s.Op != syntax.EQ {
		return w.augmented(out, s)
	}
	s.RHS = w.only(s.RHS)
	switch lhs := unparen(s.LHS).(type) {
	case *syntax.IndexExpr:
		return append(out, w.setItem(lhs, s.RHS))
	case *syntax.TupleExpr:
		return w.unpack(out, s, lhs.List)
	case *syntax.ListExpr:
		return w.unpack(out, s, lhs.List)
	}
	w.target(s.LHS)
	return append(out, s)
}

// setItem makes x[y] = v: the value is evaluated first, then x, then y.
func (w *rewriter) setItem(lhs *syntax.IndexExpr, v syntax.Expr) syntax.Stmt {
	x := w.only(lhs.X)
	y := w.only(lhs.Y)
	return &syntax.ExprStmt{X: w.call("setitem", lhs.Lbrack, v, x, y)}
}

// target rewrites inside an assignment target that stays native.
func (w *rewriter) target(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		w.fn.names[e.Name] = true
	case *syntax.ParenExpr:
		w.target(e.X)
	case *syntax.DotExpr:
		e.X = w.only(e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			w.target(x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			w.target(x)
		}
	}
}

// unpack assigns several targets. If one of them is an element of a
// container, all go through variables, so that the assignments happen from
// left to right and are seen.
func (w *rewriter) unpack(out []syntax.Stmt, s *syntax.AssignStmt, list []syntax.Expr) []syntax.Stmt {
	if !anyItem(list) {
		w.target(s.LHS)
		return append(out, s)
	}
	temps := &syntax.TupleExpr{Lparen: s.OpPos, Rparen: s.OpPos}
	var later []*syntax.AssignStmt
	for _, x := range list {
		t := w.temp(s.OpPos)
		temps.List = append(temps.List, t)
		later = append(later, &syntax.AssignStmt{OpPos: s.OpPos, Op: syntax.EQ, LHS: x, RHS: ident(t.Name, t.NamePos)})
	}
	out = append(out, &syntax.AssignStmt{OpPos: s.OpPos, Op: syntax.EQ, LHS: temps, RHS: s.RHS})
	for _, a := range later {
		out = w.assign(out, a)
	}
	return out
}

func anyItem(list []syntax.Expr) bool {
	for _, x := range list {
		switch x := unparen(x).(type) {
		case *syntax.IndexExpr:
			return true
		case *syntax.TupleExpr:
			if anyItem(x.List) {
				return true
			}
		case *syntax.ListExpr:
			if anyItem(x.List) {
				return true
			}
		}
	}
	return false
}

// augmented rewrites x op= y. What is in front of the last dot or bracket is
// evaluated once.
func (w *rewriter) augmented(out []syntax.Stmt, s *syntax.AssignStmt) []syntax.Stmt {
	op := s.Op - syntax.PLUS_EQ + syntax.PLUS
	switch lhs := unparen(s.LHS).(type) {
	case *syntax.Ident:
		w.fn.names[lhs.Name] = true
		rhs, f := w.expr(s.RHS)
		s.RHS = rhs
		if w.native(op, facts{}, f) {
			return append(out, s)
		}
		s.RHS = w.inplace(op, s.OpPos, ident(lhs.Name, lhs.NamePos), rhs)
		s.Op = syntax.EQ
		return append(out, s)
	case *syntax.DotExpr:
		x := w.only(lhs.X)
		if w.native(op, facts{}, w.peek(s.RHS)) {
			lhs.X = x
			s.RHS = w.only(s.RHS)
			return append(out, s)
		}
		lhs.X, out = w.once(out, x, lhs.Dot)
		get := &syntax.DotExpr{X: again(lhs.X), Dot: lhs.Dot, NamePos: lhs.NamePos, Name: ident(lhs.Name.Name, lhs.Name.NamePos)}
		s.RHS = w.inplace(op, s.OpPos, get, w.only(s.RHS))
		s.Op = syntax.EQ
		return append(out, s)
	case *syntax.IndexExpr:
		x, y := w.only(lhs.X), w.only(lhs.Y)
		x, out = w.once(out, x, lhs.Lbrack)
		y, out = w.once(out, y, lhs.Lbrack)
		get := &syntax.IndexExpr{X: again(x), Lbrack: lhs.Lbrack, Y: again(y), Rbrack: lhs.Rbrack}
		v := w.inplace(op, s.OpPos, get, w.only(s.RHS))
		return append(out, &syntax.ExprStmt{X: w.call("setitem", lhs.Lbrack, v, x, y)})
	}
	w.fail(s.OpPos, batos.Invalid, "an augmented assignment needs a variable, a slot or an element on its left")
	return append(out, s)
}

// peek gives the facts of a literal without rewriting it.
func (w *rewriter) peek(e syntax.Expr) facts {
	if lit, ok := unparen(e).(*syntax.Literal); ok {
		_, f := w.expr(lit)
		return f
	}
	return facts{}
}

// inplace is x op y where x may be changed in place.
func (w *rewriter) inplace(op syntax.Token, pos syntax.Position, x, y syntax.Expr) syntax.Expr {
	switch op {
	case syntax.PLUS, syntax.PIPE, syntax.AMP, syntax.MINUS, syntax.CIRCUMFLEX:
		return w.call(op.String()+"=", pos, x, y)
	}
	return w.call(op.String(), pos, x, y)
}

// once puts e into a variable unless evaluating it again is harmless.
func (w *rewriter) once(out []syntax.Stmt, e syntax.Expr, pos syntax.Position) (syntax.Expr, []syntax.Stmt) {
	switch u := unparen(e).(type) {
	case *syntax.Ident, *syntax.Literal:
		return u, out
	}
	t := w.temp(pos)
	out = append(out, &syntax.AssignStmt{OpPos: pos, Op: syntax.EQ, LHS: t, RHS: e})
	return ident(t.Name, pos), out
}

// again is a second use of what once answered.
func again(e syntax.Expr) syntax.Expr {
	if id, ok := e.(*syntax.Ident); ok {
		return ident(id.Name, id.NamePos)
	}
	return e
}
