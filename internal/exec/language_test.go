package exec_test

import (
	"os"
	"strings"
	"testing"

	"batos"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// TestLanguage runs the methods named test_… of testdata/semantics/test_*.star,
// each in a world of its own made of all files there. One without a docstring
// must answer True. A docstring "CODE: text" is the failure it must end with.
func TestLanguage(t *testing.T) {
	const dir = "testdata/semantics"
	for _, file := range starFiles(t, dir) {
		name := strings.TrimSuffix(file[len(dir)+1:], ".star")
		if !strings.HasPrefix(name, "test_") {
			continue
		}
		for _, d := range defsOf(t, file) {
			if d.Kind != method.DefMethod || !strings.HasPrefix(d.Name, "test_") {
				continue
			}
			t.Run(name+"/"+d.Name, func(t *testing.T) {
				w := newWorld(t, exec.Config{})
				w.loadDir(dir, object.Open, batos.Person, func(string) bool { return true })
				out := w.send(w.oid(name), batos.Selector(d.Name))
				if doc := d.Program.Doc(); doc != "" {
					code, text, _ := strings.Cut(doc, ":")
					wantFailure(t, out, batos.Code(code), strings.TrimSpace(text))
					return
				}
				if out.Status != exec.Done || out.Value != object.Value(object.Bool(true)) {
					t.Errorf("%s %v, answer %s", out.Status, out.Err, show(out.Value))
				}
			})
		}
	}
}

// TestAttacks sends the methods named attack_… of testdata/attacks/attacker.star,
// installed with the authority of generated code, in a world of objects that
// belong to others. Each must end with the code that its docstring names, and
// leave no change behind.
func TestAttacks(t *testing.T) {
	const dir = "testdata/attacks"
	for _, d := range defsOf(t, dir+"/attacker.star") {
		if d.Kind != method.DefMethod || !strings.HasPrefix(d.Name, "attack_") {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			w := newAttackedWorld(t)
			before := w.im.LastTID()
			code, text, _ := strings.Cut(d.Program.Doc(), ":")
			wantFailure(t, w.send(w.oid("attacker"), batos.Selector(d.Name), object.Ref(w.oid("given"))), batos.Code(code), strings.TrimSpace(text))
			if w.im.LastTID() != before {
				t.Error("something was committed")
			}
		})
	}
}

// newAttackedWorld has protected, open and sealed objects of genesis, and an
// attacker whose methods were generated.
func newAttackedWorld(t *testing.T) *world {
	const dir = "testdata/attacks"
	w := newWorld(t, exec.Config{})
	w.r.Primitive("test.install", exec.Primitive{Receiver: "may_install", Fn: install})
	only := func(names ...string) func(string) bool {
		return func(n string) bool { return strings.Contains(" "+strings.Join(names, " ")+" ", " "+n+" ") }
	}
	w.loadDir(dir, object.Protected, batos.Genesis, only("vault", "workflow", "service"))
	w.loadDir(dir, object.Sealed, batos.Genesis, only("verdict"))
	w.loadDir(dir, object.Open, batos.Person, only("victim", "given"))
	w.loadDir(dir, object.Open, batos.Persona, only("attacker", "accomplice", "echo"))
	return w
}

func defsOf(t *testing.T, file string) []method.Def {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defs, err := method.ParseFile(file, string(src))
	if err != nil {
		t.Fatal(err)
	}
	return defs
}
