package logstore

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"batos/image/store"
)

// A blob that no revision refers to any more goes in steps. The index file,
// from which a start knows the blobs that it must find, is written without it;
// then pack moves it to the folder trash beside the blobs; the next index is
// followed by its removal. A start that finds a blob in the trash puts it back
// if it is named, and removes it if it is not.
const trashDir = "trash"

func (b *blobs) trashFile(h store.BlobHash) string {
	return filepath.Join(b.dir, trashDir, hex.EncodeToString(h[:]))
}

// collect begins to note what commits use, for discard, and reports whether
// there is any blob.
func (b *blobs) collect() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = map[store.BlobHash]bool{}
	return len(b.named) > 0
}

// stopCollecting ends what collect began.
func (b *blobs) stopCollecting() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = nil
}

// unused gives the committed blobs that are not in live and that no commit
// asked for since collect.
func (b *blobs) unused(live map[store.BlobHash]bool) (out []store.BlobHash, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h := range b.named {
		if !live[h] && !b.used[h] && !b.sealed[h] {
			out = append(out, h)
			bytes += b.sizes[h]
		}
	}
	return out, bytes
}

// discard moves what is unused to the trash. From the moment it is chosen no
// transaction can refer to it, unless it is made again.
func (b *blobs) discard(live map[store.BlobHash]bool) ([]store.BlobHash, int64, error) {
	b.naming.Lock() // nobody makes it again meanwhile
	defer b.naming.Unlock()
	b.s.mu.Lock() // commits look for their blobs under it
	out, bytes := b.unused(live)
	b.mu.Lock()
	for _, h := range out {
		delete(b.named, h)
		delete(b.sizes, h)
	}
	b.mu.Unlock()
	b.s.mu.Unlock()
	if len(out) == 0 {
		return nil, 0, nil
	}
	if err := b.s.writeIndex(); err != nil {
		return nil, 0, err
	}
	fsys := b.s.fsys
	if err := makeDir(fsys, filepath.Join(b.dir, trashDir)); err != nil {
		return nil, 0, err
	}
	var err error
	for _, h := range out {
		for _, suffix := range []string{"", sumsSuffix} {
			if e := fsys.Rename(b.file(h)+suffix, b.trashFile(h)+suffix); e != nil && err == nil && !errors.Is(e, fs.ErrNotExist) {
				err = e // it is removed at the next open
			}
		}
		b.mu.Lock()
		b.trash = append(b.trash, h)
		b.mu.Unlock()
	}
	return out, bytes, err
}

// discarded gives what is in the trash now.
func (b *blobs) discarded() []store.BlobHash {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]store.BlobHash(nil), b.trash...)
}

// empty removes what discarded gave, now that no index file names it.
func (b *blobs) empty(trash []store.BlobHash) error {
	for _, h := range trash {
		for _, suffix := range []string{"", sumsSuffix} {
			if err := b.s.fsys.Remove(b.trashFile(h) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.trash) == len(trash) {
		b.trash = nil
	}
	return nil
}

// recoverTrash deals with what a crash left in the trash.
func (b *blobs) recoverTrash() error {
	fsys, dir := b.s.fsys, filepath.Join(b.dir, trashDir)
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	back := false
	for _, name := range names {
		hexa, sums := strings.CutSuffix(name, sumsSuffix)
		raw, err := hex.DecodeString(hexa)
		if err != nil || len(raw) != len(store.BlobHash{}) {
			continue
		}
		h := store.BlobHash(raw)
		switch _, here := b.sizes[h]; {
		case b.named[h] && (sums || !here):
			st, err := fsys.Stat(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if !b.s.o.ReadOnly {
				if err := fsys.Rename(filepath.Join(dir, name), filepath.Join(b.dir, name)); err != nil {
					return err
				}
			}
			back = true
			if !sums {
				b.sizes[h] = st.Size()
			}
		case !b.s.o.ReadOnly:
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	if !back || b.s.o.ReadOnly {
		return nil
	}
	if err := fsys.SyncDir(b.dir); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
