package image

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
	"batos/object"
)

// Options of [Open]; the zero value is good.
type Options struct {
	// FS is where the image's folder is; nil is the machine's own files.
	FS vfs.FS
	// CacheBytes bounds the memory of the decoded revisions that are kept;
	// 0 is 128 MiB.
	CacheBytes int64
	// ReadOnly opens an image without changing a byte of it, also while another
	// process writes it: each new transaction sees what that one committed.
	// Commits are refused with code denied.
	ReadOnly bool
	// Salvage opens what is left of a damaged image that nobody writes, for
	// reading only, also without its index: for [Image.Salvage].
	Salvage bool
}

const (
	defaultCache = 128 << 20
	// scratchCache bounds what a transaction without an image keeps decoded.
	scratchCache = 32 << 20
	// maxAttempts bounds how often Update runs its function; after fairAttempts
	// conflicts it asks for a turn.
	maxAttempts  = 50
	fairAttempts = 3
)

// Image is one open image. All methods are safe for concurrent use.
type Image struct {
	store    store.Store
	cache    *cache
	oids     *oids
	readOnly bool
	recovery string
	damage   []store.Problem // what Options.Salvage passed over
	commits  commits
	turns    turns
}

// Open opens the image in a folder, or makes a new one there. Only one process
// may have an image open for writing: a second gets an error with code locked.
// An image that a newer release wrote is one with code newer_format, damage
// that a crash does not explain one with code corrupt.
func Open(ctx context.Context, dir string, o Options) (*Image, error) {
	fsys := o.FS
	if fsys == nil {
		fsys = vfs.OS()
	}
	o.ReadOnly = o.ReadOnly || o.Salvage
	var im *Image
	st, err := logstore.Open(ctx, fsys, dir, logstore.Options{ReadOnly: o.ReadOnly, Salvage: o.Salvage, Followed: func(tid batos.TID, oids []batos.OID) {
		if im != nil { // else nothing is in its cache yet
			im.cache.followed(tid, oids)
		}
	}})
	if err != nil {
		return nil, err
	}
	im = over(st, o)
	im.recovery, im.damage = st.Recovery().String(), st.Recovery().Damage
	return im, nil
}

// Exists reports whether the folder holds an image, or what is left of one that
// lost its log: [Open] says what is wrong with that.
func Exists(dir string) (bool, error) {
	for _, part := range []string{logstore.LogDir, logstore.IndexFile} {
		info, err := os.Stat(filepath.Join(dir, part))
		switch {
		case err == nil && info.IsDir() == (part == logstore.LogDir):
			return true, nil
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		case errors.Is(err, fs.ErrPermission):
			return false, batos.Errorf(batos.Denied, "look for an image in %s: %w", dir, err)
		default:
			return false, err
		}
	}
	return false, nil
}

// Holder tells who has the image in a folder open for writing: a process and
// since when, or "" if nobody has it.
func Holder(dir string) (string, error) { return logstore.Holder(vfs.OS(), dir) }

// over makes an image of an open store, of which it must be the only writer.
func over(st store.Store, o Options) *Image {
	size := o.CacheBytes
	if size <= 0 {
		size = defaultCache
	}
	return &Image{store: st, cache: newCache(size, st.LastTID()), oids: &oids{reserve: st.NewOIDs}, readOnly: o.ReadOnly, turns: newTurns()}
}

// View runs fn in a transaction over the newest snapshot that can only read.
// It never conflicts. The transaction ends when fn returns.
func (im *Image) View(ctx context.Context, fn func(*Tx) error) error {
	tx, err := im.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Abort()
	tx.readOnly = true
	return fn(tx)
}

// Update runs fn in a transaction and commits it, or aborts it if fn returns
// an error or panics. When the commit conflicts with another, fn runs again
// from its start on a newer snapshot, a bounded number of times: it must not
// leave traces outside the transaction, nor update the image by another one.
// After that the error has code conflict. The TID is that of [Tx.Commit]. What
// fn itself commits or aborts is over, and an error with code invalid.
func (im *Image) Update(ctx context.Context, fn func(*Tx) error) (batos.TID, error) {
	for attempt := 1; ; attempt++ {
		tid, again, err := im.try(ctx, fn, attempt > fairAttempts)
		if !again || attempt == maxAttempts {
			return tid, err
		}
	}
}

// try is one attempt of Update, with the turn if that is asked for. Again says
// that the commit conflicted; a conflict that fn finds itself would be found
// again.
func (im *Image) try(ctx context.Context, fn func(*Tx) error, turn bool) (tid batos.TID, again bool, err error) {
	if turn {
		var end func()
		turn, end = im.turns.take(ctx)
		defer end()
	}
	tx, err := im.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer tx.Abort()
	tx.turn = turn
	if err := fn(tx); err != nil {
		return 0, false, err
	}
	if tx.done {
		return 0, false, batos.Errorf(batos.Invalid, "the function ended its transaction itself, which is what Update does: what it committed stays")
	}
	tid, err = tx.Commit(ctx)
	return tid, err != nil && tx.doom == nil && batos.CodeOf(err) == batos.Conflict, err
}

// Begin starts a transaction over the newest snapshot. End it with Commit or
// Abort. What it reads it reads under ctx.
func (im *Image) Begin(ctx context.Context) (*Tx, error) {
	snap, err := im.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return im.begin(ctx, snap), nil
}

// BeginAt starts a transaction that sees the image as it was right after tid
// and can only read; for a moment in time, tid is [batos.TIDAt] of it. Before
// the first commit the image is empty. A tid that was packed away is an error
// with code packed, here or when what is gone is read.
func (im *Image) BeginAt(ctx context.Context, tid batos.TID) (*Tx, error) {
	if tid >= im.store.LastTID() {
		// The newest snapshot may be newer than tid only if tid is newer than
		// everything that was committed when it was asked for.
		tx, err := im.Begin(ctx)
		if err != nil || tx.at <= tid {
			if tx != nil {
				tx.readOnly = true
			}
			return tx, err
		}
		tx.Abort()
	}
	snap, err := im.store.SnapshotAt(ctx, tid)
	if err != nil {
		return nil, err
	}
	tx := im.begin(ctx, snap)
	tx.readOnly = true
	return tx, nil
}

func (im *Image) begin(ctx context.Context, snap store.Snapshot) *Tx {
	return &Tx{ctx: ctx, im: im, snap: snap, at: snap.TID(), cache: im.cache, oids: im.oids}
}

// Scratch is a transaction over any snapshot: it reads and writes as others
// do, and can show its [Tx.Changes], but never commit. Objects it makes have
// OIDs of no store. A quarantined trial runs in one, and so does a branch.
// Abort it when done; that closes the snapshot.
func Scratch(ctx context.Context, snap store.Snapshot) *Tx {
	return &Tx{
		ctx: ctx, snap: snap, at: snap.TID(), cache: newCache(scratchCache, snap.TID()),
		oids: &oids{reserve: func() func(context.Context, int) (batos.OID, error) {
			next := batos.DerivedOID >> 1 // half of what a store hands out is never reached
			return func(_ context.Context, n int) (batos.OID, error) {
				first := next
				next += batos.OID(n)
				return first, nil
			}
		}()},
	}
}

// Recovery tells in a line what opening found and repaired.
func (im *Image) Recovery() string { return im.recovery }

// Snapshot is the newest state of the store below the objects, for a
// transaction of [Scratch], here or in another process. Close it.
func (im *Image) Snapshot(ctx context.Context) (store.Snapshot, error) {
	return im.store.Snapshot(ctx)
}

// LastTID is the newest durable commit, 0 in an empty image.
func (im *Image) LastTID() batos.TID { return im.store.LastTID() }

// Wait gives the newest durable TID once it is greater than after, or ctx's
// error.
func (im *Image) Wait(ctx context.Context, after batos.TID) (batos.TID, error) {
	return im.store.Wait(ctx, after)
}

// Stats are sizes of the store, and how the cache of decoded revisions does.
type Stats struct {
	store.Stats
	CacheBytes             int64 // of memory, within about a tenth
	CacheHits, CacheMisses int64
}

// Stats measures the image.
func (im *Image) Stats() Stats {
	out := Stats{Stats: im.store.Stats()}
	out.CacheBytes, out.CacheHits, out.CacheMisses = im.cache.stats()
	return out
}

// Close waits for commits under way and closes the store. Transactions still
// open can read no more.
func (im *Image) Close() error { return im.store.Close() }

// NewBlob stores what r has as a blob. It becomes part of the image when a
// transaction commits a value that holds it, and is removed some time later if
// none does.
func (im *Image) NewBlob(ctx context.Context, r io.Reader) (object.Blob, error) {
	if im.readOnly {
		return object.Blob{}, errReadOnly()
	}
	w, err := im.store.NewBlob(ctx)
	if err != nil {
		return object.Blob{}, err
	}
	if _, err := io.Copy(w, contextReader{ctx, r}); err != nil {
		return object.Blob{}, abandon(w, err)
	}
	hash, size, err := w.Seal()
	if err != nil {
		return object.Blob{}, abandon(w, err)
	}
	return object.Blob{Hash: hash, Size: size}, nil
}

func abandon(w store.BlobWriter, cause error) error {
	if err := w.Abort(); err != nil {
		return batos.Errorf(batos.CodeOf(cause), "%w (and the staged bytes stay behind: %v)", cause, err)
	}
	return cause
}

// contextReader ends a long copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// OpenBlob opens a committed blob. Every read is verified against its hashes.
func (im *Image) OpenBlob(ctx context.Context, b object.Blob) (store.Blob, error) {
	return im.store.OpenBlob(ctx, b.Hash)
}

// oids hands out fresh OIDs from ranges that a store reserves.
type oids struct {
	reserve func(ctx context.Context, n int) (batos.OID, error)

	mu        sync.Mutex
	next, end batos.OID
	returned  []batos.OID
}

const reserveOIDs = 256

func (o *oids) take(ctx context.Context) (batos.OID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.returned); n > 0 {
		oid := o.returned[n-1]
		o.returned = o.returned[:n-1]
		return oid, nil
	}
	if o.next == o.end {
		first, err := o.reserve(ctx, reserveOIDs)
		if err != nil {
			return 0, err
		}
		o.next, o.end = first, first+reserveOIDs
	}
	o.next++
	return o.next - 1, nil
}

// forget drops what was reserved: the OIDs are lost.
func (o *oids) forget() {
	o.mu.Lock()
	o.next, o.end, o.returned = 0, 0, nil
	o.mu.Unlock()
}

// giveBack returns OIDs that nobody has seen.
func (o *oids) giveBack(unused []batos.OID) {
	o.mu.Lock()
	o.returned = append(o.returned, unused...)
	o.mu.Unlock()
}

func errReadOnly() error {
	return batos.Errorf(batos.Denied, "the image is open for reading only")
}
