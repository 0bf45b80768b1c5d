package guardian

import "go.starlark.net/syntax"

// expr builds e and gives the node of its value.
func (b *builder) expr(e syntax.Expr) node {
	switch e := e.(type) {
	case *syntax.Ident:
		return b.read(e)
	case *syntax.ParenExpr:
		return b.expr(e.X)
	case *syntax.Literal:
		return scalar
	case *syntax.DotExpr:
		if isModule(e.X) {
			return b.g.fresh(mutable) // math.pi, or a function of the module
		}
		return b.attribute(b.expr(e.X), e.Name.Name, e.Dot, shortText(e.X))
	case *syntax.IndexExpr:
		x := b.expr(e.X)
		b.expr(e.Y)
		return b.elementOf(x)
	case *syntax.SliceExpr:
		x := b.expr(e.X)
		for _, i := range []syntax.Expr{e.Lo, e.Hi, e.Step} {
			if i != nil {
				b.expr(i)
			}
		}
		return b.copyOf(x)
	case *syntax.TupleExpr:
		return b.display(e.List)
	case *syntax.ListExpr:
		return b.display(e.List)
	case *syntax.DictExpr:
		n := b.g.fresh(mutable)
		for _, x := range e.List {
			d := x.(*syntax.DictEntry)
			b.expr(d.Key)
			b.g.connect(edge{kind: within, a: b.expr(d.Value), b: n})
		}
		return n
	case *syntax.CondExpr:
		b.expr(e.Cond)
		return b.either(b.expr(e.True), b.expr(e.False))
	case *syntax.UnaryExpr:
		if e.X != nil {
			b.expr(e.X)
		}
		return scalar
	case *syntax.BinaryExpr:
		return b.binary(e)
	case *syntax.Comprehension:
		return b.comprehension(e)
	case *syntax.LambdaExpr:
		return b.function("a lambda", e.Params, func(f *fn) {
			b.g.connect(edge{kind: flow, a: b.expr(e.Body), b: f.result})
		})
	case *syntax.CallExpr:
		return b.call(e)
	}
	return scalar
}

func (b *builder) display(list []syntax.Expr) node {
	n := b.g.fresh(mutable)
	for _, x := range list {
		b.g.connect(edge{kind: within, a: b.expr(x), b: n})
	}
	return n
}

func (b *builder) binary(e *syntax.BinaryExpr) node {
	x, y := b.expr(e.X), b.expr(e.Y)
	switch e.Op {
	case syntax.AND, syntax.OR:
		return b.either(x, y)
	case syntax.PLUS, syntax.MINUS, syntax.PIPE, syntax.AMP, syntax.CIRCUMFLEX:
		return b.joined(x, y)
	case syntax.STAR:
		return b.repeated(x, y)
	}
	return scalar
}

func (b *builder) either(x, y node) node {
	if x == y {
		return x
	}
	n := b.g.fresh(0)
	b.g.connect(edge{kind: flow, a: x, b: n})
	b.g.connect(edge{kind: flow, a: y, b: n})
	return n
}

// joined is x + y: a new container if both are containers, else a number or
// a string.
func (b *builder) joined(x, y node) node {
	if x == scalar || y == scalar {
		return scalar
	}
	n := b.g.fresh(0)
	b.g.connect(edge{kind: joined, a: x, b: n, other: y})
	return n
}

// repeated is x * y: a new container if either is one.
func (b *builder) repeated(x, y node) node {
	if x == scalar && y == scalar {
		return scalar
	}
	n := b.g.fresh(0)
	b.g.connect(edge{kind: copied, a: x, b: n})
	b.g.connect(edge{kind: copied, a: y, b: n})
	return n
}

func (b *builder) copyOf(x node) node {
	if x == scalar {
		return scalar
	}
	n := b.g.fresh(0)
	b.g.connect(edge{kind: copied, a: x, b: n})
	return n
}

func (b *builder) elementOf(x node) node {
	if x == scalar {
		return scalar
	}
	n := b.g.fresh(0)
	b.g.connect(edge{kind: elem, a: x, b: n})
	return n
}

func (b *builder) comprehension(e *syntax.Comprehension) node {
	for i, c := range e.Clauses {
		switch c := c.(type) {
		case *syntax.ForClause:
			if i == 0 { // the first is evaluated outside
				x := b.expr(c.X)
				b.singles(c.Vars)
				b.target(c.Vars, b.elementOf(x))
				continue
			}
			b.singles(c.Vars)
			b.target(c.Vars, b.elementOf(b.expr(c.X)))
		case *syntax.IfClause:
			b.expr(c.Cond)
		}
	}
	n := b.g.fresh(mutable)
	if d, ok := e.Body.(*syntax.DictEntry); ok {
		b.expr(d.Key)
		b.g.connect(edge{kind: within, a: b.expr(d.Value), b: n})
	} else {
		b.g.connect(edge{kind: within, a: b.expr(e.Body), b: n})
	}
	return n
}

// singles marks a comprehension's variables.
func (b *builder) singles(e syntax.Expr) {
	switch e := unparen(e).(type) {
	case *syntax.Ident:
		if v := variableOf(e); v != nil {
			b.single[v] = true
		}
	case *syntax.TupleExpr:
		for _, x := range e.List {
			b.singles(x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			b.singles(x)
		}
	}
}

// attribute is x.name as a value, not called: a slot of an object, or a
// built-in method that may be called later.
func (b *builder) attribute(x node, name string, pos syntax.Position, text string) node {
	n := b.g.fresh(everything)
	switch {
	case slotChangers[name]:
		b.g.become(n, b.bound(site{kind: setsSlot, pos: pos, what: name}).id)
	case mutators[name] && !b.objects[x]:
		f := b.bound(site{kind: mutates, pos: pos, on: x, what: text + "." + name})
		b.g.connect(edge{kind: within, a: f.rest, b: x})
		b.g.become(n, f.id)
	}
	return n
}

// bound makes a function of one site, which happens when it is called.
func (b *builder) bound(s site) *fn {
	f := b.g.newFn(s.what)
	f.sites = append(f.sites, int32(len(b.sites)))
	b.sites = append(b.sites, s)
	return f
}

// shortText writes a name or a chain of slots for a message.
func shortText(e syntax.Expr) string {
	const deep = 4
	return textOf(e, deep)
}

func textOf(e syntax.Expr, deep int) string {
	if deep == 0 {
		return "…"
	}
	switch e := unparen(e).(type) {
	case *syntax.Ident:
		if len(e.Name) > 40 {
			return "…"
		}
		return e.Name
	case *syntax.DotExpr:
		return textOf(e.X, deep-1) + "." + textOf(e.Name, deep-1)
	case *syntax.IndexExpr:
		return textOf(e.X, deep-1) + "[…]"
	case *syntax.CallExpr:
		return textOf(e.Fn, deep-1) + "(…)"
	}
	return "…"
}
