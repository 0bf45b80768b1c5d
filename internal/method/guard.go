package method

import (
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
)

// guard is a function of the dialect written in Go: the rewriter's guards and
// the named functions alike. It is immutable.
type guard struct {
	name string
	fn   guardFunc
}

type guardFunc func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

var _ starlark.Callable = (*guard)(nil)

func (g *guard) Name() string          { return g.name }
func (g *guard) String() string        { return "<function " + g.name + ">" }
func (g *guard) Type() string          { return "builtin_function_or_method" }
func (g *guard) Freeze()               {}
func (g *guard) Truth() starlark.Bool  { return true }
func (g *guard) Hash() (uint32, error) { return starlark.String(g.name).Hash() }

// CallInternal runs the guard for the run that the thread belongs to.
func (g *guard) CallInternal(t *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return g.fn(runOf(t), args, kwargs)
}

// guards lists what the rewriter refers to, under the names it uses.
func guards() starlark.StringDict {
	d := starlark.StringDict{}
	add := func(name string, fn guardFunc) { d["··"+name] = &guard{name: name, fn: fn} }
	for op := syntax.PLUS; op <= syntax.GTGT; op++ {
		if fn := operator(op); fn != nil {
			add(op.String(), fn)
		}
	}
	for _, op := range []syntax.Token{syntax.EQL, syntax.NEQ, syntax.LT, syntax.LE, syntax.GT, syntax.GE} {
		add(op.String(), comparison(op))
	}
	add(syntax.IN.String(), membership(false))
	add(syntax.NOT_IN.String(), membership(true))
	for _, op := range []syntax.Token{syntax.PLUS, syntax.PIPE, syntax.AMP, syntax.MINUS, syntax.CIRCUMFLEX} {
		add(op.String()+"=", inplace(op))
	}
	for _, op := range []syntax.Token{syntax.PLUS, syntax.MINUS, syntax.TILDE} {
		add("unary"+op.String(), func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			if err := r.charge(intSize(args[0])); err != nil {
				return nil, err
			}
			return starlark.Unary(op, args[0])
		})
	}
	add("slice", sliceGuard)
	add("setitem", setItem)
	add("list", listDisplay)
	add("tuple", tupleDisplay)
	add("dict", dictDisplay)
	add("joinlist", joinLists)
	add("jointuple", joinTuples)
	add("joindict", joinDicts)
	add("madelist", made(listCost))
	add("madedict", made(dictCost))
	add("cell", func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return args[0], r.charge(cellCost + ownSize(args[0]))
	})
	add("entry", func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return args[0], r.charge(entryCost + ownSize(args[0]))
	})
	add("closure", func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		if len(args) == 0 {
			return starlark.None, r.charge(closureCost)
		}
		return args[0], r.charge(closureCost)
	})
	add("entered", entered)
	add("args*", starArgs)
	add("args**", starKwargs)
	add("root", func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return r.root(string(args[0].(starlark.String)))
	})
	add("fstring", concat)
	add("field", formatField)
	d["··omission"] = omission{}
	add("omitted", func(_ *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		_, ok := args[0].(omission)
		return starlark.Bool(ok), nil
	})
	// These two are called while a program is initialised, without a run.
	d["··."] = starlark.NewBuiltin("send", func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return newSender(string(args[0].(starlark.String))), nil
	})
	d["··@"] = starlark.NewBuiltin("read", func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		name := string(args[0].(starlark.String))
		return &guard{name: name, fn: func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return r.attr(args[0], name)
		}}, nil
	})
	return d
}

// omission stands for a container default that a call did not give.
type omission struct{}

func (omission) String() string        { return "omitted" }
func (omission) Type() string          { return "omission" }
func (omission) Freeze()               {}
func (omission) Truth() starlark.Bool  { return false }
func (omission) Hash() (uint32, error) { return 0, nil }

func isContainer(v starlark.Value) bool {
	switch v.(type) {
	case *starlark.List, *starlark.Dict, starlark.Tuple, *starlark.Set:
		return true
	}
	return false
}

// intSize is the bytes of an integer that needs any.
func intSize(v starlark.Value) int {
	if i, ok := v.(starlark.Int); ok {
		return bits(i) / 8
	}
	return 0
}

// bits is the length of an integer, 0 for one that fits a word.
func bits(i starlark.Int) int {
	if _, ok := i.Int64(); ok {
		return 0
	}
	return i.BigInt().BitLen()
}

// ownSize is what keeping v costs beside the place it is kept in, for values
// that are made without being charged.
func ownSize(v starlark.Value) int {
	switch v := v.(type) {
	case starlark.NoneType, starlark.Bool, *Object, *starlark.List, *starlark.Dict, *starlark.Set, *starlark.Function:
		return 0
	case starlark.Int:
		return intSize(v)
	case starlark.Float, Time:
		return 8
	case starlark.String, starlark.Bytes:
		return stringCost
	case starlark.Tuple:
		return 24
	}
	return 128
}

func sizes(vs []starlark.Value) int {
	n := 0
	for _, v := range vs {
		n += ownSize(v)
	}
	return n
}

// length is the number of elements or bytes of v, 0 if it has none.
func length(v starlark.Value) int { return max(0, starlark.Len(v)) }

func made(cost int) guardFunc {
	return func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return args[0], r.charge(cost)
	}
}

// The displays keep the argument tuple, which the interpreter made for them.

func listDisplay(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if err := r.charge(listCost + cellCost*len(args) + sizes(args)); err != nil {
		return nil, err
	}
	return starlark.NewList(args), nil
}

func tupleDisplay(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return r.newTuple(args)
}

// newTuple charges and checks a tuple that was just made.
func (r *Run) newTuple(t starlark.Tuple) (starlark.Value, error) {
	if err := r.charge(listCost + mul(cellCost, len(t)) + sizes(t)); err != nil {
		return nil, err
	}
	return t, r.tuple(t)
}

func dictDisplay(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	n := len(args) / 2
	if err := r.charge(dictCost + entryCost*n + sizes(args)); err != nil {
		return nil, err
	}
	d := starlark.NewDict(n)
	for i := 0; i < len(args); i += 2 {
		if err := r.setNew(d, args[i], args[i+1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// setNew adds an entry of a dict display, in which a key stands once.
func (r *Run) setNew(d *starlark.Dict, k, v starlark.Value) error {
	before := d.Len()
	if err := r.setKey(d, k, v); err != nil {
		return err
	}
	if d.Len() == before {
		return fmt.Errorf("duplicate key: %s", shorten(k.String()))
	}
	return nil
}

func joinLists(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	var all []starlark.Value
	for _, a := range args {
		l := a.(*starlark.List)
		if err := r.charge(mul(cellCost, l.Len())); err != nil {
			return nil, err
		}
		for v := range l.Elements() {
			all = append(all, v)
		}
	}
	return starlark.NewList(all), nil
}

func joinTuples(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	var all starlark.Tuple
	for _, a := range args {
		all = append(all, a.(starlark.Tuple)...)
	}
	return r.newTuple(all)
}

func joinDicts(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	all := new(starlark.Dict)
	for _, a := range args {
		d := a.(*starlark.Dict)
		if err := r.charge(mul(entryCost, d.Len())); err != nil {
			return nil, err
		}
		for k, v := range d.Entries() {
			if err := r.setNew(all, k, v); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// Bounds of a tuple: its own elements, all elements if it holds tuples, and
// how deep they nest. Hashing and printing a tuple walk all of it, and a dict
// look-up does both without a guard.
const (
	maxFlatTuple  = 1 << 16
	maxTuple      = 4096
	maxTupleDepth = 8
)

// tuple checks a tuple that was just made.
func (r *Run) tuple(t starlark.Tuple) error {
	w := tupleWalk{elems: maxTuple, text: maxText}
	if err := r.work(len(t) / 16); err != nil {
		return err
	}
	if len(t) <= maxFlatTuple && !w.beyond(t, 0) {
		return nil
	}
	return r.stop(batos.Errorf(batos.Limit, "a tuple holds at most %d values, or %d nested %d deep, and %d MiB of text; use a list", maxFlatTuple, maxTuple, maxTupleDepth, maxText>>20))
}

type tupleWalk struct{ elems, text int }

func (w *tupleWalk) beyond(t starlark.Tuple, depth int) bool {
	if w.elems -= len(t); w.elems < 0 && depth > 0 || depth > maxTupleDepth {
		return true
	}
	for _, v := range t {
		switch v := v.(type) {
		case starlark.String:
			w.text -= len(v)
		case starlark.Bytes:
			w.text -= len(v)
		case starlark.Tuple:
			if w.beyond(v, depth+1) {
				return true
			}
		}
	}
	return w.text < 0
}

func setItem(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	v, x, k := args[0], args[1], args[2]
	if err := r.setItem(x, k, v); err != nil {
		return nil, err
	}
	return starlark.None, nil
}

func (r *Run) setItem(x, k, v starlark.Value) error {
	switch x := x.(type) {
	case *starlark.List:
		i, err := position32(x, k)
		if err != nil {
			return err
		}
		if err := r.charge(ownSize(v)); err != nil {
			return err
		}
		if err := r.changing(x); err != nil {
			return err
		}
		if err := x.SetIndex(i, v); err != nil {
			return err
		}
		return r.gained(x, v)
	case *starlark.Dict:
		if err := r.charge(entryCost + ownSize(k) + ownSize(v)); err != nil {
			return err
		}
		if err := r.changing(x); err != nil {
			return err
		}
		if err := r.setKey(x, k, v); err != nil {
			return err
		}
		return r.gained(x, k, v)
	case starlark.HasSetKey:
		return x.SetKey(k, v)
	}
	return fmt.Errorf("%s value does not support item assignment", x.Type())
}

// position32 is an index into a list, negative ones from its end.
func position32(l *starlark.List, k starlark.Value) (int, error) {
	i, err := starlark.AsInt32(k)
	if err != nil {
		return 0, fmt.Errorf("list index: %w", err)
	}
	at := i
	if at < 0 {
		at += l.Len()
	}
	if at < 0 || at >= l.Len() {
		return 0, fmt.Errorf("list index %d out of range: the list has %d elements", i, l.Len())
	}
	return at, nil
}

func entered(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	for _, a := range args {
		switch a := a.(type) {
		case starlark.Tuple:
			if _, err := r.newTuple(a); err != nil {
				return nil, err
			}
		case *starlark.Dict:
			if err := r.charge(dictCost + mul(entryCost, a.Len())); err != nil {
				return nil, err
			}
		}
	}
	return starlark.False, nil
}

// starArgs is what stands after * in a call. It is copied onto the operand
// stack and again for the callee.
func starArgs(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	list, err := r.collect("*", args[0])
	if err != nil {
		return nil, err
	}
	return starlark.Tuple(list), r.charge(mul(cellCost, len(list)))
}

func starKwargs(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	d, ok := args[0].(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("argument after ** must be a dict, not %s", args[0].Type())
	}
	return d, r.charge(mul(2*cellCost, d.Len()))
}

func sliceGuard(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	x, ok := args[0].(starlark.Sliceable)
	if !ok {
		return nil, fmt.Errorf("a %s cannot be sliced", args[0].Type())
	}
	lo, hi, step, n, err := bounds(x.Len(), args[1], args[2], args[3])
	if err != nil {
		return nil, err
	}
	cost := stringCost
	switch x.(type) {
	case starlark.String, starlark.Bytes:
		if step != 1 {
			cost += n
		}
	case *starlark.List, starlark.Tuple:
		cost = listCost + mul(cellCost, n)
	}
	if err := r.charge(cost); err != nil {
		return nil, err
	}
	return x.Slice(lo, hi, step), nil
}

// bounds computes what a slice of n elements takes, as Python does, and how
// many elements that is.
func bounds(n int, lo, hi, step starlark.Value) (from, to, by, count int, err error) {
	by = 1
	if step != starlark.None {
		if by, err = starlark.AsInt32(step); err != nil {
			return 0, 0, 0, 0, fmt.Errorf("slice step: %w", err)
		}
		if by == 0 {
			return 0, 0, 0, 0, fmt.Errorf("a slice step cannot be zero")
		}
	}
	clamp := func(v starlark.Value, def, low, high int) int {
		if v == starlark.None || err != nil {
			return def
		}
		var i int
		if i, err = starlark.AsInt32(v); err != nil {
			err = fmt.Errorf("slice index: %w", err)
			return def
		}
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	if by > 0 {
		from, to = clamp(lo, 0, 0, n), clamp(hi, n, 0, n)
		to = max(from, to)
		return from, to, by, (to - from + by - 1) / by, err
	}
	from, to = clamp(lo, n-1, -1, n-1), clamp(hi, -1, -1, n-1)
	from = max(from, to)
	return from, to, by, (from - to - by - 1) / -by, err
}
