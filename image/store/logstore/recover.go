package logstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"batos"
	"batos/image/store"
)

// Recovery is what opening an image found.
type Recovery struct {
	Replayed     int64            // transactions read from the log because no index had them
	Cut          int64            // bytes of an unfinished write cut off the end
	CutAt        string           // where: file and offset
	IndexLost    string           // why the index was not used; "" if it was, or if there was nothing to index
	BlobsRemoved int              // blobs that no commit refers to
	BlobsMissing []store.BlobHash // committed blobs that have no file

	// Damage is what [Options.Salvage] passed over.
	Damage []store.Problem

	replayedBytes int64
}

// String is one line for a person, "" if there is nothing to tell.
func (r Recovery) String() string {
	var parts []string
	if r.Cut > 0 {
		parts = append(parts, fmt.Sprintf("cut %d bytes of an unfinished write at %s", r.Cut, r.CutAt))
	}
	if r.IndexLost != "" {
		parts = append(parts, fmt.Sprintf("read the whole log again (%d transactions): %s", r.Replayed, r.IndexLost))
	}
	if r.BlobsRemoved > 0 {
		parts = append(parts, fmt.Sprintf("removed %d unfinished or unused blobs", r.BlobsRemoved))
	}
	if n := len(r.BlobsMissing); n > 0 {
		parts = append(parts, fmt.Sprintf("%d committed blobs have no file, the first is %x: restore them from a backup", n, r.BlobsMissing[0]))
	}
	return strings.Join(parts, "; ")
}

// recover opens the files and rebuilds what is known of them.
func (s *Store) recover(ctx context.Context) error {
	if s.o.Salvage {
		return s.salvage(ctx)
	}
	loaded, loadErr := loadIndex(s.fsys, s.path(IndexFile)) // before the log, which may grow under a reader
	if err := s.openSegments(); err != nil {
		return err
	}
	s.seed = s.id.seed()
	s.blobs = newBlobs(s)
	f, err := s.useIndex(loaded, loadErr)
	if err != nil {
		return err
	}
	s.idx = f.idx
	for _, h := range f.blobs {
		s.blobs.commit([]store.BlobHash{h})
	}
	if err := s.replay(ctx, f.upTo); err != nil {
		return err
	}
	return s.blobs.recover(ctx)
}

// openSegments opens and checks the files of the log, and makes the first if
// there is none.
func (s *Store) openSegments() error {
	names, err := s.fsys.ReadDir(s.path(LogDir))
	if err != nil && !(s.o.ReadOnly && errors.Is(err, fs.ErrNotExist)) { // who writes has made it
		return err
	}
	if err := s.removeUnfinished(names); err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := parseSegmentName(name); return !ok })
	for i, name := range names { // sorted by name is sorted by position
		base, _ := parseSegmentName(name)
		seg, info, err := s.openSegment(base, i == len(names)-1)
		if err != nil {
			return err
		}
		if seg == nil { // its creation was not finished
			continue
		}
		s.segs.add(seg)
		switch {
		case i == 0 && base != 0:
			return batos.Errorf(batos.Corrupt, "the log in %s begins with %s: an earlier segment is missing; restore the image from a backup", s.path(LogDir), name)
		case i == 0:
			s.id = info.image
		case info.image != s.id:
			return batos.Errorf(batos.Corrupt, "%s belongs to another image; take it out of the folder or restore the image from a backup", seg.name)
		}
		if i > 0 {
			before := s.segs.all()[i-1]
			end := before.base + uint64(before.allocated)
			if before.packed != nil {
				end = before.packed.end
			}
			if end < base || before.packed != nil && end > base {
				return batos.Errorf(batos.Corrupt, "the log has a gap after byte %d of %s: a segment is missing or cut; restore the image from a backup", before.allocated, before.name)
			}
		}
	}
	if list := s.segs.all(); len(list) > 0 {
		last := list[len(list)-1]
		if last.packed == nil || s.o.ReadOnly {
			return nil
		}
		seg, err := createSegment(s.fsys, s.path(LogDir), s.id, last.packed.end) // there is one to write to
		if err == nil {
			s.segs.add(seg)
		}
		return err
	}
	if _, err := s.fsys.Stat(s.path(IndexFile)); err == nil {
		return batos.Errorf(batos.Corrupt, "%s is there but the log %s is not; restore the log from a backup, or remove the index to begin a new image", s.path(IndexFile), s.path(LogDir))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.o.ReadOnly {
		return batos.Errorf(batos.NotFound, "there is no image in %s", s.dir)
	}
	_, _ = rand.Read(s.id[:]) // never fails
	seg, err := createSegment(s.fsys, s.path(LogDir), s.id, 0)
	if err != nil {
		return err
	}
	s.segs.add(seg)
	return nil
}

// removeUnfinished removes what a pack left that was cut short.
func (s *Store) removeUnfinished(names []string) error {
	for _, name := range names {
		if !strings.HasSuffix(name, packedSuffix) || s.o.ReadOnly {
			continue
		}
		if err := s.fsys.Remove(filepath.Join(s.path(LogDir), name)); err != nil {
			return err
		}
	}
	return nil
}

// openSegment opens one file of the log; the last may turn out to be one
// whose creation a crash interrupted, which is removed: the answer is nil.
func (s *Store) openSegment(base uint64, last bool) (_ *segment, _ segmentInfo, err error) {
	name := filepath.Join(s.path(LogDir), segmentName(base))
	flag := os.O_RDWR
	if s.o.ReadOnly {
		flag = os.O_RDONLY
	}
	f, err := s.fsys.OpenFile(name, flag, 0)
	if err != nil {
		return nil, segmentInfo{}, err
	}
	seg := &segment{base: base, f: f, name: name}
	keep := false
	defer func() {
		if !keep {
			_ = f.Close()
		}
	}()
	if seg.allocated, err = f.Size(); err != nil {
		return nil, segmentInfo{}, err
	}
	var r reader
	h, err := r.bytes(seg, base, segmentHeader)
	if err != nil {
		return nil, segmentInfo{}, err
	}
	h = bytes.Clone(h)
	info, err := parseSegmentHeader(h)
	switch {
	case err == nil && info.version > FormatVersion:
		return nil, info, batos.Errorf(batos.NewerFormat, "%s has format %d, written by a newer release; this one reads up to %d: upgrade batos", name, info.version, FormatVersion)
	case err == nil && info.version < FormatVersion:
		return nil, info, batos.Errorf(batos.Corrupt, "%s has format %d, from before the first release, which nothing reads any more", name, info.version)
	case err == nil && info.base != base:
		return nil, info, batos.Errorf(batos.Corrupt, "%s holds the segment %s; give it its name back or restore the image from a backup", name, segmentName(info.base))
	case err == nil && info.kind == kindPacked:
		if seg.packed, err = readPacked(f, info); errors.Is(err, errBad) {
			return nil, info, batos.Errorf(batos.Corrupt, "%s is damaged: its trailer fails its checksum; restore the image from a backup", name)
		}
		if err != nil {
			return nil, info, err
		}
		s.snaps.raise(seg.packed.before)
		keep = true
		return seg, info, nil
	case err == nil:
		keep = true
		return seg, info, nil
	}
	junk, err := lastNonZero(seg, base+segmentHeader)
	if err != nil {
		return nil, info, err
	}
	if s.o.ReadOnly && junk > 0 { // was it written between the two looks?
		again := make([]byte, segmentHeader)
		if _, err := f.ReadAt(again, 0); err == nil && !bytes.Equal(again, h) {
			return s.openSegment(base, last)
		}
	}
	if !last || junk > 0 { // transactions follow only a header that is safe
		return nil, info, batos.Errorf(batos.Corrupt, "%s is damaged at byte 0: its header fails its checksum; restore the image from a backup", name)
	}
	if s.o.ReadOnly {
		return nil, info, nil
	}
	if err := s.fsys.Remove(name); err != nil {
		return nil, info, err
	}
	return nil, info, s.fsys.SyncDir(s.path(LogDir))
}

// replay reads the log from where the index ends, and repairs its end. The
// log was durable up to upTo once.
func (s *Store) replay(ctx context.Context, upTo uint64) error {
	x := s.idx
	from := max(x.end, segmentHeader)
	pos, batch := from, from
	var r reader
	list := s.segs.all()
	i := 0
	for i+1 < len(list) && list[i+1].base <= pos {
		i++
	}
	if from == segmentHeader {
		for _, seg := range list {
			if seg.packed != nil {
				x.transactions += seg.packed.transactions
			}
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i+1 < len(list) && pos == list[i+1].base {
			i++
			pos += segmentHeader
			continue
		}
		if pos == list[i].base { // the index ends where a segment begins
			pos += segmentHeader
		}
		if list[i].packed == nil {
			got, err := s.scan(ctx, list[i], pos)
			if err != nil {
				return err
			}
			if got.n > 0 {
				batch = got.batch
			}
			pos = got.end
			s.recovery.Replayed += int64(got.n)
			if i+1 < len(list) && pos == list[i+1].base {
				continue
			}
			break
		}
		h, _, err := s.apply(&r, list[i], pos)
		if errors.Is(err, errEnd) && i+1 < len(list) {
			pos = list[i].packed.end
			continue
		}
		if errors.Is(err, errBad) || errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return err
		}
		pos, batch = h.end(), h.batch
		s.recovery.Replayed++
	}
	s.recovery.replayedBytes = int64(pos - from)
	seg := list[i]
	if i+1 < len(list) {
		return s.damaged(seg, pos, fmt.Sprintf("later ones follow in %s", segmentName(list[i+1].base)))
	}
	x.end = pos
	if seg.packed != nil {
		x.end = seg.packed.end
		return nil
	}
	junk, err := lastNonZero(seg, pos)
	if err != nil {
		return err
	}
	next := uint64(0)
	if junk > 0 {
		if next, err = r.later(seg, pos, s.seed, func(h header) bool { return h.batch > pos }); err != nil {
			return err
		}
	}
	if next > 0 {
		if s.o.ReadOnly { // it may have been written since: then so was what is before it
			var again reader
			if _, _, err := s.apply(&again, seg, pos); err == nil {
				return s.follow()
			}
		}
		return s.damaged(seg, pos, fmt.Sprintf("later ones are whole, the next at byte %d", next-seg.base))
	}
	if pos < upTo {
		return batos.Errorf(batos.Corrupt, "%s is damaged at byte %d: the log ends there but was longer before; restore the image from a backup, or remove %s to accept the loss", seg.name, pos-seg.base, s.path(IndexFile))
	}
	if junk > 0 {
		s.recovery.Cut = int64(junk - pos)
		s.recovery.CutAt = fmt.Sprintf("%s byte %d", seg.name, pos-seg.base)
	}
	if s.o.ReadOnly {
		return nil
	}
	return s.settle(seg, batch, pos, junk > 0)
}

// apply takes the transaction at pos, in a packed segment the first from there
// on, into the index, and gives what it wrote; errBad or errEnd if there is none.
func (s *Store) apply(r *reader, seg *segment, pos uint64) (header, []newRevision, error) {
	x := s.idx
	t, err := r.next(seg, pos, s.seed)
	if err != nil {
		return header{}, nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if t.tid <= x.last {
		return header{}, nil, errBad
	}
	var found []newRevision
	var blobs []store.BlobHash
	_, err = t.each(s.seed, func(at uint64, r *record) error {
		if !r.stub {
			found = append(found, newRevision{r.OID, makeEntry(at, r.TID, r.Delete)})
			blobs = append(blobs, r.Blobs...)
		}
		return nil
	})
	if err != nil {
		return header{}, nil, err
	}
	for _, r := range found {
		x.set(r.oid, r.entry)
	}
	s.blobs.commit(blobs)
	x.add(t.tid, t.pos, t.end(), t.next)
	return t.header, found, nil
}

// settle makes the end of the log what it looks like, because from now on it
// can be seen. If only the last process died, the last batch, the last
// segment's header and its name may stand in the machine's memory alone, the
// batch even marked as written by a sync that failed: so it is written again,
// what follows it is cut off, and all is synced.
func (s *Store) settle(seg *segment, batch, end uint64, cut bool) error {
	if batch >= seg.base+segmentHeader && batch < end {
		b := make([]byte, end-batch)
		if _, err := seg.f.ReadAt(b, int64(batch-seg.base)); err != nil {
			return err
		}
		if _, err := seg.f.WriteAt(b, int64(batch-seg.base)); err != nil {
			return err
		}
	}
	if cut {
		seg.allocated = int64(end - seg.base)
		if err := seg.f.Truncate(seg.allocated); err != nil {
			return err
		}
	}
	if err := seg.f.Sync(); err != nil {
		return err
	}
	return s.fsys.SyncDir(s.path(LogDir))
}

func (s *Store) damaged(seg *segment, pos uint64, evidence string) error {
	return batos.Errorf(batos.Corrupt, "%s is damaged at byte %d: a transaction fails its checksum although %s; restore the image from a backup", seg.name, seg.offset(pos), evidence)
}

// later looks behind pos, where no transaction is, for one that accept takes;
// 0: there is none. One of a later batch was written when what should stand at
// pos was safe.
func (r *reader) later(seg *segment, pos uint64, seed uint32, accept func(header) bool) (uint64, error) {
	magic := le.AppendUint32(nil, txnMagic)
	for at := pos + 1; ; {
		b, err := r.bytes(seg, at, window)
		if err != nil || len(b) < txnHeader {
			return 0, err
		}
		i := bytes.Index(b[:len(b)-txnHeader+len(magic)], magic)
		for i >= 0 && le.Uint64(b[i+16:]) != at+uint64(i) { // most bytes that look like a head say so of another place
			n := bytes.Index(b[i+1:len(b)-txnHeader+len(magic)], magic)
			if n < 0 {
				i = -1
				break
			}
			i += 1 + n
		}
		if i < 0 {
			at += uint64(len(b) - txnHeader + 1)
			continue
		}
		at += uint64(i)
		h, t, err := r.transaction(seg, at)
		if err == nil && accept(h) {
			_, _, err = parseTransaction(t, seed, at, func(uint64, *record) error { return nil })
			if err == nil {
				return at, nil
			}
		}
		if err != nil && !errors.Is(err, errBad) {
			return 0, err
		}
		at++
	}
}

// zerosBuffer is how much lastNonZero reads at once: it stays near the processor.
const zerosBuffer = 128 << 10

// lastNonZero gives the position after the last byte from pos on that is not
// zero, 0 if all are.
func lastNonZero(seg *segment, pos uint64) (uint64, error) {
	size, err := seg.f.Size()
	if err != nil {
		return 0, err
	}
	b := make([]byte, max(0, min(zerosBuffer, size-int64(pos-seg.base))))
	for last := uint64(0); ; {
		n, err := seg.f.ReadAt(b, int64(pos-seg.base))
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return last, err
		}
		if b := b[:n]; b[0] != 0 || !bytes.Equal(b[1:], b[:n-1]) { // else it is all the same, and zero
			if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
				last = pos + uint64(n)
			}
		}
		pos += uint64(n)
	}
}
