// Package image is a living image: a transactional world of prototype objects
// that keeps its whole history. Use it as an embedded object database; the
// rest of the system does.
//
//	im, err := image.Open(ctx, "./live_image", image.Options{})
//	tid, err := im.Update(ctx, func(tx *image.Tx) error {
//		oid, err := tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "count", Value: object.NewInt(1)}))
//		if err != nil {
//			return err
//		}
//		return tx.SetName("counter", oid)
//	})
//
// # The parts
//
//   - [Open] gives an [Image]. [Image.View] and [Image.Update] run a function
//     in a transaction; [Image.Begin] is for those who need the transaction in
//     their own hands.
//   - A [Tx] reads and writes objects slot by slot: [Tx.Slot], [Tx.Lookup]
//     (through parents), [Tx.SetSlot], [Tx.Create], [Tx.Clone], [Tx.AddCounter].
//     [Tx.Savepoint] and [Tx.Rollback] take part of it back.
//   - Root names lead to objects: [Tx.Name], [Tx.SetName]. What nothing leads
//     to is lost, but for history.
//   - A [Tree] is an ordered map for large collections, a [Queue] one that many
//     put into and take from. A blob, from [Image.NewBlob], is for large bytes.
//     All are referred to from slots.
//   - Nothing is ever overwritten: [Image.BeginAt] shows the image at any past
//     moment, [Image.History] one object's revisions, [Image.Log] all commits,
//     and [Image.Undo] takes one of them back.
//   - [Scratch] is a transaction without a commit, and [Tx.Changes] says what
//     one would write, for trials and comparisons.
//
// # What transactions promise
//
// A transaction sees one snapshot, plus its own writes. Transactions that
// commit are serializable: the outcome is as if they had run one after the
// other. The price is a conflict, which Update answers by running its function
// again. What conflicts is decided finely: two transactions that use different
// slots of one object, or different keys of one tree, do not, and additions to
// a counter never do. A transaction that only reads never conflicts and never
// waits.
//
// When Commit returns, the transaction is on the disk. A crash at any moment
// leaves every committed transaction whole, and no part of any other.
//
// # Inside
//
// A transaction keeps what it wrote as operations on slots (handle.go) and
// keys (tree.go), and what it read beside them. Commit (commit.go) turns
// operations into new revisions, first over the snapshot, and, when the store
// reports that something moved on, again over the newest state, after checking
// that what was read is still so. That second time happens inside the store's
// commit order, so it always succeeds or is a true conflict. Trees are B+trees
// of small pages (pages.go, cursor.go). Decoded revisions are shared by all
// transactions through a cache (cache.go).
package image
