package method

import (
	"context"
	"math"
	"strings"
	"testing"

	"go.starlark.net/starlark"

	"batos"
)

// TestFormat lists what Python answers for format(value, spec).
func TestFormat(t *testing.T) {
	n := func(i int) starlark.Value { return starlark.MakeInt(i) }
	f := func(x float64) starlark.Value { return starlark.Float(x) }
	s := func(x string) starlark.Value { return starlark.String(x) }
	for _, c := range []struct {
		v          starlark.Value
		spec, want string
	}{
		{n(42), "", "42"}, {n(42), "5", "   42"}, {n(42), "<5", "42   "}, {n(42), "^6", "  42  "}, {n(42), "*^7", "**42***"},
		{n(-42), "=6", "-   42"}, {n(-42), "06", "-00042"}, {n(42), "+", "+42"}, {n(42), " d", " 42"}, {n(42), "x=+6", "+xxx42"},
		{n(255), "x", "ff"}, {n(255), "X", "FF"}, {n(255), "#x", "0xff"}, {n(255), "#X", "0XFF"}, {n(8), "o", "10"}, {n(5), "b", "101"}, {n(5), "#b", "0b101"},
		{n(1234567), ",", "1,234,567"}, {n(-1234567), ",d", "-1,234,567"}, {n(1234567), "_", "1_234_567"}, {n(65535), "_x", "ffff"}, {n(1048575), "_x", "f_ffff"},
		{n(65), "c", "A"}, {n(3), ".2f", "3.00"}, {n(3), "e", "3.000000e+00"}, {n(1), ".0%", "100%"},
		{f(3.14159), ".2f", "3.14"}, {f(3.14159), "8.3f", "   3.142"}, {f(-3.14159), "08.2f", "-0003.14"}, {f(1234.5), ",.2f", "1,234.50"},
		{f(0.1), "", "0.1"}, {f(2), "", "2.0"}, {f(1e20), "", "1e+20"}, {f(1e20), "g", "1e+20"}, {f(100000), "g", "100000"}, {f(1000000), "g", "1e+06"},
		{f(0.00012345), ".2g", "0.00012"}, {f(12345.678), ".3", "1.23e+04"}, {f(100), ".3", "100.0"}, {f(2.5), ".0f", "2"}, {f(3.5), ".0f", "4"},
		{f(0.5), "%", "50.000000%"}, {f(12345.678), "E", "1.234568E+04"}, {f(math.Inf(1)), "f", "inf"}, {f(math.Inf(-1)), "F", "-INF"}, {f(math.NaN()), ".1f", "nan"},
		{s("ab"), "5", "ab   "}, {s("ab"), ">5", "   ab"}, {s("abcdef"), ".3", "abc"}, {s("é"), "*<3", "é**"}, {s("ab"), "s", "ab"}, {s("x"), "€^3", "€x€"},
		{starlark.True, "", "True"}, {starlark.True, "d", "1"}, {starlark.True, "5", "    1"}, {starlark.None, "6", "None  "},
		{starlark.NewList([]starlark.Value{n(1)}), "", "[1]"},
	} {
		r := NewRun(context.Background(), newWorld(t), Limits{})
		got, err := r.format(c.v, "", c.spec)
		if err != nil || got != c.want {
			t.Errorf("format(%s, %q) = %q %v, want %q", c.v, c.spec, got, err, c.want)
		}
	}
	for _, c := range []struct {
		v    starlark.Value
		spec string
		code batos.Code
	}{
		{n(1), "s", ""}, {n(1), ".2", ""}, {n(1), "q", ""}, {n(1), "5d5", ""}, {n(-1), "c", ""}, {f(1), "d", ""}, {f(1), ".", ""}, {s("a"), "d", ""}, {s("a"), "f", ""},
		{n(1), "99999999999999999999", batos.Limit}, {f(1), ".999f", batos.Limit},
	} {
		r := NewRun(context.Background(), newWorld(t), Limits{})
		if got, err := r.format(c.v, "", c.spec); err == nil || batos.CodeOf(err) != c.code {
			t.Errorf("format(%s, %q) = %q, %v", c.v, c.spec, got, err)
		}
	}
}

func TestFStringKeepsPositions(t *testing.T) {
	for _, src := range []string{
		"f'{a}' + b", "x = f\"\"\"one\n{a}\n two {b:>{c}}\"\"\" + d", "rf'\\d{a}' # f'{not}'", "'f{x}' + f'{\"f\"}'", "f'é{ü}' + z",
		"r'\\' f'", "b'x' + f'{1}'", "buf'x'",
	} {
		masked, _, err := maskFStrings("m", src, place{1, 1}, 0)
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		a, b := strings.Split(src, "\n"), strings.Split(masked, "\n")
		if len(a) != len(b) {
			t.Errorf("%q became %q", src, masked)
			continue
		}
		for i := range a {
			if len([]rune(a[i])) != len([]rune(b[i])) {
				t.Errorf("line %q became %q", a[i], b[i])
			}
		}
	}
}

func FuzzFString(f *testing.F) {
	for _, s := range []string{"{a}", "{a!r:>{w}.{p}f}", "{{x}}", "{a=}", "{d[\"k\"]}", "{f\"{x}\"}", "\\n{a}\\", "{(lambda: 1)()}", "{", "}", "{a:", "{!r}", "{a!", "\"{\"", "{'\\''}", "{a #}"} {
		f.Add(s, "'", false)
		f.Add(s, `"""`, true)
	}
	f.Fuzz(func(t *testing.T, text, quote string, raw bool) {
		prefix := "f"
		if raw {
			prefix = "rf"
		}
		src := "def m(self):\n    return " + prefix + quote + text + quote + "\n"
		p, err := Compile("m", src)
		if err != nil {
			if code := batos.CodeOf(err); code != batos.Invalid && code != batos.Limit || strings.Contains(err.Error(), internalError) {
				t.Errorf("code %q of %v", code, err)
			}
			return
		}
		w := newWorld(t)
		if _, err := NewRun(context.Background(), w, tight()).Call(p, w.object("x"), nil, nil); err != nil && batos.CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}

func tight() Limits { return Limits{Steps: 20_000, Bytes: 1 << 20, Depth: 20, Sends: 100} }

func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"return 1", "self.x += [1]", "a[0], b = 1, 2", "for i in range(3): x = i", "return {k: v for k, v in {}.items() if k}", "def g(*a, **k): return a",
		"x = lambda *a: a[1:2:3]", "while True: pass", "return f'{self.x:>{3}}'", "self.a.b[0].c |= {}", "if 1: pass\n elif 2: pass\n else: pass", "if 1: pass", "if 1:\n  if 2:\n   pass",
		"return x_obj.f(*a, **k)", "return -(1 << 5) ** 2", "((a), [b]) = c", "return (yield)", "load('x', 'y')", "x = x if x else not x", "'%s' % (1,)",
	} {
		f.Add("self", s)
		f.Add("self, a=[1], *b, c=2, **d", s)
	}
	f.Fuzz(func(t *testing.T, params, body string) {
		p, err := Compile("m", "def m("+params+"):\n "+body+"\n")
		if err != nil {
			if code := batos.CodeOf(err); code != batos.Invalid && code != batos.Limit || strings.Contains(err.Error(), internalError) {
				t.Errorf("code %q of %v", code, err)
			}
			return
		}
		w := newWorld(t)
		oid := w.define("x_obj", "x = [1]\na = {}\n")
		_, err = NewRun(context.Background(), w, tight()).Call(p, oid, nil, nil)
		if err != nil && batos.CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}
