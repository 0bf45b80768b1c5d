package image

import (
	"batos"
	"batos/object"
)

// Queue is a tree as a queue, first in first out: the entries of a transaction
// that began after another's commit come behind that one's, and those of one
// transaction in the order in which they were put.
//
// Transactions that put never conflict, neither with each other nor with those
// that take from a queue that is not empty. Two that take do: one of them runs
// again, and gets the next entry. What finds the queue empty conflicts with
// whoever puts something.
type Queue struct {
	tx    *Tx
	tree  *Tree
	place batos.OID // tells this transaction's entries from others'; 0: none yet
	n     int64
}

// Queue gives the queue that a tree of [Tx.NewTree] holds. Use the tree for
// nothing else.
func (tx *Tx) Queue(t object.Tree) *Queue { return &Queue{tx: tx, tree: tx.Tree(t)} }

// Put adds v at the end.
func (q *Queue) Put(v object.Value) error {
	if err := q.tx.writable(); err != nil {
		return err
	}
	if q.place == 0 {
		place, err := q.tx.oids.take(q.tx.ctx) // nobody else has it, ever
		if err != nil {
			return err
		}
		q.place = place
	}
	q.n++
	at := object.NewInt(int64(q.tx.at))
	return q.tree.Set(&object.Tuple{Items: []object.Value{at, object.NewInt(int64(q.place)), object.NewInt(q.n)}}, v)
}

// Take takes the first entry away and gives it; ok is false if there is none.
func (q *Queue) Take() (v object.Value, ok bool, err error) {
	key, v, ok, err := q.tree.Min()
	if err != nil || !ok {
		return nil, false, err
	}
	_, err = q.tree.Delete(key)
	return v, err == nil, err
}

// Len is how many entries there are. It counts as read: see [Tree.Len].
func (q *Queue) Len() (int64, error) { return q.tree.Len() }
