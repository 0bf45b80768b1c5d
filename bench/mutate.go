package main

import (
	"strings"

	"go.starlark.net/syntax"
)

// A mutation is one way to get a method wrong. Its operator makes all wrong
// versions of a source that it can; each differs in one place. The operators
// were fixed before the gate's checks were measured with them.
type mutation struct {
	name string
	of   func(*mutant) []string
}

var mutations = []mutation{
	{"flipped arithmetic", flippedArithmetic},
	{"flipped comparison", flippedComparison},
	{"boundary", boundary},
	{"off by one", offByOne},
	{"wrong slot", wrongSlot},
	{"no-op", noOp},
	{"missing write", missingWrite},
	{"missing return", missingReturn},
	{"swapped arguments", swappedArguments},
	{"wrong function", wrongFunction},
	{"dropped condition", droppedCondition},
	{"flipped truth", flippedTruth},
}

// mutant is a source with what the operators look at.
type mutant struct {
	source string
	lines  []int // offset of each line
	def    *syntax.DefStmt
	slots  []string // of the object
}

func newMutant(source string, slots []string) (*mutant, error) {
	f, err := (&syntax.FileOptions{While: true, Recursion: true, Set: true}).Parse("method", source, 0)
	if err != nil {
		return nil, err
	}
	m := &mutant{source: source, slots: slots, lines: []int{0}}
	for i, c := range source {
		if c == '\n' {
			m.lines = append(m.lines, i+1)
		}
	}
	m.def, _ = f.Stmts[0].(*syntax.DefStmt)
	return m, nil
}

// at is the offset of a position; columns count characters, and the sources
// are ASCII.
func (m *mutant) at(p syntax.Position) int { return m.lines[p.Line-1] + int(p.Col) - 1 }

// with replaces n bytes at a position.
func (m *mutant) with(p syntax.Position, n int, text string) string {
	i := m.at(p)
	return m.source[:i] + text + m.source[i+n:]
}

func (m *mutant) walk(visit func(syntax.Node)) {
	for _, s := range m.def.Body {
		syntax.Walk(s, func(n syntax.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

// operators replaces each operator that the table has.
func (m *mutant) operators(table map[syntax.Token]string) (out []string) {
	m.walk(func(n syntax.Node) {
		switch n := n.(type) {
		case *syntax.BinaryExpr:
			if to, ok := table[n.Op]; ok {
				out = append(out, m.with(n.OpPos, len(n.Op.String()), to))
			}
		case *syntax.AssignStmt:
			if to, ok := table[n.Op]; ok && n.Op != syntax.EQ {
				out = append(out, m.with(n.OpPos, len(n.Op.String()), to))
			}
		}
	})
	return out
}

func flippedArithmetic(m *mutant) []string {
	return m.operators(map[syntax.Token]string{syntax.PLUS: "-", syntax.MINUS: "+", syntax.STAR: "+", syntax.SLASH: "*", syntax.SLASHSLASH: "*",
		syntax.PLUS_EQ: "-=", syntax.MINUS_EQ: "+="})
}

func flippedComparison(m *mutant) []string {
	return m.operators(map[syntax.Token]string{syntax.LT: ">", syntax.GT: "<", syntax.LE: ">=", syntax.GE: "<=", syntax.EQL: "!=", syntax.NEQ: "==",
		syntax.AND: "or", syntax.OR: "and"})
}

func boundary(m *mutant) []string {
	return m.operators(map[syntax.Token]string{syntax.LT: "<=", syntax.GT: ">=", syntax.LE: "<", syntax.GE: ">"})
}

// offByOne moves a number that is written there, or else what is assigned or
// answered if it is computed.
func offByOne(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		switch n := n.(type) {
		case *syntax.Literal:
			if n.Token == syntax.INT {
				out = append(out, m.with(n.TokenPos, len(n.Raw), n.Raw+" + 1"))
			}
		case *syntax.ReturnStmt:
			if b, ok := n.Result.(*syntax.BinaryExpr); ok && (b.Op == syntax.PLUS || b.Op == syntax.MINUS) {
				_, end := b.Span()
				out = append(out, m.with(end, 0, " + 1"))
			}
		case *syntax.AssignStmt:
			if b, ok := n.RHS.(*syntax.BinaryExpr); ok && (b.Op == syntax.PLUS || b.Op == syntax.MINUS) {
				_, end := b.Span()
				out = append(out, m.with(end, 0, " + 1"))
			}
		}
	})
	return out
}

func isSelf(x syntax.Expr) bool {
	id, ok := x.(*syntax.Ident)
	return ok && id.Name == "self"
}

func wrongSlot(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		dot, ok := n.(*syntax.DotExpr)
		if !ok || !isSelf(dot.X) || dot.Name.Name == "_p_changed" {
			return
		}
		for _, s := range m.slots {
			if s != dot.Name.Name {
				out = append(out, m.with(dot.Name.NamePos, len(dot.Name.Name), s))
			}
		}
	})
	// The same mistake everywhere is the likelier one.
	for _, from := range m.slots {
		for _, to := range m.slots {
			if from != to && strings.Contains(m.source, "self."+from) {
				out = append(out, renamed(m.source, from, to))
			}
		}
	}
	return out
}

func renamed(source, from, to string) string {
	var b strings.Builder
	for {
		i := strings.Index(source, "self."+from)
		if i < 0 {
			return b.String() + source
		}
		end := i + len("self.") + len(from)
		b.WriteString(source[:i])
		if end < len(source) && (source[end] == '_' || source[end] >= 'a' && source[end] <= 'z' || source[end] >= '0' && source[end] <= '9') {
			b.WriteString(source[i:end])
		} else {
			b.WriteString("self." + to)
		}
		source = source[end:]
	}
}

// head is the def line.
func (m *mutant) head() string {
	line, _, _ := strings.Cut(m.source, "\n")
	return line
}

// noOp answers what the method would answer, or the first slot, and does
// nothing.
func noOp(m *mutant) (out []string) {
	if !strings.Contains(m.source, "_p_changed") {
		return nil
	}
	for _, s := range m.slots {
		if strings.Contains(m.source, "self."+s) {
			return []string{m.head() + "\n    return self." + s + "\n"}
		}
	}
	return nil
}

// missingWrite leaves one statement out that changes a slot.
func missingWrite(m *mutant) (out []string) {
	lines := strings.Split(m.source, "\n")
	for i, l := range lines {
		code := strings.TrimSpace(l)
		if !strings.HasPrefix(code, "self.") || strings.HasPrefix(code, "self._p_changed") {
			continue
		}
		without := append(append([]string(nil), lines[:i]...), strings.Replace(l, code, "pass", 1))
		without = append(without, lines[i+1:]...)
		text := strings.Join(without, "\n")
		if !strings.Contains(strings.ReplaceAll(text, "self._p_changed = True", ""), "self.") {
			text = strings.ReplaceAll(text, "self._p_changed = True", "pass")
		}
		out = append(out, text)
	}
	return out
}

func missingReturn(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		if r, ok := n.(*syntax.ReturnStmt); ok && r.Result != nil {
			if id, ok := r.Result.(*syntax.Ident); ok && id.Name == "None" {
				return
			}
			_, end := r.Result.Span()
			out = append(out, m.with(r.Return, m.at(end)-m.at(r.Return), "return None"))
		}
	})
	return out
}

func swappedArguments(m *mutant) (out []string) {
	var params []string
	for _, p := range m.def.Params[1:] {
		if id, ok := p.(*syntax.Ident); ok {
			params = append(params, id.Name)
		}
	}
	for i := range params {
		for k := range params[:i] {
			a, b := params[k], params[i]
			head := m.head()
			swapped := strings.Replace(head, "("+strings.Join(append([]string{"self"}, params...), ", ")+")", "("+strings.Join(append([]string{"self"}, exchanged(params, a, b)...), ", ")+")", 1)
			if swapped != head {
				out = append(out, strings.Replace(m.source, head, swapped, 1))
			}
		}
	}
	return out
}

func exchanged(in []string, a, b string) []string {
	out := append([]string(nil), in...)
	for i, s := range out {
		switch s {
		case a:
			out[i] = b
		case b:
			out[i] = a
		}
	}
	return out
}

// others are functions and methods that are taken for each other.
var others = map[string]string{
	"min": "max", "max": "min", "sum": "len", "any": "all", "all": "any", "sorted": "reversed", "upper": "lower", "lower": "upper",
	"append": "remove", "remove": "append", "startswith": "endswith", "endswith": "startswith", "keys": "values", "values": "keys",
	"title": "upper", "strip": "lower", "extend": "append", "split": "strip",
}

func wrongFunction(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return
		}
		switch f := call.Fn.(type) {
		case *syntax.Ident:
			if to := others[f.Name]; to != "" {
				out = append(out, m.with(f.NamePos, len(f.Name), to))
			}
		case *syntax.DotExpr:
			if to := others[f.Name.Name]; to != "" {
				out = append(out, m.with(f.Name.NamePos, len(f.Name.Name), to))
			}
		}
	})
	return out
}

func droppedCondition(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		var cond syntax.Expr
		switch n := n.(type) {
		case *syntax.IfStmt:
			cond = n.Cond
		case *syntax.IfClause:
			cond = n.Cond
		case *syntax.CondExpr:
			cond = n.Cond
		default:
			return
		}
		from, to := cond.Span()
		out = append(out, m.with(from, m.at(to)-m.at(from), "True"))
	})
	return out
}

func flippedTruth(m *mutant) (out []string) {
	m.walk(func(n syntax.Node) {
		switch n := n.(type) {
		case *syntax.Ident:
			if to := map[string]string{"True": "False", "False": "True"}[n.Name]; to != "" && !strings.HasPrefix(m.source[m.lines[n.NamePos.Line-1]:], m.indent(n.NamePos)+"self._p_changed") {
				out = append(out, m.with(n.NamePos, len(n.Name), to))
			}
		case *syntax.UnaryExpr:
			if n.Op == syntax.NOT {
				out = append(out, m.with(n.OpPos, len("not "), ""))
			}
		}
	})
	return out
}

// indent is the white space that the line of a position begins with.
func (m *mutant) indent(p syntax.Position) string {
	line := m.source[m.lines[p.Line-1]:]
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}
