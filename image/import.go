package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"batos"
	"batos/image/store"
	"batos/object"
)

// ImportOptions say what [Image.Import] lets in. Functions that are nil let
// everything in and change nothing.
type ImportOptions struct {
	Meta Meta // of the transaction; author and name become those of an import
	// Own reports whether a method is one that need not be doubted, as what
	// the release itself ships: it keeps its author.
	Own func(object string, m *object.Method) bool
	// Audit answers why a method, which may be anybody's, must not come in.
	Audit func(object string, m *object.Method) error
	// Primitive reports whether slots may hold a primitive of this name.
	Primitive func(name string) bool
	// Record may exchange a whole object before it is stored, say for one that
	// claims less.
	Record func(*object.State) *object.State
}

// maxImportErrors bounds how many faults an import names.
const maxImportErrors = 20

// Import fills an empty image from the folder of an export, in one
// transaction; OIDs stay what they were. Nothing in the folder is trusted:
// every method becomes one of authority imported, written by "import:" and the
// folder's hash, without mission or provenance, unless o.Own says otherwise;
// and what o.Audit or o.Primitive turn down, what does not parse, names and
// links that lead elsewhere, and blobs that are not what they are called, are
// errors, told of together, after which nothing has changed.
func (im *Image) Import(ctx context.Context, dir string, o ImportOptions) (r ExportReport, err error) {
	switch {
	case im.readOnly:
		return r, errReadOnly()
	case im.store.LastTID() != 0:
		return r, batos.Errorf(batos.Invalid, "only an empty image can be filled by an import; give another folder")
	}
	root, err := openRoot(dir, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	lines, err := readIndex(root)
	if errors.Is(err, fs.ErrNotExist) {
		return r, errNoExport(root)
	}
	if err != nil {
		return r, exportError(err)
	}
	in := &importer{im: im, ctx: ctx, root: root, o: o, report: &r, objects: map[batos.OID]*object.State{}, trees: map[batos.OID][]object.Entry{}, names: map[batos.OID]string{}, sizes: map[store.BlobHash]int64{}}
	if err := in.read(lines); err != nil {
		return r, exportError(err)
	}
	in.admit()
	if err := in.blobs(lines); err != nil {
		return r, exportError(err)
	}
	if err := in.verdict(); err != nil {
		return r, err
	}
	return r, in.commit()
}

type importer struct {
	im      *Image
	ctx     context.Context
	root    *os.Root
	o       ImportOptions
	report  *ExportReport
	objects map[batos.OID]*object.State
	trees   map[batos.OID][]object.Entry
	names   map[batos.OID]string
	sizes   map[store.BlobHash]int64
	faults  []error
}

func (in *importer) fault(err error) { in.faults = append(in.faults, err) }

// verdict gives all faults as one error.
func (in *importer) verdict() error {
	if len(in.faults) == 0 {
		return nil
	}
	first := in.faults[:min(len(in.faults), maxImportErrors)]
	texts := make([]string, len(first))
	for i, err := range first {
		texts[i] = err.Error()
	}
	code := batos.CodeOf(in.faults[0])
	if code == "" {
		code = batos.Invalid
	}
	return batos.Errorf(code, "the export cannot be imported, %d things are wrong: %s", len(in.faults), strings.Join(texts, "; "))
}

// read parses all text, and takes the folder's hash on the way.
func (in *importer) read(lines exportLines) error {
	sum := sha256.New()
	for _, l := range lines {
		if err := in.ctx.Err(); err != nil {
			return err
		}
		_, _ = io.WriteString(sum, l.what+" "+l.id+"\n") // a hash takes everything
		if l.what == "blob" {
			continue
		}
		text, err := readFile(in.root, l.name)
		if err != nil {
			return err
		}
		part := sha256.Sum256(text)
		_, _ = sum.Write(part[:]) // as above
		t := &textReader{name: l.name, s: string(text)}
		var oid batos.OID
		var s *object.State
		var entries []object.Entry
		if l.what == "object" {
			oid, s, err = t.object()
		} else {
			oid, entries, err = t.tree()
		}
		_, isTree := in.trees[oid]
		switch {
		case err != nil:
			in.fault(err)
		case oid.String() != l.id:
			in.fault(batos.Errorf(batos.Invalid, "%s says it is %s", l.name, oid))
		case in.objects[oid] != nil || isTree:
			in.fault(batos.Errorf(batos.Invalid, "%s: another file says that it is %s, too", l.name, oid))
		case s != nil:
			in.objects[oid] = s
		default:
			in.trees[oid] = entries
		}
	}
	in.report.Author = "import:" + hex.EncodeToString(sum.Sum(nil)[:6])
	for _, e := range in.trees[batos.OID(namesTree)] {
		name, ok1 := e.Key.(object.Str)
		ref, ok2 := e.Value.(object.Ref)
		if !ok1 || !ok2 {
			in.fault(batos.Errorf(batos.Invalid, "root names are text and stand for objects, not %s: %s", object.Text(e.Key, 40), object.Text(e.Value, 40)))
			continue
		}
		in.names[batos.OID(ref)] = string(name)
	}
	return nil
}

// admit marks, audits and checks everything that was read.
func (in *importer) admit() {
	for _, oid := range sorted(in.objects) {
		called := in.names[oid]
		if called == "" {
			called = oid.String()
		}
		s := in.objects[oid]
		for _, sl := range s.Slots() {
			v := in.value(called, sl.Name, sl.Value)
			if !object.Equal(v, sl.Value) {
				s = s.With(sl.Name, v)
			}
		}
		if in.o.Record != nil {
			s = in.o.Record(s)
		}
		in.objects[oid] = s
	}
	for _, id := range sorted(in.trees) {
		for i, e := range in.trees[id] {
			in.trees[id][i].Value = in.value(id.String(), object.Text(e.Key, 40), e.Value)
		}
	}
}

// value gives what a slot may hold instead of what the export has.
func (in *importer) value(of, slot string, v object.Value) object.Value {
	v, _ = object.Map(v, func(v object.Value) (object.Value, error) { // it has no errors of its own
		switch v := v.(type) {
		case object.Primitive:
			if in.o.Primitive != nil && !in.o.Primitive(string(v)) {
				in.fault(batos.Errorf(batos.Refused, "slot %s of %s holds the primitive %q, which this release does not ship", slot, of, string(v)))
			}
		case *object.Method:
			if in.o.Audit != nil {
				if err := in.o.Audit(of, v); err != nil {
					in.fault(batos.Errorf(batos.Refused, "method %s of %s: %w", slot, of, err))
				}
			}
			if in.o.Own == nil || !in.o.Own(of, v) {
				return &object.Method{
					Selector: v.Selector, Source: v.Source, Author: batos.Imported, AuthorName: in.report.Author, Version: v.Version,
				}, nil
			}
		}
		return v, nil
	})
	return v
}

// blobs takes the blobs in. They are part of the image with the commit.
func (in *importer) blobs(lines exportLines) error {
	for _, l := range lines {
		if l.what != "blob" {
			continue
		}
		info, err := in.root.Lstat(l.name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return batos.Errorf(batos.Invalid, "%s is not a plain file", l.name)
		}
		if len(in.faults) > 0 {
			continue // it ends here anyway
		}
		f, err := in.root.Open(l.name)
		if err != nil {
			return err
		}
		b, err := in.im.NewBlob(in.ctx, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if hex.EncodeToString(b.Hash[:]) != l.id {
			in.fault(batos.Errorf(batos.Corrupt, "%s holds something else than its name says", l.name))
		}
		in.report.Blobs++
		in.report.BlobBytes += b.Size
		in.sizes[b.Hash] = b.Size
	}
	for _, oid := range sorted(in.objects) {
		for _, sl := range in.objects[oid].Slots() {
			in.sized(oid, sl.Value)
		}
	}
	for _, id := range sorted(in.trees) {
		for _, e := range in.trees[id] {
			in.sized(id, e.Value)
		}
	}
	return nil
}

// sized demands that what refers to a blob says how large it is.
func (in *importer) sized(oid batos.OID, v object.Value) {
	_, _ = object.Map(v, func(v object.Value) (object.Value, error) { // it has no errors of its own
		b, ok := v.(object.Blob)
		if is, known := in.sizes[b.Hash]; ok && known && is != b.Size {
			in.fault(batos.Errorf(batos.Invalid, "%s says that blob %x has %d bytes; it has %d", oid, b.Hash, b.Size, is))
		}
		return v, nil
	})
}

func (in *importer) commit() error {
	if err := in.reserve(); err != nil {
		return err
	}
	m := in.o.Meta
	m.Author, m.AuthorName = batos.Imported, in.report.Author
	tid, err := in.im.Update(in.ctx, func(tx *Tx) error {
		tx.SetMeta(m)
		for _, oid := range sorted(in.objects) {
			if err := tx.CreateAt(oid, in.objects[oid]); err != nil {
				return err
			}
		}
		for _, id := range sorted(in.trees) {
			if err := tx.treeAt(id, in.trees[id]); err != nil {
				return err
			}
		}
		return nil
	})
	in.report.At = tid
	in.report.Objects, in.report.Trees = int64(len(in.objects)), int64(len(in.trees))
	return err
}

// treeAt makes a tree with a given OID.
func (tx *Tx) treeAt(id batos.OID, entries []object.Entry) error {
	st, err := tx.treeState(id)
	if err != nil {
		return err
	}
	if st.base != nil || st.fresh {
		return batos.Errorf(batos.Invalid, "tree %s exists already", id)
	}
	st.fresh = true
	tx.made = append(tx.made, id)
	t := tx.Tree(object.Tree(id))
	for _, e := range entries {
		if err := t.Set(e.Key, e.Value); err != nil {
			return batos.Errorf(batos.CodeOf(err), "tree %s: %w", id, err)
		}
	}
	return nil
}

// maxImportOID is far above any OID that an image hands out in its life.
const maxImportOID = 1 << 40

// reserve makes sure that no OID of the export is handed out anew.
func (in *importer) reserve() error {
	var most batos.OID
	for _, oid := range slices.Concat(sorted(in.objects), sorted(in.trees)) {
		if !oid.Derived() {
			most = max(most, oid)
		}
	}
	if most > maxImportOID {
		return batos.Errorf(batos.Invalid, "the export has object %s; no image has so many", most)
	}
	if most == 0 {
		return nil
	}
	in.im.oids.forget()
	_, err := in.im.store.NewOIDs(in.ctx, int(most))
	return err
}
