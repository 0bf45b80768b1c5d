package guardian

import (
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"

	"batos"
	"batos/object"
)

// covenantSlot is the name that the covenant assigns.
const covenantSlot = "_p_changed"

// rules looks for what no method may contain and collects what it reads,
// assigns and sends.
func (a *audit) rules(def *syntax.DefStmt) {
	covenants := map[*syntax.DotExpr]bool{}
	assigned := map[*syntax.DotExpr]bool{}
	called := map[*syntax.DotExpr]bool{}
	var reads, writes []string
	var sends []batos.Selector
	self := selfName(def)

	syntax.Walk(def, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			if d := covenant(n, self); d != nil {
				covenants[d] = true
			}
			a.noRebinding(n.LHS, self)
			eachTarget(n.LHS, func(d *syntax.DotExpr) {
				assigned[d] = true
				if isSelf(d.X, self) && !covenants[d] {
					writes = append(writes, d.Name.Name)
					if n.Op != syntax.EQ {
						reads = append(reads, d.Name.Name)
					}
				}
			})
		case *syntax.ForStmt:
			a.noRebinding(n.Vars, self)
			eachTarget(n.Vars, func(d *syntax.DotExpr) { assigned[d] = true })
		case *syntax.ForClause:
			a.noRebinding(n.Vars, self)
			eachTarget(n.Vars, func(d *syntax.DotExpr) { assigned[d] = true })
		case *syntax.DefStmt:
			if n != def {
				a.noRebinding(n.Name, self)
			}
		case *syntax.CallExpr:
			switch fn := unparen(n.Fn).(type) {
			case *syntax.DotExpr:
				called[fn] = true
				if sel := fn.Name.Name; isSelf(fn.X, self) || !knownMethod(sel) {
					if s, err := batos.ParseSelector(sel); err == nil && !isModule(fn.X) {
						sends = append(sends, s)
					}
				}
				if names, ok := slotNaming[fn.Name.Name]; ok {
					for _, i := range names {
						a.slotName(n.Args, i)
					}
				}
			case *syntax.Ident:
				if isPredeclared(fn) {
					switch fn.Name {
					case "getattr", "hasattr":
						a.slotName(n.Args, 1)
					case "send_later":
						if s, ok := stringArg(n.Args, 1); ok {
							if sel, err := batos.ParseSelector(s); err == nil {
								sends = append(sends, sel)
							} else {
								p := n.Lparen
								a.find(p.Line, p.Col, Name, Refusal, "%s", err)
							}
						}
					}
				}
			}
		case *syntax.DotExpr:
			a.dotName(n, covenants[n], assigned[n])
			if isSelf(n.X, self) && !assigned[n] && !called[n] {
				reads = append(reads, n.Name.Name)
			}
		case *syntax.Ident:
			if n != def.Name { // signature looks at that
				a.identName(n)
			}
		}
		return true
	})
	a.report.Reads = sorted(reads)
	a.report.Assigned = sorted(writes)
	a.report.Sends = sorted(sends)
}

func sorted[T ~string](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}

// dotName refuses slots of the kernel and, for generated code, volatile ones.
func (a *audit) dotName(d *syntax.DotExpr, covenant, assigned bool) {
	name, p := d.Name.Name, d.Name.NamePos
	if covenant {
		return
	}
	if name == covenantSlot && assigned {
		a.find(p.Line, p.Col, Kernel, Refusal, "the covenant is written exactly `self._p_changed = True`, as a statement of its own")
		return
	}
	a.reserved(p, name)
}

func (a *audit) reserved(p syntax.Position, name string) {
	switch {
	case strings.HasPrefix(name, "_p_"):
		a.find(p.Line, p.Col, Kernel, Refusal, "%s: names beginning with _p_ belong to the kernel", name)
	case strings.HasPrefix(name, "__"):
		a.find(p.Line, p.Col, Kernel, Refusal, "%s: names beginning with two underscores belong to the kernel", name)
	case object.IsVolatile(name):
		a.find(p.Line, p.Col, Volatile, a.generated(), "%s is a volatile slot of one process: generated code can't reach it; use a slot without _v_", name)
	}
}

// slotName checks argument i of a call that names a slot by a string.
func (a *audit) slotName(args []syntax.Expr, i int) {
	if s, ok := stringArg(args, i); ok {
		a.reserved(args[i].(*syntax.Literal).TokenPos, s)
	}
}

func stringArg(args []syntax.Expr, i int) (string, bool) {
	if i >= len(args) {
		return "", false
	}
	lit, ok := args[i].(*syntax.Literal)
	if !ok || lit.Token != syntax.STRING {
		return "", false
	}
	s, ok := lit.Value.(string)
	return s, ok
}

// identName refuses free-standing names of the kernel, and names that nothing
// defines.
func (a *audit) identName(id *syntax.Ident) {
	b, ok := id.Binding.(*resolve.Binding)
	if !ok || b == nil {
		return // the name of a slot, a keyword argument
	}
	if strings.HasPrefix(id.Name, "_p_") || strings.HasPrefix(id.Name, "__") {
		a.reserved(id.NamePos, id.Name)
		return
	}
	if b.Scope != resolve.Predeclared || defined(id.Name) {
		return
	}
	if hint, ok := kernelNames[id.Name]; ok {
		a.find(id.NamePos.Line, id.NamePos.Col, Kernel, Refusal, "%s %s", id.Name, hint)
		return
	}
	text := id.Name + " is not defined"
	if h, ok := missing[id.Name]; ok {
		text += ": " + h
	}
	a.find(id.NamePos.Line, id.NamePos.Col, Undefined, Refusal, "%s", text)
}

// kernelNames are words of the files that describe primordial objects.
var kernelNames = map[string]string{
	"primitive": "belongs to the kernel: a method can't make primitives",
	"kernel":    "belongs to the kernel: send messages to objects instead",
	"exec":      "is not there: a method can't run source",
	"eval":      "is not there: a method can't run source",
	"compile":   "is not there: a method can't run source",
	"globals":   "is not there: state lives in self's slots",
	"locals":    "is not there",
	"setattr":   `is not there: use self.setSlot_value_("name", value)`,
	"delattr":   `is not there: use self.remove_slot_("name")`,
}

// missing says what to write instead of what models expect from other
// languages.
var missing = map[string]string{
	"isinstance": `use type(x) == "int"`,
	"map":        "use a list comprehension",
	"filter":     "use a list comprehension with if",
	"reduce":     "use a loop",
	"super":      "use resend(…)",
	"open":       "methods can't reach files",
	"input":      "methods get arguments, not input",
	"datetime":   "use time.now()",
	"os":         "methods can't reach the machine",
	"sys":        "methods can't reach the machine",
	"requests":   "methods can't reach the network",
	"Exception":  "use fail(text)",
	"ValueError": "use fail(text)",
	"iter":       "loop with for",
	"next":       "index the list instead",
	"pow":        "use math.pow(x, y)",
	"format":     "use an f-string",
	"null":       "write None",
	"true":       "write True",
	"false":      "write False",
	"this":       "write self",
}

// variable is the identity of a variable: the identifier that binds it first.
// It is the same in every function that sees the variable.
type variable = *syntax.Ident

// variableOf gives the variable that id means, or nil for a global name.
func variableOf(id *syntax.Ident) variable {
	if b, ok := id.Binding.(*resolve.Binding); ok {
		switch b.Scope {
		case resolve.Local, resolve.Cell, resolve.Free:
			return b.First
		}
	}
	return nil
}

func isPredeclared(id *syntax.Ident) bool {
	b, ok := id.Binding.(*resolve.Binding)
	return ok && b.Scope == resolve.Predeclared
}

// selfName is the variable of the method's first parameter.
func selfName(def *syntax.DefStmt) variable {
	if len(def.Params) > 0 {
		if id, ok := def.Params[0].(*syntax.Ident); ok {
			return variableOf(id)
		}
	}
	return nil
}

func isSelf(e syntax.Expr, self variable) bool {
	id, ok := unparen(e).(*syntax.Ident)
	return ok && self != nil && variableOf(id) == self
}

// isModule reports whether e is one of the dialect's modules.
func isModule(e syntax.Expr) bool {
	id, ok := unparen(e).(*syntax.Ident)
	return ok && isPredeclared(id) && modules[id.Name]
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

// covenant gives the target if s is the covenant, else nil.
func covenant(s syntax.Stmt, self variable) *syntax.DotExpr {
	a, ok := s.(*syntax.AssignStmt)
	if !ok || a.Op != syntax.EQ {
		return nil
	}
	d, ok := a.LHS.(*syntax.DotExpr)
	if !ok || d.Name.Name != covenantSlot || !isSelf(d.X, self) {
		return nil
	}
	if v, ok := a.RHS.(*syntax.Ident); !ok || v.Name != "True" || !isPredeclared(v) {
		return nil
	}
	return d
}

// eachTarget calls f for the attributes that an assignment to e sets.
func eachTarget(e syntax.Expr, f func(*syntax.DotExpr)) {
	switch e := e.(type) {
	case *syntax.DotExpr:
		f(e)
	case *syntax.ParenExpr:
		eachTarget(e.X, f)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			eachTarget(x, f)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			eachTarget(x, f)
		}
	}
}

// noRebinding refuses to give self another meaning: the covenant is about it.
func (a *audit) noRebinding(target syntax.Expr, self variable) {
	switch e := target.(type) {
	case *syntax.Ident:
		if self != nil && variableOf(e) == self {
			a.find(e.NamePos.Line, e.NamePos.Col, Shape, Refusal, "self can't be assigned: use another name")
		}
	case *syntax.ParenExpr:
		a.noRebinding(e.X, self)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			a.noRebinding(x, self)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			a.noRebinding(x, self)
		}
	}
}
