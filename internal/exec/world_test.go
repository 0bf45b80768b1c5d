package exec_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/internal/vfs"
	"batos/object"
)

// world is an image in memory with objects described by .star files.
type world struct {
	testing.TB
	im    *image.Image
	r     *exec.Runner
	names map[string]batos.OID
}

const traits = `
clone = primitive("object.clone")
new_ = primitive("object.new")
setSlot_value_ = primitive("object.set_slot")
slot_ = primitive("object.slot")
slot_names_ = primitive("object.slot_names")
has_slot_ = primitive("object.has_slot")
remove_slot_ = primitive("object.remove_slot")
count_ = primitive("object.count")
describe = primitive("object.describe")
key_ = primitive("object.oid")
protect_ = primitive("object.protect")
unprotect_ = primitive("object.unprotect")
tree_ = primitive("tree.new")
doesNotUnderstand_ = primitive("kernel.does_not_understand")
_doesNotUnderstand_ = primitive("kernel.does_not_understand")
`

var clock = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// newWorld makes an image that holds traits_obj, protected and of genesis.
func newWorld(t testing.TB, c exec.Config) *world {
	t.Helper()
	im, err := image.Open(context.Background(), "img", image.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	if c.Clock == nil {
		c.Clock = func() time.Time { return clock }
	}
	w := &world{TB: t, im: im, r: exec.New(c), names: map[string]batos.OID{}}
	w.load(object.Protected, batos.Genesis, map[string]string{"traits_obj": traits})
	return w
}

// load makes one object of each source; they may refer to each other by name,
// and methods to counter.star's object as counter_obj.
func (w *world) load(p object.Protection, author batos.Authority, sources map[string]string) {
	w.Helper()
	_, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
		for name := range sources {
			oid, err := tx.Create(object.NewState(object.Open, author))
			if err != nil {
				return err
			}
			w.names[name] = oid
			if err := tx.SetName(strings.TrimSuffix(name, "_obj")+"_obj", oid); err != nil {
				return err
			}
		}
		for name, src := range sources {
			defs, err := method.ParseFile(name+".star", src)
			if err != nil {
				return err
			}
			for _, d := range defs {
				if err := w.define(tx, w.names[name], author, d); err != nil {
					return err
				}
			}
			if err := tx.SetProtection(w.names[name], p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) define(tx *image.Tx, oid batos.OID, author batos.Authority, d method.Def) error {
	var refs []object.Value
	for _, n := range d.Refs {
		refs = append(refs, object.Ref(w.oid(n)))
	}
	switch d.Kind {
	case method.DefMethod:
		return exec.Install(tx, oid, &object.Method{Selector: batos.Selector(d.Name), Source: d.Source, Author: author, AuthorName: "test"})
	case method.DefRef:
		return tx.SetSlot(oid, d.Name, refs[0])
	case method.DefRefs:
		return tx.SetSlot(oid, d.Name, &object.List{Items: refs})
	case method.DefTree:
		t, err := tx.NewTree()
		if err != nil {
			return err
		}
		return tx.SetSlot(oid, d.Name, t)
	}
	return tx.SetSlot(oid, d.Name, d.Value)
}

// loadDir loads the .star files of a folder; those that pick answers false for
// are left out.
func (w *world) loadDir(dir string, p object.Protection, author batos.Authority, pick func(name string) bool) {
	w.Helper()
	sources := map[string]string{}
	for _, f := range starFiles(w, dir) {
		if name := strings.TrimSuffix(filepath.Base(f), ".star"); pick(name) {
			src, err := os.ReadFile(f)
			if err != nil {
				w.Fatal(err)
			}
			sources[name] = string(src)
		}
	}
	w.load(p, author, sources)
}

func starFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS(dir), "*.star")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no .star files in %s", dir)
	}
	for i := range files {
		files[i] = filepath.Join(dir, files[i])
	}
	return files
}

func (w *world) oid(name string) batos.OID {
	w.Helper()
	oid, ok := w.names[name]
	if !ok {
		w.Fatalf("no object named %s", name)
	}
	return oid
}

// object makes an open object of a person, with traits_obj as its parent.
func (w *world) object(name, src string) batos.OID {
	w.Helper()
	w.load(object.Open, batos.Person, map[string]string{name: "parents = [ref(\"traits_obj\")]\n" + src})
	return w.oid(name)
}

// def puts a method into a slot.
func (w *world) def(oid batos.OID, author batos.Authority, src string) {
	w.Helper()
	sel, _, err := method.Signature(src)
	if err != nil {
		w.Fatal(err)
	}
	_, err = w.im.Update(context.Background(), func(tx *image.Tx) error {
		return exec.Install(tx, oid, &object.Method{Selector: sel, Source: src, Author: author, AuthorName: "test"})
	})
	if err != nil {
		w.Fatal(err)
	}
}

func message(oid batos.OID, sel batos.Selector, args ...object.Value) batos.Message {
	return batos.Message{
		ID: "m1", Lineage: "m1", Sender: "tester", Target: oid, Selector: sel,
		Args: codec.EncodeArgs(args, nil), Authority: batos.Person,
	}
}

// run carries out a request and commits it if it is done.
func (w *world) run(req exec.Request) exec.Outcome {
	w.Helper()
	if req.Lineage == (exec.Lineage{}) {
		req.Lineage = exec.DefaultLineage
	}
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	out := w.r.Run(context.Background(), tx, req)
	if out.Status != exec.Done || req.Candidate != nil {
		tx.Abort()
		return out
	}
	if _, err := tx.Commit(context.Background()); err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) send(oid batos.OID, sel batos.Selector, args ...object.Value) exec.Outcome {
	w.Helper()
	return w.run(exec.Request{Message: message(oid, sel, args...)})
}

// done is send that must be done, and gives the answer.
func (w *world) done(oid batos.OID, sel batos.Selector, args ...object.Value) object.Value {
	w.Helper()
	out := w.send(oid, sel, args...)
	if out.Status != exec.Done {
		w.Fatalf("%s: %s: %v", sel, out.Status, out.Err)
	}
	return out.Value
}

// fails is send that must fail with a code and a text.
func (w *world) fails(code batos.Code, text string, oid batos.OID, sel batos.Selector, args ...object.Value) {
	w.Helper()
	wantFailure(w, w.send(oid, sel, args...), code, text)
}

func wantFailure(t testing.TB, out exec.Outcome, code batos.Code, text string) {
	t.Helper()
	if out.Status != exec.Failed || out.Err.Code != code || !strings.Contains(out.Err.Text, text) {
		t.Errorf("got %s: %v (%s); want a failure with code %s and %q", out.Status, out.Err, batos.CodeOf(asErr(out.Err)), code, text)
	}
}

func asErr(e *batos.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// slot reads what is committed.
func (w *world) slot(oid batos.OID, name string) object.Value {
	w.Helper()
	var v object.Value
	err := w.im.View(context.Background(), func(tx *image.Tx) error {
		var err error
		v, _, err = tx.Slot(oid, name)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func (w *world) want(oid batos.OID, name string, want object.Value) {
	w.Helper()
	if got := w.slot(oid, name); !object.Equal(got, want) {
		w.Errorf("%s.%s holds %s, want %s", oid, name, show(got), show(want))
	}
}

func show(v object.Value) string {
	if v == nil {
		return "nothing"
	}
	return object.Text(v, 200)
}

func num(n int64) object.Value { return object.NewInt(n) }

func list(vs ...object.Value) *object.List { return &object.List{Items: vs} }
