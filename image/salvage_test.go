package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
	"batos/object"
)

// TestSalvage damages, in turn, every place of a log. What is exported is as it
// was, and what is not there is told of: exactly if the index is intact, and
// else at least that something is not there, or as it was before.
func TestSalvage(t *testing.T) {
	t.Run("with the index", func(t *testing.T) { testSalvage(t, true) })
	t.Run("without", func(t *testing.T) { testSalvage(t, false) })
}

func testSalvage(t *testing.T, index bool) {
	disk := vfs.NewMem()
	im, err := Open(t.Context(), "/image", Options{FS: disk})
	must(t, err)
	var oids []batos.OID
	for n := range int64(8) {
		oids = append(oids, create(t, im, slots("n", i(n), "text", object.Str(strings.Repeat("x", 50)))))
	}
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		must(t, err)
		for k := range int64(200) {
			must(t, tx.Tree(tree).Set(i(k), object.Str(strings.Repeat("y", 30))))
		}
		return tx.SetName("first", oids[0])
	})
	blob, err := im.NewBlob(t.Context(), strings.NewReader("content"))
	must(t, err)
	update(t, im, func(tx *Tx) error { return tx.SetSlot(oids[1], "file", blob) })
	must(t, im.Close())
	name := "/image/live_image.fs/0000000000000000.seg"
	whole, err := vfs.ReadFile(disk, name)
	must(t, err)
	salvage := func() (map[string]string, []store.Problem) {
		im, err := Open(t.Context(), "/image", Options{FS: disk, Salvage: true})
		must(t, err)
		defer im.Close()
		dir := t.TempDir()
		var lost []store.Problem
		_, err = im.Salvage(t.Context(), dir, func(p store.Problem) { lost = append(lost, p) })
		must(t, err)
		files := map[string]string{}
		for _, pattern := range []string{"objects/*", "trees/*", "blobs/*"} {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			must(t, err)
			for _, n := range names {
				b, err := os.ReadFile(n)
				must(t, err)
				base, _, _ := strings.Cut(filepath.Base(n), ".") // a root name may be lost
				files[base] = string(b)
			}
		}
		return files, lost
	}
	want, lost := salvage()
	if len(want) != 8+2+1 || len(lost) > 0 {
		t.Fatalf("of the whole image: %d files, lost %v", len(want), lost)
	}
	if !index {
		must(t, disk.Remove("/image/live_image.fs.index"))
	}
	kept, places := 0, 0
	for off := 0; off < len(whole); off += 163 {
		damaged := slices.Clone(whole)
		damaged[off] ^= 0x20
		must(t, vfs.WriteFile(disk, name, damaged, 0o600))
		got, lost := salvage()
		for base, text := range got {
			if text != want[base] && !strings.HasPrefix(want[base], text) && (index || len(lost) == 0) { // a tree may end early
				t.Fatalf("byte %d: %s is\n%s\nwant\n%s", off, base, text, want[base])
			}
		}
		for base, text := range want {
			oid, _ := batos.ParseOID(base)
			told := slices.ContainsFunc(lost, func(p store.Problem) bool {
				return p.Kind == store.Lost && (p.OID == oid || p.OID != 0 && oid == batos.OID(tree) || !index)
			})
			if got[base] != text && !told && len(base) < 64 {
				t.Fatalf("byte %d: %s is lost and not told of: %v", off, base, lost)
			}
			if places++; got[base] == text {
				kept++
			}
		}
	}
	if kept < places*3/4 {
		t.Errorf("%d of %d things survive", kept, places)
	}
}
