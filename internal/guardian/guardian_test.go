package guardian

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
)

func ExampleAudit() {
	src := `def deposit(self, amount):
    if amount <= 0:
        return self.balance
    self.balance += amount
    return self.balance
`
	report, err := Audit(src, Options{Selector: "deposit", Call: &Call{Args: 1}, Generated: true})
	fmt.Println(batos.CodeOf(err))
	fmt.Println(err)
	fmt.Println(report.Writes, report.Assigned, report.Reads)
	// Output:
	// covenant
	// line 5, column 5: this return follows a change of state (self.balance is assigned, line 4) without `self._p_changed = True` directly before it: add it on the line before the return
	// true [balance] [balance]
}

func TestReport(t *testing.T) {
	src := `def visit(self, other, depth=-1, *rest, **named):
    """Look around."""
    self.seen = self.places[0]
    self.count += 1
    xs = self.names.split(",")
    other.welcome_(self, len(xs))
    self.add(1)
    send_later(other, "remember:", self.count)
    self._p_changed = True
    return json.encode(xs)
`
	r, err := Audit(src, Options{Selector: "visit", Generated: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Params, " "); got != "other depth=-1 *rest **named" {
		t.Errorf("params: %s", got)
	}
	if !r.Writes || r.Selector != "visit" {
		t.Errorf("writes %v, selector %s", r.Writes, r.Selector)
	}
	if !slices.Equal(r.Assigned, []string{"count", "seen"}) {
		t.Errorf("assigned: %v", r.Assigned)
	}
	if !slices.Equal(r.Reads, []string{"count", "names", "places"}) {
		t.Errorf("reads: %v", r.Reads)
	}
	if !slices.Equal(r.Sends, []batos.Selector{"add", "remember_", "welcome_"}) {
		t.Errorf("sends: %v", r.Sends)
	}
}

func TestErrors(t *testing.T) {
	deep := "def f(self):\n    return " + "1" + strings.Repeat(" + self.x", 600) + "\n"
	functions := "def f(self):\n    return " + strings.Repeat("lambda: ", 40) + "1\n"
	many := "def f(self, c):\n    self.n = 1\n" + strings.Repeat("    if c:\n        return 1\n", 5) + "    self._p_changed = True\n"
	for _, c := range []struct {
		name, src string
		code      batos.Code
		rule      Rule
		want      []string // parts of the text
	}{
		{"too long", "def f(self):\n    return \"" + strings.Repeat("x", 70_000) + "\"\n", batos.Refused, Size, []string{"65536"}},
		{"too deep", deep, batos.Refused, Size, []string{"nested too deeply"}},
		{"too many functions in each other", functions, batos.Refused, Size, []string{"16 functions"}},
		{"not text", "def f(self):\n    return \"\xff\"\n", batos.Refused, Syntax, []string{"line 2", "UTF-8"}},
		{"parser bomb", "def f(self):\n    return " + strings.Repeat("(", 60_000) + "\n", batos.Refused, Syntax, []string{"line "}},
		{"no code", "", batos.Refused, Syntax, []string{"write def g(self, a1, by):"}},
		{"import", "import os\ndef f(self):\n    return 1\n", batos.Refused, Syntax, []string{"there is no import"}},
		{"fences", "```python\ndef f(self):\n    return 1\n```\n", batos.Refused, Syntax, []string{"without fences"}},
		{"arity", "def g(self):\n    return 1\n", batos.Refused, Arity, []string{"1 argument, by=", "write def g(self, a1, by):"}},
		{"many exits", many, batos.Refused, Name, []string{"; and 4 more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Audit(c.src, Options{Selector: "g", Call: &Call{Args: 1, Kwargs: []string{"by"}}, Generated: true})
			if batos.CodeOf(err) != c.code {
				t.Fatalf("code %q, want %q: %v", batos.CodeOf(err), c.code, err)
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == c.rule }) {
				t.Errorf("no %s in %v", c.rule, r.Findings)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if len(err.Error()) > 1500 || strings.Contains(err.Error(), "\n") {
				t.Errorf("not one readable line: %q", err)
			}
		})
	}
}

// A method that only lacks the covenant is refused as covenant, so that the
// kernel can tell a slip from an attempt.
func TestCode(t *testing.T) {
	for src, want := range map[string]batos.Code{
		"def f(self):\n    self.x = 1\n":                                  batos.Covenant,
		"def f(self):\n    self._v_x = 1\n":                               batos.Refused,
		"def f(self):\n    self.x = 1\n    self._p_changed = True\n":      "",
		"def f(self):\n    return self.x\n    self.x = 1\n    return 2\n": "",
	} {
		if _, err := Audit(src, Options{Generated: true}); batos.CodeOf(err) != want {
			t.Errorf("%q: %v, want %q", src, err, want)
		}
	}
}

// TestDefined holds the names that the audit lets through to those that the
// dialect has.
func TestDefined(t *testing.T) {
	names := slices.Sorted(maps.Keys(starlark.Universe))
	names = append(names, "json", "math", "time", "clone", "random", "resend", "root", "round", "send_later", "sum",
		"open", "eval", "isinstance", "map", "pow", "undefined_name", "kernel", "primitive")
	for _, set := range []map[string]bool{constants, modules, scalarFunctions, copyFunctions, otherFunctions} {
		names = slices.AppendSeq(names, maps.Keys(set))
	}
	for _, name := range names {
		_, err := method.Compile("f", "def f(self):\n    return "+name+"\n")
		if there := err == nil; there != defined(name) {
			t.Errorf("%s: defined %v, but compiling it says %v", name, defined(name), err)
		}
	}
}
