package logstore

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"batos/internal/vfs"
)

const segmentSuffix = ".seg"

// Space is reserved ahead in the last segment: each step costs one metadata
// write, but a start after a crash looks through what was reserved. So a step
// is a quarter of what there is, between these.
const (
	leastStep = 1 << 20
	mostStep  = 16 << 20
)

// segment is one file of the log.
type segment struct {
	base      uint64
	f         vfs.File
	name      string
	allocated int64   // bytes of the file known to be reserved
	packed    *packed // nil: it is as it was written

	mapped atomic.Pointer[vfs.Mapping] // nil: read it from the file
}

// offset is where in the file position pos is, in a packed segment about where.
func (s *segment) offset(pos uint64) int64 {
	if s.packed != nil {
		return s.packed.fence(pos)
	}
	return int64(pos - s.base)
}

// record gives the bytes of the record at pos, in memory of the caller's if buf
// is not nil and else in some of their own: errGone if pack removed it, errBad
// if it cannot be there.
func (s *segment) record(pos uint64, seed uint32, buf *[]byte) ([]byte, error) {
	if s.packed != nil {
		return s.packed.record(s, pos, seed, buf)
	}
	off := int64(pos - s.base)
	if m := s.mapped.Load(); m != nil {
		if b := mappedRecord(m, off, buf); b != nil {
			return b, nil
		}
	}
	return s.readRecord(off, buf)
}

// ReadAt reads from the mapping, or else from the file.
func (s *segment) ReadAt(p []byte, off int64) (int, error) {
	if m := s.mapped.Load(); m != nil && m.ReadAt(p, off) {
		return len(p), nil
	}
	return s.f.ReadAt(p, off)
}

// room gives n bytes, of *buf if there is one.
func room(buf *[]byte, n int) []byte {
	if buf == nil {
		return make([]byte, n)
	}
	if cap(*buf) < n {
		*buf = make([]byte, max(n, 2*cap(*buf)))
	}
	return (*buf)[:n]
}

// mappedGuess is how much is copied to get a record at once.
const mappedGuess = 256

// mappedRecord gives the record at off, or nil: then read it to see why.
func mappedRecord(m *vfs.Mapping, off int64, buf *[]byte) []byte {
	n := min(mappedGuess, m.Len()-off)
	if n < recordHeader {
		return nil
	}
	var own [mappedGuess]byte
	guess := own[:n]
	if buf != nil {
		guess = room(buf, int(n))
	}
	if !m.ReadAt(guess, off) {
		return nil
	}
	length := int64(recordLength(guess))
	if length > m.Len()-off {
		return nil
	}
	b := room(buf, int(length))
	if copied := copy(b, guess); copied < len(b) && !m.ReadAt(b[copied:], off+int64(copied)) {
		return nil
	}
	return b
}

// readGuess is how much is read to get a record in one call.
const readGuess = 4096

var guesses = sync.Pool{New: func() any { return new([readGuess]byte) }}

// readRecord reads the record at off from the file.
func (s *segment) readRecord(off int64, buf *[]byte) ([]byte, error) {
	guess := guesses.Get().(*[readGuess]byte)
	defer guesses.Put(guess)
	n, err := s.f.ReadAt(guess[:], off)
	if n < recordHeader {
		if err == nil || errors.Is(err, io.EOF) {
			err = errBad
		}
		return nil, err
	}
	length := recordLength(guess[:])
	if length > uint64(n) {
		size, err := s.f.Size()
		if err != nil {
			return nil, err
		}
		if length > maxTxn || off+int64(length) > size {
			return nil, errBad
		}
	}
	b := room(buf, int(length))
	if copied := copy(b, guess[:n]); copied < len(b) {
		if _, err := s.f.ReadAt(b[copied:], off+int64(copied)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func segmentName(base uint64) string { return fmt.Sprintf("%016x%s", base, segmentSuffix) }

func parseSegmentName(name string) (uint64, bool) {
	h, ok := strings.CutSuffix(name, segmentSuffix)
	base, err := strconv.ParseUint(h, 16, 64)
	return base, ok && err == nil && segmentName(base) == name
}

// segments are the files of the log in order. Readers need no lock: a file
// that pack replaced is closed under them, upon which they look here again.
type segments struct {
	list atomic.Pointer[[]*segment]
	mu   sync.Mutex // of those who change the list
}

func (s *segments) all() []*segment {
	if p := s.list.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *segments) add(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.all()
	list := append(old[:len(old):len(old)], seg)
	s.list.Store(&list)
}

// replace puts seg where the segment of the same base was, which it gives.
func (s *segments) replace(seg *segment) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.all())
	for i, old := range list {
		if old.base == seg.base {
			list[i] = seg
			s.list.Store(&list)
			old.mapped.Store(nil)
			return old
		}
	}
	return nil
}

// mapNewest maps the newest segments, as far as limit bytes reach, and no
// others. The last one, which grows, is mapped as long as it may become.
func (s *segments) mapNewest(limit, segmentBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.all()
	for i, seg := range slices.Backward(list) {
		m, _ := seg.f.(vfs.Mapper)
		if m == nil {
			continue
		}
		now := seg.mapped.Load()
		size := seg.allocated
		switch {
		case now != nil:
			size = now.Len()
		case i == len(list)-1 && seg.packed == nil:
			size = max(size, segmentBytes)
		}
		if limit -= size; limit < 0 || size == 0 {
			seg.mapped.Store(nil)
		} else if now == nil {
			if now, err := m.Map(size); err == nil { // else it is read from the file
				seg.mapped.Store(now)
			}
		}
	}
}

func (s *segments) last() *segment {
	list := s.all()
	return list[len(list)-1]
}

// find gives the segment that holds a position, nil if none does.
func (s *segments) find(pos uint64) *segment {
	list := s.all()
	if n := len(list); n > 0 && list[n-1].base <= pos {
		return list[n-1] // where most is asked for
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].base > pos })
	if i == 0 {
		return nil
	}
	return list[i-1]
}

// createSegment makes the file of a new last segment, header and name durable.
// A noRoomError says that there is no room for one, and none was begun.
func createSegment(fsys vfs.FS, dir string, id imageID, base uint64) (*segment, error) {
	name := filepath.Join(dir, segmentName(base))
	f, err := createFile(fsys, name)
	if isFull(err) {
		return nil, &noRoomError{err}
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(appendSegmentHeader(nil, id, kindLog, base, 0), 0)
	if isFull(err) && errors.Join(f.Close(), fsys.Remove(name)) == nil {
		return nil, &noRoomError{err}
	}
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
	return &segment{base: base, f: f, name: name, allocated: segmentHeader}, nil
}

// createFile makes an empty file, or empties the one that is there.
func createFile(fsys vfs.FS, name string) (vfs.File, error) {
	return fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
}

// reserve makes room up to end, if the filesystem can, so that a sync needs
// no metadata. If there is no space for a whole step it takes what is needed.
func (s *segment) reserve(end, limit int64) error {
	if end <= s.allocated {
		return nil
	}
	step := min(max(s.allocated/4, leastStep), mostStep)
	want := max(min(s.allocated+step, limit), end)
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

// segmentEnd gives the position after a segment; for the last, which still
// grows, the highest there is.
func (s *Store) segmentEnd(seg *segment) uint64 {
	if seg.packed != nil {
		return seg.packed.end
	}
	for _, other := range s.segs.all() {
		if other.base > seg.base {
			return other.base
		}
	}
	return math.MaxUint64
}
