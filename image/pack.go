package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/codec"
	"batos/internal/vfs"
	"batos/object"
)

// PackOptions say what [Image.Pack] may remove.
type PackOptions struct {
	// Before is the oldest moment that stays whole. Open transactions,
	// branches and backups hold it back.
	Before batos.TID
	// Keep is asked about past states of objects that could go; true keeps
	// them. It must not use the image, nor hold on to what it is shown. Nil
	// keeps none.
	Keep func(*Past) bool
	// Forget also removes what is otherwise kept for ever: every source that a
	// method ever had, and what Keep wants.
	Forget bool
	DryRun bool // only count
	// Progress, unless nil, is told now and then how far the work came.
	Progress func(store.PackProgress)
}

// Past is a past state of an object, of which only what is asked for is
// decoded.
type Past struct {
	data []byte
	err  error
}

// Protection is the object's.
func (p *Past) Protection() object.Protection {
	o, err := codec.OutlineOf(p.data)
	p.err = errors.Join(p.err, err)
	return o.Protection
}

// Slot gives the value of a slot of the object's own.
func (p *Past) Slot(name string) (v object.Value, ok bool) {
	o, err := codec.OutlineOf(p.data)
	for err == nil && o.Next() {
		if string(o.Name) == name {
			v, err = codec.DecodeValue(o.Value)
			break
		}
	}
	p.err = errors.Join(p.err, err)
	return v, v != nil
}

// Pack gives back the space of revisions that no moment from o.Before on can
// see, and of blobs that only they refer to. The past before that can no longer
// be seen or undone where something of it is gone: that is code packed. Sources
// of methods stay, each in the oldest revision that has it, with the meta of
// its transaction: who wrote what and when is never lost by accident. It may
// run while the image is in use, and goes on where it was cut short when it is
// called again.
func (im *Image) Pack(ctx context.Context, o PackOptions) (store.PackReport, error) {
	if im.readOnly && !o.DryRun {
		return store.PackReport{}, errReadOnly()
	}
	p, ok := im.store.(store.Packer)
	if !ok {
		return store.PackReport{}, batos.Errorf(batos.Invalid, "this store cannot be packed")
	}
	so := store.PackOptions{Before: o.Before, DryRun: o.DryRun, Progress: o.Progress}
	k := &keeper{keep: o.Keep, first: map[methodKey]batos.TID{}}
	if !o.Forget {
		so.Keep = k.wants
	}
	report, err := p.Pack(ctx, so)
	return report, errors.Join(err, k.err)
}

// keeper decides what pack leaves.
type keeper struct {
	keep  func(*Past) bool
	first map[methodKey]batos.TID // the revision that keeps a source
	err   error
}

type methodKey struct {
	oid  batos.OID
	hash [32]byte // of selector and source
}

// wants reports whether a past revision stays. It gives the same answer when
// it is asked again. It sees very many, so that it decodes nothing but methods.
func (k *keeper) wants(_ []byte, r *store.Revision) bool {
	if r.Delete {
		return false
	}
	kind, err := codec.KindOf(r.Data)
	if err == nil && kind != codec.KindObject {
		return false
	}
	wants := false
	if err == nil {
		wants, err = k.object(r)
	}
	if err != nil {
		k.err = errors.Join(k.err, batos.Errorf(batos.CodeOf(err), "object %s as of %s: %w", r.OID, r.TID, err))
		return true // what cannot be read is not thrown away
	}
	return wants
}

func (k *keeper) object(r *store.Revision) (wants bool, err error) {
	if k.keep != nil {
		p := Past{data: r.Data}
		wants = k.keep(&p)
		if p.err != nil {
			return false, p.err
		}
	}
	if !codec.MayHoldMethod(r.Data) {
		return wants, nil
	}
	o, err := codec.OutlineOf(r.Data)
	if err != nil {
		return false, err
	}
	for o.Next() {
		if !codec.IsMethod(o.Value) {
			continue
		}
		v, err := codec.DecodeValue(o.Value)
		if err != nil {
			return false, err
		}
		m := v.(*object.Method) // IsMethod says so
		key := methodKey{r.OID, sha256.Sum256([]byte(string(o.Name) + "\x00" + m.Source))}
		if _, known := k.first[key]; !known {
			k.first[key] = r.TID
		}
		wants = wants || k.first[key] == r.TID
	}
	return wants, o.Err()
}

// Backup brings the backup in the folder dir up to date, or begins one there,
// while the image is in use: it copies what the folder does not have yet. See
// [Restore].
func (im *Image) Backup(ctx context.Context, dir string) (store.BackupReport, error) {
	b, ok := im.store.(store.Backer)
	if !ok {
		return store.BackupReport{}, batos.Errorf(batos.Invalid, "this store cannot be backed up")
	}
	return b.Backup(ctx, dir)
}

// RestoreReport says what [Restore] did.
type RestoreReport struct {
	End      batos.TID // the newest transaction of the backup
	Last     batos.TID // the newest transaction restored
	LogBytes int64
	Blobs    int
}

// Restore makes an image in the folder dir from the backup in the folder from,
// as it was right after at; zero is all that the backup has, and so is a moment
// later than its end. It reads and
// verifies every byte. A folder that holds an image already is refused, and
// after an error dir holds none. Of the options it uses FS.
func Restore(ctx context.Context, from, dir string, at batos.TID, o Options) (RestoreReport, error) {
	fsys := o.FS
	if fsys == nil {
		fsys = vfs.OS()
	}
	if at == 0 {
		at = math.MaxUint64
	}
	r, err := logstore.Restore(ctx, fsys, from, dir, at)
	return RestoreReport{End: r.End, Last: r.Last, LogBytes: r.LogBytes, Blobs: r.Blobs}, err
}
