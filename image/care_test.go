package image

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
	"batos/object"
)

// TestModelOfCare runs random transactions, and between them branches that
// are merged or discarded, differences of moments, and exports that are
// imported again, and compares everything with a plain model.
func TestModelOfCare(t *testing.T) {
	dirs := t.TempDir()
	exports := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		im, err := Open(ctx, "/image", Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		w, tid := founded(t, im)
		past := []version{{0, newWorld()}, {tid, w}}
		now := func() *world { return past[len(past)-1].world }
		commit := func(t *rapid.T) {
			w := now().clone()
			if tid := transact(t, im, w); tid > past[len(past)-1].tid {
				past = append(past, version{tid, w})
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"transaction": commit,
			"branch": func(t *rapid.T) {
				from := rapid.IntRange(1, len(past)-1).Draw(t, "base")
				b, err := im.Branch(ctx, past[from].tid)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Discard()
				a := branched(t, b, past[from].world.clone())
				for range rapid.IntRange(0, 2).Draw(t, "meanwhile") {
					commit(t)
				}
				if rapid.IntRange(0, 3).Draw(t, "discard") == 0 {
					return
				}
				tid, err := b.Merge(ctx, Meta{})
				if batos.CodeOf(err) == batos.Conflict {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if tid <= past[len(past)-1].tid {
					return // nothing was changed
				}
				w := now().clone()
				for i, o := range a.steps {
					if got := o.onModel(w); got != a.answers[i] {
						t.Fatalf("%s learned %q in the branch; when it was merged it would learn %q\n%s", o, a.answers[i], got, a)
					}
				}
				past = append(past, version{tid, w})
			},
			"difference": func(t *rapid.T) {
				from := rapid.SampledFrom(past).Draw(t, "from")
				to := rapid.SampledFrom(past).Draw(t, "to")
				changes, err := im.Diff(ctx, from.tid, to.tid)
				if err != nil {
					t.Fatal(err)
				}
				w := from.world.clone()
				w.apply(t, changes)
				if got, want := w.String(), to.world.String(); got != want {
					t.Fatalf("%s with the difference to %s is\n%s\ninstead of\n%s", from.tid, to.tid, got, want)
				}
			},
			"export": func(t *rapid.T) {
				v := rapid.SampledFrom(past[1:]).Draw(t, "when")
				exports++
				dir := filepath.Join(dirs, fmt.Sprint(exports))
				if _, err := im.Export(ctx, dir, v.tid); err != nil {
					t.Fatal(err)
				}
				copied := imported(t, dir)
				defer copied.Close()
				tx, err := copied.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				compare(t, tx, v.world)
			},
			"": func(t *rapid.T) {
				tx, err := im.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				compare(t, tx, now())
				for _, p := range problems(t, im) {
					if IsDamage(p) {
						t.Fatal(p)
					}
				}
			},
		})
	})
}

func imported(t failer, dir string) *Image {
	t.Helper()
	im, err := Open(t.Context(), "/copy", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Import(t.Context(), dir, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	return im
}

// branched takes random steps on a branch and on w.
func branched(t *rapid.T, b *Branch, w *world) *attempt {
	a := &attempt{}
	for range rapid.IntRange(1, 3).Draw(t, "updates") {
		err := b.Update(func(tx *Tx) error {
			for range rapid.IntRange(1, 8).Draw(t, "steps") {
				o := drawOp(t, w)
				got, want := o.onImage(tx), o.onModel(w)
				if got != want {
					t.Fatalf("%s on a branch: %q, the model says %q", o, got, want)
				}
				a.steps, a.answers = append(a.steps, o), append(a.answers, got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = b.View(func(tx *Tx) error { compare(t, tx, w); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// apply makes a difference in the model.
func (w *world) apply(t *rapid.T, changes []Change) {
	for _, c := range changes {
		switch {
		case c.Tree:
			if w.trees[c.OID] == nil {
				w.trees[c.OID] = map[int64]string{}
			}
			for _, k := range c.Keys {
				n, _ := k.Key.(object.Int).Int64()
				if had, ok := w.trees[c.OID][n]; ok != (k.Before != nil) || ok && object.Str(had) != k.Before {
					t.Fatalf("key %d of %s was %q, the difference says %v", n, c.OID, had, k.Before)
				}
				if k.After == nil {
					delete(w.trees[c.OID], n)
				} else {
					w.trees[c.OID][n] = string(k.After.(object.Str))
				}
			}
			if c.Deleted {
				delete(w.trees, c.OID)
			}
		case c.Deleted:
			delete(w.objects, c.OID)
		default:
			s := w.objects[c.OID]
			if (s == nil) != c.New {
				t.Fatalf("%s is new: %v", c.OID, c.New)
			}
			if s == nil {
				s = slots()
			}
			if c.Protection != nil {
				s = s.Protect(*c.Protection)
			}
			for _, sl := range c.Slots {
				if v, _ := s.Slot(sl.Name); !object.Equal(v, sl.Before) {
					t.Fatalf("slot %s of %s was %v, the difference says %v", sl.Name, c.OID, v, sl.Before)
				}
				if sl.After == nil {
					s = s.Without(sl.Name)
				} else {
					s = s.With(sl.Name, sl.After)
				}
			}
			w.objects[c.OID] = s
		}
	}
}

func problems(t failer, im *Image) []store.Problem {
	t.Helper()
	var out []store.Problem
	var report VerifyReport
	for p, err := range im.Verify(t.Context(), VerifyOptions{}, &report) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// anyValue draws a value of any kind.
func anyValue(depth int) *rapid.Generator[object.Value] {
	return rapid.Custom(func(t *rapid.T) object.Value {
		kinds := 13
		if depth > 2 {
			kinds = 9
		}
		text := func() string { return rapid.StringN(0, 20, -1).Draw(t, "text") }
		items := func() []object.Value { return rapid.SliceOfN(anyValue(depth+1), 0, 30).Draw(t, "items") }
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return object.None{}
		case 1:
			return object.Bool(rapid.Bool().Draw(t, "bool"))
		case 2:
			n := new(big.Int).Mul(big.NewInt(rapid.Int64().Draw(t, "int")), big.NewInt(rapid.Int64().Draw(t, "factor")))
			return object.BigInt(n)
		case 3:
			return object.Float(rapid.Float64().Draw(t, "float"))
		case 4:
			return object.Str(text())
		case 5:
			return object.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
		case 6:
			return object.Ref(rapid.Uint64().Draw(t, "oid"))
		case 7:
			return object.Time(rapid.Int64().Draw(t, "time"))
		case 8:
			return rapid.SampledFrom([]object.Value{
				object.Counter(math.MinInt64), object.Primitive("a.b"), object.Float(math.NaN()), object.Float(math.Inf(-1)), object.Tree(7),
				object.Blob{Hash: [32]byte{1}, Size: 5}, object.Float(math.Copysign(0, -1)), object.Float(1e300),
			}).Draw(t, "rare")
		case 9:
			return &object.Method{Selector: batos.Selector(text()), Source: text(), Author: batos.Genesis, AuthorName: text(), Mission: 5, Version: 3}
		case 10:
			return &object.List{Items: items()}
		case 11:
			return &object.Tuple{Items: items()}
		case 12:
			d := &object.Dict{}
			for n, v := range items() {
				d.Entries = append(d.Entries, object.Entry{Key: object.Str(fmt.Sprint(n, text())), Value: v})
			}
			return d
		}
		return &object.Set{Items: []object.Value{i(1), object.Str(text())}}
	})
}

// TestText writes objects as text and reads them again.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sl []object.Slot
		for n := range rapid.IntRange(0, 6).Draw(t, "slots") {
			name := rapid.SampledFrom([]string{"count", "parent*", "a b", `"`, "x1", "#", "method", "é"}).Draw(t, "name") + fmt.Sprint(n)
			v := anyValue(0).Draw(t, "value")
			if m, ok := v.(*object.Method); ok && rapid.Bool().Draw(t, "whole") {
				m.Source += "\n\n  \"\"\"\nx = method(\n\"\"\"\r\n"
			}
			sl = append(sl, object.Slot{Name: name, Value: v})
		}
		s := object.NewState(object.Protected, batos.Persona, sl...)
		s.CreatedBy = "m1"
		text := appendObject(nil, 0x12a, s)
		oid, back, err := (&textReader{name: "x", s: string(text)}).object()
		if err != nil || oid != 0x12a || !object.Same(s, back) {
			t.Fatalf("%v\n%s\nbecame\n%s", err, text, appendObject(nil, oid, back))
		}
	})
}

func FuzzTextReader(f *testing.F) {
	f.Add("object(0x1, \"open\", \"person\", \"\")\na = [1, {\"x\": (1,)}]\nm = method(\"m\", \"person\", \"p\", 0x0, 0x0, 1, 2)\ndef m(self):\n    pass\n")
	f.Add("tree(0x3)\n\"k\": set([ref(0x1), b\"\\xff\"])\n1: time(\"2026-11-23T01:02:03Z\")\n")
	f.Add("object(0x1, \"sealed\", \"genesis\", \"m\")\n\"a*\" = blob(\"" + strings.Repeat("00", 32) + "\", 3)\n")
	f.Fuzz(func(t *testing.T, text string) {
		if oid, s, err := (&textReader{name: "f", s: text}).object(); err == nil {
			again := appendObject(nil, oid, s)
			if _, back, err := (&textReader{name: "f", s: string(again)}).object(); err != nil || !object.Same(s, back) {
				t.Fatalf("%v: %q", err, again)
			}
		} else if batos.CodeOf(err) != batos.Invalid {
			t.Fatalf("%q: %v", text, err)
		}
		if _, _, err := (&textReader{name: "f", s: text}).tree(); err != nil && batos.CodeOf(err) != batos.Invalid {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// FuzzImport: whatever the files of an export say, an import answers with an
// error with a code and leaves nothing, or makes an image that verifies.
func FuzzImport(f *testing.F) {
	h := strings.Repeat("0", 64)
	f.Add("batos export 1\nobject 0x1 objects/0x1.star\ntree 0x2 trees/0x2.star\n", "object(0x1, \"open\", \"person\", \"\")\na = [ref(0x2)]\n", "tree(0x2)\n\"k\": ref(0x1)\n", "content")
	f.Add("batos export 1\nobject 0x1 objects/../0x1.star\nblob "+h+" blobs/"+h+"\n", "", "", "")
	f.Fuzz(func(t *testing.T, index, first, second, blob string) {
		dir := t.TempDir()
		for name, text := range map[string]string{exportIndex: index, "objects/0x1.star": first, "trees/0x2.star": second, "blobs/" + h: blob} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		im, err := Open(t.Context(), "/image", Options{FS: vfs.NewMem()})
		must(t, err)
		defer im.Close()
		if _, err := im.Import(t.Context(), dir, ImportOptions{}); err != nil {
			if batos.CodeOf(err) == "" || im.LastTID() != 0 {
				t.Fatalf("%v, and the image is at %v", err, im.LastTID())
			}
			return
		}
		for _, p := range problems(t, im) {
			if IsDamage(p) {
				t.Fatalf("imported: %v", p)
			}
		}
	})
}

func TestImportRefuses(t *testing.T) {
	im := open(t)
	blob, err := im.NewBlob(t.Context(), strings.NewReader("content"))
	must(t, err)
	oid := create(t, im, slots("a", i(1), "p", object.Primitive("object.clone"), "file", blob,
		"m", &object.Method{Selector: "m", Source: "def m(self):\n    return 1\n", Author: batos.Person, AuthorName: "ada", Provenance: 3, Version: 2}))
	update(t, im, func(tx *Tx) error { return tx.SetName("thing", oid) })
	file := "objects/" + oid.String() + ".thing.star"
	blobFile := "blobs/" + hex.EncodeToString(blob.Hash[:])
	o := ImportOptions{
		Primitive: func(name string) bool { return name == "object.clone" },
		Audit: func(_ string, m *object.Method) error {
			if strings.Contains(m.Source, "evil") {
				return batos.Errorf(batos.Refused, "it is evil")
			}
			return nil
		},
	}
	edit := func(t *testing.T, name, old, new string, dir string) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(string(b), old, new, 1)), 0o600))
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		code  batos.Code
	}{
		"nothing":       {func(*testing.T, string) {}, ""},
		"a primitive":   {func(t *testing.T, dir string) { edit(t, file, "object.clone", "kernel.boom", dir) }, batos.Refused},
		"a method":      {func(t *testing.T, dir string) { edit(t, file, "return 1", "return evil", dir) }, batos.Refused},
		"syntax":        {func(t *testing.T, dir string) { edit(t, file, "a = 1", "a = 1)", dir) }, batos.Invalid},
		"another oid":   {func(t *testing.T, dir string) { edit(t, file, oid.String(), "0x77", dir) }, batos.Invalid},
		"a blob's size": {func(t *testing.T, dir string) { edit(t, file, "\", 7)", "\", 8)", dir) }, batos.Invalid},
		"a path":        {func(t *testing.T, dir string) { edit(t, exportIndex, file, "../"+file, dir) }, batos.Invalid},
		"one oid twice": {func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, file))
			must(t, err)
			again := "records/" + oid.String() + ".star"
			must(t, os.WriteFile(filepath.Join(dir, again), b, 0o600))
			edit(t, exportIndex, file, file+"\nobject "+oid.String()+" "+again, dir)
		}, batos.Invalid},
		"a missing file":  {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, file))) }, batos.NotFound},
		"an altered blob": {func(t *testing.T, dir string) { edit(t, blobFile, "content", "CONTENT", dir) }, batos.Corrupt},
		"a newer format":  {func(t *testing.T, dir string) { edit(t, exportIndex, exportHead+" 1", exportHead+" 2", dir) }, batos.NewerFormat},
		"a link": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, file), filepath.Join(dir, "elsewhere")), os.Symlink("../elsewhere", filepath.Join(dir, file)))
		}, batos.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := im.Export(t.Context(), dir, 0)
			must(t, err)
			c.spoil(t, dir)
			copied, err := Open(t.Context(), "/copy", Options{FS: vfs.NewMem()})
			must(t, err)
			defer copied.Close()
			r, err := copied.Import(t.Context(), dir, o)
			wantCode(t, err, c.code)
			if err != nil {
				if copied.LastTID() != 0 {
					t.Error("an import that failed has left something")
				}
				return
			}
			view(t, copied, func(tx *Tx) error {
				v, _, err := tx.Slot(oid, "m")
				must(t, err)
				if m := v.(*object.Method); m.Author != batos.Imported || m.AuthorName != r.Author || m.Provenance != 0 || m.Version != 2 {
					t.Errorf("an imported method is %+v", m)
				}
				return nil
			})
			fresh := create(t, copied, slots("a", i(1)))
			if fresh <= oid {
				t.Errorf("a new object is %s, though %s was imported", fresh, oid)
			}
			_, err = copied.Import(t.Context(), dir, o)
			wantCode(t, err, batos.Invalid)
		})
	}
}

func TestExportAgainChangesWhatChanged(t *testing.T) {
	im := open(t)
	gone, stays := create(t, im, slots("a", i(1))), create(t, im, slots("a", i(1)))
	dir := filepath.Join(t.TempDir(), "out")
	_, err := im.Export(t.Context(), dir, 0)
	must(t, err)
	file := func(oid batos.OID) string { return filepath.Join(dir, "objects", oid.String()+".star") }
	before, err := os.Stat(file(stays))
	must(t, err)
	update(t, im, func(tx *Tx) error { return tx.Delete(gone) })
	_, err = im.Export(t.Context(), dir, 0)
	must(t, err)
	after, err := os.Stat(file(stays))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the file of an object that did not change was written again")
	}
	if _, err := os.Stat(file(gone)); !os.IsNotExist(err) {
		t.Errorf("the file of an object that is gone: %v", err)
	}
	other := t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "letter"), nil, 0o600))
	_, err = im.Export(t.Context(), other, 0)
	wantCode(t, err, batos.Invalid)
}

func TestExportGoesOn(t *testing.T) {
	im := open(t)
	for n := range int64(20) {
		create(t, im, slots("a", i(n)))
	}
	dir := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := im.export(ctx, dir, 0, nil); err == nil {
		t.Fatal("it was cancelled")
	}
	must(t, os.MkdirAll(filepath.Join(dir, "objects"), 0o700), os.MkdirAll(filepath.Join(dir, "blobs"), 0o700))
	r, err := im.Export(t.Context(), dir, 0)
	if err != nil || r.Objects != 20 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestVerifyTellsWhatAndWhere(t *testing.T) {
	im := open(t)
	lost, target := create(t, im, slots("a", i(1))), create(t, im, slots("a", i(1)))
	holder := create(t, im, slots("to", object.Ref(target)))
	update(t, im, func(tx *Tx) error { return tx.SetName("holder", holder) })
	update(t, im, func(tx *Tx) error { return tx.Delete(target) })
	bad, err := im.store.NewOIDs(t.Context(), 1)
	must(t, err)
	_, err = im.store.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: bad, Data: []byte("O\x01nonsense")}}})
	must(t, err)
	found := problems(t, im)
	if !slices.ContainsFunc(found, func(p store.Problem) bool { return p.Kind == Unreadable && p.OID == bad && p.Since == im.LastTID() }) {
		t.Errorf("the unreadable object %s is not among %v", bad, found)
	}
	if _, ok := im.store.(store.Verifier); !ok {
		t.Skip("the store does not verify")
	}
	for _, want := range []store.Problem{{Kind: store.Dangling, OID: holder}, {Kind: store.Unreachable, OID: lost}} {
		if !slices.ContainsFunc(found, func(p store.Problem) bool { return p.Kind == want.Kind && p.OID == want.OID && !IsDamage(p) }) {
			t.Errorf("%s of %s is not among %v", want.Kind, want.OID, found)
		}
	}
}

// TestVerifyBesidePack packs while a verification is under way: what it was
// going to look at stays until it is through.
func TestVerifyBesidePack(t *testing.T) {
	im := open(t)
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		if tree, err = tx.NewTree(); err != nil {
			return err
		}
		return tx.Tree(tree).Set(i(1), i(1))
	})
	bad, err := im.store.NewOIDs(t.Context(), 1)
	must(t, err)
	_, err = im.store.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: bad, Data: []byte("O\x01nonsense")}}})
	must(t, err)
	told := 0
	var report VerifyReport
	for p, err := range im.Verify(t.Context(), VerifyOptions{}, &report) {
		must(t, err)
		if told++; p.Kind == Unreadable && told == 1 {
			for n := range int64(3) {
				update(t, im, func(tx *Tx) error { return tx.Tree(tree).Set(i(1), i(n+2)) })
			}
			_, err := im.store.(store.Packer).Pack(t.Context(), store.PackOptions{Before: im.LastTID()})
			must(t, err)
			continue
		}
		if IsDamage(p) {
			t.Errorf("found %v", p)
		}
	}
	if told == 0 {
		t.Error("the unreadable object was not found")
	}
}

func TestSurvey(t *testing.T) {
	im := open(t)
	target := create(t, im, slots("a", object.Str(strings.Repeat("x", 1000))))
	var tree object.Tree
	var holder batos.OID
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		must(t, err)
		for n := range int64(500) {
			must(t, tx.Tree(tree).Set(i(n), object.Ref(target)))
		}
		holder, err = tx.Create(slots("t", tree, "to", object.Ref(target)))
		return err
	})
	for n := range int64(5) {
		update(t, im, func(tx *Tx) error { return tx.SetSlot(target, "n", i(n)) })
	}
	s, err := im.Survey(t.Context(), 2)
	must(t, err)
	if s.Biggest[0].OID != batos.OID(tree) || !s.Biggest[0].Tree || s.Biggest[1].OID != target {
		t.Errorf("the biggest are %+v", s.Biggest)
	}
	if s.Busiest[0].OID != target || s.Busiest[0].Bytes < 5000 {
		t.Errorf("the busiest are %+v", s.Busiest)
	}
	if s.Popular[0] != (Popular{target, "object", false, 2}) {
		t.Errorf("the most referred to are %+v", s.Popular)
	}
	from, err := im.Referrers(t.Context(), target)
	must(t, err)
	if want := []batos.OID{batos.OID(tree), holder}; !slices.Equal(from, want) {
		t.Errorf("%s refer to the target, want %s", from, want)
	}
}
