package logstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// Backup implements [store.Backer]. Because positions in the log never change
// their meaning, a backup grows with the log: of a segment that it has, only
// what is new is copied. One that was packed since is copied anew, also if the
// backup has all of it: what pack decided for newer segments rests on what it
// did to older ones, and a log of both kinds could bring a deleted object back.
// While it runs no pack does. One that fails, on a full disk or because ctx
// ended, leaves the folder with the backup that it had, and no folder where
// there was none.
func (s *Store) Backup(ctx context.Context, dir string) (store.BackupReport, error) {
	b := &backup{s: s, dir: dir}
	err := b.run(ctx)
	return b.report, fileError("back up the image to "+dir, err)
}

// backup is one run.
type backup struct {
	s      *Store
	dir    string
	m      *manifest
	report store.BackupReport
}

func (b *backup) run(ctx context.Context) (err error) {
	s := b.s
	if err := s.beginCare(ctx); err != nil {
		return err
	}
	defer s.endCare()
	if inside(b.dir, s.dir) {
		return batos.Errorf(batos.Invalid, "%s is in the image's own folder, which is no place for a backup; choose one on another disk", b.dir)
	}
	if _, err := s.fsys.Stat(b.dir); errors.Is(err, fs.ErrNotExist) {
		defer func() {
			if err != nil {
				b.removeFolder()
			}
		}()
	}
	for _, d := range []string{b.dir, b.log(), b.blobs()} {
		if err := makeDir(s.fsys, d); err != nil {
			return err
		}
	}
	lock, err := s.fsys.Lock(filepath.Join(b.dir, backupLock), false)
	if err != nil {
		return err
	}
	defer func() {
		if e := lock.Close(); err == nil {
			err = e
		}
	}()
	if s.o.ReadOnly {
		if err := s.follow(); err != nil {
			return err
		}
	}
	now := s.idx.now()
	hashes := s.blobs.committed() // at least all that transactions up to now name
	if err := b.begin(ctx, now); err != nil {
		return err
	}
	had := *b.m
	had.Segments, had.Blobs = slices.Clone(had.Segments), slices.Clone(had.Blobs)
	defer func() {
		if err != nil {
			b.takeBack(&had)
		}
	}()
	for _, seg := range s.segs.all() {
		if seg.base >= now.end {
			break
		}
		if err := b.segment(ctx, seg, min(s.segmentEnd(seg), now.end)); err != nil {
			return err
		}
	}
	if err := b.copyBlobs(ctx, hashes); err != nil {
		return err
	}
	b.m.End, b.m.LastPos, b.m.LastTID = now.end, now.lastPos, now.last
	b.report.Last = now.last
	return b.finish()
}

func (b *backup) log() string   { return filepath.Join(b.dir, backupLog) }
func (b *backup) blobs() string { return filepath.Join(b.dir, backupBlobs) }

// begin reads what the folder has, and refuses what does not go on from there.
func (b *backup) begin(ctx context.Context, now state) error {
	s := b.s
	m, err := readManifest(s.fsys, b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		b.report.First = true
		b.m = &manifest{Format: backupVersion, Image: hex.EncodeToString(s.id[:])}
		return b.onlyOurs()
	}
	if err != nil {
		return err
	}
	b.m = m
	if id, _ := m.image(); id != s.id {
		return batos.Errorf(batos.Invalid, "%s is the backup of another image; choose another folder", b.dir)
	}
	other := batos.Errorf(batos.Invalid, "%s is a backup of another course that this image took (it was restored since); choose another folder", b.dir)
	if m.End > now.end {
		return other
	}
	if m.LastPos == 0 {
		return nil
	}
	err = s.walkTo(ctx, m.LastPos, now.end, func(t *txn) (bool, error) {
		if t.pos == m.LastPos && t.tid != m.LastTID || t.pos != m.LastPos && t.seg.packed == nil && t.pos < m.End {
			return false, other
		}
		return false, nil
	})
	if batos.CodeOf(err) == batos.Corrupt && s.segs.find(m.LastPos).packed == nil {
		return other // no transaction begins there
	}
	return err
}

// inside reports whether dir is folder or below it, by their names.
func inside(dir, folder string) bool {
	a, errA := filepath.Abs(dir)
	b, errB := filepath.Abs(folder)
	rel, err := filepath.Rel(b, a)
	return errA == nil && errB == nil && err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// onlyOurs refuses a folder that holds something else.
func (b *backup) onlyOurs() error {
	names, err := b.s.fsys.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains([]string{backupLog, backupBlobs, backupLock, manifestFile + ".tmp"}, name) {
			return batos.Errorf(batos.Invalid, "%s holds %s and is no backup; choose an empty folder", b.dir, name)
		}
	}
	return nil
}

// segment brings the copy of a segment up to a position.
func (b *backup) segment(ctx context.Context, seg *segment, to uint64) error {
	at, found := b.m.piece(seg.base)
	name := segmentName(seg.base)
	piece := savedPiece{File: name, Base: seg.base, End: seg.base}
	if found {
		piece = b.m.Segments[at]
	}
	if p := seg.packed; p != nil {
		if piece.Gone == p.revisions && piece.Before == p.before && piece.Bytes == p.size {
			return nil
		}
		name = fmt.Sprintf("%016x-%x-%x-%x%s", seg.base, p.revisions, uint64(p.before), p.size, segmentSuffix)
		piece = savedPiece{File: name, Base: seg.base, End: seg.base, Gone: p.revisions, Before: p.before}
	}
	if piece.End >= to {
		return nil
	}
	if err := b.copySegment(ctx, seg, &piece, to); err != nil {
		return err
	}
	if found {
		b.m.Segments[at] = piece
	} else {
		b.m.Segments = slices.Insert(b.m.Segments, at, piece)
	}
	return nil
}

// copySegment appends to a copy what the segment has from its end up to a
// position, verified.
func (b *backup) copySegment(ctx context.Context, seg *segment, piece *savedPiece, to uint64) (err error) {
	s := b.s
	err = s.walkTo(ctx, max(piece.End, seg.base), to, func(t *txn) (bool, error) {
		if err := s.going(ctx); err != nil {
			return false, err
		}
		_, err := t.each(s.seed, func(uint64, *record) error { return nil })
		if err != nil {
			err = readError(s, t.pos, err)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	from, end := int64(piece.End-piece.Base), int64(to-seg.base)
	if seg.packed != nil {
		end = seg.packed.size
	}
	f, err := s.fsys.OpenFile(filepath.Join(b.log(), piece.File), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if err := f.Truncate(from); err != nil { // what a backup that was cut short left
		return err
	}
	buf := make([]byte, min(copyBuffer, end-from))
	for off := from; off < end; {
		if err := s.going(ctx); err != nil {
			return err
		}
		p := buf[:min(int64(len(buf)), end-off)]
		if _, err := seg.f.ReadAt(p, off); err != nil {
			return readError(s, seg.base+uint64(off), err)
		}
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		piece.CRC = crc32.Update(piece.CRC, castagnoli, p)
		off += int64(len(p))
	}
	b.report.LogBytes += end - from
	piece.End, piece.Bytes = to, end
	return f.Sync()
}

// copyBlobs copies the blobs that the backup does not have.
func (b *backup) copyBlobs(ctx context.Context, hashes []store.BlobHash) error {
	for _, h := range hashes {
		if err := b.s.going(ctx); err != nil {
			return err
		}
		if b.m.has(h) {
			continue
		}
		n, err := copyBlob(ctx, b.s.fsys, b.s.blobs.dir, b.blobs(), h)
		if err != nil {
			return err
		}
		b.report.Blobs++
		b.report.BlobBytes += n
		text := hex.EncodeToString(h[:])
		at, _ := slices.BinarySearch(b.m.Blobs, text)
		b.m.Blobs = slices.Insert(b.m.Blobs, at, text)
	}
	return nil
}

// finish makes what was copied the backup.
func (b *backup) finish() error {
	fsys := b.s.fsys
	for _, d := range []string{b.log(), b.blobs()} {
		if err := fsys.SyncDir(d); err != nil {
			return err
		}
	}
	text, err := b.m.encode()
	if err != nil {
		return err
	}
	if err := vfs.WriteFile(fsys, filepath.Join(b.dir, manifestFile), text, 0o600); err != nil {
		return err
	}
	return b.m.removeOthers(fsys, b.dir)
}

// takeBack removes what a backup that failed has copied, so that a full disk is
// as free as it was. What cannot be removed does no harm: the next backup
// writes over it. A failure here would hide the one that people must see.
func (b *backup) takeBack(had *manifest) {
	fsys := b.s.fsys
	switch m, err := readManifest(fsys, b.dir); {
	case errors.Is(err, fs.ErrNotExist) && b.report.First:
	case err == nil && m.End == had.End && m.LastTID == had.LastTID:
	default: // what failed came after the new manifest was in its place
		return
	}
	_ = had.removeOthers(fsys, b.dir)
	for _, p := range had.Segments {
		f, err := fsys.OpenFile(filepath.Join(b.log(), p.File), os.O_RDWR, 0o600)
		if err != nil {
			continue
		}
		if size, err := f.Size(); err == nil && size > p.Bytes {
			_ = f.Truncate(p.Bytes)
		}
		_ = f.Close()
	}
	names, _ := fsys.ReadDir(b.blobs())
	for _, name := range names {
		if !slices.Contains(had.Blobs, strings.TrimSuffix(name, sumsSuffix)) {
			_ = fsys.Remove(filepath.Join(b.blobs(), name))
		}
	}
}

// removeFolder removes a folder that this backup made and brought nothing into.
func (b *backup) removeFolder() {
	fsys := b.s.fsys
	if _, err := fsys.Stat(filepath.Join(b.dir, manifestFile)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, name := range []string{b.log(), b.blobs(), filepath.Join(b.dir, manifestFile+".tmp"), filepath.Join(b.dir, backupLock), b.dir} {
		_ = fsys.Remove(name) // a folder that is not empty stays
	}
}
