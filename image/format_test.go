package image

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// Images that released formats wrote lie in testdata as text: for each file a
// line with its name, then lines of base64. Each release opens them all. When
// the format changes, add one:
//
//	BATOS_WRITE_FIXTURE=testdata/format-N.txt go test ./image -run TestReleasedFormats
//
// What is in them is made by [fossilize], which never changes.

// fossilize makes an image with something of everything, packs a part of it,
// and commits more.
func fossilize(t *testing.T, im *Image) {
	blob, err := im.NewBlob(t.Context(), strings.NewReader("a blob"))
	if err != nil {
		t.Fatal(err)
	}
	update(t, im, func(tx *Tx) error {
		tx.SetMeta(Meta{Author: batos.Person, AuthorName: "somebody", Note: "the first"})
		tree, err := tx.NewTree()
		if err != nil {
			return err
		}
		for n := range int64(200) {
			if err := tx.Tree(tree).Set(i(n*n), object.Str(fmt.Sprint("square of ", n))); err != nil {
				return err
			}
		}
		one, err := tx.Create(slots("none", object.None{}, "yes", object.Bool(true), "n", i(-5), "pi", object.Float(3.25), "text", object.Str("grün"),
			"bytes", object.Bytes("\x00\xff"), "list", list(i(1), object.Str("two")), "tree", tree, "total", object.Counter(7), "blob", blob,
			"time", object.Time(1_700_000_000_000_000), "primitive", object.Primitive("p"),
			"grow", &object.Method{Selector: "grow", Source: "def grow(self):\n    pass\n", Author: batos.Persona, AuthorName: "BRICK", Version: 3}))
		if err != nil {
			return err
		}
		two, err := tx.Create(slots("parent*", object.Ref(one), "count", i(0)))
		if err != nil {
			return err
		}
		gone, err := tx.Create(slots("n", i(1)))
		if err != nil {
			return err
		}
		for name, oid := range map[string]batos.OID{"one": one, "two": two, "gone": gone} {
			if err := tx.SetName(name, oid); err != nil {
				return err
			}
		}
		return nil
	})
	count := func(from, to int64) {
		for n := from; n <= to; n++ {
			update(t, im, func(tx *Tx) error {
				oid, _, err := tx.Name("two")
				if err != nil {
					return err
				}
				return tx.SetSlot(oid, "count", i(n))
			})
		}
	}
	count(1, 20)
	update(t, im, func(tx *Tx) error {
		oid, _, err := tx.Name("gone")
		if err != nil {
			return err
		}
		if err := tx.SetName("gone", 0); err != nil {
			return err
		}
		return tx.Delete(oid)
	})
	if _, err := im.Pack(t.Context(), PackOptions{Before: im.LastTID()}); err != nil {
		t.Fatal(err)
	}
	count(21, 40)
}

// examine demands what fossilize made.
func examine(t *testing.T, im *Image) {
	t.Helper()
	var two batos.OID
	view(t, im, func(tx *Tx) error {
		one, _, err := tx.Name("one")
		if err != nil {
			return err
		}
		if two, _, err = tx.Name("two"); err != nil {
			return err
		}
		s, err := tx.Load(one)
		if err != nil {
			return err
		}
		tree, _ := s.Slot("tree")
		blob, _ := s.Slot("blob")
		got := fmt.Sprint(names(s))
		if want := "[none yes n pi text bytes list tree total blob time primitive grow]"; got != want {
			t.Errorf("slots %s, want %s", got, want)
		}
		for name, want := range map[string]object.Value{
			"n": i(-5), "text": object.Str("grün"), "list": list(i(1), object.Str("two")), "total": object.Counter(7), "primitive": object.Primitive("p"),
		} {
			wantSlot(t, tx, one, name, want)
		}
		if v, holder, ok, err := tx.Lookup(two, "grow"); !ok || holder != one || v.(*object.Method).Version != 3 {
			t.Errorf("look-up through the parent: %v, %v, %v, %v", v, holder, ok, err)
		}
		wantSlot(t, tx, two, "count", i(40))
		n := int64(0)
		for e, err := range tx.Tree(tree.(object.Tree)).Range(nil, nil) {
			if err != nil {
				return err
			}
			if !object.Equal(e.Key, i(n*n)) || !object.Equal(e.Value, object.Str(fmt.Sprint("square of ", n))) {
				t.Errorf("entry %d is %s: %s", n, object.Text(e.Key, 20), object.Text(e.Value, 40))
			}
			n++
		}
		if n != 200 {
			t.Errorf("the tree has %d keys", n)
		}
		b, err := im.OpenBlob(t.Context(), blob.(object.Blob))
		if err != nil {
			return err
		}
		defer b.Close()
		if err := b.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		return nil
	})
	revisions := 0
	for r, err := range im.History(t.Context(), two) {
		if err != nil {
			t.Fatal(err)
		}
		want := i(int64(40 - revisions))
		if v, _ := r.State.Slot("count"); !object.Equal(v, want) {
			t.Errorf("revision %d back has count %s", revisions, object.Text(v, 20))
		}
		at, err := im.BeginAt(t.Context(), r.TID)
		if err != nil {
			t.Fatal(err)
		}
		wantSlot(t, at, two, "count", want)
		at.Abort()
		revisions++
	}
	if revisions != 21 { // the rest was packed away
		t.Errorf("%d revisions are left", revisions)
	}
	for p, err := range im.Verify(t.Context(), VerifyOptions{}, &VerifyReport{}) {
		t.Error(p, err)
	}
}

func TestReleasedFormats(t *testing.T) {
	if name := os.Getenv("BATOS_WRITE_FIXTURE"); name != "" {
		fsys := vfs.NewMem()
		im, err := Open(t.Context(), "/image", Options{FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		fossilize(t, im)
		examine(t, im)
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, dump(t, fsys, "/image", ""), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/format-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no fossils", err)
	}
	for _, name := range files {
		for _, index := range []bool{true, false} {
			t.Run(fmt.Sprint(filepath.Base(name), " index ", index), func(t *testing.T) {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				fsys := vfs.NewMem()
				undump(t, fsys, "/image", string(text))
				if !index {
					if err := fsys.Remove("/image/live_image.fs.index"); err != nil {
						t.Fatal(err)
					}
				}
				open := func(readOnly bool) *Image {
					im, err := Open(context.Background(), "/image", Options{FS: fsys, ReadOnly: readOnly})
					if err != nil {
						t.Fatal(err)
					}
					return im
				}
				for _, readOnly := range []bool{true, false, false} { // the last with the index that the one before wrote
					im := open(readOnly)
					examine(t, im)
					if err := im.Close(); err != nil {
						t.Fatal(err)
					}
				}
				im := open(false)
				oid := create(t, im, slots("n", i(1)))
				update(t, im, func(tx *Tx) error { return tx.SetName("new", oid) })
				if err := im.Close(); err != nil {
					t.Fatal(err)
				}
				im = open(true)
				defer im.Close()
				view(t, im, func(tx *Tx) error { wantSlot(t, tx, oid, "n", i(1)); return nil })
				examine(t, im)
			})
		}
	}
}

// dump gives the files below a folder as text.
func dump(t *testing.T, fsys vfs.FS, dir, below string) []byte {
	var b bytes.Buffer
	list, err := fsys.ReadDir(filepath.Join(dir, below))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		at := filepath.Join(below, name)
		info, err := fsys.Stat(filepath.Join(dir, at))
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			b.Write(dump(t, fsys, dir, at))
			continue
		}
		content, err := vfs.ReadFile(fsys, filepath.Join(dir, at))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "file %s\n", filepath.ToSlash(at))
		for line := base64.StdEncoding.EncodeToString(content); line != ""; {
			n := min(len(line), 100)
			fmt.Fprintln(&b, line[:n])
			line = line[n:]
		}
	}
	return b.Bytes()
}

// undump is the inverse of dump.
func undump(t *testing.T, fsys vfs.FS, dir, text string) {
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "file "), "\nfile ") {
		name, rest, _ := strings.Cut(part, "\n")
		content, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(rest, "\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := fsys.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(fsys, name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
