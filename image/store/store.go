// Package store is the contract between an image and the place its
// transactions are kept. A store knows nothing of objects: it keeps opaque
// revisions (oid, tid, bytes, references, blobs), orders commits, and gives
// snapshots. It must be satisfiable by an embedded log and by SQL.
//
// Read in this order: [Store], [Snapshot], [Changes], [Write]; then what a
// store may do besides: [Packer], [Verifier], [Backer].
//
// Every implementation passes the conformance suite in storetest.
package store

import (
	"context"
	"io"
	"iter"

	"batos"
)

// Store is one open image's storage. All methods are safe for concurrent use.
type Store interface {
	// Snapshot gives a view of everything committed up to now, and nothing
	// later. Close it: an open snapshot holds back pack.
	Snapshot(ctx context.Context) (Snapshot, error)
	// SnapshotAt gives the view as of tid (the newest commit not after it). In
	// a past that was packed its TID may be that of no commit.
	SnapshotAt(ctx context.Context, tid batos.TID) (Snapshot, error)
	// LastTID is the newest durable commit, 0 in an empty store.
	LastTID() batos.TID
	// NewOIDs reserves n fresh OIDs below batos.DerivedOID and returns the
	// first. A reserved OID that is never written is lost, never given twice,
	// also across crashes of transactions that did commit.
	NewOIDs(ctx context.Context, n int) (batos.OID, error)
	// Commit makes c durable and visible, all or nothing, and returns its
	// TID. When it returns nil the changes survive a crash. Concurrent calls
	// share one sync (group commit). A cancelled ctx stops it only before the
	// changes are accepted. Any error but store_poisoned means that nothing
	// was committed; after that one a reopened store has all of c or nothing.
	Commit(ctx context.Context, c *Changes) (batos.TID, error)
	// NewBlob opens a staged blob. Nothing is visible before a commit names it.
	NewBlob(ctx context.Context) (BlobWriter, error)
	// OpenBlob opens a committed blob by its content hash.
	OpenBlob(ctx context.Context, hash BlobHash) (Blob, error)
	// History yields the revisions of one object, newest first, without those
	// that were packed away (see [Revision.Gap]).
	History(ctx context.Context, oid batos.OID) iter.Seq2[Revision, error]
	// Transactions yields commits with from <= TID <= to, oldest first, without
	// the revisions that were packed away (see [Transaction.Packed]) and those
	// of which nothing is left.
	Transactions(ctx context.Context, from, to batos.TID) iter.Seq2[*Transaction, error]
	// Wait returns the newest durable TID once it is greater than after, or
	// the context's error.
	Wait(ctx context.Context, after batos.TID) (batos.TID, error)
	Stats() Stats
	// Close waits for commits under way, writes the index and releases the lock.
	Close() error
}

// Snapshot is an immutable view. Safe for concurrent use.
type Snapshot interface {
	TID() batos.TID
	// Load gives the newest revision not after TID. An error with code
	// not_found if there is none or it is a deletion; with code packed if it
	// was packed away, which a snapshot is safe from that was open before, and
	// one of the past is not. Data must not be changed.
	Load(ctx context.Context, oid batos.OID) (Revision, error)
	Close() error
}

// Loader is what a [Snapshot] may be besides: one that loads without making
// garbage.
type Loader interface {
	// LoadInto is Load without Refs and Blobs. Data is a part of *buf, which
	// it makes longer if need be, and is good until *buf is used again.
	LoadInto(ctx context.Context, oid batos.OID, buf *[]byte) (Revision, error)
}

// Newest is what [Changes.Rebase] reads: the newest revisions, those that are
// accepted but not yet durable included, frozen while Rebase runs.
type Newest interface {
	// Load is as Snapshot.Load, at the very front of the commit order.
	Load(oid batos.OID) (Revision, error)
	// TID is that of what Load gives, 0 if there is no such object. It is
	// quick, for those who have kept the revision.
	TID(oid batos.OID) batos.TID
}

// Changes is one transaction's write set.
type Changes struct {
	Meta   []byte // opaque to the store, kept with the transaction
	Writes []Write
	Reads  []Read // revisions that must still be the newest
	// Rebase is called, with commits held, when a Base or Read is no longer
	// the newest. It answers the whole new write set for the state it is
	// shown, or an error (normally code conflict) which Commit returns. It
	// may be called from another goroutine, and must not call the store. Nil
	// means: conflict.
	Rebase func(Newest) ([]Write, error)
	// Late says that there are no Writes yet, since they would be stale:
	// Rebase is called in any case.
	Late bool
	// Accepted, if there is one, is called once the changes have their TID and
	// their place in the order, and before another Rebase sees them. They may
	// still fail; their TID is never used again. The rest is as with Rebase. A
	// store that keeps no order before the disk does may leave it out.
	Accepted func(batos.TID)
}

// Write is a new revision of one object.
type Write struct {
	OID    batos.OID
	Base   batos.TID   // the revision it was made from; 0: it must not exist (never made, or deleted). A deletion's own is as good, until it is packed away
	Data   []byte      // the store keeps no reference to it after Commit returns
	Refs   []batos.OID // the objects that Data refers to
	Blobs  []BlobHash  // the blobs that Data refers to; staged or committed before
	Delete bool        // the object ends here; Data is empty
}

// Read is a revision that must not have changed.
type Read struct {
	OID batos.OID
	TID batos.TID // 0: must still not exist (never made, or deleted)
}

// Revision is one state of one object.
type Revision struct {
	OID    batos.OID
	TID    batos.TID
	Data   []byte
	Refs   []batos.OID
	Blobs  []BlobHash
	Delete bool
	Gap    bool // in a history: revisions right before this one were packed away; may be false where with them the object ended
}

// Transaction is one commit as it stands in the log.
type Transaction struct {
	TID       batos.TID
	Meta      []byte
	Revisions []Revision
	Packed    int // how many more revisions it had
}

// BlobHash is the SHA-256 of a blob's content.
type BlobHash [32]byte

// BlobWriter receives a blob's bytes into the staging area.
type BlobWriter interface {
	io.Writer
	// Seal syncs the bytes and names them by content. A sealed blob that no
	// commit refers to is removed at the next open.
	Seal() (hash BlobHash, size int64, err error)
	// Abort drops the staged bytes. A no-op after Seal.
	Abort() error
}

// Blob is a committed blob, verified per MiB as it is read.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
	// Path is the file for readers that must map it (an engine), or "" where
	// the store has no files. Reads through it are not verified.
	Path() string
	// Verify reads it all against its hashes.
	Verify(ctx context.Context) error
}

// Stats are sizes in numbers and bytes. [Stats.Warnings] reads them.
type Stats struct {
	Objects, Transactions int64 // that exist, that the log still holds
	LogBytes, BlobBytes   int64 // on the disk
	DiskFree, DiskTotal   int64 // where the store is; 0: not known
	Growth                int64 // of the log in bytes a day, over the last GrowthWindow
}
