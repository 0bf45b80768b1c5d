package guardian

// The value graph answers one question: may this value be, hold, or share
// structure with what a slot holds? Its nodes are the results of expressions
// and the versions of variables, its edges say how one came from another.
//
// Every fact is a bit that only ever rises, and every edge is looked at again
// only when a bit of one of its ends rose. With twelve bits and edges
// proportional to the source that is linear. Containers are told apart three
// levels deep: a value, what is inside it, and what is deeper.

// node is an index into graph.nodes.
type node int32

// scalar is the one node of all values that can neither change nor hold
// anything: numbers, strings, None.
const scalar node = 0

// fact is a set of things that may be true of a value, four bits for each
// level.
type fact uint16

const (
	state    fact = 1 << iota // it is, or is part of, what a slot held when it was read
	stored                    // it was put into a slot, or into something of a slot, at some point
	mutable                   // it may be a container or an object: something that can change
	function                  // it may be a function of this method
)

// The same facts of what is inside a value, and of what is deeper.
const (
	perLevel = 4
	own      = state | stored | mutable | function
	inside   = own << perLevel
	deeper   = inside << perLevel

	anyState  = state | state<<perLevel | state<<(2*perLevel)
	anyStored = stored | stored<<perLevel | stored<<(2*perLevel)
	// everything is what a slot may hold, or a send may answer.
	everything = anyState | mutable | mutable<<perLevel | mutable<<(2*perLevel)
	// foreign is an argument: a container that holds others, of unknown depth.
	foreign = mutable | mutable<<perLevel | mutable<<(2*perLevel)
)

// held turns facts of an element into facts of its container.
func (f fact) held() fact {
	return f&(own|inside)<<perLevel | f&deeper
}

// element turns facts of a container into those of its elements.
func (f fact) element() fact {
	e := f&(inside|deeper)>>perLevel | f&deeper
	if f&state != 0 {
		e |= everything
	}
	if f&stored != 0 {
		e |= anyStored
	}
	return e
}

// Functions a node may stand for, beside its id when there is just one.
const (
	noFunction   int32 = -1
	manyFunction int32 = -2
)

type edgeKind uint8

const (
	flow    edgeKind = iota // b may be the same thing as a
	within                  // a may be an element of b
	elem                    // b may be an element of a
	copied                  // b may be a new container with the elements of a, if a is one
	joined                  // b may be a new container with the elements of a and of other, if both are
	grown                   // b is a after a += other: a itself if both are containers
	applied                 // a is called: see call
	offered                 // a is handed to code that may call it, with things like b
)

type edge struct {
	kind  edgeKind
	a, b  node
	other node  // joined, grown
	call  int32 // applied, offered
	due   bool  // in the queue
}

type vertex struct {
	facts fact
	fn    int32   // noFunction, manyFunction or the one function it may be
	edges []int32 // edges to look at when the facts or fn change
}

type graph struct {
	nodes []vertex
	edges []edge
	calls []call
	fns   []*fn
	many  *fn     // stands for all functions whose calls can't be told apart
	queue []int32 // edges to look at
	work  int     // edges looked at
}

// call is one call whose callee is a value of the method.
type call struct {
	args   []node
	named  []node // arguments that are not positional: by name, * or **
	result node
	linked int32 // the function it was connected to, or noFunction
}

// fn is one function: the method itself, a def or lambda within it, or the
// bound form of a built-in method that changes its receiver.
type fn struct {
	id      int32
	name    string
	params  []node
	rest    node // flows into every parameter
	result  node
	sites   []int32 // indices into builder.sites
	changes bool    // calling it may change state
	touches bool    // calling it may change what was stored
	escaped bool
}

func newGraph() *graph {
	g := &graph{}
	g.fresh(0) // scalar
	g.many = &fn{id: manyFunction, name: "a function"}
	g.many.rest, g.many.result = g.fresh(0), g.fresh(0)
	return g
}

func (g *graph) fresh(f fact) node {
	g.nodes = append(g.nodes, vertex{facts: f, fn: noFunction})
	return node(len(g.nodes) - 1)
}

func (g *graph) newFn(name string) *fn {
	f := &fn{id: int32(len(g.fns)), name: name, rest: g.fresh(0), result: g.fresh(0)}
	g.fns = append(g.fns, f)
	return f
}

// value makes a node that is f.
func (g *graph) value(f *fn) node {
	n := g.fresh(function)
	g.nodes[n].fn = f.id
	return n
}

func (g *graph) connect(e edge) {
	if e.a == scalar || e.b == scalar && e.kind != applied {
		return
	}
	i := int32(len(g.edges))
	g.edges = append(g.edges, e)
	for k, n := range [...]node{e.a, e.b, e.other} {
		if n != scalar && (k < 1 || n != e.a) && (k < 2 || n != e.b) {
			g.nodes[n].edges = append(g.nodes[n].edges, i)
		}
	}
	g.look(i)
}

func (g *graph) look(i int32) {
	if e := &g.edges[i]; !e.due {
		e.due = true
		g.queue = append(g.queue, i)
	}
}

// push has every edge of n looked at again.
func (g *graph) push(n node) {
	for _, i := range g.nodes[n].edges {
		g.look(i)
	}
}

// raise adds facts to n.
func (g *graph) raise(n node, f fact) {
	v := &g.nodes[n]
	if n == scalar || v.facts|f == v.facts {
		return
	}
	v.facts |= f
	g.push(n)
}

// become says that n may be the function (or functions) id.
func (g *graph) become(n node, id int32) {
	v := &g.nodes[n]
	if n == scalar || id == noFunction || v.fn == id || v.fn == manyFunction {
		return
	}
	if v.fn != noFunction {
		g.escape(v.fn)
		g.escape(id)
		id = manyFunction
	}
	v.fn = id
	v.facts |= function
	g.push(n)
}

// escape makes f one of those that a call of an unknown function may reach.
func (g *graph) escape(id int32) {
	if id < 0 || g.fns[id].escaped {
		return
	}
	f := g.fns[id]
	f.escaped = true
	g.connect(edge{kind: flow, a: g.many.rest, b: f.rest})
	g.connect(edge{kind: flow, a: f.result, b: g.many.result})
}

func (g *graph) is(n node, f fact) bool { return g.nodes[n].facts&f != 0 }

// solve brings all facts to their least fixpoint.
func (g *graph) solve() {
	for len(g.queue) > 0 {
		i := g.queue[len(g.queue)-1]
		g.queue = g.queue[:len(g.queue)-1]
		g.edges[i].due = false
		g.apply(g.edges[i])
	}
}

// back carries to a what became true of b, another name for it: it was put
// into a slot, or was given new contents.
func (g *graph) back(a, b node) {
	if g.is(a, mutable) {
		g.raise(a, g.nodes[b].facts&(stored|inside|deeper))
	}
}

func (g *graph) apply(e edge) {
	g.work++
	a, b := g.nodes[e.a].facts, g.nodes[e.b].facts
	switch e.kind {
	case flow:
		g.raise(e.b, a)
		g.become(e.b, g.nodes[e.a].fn)
		g.back(e.a, e.b)
	case within:
		if g.nodes[e.a].fn != noFunction {
			g.escape(g.nodes[e.a].fn)
		}
		g.raise(e.b, a.held())
		if a&mutable != 0 { // what was done to the elements of b was done to a
			g.raise(e.a, b&deeper|b&deeper>>perLevel)
			if b&(state|stored|stored<<perLevel) != 0 {
				g.raise(e.a, anyStored)
			}
		}
	case elem:
		g.raise(e.b, a.element())
		if a&(function<<perLevel) != 0 {
			g.become(e.b, manyFunction)
		}
		if a&mutable != 0 {
			b = g.nodes[e.b].facts
			g.raise(e.a, b&stored<<perLevel|b&inside<<perLevel|b&deeper)
		}
	case copied:
		if a&mutable != 0 {
			g.raise(e.b, mutable|a.element().held())
			g.original(e.a, e.b)
		}
	case joined:
		if o := g.nodes[e.other].facts; a&o&mutable != 0 {
			g.raise(e.b, mutable|a.element().held()|o.element().held())
			g.original(e.a, e.b)
			g.original(e.other, e.b)
		}
	case grown:
		o := g.nodes[e.other].facts
		if a&o&mutable == 0 {
			return
		}
		g.raise(e.a, o.element().held())
		g.raise(e.b, g.nodes[e.a].facts)
		g.back(e.a, e.b)
		g.original(e.other, e.a)
	case applied:
		g.link(e)
	case offered:
		g.offer(e)
	}
}

// original carries back to a container what was done to the elements of its
// copy: they are its own.
func (g *graph) original(of, cp node) {
	f := g.nodes[cp].facts
	up := f & (deeper | stored<<perLevel)
	if f&stored != 0 {
		up |= anyStored &^ stored
	}
	g.raise(of, up)
}

// link connects a call to the function that its callee turned out to be.
func (g *graph) link(e edge) {
	v := g.nodes[e.a]
	c := &g.calls[e.call]
	if v.facts&mutable != 0 { // a method or function from elsewhere
		g.raise(c.result, everything)
		for _, a := range c.args {
			g.raise(a, stored)
		}
		for _, a := range c.named {
			g.raise(a, stored)
		}
	}
	if v.fn == noFunction || v.fn == c.linked {
		return
	}
	c.linked = v.fn
	f := g.many
	if v.fn >= 0 {
		f = g.fns[v.fn]
	}
	for i, a := range c.args {
		to := f.rest
		if i < len(f.params) {
			to = f.params[i]
		}
		g.connect(edge{kind: flow, a: a, b: to})
	}
	for _, a := range c.named {
		g.connect(edge{kind: flow, a: a, b: f.rest})
	}
	g.connect(edge{kind: flow, a: f.result, b: c.result})
}

// offer connects a function that was handed on to what it may be called with.
func (g *graph) offer(e edge) {
	v := g.nodes[e.a]
	f := g.many
	switch {
	case v.fn >= 0:
		f = g.fns[v.fn]
	case v.fn == noFunction && v.facts&(function<<perLevel) == 0:
		return
	}
	c := &g.calls[e.call]
	if c.linked == f.id {
		return
	}
	c.linked = f.id
	g.connect(edge{kind: flow, a: e.b, b: f.rest})
}
