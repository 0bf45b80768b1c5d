package method

import (
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

var universe = starlark.Universe

type fstring struct{}

type lowerer struct {
	name  string
	found map[[2]int32]*fstring
}

func maskFStrings(_, src string, _, _ int32, _ int) (string, map[[2]int32]*fstring, error) {
	return src, nil, nil
}
func (l *lowerer) stmts([]syntax.Stmt) error { return nil }

func rewrite(name string, def *syntax.DefStmt) (*syntax.File, error) {
	return &syntax.File{Path: name, Stmts: []syntax.Stmt{def}, Options: options}, nil
}

// ParseFile reads the description of one object.
func ParseFile(name, src string) ([]Def, error) { return nil, nil }

// FString is the name of the function that f-strings are lowered to calls of.
const FString = "·fstring"

type guard struct {
	name string
	fn   func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
}

func (g *guard) Name() string          { return g.name }
func (g *guard) String() string        { return "<function " + g.name + ">" }
func (g *guard) Type() string          { return "builtin_function_or_method" }
func (g *guard) Freeze()               {}
func (g *guard) Truth() starlark.Bool  { return true }
func (g *guard) Hash() (uint32, error) { return starlark.String(g.name).Hash() }
func (g *guard) CallInternal(t *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return g.fn(runOf(t), args, kwargs)
}

func (r *Run) setKey(d *starlark.Dict, k, v starlark.Value) error { return d.SetKey(k, v) }
func (r *Run) insert(s *starlark.Set, v starlark.Value) error     { return s.Insert(v) }
func (r *Run) tuple(t starlark.Tuple) error                       { return nil }
