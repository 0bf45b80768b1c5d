package method

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"batos"
	"batos/object"
)

func TestSignature(t *testing.T) {
	for _, c := range []struct {
		src, sel, params string
	}{
		{"def a(self): pass", "a", ""},
		{"def activateExpert_(self, name):\n    pass\n", "activateExpert_", "name"},
		{"def f(self, a, b=-1, *rest, c, d=[1, 'x'], **more):\n    pass", "f", "a|b=-1|*rest|c|d=[1, 'x']|**more"},
		{"def f(self, *, k=None):\n    pass", "f", "*|k=None"},
		{"def f(self, d={'a': (1, 2)}):\n    return f'{self.x}'", "f", "d={'a': (1, 2)}"},
	} {
		sel, params, err := Signature(c.src)
		if err != nil || string(sel) != c.sel || strings.Join(params, "|") != c.params {
			t.Errorf("%q: %s %q %v", c.src, sel, params, err)
		}
	}
	for _, src := range []string{"", "x = 1", "def f(): pass", "def f(self): pass\ndef g(self): pass", "def f(self, x=g()): pass", "def _p_f(self): pass", "def (self): pass"} {
		if _, _, err := Signature(src); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %v", src, err)
		}
	}
}

func TestProgram(t *testing.T) {
	src := "def f(self, a, b=1, *c, **d):\n    \"\"\"Does it.\n    \"\"\"\n    return a\n"
	p, err := Compile("f", src)
	if err != nil {
		t.Fatal(err)
	}
	names, required, varargs, kwargs := p.Params()
	if p.Selector() != "f" || !slices.Equal(names, []string{"a", "b"}) || required != 1 || !varargs || !kwargs || p.Doc() != "Does it." {
		t.Errorf("%s %q %d %v %v %q", p.Selector(), names, required, varargs, kwargs, p.Doc())
	}
	q, err := Compile("other", src+"\n")
	if err != nil || q.Hash() == p.Hash() {
		t.Error("different sources have one hash", err)
	}
}

func TestParseKeepsTheSource(t *testing.T) {
	def, err := Parse("m", "def m(self, x):\n    self.log.append(f'{x!r:>{self.w}}')\n")
	if err != nil || def.Name.Name != "m" || len(def.Body) != 1 {
		t.Fatal(def, err)
	}
}

func TestArity(t *testing.T) {
	p, err := Compile("f", "def f(self, a, b=1, *, k, o=2):\n    return (a, b, k, o)\n")
	if err != nil {
		t.Fatal(err)
	}
	kw := func(pairs ...string) (out []starlark.Tuple) {
		for _, n := range pairs {
			out = append(out, starlark.Tuple{starlark.String(n), starlark.None})
		}
		return out
	}
	one := starlark.Tuple{starlark.MakeInt(1)}
	for _, c := range []struct {
		args   starlark.Tuple
		kwargs []starlark.Tuple
		want   string // in the error; "" for none
	}{
		{one, kw("k"), ""},
		{nil, kw("a", "k"), ""},
		{one, kw("b", "o", "k"), ""},
		{one, nil, "k= is missing"},
		{nil, kw("k"), "a is missing"},
		{one, kw("a", "k"), "got a twice"},
		{one, kw("k", "k"), "got k twice"},
		{one, kw("k", "z"), "there is no z"},
		{starlark.Tuple{one, one, one}, kw("k"), "got 3 arguments"},
	} {
		w := newWorld(t)
		r := NewRun(context.Background(), w, Limits{})
		_, err := r.Call(p, w.object("x"), c.args, c.kwargs)
		if c.want == "" && err != nil || c.want != "" && (batos.CodeOf(err) != batos.Arity || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v %v: %v", c.args, c.kwargs, err)
		}
	}
}

func TestNotUnderstoodPassesThrough(t *testing.T) {
	w := newWorld(t)
	oid := w.define("a_obj", `
def outer(self):
    return [self.inner(v) for v in [[1, {"k": self}]]]

def inner(self, v):
    return sorted([1], key = lambda x: self.fly(v, how = "high"))
`)
	_, _, err := w.call(Limits{}, oid, "outer")
	missing, ok := err.(*NotUnderstood)
	if !ok {
		t.Fatalf("%T %v", err, err)
	}
	want := fmt.Sprintf("[%v %v]", object.NewInt(1), object.KindDict)
	list := missing.Args[0].(*object.List).Items
	if got := fmt.Sprintf("[%v %v]", list[0], list[1].Kind()); got != want || missing.Selector != "fly" || missing.Receiver != oid ||
		len(missing.Kwargs) != 1 || missing.Kwargs[0] != (object.Slot{Name: "how", Value: object.Str("high")}) {
		t.Errorf("%+v", missing)
	}
	if batos.CodeOf(err) != batos.DoesNotUnderstand {
		t.Errorf("code %q", batos.CodeOf(err))
	}
}

func TestEffectErrorsKeepTheirCode(t *testing.T) {
	w := newWorld(t)
	oid := w.define("a_obj", "def outer(self):\n    return self.inner()\n\ndef inner(self):\n    x = 1\n    return self.x_is_missing\n")
	_, _, err := w.call(Limits{}, oid, "outer")
	if batos.CodeOf(err) != batos.NoSlot || !strings.HasPrefix(err.Error(), "inner:3:16: ") {
		t.Errorf("%v (%s)", err, batos.CodeOf(err))
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	oid := w.define("a_obj", "def loop(self):\n    while True:\n        pass\n")
	p, err := Compile("loop", "def loop(self):\n    while True:\n        pass\n")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewRun(ctx, w, generous()).Call(p, oid, nil, nil); batos.CodeOf(err) != batos.Cancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	if _, err := NewRun(ctx, w, generous()).Call(p, oid, nil, nil); batos.CodeOf(err) != batos.Timeout {
		t.Errorf("deadline: %v", err)
	}
}

func TestUsageAndOutput(t *testing.T) {
	w := newWorld(t)
	oid := w.define("a_obj", "def go(self):\n    print('a', [1], sep = '-')\n    send_later(self, 'go')\n    return self.stop()\n\ndef stop(self):\n    pass\n")
	_, r, err := w.call(Limits{}, oid, "go")
	u := r.Usage()
	if err != nil || r.Output() != "a-[1]\n" || u.Sends != 1 || u.Later != 1 || u.MaxDepth != 2 || u.Steps == 0 || u.Bytes == 0 {
		t.Errorf("%v %q %+v", err, r.Output(), u)
	}
	_, again, err := newWorldLike(t, w).call(Limits{}, oid, "go")
	if err != nil || again.Usage() != u {
		t.Errorf("the same message used %+v, then %+v", u, again.Usage())
	}
}

func newWorldLike(t *testing.T, w *world) *world {
	c := newWorld(t)
	c.objects, c.names, c.next = w.objects, w.names, w.next
	return c
}

// TestStopped checks that a run that met a limit stays stopped.
func TestStopped(t *testing.T) {
	w := newWorld(t)
	oid := w.define("a_obj", "def grow(self):\n    return 'a' * (1 << 30)\n\ndef fine(self):\n    return 1\n")
	r := NewRun(context.Background(), w, Limits{})
	for _, sel := range []batos.Selector{"grow", "fine"} {
		if _, err := w.Send(r, oid, sel, nil, nil); batos.CodeOf(err) != batos.Limit {
			t.Errorf("%s: %v", sel, err)
		}
	}
}

func TestProgramsAreShared(t *testing.T) {
	p, err := Compile("m", "def m(self, x, to=[], d={'k': [1]}):\n    to.append(x)\n    d['k'] += to\n    s = f\"{x:>3}\" + str(sorted([3, x], key = lambda v: -v))\n    return [to, d, s.upper().split(','), json.encode(d)]\n")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w := newWorld(t)
			oid := w.object("x")
			for i := range 200 {
				v, err := NewRun(context.Background(), w, Limits{}).Call(p, oid, starlark.Tuple{starlark.MakeInt(i)}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if want := fmt.Sprintf("[[%d], {\"k\": [1, %d]}, ", i, i); !strings.HasPrefix(v.String(), want) {
					t.Errorf("got %s, want %s…", v, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestUniverse checks that nothing of the interpreter is reachable without a
// meter: no function, and no method of a value.
func TestUniverse(t *testing.T) {
	for name := range starlark.Universe {
		if _, ok := universe[name]; !ok {
			t.Errorf("%s of the interpreter is not hidden", name)
		}
	}
	for _, c := range []struct {
		v    starlark.HasAttrs
		have func(string) bool
	}{
		{starlark.NewList(nil), func(n string) bool { return listMethods[n] != nil }},
		{new(starlark.Dict), func(n string) bool { return dictMethods[n] != nil }},
		{new(starlark.Set), func(n string) bool { return setMethods[n] != nil }},
		{starlark.String(""), func(n string) bool { return strMethods[n] != nil }},
		{starlark.Bytes(""), func(n string) bool { return n == "elems" }},
	} {
		for _, n := range c.v.AttrNames() {
			if !c.have(n) || !builtinMethods[n] {
				t.Errorf("%s.%s of the interpreter has no meter", c.v.Type(), n)
			}
		}
	}
}
