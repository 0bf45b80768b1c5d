package guardian

import "go.starlark.net/syntax"

// arguments are the values of a call's arguments.
type arguments struct {
	positional []node
	named      []node // by name, and the elements of * and ** arguments
	plain      bool   // there is no * or ** argument
}

func (a arguments) all() []node {
	return append(a.positional[:len(a.positional):len(a.positional)], a.named...)
}

func (b *builder) arguments(list []syntax.Expr) arguments {
	a := arguments{plain: true}
	for _, x := range list {
		switch e := x.(type) {
		case *syntax.BinaryExpr:
			if e.Op == syntax.EQ {
				a.named = append(a.named, b.expr(e.Y))
				continue
			}
		case *syntax.UnaryExpr:
			if e.Op == syntax.STAR || e.Op == syntax.STARSTAR {
				a.plain = false
				a.named = append(a.named, b.elementOf(b.expr(e.X)))
				continue
			}
		}
		a.positional = append(a.positional, b.expr(x))
	}
	return a
}

// call builds a call and gives the node of its result.
func (b *builder) call(e *syntax.CallExpr) node {
	switch fn := unparen(e.Fn).(type) {
	case *syntax.DotExpr:
		if isModule(fn.X) {
			return b.moduleCall(fn.Name.Name, e)
		}
		return b.methodCall(fn, e)
	case *syntax.Ident:
		if isPredeclared(fn) && !isRoot(fn.Name) {
			return b.builtin(fn.Name, e)
		}
	}
	callee := b.expr(e.Fn)
	args := b.arguments(e.Args)
	name := shortText(e.Fn)
	c := call{args: args.positional, named: args.named, result: b.g.fresh(0), linked: noFunction}
	if !args.plain { // positions are not known
		c.args, c.named = nil, args.all()
	}
	b.g.calls = append(b.g.calls, c)
	b.g.connect(edge{kind: applied, a: callee, call: int32(len(b.g.calls) - 1)})
	b.site(site{kind: calls, pos: e.Lparen, on: callee, what: name})
	for _, a := range args.all() {
		b.site(site{kind: passes, pos: e.Lparen, on: a, by: callee, what: name})
		b.offer(a, scalar, name, e.Lparen)
	}
	return c.result
}

// offer notes that a may be a function, and that code of others may call it
// with things like with.
func (b *builder) offer(a, with node, name string, pos syntax.Position) {
	if a == scalar {
		return
	}
	if with != scalar {
		b.g.calls = append(b.g.calls, call{linked: noFunction})
		b.g.connect(edge{kind: offered, a: a, b: with, call: int32(len(b.g.calls) - 1)})
	}
	b.site(site{kind: offers, pos: pos, on: a, what: name})
}

func (b *builder) moduleCall(name string, e *syntax.CallExpr) node {
	b.arguments(e.Args)
	if name == "decode" {
		return b.g.fresh(foreign)
	}
	return scalar
}

// builtin builds a call of one of the dialect's functions.
func (b *builder) builtin(name string, e *syntax.CallExpr) node {
	args := b.arguments(e.Args)
	all := args.all()
	// What a callback such as key= is called with: the elements of the others.
	callbacks := func() {
		elements := b.g.fresh(0)
		for _, a := range all {
			b.g.connect(edge{kind: elem, a: a, b: elements})
		}
		for _, a := range all {
			b.offer(a, elements, name, e.Lparen)
		}
	}
	switch {
	case name == "fail" || name == "send_later" || scalarFunctions[name]:
		return scalar
	case copyFunctions[name]:
		n := b.g.fresh(mutable)
		for _, a := range args.positional {
			b.g.connect(edge{kind: copied, a: a, b: n})
		}
		for _, a := range args.named {
			b.g.connect(edge{kind: within, a: a, b: n})
		}
		callbacks()
		return n
	case name == "min" || name == "max":
		n := b.g.fresh(0)
		for _, a := range all {
			if len(args.positional) == 1 && args.plain {
				b.g.connect(edge{kind: elem, a: a, b: n})
			} else {
				b.g.connect(edge{kind: flow, a: a, b: n})
			}
		}
		callbacks()
		return n
	case name == "sum":
		if len(all) < 2 { // from 0 up: a number
			return scalar
		}
		n := b.copyOf(b.elementOf(all[0]))
		for _, start := range all[1:] {
			n = b.either(n, start)
		}
		return n
	case name == "getattr":
		return b.getattr(e, args)
	case name == "clone" || name == "root":
		n := b.g.fresh(mutable)
		b.objects[n] = true
		return n
	case name == "resend":
		return b.send("resend", all, e.Lparen)
	case isLowered(name):
		return scalar
	}
	return b.send(name, all, e.Lparen)
}

func (b *builder) getattr(e *syntax.CallExpr, args arguments) node {
	if len(args.positional) == 0 {
		return b.send("getattr", args.all(), e.Lparen)
	}
	x := args.positional[0]
	var n node
	if name, ok := stringArg(e.Args, 1); ok {
		n = b.attribute(x, name, e.Lparen, shortText(e.Args[0]))
	} else {
		n = b.g.fresh(everything)
		f := b.bound(site{kind: setsSlot, pos: e.Lparen, what: "a computed getattr"})
		b.g.connect(edge{kind: within, a: f.rest, b: x})
		b.g.become(n, f.id)
	}
	for _, d := range args.positional[1:] {
		b.g.connect(edge{kind: flow, a: d, b: n})
	}
	return n
}

// send builds a message to an object, or any call of code that is not here:
// its result may be part of anybody's state, its arguments are out of hand.
func (b *builder) send(name string, args []node, pos syntax.Position) node {
	elsewhere := b.g.fresh(everything)
	for _, a := range args {
		if a == scalar {
			continue
		}
		b.g.raise(a, stored) // whoever gets it may keep it
		b.site(site{kind: passes, pos: pos, on: a, by: elsewhere, what: name})
		b.offer(a, elsewhere, name, pos)
	}
	return b.g.fresh(everything)
}

// methodCall builds x.name(…): a message to an object, or a built-in method
// of a container or string. Which of the two is told by the name, unless x is
// certainly an object.
func (b *builder) methodCall(d *syntax.DotExpr, e *syntax.CallExpr) node {
	x := b.expr(d.X)
	args := b.arguments(e.Args)
	all := args.all()
	name := d.Name.Name
	text := shortText(d.X) + "." + textOf(d.Name, 1)
	switch {
	case slotChangers[name]:
		for _, a := range all {
			b.g.raise(a, stored)
		}
		b.site(site{kind: setsSlot, pos: d.Dot, what: text})
		return scalar
	case b.objects[x] || !knownMethod(name):
		return b.send(name, all, e.Lparen)
	}
	for _, a := range all { // key= of a sort, an apply function
		b.offer(a, scalar, name, e.Lparen)
	}
	if mutators[name] {
		contents := all
		if keyed[name] && len(args.positional) > 0 && args.plain {
			contents = all[1:]
		}
		for _, a := range contents {
			if extenders[name] {
				a = b.elementOf(a)
			}
			b.g.connect(edge{kind: within, a: a, b: x})
		}
		b.site(site{kind: mutates, pos: d.Dot, on: x, what: text})
	}
	switch {
	case elementMethods[name]:
		n := b.elementOf(x)
		if n == scalar {
			n = b.g.fresh(0)
		}
		defaults := all
		if len(args.positional) > 0 && args.plain {
			defaults = all[1:]
		}
		for _, a := range defaults {
			b.g.connect(edge{kind: flow, a: a, b: n})
		}
		return n
	case copyMethods[name]:
		n := b.g.fresh(mutable)
		b.g.connect(edge{kind: copied, a: x, b: n})
		for _, a := range all {
			b.g.connect(edge{kind: copied, a: a, b: n})
		}
		return n
	case freshMethods[name]:
		return b.g.fresh(mutable)
	}
	return scalar
}
