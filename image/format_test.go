package image

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// relic is an image and a backup of it as some release wrote them, and what
// they have to say for ever. Files of testdata/formats are never changed: a
// release that writes another format adds one, with BATOS_WRITE_FORMAT=name.
type relic struct {
	Files   map[string][]byte `json:"files"`
	Moments []moment          `json:"moments"`
	Blob    string            `json:"blob"` // the blob of Holder is this, times Times
	Times   int               `json:"times"`
	Holder  batos.OID         `json:"holder"` // has it in slot file
}

func (r *relic) content() string { return strings.Repeat(r.Blob, r.Times) }

// moment is what the image is as of a tid.
type moment struct {
	TID  batos.TID         `json:"tid"`
	Text map[string]string `json:"text"` // objects and trees by oid
}

// textOf gives all objects of some and trees as text, those that exist.
func textOf(t *testing.T, im *Image, at batos.TID) map[string]string {
	t.Helper()
	kinds, err := im.census(t.Context(), at)
	must(t, err)
	tx, err := im.BeginAt(t.Context(), at)
	must(t, err)
	defer tx.Abort()
	out := map[string]string{}
	for oid := range kinds {
		if s, err := tx.Load(oid); err == nil {
			out[oid.String()] = string(appendObject(nil, oid, s))
			continue
		}
		b := appendTreeHead(nil, oid)
		for e, err := range tx.Tree(object.Tree(oid)).Range(nil, nil) {
			must(t, err)
			b = appendTreeEntry(b, e)
		}
		out[oid.String()] = string(b)
	}
	return out
}

// writeRelic makes one of this release: values of all kinds, a tree of several
// pages, a blob of two chunks, deletions, a past that was packed in part.
func writeRelic(t *testing.T, name string) {
	disk := vfs.NewMem()
	im, err := Open(t.Context(), "/image", Options{FS: disk})
	must(t, err)
	r := relic{Files: map[string][]byte{}, Blob: "0123456789abcdef", Times: 70_000}
	blob, err := im.NewBlob(t.Context(), strings.NewReader(r.content()))
	must(t, err)
	other := create(t, im, slots("n", i(0)))
	gone := create(t, im, slots("n", i(0)))
	m := &object.Method{Selector: "m", Source: "def m(self):\n    return 1\n", Author: batos.Persona, AuthorName: "BRICK", Mission: other, Provenance: other, Version: 1}
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		tx.SetMeta(Meta{Author: batos.Person, AuthorName: "ada", Note: "begin"})
		tree, err = tx.NewTree()
		must(t, err)
		for k := range int64(300) {
			must(t, tx.Tree(tree).Set(i(k*7%300), object.Str(fmt.Sprint("value ", k))))
		}
		must(t, tx.Tree(tree).Set(&object.Tuple{Items: []object.Value{object.Str("k"), object.Ref(other)}}, object.Bytes("\x00\xff")))
		r.Holder, err = tx.Create(slots("parent*", object.Ref(other), "file", blob, "m", m, "tree", tree, "c", object.Counter(5),
			"l", &object.List{Items: []object.Value{object.None{}, object.Bool(true), object.Float(math.Inf(1)), object.BigInt(new(big.Int).Lsh(big.NewInt(3), 90))}},
			"d", &object.Dict{Entries: []object.Entry{{Key: object.Str("é"), Value: object.Time(1)}}}, "s", &object.Set{Items: []object.Value{i(-300)}},
			"p", object.Primitive("object.clone")))
		must(t, err, tx.SetName("holder", r.Holder))
		return nil
	})
	for n := range int64(20) {
		update(t, im, func(tx *Tx) error { return tx.SetSlot(other, "n", i(n)) })
	}
	update(t, im, func(tx *Tx) error { return tx.Delete(gone) })

	update(t, im, func(tx *Tx) error {
		must(t, tx.SetSlot(other, "n", i(100)))
		return tx.SetSlot(r.Holder, "m", &object.Method{Selector: "m", Source: "def m(self):\n    return 2\n", Author: batos.Person, Version: 2})
	})
	_, err = im.Pack(t.Context(), PackOptions{Before: im.LastTID()})
	must(t, err)
	update(t, im, func(tx *Tx) error { return tx.SetSlot(other, "n", i(101)) })
	_, err = im.Backup(t.Context(), "/backup")
	must(t, err)
	update(t, im, func(tx *Tx) error {
		_, err := tx.Tree(tree).Delete(i(3))
		return err
	})
	last := im.LastTID()

	for _, at := range []batos.TID{last - 1, last} {
		r.Moments = append(r.Moments, moment{at, textOf(t, im, at)})
	}
	must(t, im.Close())
	for _, dir := range []string{"/image", "/backup"} {
		collect(t, disk, dir, r.Files)
	}
	for name := range r.Files {
		if strings.HasSuffix(filepath.Dir(name), "blob") && !strings.HasSuffix(name, ".sums") {
			r.Files[name] = nil // its content is in Blob
		}
	}
	b, err := json.MarshalIndent(r, "", " ")
	must(t, err)
	must(t, os.MkdirAll("testdata/formats", 0o755), os.WriteFile(filepath.Join("testdata/formats", name+".json"), append(b, '\n'), 0o644))
}

// collect reads the files under a folder of disk.
func collect(t *testing.T, disk vfs.FS, dir string, into map[string][]byte) {
	names, err := disk.ReadDir(dir)
	must(t, err)
	for _, n := range names {
		name := filepath.Join(dir, n)
		if info, err := disk.Stat(name); err == nil && info.IsDir() {
			collect(t, disk, name, into)
			continue
		}
		b, err := vfs.ReadFile(disk, name)
		must(t, err)
		into[name] = b
	}
}

// TestFormatsOfReleases opens what every format that there was looks like, with
// its index and without, and restores its backup.
func TestFormatsOfReleases(t *testing.T) {
	if name := os.Getenv("BATOS_WRITE_FORMAT"); name != "" {
		writeRelic(t, name)
	}
	names, err := filepath.Glob("testdata/formats/*.json")
	must(t, err)
	if len(names) == 0 {
		t.Fatal("there are no formats to open")
	}
	for _, name := range names {
		for _, way := range []string{"as it is", "without its index", "from its backup"} {
			t.Run(filepath.Base(name)+" "+way, func(t *testing.T) {
				text, err := os.ReadFile(name)
				must(t, err)
				var r relic
				must(t, json.Unmarshal(text, &r))
				disk := vfs.NewMem()
				for _, file := range slices.Sorted(maps.Keys(r.Files)) {
					b := r.Files[file]
					if strings.HasSuffix(filepath.Dir(file), "blob") && !strings.HasSuffix(file, ".sums") {
						b = []byte(r.content())
					}
					must(t, disk.MkdirAll(filepath.Dir(file), 0o700), vfs.WriteFile(disk, file, b, 0o600))
				}
				dir, moments := "/image", r.Moments
				switch way {
				case "without its index":
					must(t, disk.Remove("/image/live_image.fs.index"))
				case "from its backup":
					dir, moments = "/restored", moments[:1]
					_, err := Restore(t.Context(), "/backup", dir, 0, Options{FS: disk})
					must(t, err)
				}
				im, err := Open(t.Context(), dir, Options{FS: disk})
				must(t, err)
				defer im.Close()
				for _, m := range moments {
					if got := textOf(t, im, m.TID); !maps.Equal(got, m.Text) {
						t.Errorf("as of %v: %v\nwant %v", m.TID, got, m.Text)
					}
				}
				for _, p := range problems(t, im) {
					if IsDamage(p) {
						t.Errorf("verify: %v", p)
					}
				}
				view(t, im, func(tx *Tx) error {
					v, _, err := tx.Slot(r.Holder, "file")
					must(t, err)
					b, err := im.OpenBlob(t.Context(), v.(object.Blob))
					must(t, err)
					content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
					if err != nil || string(content) != r.content() {
						t.Errorf("the blob has %d bytes, %v", len(content), err)
					}
					return b.Close()
				})
				update(t, im, func(tx *Tx) error { return tx.SetSlot(r.Holder, "new", i(1)) })
			})
		}
	}
}
