package method

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	starmath "go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"batos"
	"batos/object"
)

// universe is everything a program can name without defining it, and the
// guards. It hides every name of the interpreter's own universe: those are
// not metered. It is never changed.
var universe = func() starlark.StringDict {
	d := guards()
	for _, name := range []string{"None", "True", "False"} {
		d[name] = starlark.Universe[name]
	}
	for _, name := range []string{"bool", "chr", "float", "ord", "range", "type"} {
		d[name] = plain(name)
	}
	for name, fn := range map[string]guardFunc{
		"abs": absolute, "all": all, "any": anyOf, "bytes": toBytes, "clone": clone, "dict": dict, "dir": dir,
		"enumerate": enumerate, "fail": fail, "getattr": getattr, "hasattr": hasattr, "hash": hash, "int": toInt,
		"len": lengthOf, "list": list, "max": extreme("max"), "min": extreme("min"), "print": printLine, "random": random,
		"repr": repr, "resend": resend, "reversed": reversed, "root": root, "round": round, "send_later": sendLater,
		"set": set, "sorted": sorted, "str": str, "sum": sum, "tuple": tuple, "zip": zip,
	} {
		d[name] = &guard{name: name, fn: fn}
	}
	d["json"] = &starlarkstruct.Module{Name: "json", Members: starlark.StringDict{
		"decode": &guard{name: "json.decode", fn: jsonDecode},
		"encode": &guard{name: "json.encode", fn: jsonEncode},
	}}
	d["math"] = starmath.Module
	d["time"] = &starlarkstruct.Module{Name: "time", Members: starlark.StringDict{
		"now": &guard{name: "time.now", fn: now},
	}}
	d.Freeze()
	return d
}()

// plain takes a function of the interpreter that costs a constant.
func plain(name string) starlark.Value {
	own := starlark.Universe[name].(*starlark.Builtin)
	return &guard{name: name, fn: func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return own.CallInternal(&r.thread, args, kwargs)
	}}
}

func absolute(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("abs", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	switch n := x.(type) {
	case starlark.Float:
		return starlark.Float(math.Abs(float64(n))), nil
	case starlark.Int:
		if n.Sign() >= 0 {
			return n, nil
		}
		return starlark.MakeInt(0).Sub(n), r.charge(intSize(n))
	}
	return nil, fmt.Errorf("abs: got %s, want a number", x.Type())
}

func lengthOf(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("len", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	if o, ok := x.(*Opaque); ok {
		m, err := o.mapping()
		if err != nil {
			return nil, err
		}
		n, err := m.Len(r)
		return starlark.MakeInt(n), err
	}
	n := starlark.Len(x)
	if n < 0 {
		return nil, fmt.Errorf("len: a %s has no length", x.Type())
	}
	return starlark.MakeInt(n), nil
}

func toBytes(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) == 1 && len(kwargs) == 0 {
		if s, ok := args[0].(starlark.String); ok {
			if err := r.text(3 * len(s)); err != nil {
				return nil, err
			}
		} else if _, ok := args[0].(starlark.Bytes); !ok {
			vs, err := r.collect("bytes", args[0])
			if err != nil {
				return nil, err
			}
			args = starlark.Tuple{starlark.NewList(vs)}
		}
	}
	return starlark.Universe["bytes"].(*starlark.Builtin).CallInternal(&r.thread, args, kwargs)
}

func hash(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	for _, a := range args {
		if err := r.work(length(a) / bytesPerStep); err != nil {
			return nil, err
		}
	}
	return starlark.Universe["hash"].(*starlark.Builtin).CallInternal(&r.thread, args, kwargs)
}

// toInt is int(x, base=10). A text longer than any integer is refused before
// it is read.
func toInt(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) > 0 {
		if x, ok := args[0].(starlark.String); ok {
			if len(x) > maxBits {
				return nil, r.stop(batos.Errorf(batos.Limit, "an integer in a method has at most %d bits", maxBits))
			}
			args = slices.Clone(args)
			args[0] = starlark.String(strings.TrimSpace(string(x)))
		}
	}
	v, err := starlark.Universe["int"].(*starlark.Builtin).CallInternal(&r.thread, args, kwargs)
	if err != nil {
		return nil, err
	}
	if n, ok := v.(starlark.Int); ok && bits(n) > maxBits {
		return nil, r.stop(batos.Errorf(batos.Limit, "an integer in a method has at most %d bits", maxBits))
	}
	return v, nil
}

func str(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value = starlark.String("")
	if err := starlark.UnpackPositionalArgs("str", args, kwargs, 0, &x); err != nil {
		return nil, err
	}
	s, err := r.str(x)
	return starlark.String(s), err
}

func repr(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("repr", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	s, err := r.repr(x)
	return starlark.String(s), err
}

// words writes values as print and fail do.
func (r *Run) words(name string, args starlark.Tuple, kwargs []starlark.Tuple) (string, error) {
	sep := " "
	if err := starlark.UnpackArgs(name, nil, kwargs, "sep?", &sep); err != nil {
		return "", err
	}
	out := textParts{run: r}
	for i, a := range args {
		s, err := r.str(a)
		if err != nil {
			return "", err
		}
		if i > 0 {
			if err := out.add(sep); err != nil {
				return "", err
			}
		}
		if err := out.add(s); err != nil {
			return "", err
		}
	}
	return out.join()
}

// printLine appends to the output of the run.
func printLine(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	s, err := r.words("print", args, kwargs)
	if err != nil {
		return nil, err
	}
	if r.output.Len()+len(s)+1 > r.limits.Output {
		return nil, r.stop(batos.Errorf(batos.Limit, "more than %d bytes printed", r.limits.Output))
	}
	r.output.WriteString(s)
	r.output.WriteByte('\n')
	return starlark.None, nil
}

// fail ends the message with an error of the method's own.
func fail(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	s, err := r.words("fail", args, kwargs)
	if err != nil {
		return nil, err
	}
	return nil, batos.Errorf(batos.Raised, "%s", shorten(s))
}

func getattr(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x, def starlark.Value
	var name string
	if err := starlark.UnpackPositionalArgs("getattr", args, kwargs, 2, &x, &name, &def); err != nil {
		return nil, err
	}
	v, err := r.lookup(x, name)
	if err != nil || v != nil {
		return v, err
	}
	if def != nil {
		return def, nil
	}
	if o, ok := x.(*Object); ok {
		return o.Attr(name)
	}
	return r.attr(x, name)
}

func hasattr(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var name string
	if err := starlark.UnpackPositionalArgs("hasattr", args, kwargs, 2, &x, &name); err != nil {
		return nil, err
	}
	v, err := r.lookup(x, name)
	if err != nil {
		return nil, err
	}
	return starlark.Bool(v != nil), nil
}

// dir lists the methods of a value. An object is asked for its slots with a
// message instead.
func dir(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("dir", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	var names []string
	switch x := x.(type) {
	case *Object:
		return nil, fmt.Errorf("dir: an object is asked by a message: slot_names()")
	case *starlark.List:
		names = keys(listMethods)
	case *starlark.Dict:
		names = keys(dictMethods)
	case *starlark.Set:
		names = keys(setMethods)
	case starlark.String:
		names = keys(strMethods)
	case starlark.HasAttrs:
		names = x.AttrNames()
	}
	if err := r.charge(listCost + mul(cellCost+stringCost, len(names))); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, len(names))
	for i, n := range names {
		out[i] = starlark.String(n)
	}
	return starlark.NewList(out), nil
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// round is round(x, digits=None): to the nearest, halves to even.
func round(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var digits starlark.Value = starlark.None
	if err := starlark.UnpackArgs("round", args, kwargs, "number", &x, "ndigits?", &digits); err != nil {
		return nil, err
	}
	n := 0
	if digits != starlark.None {
		var err error
		if n, err = starlark.AsInt32(digits); err != nil {
			return nil, fmt.Errorf("round: ndigits: %w", err)
		}
	}
	switch v := x.(type) {
	case starlark.Int:
		if n >= 0 {
			return v, nil
		}
		return r.roundInt(v, -n)
	case starlark.Float:
		if digits == starlark.None {
			return starlark.NumberToInt(starlark.Float(math.RoundToEven(float64(v))))
		}
		return starlark.Float(roundFloat(float64(v), n)), nil
	}
	return nil, fmt.Errorf("round: got %s, want a number", x.Type())
}

// roundFloat rounds to n decimal places, correctly for the number's exact
// binary value.
func roundFloat(f float64, n int) float64 {
	switch {
	case n > 323 || math.IsNaN(f) || math.IsInf(f, 0):
		return f
	case n >= 0:
		s, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', n, 64), 64)
		if err != nil {
			return f
		}
		return s
	case n < -308:
		return 0
	}
	unit := math.Pow(10, float64(-n))
	return math.RoundToEven(f/unit) * unit
}

// roundInt rounds to a multiple of 10^n, halves to the even multiple.
func (r *Run) roundInt(v starlark.Int, n int) (starlark.Value, error) {
	if n > maxBits/3 {
		return starlark.MakeInt(0), nil
	}
	if err := r.charge(2*intSize(v) + n); err != nil {
		return nil, err
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	q, rest := new(big.Int).DivMod(v.BigInt(), unit, new(big.Int))
	if half := rest.Lsh(rest, 1).Cmp(unit); half > 0 || half == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return starlark.MakeBigInt(q.Mul(q, unit)), nil
}

// The rest is what the world offers.

func (r *Run) root(name string) (starlark.Value, error) {
	oid, ok, err := r.effects.Root(r, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, batos.Errorf(batos.NotFound, "there is no root object %s", shorten(name))
	}
	return r.Object(oid), nil
}

func root(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackPositionalArgs("root", args, kwargs, 1, &name); err != nil {
		return nil, err
	}
	return r.root(name)
}

func resend(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if r.sends++; r.sends > r.limits.Sends {
		return nil, r.stop(batos.Errorf(batos.Limit, "more than %d sends in one message", r.limits.Sends))
	}
	return r.effects.Resend(r, args, kwargs)
}

func clone(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("clone", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	o, ok := x.(*Object)
	if !ok {
		return nil, fmt.Errorf("clone: got %s, want an object", x.Type())
	}
	if err := r.charge(dictCost); err != nil {
		return nil, err
	}
	oid, err := r.effects.Clone(r, o.oid)
	if err != nil {
		return nil, err
	}
	return r.Object(oid), nil
}

// sendLater is send_later(receiver, selector, args…).
func sendLater(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("send_later: want a receiver and a selector")
	}
	o, ok := args[0].(*Object)
	name, isString := starlark.AsString(args[1])
	if !ok || !isString {
		return nil, fmt.Errorf("send_later: got %s and %s, want an object and a selector", args[0].Type(), args[1].Type())
	}
	sel, err := batos.ParseSelector(name)
	if err != nil {
		return nil, err
	}
	if r.later++; r.later > r.limits.Later {
		return nil, r.stop(batos.Errorf(batos.Limit, "more than %d send_later in one message", r.limits.Later))
	}
	return starlark.None, r.effects.SendLater(r, o.oid, sel, args[2:], kwargs)
}

func now(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("now", args, kwargs); err != nil {
		return nil, err
	}
	t, err := r.effects.Now(r)
	return Time(object.Time(t)), err
}

func random(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("random", args, kwargs); err != nil {
		return nil, err
	}
	f, err := r.effects.Random(r)
	return starlark.Float(f), err
}
