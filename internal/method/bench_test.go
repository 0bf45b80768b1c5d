package method

import (
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// BenchmarkDialect runs the same loop in the dialect and in plain Starlark,
// whose object is a struct with methods as attributes, and reports the ratio.
func BenchmarkDialect(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"send", "self.nop(i)"},
		{"slot_read", "self.n"},
		{"slot_write", "self.n = i"},
		{"list_append", "l.append(i)"},
		{"list_index", "l[0] = l[0]"},
		{"dict", "d['k'] = d['k']"},
		{"add_literal", "x = i + 1"},
		{"add_variables", "x = i + y"},
		{"compare", "x = i < y"},
		{"string", "x = s + 'a'"},
		{"call", "f(i)"},
		{"display", "x = [i, y]"},
	} {
		src := "def loop(self, n):\n    l, d, y, s = [1], {'k': 1}, 7, 'abc'\n    f = lambda v: v\n    for i in range(n):\n        " + c.body + "\n"
		b.Run(c.name, func(b *testing.B) {
			own := timePer(b, func(n int) { benchDialect(b, src, n) })
			raw := timePer(b, func(n int) { benchRaw(b, src, n) })
			b.ReportMetric(own, "ns/op")
			b.ReportMetric(own/raw, "x-of-raw")
		})
	}
}

// timePer is the time of one iteration in nanoseconds.
func timePer(b *testing.B, f func(n int)) float64 {
	n := b.N + 1000
	b.ResetTimer()
	start := b.Elapsed()
	f(n)
	return float64((b.Elapsed() - start).Nanoseconds()) / float64(n)
}

func generous() Limits {
	return Limits{Steps: 1 << 60, Bytes: 1 << 60, Sends: 1 << 60, Wall: 1 << 60}
}

func benchDialect(b *testing.B, src string, n int) {
	w := newWorld(b)
	oid := w.define("bench_obj", "n = 1\n"+src+"def nop(self, x):\n    return x\n")
	if _, _, err := w.call(generous(), oid, "loop", starlark.MakeInt(n)); err != nil {
		b.Fatal(err)
	}
}

// rawObject is the least an interpreter's object can be.
type rawObject struct {
	*Object
	slots map[string]starlark.Value
}

func (o *rawObject) Attr(name string) (starlark.Value, error) { return o.slots[name], nil }
func (o *rawObject) SetField(name string, v starlark.Value) error {
	o.slots[name] = v
	return nil
}

func benchRaw(b *testing.B, src string, n int) {
	th := &starlark.Thread{}
	g, err := starlark.ExecFileOptions(&syntax.FileOptions{While: true, Recursion: true}, th, "raw", src+"def nop(x):\n    return x\n", nil)
	if err != nil {
		b.Fatal(err)
	}
	self := &rawObject{slots: map[string]starlark.Value{"n": starlark.MakeInt(1), "nop": g["nop"]}}
	if _, err := starlark.Call(th, g["loop"], starlark.Tuple{self, starlark.MakeInt(n)}, nil); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCompile(b *testing.B) {
	const src = `def total(self, tax = 0.2):
    """Adds up the items."""
    total = 0
    for item in self.items:
        if item["qty"] > 0:
            total += item["price"] * item["qty"]
    self.last_total = round(total * (1 + tax), 2)
    self._p_changed = True
    return f"{self.name}: {self.last_total:.2f}"
`
	for b.Loop() {
		if _, err := Compile("total", src); err != nil {
			b.Fatal(err)
		}
	}
}
