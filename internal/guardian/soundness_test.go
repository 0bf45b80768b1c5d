package guardian

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
	"pgregory.net/rapid"
)

// The property: whatever a method that the Guardian lets through does when it
// runs, state at its exit is what it was when the covenant was last given (or
// at the start). Methods are made at random from a grammar that is rich in
// aliases, containers, local functions and early exits, and run on a world of
// two objects in the plain interpreter.

// maker writes random methods.
type maker struct {
	t     *rapid.T
	b     strings.Builder
	depth int
	loops int
	funcs int // local functions in scope
	inFn  bool
}

func (m *maker) pick(label string, n int) int { return rapid.IntRange(0, n-1).Draw(m.t, label) }

func (m *maker) line(format string, args ...any) {
	m.b.WriteString(strings.Repeat("    ", m.depth))
	fmt.Fprintf(&m.b, format, args...)
	m.b.WriteByte('\n')
}

func (m *maker) variable() string { return []string{"a", "b", "c", "p"}[m.pick("var", 4)] }

// container writes an expression that usually gives a list or a dict.
func (m *maker) container(deep int) string {
	if deep <= 0 {
		return m.variable()
	}
	sub := func() string { return m.container(deep - 1) }
	switch m.pick("container", 22) {
	case 0, 1, 2:
		return "self.rows"
	case 3:
		return "self.index"
	case 4:
		return "other.rows"
	case 5:
		return "[" + sub() + "]"
	case 6:
		return "[1, " + sub() + "]"
	case 7:
		return `{"k": ` + sub() + "}"
	case 8:
		return "list(" + sub() + ")"
	case 9:
		return sub() + "[:1]"
	case 10:
		return "(" + sub() + " + " + sub() + ")"
	case 11:
		return "[x for x in " + sub() + "]"
	case 12:
		return "(" + sub() + " if p else " + sub() + ")"
	case 13:
		return "(" + sub() + " or " + sub() + ")"
	case 14:
		return sub() + "[0]"
	case 15:
		return sub() + `["k"]`
	case 16:
		return `getattr(self, "rows")`
	case 17:
		return "(" + sub() + ", 1)[0]"
	case 18:
		return fmt.Sprintf("f%d(%s)", m.pick("fn", m.funcs+1), sub())
	case 19:
		return "[]"
	case 20:
		return "[" + sub() + " for x in [1, 2]]"
	default:
		return m.variable()
	}
}

func (m *maker) call(deep int) string {
	x := m.container(deep)
	switch m.pick("call", 9) {
	case 0:
		return x + ".append(1)"
	case 1:
		return x + ".append(" + m.container(1) + ")"
	case 2:
		return x + ".extend(" + m.container(1) + ")"
	case 3:
		return x + ".pop()"
	case 4:
		return x + `.setdefault("k", ` + m.container(1) + ")"
	case 5:
		return x + ".insert(0, " + m.container(1) + ")"
	case 6:
		return fmt.Sprintf("f%d(%s)", m.pick("fn", m.funcs+1), m.container(1))
	case 7:
		return "(lambda v: " + []string{"v", "v.append(2)", "a", "self.rows"}[m.pick("lambda", 4)] + ")(" + m.container(1) + ")"
	default:
		return "sorted([" + m.container(1) + "], key=lambda v: " + []string{"1", "len(v.append(1) or [])"}[m.pick("key", 2)] + ")"
	}
}

func (m *maker) block(n int) {
	m.depth++
	for range 1 + m.pick("len", n) {
		m.statement()
	}
	m.depth--
}

func (m *maker) statement() {
	deepest := m.depth > 3
	switch k := m.pick("stmt", 24); {
	case k < 3:
		m.line("%s = %s", m.variable(), m.container(2))
	case k < 5:
		m.line("%s", m.call(2))
	case k < 7:
		m.line("%s = %s", m.variable(), m.call(1))
	case k == 7:
		m.line("self.rows = %s", m.container(2))
	case k == 8:
		m.line("self.n = 1")
	case k == 9:
		m.line("%s += %s", m.variable(), m.container(1))
	case k == 10:
		m.line("%s[0] = %s", m.container(1), m.container(1))
	case k == 11:
		m.line(`%s["k"] = %s`, m.container(1), m.container(1))
	case k == 12:
		m.line("%s, %s = %s, %s", m.variable(), m.variable(), m.container(1), m.container(1))
	case k == 13:
		m.line("%s[0] += %s", m.container(1), m.container(1))
	case k < 17 && !m.inFn:
		m.line("self._p_changed = True")
	case k == 17 && m.loops > 0:
		m.line("%s", []string{"break", "continue"}[m.pick("jump", 2)])
	case k == 18 && !deepest:
		m.line("if %s:", []string{"p", "n > 1", "a", "len(b) > 1"}[m.pick("cond", 4)])
		m.block(2)
		if m.pick("else", 2) == 0 {
			m.line("else:")
			m.block(2)
		}
	case k == 19 && !deepest:
		m.line("for %s in %s:", m.variable(), m.container(1))
		m.loops++
		m.block(3)
		m.loops--
	case k == 20 && !deepest:
		m.line("while n < 3:")
		m.loops++
		m.depth++
		m.line("n += 1")
		m.depth--
		m.block(2)
		m.loops--
	case k == 21 && !deepest && !m.inFn:
		m.funcs++
		id := m.funcs
		m.line("def f%d(%s):", id, []string{"v", "v, w=1", "*v"}[m.pick("params", 3)])
		loops := m.loops
		m.loops, m.inFn = 0, true
		m.depth++
		if m.pick("local", 2) == 0 {
			m.line("z = v")
			m.line("%s.append(1)", []string{"z", "v[0]", "a", "self.rows"}[m.pick("target", 4)])
		} else {
			// Names of the method that the function assigns are its own.
			m.line("z = %s", []string{"v", "self.rows", "[v]", "b"}[m.pick("value", 4)])
		}
		m.line("return %s", []string{"z", "v", "[v]", "z[0]", "a", "c"}[m.pick("result", 6)])
		m.depth--
		m.loops, m.inFn = loops, false
	case k == 22:
		m.line("return %s", []string{"1", "a", m.call(1)}[m.pick("value", 3)])
	default:
		m.line("n += 1")
	}
}

// method writes one whole method.
func (m *maker) method() string {
	m.line("def m(self, other, p):")
	m.depth++
	m.line("n = 0")
	m.line("a = %s", m.container(1))
	m.line("b = %s", m.container(2))
	m.line("c = [0]")
	m.line("def f0(v):")
	m.depth++
	m.line("return %s", []string{"v", "v[0]", "[v]", "self.rows"}[m.pick("f0", 4)])
	m.depth -= 2
	m.block(7)
	return m.b.String()
}

// worldObject is an object with slots, whose world is snapshot at the covenant.
type worldObject struct {
	slots map[string]starlark.Value
	w     *testWorld
}

type testWorld struct {
	objects []*worldObject
	kept    string // what state was when the covenant was last given
}

func (w *testWorld) state() string {
	var b strings.Builder
	for _, o := range w.objects {
		for _, name := range []string{"rows", "index", "n"} {
			fmt.Fprintf(&b, "%s=%v;", name, o.slots[name])
		}
	}
	return b.String()
}

func (o *worldObject) String() string        { return "<object>" }
func (o *worldObject) Type() string          { return "object" }
func (o *worldObject) Freeze()               {}
func (o *worldObject) Truth() starlark.Bool  { return true }
func (o *worldObject) Hash() (uint32, error) { return 1, nil }
func (o *worldObject) AttrNames() []string   { return nil }
func (o *worldObject) Attr(name string) (starlark.Value, error) {
	return o.slots[name], nil
}

func (o *worldObject) SetField(name string, v starlark.Value) error {
	if name == covenantSlot {
		o.w.kept = o.w.state()
		return nil
	}
	o.slots[name] = v
	return nil
}

func newTestWorld() *testWorld {
	w := &testWorld{}
	list := func(v ...starlark.Value) *starlark.List { return starlark.NewList(v) }
	for range 2 {
		d := starlark.NewDict(1)
		_ = d.SetKey(starlark.String("k"), list(list(starlark.MakeInt(5))))
		w.objects = append(w.objects, &worldObject{w: w, slots: map[string]starlark.Value{
			"rows": list(list(list(starlark.MakeInt(1)), d), list(starlark.MakeInt(2)), starlark.NewDict(0)), "index": d, "n": starlark.MakeInt(0),
		}})
	}
	w.kept = w.state()
	return w
}

// runs carries the method out and reports whether it came to an exit, and
// whether state there is other than when the covenant was last given.
func runs(src string, p starlark.Value) (exited, broken bool, err error) {
	w := newTestWorld()
	thread := &starlark.Thread{}
	thread.SetMaxExecutionSteps(20_000)
	opts := &syntax.FileOptions{Set: true, While: true, Recursion: true}
	globals, err := starlark.ExecFileOptions(opts, thread, "m", src, nil)
	if err != nil {
		return false, false, err
	}
	_, err = starlark.Call(thread, globals["m"], starlark.Tuple{w.objects[0], w.objects[1], p}, nil)
	if err != nil {
		return false, false, nil // failed: nothing is committed
	}
	return true, w.state() != w.kept, nil
}

func TestNothingThatBreaksTheCovenantIsLetThrough(t *testing.T) {
	var exits, broken, refused, refusedSound int
	rapid.Check(t, func(rt *rapid.T) {
		m := &maker{t: rt}
		src := m.method()
		report, err := Audit(src, Options{Generated: true})
		for _, f := range report.Findings {
			if f.Severity == Refusal && f.Rule != Exit {
				rt.Fatalf("the generator wrote something else that is refused: %v\n%s", f, src)
			}
		}
		brokenOnce, exitedOnce := false, false
		for _, p := range []starlark.Value{starlark.True, starlark.False, starlark.NewList(nil)} {
			exited, bad, runErr := runs(src, p)
			if runErr != nil {
				rt.Fatalf("the generator wrote what does not compile: %v\n%s", runErr, src)
			}
			exitedOnce, brokenOnce = exitedOnce || exited, brokenOnce || bad
		}
		if brokenOnce && err == nil {
			rt.Fatalf("state is changed at an exit without the covenant, and the Guardian did not see it:\n%s", src)
		}
		if exitedOnce {
			exits++
			if brokenOnce {
				broken++
			}
			if err != nil {
				refused++
				if !brokenOnce {
					refusedSound++
				}
			}
		}
	})
	t.Logf("%d methods came to an exit: %d broke the covenant and all were refused; %d were refused in all, %d of them without breaking it in three runs",
		exits, broken, refused, refusedSound)
	// A short run sees too few methods to judge the generator by them.
	if exits >= 20 && (broken == 0 || exits == refused) {
		t.Errorf("the generator is too narrow: %d exits, %d broken, %d refused", exits, broken, refused)
	}
}

// TestLength holds the audit's work to the length of the source, for shapes
// that make careless passes quadratic.
func TestLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func(n int) string{
		"elif chain": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n    if a == 0:\n        a = self.x\n")
			for i := range n {
				fmt.Fprintf(&b, "    elif a == %d:\n        a = %d\n", i, i)
			}
			return b.String() + "    return a\n"
		},
		"many variables, many branches": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n")
			for i := range n {
				fmt.Fprintf(&b, "    v%d = self.x\n    if a: a = v%d\n", i, rng.IntN(i+1))
			}
			for i := range n {
				fmt.Fprintf(&b, "    v%d.append(v%d)\n", i, (i*7)%n)
			}
			return b.String()
		},
		"one list in all": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n    x = [")
			for range n {
				b.WriteString("a, ")
			}
			return b.String() + "]\n    x.append(self.y)\n    return x\n"
		},
		"functions in a list, all called": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n    fs = []\n")
			for range n {
				b.WriteString("    fs.append(lambda x, y: x.append(y))\n    fs[0](a, self.z)\n")
			}
			return b.String()
		},
		"a cycle of aliases": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n    def g():\n        return [")
			for i := range n {
				fmt.Fprintf(&b, "v%d, ", i)
			}
			b.WriteString("]\n    v0 = self.x\n")
			for i := range n {
				fmt.Fprintf(&b, "    v%d = v%d\n", (i+1)%n, i)
			}
			return b.String()
		},
		"nested loops": func(n int) string {
			var b strings.Builder
			b.WriteString("def f(self, a):\n")
			for range n / 16 {
				for d := range 16 {
					b.WriteString(strings.Repeat(" ", d+1) + "for x in a:\n")
				}
				b.WriteString(strings.Repeat(" ", 17) + "self.n += 1\n")
			}
			return b.String()
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			work := func(n int) float64 {
				src := shape(n)
				a := &audit{opts: Options{Generated: true}}
				a.run(src)
				if len(a.report.Findings) > 0 && a.report.Findings[0].Rule == Syntax {
					t.Fatal(a.report.Findings[0])
				}
				return float64(a.work) / float64(len(src))
			}
			small, large := work(100), work(800)
			t.Logf("%.2f steps a byte, then %.2f with eight times the length", small, large)
			if large > 2*small {
				t.Errorf("%.2f steps a byte became %.2f with eight times the length", small, large)
			}
		})
	}
}

func FuzzAudit(f *testing.F) {
	for _, file := range []string{"testdata/covenant.txt", "testdata/refused.txt"} {
		for i, c := range readCases(f, file) {
			if i%12 == 0 {
				f.Add(c.src)
			}
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		r, err := Audit(src, Options{Generated: true, Selector: "f", Call: &Call{Args: 1, Kwargs: []string{"k"}}})
		if r == nil {
			t.Fatal("no report")
		}
		if err == nil && r.Selector != "f" {
			t.Fatalf("%q was let through as f", r.Selector)
		}
		lines := strings.Count(src, "\n") + strings.Count(src, "\r") + 2
		for _, f := range r.Findings {
			if f.Line < 1 || f.Line > lines || f.Col < 1 || f.Text == "" {
				t.Fatalf("finding outside the source: %+v", f)
			}
		}
		again, _ := Audit(src, Options{Generated: true, Selector: "f", Call: &Call{Args: 1, Kwargs: []string{"k"}}})
		if fmt.Sprint(r) != fmt.Sprint(again) {
			t.Fatalf("two audits differ:\n%v\n%v", r, again)
		}
	})
}
