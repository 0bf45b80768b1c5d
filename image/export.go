package image

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// An export is a folder:
//
//	image.txt                    what is in it, one line each
//	objects/0x12a.counter.star   an object: a heading, slots as text, methods as they were written
//	records/0x9e….star           an object whose OID is derived from a name
//	trees/0x12b.star             a tree, an entry a line
//	blobs/<sha-256>              a blob
//
// Lists are in order of OID and nothing depends on when or where it was
// exported, so that two exports differ where the images do.

// ExportFormat is the version of the folder's form; newer ones are refused.
const ExportFormat = 1

const (
	exportIndex = "image.txt"
	exportHead  = "batos export"
)

var exportFolders = []string{"objects", "records", "trees", "blobs"}

// ExportReport counts what an export or import holds.
type ExportReport struct {
	Objects, Trees, Blobs int64
	BlobBytes             int64
	At                    batos.TID // the moment that was exported
	// Author is what imported methods and the transaction that brought them in
	// are ascribed to: "import:" and a hash of the whole folder.
	Author string
}

// Export writes the image as it was right after at, zero is now, into a folder
// as text that people read and version control compares. A folder that holds an
// older export, or with a part of one that was cut short, is brought up to date:
// files of what is gone are removed, files that are none of the export's stay. The image's past is not exported.
func (im *Image) Export(ctx context.Context, dir string, at batos.TID) (ExportReport, error) {
	return im.export(ctx, dir, at, nil)
}

// Salvage exports what can still be read of a damaged image as it is now, and
// calls lost for each object, tree and blob that cannot: a tree of which a page
// is damaged is lost from there on. Of an image that was opened with
// [Options].Salvage it tells first of what was passed over there. What it leaves is an export like any other;
// an import wants the blobs that its objects refer to.
func (im *Image) Salvage(ctx context.Context, dir string, lost func(store.Problem)) (ExportReport, error) {
	for _, p := range im.damage {
		lost(p)
	}
	return im.export(ctx, dir, 0, lost)
}

func (im *Image) export(ctx context.Context, dir string, at batos.TID, lost func(store.Problem)) (r ExportReport, err error) {
	if at == 0 {
		at = im.store.LastTID()
	}
	tx, err := im.BeginAt(ctx, at)
	if err != nil {
		return r, err
	}
	defer tx.Abort()
	if err := im.whole(at); err != nil && lost == nil {
		return r, err
	}
	e := &exporter{im: im, tx: tx, ctx: ctx, names: map[batos.OID]string{}, blobs: map[store.BlobHash]int64{}, report: &r, files: map[string]bool{}, lost: lost}
	r.At = at
	if e.root, err = openRoot(dir, true); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.root.Close()) }()
	if err := e.begin(); err != nil {
		return r, exportError(err)
	}
	if err := e.all(); err != nil {
		return r, exportError(err)
	}
	if err := im.whole(at); err != nil && lost == nil { // the process that writes packs as if nobody read
		return r, err
	}
	return r, exportError(e.finish())
}

// openRoot opens a folder so that no name in it leads out of it.
func openRoot(dir string, create bool) (*os.Root, error) {
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, exportError(err)
		}
	}
	root, err := os.OpenRoot(dir)
	return root, exportError(err)
}

// exportError gives an error of a folder its code.
func exportError(err error) error {
	switch {
	case err == nil, batos.CodeOf(err) != "", errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return batos.Errorf(batos.NotFound, "the folder of an export: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return batos.Errorf(batos.Denied, "the folder of an export: %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return batos.Errorf(batos.Limit, "the folder of an export: the disk is full (%w); free some space and try again", err)
	}
	return batos.Errorf(batos.Invalid, "the folder of an export: %w", err)
}

type exporter struct {
	im     *Image
	tx     *Tx
	ctx    context.Context
	root   *os.Root
	old    []string // files of the export that was there before
	names  map[batos.OID]string
	blobs  map[store.BlobHash]int64
	files  map[string]bool
	lines  []string // of the index
	report *ExportReport
	lost   func(store.Problem) // nil: what cannot be read is an error
}

// spare reports whether the export goes on without what cannot be read because
// of err.
func (e *exporter) spare(err error, p store.Problem, what string) bool {
	if e.lost == nil || batos.CodeOf(err) != batos.Corrupt {
		return false
	}
	p.Kind = store.Lost
	p.Text = fmt.Sprintf("%s: %v", what, err)
	e.lost(p)
	return true
}

// begin looks at what the folder has, and makes it ready.
func (e *exporter) begin() error {
	before, err := readIndex(e.root)
	switch {
	case err == nil:
		e.old = before.files()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		there, err := fs.ReadDir(e.root.FS(), ".")
		if err != nil {
			return err
		}
		there = slices.DeleteFunc(there, func(d fs.DirEntry) bool {
			return strings.HasPrefix(d.Name(), ".") || d.IsDir() && slices.Contains(exportFolders, d.Name()) // .git, or an export that was cut short
		})
		if len(there) > 0 {
			return batos.Errorf(batos.Invalid, "the folder %s holds other things than an export; give an empty one", e.root.Name())
		}
	}
	for _, d := range exportFolders {
		if err := e.root.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for n, err := range e.tx.Names().Range(nil, nil) {
		if err != nil && e.lost != nil && batos.CodeOf(err) == batos.Corrupt {
			break // told of with the tree
		}
		if err != nil {
			return err
		}
		name, _ := n.Key.(object.Str)
		oid, _ := n.Value.(object.Ref)
		if e.names[batos.OID(oid)] == "" {
			e.names[batos.OID(oid)] = string(name)
		}
	}
	return nil
}

func (e *exporter) all() error {
	kinds, err := e.census()
	if err != nil {
		return err
	}
	for _, oid := range sorted(kinds) {
		switch kinds[oid] {
		case codec.KindObject:
			err = e.object(oid)
		case codec.KindTree:
			err = e.tree(oid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) census() (map[batos.OID]codec.Kind, error) {
	lister, ok := e.im.store.(store.Lister)
	if e.lost == nil || !ok {
		return e.im.census(e.ctx, e.report.At)
	}
	kinds := map[batos.OID]codec.Kind{}
	for oid, err := range lister.Objects(e.ctx) {
		if err != nil {
			return nil, err
		}
		r, err := e.tx.snap.Load(e.ctx, oid)
		var k codec.Kind
		switch {
		case batos.CodeOf(err) == batos.NotFound:
			continue // made since
		case err == nil:
			k, err = codec.KindOf(r.Data)
		}
		if err != nil {
			if e.spare(err, store.Problem{OID: oid}, "object "+oid.String()) {
				continue
			}
			return nil, err
		}
		if k == codec.KindObject || k == codec.KindTree {
			kinds[oid] = k
		}
	}
	return kinds, nil
}

// census gives the kind of every record that existed right after at, pages
// left out.
func (im *Image) census(ctx context.Context, at batos.TID) (map[batos.OID]codec.Kind, error) {
	kinds := map[batos.OID]codec.Kind{}
	for t, err := range im.store.Transactions(ctx, 0, at) {
		if err != nil {
			return nil, err
		}
		for _, r := range t.Revisions {
			if r.Delete {
				delete(kinds, r.OID)
				continue
			}
			k, err := codec.KindOf(r.Data)
			if err != nil {
				return nil, batos.Errorf(batos.CodeOf(err), "object %s as of %s: %w", r.OID, r.TID, err)
			}
			if k == codec.KindObject || k == codec.KindTree {
				kinds[r.OID] = k
			}
		}
	}
	return kinds, nil
}

func (e *exporter) object(oid batos.OID) error {
	s, err := e.tx.Load(oid)
	if err != nil && e.spare(err, store.Problem{OID: oid}, "object "+oid.String()) {
		return nil
	}
	if err != nil {
		return err
	}
	folder, name := "objects", oid.String()
	if oid.Derived() {
		folder = "records"
	}
	if n := e.names[oid]; n != "" && len(n) <= 60 && isWord(n) {
		name += "." + n
	}
	_, blobs := codec.Refs(s)
	e.noteBlobs(s, blobs)
	e.report.Objects++
	return e.write("object", oid.String(), folder+"/"+name+".star", appendObject(nil, oid, s))
}

// noteBlobs remembers what is referred to, with sizes.
func (e *exporter) noteBlobs(s *object.State, hashes []store.BlobHash) {
	if len(hashes) == 0 {
		return
	}
	for _, sl := range s.Slots() {
		e.noteBlobsIn(sl.Value)
	}
}

func (e *exporter) noteBlobsIn(v object.Value) {
	_, _ = object.Map(v, func(v object.Value) (object.Value, error) { // it has no errors of its own
		if b, ok := v.(object.Blob); ok {
			e.blobs[b.Hash] = b.Size
		}
		return v, nil
	})
}

func (e *exporter) tree(id batos.OID) error {
	b := appendTreeHead(nil, id)
	for en, err := range e.tx.Tree(object.Tree(id)).Range(nil, nil) {
		if err != nil && e.spare(err, store.Problem{OID: id}, "tree "+id.String()+" from a key on") {
			break
		}
		if err != nil {
			return err
		}
		e.noteBlobsIn(en.Value)
		b = appendTreeEntry(b, en)
	}
	name := id.String()
	if id == batos.OID(namesTree) {
		name += ".names"
	}
	e.report.Trees++
	return e.write("tree", id.String(), "trees/"+name+".star", b)
}

// write makes a file, unless it is there already as it should be.
func (e *exporter) write(what, id, name string, data []byte) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	e.files[name] = true
	e.lines = append(e.lines, what+" "+id+" "+name)
	if old, err := readFile(e.root, name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return e.put(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// put makes a file whole under its name, or not at all. It is not synced: who
// keeps exports keeps them elsewhere.
func (e *exporter) put(name string, fill func(io.Writer) error) error {
	const temporary = ".export.tmp"
	f, err := e.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(fill(f), f.Close()); err != nil {
		return errors.Join(err, e.root.Remove(temporary))
	}
	return e.root.Rename(temporary, name)
}

// finish writes the blobs and the index, and removes what is gone.
func (e *exporter) finish() error {
	hashes := make([]store.BlobHash, 0, len(e.blobs))
	for h := range e.blobs {
		hashes = append(hashes, h)
	}
	slices.SortFunc(hashes, func(a, b store.BlobHash) int { return bytes.Compare(a[:], b[:]) })
	for _, h := range hashes {
		if err := e.blob(h, e.blobs[h]); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s %d\n%s\n", exportHead, ExportFormat, strings.Join(e.lines, "\n"))
	if err := e.put(exportIndex, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		return err
	}
	for _, name := range e.old {
		if !e.files[name] {
			if err := e.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (e *exporter) blob(h store.BlobHash, size int64) error {
	id := hex.EncodeToString(h[:])
	name := "blobs/" + id
	err := e.copyBlob(h, size, name)
	if err != nil && e.spare(err, store.Problem{Blob: h}, "blob "+id) {
		return nil
	}
	if err != nil {
		return err
	}
	e.files[name] = true
	e.lines = append(e.lines, fmt.Sprintf("blob %s %s", id, name))
	e.report.Blobs++
	e.report.BlobBytes += size
	return nil
}

func (e *exporter) copyBlob(h store.BlobHash, size int64, name string) error {
	if info, err := e.root.Stat(name); err == nil && info.Size() == size {
		return nil
	}
	b, err := e.im.OpenBlob(e.ctx, object.Blob{Hash: h, Size: size})
	if err != nil {
		return err
	}
	defer b.Close()
	return e.put(name, func(w io.Writer) error {
		_, err := io.Copy(w, contextReader{e.ctx, io.NewSectionReader(b, 0, b.Size())})
		return err
	})
}

// exportLine is one line of an export's index.
type exportLine struct {
	what, id, name string
}

type exportLines []exportLine

func (l exportLines) files() []string {
	out := make([]string, len(l))
	for i := range l {
		out[i] = l[i].name
	}
	return out
}

// maxExportFile bounds a file of text that is read back.
const maxExportFile = 256 << 20

func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, batos.Errorf(batos.Invalid, "%s is not a plain file", name)
	}
	if info.Size() > maxExportFile {
		return nil, batos.Errorf(batos.Limit, "%s is larger than %d MiB", name, maxExportFile>>20)
	}
	return root.ReadFile(name)
}

// readIndex reads image.txt, and refuses names that are none of an export.
func readIndex(root *os.Root) (exportLines, error) {
	text, err := readFile(root, exportIndex)
	if err != nil {
		return nil, err
	}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<16)
	var version int
	if !in.Scan() {
		return nil, batos.Errorf(batos.Invalid, "%s is empty", exportIndex)
	}
	if n, err := fmt.Sscanf(in.Text(), exportHead+" %d", &version); n != 1 || err != nil {
		return nil, batos.Errorf(batos.Invalid, "%s does not begin with %q and a number", exportIndex, exportHead)
	}
	if version > ExportFormat {
		return nil, batos.Errorf(batos.NewerFormat, "the export has format %d; this release reads up to %d", version, ExportFormat)
	}
	var out exportLines
	seen := map[string]bool{}
	for n := 2; in.Scan(); n++ {
		f := strings.Fields(in.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !safeName(f[0], f[1], f[2]) || seen[f[2]] {
			return nil, batos.Errorf(batos.Invalid, "%s:%d: want object, tree or blob, an id and its file, each once", exportIndex, n)
		}
		seen[f[2]] = true
		out = append(out, exportLine{f[0], f[1], f[2]})
	}
	if err := in.Err(); err != nil {
		return nil, batos.Errorf(batos.Invalid, "%s: %w", exportIndex, err)
	}
	return out, nil
}

// errNoExport is the answer where something else is, or nothing.
func errNoExport(root *os.Root) error {
	return batos.Errorf(batos.NotFound, "there is no export in %s: it has no %s", root.Name(), exportIndex)
}

// safeName reports whether an export could have given something that file.
func safeName(what, id, name string) bool {
	folder, file := path.Split(name)
	stem, isText := strings.CutSuffix(file, ".star")
	switch what {
	case "object":
		return isText && (folder == "objects/" || folder == "records/") && ofOID(stem, id)
	case "tree":
		return isText && folder == "trees/" && ofOID(stem, id)
	case "blob":
		h, err := hex.DecodeString(id)
		return err == nil && len(h) == 32 && folder == "blobs/" && file == id
	}
	return false
}

// ofOID reports whether a file's name is an OID, and maybe a word behind it.
func ofOID(stem, id string) bool {
	oid, err := batos.ParseOID(id)
	if err != nil || oid.String() != id {
		return false
	}
	rest, ok := strings.CutPrefix(stem, id)
	word, named := strings.CutPrefix(rest, ".")
	return ok && (rest == "" || named && isWord(word))
}
