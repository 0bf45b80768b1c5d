package method

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Functions over sequences. They walk their arguments element by element, so
// that they can be stopped anywhere and cost what they take.

// collect gives the elements of an iterable in a new slice.
func (r *Run) collect(name string, v starlark.Value) ([]starlark.Value, error) {
	it := starlark.Iterate(v)
	if it == nil {
		return nil, fmt.Errorf("%s: a %s is not iterable", name, v.Type())
	}
	defer it.Done()
	if err := r.charge(listCost); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, 0, min(length(v), 1024))
	var x starlark.Value
	for it.Next(&x) {
		if err := r.charge(cellCost + ownSize(x)); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// optional is collect of the one argument of list() and its like.
func (r *Run) optional(name string, args starlark.Tuple, kwargs []starlark.Tuple) ([]starlark.Value, error) {
	var x starlark.Value = starlark.Tuple{}
	if err := starlark.UnpackPositionalArgs(name, args, kwargs, 0, &x); err != nil {
		return nil, err
	}
	return r.collect(name, x)
}

func list(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	vs, err := r.optional("list", args, kwargs)
	return starlark.NewList(vs), err
}

func tuple(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	vs, err := r.optional("tuple", args, kwargs)
	if err != nil {
		return nil, err
	}
	return starlark.Tuple(vs), r.tuple(vs)
}

func set(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value = starlark.Tuple{}
	if err := starlark.UnpackPositionalArgs("set", args, kwargs, 0, &x); err != nil {
		return nil, err
	}
	return r.newSet("set", x)
}

// newSet makes a set of what x yields.
func (r *Run) newSet(name string, x starlark.Value) (*starlark.Set, error) {
	vs, err := r.collect(name, x)
	if err != nil {
		return nil, err
	}
	if err := r.charge(dictCost); err != nil {
		return nil, err
	}
	s := starlark.NewSet(0)
	for _, v := range vs {
		if err := r.charge(entryCost); err != nil {
			return nil, err
		}
		if err := r.insert(s, v); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func dict(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return r.newDict("dict", args, kwargs)
}

// newDict makes a dict of another or of pairs, and of named arguments.
func (r *Run) newDict(name string, args starlark.Tuple, kwargs []starlark.Tuple) (*starlark.Dict, error) {
	if len(args) > 1 {
		return nil, fmt.Errorf("%s: got %d arguments, want at most 1", name, len(args))
	}
	if err := r.charge(dictCost + mul(entryCost, len(kwargs))); err != nil {
		return nil, err
	}
	d := new(starlark.Dict)
	if len(args) == 1 {
		if err := r.fill(name, d, args[0]); err != nil {
			return nil, err
		}
	}
	for _, kv := range kwargs {
		if err := r.setKey(d, kv[0], kv[1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (r *Run) fill(name string, d *starlark.Dict, x starlark.Value) error {
	if e, ok := x.(*starlark.Dict); ok {
		return r.update(d, e)
	}
	pairs, err := r.collect(name, x)
	if err != nil {
		return err
	}
	for i, p := range pairs {
		pair, err := r.collect(name, p)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("%s: element %d has %d parts, want a key and a value", name, i, len(pair))
		}
		if err := r.charge(entryCost); err != nil {
			return err
		}
		if err := r.setKey(d, pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

func reversed(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("reversed", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	vs, err := r.collect("reversed", x)
	slices.Reverse(vs)
	return starlark.NewList(vs), err
}

func enumerate(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	start := 0
	if err := starlark.UnpackArgs("enumerate", args, kwargs, "iterable", &x, "start?", &start); err != nil {
		return nil, err
	}
	vs, err := r.collect("enumerate", x)
	if err != nil {
		return nil, err
	}
	for i, v := range vs {
		if vs[i], err = r.newTuple(starlark.Tuple{starlark.MakeInt(start + i), v}); err != nil {
			return nil, err
		}
	}
	return starlark.NewList(vs), nil
}

func zip(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(kwargs) > 0 {
		return nil, fmt.Errorf("zip: unexpected keyword arguments")
	}
	rows := -1
	columns := make([][]starlark.Value, len(args))
	for i, a := range args {
		var err error
		if columns[i], err = r.collect("zip", a); err != nil {
			return nil, err
		}
		if rows < 0 || len(columns[i]) < rows {
			rows = len(columns[i])
		}
	}
	out := make([]starlark.Value, 0, max(rows, 0))
	for i := range max(rows, 0) {
		row := make(starlark.Tuple, len(columns))
		for j := range columns {
			row[j] = columns[j][i]
		}
		t, err := r.newTuple(row)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return starlark.NewList(out), r.charge(mul(cellCost, len(out)))
}

// each calls f with the elements of the one argument until it answers false.
func (r *Run) each(name string, args starlark.Tuple, kwargs []starlark.Tuple, f func(starlark.Value) bool) error {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs(name, args, kwargs, 1, &x); err != nil {
		return err
	}
	it := starlark.Iterate(x)
	if it == nil {
		return fmt.Errorf("%s: a %s is not iterable", name, x.Type())
	}
	defer it.Done()
	var v starlark.Value
	for it.Next(&v) {
		if err := r.work(1); err != nil {
			return err
		}
		if !f(v) {
			break
		}
	}
	return nil
}

func all(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	result := true
	err := r.each("all", args, kwargs, func(v starlark.Value) bool {
		result = bool(v.Truth())
		return result
	})
	return starlark.Bool(result), err
}

func anyOf(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	result := false
	err := r.each("any", args, kwargs, func(v starlark.Value) bool {
		result = bool(v.Truth())
		return !result
	})
	return starlark.Bool(result), err
}

// sum is sum(iterable, start=0).
func sum(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var total starlark.Value = starlark.MakeInt(0)
	if err := starlark.UnpackArgs("sum", args, kwargs, "iterable", &x, "start?", &total); err != nil {
		return nil, err
	}
	if _, ok := total.(starlark.String); ok {
		return nil, fmt.Errorf("sum: strings are joined with \"\".join(…)")
	}
	it := starlark.Iterate(x)
	if it == nil {
		return nil, fmt.Errorf("sum: a %s is not iterable", x.Type())
	}
	defer it.Done()
	var v starlark.Value
	for it.Next(&v) {
		if err := r.work(1); err != nil {
			return nil, err
		}
		if b, ok := v.(starlark.Bool); ok {
			v = starlark.MakeInt(0)
			if b {
				v = starlark.MakeInt(1)
			}
		}
		var err error
		if total, err = r.binary(syntax.PLUS, total, v); err != nil {
			return nil, fmt.Errorf("sum: %w", err)
		}
	}
	return total, nil
}

// extreme makes min and max: of several arguments or of one iterable, with
// key= and default=.
func extreme(name string) guardFunc {
	op := syntax.LT
	if name == "max" {
		op = syntax.GT
	}
	return func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var key, def starlark.Value
		if err := starlark.UnpackArgs(name, nil, kwargs, "key?", &key, "default?", &def); err != nil {
			return nil, err
		}
		vs := []starlark.Value(args)
		if len(args) == 1 {
			var err error
			if vs, err = r.collect(name, args[0]); err != nil {
				return nil, err
			}
		}
		if len(vs) == 0 {
			if def != nil {
				return def, nil
			}
			return nil, fmt.Errorf("%s: no values", name)
		}
		ranks, err := r.ranks(vs, key)
		if err != nil {
			return nil, err
		}
		best := 0
		for i := 1; i < len(vs); i++ {
			if err := r.work(1); err != nil {
				return nil, err
			}
			better, err := r.compare(op, ranks[i], ranks[best])
			if err != nil {
				return nil, err
			}
			if better {
				best = i
			}
		}
		return vs[best], nil
	}
}

// ranks gives what values are ordered by: themselves, or key(value).
func (r *Run) ranks(vs []starlark.Value, key starlark.Value) ([]starlark.Value, error) {
	if key == nil || key == starlark.None {
		return vs, nil
	}
	if err := r.charge(mul(cellCost, len(vs))); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, len(vs))
	for i, v := range vs {
		k, err := starlark.Call(&r.thread, key, starlark.Tuple{v}, nil)
		if err != nil {
			return nil, err
		}
		if err := r.charge(ownSize(k)); err != nil {
			return nil, err
		}
		out[i] = k
	}
	return out, nil
}

func sortArgs(name string, args starlark.Tuple, kwargs []starlark.Tuple) (key starlark.Value, reverse bool, err error) {
	err = starlark.UnpackArgs(name, args, kwargs, "key?", &key, "reverse?", &reverse)
	return key, reverse, err
}

func sorted(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("sorted", args, nil, 1, &x); err != nil {
		return nil, err
	}
	key, reverse, err := sortArgs("sorted", nil, kwargs)
	if err != nil {
		return nil, err
	}
	vs, err := r.collect("sorted", x)
	if err != nil {
		return nil, err
	}
	vs, err = r.sort(vs, key, reverse)
	return starlark.NewList(vs), err
}

// sort answers vs in order, equal ones as they stood.
func (r *Run) sort(vs []starlark.Value, key starlark.Value, reverse bool) ([]starlark.Value, error) {
	ranks, err := r.ranks(vs, key)
	if err != nil {
		return nil, err
	}
	if err := r.charge(mul(cellCost, len(vs))); err != nil {
		return nil, err
	}
	order := make([]int, len(vs))
	for i := range order {
		order[i] = i
	}
	op := syntax.LT
	if reverse {
		op = syntax.GT
	}
	// After the first error every comparison answers "equal", which ends the
	// sort in one more pass.
	var failed error
	slices.SortStableFunc(order, func(a, b int) int {
		if failed != nil {
			return 0
		}
		if failed = r.work(1); failed != nil {
			return 0
		}
		var before bool
		if before, failed = r.compare(op, ranks[a], ranks[b]); before {
			return -1
		}
		if before, failed = r.compare(op, ranks[b], ranks[a]); before && failed == nil {
			return 1
		}
		return 0
	})
	if failed != nil {
		return nil, failed
	}
	out := make([]starlark.Value, len(vs))
	for i, at := range order {
		out[i] = vs[at]
	}
	return out, nil
}
