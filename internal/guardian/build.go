package guardian

import (
	"go.starlark.net/resolve"
	"go.starlark.net/syntax"
)

// builder turns one def into blocks, steps, sites and the value graph.
type builder struct {
	g        *graph
	self     variable
	selfNode node
	objects  map[node]bool // values that are certainly objects

	// Variables that functions share, those of comprehensions, and in a wide
	// method all of them, have one version for the whole method.
	shared map[variable]node
	single map[variable]bool
	wide   bool

	sites     []site
	step      []int32 // sites of the statement at hand
	fn        *fn     // the function at hand
	cur       *block
	loops     []loop
	entry     *block // of the method itself
	covenants []syntax.Position
	dead      []syntax.Position // first statements that never run
}

type loop struct{ head, after *block }

// site is a place that may change state.
type site struct {
	kind siteKind
	pos  syntax.Position
	on   node   // what would be changed, handed on or called
	by   node   // grows: what is added
	what string // a slot, a selector, the name of a function
}

type siteKind uint8

const (
	assigns  siteKind = iota // an attribute of anything: a slot of an object
	setsSlot                 // a selector that changes slots
	setsItem                 // x[i] = …
	mutates                  // x.append(…) and the like
	grows                    // x += …
	passes                   // an argument of a send
	calls                    // a call of a function of the method
	offers                   // a function handed to code that may call it
)

// wideLimit bounds versions: a method with more blocks times variables gets
// one version for each variable.
const wideLimit = 1 << 18

func newBuilder(def *syntax.DefStmt) *builder {
	b := &builder{g: newGraph(), self: selfName(def), objects: map[node]bool{}, shared: map[variable]node{}, single: map[variable]bool{}}
	branches, locals := 1, 0
	syntax.Walk(def, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.IfStmt, *syntax.ForStmt, *syntax.WhileStmt, *syntax.BranchStmt, *syntax.ReturnStmt:
			branches++
		case *syntax.DefStmt:
			locals += localsOf(n.Function)
		case *syntax.LambdaExpr:
			locals += localsOf(n.Function)
		}
		return true
	})
	b.wide = branches*locals > wideLimit
	b.selfNode = b.g.fresh(mutable)
	b.objects[b.selfNode] = true
	return b
}

func localsOf(f any) int {
	if f, ok := f.(*resolve.Function); ok {
		return len(f.Locals)
	}
	return 0
}

// method builds the whole method; its blocks hang together from b.entry.
func (b *builder) method(def *syntax.DefStmt) *fn {
	f := b.g.newFn(def.Name.Name)
	b.g.raise(f.rest, foreign) // arguments come from elsewhere
	b.body(f, def.Params, func() {
		b.stmts(def.Body)
		_, end := def.Span()
		b.cur.steps = append(b.cur.steps, step{kind: ends, pos: end})
	})
	return f
}

// body builds one function by calling fill in a fresh entry block.
func (b *builder) body(f *fn, params []syntax.Expr, fill func()) {
	fn, cur, loops, st := b.fn, b.cur, b.loops, b.step
	b.fn, b.loops, b.step = f, nil, nil
	b.cur = b.newBlock()
	if b.entry == nil {
		b.entry = b.cur
	}
	for _, p := range params {
		b.parameter(f, p)
	}
	fill()
	b.fn, b.cur, b.loops, b.step = fn, cur, loops, st
}

func (b *builder) parameter(f *fn, p syntax.Expr) {
	n := b.g.fresh(0)
	switch p := p.(type) {
	case *syntax.Ident:
		if variableOf(p) == b.self {
			n = b.selfNode
		} else {
			b.g.connect(edge{kind: flow, a: f.rest, b: n})
		}
		f.params = append(f.params, n)
		b.write(p, n)
	case *syntax.BinaryExpr:
		b.g.connect(edge{kind: flow, a: f.rest, b: n})
		f.params = append(f.params, n)
		b.write(p.X.(*syntax.Ident), n)
	case *syntax.UnaryExpr: // *, *rest, **named
		if id, ok := p.X.(*syntax.Ident); ok {
			b.g.raise(n, mutable)
			b.g.connect(edge{kind: within, a: f.rest, b: n})
			b.write(id, n)
		}
	}
}

// function builds a def or lambda within the method and gives its value.
// Defaults are evaluated where it is made.
func (b *builder) function(name string, params []syntax.Expr, fill func(*fn)) node {
	f := b.g.newFn(name)
	for _, p := range params {
		if d, ok := p.(*syntax.BinaryExpr); ok {
			b.g.connect(edge{kind: flow, a: b.expr(d.Y), b: f.rest})
		}
	}
	b.body(f, params, func() { fill(f) })
	return b.g.value(f)
}

// isSingle reports whether v has one version for the whole method.
func (b *builder) isSingle(id *syntax.Ident, v variable) bool {
	bind := id.Binding.(*resolve.Binding)
	return b.wide || bind.Scope != resolve.Local || b.single[v]
}

func (b *builder) sharedNode(v variable) node {
	n, ok := b.shared[v]
	if !ok {
		n = b.g.fresh(0)
		b.shared[v] = n
	}
	return n
}

func (b *builder) read(id *syntax.Ident) node {
	v := variableOf(id)
	switch {
	case v == nil:
		return b.global(id)
	case v == b.self:
		return b.selfNode
	case b.isSingle(id, v):
		return b.sharedNode(v)
	}
	return b.version(b.cur, v)
}

func (b *builder) write(id *syntax.Ident, n node) {
	v := variableOf(id)
	switch {
	case v == nil || v == b.self:
	case b.isSingle(id, v):
		b.g.connect(edge{kind: flow, a: n, b: b.sharedNode(v)})
	default:
		b.cur.versions[v] = n
	}
}

// global is the value of a name that is no variable.
func (b *builder) global(id *syntax.Ident) node {
	switch {
	case !isPredeclared(id): // the method's own name
		return b.g.value(b.g.fns[0])
	case constants[id.Name]:
		return scalar
	}
	n := b.g.fresh(mutable)
	if isRoot(id.Name) {
		b.objects[n] = true
	}
	return n
}

func (b *builder) site(s site) {
	i := int32(len(b.sites))
	b.sites = append(b.sites, s)
	b.step = append(b.step, i)
	b.fn.sites = append(b.fn.sites, i)
}

// emit ends the statement at hand.
func (b *builder) emit(kind stepKind, pos syntax.Position) {
	b.cur.steps = append(b.cur.steps, step{kind: kind, pos: pos, sites: b.step})
	b.step = nil
}

func (b *builder) stmts(list []syntax.Stmt) {
	for _, s := range list {
		if b.cur.dead && !b.cur.reported {
			b.cur.reported = true
			b.dead = append(b.dead, stmtPos(s))
		}
		b.stmt(s)
	}
}

func (b *builder) stmt(s syntax.Stmt) {
	pos := stmtPos(s)
	switch s := s.(type) {
	case *syntax.ExprStmt:
		if _, ok := s.X.(*syntax.Literal); ok {
			return // a docstring
		}
		b.expr(s.X)
		b.emit(ordinary, pos)
		if isFail(s.X) {
			b.cur = b.deadBlock()
		}
	case *syntax.AssignStmt:
		b.assignment(s, pos)
	case *syntax.ReturnStmt:
		if s.Result != nil {
			b.g.connect(edge{kind: flow, a: b.expr(s.Result), b: b.fn.result})
		}
		b.emit(leaves, pos)
		b.cur = b.deadBlock()
	case *syntax.BranchStmt:
		// Going on elsewhere in a loop is no statement between the covenant and
		// the exit.
		switch l := b.loops; {
		case s.Token == syntax.PASS:
			b.emit(ordinary, pos)
			return
		case s.Token == syntax.BREAK:
			l[len(l)-1].after.follows(b.cur)
		default:
			l[len(l)-1].head.follows(b.cur)
		}
		b.cur = b.deadBlock()
	case *syntax.IfStmt:
		b.expr(s.Cond)
		b.emit(ordinary, pos)
		before := b.cur
		b.cur = b.newBlock(before)
		b.stmts(s.True)
		yes := b.cur
		b.cur = b.newBlock(before)
		b.stmts(s.False)
		b.cur = b.newBlock(alive(yes, b.cur)...)
		b.cur.dead = len(b.cur.preds) == 0
	case *syntax.ForStmt:
		x := b.expr(s.X)
		b.emit(ordinary, pos)
		b.loop(s.Body, true, func() {
			b.target(s.Vars, b.elementOf(x))
			b.emit(transparent, pos)
		}, nil)
	case *syntax.WhileStmt:
		b.emit(ordinary, pos)
		b.loop(s.Body, !isTrue(s.Cond), nil, func() {
			b.expr(s.Cond)
			b.emit(transparent, pos)
		})
	case *syntax.DefStmt:
		f := b.function(s.Name.Name, s.Params, func(*fn) { b.stmts(s.Body) })
		b.write(s.Name, f)
		b.emit(ordinary, pos)
	}
}

// alive are those of a join's predecessors that something leads to.
func alive(blocks ...*block) []*block {
	var out []*block
	for _, n := range blocks {
		if !n.dead {
			out = append(out, n)
		}
	}
	return out
}

// loop builds a loop: head is carried out before every round and after the
// last, enter at the start of each round.
func (b *builder) loop(body []syntax.Stmt, finite bool, enter, head func()) {
	h := b.newBlock(b.cur)
	h.open = true
	after := b.newBlock()
	after.open = true
	b.cur = h
	if head != nil {
		head()
	}
	if finite {
		after.follows(h)
	}
	b.loops = append(b.loops, loop{h, after})
	b.cur = b.newBlock(h)
	if enter != nil {
		enter()
	}
	b.stmts(body)
	if !b.cur.dead {
		h.follows(b.cur)
	}
	b.loops = b.loops[:len(b.loops)-1]
	b.close(h)
	b.close(after)
	after.dead = len(after.preds) == 0
	b.cur = after
}

func isFail(e syntax.Expr) bool {
	call, ok := e.(*syntax.CallExpr)
	if !ok {
		return false
	}
	id, ok := call.Fn.(*syntax.Ident)
	return ok && id.Name == "fail" && isPredeclared(id)
}

func isTrue(e syntax.Expr) bool {
	switch e := unparen(e).(type) {
	case *syntax.Ident:
		return e.Name == "True" && isPredeclared(e)
	case *syntax.Literal:
		i, ok := e.Value.(int64)
		return ok && i != 0
	}
	return false
}

func (b *builder) assignment(s *syntax.AssignStmt, pos syntax.Position) {
	if b.fn == b.g.fns[0] && covenant(s, b.self) != nil {
		b.covenants = append(b.covenants, pos)
		b.emit(covenanted, pos)
		return
	}
	if covenant(s, b.self) != nil {
		b.emit(ordinary, pos)
		return
	}
	if s.Op == syntax.EQ {
		b.assign(s.LHS, s.RHS)
	} else {
		b.augment(s)
	}
	b.emit(ordinary, pos)
}

// assign stores e in a target; a display of the same shape is taken apart.
func (b *builder) assign(target, e syntax.Expr) {
	to, many := displayed(target)
	if from, ok := displayed(e); many && ok && len(from) == len(to) {
		// All right sides are evaluated before the first target is assigned.
		nodes := make([]node, len(from))
		for i := range from {
			nodes[i] = b.expr(from[i])
		}
		for i := range to {
			b.target(to[i], nodes[i])
		}
		return
	}
	b.target(target, b.expr(e))
}

// displayed gives the elements of a tuple or list that is written out.
func displayed(e syntax.Expr) ([]syntax.Expr, bool) {
	switch e := unparen(e).(type) {
	case *syntax.TupleExpr:
		return e.List, true
	case *syntax.ListExpr:
		return e.List, true
	}
	return nil, false
}

// target stores n.
func (b *builder) target(e syntax.Expr, n node) {
	switch e := unparen(e).(type) {
	case *syntax.Ident:
		b.write(e, n)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			b.target(x, b.elementOf(n))
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			b.target(x, b.elementOf(n))
		}
	case *syntax.DotExpr:
		b.expr(e.X)
		b.g.raise(n, stored)
		b.site(site{kind: assigns, pos: e.Name.NamePos, what: shortText(e)})
	case *syntax.IndexExpr:
		x := b.expr(e.X)
		b.expr(e.Y)
		b.g.connect(edge{kind: within, a: n, b: x})
		b.site(site{kind: setsItem, pos: e.Lbrack, on: x, what: shortText(e.X)})
	}
}

// augment builds x op= y.
func (b *builder) augment(s *syntax.AssignStmt) {
	var old node
	lhs := unparen(s.LHS)
	switch l := lhs.(type) {
	case *syntax.Ident:
		old = b.read(l)
	case *syntax.DotExpr:
		b.expr(l.X)
		old = b.g.fresh(everything)
	case *syntax.IndexExpr:
		x := b.expr(l.X)
		b.expr(l.Y)
		old = b.elementOf(x)
		b.site(site{kind: setsItem, pos: l.Lbrack, on: x, what: shortText(l.X)})
	default:
		return
	}
	y := b.expr(s.RHS)
	result := scalar
	switch s.Op {
	case syntax.PLUS_EQ, syntax.PIPE_EQ: // in place for lists and dicts
		if old != scalar && y != scalar {
			result = b.g.fresh(0)
			b.g.connect(edge{kind: grown, a: old, b: result, other: y})
			b.g.connect(edge{kind: joined, a: old, b: result, other: y})
			if _, slot := lhs.(*syntax.DotExpr); !slot { // that is noted below
				b.site(site{kind: grows, pos: s.OpPos, on: old, by: y, what: shortText(lhs)})
			}
		}
	case syntax.STAR_EQ:
		result = b.repeated(old, y)
	case syntax.MINUS_EQ, syntax.AMP_EQ, syntax.CIRCUMFLEX_EQ:
		result = b.joined(old, y)
	}
	switch l := lhs.(type) {
	case *syntax.Ident:
		b.write(l, result)
	case *syntax.DotExpr:
		b.g.raise(result, stored)
		b.site(site{kind: assigns, pos: l.Name.NamePos, what: shortText(l)})
	case *syntax.IndexExpr:
		// the container was noted above; what it now holds is what it held, grown
	}
}
