package method

import (
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
)

// operator makes the guard of x op y; nil if the operator needs none.
func operator(op syntax.Token) guardFunc {
	switch op {
	case syntax.PLUS, syntax.MINUS, syntax.STAR, syntax.SLASHSLASH, syntax.PERCENT, syntax.AMP, syntax.PIPE, syntax.CIRCUMFLEX, syntax.LTLT, syntax.GTGT:
		return func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return r.binary(op, args[0], args[1])
		}
	}
	return nil
}

// binary is x op y, charged before it is computed.
func (r *Run) binary(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	if a, ok := x.(starlark.Int); ok {
		if b, ok := y.(starlark.Int); ok {
			if err := r.intOp(op, a, b); err != nil {
				return nil, err
			}
			return starlark.Binary(op, x, y)
		}
	}
	switch op {
	case syntax.PLUS:
		return r.add(x, y)
	case syntax.STAR:
		if n, ok := y.(starlark.Int); ok {
			return r.repeat(op, x, y, x, n)
		}
		if n, ok := x.(starlark.Int); ok {
			return r.repeat(op, x, y, y, n)
		}
	case syntax.PERCENT:
		if format, ok := x.(starlark.String); ok {
			return r.percent(string(format), y)
		}
	case syntax.PIPE, syntax.AMP, syntax.CIRCUMFLEX, syntax.MINUS:
		if isContainer(x) {
			if err := r.charge(dictCost + mul(entryCost, length(x)+length(y))); err != nil {
				return nil, err
			}
		}
	}
	return starlark.Binary(op, x, y)
}

// intOp charges the result of integer arithmetic and bounds its size.
func (r *Run) intOp(op syntax.Token, a, b starlark.Int) error {
	na, nb := bits(a), bits(b)
	n := max(na, nb)
	switch op {
	case syntax.STAR:
		n = na + nb
	case syntax.LTLT:
		if k, ok := b.Int64(); ok && k > 0 && k < 1<<20 {
			n = na + int(k)
		}
	}
	if n == 0 {
		return nil // at most two words
	}
	if n > maxBits {
		return r.stop(batos.Errorf(batos.Limit, "an integer in a method has at most %d bits", maxBits))
	}
	return r.charge(n/8 + 16)
}

func (r *Run) add(x, y starlark.Value) (starlark.Value, error) {
	switch a := x.(type) {
	case starlark.String:
		if b, ok := y.(starlark.String); ok {
			if err := r.text(len(a) + len(b)); err != nil {
				return nil, err
			}
			return a + b, nil
		}
		return nil, mismatch(syntax.PLUS, x, y)
	case starlark.Bytes:
		if b, ok := y.(starlark.Bytes); ok {
			if err := r.text(len(a) + len(b)); err != nil {
				return nil, err
			}
			return a + b, nil
		}
	case *starlark.List, starlark.Tuple:
		if err := r.charge(listCost + mul(cellCost, length(x)+length(y))); err != nil {
			return nil, err
		}
		v, err := starlark.Binary(syntax.PLUS, x, y)
		if t, ok := v.(starlark.Tuple); ok && err == nil {
			err = r.tuple(t)
		}
		return v, err
	}
	return starlark.Binary(syntax.PLUS, x, y)
}

// mismatch is the error that beginners meet most: "a" + 1.
func mismatch(op syntax.Token, x, y starlark.Value) error {
	hint := ""
	if _, ok := x.(starlark.String); ok && op == syntax.PLUS {
		hint = "; use str() or an f-string"
	}
	return fmt.Errorf("unknown binary op: %s %s %s%s", x.Type(), op, y.Type(), hint)
}

// repeat is seq * n, in whatever order x and y stand.
func (r *Run) repeat(op syntax.Token, x, y, seq starlark.Value, n starlark.Int) (starlark.Value, error) {
	times := 0
	if k, ok := n.Int64(); ok {
		times = int(max(0, min(k, 1<<40)))
	} else if n.Sign() > 0 {
		times = 1 << 40
	}
	var err error
	switch seq := seq.(type) {
	case starlark.String, starlark.Bytes:
		err = r.text(mul(length(seq), times))
	case *starlark.List, starlark.Tuple:
		err = r.charge(listCost + mul(mul(cellCost, length(seq)), times))
	}
	if err != nil {
		return nil, err
	}
	v, err := starlark.Binary(op, x, y)
	if t, ok := v.(starlark.Tuple); ok && err == nil {
		err = r.tuple(t)
	}
	return v, err
}

// inplace makes the guard of x op= y, which changes x where Python does:
// lists by +=, dicts and sets by |=, sets by &=, -= and ^=.
func inplace(op syntax.Token) guardFunc {
	return func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		x, y := args[0], args[1]
		switch a := x.(type) {
		case *starlark.List:
			if op == syntax.PLUS {
				return a, r.extend(a, y)
			}
		case *starlark.Dict:
			if b, ok := y.(*starlark.Dict); ok && op == syntax.PIPE {
				return a, r.update(a, b)
			}
		case *starlark.Set:
			if b, ok := y.(*starlark.Set); ok {
				return a, r.updateSet(op, a, b)
			}
		}
		return r.binary(op, x, y)
	}
}

// extend appends what y yields to l.
func (r *Run) extend(l *starlark.List, y starlark.Value) error {
	items, err := r.collect("+=", y)
	if err != nil {
		return err
	}
	if err := r.changing(l); err != nil {
		return err
	}
	if err := r.charge(mul(cellCost, len(items))); err != nil {
		return err
	}
	for _, v := range items {
		if err := l.Append(v); err != nil {
			return err
		}
	}
	return r.gained(l, items...)
}

// update sets d's entries from those of e.
func (r *Run) update(d, e *starlark.Dict) error {
	if err := r.charge(mul(entryCost, e.Len())); err != nil {
		return err
	}
	if err := r.changing(d); err != nil {
		return err
	}
	for _, kv := range e.Items() {
		if err := r.setKey(d, kv[0], kv[1]); err != nil {
			return err
		}
		if err := r.gained(d, kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

// updateSet changes s to s op t.
func (r *Run) updateSet(op syntax.Token, s, t *starlark.Set) error {
	if op == syntax.PIPE {
		return r.insertAll(s, t)
	}
	if err := r.charge(mul(entryCost, s.Len()+t.Len())); err != nil {
		return err
	}
	if err := r.changing(s); err != nil {
		return err
	}
	result, err := starlark.Binary(op, s, t)
	if err != nil {
		return err
	}
	if err := s.Clear(); err != nil {
		return err
	}
	return r.insertAll(s, result.(*starlark.Set))
}

// insertAll adds the elements of t to s.
func (r *Run) insertAll(s, t *starlark.Set) error {
	if s == t {
		return nil
	}
	if err := r.charge(mul(entryCost, t.Len())); err != nil {
		return err
	}
	if err := r.changing(s); err != nil {
		return err
	}
	for v := range t.Elements() {
		if err := r.insert(s, v); err != nil {
			return err
		}
		if err := r.gained(s, v); err != nil {
			return err
		}
	}
	return nil
}

func comparison(op syntax.Token) guardFunc {
	return func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		ok, err := r.compare(op, args[0], args[1])
		return starlark.Bool(ok), err
	}
}

// maxCompare is how deep a comparison follows nested containers.
const maxCompare = MaxNesting + 4

// compare is x op y. Containers are walked step by step, so that sharing and
// cycles inside them cost what they cost and no more than the run has.
func (r *Run) compare(op syntax.Token, x, y starlark.Value) (bool, error) {
	if !isContainer(x) || !isContainer(y) {
		if a, ok := x.(starlark.String); ok {
			if err := r.work(min(len(a), length(y)) / 512); err != nil {
				return false, err
			}
		}
		return starlark.Compare(op, x, y)
	}
	switch op {
	case syntax.EQL:
		return r.equal(x, y, 0)
	case syntax.NEQ:
		same, err := r.equal(x, y, 0)
		return !same, err
	}
	return r.ordered(op, x, y, 0)
}

func (r *Run) equal(x, y starlark.Value, depth int) (bool, error) {
	if depth > maxCompare {
		return false, r.stop(batos.Errorf(batos.Limit, "comparison of values nested more than %d deep", maxCompare))
	}
	if err := r.work(1); err != nil {
		return false, err
	}
	switch a := x.(type) {
	case *starlark.List:
		b, ok := y.(*starlark.List)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		for i := range a.Len() {
			if same, err := r.equal(a.Index(i), b.Index(i), depth+1); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	case starlark.Tuple:
		b, ok := y.(starlark.Tuple)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for i := range a {
			if same, err := r.equal(a[i], b[i], depth+1); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	case *starlark.Dict:
		b, ok := y.(*starlark.Dict)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		for k, v := range a.Entries() {
			if err := r.work(keyWork(k)); err != nil {
				return false, err
			}
			w, found, err := b.Get(k)
			if !found || err != nil {
				return false, err
			}
			if same, err := r.equal(v, w, depth+1); !same || err != nil {
				return false, err
			}
		}
		return true, nil
	case *starlark.Set:
		b, ok := y.(*starlark.Set)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		return r.subset(a, b)
	}
	return r.compare(syntax.EQL, x, y)
}

// subset reports whether b holds every element of a.
func (r *Run) subset(a, b *starlark.Set) (bool, error) {
	for v := range a.Elements() {
		if err := r.work(1 + keyWork(v)); err != nil {
			return false, err
		}
		if found, err := b.Has(v); !found || err != nil {
			return false, err
		}
	}
	return true, nil
}

// ordered is <, <=, > or >= of containers: sequences compare by their first
// difference, sets by inclusion.
func (r *Run) ordered(op syntax.Token, x, y starlark.Value, depth int) (bool, error) {
	if depth > maxCompare {
		return false, r.stop(batos.Errorf(batos.Limit, "comparison of values nested more than %d deep", maxCompare))
	}
	switch a := x.(type) {
	case *starlark.List:
		if b, ok := y.(*starlark.List); ok {
			return r.orderedSeq(op, a, b, depth)
		}
	case starlark.Tuple:
		if b, ok := y.(starlark.Tuple); ok {
			return r.orderedSeq(op, a, b, depth)
		}
	case *starlark.Set:
		if b, ok := y.(*starlark.Set); ok {
			return r.orderedSet(op, a, b)
		}
	}
	return false, fmt.Errorf("%s %s %s not implemented", x.Type(), op, y.Type())
}

func (r *Run) orderedSeq(op syntax.Token, a, b starlark.Indexable, depth int) (bool, error) {
	for i := range min(a.Len(), b.Len()) {
		u, v := a.Index(i), b.Index(i)
		same, err := r.equal(u, v, depth+1)
		if err != nil {
			return false, err
		}
		if same {
			continue
		}
		if isContainer(u) && isContainer(v) {
			return r.ordered(op, u, v, depth+1)
		}
		return starlark.Compare(op, u, v)
	}
	return starlark.Compare(op, starlark.MakeInt(a.Len()), starlark.MakeInt(b.Len()))
}

func (r *Run) orderedSet(op syntax.Token, a, b *starlark.Set) (bool, error) {
	switch op {
	case syntax.LE, syntax.LT:
		if a.Len() > b.Len() || op == syntax.LT && a.Len() == b.Len() {
			return false, nil
		}
		return r.subset(a, b)
	}
	if b.Len() > a.Len() || op == syntax.GT && a.Len() == b.Len() {
		return false, nil
	}
	return r.subset(b, a)
}

func membership(not bool) guardFunc {
	return func(r *Run, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		found, err := r.contains(args[1], args[0])
		return starlark.Bool(found != not), err
	}
}

// contains is x in y.
func (r *Run) contains(y, x starlark.Value) (bool, error) {
	switch y := y.(type) {
	case *starlark.List:
		_, found, err := r.find(y, x, 0, y.Len())
		return found, err
	case starlark.Tuple:
		_, found, err := r.find(y, x, 0, len(y))
		return found, err
	case starlark.String, starlark.Bytes:
		if err := r.work(length(y) / bytesPerStep); err != nil {
			return false, err
		}
	case *Opaque:
		_, found, err := y.Get(x)
		return found, err
	}
	if err := r.work(keyWork(x)); err != nil {
		return false, err
	}
	v, err := starlark.Binary(syntax.IN, x, y)
	if err != nil {
		return false, err
	}
	return bool(v.Truth()), nil
}

// find looks for x in seq[from:to] by equality.
func (r *Run) find(seq starlark.Indexable, x starlark.Value, from, to int) (int, bool, error) {
	for i := from; i < to; i++ {
		if err := r.work(1); err != nil {
			return 0, false, err
		}
		same, err := r.compare(syntax.EQL, seq.Index(i), x)
		if err != nil {
			return 0, false, err
		}
		if same {
			return i, true, nil
		}
	}
	return 0, false, nil
}
