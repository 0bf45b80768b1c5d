package logstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// restoreFile marks a folder into which a restore is going on. Such an image
// is not opened, and the next restore begins again.
const restoreFile = "live_image.fs.restoring"

// RestoreReport says what [Restore] did.
type RestoreReport struct {
	End      batos.TID // the newest transaction of the backup
	Last     batos.TID // the newest transaction restored
	LogBytes int64
	Blobs    int
}

// Restore makes an image in the folder dir from the backup in the folder from,
// as it was at a moment: after the newest transaction not after at. It reads
// and verifies every byte, and refuses a folder that holds an image, and with
// code packed a moment that the backup does not hold whole. If it is cut
// short, dir holds no image, and it can be called again.
func Restore(ctx context.Context, fsys vfs.FS, from, dir string, at batos.TID) (RestoreReport, error) {
	r := &restore{fsys: fsys, from: from, dir: dir, at: at, blobs: map[store.BlobHash]bool{}}
	err := r.run(ctx)
	return r.report, fileError("restore "+from+" to "+dir, err)
}

// restore is one run.
type restore struct {
	fsys   vfs.FS
	from   string
	dir    string
	at     batos.TID
	m      *manifest
	id     imageID
	blobs  map[store.BlobHash]bool // that the restored revisions refer to
	report RestoreReport
}

func (r *restore) path(name string) string { return filepath.Join(r.dir, name) }

func (r *restore) run(ctx context.Context) (err error) {
	if r.m, err = readManifest(r.fsys, r.from); errors.Is(err, fs.ErrNotExist) {
		return errNoBackup(r.from)
	}
	if err != nil {
		return err
	}
	if r.id, err = r.m.image(); err != nil {
		return err
	}
	whole, err := ReadBackup(r.fsys, r.from)
	if err != nil {
		return err
	}
	r.report.End = whole.Last
	if r.at < whole.Whole {
		return batos.Errorf(batos.Packed, "the backup does not hold the moment %v whole any more, only those from %v on", r.at, whole.Whole)
	}
	if err := makeDir(r.fsys, r.dir); err != nil {
		return err
	}
	lock, err := r.fsys.Lock(r.path(LockFile), false)
	if err != nil {
		return err
	}
	defer func() {
		if e := lock.Close(); err == nil {
			err = e
		}
	}()
	if err := r.prepare(); err != nil {
		return err
	}
	for i, more := 0, true; more && i < len(r.m.Segments); i++ {
		if more, err = r.segment(ctx, r.m.Segments[i]); err != nil {
			return err
		}
	}
	for h := range r.blobs {
		if _, err := copyBlob(ctx, r.fsys, filepath.Join(r.from, backupBlobs), r.path(BlobDir), h); err != nil {
			return err
		}
		r.report.Blobs++
	}
	for _, d := range []string{LogDir, BlobDir} {
		if err := r.fsys.SyncDir(r.path(d)); err != nil {
			return err
		}
	}
	if err := r.fsys.Remove(r.path(restoreFile)); err != nil {
		return err
	}
	return r.fsys.SyncDir(r.dir)
}

// prepare empties the folder of what an unfinished restore left, and marks it.
func (r *restore) prepare() error {
	_, err := r.fsys.Stat(r.path(restoreFile))
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{LogDir, IndexFile} {
			if _, err := r.fsys.Stat(r.path(name)); err == nil {
				return batos.Errorf(batos.Invalid, "%s holds an image already; restore into another folder", r.dir)
			}
		}
		err = vfs.WriteFile(r.fsys, r.path(restoreFile), []byte("from "+r.from+"\n"), 0o600)
	}
	if err != nil {
		return err
	}
	for _, d := range []string{LogDir, BlobDir} {
		if err := makeDir(r.fsys, r.path(d)); err != nil {
			return err
		}
		names, err := r.fsys.ReadDir(r.path(d))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.fsys.Remove(filepath.Join(r.path(d), name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// openPiece opens the copy of a segment in a backup.
func openPiece(fsys vfs.FS, dir string, m *manifest, p savedPiece) (_ *segment, err error) {
	name := filepath.Join(dir, backupLog, p.File)
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, batos.Errorf(batos.Corrupt, "%s is missing: use another backup", name)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	damaged := batos.Errorf(batos.Corrupt, "%s is damaged: use another backup", name)
	id, err := m.image()
	if err != nil {
		return nil, err
	}
	h := make([]byte, segmentHeader)
	if _, err := f.ReadAt(h, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	info, err := parseSegmentHeader(h)
	if err == nil && info.version > FormatVersion {
		return nil, batos.Errorf(batos.NewerFormat, "%s has format %d, written by a newer release; this one reads up to %d: upgrade batos", name, info.version, FormatVersion)
	}
	if err != nil || info.version != FormatVersion || info.image != id || info.base != p.Base {
		return nil, damaged
	}
	seg := &segment{base: p.Base, f: f, name: name, allocated: p.Bytes}
	if info.kind == kindPacked {
		if seg.packed, err = readPacked(f, info); err != nil || seg.packed.size != p.Bytes {
			return nil, damaged
		}
	}
	return seg, nil
}

// segment restores one segment up to the moment; more says that the moment was
// not reached.
func (r *restore) segment(ctx context.Context, p savedPiece) (more bool, err error) {
	seg, err := openPiece(r.fsys, r.from, r.m, p)
	if err != nil {
		return false, err
	}
	defer seg.f.Close()
	if err := r.checksum(ctx, seg, p); err != nil {
		return false, err
	}
	kept, end, more, err := r.scan(ctx, seg, p)
	if err != nil || kept == 0 && seg.base > 0 {
		return more, err // the log ends before
	}
	name := filepath.Join(r.path(LogDir), segmentName(p.Base))
	switch {
	case more || seg.packed == nil:
		n := p.Bytes
		if !more {
			n = int64(end - p.Base)
		}
		r.report.LogBytes += n
		return more, r.copy(ctx, seg.f, name, n)
	default:
		return false, r.cutPacked(ctx, seg, p, end)
	}
}

// checksum compares a copy with its manifest.
func (r *restore) checksum(ctx context.Context, seg *segment, p savedPiece) error {
	buf := make([]byte, min(copyBuffer, p.Bytes))
	crc := uint32(0)
	for off := int64(0); off < p.Bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), p.Bytes-off)]
		if n, err := seg.f.ReadAt(b, off); n < len(b) {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			break
		}
		crc = crc32.Update(crc, castagnoli, b)
		off += int64(len(b))
	}
	if crc != p.CRC {
		return batos.Errorf(batos.Corrupt, "%s is damaged: use another backup", seg.name)
	}
	return nil
}

// scan reads the transactions up to the moment: how many there are, where the
// last ends, and whether all of the segment is before the moment.
func (r *restore) scan(ctx context.Context, seg *segment, p savedPiece) (kept int, end uint64, all bool, err error) {
	end = p.Base + segmentHeader
	all = true
	err = r.each(ctx, seg, p.End, func(t *txn) (bool, error) {
		if t.tid > r.at {
			all = false
			return false, nil
		}
		kept++
		end = t.end()
		r.report.Last = t.tid
		_, err := t.each(r.id.seed(), func(_ uint64, rec *record) error {
			for _, h := range rec.Blobs {
				r.blobs[h] = true
			}
			return nil
		})
		return true, err
	})
	return kept, end, all, err
}

// each calls fn for the transactions of a copy up to a position.
func (r *restore) each(ctx context.Context, seg *segment, to uint64, fn func(*txn) (bool, error)) error {
	var rd reader
	for pos := seg.base + segmentHeader; pos < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := rd.next(seg, pos, r.id.seed())
		if errors.Is(err, errEnd) {
			return nil
		}
		more := false
		if err == nil {
			more, err = fn(&t)
		}
		if errors.Is(err, errBad) {
			err = batos.Errorf(batos.Corrupt, "%s is damaged at byte %d: use another backup", seg.name, seg.offset(pos))
		}
		if err != nil || !more {
			return err
		}
		pos = t.end()
	}
	return nil
}

// copy makes a file of the first n bytes of another, durably but for its name.
func (r *restore) copy(ctx context.Context, from vfs.File, name string, n int64) (err error) {
	f, err := createFile(r.fsys, name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	buf := make([]byte, min(copyBuffer, n))
	for off := int64(0); off < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), n-off)]
		if _, err := from.ReadAt(p, off); err != nil {
			return err
		}
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return f.Sync()
}

// cutPacked restores a packed segment up to a position.
func (r *restore) cutPacked(ctx context.Context, seg *segment, p savedPiece, end uint64) error {
	w, err := newPackedWriter(r.fsys, r.path(LogDir), r.id, p.Base, end, seg.packed.before)
	if err != nil {
		return err
	}
	w.p.transactions, w.p.revisions = seg.packed.transactions, seg.packed.revisions
	var items []byte
	var places []fence
	err = r.each(ctx, seg, end, func(t *txn) (bool, error) {
		items, places = items[:0], places[:0]
		meta, err := t.each(r.id.seed(), func(pos uint64, rec *record) error {
			places = append(places, fence{pos, int64(len(items))})
			items = appendItem(items, pos, len(rec.raw), false, r.id.seed())
			items = append(items, rec.raw...)
			return nil
		})
		if err != nil {
			return false, err
		}
		return true, w.transaction(&t.header, meta, items, places)
	})
	if err != nil {
		w.drop()
		return err
	}
	out, err := w.finish()
	if err != nil {
		w.drop()
		return err
	}
	r.report.LogBytes += out.packed.size
	return out.f.Close()
}
