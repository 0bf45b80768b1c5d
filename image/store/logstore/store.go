// Package logstore keeps an image in an append-only log on a filesystem: the
// embedded [store.Store].
//
// [Open] recovers, [Store.Commit] appends. Inside, in reading order: the bytes
// (format.go), the files (segment.go), what is known of them in memory
// (index.go) and between starts (checkpoint.go), opening (recover.go),
// committing (commit.go), reading (read.go) and how the past is found
// (lineage.go), blobs (blob.go, blobwriter.go, readahead.go, chain.go). Care for
// an image as it ages: what pack leaves of a segment (packed.go), packing
// (pack.go, raw.go), the blobs that nobody needs (trash.go), looking for damage
// (verify.go), what is left after it (salvage.go), backups (backup.go, manifest.go, restore.go), and reading beside
// the process that writes (follow.go).
//
// In the folder of an image it owns
//
//	live_image.fs/        the segments of the log
//	live_image.fs.index   where every object's newest revision is: a cache of the log
//	live_image.fs.blob/   blobs, each <sha256> with <sha256>.sums beside it
//	live_image.fs.lock    says which process has the image open for writing
//
// # What is promised
//
// A transaction whose Commit returned nil is there after any crash. One whose
// Commit did not return is there wholly or not at all. A torn end of the log
// is cut off and told of by [Store.Recovery]; damage before intact
// transactions is never skipped: Open refuses with code corrupt. Every read of
// a revision or blob verifies a checksum. After a failed write or sync the
// store is poisoned: it serves reads and refuses commits, because what reached
// the disk is not known and a second sync would not tell.
package logstore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// Names in the image's folder.
const (
	LogDir    = "live_image.fs"
	IndexFile = "live_image.fs.index"
	BlobDir   = "live_image.fs.blob"
	LockFile  = "live_image.fs.lock"
)

// Options of [Open]; the zero value is right for everything but tests.
type Options struct {
	Clock           func() time.Time // nil: time.Now
	SegmentBytes    int64            // a segment is full at this size; 0: 256 MiB
	CheckpointBytes int64            // the index is written after this much log, and twice its own size; 0: 8 MiB
	MapBytes        int64            // how much of the newest log is mapped for reading, in the system's page cache; 0: 512 MiB, below: nothing
	ReadOnly        bool             // nothing is written, not even repairs or a lock: see [Store]

	// Salvage opens what is left of a damaged image, for reading only and as it
	// is now: see Recovery.Damage. No other process may write to it.
	Salvage bool

	// Followed is told, in a store that is open for reading only, of each
	// transaction of the writing process before a snapshot shows it, one after
	// the other: what it wrote, or nil if that may be anything. Keep caches
	// right with it. It must not call the store.
	Followed func(tid batos.TID, oids []batos.OID)
}

// Store is an open log.
//
// One that is open for reading only may stand beside the process that writes,
// and beside others: it takes no lock, repairs nothing and changes nothing.
// Each new snapshot, and Wait, sees what that process committed meanwhile; a
// commit may be seen a moment before it is durable. Files that a pack replaces
// it goes on reading as they were, and holds their space until it is closed;
// but that process does not know of its snapshots, so that an old one may come
// to answer code packed.
type Store struct {
	fsys vfs.FS
	dir  string
	o    Options
	id   imageID
	seed uint32

	lock     io.Closer
	segs     segments
	idx      *index
	blobs    *blobs
	recovery Recovery
	snaps    snapshots
	indexMu  sync.Mutex    // of who writes the index
	care     chan struct{} // holds something while a pack, a backup or the end goes on
	tail     sync.Mutex    // of who follows another process's log

	nextOID atomic.Uint64
	closing atomic.Bool

	// mu orders commits. It is never held while waiting for the disk to write.
	mu          sync.Mutex
	idle        *sync.Cond               // signalled when flushing ends
	pending     map[batos.OID]pendingRev // newest revisions accepted and not yet durable
	queue       []*batch                 // accepted, in order; the last takes more
	flushing    bool                     // some goroutine is writing a batch
	tid         batos.TID                // of the last accepted transaction
	nextPos     uint64                   // where the next transaction goes
	segBase     uint64                   // base of the segment it goes to
	poisoned    error                    // why nothing more is committed
	closed      bool                     //
	changed     chan struct{}            // closed when the state changes; nil: nobody waits
	spare       batch                    // room for the next one
	checkpoint  uint64                   // the end of the log at the last index written
	checkpoints sync.WaitGroup           // the goroutine writing an index, at most one
	indexing    bool                     // it is running
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Packer = (*Store)(nil)
)

// Open opens the image in a folder, which it makes if need be, and recovers
// what the last process left.
func Open(ctx context.Context, fsys vfs.FS, dir string, o Options) (_ *Store, err error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 256 << 20
	}
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = 8 << 20
	}
	if o.MapBytes == 0 {
		o.MapBytes = 512 << 20
	}
	o.ReadOnly = o.ReadOnly || o.Salvage
	s := &Store{fsys: fsys, dir: dir, o: o, pending: map[batos.OID]pendingRev{}, care: make(chan struct{}, 1)}
	s.idle = sync.NewCond(&s.mu)
	defer func() {
		if err != nil {
			s.closing.Store(true)
			_ = s.release() // the first error is the one to tell
			err = fileError("open the image "+dir, err)
		}
	}()
	s.snaps.open = map[batos.TID]int{}
	if !o.ReadOnly {
		for _, d := range []string{dir, s.path(LogDir), s.path(BlobDir)} {
			if err := makeDir(fsys, d); err != nil {
				return nil, err
			}
		}
	} else if _, err := fsys.Stat(dir); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if s.lock, err = fsys.Lock(s.path(LockFile), false); err != nil {
			return nil, err
		}
	}
	if _, err := fsys.Stat(s.path(restoreFile)); err == nil {
		return nil, batos.Errorf(batos.Corrupt, "a restore into %s was not finished: restore again", dir)
	}
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	s.mapSegments()
	now := s.idx.now()
	s.tid, s.nextPos, s.segBase, s.checkpoint = now.last, now.end, s.segs.last().base, now.end-uint64(s.recovery.replayedBytes)
	s.nextOID.Store(uint64(now.next))
	return s, nil
}

// makeDir makes a folder and those above it, durably. A folder that is there
// already may have been made by a process that died before it synced.
func makeDir(fsys vfs.FS, dir string) error {
	up := filepath.Dir(dir)
	_, err := fsys.Stat(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing || up == dir {
		return err
	}
	if missing {
		if err := makeDir(fsys, up); err != nil {
			return err
		}
		if err := fsys.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	err = fsys.SyncDir(up)
	if !missing && errors.Is(err, fs.ErrPermission) {
		return nil // then it is older than this image: who made it here could sync it
	}
	return err
}

// Holder tells who has the image in a folder open for writing, or "" if nobody
// has it.
func Holder(fsys vfs.FS, dir string) (string, error) {
	name := filepath.Join(dir, LockFile)
	if _, err := fsys.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	lock, err := fsys.Lock(name, true)
	var held *vfs.HeldError
	if errors.As(err, &held) {
		return cmp.Or(held.Holder, "another process"), nil
	}
	if err != nil {
		return "", fileError("look who has "+dir, err)
	}
	return "", lock.Close()
}

func (s *Store) mapSegments() { s.segs.mapNewest(s.o.MapBytes, s.o.SegmentBytes) }

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Recovery tells what opening found and repaired.
func (s *Store) Recovery() Recovery { return s.recovery }

// LastTID implements [store.Store].
func (s *Store) LastTID() batos.TID { return s.idx.now().last }

// NewOIDs implements [store.Store].
func (s *Store) NewOIDs(ctx context.Context, n int) (batos.OID, error) {
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case s.o.ReadOnly:
		return 0, errReadOnly
	case s.closing.Load():
		return 0, errClosed
	case n <= 0:
		return 0, batos.Errorf(batos.Invalid, "cannot reserve %d oids", n)
	}
	end := s.nextOID.Add(uint64(n))
	if end > uint64(batos.DerivedOID) {
		s.nextOID.Store(uint64(batos.DerivedOID))
		return 0, batos.Errorf(batos.Limit, "the image has no more oids")
	}
	return batos.OID(end - uint64(n)), nil
}

// Wait implements [store.Store].
func (s *Store) Wait(ctx context.Context, after batos.TID) (batos.TID, error) {
	if s.o.ReadOnly {
		return s.waitFollowing(ctx, after)
	}
	for {
		s.mu.Lock()
		last, closed := s.idx.now().last, s.closed
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if last > after {
			return last, nil
		}
		if closed {
			return 0, errClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// wake tells everyone in Wait to look again; mu is held.
func (s *Store) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Stats implements [store.Store].
func (s *Store) Stats() store.Stats {
	now := s.idx.now()
	out := store.Stats{
		Objects:      now.objects,
		Transactions: now.transactions,
		LogBytes:     int64(now.end),
		BlobBytes:    s.blobs.bytes(),
	}
	for _, seg := range s.segs.all() {
		if p := seg.packed; p != nil {
			out.LogBytes -= int64(p.end-seg.base) - p.size
			out.Transactions -= p.transactions
		}
	}
	out.DiskFree, out.DiskTotal = vfs.Space(s.fsys, s.dir)
	out.Growth = s.growth(now)
	return out
}

// growth is how many bytes the log gets in a day, as in the last window.
func (s *Store) growth(now state) int64 {
	end := batos.TIDAt(s.o.Clock())
	from, ok := s.idx.markFor(end - batos.TID(store.GrowthWindow.Microseconds()))
	if !ok || from.tid >= end {
		return 0
	}
	const day = 24 * time.Hour
	took := end.Time().Sub(from.tid.Time())
	return int64(float64(now.end-from.pos) * float64(day) / float64(max(took, store.GrowthWindow)))
}

// Close implements [store.Store]. A second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.closing.Store(true)
	for s.flushing {
		s.idle.Wait()
	}
	s.wake()
	poisoned := s.poisoned != nil
	s.mu.Unlock()
	s.checkpoints.Wait()
	s.care <- struct{}{} // a pack or backup notices that it has to end
	defer func() { <-s.care }()

	var err error
	if !s.o.ReadOnly && !poisoned {
		last := s.segs.last()
		err = last.f.Truncate(int64(s.nextPos - last.base))
		if err == nil {
			err = s.writeIndex()
		}
		if err != nil {
			err = fileError("write the index (nothing is lost, the next start takes longer)", err)
		}
	}
	return errors.Join(err, s.release())
}

// release closes what is open.
func (s *Store) release() error {
	var err error
	for _, seg := range s.segs.all() {
		err = errors.Join(err, seg.f.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
