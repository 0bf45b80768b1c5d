package logstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"batos"
	"batos/image/store"
)

// To salvage is to open what is left of a damaged image, for reading only. It
// needs no index, but believes one that is whole: it says of more objects that
// their newest revision is lost. Otherwise the segments are read from end to
// end, and what is not whole is passed over and told of in [Recovery.Damage]:
//
//   - Of a damaged transaction the records whose own checksum is right are taken.
//     One that fails is still taken for its object's newest revision if it
//     follows the one before, so that the object is lost rather than old.
//   - Where not even that can be seen, nobody knows what is gone: the objects
//     that were changed there appear as they were before.
//   - Of a packed segment what is whole is taken item by item, for each says
//     itself what it is: also where its trailer is gone.
//   - A segment that cannot be opened is passed over as a whole.

// lost notes a loss that opening found.
func (s *Store) lost(p store.Problem, format string, args ...any) {
	p.Kind, p.Text = store.Lost, fmt.Sprintf(format, args...)
	s.recovery.Damage = append(s.recovery.Damage, p)
}

// salvage opens the files, those that can be, and finds out what is in them.
func (s *Store) salvage(ctx context.Context) error {
	loaded, loadErr := loadIndex(s.fsys, s.path(IndexFile))
	if batos.CodeOf(loadErr) == batos.NewerFormat {
		return batos.Errorf(batos.NewerFormat, "%s has %w", s.path(IndexFile), loadErr)
	}
	if err := s.salvageSegments(); err != nil {
		return err
	}
	s.seed = s.id.seed()
	s.blobs = newBlobs(s)
	s.idx = newIndex()
	upTo := uint64(0)
	if loadErr == nil && loaded.image == s.id && !s.packedSince(loaded.idx) {
		s.idx, upTo = loaded.idx, loaded.upTo
		s.blobs.commit(loaded.blobs)
	}
	from := max(s.idx.end, segmentHeader)
	for _, seg := range s.segs.all() {
		end := s.segmentEnd(seg)
		if end <= from && seg.packed == nil {
			continue
		}
		var err error
		pos := max(from, seg.base+segmentHeader) // what is known of a packed one is looked through for where its items are
		if seg.packed != nil {
			err = s.salvagePacked(ctx, seg, pos)
		} else {
			err = s.salvagePlain(ctx, seg, pos, end, upTo)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.lost(store.Problem{File: seg.name}, "%s cannot be read to its end: %v", seg.name, err)
		}
	}
	return s.blobs.recover(ctx)
}

// salvageSegments opens the files of the log that can be.
func (s *Store) salvageSegments() error {
	names, err := s.fsys.ReadDir(s.path(LogDir))
	if err != nil {
		return err
	}
	known, end := false, uint64(0)
	guess := imageID{}
	for _, name := range names {
		base, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		path := filepath.Join(s.path(LogDir), name)
		f, err := s.fsys.OpenFile(path, os.O_RDONLY, 0)
		if err != nil {
			s.lost(store.Problem{File: path}, "%s cannot be opened: %v", path, err)
			continue
		}
		seg := &segment{base: base, f: f, name: path}
		h := make([]byte, segmentHeader)
		if seg.allocated, err = f.Size(); err == nil {
			err = readFull(f, h, 0)
		}
		var info segmentInfo
		if err == nil {
			info, err = parseSegmentHeader(h)
		}
		switch {
		case err == nil && info.version > FormatVersion:
			return errors.Join(batos.Errorf(batos.NewerFormat, "%s has format %d, written by a newer release; this one reads up to %d: upgrade batos", path, info.version, FormatVersion), f.Close())
		case err == nil && info.base == base && known && info.image != s.id:
			err = errors.New("it belongs to another image")
		case err == nil && info.base == base:
			known, s.id = true, info.image
			if info.kind == kindPacked {
				if seg.packed, err = readPacked(f, info); errors.Is(err, errBad) && info.end > base {
					err = nil
					s.lost(store.Problem{File: path}, "%s has lost its trailer: what it had at its end may be lost, and objects that were changed there are as they were before", path)
					seg.packed = &packed{end: info.end, items: seg.allocated, size: seg.allocated}
				}
			}
		case errors.Is(err, errBad):
			err = nil
			s.lost(store.Problem{File: path}, "%s is damaged at byte 0: its header fails its checksum", path)
			copy(guess[:], h[16:])
		}
		if err != nil {
			s.lost(store.Problem{File: path}, "%s is passed over: %v", path, err)
			if err := f.Close(); err != nil {
				return err
			}
			continue
		}
		if base > end {
			s.lost(store.Problem{File: path}, "the log before %s is missing", path)
		}
		if end = base + uint64(seg.allocated); seg.packed != nil {
			end = seg.packed.end
			s.snaps.raise(seg.packed.before)
		}
		s.segs.add(seg)
	}
	if len(s.segs.all()) == 0 {
		return batos.Errorf(batos.Corrupt, "none of the files in %s can be opened: restore the image from a backup", s.path(LogDir))
	}
	if !known {
		s.id = guess
	}
	return nil
}

// packedSince reports whether the log has lost to pack what x may name.
func (s *Store) packedSince(x *index) bool {
	for _, seg := range s.segs.all() {
		if seg.packed != nil && seg.packed.end > x.end {
			return true
		}
	}
	return false
}

// salvagePlain takes in what is whole of a segment from pos on. The log was
// durable up to upTo once.
func (s *Store) salvagePlain(ctx context.Context, seg *segment, pos, end, upTo uint64) error {
	for pos < end {
		got, err := s.scan(ctx, seg, pos)
		pos = got.end
		s.recovery.Replayed += int64(got.n)
		if err != nil || pos >= end {
			return err
		}
		var r reader
		junk, err := lastNonZero(seg, pos)
		if err != nil || junk == 0 && seg == s.segs.last() && pos >= upTo {
			return err
		}
		next, err := r.later(seg, pos, s.seed, func(header) bool { return true })
		if err != nil {
			return err
		}
		if next == 0 && seg == s.segs.last() && pos >= upTo {
			s.lost(store.Problem{File: seg.name, Offset: int64(pos - seg.base)},
				"%s ends at byte %d with %d bytes that are no transaction: a write that a crash cut short, or damage", seg.name, pos-seg.base, junk-pos)
			s.recovery.Cut = int64(junk - pos)
			s.recovery.CutAt = fmt.Sprintf("%s byte %d", seg.name, pos-seg.base)
			return nil
		}
		if pos, err = s.salvageUpTo(seg, pos, next, junk); err != nil || next == 0 {
			return err
		}
	}
	return nil
}

// salvageUpTo takes what is whole of the damaged transactions from pos on, up to
// the next whole one, 0: there is none, only bytes up to junk. It gives where
// that is.
func (s *Store) salvageUpTo(seg *segment, pos, next, junk uint64) (uint64, error) {
	var r reader
	limit := batos.TID(0)
	if next > 0 {
		h, _, err := r.transaction(seg, next)
		if err != nil {
			return next, err
		}
		limit = h.tid
	}
	for next == 0 && pos < junk || pos < next {
		h, b, err := r.transaction(seg, pos)
		if err != nil && !errors.Is(err, errBad) {
			return next, err
		}
		p := store.Problem{File: seg.name, Offset: int64(pos - seg.base)}
		if err != nil || next > 0 && (h.end() > next || h.tid >= limit) || h.tid <= s.idx.last {
			s.lost(p, "%s is damaged at byte %d: what was written there is lost, and objects that it changed are as they were before", seg.name, p.Offset)
			return next, nil
		}
		s.salvageRecords(seg, &h, b)
		pos = h.end()
	}
	return next, nil
}

// salvageRecords takes what is whole of a damaged transaction.
func (s *Store) salvageRecords(seg *segment, h *header, b []byte) {
	x := s.idx
	n, at, whole := uint32(0), txnHeader+int(h.meta), false
	for ; n < h.records && len(b)-at >= recordHeader; n++ {
		pos := h.pos + uint64(at)
		raw := rawRecord(b[at:])
		oid, tid := raw.oid(), raw.tid()
		r, _, err := parseRecord(b[at:], s.seed)
		switch {
		case err == nil && tid == h.tid && !r.stub:
			whole = true
			x.set(oid, makeEntry(pos, tid, r.Delete))
			s.blobs.commit(r.Blobs)
		case tid == h.tid && oid != 0 && le.Uint64(raw[24:]) == x.lookup(oid).pos():
			x.set(oid, makeEntry(pos, tid, false)) // it is told of where it is read
		default:
			s.lost(store.Problem{File: seg.name, Offset: int64(pos - seg.base), TID: h.tid, Since: h.tid},
				"%s is damaged at byte %d: a revision of %v is lost, and its object is as it was before", seg.name, pos-seg.base, h.tid)
		}
		length := recordLength(raw)
		if recordLevels(raw) > maxLevels || length > uint64(len(b)-at) {
			n++
			break
		}
		at += int(length)
	}
	if n < h.records || at != len(b) {
		s.lost(store.Problem{File: seg.name, Offset: int64(h.pos - seg.base), TID: h.tid, Since: h.tid},
			"%s is damaged at byte %d: more of %v may be lost, and objects that it changed are as they were before", seg.name, h.pos-seg.base, h.tid)
	}
	if whole { // else its TID may be damaged too
		x.add(h.tid, h.pos, h.end(), 0)
		s.recovery.Replayed++
	}
}
