package guardian

import (
	"strconv"

	"go.starlark.net/syntax"
)

// states is a set of the eight states that a path through the method can be
// in: changed or not, something handed on or not, covenant last or not.
type states uint8

const (
	last    = 1 << iota // the statement before was the covenant
	given               // a container was handed to code that may have kept it
	changed             // state may have changed
)

const noWitness int32 = -1

// effect is what a step's sites do.
type effect struct {
	changes, touches, gives bool
	witness                 int32 // a site that changes
}

// covenant checks every exit of the method and finishes the report.
func (a *audit) covenant(def *syntax.DefStmt) {
	b := newBuilder(def)
	method := b.method(def)
	b.g.solve()
	b.settle()

	a.report.Writes = method.changes
	for _, p := range b.dead {
		a.find(p.Line, p.Col, Unreachable, Warning, "this never runs")
	}
	if !method.changes && !method.touches {
		for _, p := range b.covenants {
			a.find(p.Line, p.Col, Needless, Warning, "the method changes no state itself: the covenant is not needed")
		}
	}
	a.walk(b)
	a.work += b.g.work + len(b.g.nodes) + len(b.sites)
}

// settle computes which functions change state: those with a site that does,
// and those that call such a function.
func (b *builder) settle() {
	g := b.g
	all := append(append([]*fn{}, g.fns...), g.many)
	at := func(id int32) *fn {
		if id == manyFunction {
			return g.many
		}
		return g.fns[id]
	}
	callers := map[*fn][]*fn{}
	var queue []*fn
	mark := func(f *fn, changes, touches bool) {
		if changes && !f.changes || touches && !f.touches {
			f.changes, f.touches = f.changes || changes, f.touches || touches
			queue = append(queue, f)
		}
	}
	for _, f := range g.fns {
		if f.escaped {
			callers[f] = append(callers[f], g.many)
		}
	}
	for _, f := range all {
		for _, i := range f.sites {
			s := b.sites[i]
			if s.kind == calls || s.kind == offers {
				if id := g.nodes[s.on].fn; id != noFunction {
					callers[at(id)] = append(callers[at(id)], f)
				}
				if g.is(s.on, function<<perLevel) {
					callers[g.many] = append(callers[g.many], f)
				}
				continue
			}
			e := b.effect(s)
			mark(f, e.changes, e.touches)
		}
	}
	for len(queue) > 0 {
		f := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, c := range callers[f] {
			mark(c, f.changes, f.touches)
		}
	}
}

// effect says what one site does, once the graph is solved.
func (b *builder) effect(s site) effect {
	g := b.g
	switch s.kind {
	case assigns, setsSlot:
		return effect{changes: true}
	case setsItem, mutates:
		return effect{changes: g.is(s.on, state), touches: g.is(s.on, stored)}
	case grows:
		if !g.is(s.on, mutable) || !g.is(s.by, mutable) {
			return effect{}
		}
		return effect{changes: g.is(s.on, state), touches: g.is(s.on, stored)}
	case passes:
		if !g.is(s.by, mutable) || !g.is(s.on, mutable) { // known code, or nothing to change
			return effect{}
		}
		return effect{changes: g.is(s.on, anyState), gives: true}
	case calls, offers:
		var e effect
		for _, id := range [...]int32{g.nodes[s.on].fn, manyFunction} {
			switch {
			case id == manyFunction && (g.nodes[s.on].fn == id || g.is(s.on, function<<perLevel)):
				e.changes, e.touches = e.changes || g.many.changes, e.touches || g.many.touches
			case id >= 0:
				e.changes, e.touches = e.changes || g.fns[id].changes, e.touches || g.fns[id].touches
			}
		}
		return e
	}
	return effect{}
}

func (b *builder) stepEffect(st step) effect {
	sum := effect{witness: noWitness}
	for _, i := range st.sites {
		e := b.effect(b.sites[i])
		if e.changes && sum.witness == noWitness {
			sum.witness = i
		}
		sum.changes = sum.changes || e.changes
		sum.touches = sum.touches || e.touches
		sum.gives = sum.gives || e.gives
	}
	return sum
}

// after gives the states that a step leads to from those in s.
func (s states) after(kind stepKind, e effect) states {
	var out states
	for st := range uint8(8) {
		if s&(1<<st) == 0 {
			continue
		}
		if kind == covenanted {
			out |= 1 << (st | last)
			continue
		}
		if e.gives {
			st |= given
		}
		altered := e.changes || e.touches && st&(given|changed) != 0
		if altered {
			st |= changed
		}
		if altered || kind == ordinary {
			st &^= last
		}
		out |= 1 << st
	}
	return out
}

// broken reports whether a path in one of these states may not end here.
func (s states) broken() bool {
	return s&(1<<changed|1<<(changed|given)) != 0
}

// anyChanged reports whether a path in one of these states changed something.
func (s states) anyChanged() bool { return s&0xf0 != 0 }

// walk carries states along the blocks until nothing new arrives, then looks
// at every exit.
func (a *audit) walk(b *builder) {
	entry := b.entry
	entry.states, entry.witness = 1, noWitness
	queue := []*block{entry}
	seen := []*block{entry}
	known := map[*block]bool{entry: true}
	effects := map[*block][]effect{}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		n.queued = false
		a.work += 1 + len(n.steps) + len(n.succs)
		if effects[n] == nil {
			for _, st := range n.steps {
				effects[n] = append(effects[n], b.stepEffect(st))
			}
		}
		s, w := n.states, n.witness
		for i, st := range n.steps {
			s = s.after(st.kind, effects[n][i])
			if w == noWitness {
				w = effects[n][i].witness
			}
		}
		for _, next := range n.succs {
			if !known[next] {
				known[next] = true
				next.witness = noWitness
				seen = append(seen, next)
			}
			if next.witness == noWitness && w != noWitness && s.anyChanged() {
				next.witness = w
			}
			if next.states|s != next.states {
				next.states |= s
				if !next.queued {
					next.queued = true
					queue = append(queue, next)
				}
			}
		}
	}
	for _, n := range seen {
		s, w := n.states, n.witness
		for i, st := range n.steps {
			e := effects[n][i]
			s = s.after(st.kind, e)
			own := e.changes
			if w == noWitness {
				w = e.witness
			}
			if (st.kind == leaves || st.kind == ends) && s.broken() {
				a.brokenExit(b, st, own, w, e.witness)
			}
		}
	}
}

func (a *audit) brokenExit(b *builder, st step, own bool, w, ownSite int32) {
	why := ""
	if own {
		w = ownSite
	}
	if w != noWitness {
		s := b.sites[w]
		why = " (" + s.describe(b) + ", line " + strconv.Itoa(int(s.pos.Line)) + ")"
	}
	switch {
	case st.kind == leaves && own:
		a.find(st.pos.Line, st.pos.Col, Exit, a.generated(),
			"the value of this return changes state%s: keep the value in a variable first, then write `self._p_changed = True`, then return the variable", why)
	case st.kind == leaves:
		a.find(st.pos.Line, st.pos.Col, Exit, a.generated(),
			"this return follows a change of state%s without `self._p_changed = True` directly before it: add it on the line before the return", why)
	default:
		a.find(st.pos.Line, st.pos.Col, Exit, a.generated(),
			"the method can end here after a change of state%s without `self._p_changed = True`: add it as the last line of the method", why)
	}
}

// describe says in a few words what a site changes.
func (s site) describe(b *builder) string {
	switch s.kind {
	case assigns:
		return s.what + " is assigned"
	case setsSlot:
		return s.what + " sets a slot"
	case setsItem:
		return "an item of " + s.what + " is assigned"
	case mutates:
		return s.what + " changes what may be state"
	case grows:
		return s.what + " may be state and grows in place; x = x + y makes a new value instead"
	case passes:
		return "state is handed to " + s.what + ", which may change it"
	case offers:
		return s.what + " may call a function that changes state"
	}
	return s.what + " changes state"
}
