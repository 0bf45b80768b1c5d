package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
	"batos/object"
)

// PackOptions say what [Image.Pack] may remove.
type PackOptions struct {
	// Before is the oldest moment that stays whole. Open transactions,
	// branches and backups hold it back.
	Before batos.TID
	// Keep is asked about past states of objects that could go; true keeps
	// them. It must not use the image. Nil keeps none.
	Keep func(*object.State) bool
	// Forget also removes what is otherwise kept for ever: every source that a
	// method ever had, and what Keep wants.
	Forget bool
	DryRun bool // only count
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
	so := store.PackOptions{Before: o.Before, DryRun: o.DryRun}
	k := &keeper{keep: o.Keep, first: map[methodKey]batos.TID{}}
	if !o.Forget {
		so.Keep = k.wants
	}
	report, err := p.Pack(ctx, so)
	return report, errors.Join(err, k.err)
}

// keeper decides what pack leaves.
type keeper struct {
	keep  func(*object.State) bool
	first map[methodKey]batos.TID // the revision that keeps a source
	err   error
}

type methodKey struct {
	oid  batos.OID
	hash [32]byte // of selector and source
}

// wants reports whether a past revision stays. It gives the same answer when
// it is asked again.
func (k *keeper) wants(_ []byte, r *store.Revision) bool {
	if r.Delete {
		return false
	}
	rev, err := decode(*r)
	if err != nil {
		k.err = errors.Join(k.err, err)
		return true // what cannot be read is not thrown away
	}
	if rev.state == nil {
		return false
	}
	wants := k.keep != nil && k.keep(rev.state)
	for _, sl := range rev.state.Slots() {
		m, ok := sl.Value.(*object.Method)
		if !ok {
			continue
		}
		key := methodKey{r.OID, sha256.Sum256([]byte(sl.Name + "\x00" + m.Source))}
		if _, known := k.first[key]; !known {
			k.first[key] = r.TID
		}
		wants = wants || k.first[key] == r.TID
	}
	return wants
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
	Last     batos.TID // the newest transaction restored
	LogBytes int64
	Blobs    int
}

// Restore makes an image in the folder dir from the backup in the folder from,
// as it was right after at; zero is all that the backup has. It reads and
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
	return RestoreReport{Last: r.Last, LogBytes: r.LogBytes, Blobs: r.Blobs}, err
}
