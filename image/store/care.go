package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"batos"
)

// What follows are capabilities that a store may have besides [Store]: ask for
// one with a type assertion. All of them work while the store is read and
// written.

// Packer gives back the space of revisions that nobody needs any more.
type Packer interface {
	// Pack removes revisions that no moment from o.Before on can see, except
	// those that o.Keep wants, and the blobs that only they referred to. Every
	// moment from Before on reads afterwards as it did before. Older moments
	// answer code packed where they would need what was removed. A pack that
	// was cut short, by ctx or by a crash, has done a part of its work, and the
	// next one goes on.
	Pack(ctx context.Context, o PackOptions) (PackReport, error)
	// Horizon is the oldest moment that is whole: of those before it, packs
	// may have removed something without a trace. Zero if nothing was packed.
	Horizon() batos.TID
}

// PackOptions say what Pack may remove.
type PackOptions struct {
	// Before is the oldest moment that stays whole. Snapshots that are open
	// hold it back.
	Before batos.TID
	// Keep is asked about every revision that could go, with the meta of its
	// transaction; true keeps both. It must not hold on to them or call the
	// store. Nil keeps nothing.
	Keep func(meta []byte, r *Revision) bool
	// DryRun only counts.
	DryRun bool
	// Progress, unless nil, is told now and then how far the work came. It
	// must not call the store.
	Progress func(PackProgress)
}

// PackProgress is how far Pack came.
type PackProgress struct {
	Done, Total int64 // bytes of log
	Revisions   int64 // removed so far, or to be removed
}

// PackReport says what Pack removed, or would remove.
type PackReport struct {
	Before       batos.TID // what it was packed to, which open snapshots held back
	Segments     int       // files rewritten
	Revisions    int64     // removed
	Transactions int64     // of which nothing is left
	Kept         int64     // old revisions that stay because of Keep
	Bytes        int64     // that the log is smaller by
	Blobs        int       // removed
	BlobBytes    int64
}

// Verifier looks for damage.
type Verifier interface {
	// Verify reads everything and yields what is wrong, as it finds it. An
	// error ends it: it could not look any further.
	Verify(ctx context.Context, o VerifyOptions) iter.Seq2[Problem, error]
}

// VerifyOptions say how much Verify looks at.
type VerifyOptions struct {
	// Roots are the objects by which all others must be reachable through
	// references. With none, nothing counts as unreachable.
	Roots []batos.OID
	// SkipBlobs leaves the content of blobs unread; missing ones are found.
	SkipBlobs bool
}

// ProblemKind says what is wrong.
type ProblemKind string

// The kinds of problems.
const (
	Damaged     ProblemKind = "damaged"      // bytes fail their checksum or make no sense
	WrongIndex  ProblemKind = "wrong_index"  // the index disagrees with the log; opening without it mends that
	BlobMissing ProblemKind = "blob_missing" // a blob that a revision refers to has no file
	WrongSums   ProblemKind = "wrong_sums"   // the checksums beside a blob are lost, the blob is whole; opening it mends that
	BlobAltered ProblemKind = "blob_altered" // a blob's file holds something else
	Dangling    ProblemKind = "dangling"     // an object refers to one that does not exist
	Unreachable ProblemKind = "unreachable"  // no path of references leads from the roots to an object
	Lost        ProblemKind = "lost"         // an object or blob cannot be read any more
)

// Problem is one thing that is wrong. What does not apply is zero.
type Problem struct {
	Kind   ProblemKind
	File   string    // where the bytes are
	Offset int64     // in File
	OID    batos.OID // the object concerned
	TID    batos.TID // its revision
	Target batos.OID // of a dangling reference
	Blob   BlobHash  // of a problem with a blob
	Since  batos.TID // the first moment that is concerned
	Text   string    // one line for a person
}

func (p Problem) String() string { return p.Text }

// Backer copies a store into a folder from which it can be restored.
type Backer interface {
	// Backup brings the backup in the folder dir up to date, or begins one
	// there. It copies only what the folder does not have yet. Whenever it is
	// cut short, the folder holds the backup as it was before, and the next
	// call goes on. A folder that holds something else is refused.
	Backup(ctx context.Context, dir string) (BackupReport, error)
}

// BackupReport says what Backup did.
type BackupReport struct {
	First     bool      // it was begun now
	Last      batos.TID // the newest transaction in it
	LogBytes  int64     // copied now
	Blobs     int       // copied now
	BlobBytes int64
}

// Lister knows what exists without reading everything.
type Lister interface {
	// Objects yields the objects that exist now, in no order. It needs no
	// part of the log to be intact.
	Objects(ctx context.Context) iter.Seq2[batos.OID, error]
}

// warnFree is the free space below which a disk is low in any case, and
// warnDays the time for which the free space has to last.
const (
	warnFree = 1 << 30
	warnDays = 14
)

// Warnings tells, in one line each, what of s will become a problem soon.
func (s Stats) Warnings() []string {
	var out []string
	if s.DiskTotal <= 0 {
		return nil
	}
	if s.DiskFree < warnFree || s.DiskFree < s.DiskTotal/50 {
		out = append(out, fmt.Sprintf("the disk is low: %s of %s are free", size(s.DiskFree), size(s.DiskTotal)))
	}
	if s.Growth > 0 && s.DiskFree/s.Growth < warnDays {
		out = append(out, fmt.Sprintf("the log grows by %s a day: the free %s last %d days; pack it or add space", size(s.Growth), size(s.DiskFree), s.DiskFree/s.Growth))
	}
	return out
}

// GrowthWindow is the time over which growth is measured.
const GrowthWindow = 24 * time.Hour

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
