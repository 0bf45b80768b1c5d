package logstore

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"batos"
)

// A store that is open for reading only finds what another process commits by
// reading on where the log ended. It believes what recovery would believe, by
// the same rules: if that process dies, recovery keeps what was seen. A sync
// that fails is the one exception: what it should have made durable may be
// seen, and lost.

// followEvery is how often Wait looks for new transactions.
const followEvery = 10 * time.Millisecond

// follow takes in what was committed since the last time.
func (s *Store) follow() error {
	if s.o.Salvage {
		return nil
	}
	s.tail.Lock()
	defer s.tail.Unlock()
	for {
		seg, pos := s.segs.last(), s.idx.now().end
		if seg.packed == nil || pos < seg.packed.end {
			var r reader // with nothing read before
			h, found, err := s.apply(&r, seg, max(pos, seg.base+segmentHeader))
			if err == nil {
				s.followed(h.tid, found, seg)
				continue
			}
			if !errors.Is(err, errBad) && !errors.Is(err, errEnd) {
				return readError(s, pos, err)
			}
		}
		if seg.packed != nil { // it may have ended objects of which nothing is left
			s.followed(s.LastTID(), nil, seg)
		}
		if more, err := s.followSegment(seg, pos); err != nil || !more {
			return err
		}
	}
}

// followed tells what a transaction changed. Of one in a packed segment that is
// not known.
func (s *Store) followed(tid batos.TID, found []newRevision, in *segment) {
	if s.o.Followed == nil {
		return
	}
	var oids []batos.OID
	if in.packed == nil {
		oids = make([]batos.OID, len(found))
		for i := range found {
			oids[i] = found[i].oid
		}
	}
	s.o.Followed(tid, oids)
}

// followSegment opens the segment that begins at pos, if there is one by now.
func (s *Store) followSegment(last *segment, pos uint64) (bool, error) {
	if pos <= last.base {
		return false, nil
	}
	if _, err := s.fsys.Stat(filepath.Join(s.path(LogDir), segmentName(pos))); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	seg, _, err := s.openSegment(pos, true)
	if err != nil {
		return false, fileError("follow the log", err)
	}
	if seg == nil { // it is just being made
		return false, nil
	}
	s.segs.add(seg)
	s.mapSegments()
	return true, nil
}

// waitFollowing is Wait in a store that is open for reading only.
func (s *Store) waitFollowing(ctx context.Context, after batos.TID) (batos.TID, error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if s.closing.Load() {
			return 0, errClosed
		}
		if err := s.follow(); err != nil {
			return 0, err
		}
		if last := s.LastTID(); last > after {
			return last, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
