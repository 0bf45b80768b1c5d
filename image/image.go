// Package image is a living image: objects in slots, transactions, history.
package image

import (
	"context"
	"io"
	"iter"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
	"batos/object"
)

// Options of [Open]; the zero value is good.
type Options struct {
	FS         vfs.FS // nil: the machine's own
	CacheBytes int64  // bound of the cache of decoded revisions; 0: 64 MiB
	ReadOnly   bool
}

// Image is one open image. Safe for concurrent use.
type Image struct{}

// Meta says on whose word a transaction was made.
type Meta struct {
	Author     batos.Authority
	AuthorName string
	Message    batos.MessageID
	Note       string
	Undoes     batos.TID // the transaction this one takes back, or 0
}

// Revision is one past state of an object.
type Revision struct {
	OID     batos.OID
	TID     batos.TID
	Meta    Meta
	State   *object.State // nil if Deleted
	Deleted bool
}

// Transaction is one commit as the log has it.
type Transaction struct {
	TID     batos.TID
	Meta    Meta
	Objects []batos.OID // the objects it wrote, ascending
	Trees   []batos.OID // the trees it wrote, ascending
}

// Stats are sizes and cache figures.
type Stats struct {
	store.Stats
	CacheBytes, CacheHits, CacheMisses int64
}

func Open(ctx context.Context, dir string, o Options) (*Image, error) { panic("being written") }
func (im *Image) View(ctx context.Context, fn func(*Tx) error) error  { panic("being written") }
func (im *Image) Update(ctx context.Context, fn func(*Tx) error) (batos.TID, error) {
	panic("being written")
}
func (im *Image) Begin(ctx context.Context) (*Tx, error) { panic("being written") }
func (im *Image) BeginAt(ctx context.Context, tid batos.TID) (*Tx, error) {
	panic("being written")
}
func (im *Image) LastTID() batos.TID { panic("being written") }
func (im *Image) Wait(ctx context.Context, after batos.TID) (batos.TID, error) {
	panic("being written")
}
func (im *Image) History(ctx context.Context, oid batos.OID) iter.Seq2[Revision, error] {
	panic("being written")
}
func (im *Image) Log(ctx context.Context, from, to batos.TID) iter.Seq2[Transaction, error] {
	panic("being written")
}
func (im *Image) Undo(ctx context.Context, tid batos.TID, m Meta) (batos.TID, error) {
	panic("being written")
}
func (im *Image) Stats() Stats { panic("being written") }
func (im *Image) Close() error { panic("being written") }
func (im *Image) NewBlob(ctx context.Context, r io.Reader) (object.Blob, error) {
	panic("being written")
}
func (im *Image) OpenBlob(ctx context.Context, b object.Blob) (store.Blob, error) {
	panic("being written")
}

// Scratch is a transaction over any snapshot that can never commit.
func Scratch(ctx context.Context, snap store.Snapshot) *Tx { panic("being written") }
