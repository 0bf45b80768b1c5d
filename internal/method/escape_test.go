package method

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"batos"
)

const (
	maxGrowth  = 128 << 20
	maxElapsed = 3 * time.Second
)

// TestEscapes runs programs that tried to take the process down. Every one
// ends in a limit error in bounded time and memory.
func TestEscapes(t *testing.T) {
	files, err := filepath.Glob("testdata/escapes/*.star")
	if err != nil || len(files) == 0 {
		t.Fatal("no escapes", err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".star"), func(t *testing.T) { confine(t, string(src)) })
	}
	src, err := os.ReadFile("testdata/attacks.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range strings.Split(string(src), "\n---\n") {
		defs, err := ParseFile("attack", chunk)
		if err != nil {
			t.Fatalf("%v in %s", err, chunk)
		}
		t.Run(defs[0].Name, func(t *testing.T) { confine(t, chunk) })
	}
}

// confine runs the first method of an object under the default limits.
func confine(t *testing.T, src string) {
	w := newWorld(t)
	oid := w.define("escape_obj", src)
	var sel batos.Selector
	for _, s := range w.objects[oid].order {
		sel = batos.Selector(s)
		break
	}
	grown := watchMemory(t)
	start := time.Now()
	_, r, err := w.call(Limits{}, oid, sel)
	elapsed, growth := time.Since(start), grown()
	if !errors.Is(err, &batos.Error{Code: batos.Limit}) {
		t.Fatalf("ended with %v (%s), want a limit error; used %+v", err, batos.CodeOf(err), r.Usage())
	}
	if len(err.Error()) > 2*maxErrorText {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if elapsed > maxElapsed || growth > maxGrowth && !underRace {
		t.Errorf("took %s and %d MiB: %v", elapsed, growth>>20, err)
	}
	t.Logf("%s, %d MiB, %+v: %v", elapsed.Round(time.Millisecond), growth>>20, r.Usage(), err)
}

// watchMemory answers how much the peak of the process's resident memory will
// have risen above what it has now. Where the system does not tell, it is 0.
func watchMemory(t *testing.T) func() uint64 {
	debug.FreeOSMemory()
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		t.Log("peak memory cannot be measured here")
		return func() uint64 { return 0 }
	}
	before := residentPeak(t)
	return func() uint64 { return residentPeak(t) - min(before, residentPeak(t)) }
}

func residentPeak(t *testing.T) uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestParserBombs compiles sources made to be expensive. Refused or not, the
// answer comes soon.
func TestParserBombs(t *testing.T) {
	body := func(s string) string { return "def m(self):\n    return " + s + "\n" }
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	const room = MaxSource - 100
	var nested strings.Builder
	nested.WriteString("def m(self):\n")
	for i := 1; nested.Len() < room-2*i; i++ {
		nested.WriteString(many(" ", i) + "if 1:\n")
		if nested.Len() >= room-2*(i+1) {
			nested.WriteString(many(" ", i+1) + "pass\n")
		}
	}
	bombs := map[string]string{
		"too large":         body(many("1+", 3_000_000) + "1"),
		"parentheses":       body(many("(", room/2) + many(")", room/2)),
		"open parentheses":  body(many("(", room)),
		"brackets":          body(many("[", room/2) + many("]", room/2)),
		"plus":              body(many("1+", room/2) + "1"),
		"plus of names":     body(many("a+", room/2) + "1"),
		"plus of strings":   body(many("''+", room/3) + "''"),
		"times":             body(many("a*", room/2) + "1"),
		"minus":             body(many("-", room) + "1"),
		"not":               body(many("not ", room/4) + "1"),
		"and":               body(many("a and ", room/6) + "1"),
		"elif":              "def m(self):\n if 1:\n  x=1\n" + many(" elif 1:\n  x=1\n", room/16) + "\n",
		"short elif":        "def m(self):\n if 1:pass\n" + many(" elif 1:pass\n", room/14) + "\n",
		"else if":           nested.String(),
		"dots":              body("a" + many(".a", room/2)),
		"calls":             body("a" + many("()", room/2)),
		"sends":             body("a" + many(".a()", room/4)),
		"indexes":           body("a" + many("[0]", room/3)),
		"lambdas":           body(many("lambda:", room/7) + "1"),
		"conditions":        body(many("1 if 1 else ", room/12) + "1"),
		"list":              body("[" + many("1,", room/2) + "]"),
		"list of names":     body("[" + many("a,", room/2) + "]"),
		"dict":              body("{" + many("1:1,", room/4) + "}"),
		"tuple":             body("(" + many("a,", room/2) + ")"),
		"lists":             body(many("[1,", room/4) + many("]", room/4)),
		"arguments":         body("f(" + many("1,", room/2) + ")"),
		"parameters":        "def m(self" + many(",a", room/2) + "):\n    pass\n",
		"variables":         "def m(self):\n" + manyOf(room/12, func(i int) string { return fmt.Sprintf(" a%d=1\n", i) }),
		"statements":        "def m(self):\n" + many(" a=1\n", room/5),
		"semicolons":        "def m(self):\n " + many("a=1;", room/4) + "\n",
		"items":             "def m(self):\n" + many(" a[0]+=1\n", room/10),
		"slots":             "def m(self):\n" + many(" self.a.b[0]+=[1]\n", room/20),
		"targets":           "def m(self):\n " + many("a,", room/2) + "b=1\n",
		"item targets":      "def m(self):\n " + many("a[0],", room/5) + "b=1\n",
		"nested targets":    "def m(self):\n " + many("(", 60) + "a[0]" + many(",)", 60) + "=1\n",
		"loops":             "def m(self):\n return [1 " + many("for a in a ", room/11) + "]\n",
		"functions":         "def m(self):\n" + many(" def f():pass\n", room/15),
		"nested functions":  manyOf(200, func(i int) string { return many(" ", i) + "def f(self):\n" }) + many(" ", 201) + "pass\n",
		"big integer":       body(many("9", room)),
		"big hex":           body("0x" + many("f", room)),
		"big float":         body("1e" + many("9", room)),
		"string":            body("'" + many("\\x00", room/4) + "'"),
		"comments":          "def m(self):\n    pass\n" + many("#\n", room/2),
		"blank lines":       "def m(self):\n    pass\n" + many("\n", room),
		"f-strings":         body(many("f'{1}'+", room/7) + "''"),
		"f-string fields":   body("f'" + many("{1}", room/3) + "'"),
		"f-string braces":   body("f'" + many("{{", room/2) + "'"),
		"f-string openings": body("f'" + many("{", room)),
		"f-string nesting":  body(many("f'{", room/3)),
		"f-string specs":    body("f'" + many("{1:", room/3) + "'"),
		"f-string quotes":   body("f'{" + many("\"'\"+", room/5) + "1}'"),
		"f-string parens":   body("f'{" + many("(", room/2) + "}'"),
		"invalid utf-8":     body("'" + many("\xff", room) + "'"),
		"nul":               body(many("\x00", room)),
	}
	for name, src := range bombs {
		t.Run(name, func(t *testing.T) {
			grown := watchMemory(t)
			start := time.Now()
			p, err := Compile("m", src)
			elapsed := time.Since(start)
			if growth := grown(); elapsed > maxElapsed || growth > maxGrowth {
				t.Errorf("compiling took %s and %d MiB", elapsed, growth>>20)
			}
			if err != nil {
				if code := batos.CodeOf(err); code != batos.Invalid && code != batos.Limit {
					t.Errorf("code %q of %v", code, err)
				}
				if len(err.Error()) > 2*maxErrorText {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			}
			t.Logf("%s, %v, %v", elapsed.Round(time.Millisecond), p != nil, err)
		})
	}
}

func manyOf(n int, f func(int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(f(i))
	}
	return b.String()
}
