package logstore

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"batos/internal/vfs"
)

const segmentSuffix = ".seg"

// allocateStep is how far ahead space is reserved in the last segment: each
// step costs one metadata write, and a small image stays small.
const allocateStep = 16 << 20

// segment is one file of the log.
type segment struct {
	base      uint64
	f         vfs.File
	allocated int64 // bytes of the file known to be reserved
}

func segmentName(base uint64) string { return fmt.Sprintf("%016x%s", base, segmentSuffix) }

func parseSegmentName(name string) (uint64, bool) {
	h, ok := strings.CutSuffix(name, segmentSuffix)
	base, err := strconv.ParseUint(h, 16, 64)
	return base, ok && err == nil && segmentName(base) == name
}

// segments are the files of the log in order. Readers need no lock; only the
// goroutine that flushes adds one.
type segments struct {
	list atomic.Pointer[[]*segment]
}

func (s *segments) all() []*segment {
	if p := s.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *segments) add(seg *segment) {
	old := s.all()
	list := append(old[:len(old):len(old)], seg)
	s.list.Store(&list)
}

func (s *segments) last() *segment {
	list := s.all()
	return list[len(list)-1]
}

// find gives the segment that holds a position, nil if none does.
func (s *segments) find(pos uint64) *segment {
	list := s.all()
	i := sort.Search(len(list), func(i int) bool { return list[i].base > pos })
	if i == 0 {
		return nil
	}
	return list[i-1]
}

// createSegment makes the file of a new last segment, header and name durable.
func createSegment(fsys vfs.FS, dir string, id imageID, base uint64) (*segment, error) {
	name := filepath.Join(dir, segmentName(base))
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(appendSegmentHeader(nil, id, base), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		_ = f.Close() // the file stays as recovery expects it: a last segment without transactions
		return nil, err
	}
	return &segment{base: base, f: f, allocated: segmentHeader}, nil
}

// reserve makes room up to end, if the filesystem can, so that a sync needs
// no metadata. If there is no space for a whole step it takes what is needed.
func (s *segment) reserve(end, limit int64) error {
	if end <= s.allocated {
		return nil
	}
	want := max(min(s.allocated+allocateStep, limit), end)
	err := s.f.Allocate(s.allocated, want-s.allocated)
	if err != nil && isFull(err) {
		want = end
		err = s.f.Allocate(s.allocated, want-s.allocated)
	}
	if err != nil {
		return err
	}
	s.allocated = want
	return nil
}
