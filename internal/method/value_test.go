package method

import (
	"context"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"pgregory.net/rapid"

	"batos"
	"batos/object"
)

// anyValue generates slot values of every storable kind.
func anyValue(depth int) *rapid.Generator[object.Value] {
	scalar := rapid.OneOf(
		rapid.Just[object.Value](object.None{}),
		rapid.Map(rapid.Bool(), func(b bool) object.Value { return object.Bool(b) }),
		rapid.Map(rapid.Int64(), func(i int64) object.Value { return object.NewInt(i) }),
		rapid.Map(rapid.Uint64(), func(i uint64) object.Value {
			n := new(big.Int).SetUint64(i)
			return object.BigInt(n.Mul(n, n))
		}),
		rapid.Map(rapid.Float64(), func(f float64) object.Value { return object.Float(f) }),
		rapid.Map(rapid.String(), func(s string) object.Value { return object.Str(s) }),
		rapid.Map(rapid.StringN(0, 10, 10), func(s string) object.Value { return object.Bytes(s) }),
		rapid.Map(rapid.Uint64Min(1), func(o uint64) object.Value { return object.Ref(o) }),
		rapid.Map(rapid.Int64(), func(i int64) object.Value { return object.Time(i) }),
	)
	if depth == 0 {
		return scalar
	}
	inner := anyValue(depth - 1)
	items := rapid.SliceOfN(inner, 0, 4)
	return rapid.OneOf(scalar,
		rapid.Map(items, func(vs []object.Value) object.Value { return &object.List{Items: vs} }),
		rapid.Map(items, func(vs []object.Value) object.Value { return &object.Tuple{Items: vs} }),
		rapid.Map(rapid.SliceOfNDistinct(rapid.String(), 0, 4, rapid.ID), func(ks []string) object.Value {
			s := &object.Set{Items: []object.Value{}}
			for _, k := range ks {
				s.Items = append(s.Items, object.Str(k))
			}
			return s
		}),
		rapid.Custom(func(t *rapid.T) object.Value {
			d := &object.Dict{Entries: []object.Entry{}}
			for _, k := range rapid.SliceOfNDistinct(rapid.String(), 0, 4, rapid.ID).Draw(t, "keys") {
				d.Entries = append(d.Entries, object.Entry{Key: object.Str(k), Value: inner.Draw(t, "value")})
			}
			return d
		}),
	)
}

func TestThawFreeze(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		r := NewRun(context.Background(), w, Limits{})
		v := anyValue(3).Draw(rt, "value")
		th, err := r.Thaw(v, Owner{OID: 1, Slot: "s"})
		if err != nil {
			rt.Fatal(err)
		}
		back, err := r.Freeze(th)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(back, v) {
			rt.Fatalf("%#v became %#v", v, back)
		}
	})
}

func TestThawKinds(t *testing.T) {
	w := newWorld(t)
	r := NewRun(context.Background(), w, Limits{})
	oid := w.object("a_obj")
	owner := Owner{OID: oid, Slot: "s"}
	for _, c := range []struct {
		v    object.Value
		want string
	}{
		{object.Counter(3), "int 3"},
		{object.Ref(oid), "object <a_obj 0x101>"},
		{object.Blob{Size: 3}, "blob <blob>"},
		{object.Tree(5), "tree <tree>"},
		{object.Primitive("object.clone"), "method <method s of <a_obj 0x101>>"},
		{&object.Method{Selector: "m"}, "method <method m of <a_obj 0x101>>"},
	} {
		v, err := r.Thaw(c.v, owner)
		if err != nil || v.Type()+" "+v.String() != c.want {
			t.Errorf("%v: %v %v", c.v, v, err)
		}
	}
	if _, err := r.Thaw(&object.Method{}, Owner{}); batos.CodeOf(err) != batos.Raised {
		t.Error("a method without an owner thawed", err)
	}
	if _, err := r.Thaw(object.BigInt(new(big.Int).Lsh(big.NewInt(1), maxBits)), owner); batos.CodeOf(err) != batos.Limit {
		t.Error("a huge integer thawed", err)
	}
}

func TestFreezeRefuses(t *testing.T) {
	deep := starlark.NewList(nil)
	for range MaxNesting + 1 {
		deep = starlark.NewList([]starlark.Value{deep})
	}
	loop := starlark.NewList(nil)
	if err := loop.Append(loop); err != nil {
		t.Fatal(err)
	}
	wide := starlark.Value(starlark.NewList([]starlark.Value{starlark.String(strings.Repeat("x", 1000))}))
	for range 30 {
		wide = starlark.NewList([]starlark.Value{wide, wide})
	}
	for _, c := range []struct {
		v    starlark.Value
		code batos.Code
	}{
		{universe["len"], batos.Raised},
		{starlark.Tuple{universe["len"]}, batos.Raised},
		{starlark.NewBuiltin("b", nil), batos.Raised},
		{deep, batos.Limit},
		{loop, batos.Limit},
		{wide, batos.Limit},
	} {
		r := NewRun(context.Background(), newWorld(t), Limits{})
		if _, err := r.Freeze(c.v); batos.CodeOf(err) != c.code {
			t.Errorf("freeze %s: %v", c.v.Type(), err)
		}
		if c.v == wide || c.v == starlark.Value(loop) {
			continue // sharing is fine until it is written out
		}
		if err := r.Adopt(c.v, Owner{1, "s"}); batos.CodeOf(err) != c.code {
			t.Errorf("adopt %s: %v", c.v.Type(), err)
		}
	}
}

// TestChangesAreNeverMissed applies random changes through random aliases and
// compares what the run reports with what the slots hold afterwards.
func TestChangesAreNeverMissed(t *testing.T) {
	targets := []string{"self.a", "self.b", "x", "y", "self.a[0]", "self.d['k']", "self.d", "z", "(x or y)"}
	changes := []string{
		"T.append(1)", "T.extend([2])", "T += [3]", "T.insert(0, 4)", "T.clear()", "T.pop()", "T[0] = 5", "T[0] += 1", "T[-1], q = 6, 7",
		"T['k'] = [8]", "T['n'] = 9", "T['n'] += 1", "T.update({'u': 1})", "T |= {'v': 2}", "T.setdefault('w', []).append(1)", "T.popitem()",
		"x = T", "y = T", "z = T", "self.b = T", "T.append(x)", "T['y'] = y", "f = T.append; f(1)", "f = getattr(T, 'pop'); f()", "T.sort()",
		"T.reverse()", "T.remove(1)", "[T.append(v) for v in [1, 2]]", "(lambda v: v.append(3))(T)", "self.d['s'].add(4)", "self.d['s'] |= set([5])",
		"self.d['s'].discard(1)", "T = [T, 1]", "x = T[:]", "x = T + [1]", "T.copy().append(1)", "T = {'t': T}",
	}
	rapid.Check(t, func(rt *rapid.T) {
		var body strings.Builder
		body.WriteString("def go(self):\n    x, y, z, q = self.a, [0], self.d, 0\n")
		for range rapid.IntRange(1, 8).Draw(rt, "statements") {
			s := rapid.SampledFrom(changes).Draw(rt, "change")
			target := rapid.SampledFrom(targets).Draw(rt, "target")
			if strings.HasPrefix(s, "T = ") || strings.HasPrefix(s, "T +=") || strings.HasPrefix(s, "T |=") {
				target = strings.Replace(target, "(x or y)", "x", 1)
			}
			fmt.Fprintf(&body, "    %s\n", strings.ReplaceAll(s, "T", target))
		}
		w := newWorld(t)
		oid := w.define("a_obj", "a = [[1], 2]\nb = [3]\n"+body.String())
		set := &object.Set{Items: []object.Value{object.NewInt(1)}}
		w.put(oid, "d", &object.Dict{Entries: []object.Entry{{Key: object.Str("k"), Value: &object.List{Items: []object.Value{}}}, {Key: object.Str("s"), Value: set}, {Key: object.Str("n"), Value: object.NewInt(1)}}})
		before := map[string]object.Value{}
		for n, v := range w.objects[oid].slots {
			before[n] = v
		}
		r := NewRun(context.Background(), w, Limits{})
		_, err := w.Send(r, oid, "go", nil, nil)
		if err != nil && batos.CodeOf(err) != batos.Raised && batos.CodeOf(err) != batos.Limit {
			rt.Fatalf("%v in\n%s", err, body.String())
		}
		changed := w.changed
		for owner, c := range w.thawed {
			after, err := NewRun(context.Background(), w, Limits{}).Freeze(c)
			if err != nil {
				continue // nested too deep or in itself: the message would fail
			}
			if !changed[owner] && !reflect.DeepEqual(after, before[owner.Slot]) {
				rt.Fatalf("a change of %s was missed in\n%s", owner.Slot, body.String())
			}
		}
	})
}
