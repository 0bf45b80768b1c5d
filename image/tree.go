package image

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
	"slices"
	"strconv"

	"batos"
	"batos/internal/codec"
	"batos/object"
)

// Tree is a persistent ordered map as one transaction sees it. Keys are ints,
// times, references, text, bytes, or tuples of those, and sort in that order,
// then by value. It is kept in pages, so that using a few keys of many loads
// and stores little.
//
// Transactions that use different keys never conflict. What counts as read is
// exactly what was asked: a key, the stretch between a range's bound and where
// the loop over it ended, or the number of keys.
type Tree struct {
	tx *Tx
	id batos.OID
	st *treeState
}

// treeState is one tree in one transaction.
type treeState struct {
	id    batos.OID
	base  *revision // its root record; nil: the snapshot has none
	fresh bool      // made by this transaction
	nodes *node     // the pages of pages of base that were used

	writes map[string]keyWrite // by encoded key
	sorted []string            // keys of writes, in order …
	tail   []string            // … and those that came since, in none

	gets      map[string]keyRead // keys looked up below writes
	ranges    []rangeRead
	readCount bool
	leaves    map[batos.OID]batos.TID // leaves these were read from, or the root record of an empty tree
}

type keyWrite struct {
	kind  writeKind // none, set or delete
	raw   string
	value object.Value
}

type keyRead struct {
	raw  string
	ok   bool
	leaf batos.OID // it was read from; the tree itself if that was empty
}

// rangeRead is a stretch of keys that was walked through, and a digest of what
// was there.
type rangeRead struct {
	from, to string // from <= key < to; "" is no bound
	desc     bool
	sum      [32]byte
}

// namesTree has the root names.
var namesTree = object.Tree(batos.DeriveOID("image", "names"))

// NewTree makes an empty tree. Keep what it answers in a slot: a tree that
// nothing refers to is lost.
func (tx *Tx) NewTree() (object.Tree, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	oid, err := tx.oids.take(tx.ctx)
	if err != nil {
		return 0, err
	}
	if tx.trees == nil {
		tx.trees = map[batos.OID]*treeState{}
	}
	st := &treeState{id: oid, fresh: true}
	tx.trees[oid] = st
	n := len(tx.made)
	tx.undoable(func() {
		st.fresh = false
		tx.made = tx.made[:n]
	})
	tx.made = append(tx.made, oid)
	return object.Tree(oid), nil
}

// Tree gives a tree's entries. It answers at once; that there is no such tree
// is an error, with code not_found, of the first use. A tree whose OID is
// derived from a name always exists, and is empty until it is written to.
func (tx *Tx) Tree(t object.Tree) *Tree {
	return &Tree{tx: tx, id: batos.OID(t)}
}

// Names is the tree of root names: text keys, references as values.
func (tx *Tx) Names() *Tree { return tx.Tree(namesTree) }

// Name gives the object that a root name stands for.
func (tx *Tx) Name(name string) (batos.OID, bool, error) {
	v, ok, err := tx.Names().Get(object.Str(name))
	if err != nil || !ok {
		return 0, false, err
	}
	ref, ok := v.(object.Ref)
	if !ok {
		return 0, false, batos.Errorf(batos.Corrupt, "root name %q stands for a %s instead of an object", name, v.Kind())
	}
	return batos.OID(ref), true, nil
}

// SetName makes a root name stand for an object, or for nothing if oid is 0.
func (tx *Tx) SetName(name string, oid batos.OID) error {
	if oid == 0 {
		_, err := tx.Names().Delete(object.Str(name))
		return err
	}
	return tx.Names().Set(object.Str(name), object.Ref(oid))
}

// ID is what slots hold to refer to the tree.
func (t *Tree) ID() object.Tree { return object.Tree(t.id) }

// state finds or loads the tree.
func (t *Tree) state() (*treeState, error) {
	if t.tx.done {
		return nil, t.tx.usable()
	}
	if t.st == nil {
		st, err := t.tx.treeState(t.id)
		if err != nil {
			return nil, err
		}
		t.st = st
	}
	if !t.st.fresh && t.st.base == nil && !t.id.Derived() {
		return nil, batos.Errorf(batos.NotFound, "there is no tree %s", t.id)
	}
	return t.st, nil
}

func (tx *Tx) treeState(id batos.OID) (*treeState, error) {
	if st := tx.trees[id]; st != nil {
		return st, nil
	}
	if id == 0 {
		return nil, batos.Errorf(batos.NotFound, "oid 0 is no tree")
	}
	if tx.under != nil && tx.under.trees[id] != nil {
		if tx.trees == nil {
			tx.trees = map[batos.OID]*treeState{}
		}
		tx.trees[id] = tx.under.trees[id].above()
		return tx.trees[id], nil
	}
	rev, err := tx.load(id)
	if err != nil {
		return nil, err
	}
	if rev != nil && rev.root == nil {
		return nil, batos.Errorf(batos.NotFound, "%s is not a tree", id)
	}
	if tx.trees == nil {
		tx.trees = map[batos.OID]*treeState{}
	}
	st := &treeState{id: id, base: rev}
	tx.trees[id] = st
	return st, nil
}

func (st *treeState) top() batos.OID {
	if st.base == nil {
		return 0
	}
	return st.base.root.Top
}

func (st *treeState) count() int64 {
	if st.base == nil {
		return 0
	}
	return st.base.root.Count
}

// Get gives what key holds.
func (t *Tree) Get(key object.Value) (object.Value, bool, error) {
	k, err := codec.EncodeKey(key)
	if err != nil {
		return nil, false, err
	}
	st, err := t.state()
	if err != nil {
		return nil, false, err
	}
	if w, ok := st.writes[k]; ok && w.kind != writeNone {
		return w.value, w.kind == writeSet, nil
	}
	raw, ok, err := t.tx.below(st, k)
	if err != nil || !ok {
		return nil, false, err
	}
	return t.decode(k, raw)
}

func (t *Tree) decode(key, raw string) (object.Value, bool, error) {
	v, err := codec.DecodeValue([]byte(raw))
	if err != nil {
		return nil, false, batos.Errorf(batos.CodeOf(err), "tree %s, key %x: %w", t.id, key, err)
	}
	return v, true, nil
}

// below gives what the snapshot has for a key, and counts it as read.
func (tx *Tx) below(st *treeState, key string) (raw string, ok bool, err error) {
	if r, known := st.gets[key]; known {
		return r.raw, r.ok, nil
	}
	leaf, err := tx.leafFor(st, key)
	if err != nil {
		return "", false, err
	}
	raw, ok = getIn(leaf, key)
	if !tx.readOnly && !st.fresh {
		if st.gets == nil {
			st.gets = map[string]keyRead{}
		}
		st.gets[key] = keyRead{raw, ok, st.visited(leaf)}
	}
	return raw, ok, nil
}

// node is a page of pages with those below it, as far as they were used. They
// are few beside the leaves, which only the cache keeps.
type node struct {
	page *codec.Inner
	kids []*node // nil: not used yet, or a leaf
}

// leafFor is findLeaf over the snapshot.
func (tx *Tx) leafFor(st *treeState, key string) (*revision, error) {
	at, oid := &st.nodes, st.top()
	if oid == 0 {
		return nil, nil
	}
	for range maxHeight {
		if *at == nil {
			rev, err := page(tx.load, st.id, oid)
			if err != nil || rev.leaf != nil {
				return rev, err
			}
			*at = &node{rev.inner, make([]*node, len(rev.inner.Kids))}
		}
		n := *at
		i := kidFor(n.page, key)
		at, oid = &n.kids[i], n.page.Kids[i]
	}
	return nil, batos.Errorf(batos.Corrupt, "tree %s runs in a circle", st.id)
}

// visited notes that a leaf was read. A nil one stands for an empty tree.
func (st *treeState) visited(leaf *revision) batos.OID {
	oid, tid := st.id, tidOf(st.base)
	if leaf != nil {
		oid, tid = leaf.oid, leaf.tid
	}
	if st.leaves == nil {
		st.leaves = map[batos.OID]batos.TID{}
	}
	st.leaves[oid] = tid
	return oid
}

// Set makes key hold v. What it held does not count as read.
func (t *Tree) Set(key, v object.Value) error {
	if err := t.tx.writable(); err != nil {
		return err
	}
	k, err := codec.EncodeKey(key)
	if err != nil {
		return err
	}
	if err := object.Check(v); err != nil {
		return err
	}
	st, err := t.state()
	if err != nil {
		return err
	}
	t.tx.writeKey(st, k, keyWrite{kind: writeSet, raw: string(codec.EncodeValue(v)), value: v})
	return nil
}

// Delete takes key away and reports whether it was there, which counts as
// read.
func (t *Tree) Delete(key object.Value) (bool, error) {
	if err := t.tx.writable(); err != nil {
		return false, err
	}
	_, ok, err := t.Get(key)
	if err != nil || !ok {
		return false, err
	}
	k, err := codec.EncodeKey(key)
	if err != nil {
		return false, err
	}
	t.tx.writeKey(t.st, k, keyWrite{kind: writeDelete})
	return true, nil
}

func (tx *Tx) writeKey(st *treeState, key string, w keyWrite) {
	before, known := st.writes[key]
	tx.undoable(func() { st.writes[key] = before })
	if st.writes == nil {
		st.writes = map[string]keyWrite{}
	}
	st.writes[key] = w
	if !known {
		st.tail = append(st.tail, key)
	}
}

// ordered gives the written keys in order.
func (st *treeState) ordered() []string {
	switch n := len(st.tail); {
	case n == 0:
		return st.sorted
	case n == 1:
		i, _ := slices.BinarySearch(st.sorted, st.tail[0])
		st.sorted = slices.Insert(st.sorted, i, st.tail[0])
	default:
		slices.Sort(st.tail)
		if last := len(st.sorted) - 1; last < 0 || st.sorted[last] < st.tail[0] {
			st.sorted = append(st.sorted, st.tail...)
			break
		}
		st.sorted = append(st.sorted, st.tail...)
		slices.Sort(st.sorted)
	}
	st.tail = st.tail[:0]
	return st.sorted
}

// Len is the number of keys. It counts as read: a transaction that asks for it
// conflicts with those that add or take away keys.
func (t *Tree) Len() (int64, error) {
	st, err := t.state()
	if err != nil {
		return 0, err
	}
	st.readCount = true
	n := st.count()
	for _, key := range st.ordered() {
		w := st.writes[key]
		if w.kind == writeNone {
			continue
		}
		_, was, err := t.tx.below(st, key)
		if err != nil {
			return 0, err
		}
		if is := w.kind == writeSet; is && !was {
			n++
		} else if was && !is {
			n--
		}
	}
	return n, nil
}

// Min gives the first entry.
func (t *Tree) Min() (key, v object.Value, ok bool, err error) { return first(t.Range(nil, nil)) }

// Max gives the last entry.
func (t *Tree) Max() (key, v object.Value, ok bool, err error) { return first(t.Backward(nil, nil)) }

func first(seq iter.Seq2[object.Entry, error]) (key, v object.Value, ok bool, err error) {
	for e, err := range seq {
		return e.Key, e.Value, err == nil, err
	}
	return nil, nil, false, nil
}

// Range yields the entries with from <= key < to in order; nil is no bound. An
// error is the last thing it yields. The tree may be changed meanwhile: what
// is ahead of the loop it will see.
func (t *Tree) Range(from, to object.Value) iter.Seq2[object.Entry, error] {
	return t.between(from, to, false)
}

// Backward yields the entries with from <= key < to from the last to the first.
func (t *Tree) Backward(from, to object.Value) iter.Seq2[object.Entry, error] {
	return t.between(from, to, true)
}

func (t *Tree) between(from, to object.Value, desc bool) iter.Seq2[object.Entry, error] {
	return func(yield func(object.Entry, error) bool) {
		lo, err := bound(from)
		if err != nil {
			yield(object.Entry{}, err)
			return
		}
		hi, err := bound(to)
		if err != nil {
			yield(object.Entry{}, err)
			return
		}
		st, err := t.state()
		if err == nil {
			err = t.walk(st, lo, hi, desc, yield)
		}
		if err != nil {
			yield(object.Entry{}, err)
		}
	}
}

func bound(key object.Value) (string, error) {
	if key == nil {
		return "", nil
	}
	return codec.EncodeKey(key)
}

// walk merges what the snapshot has between two bounds with what is written
// over it, and notes the stretch it went through as read.
func (t *Tree) walk(st *treeState, from, to string, desc bool, yield func(object.Entry, error) bool) error {
	read := rangeRead{from: from, to: to, desc: desc}
	var sum *digester
	c := cursor{load: t.tx.load, tree: t.id, desc: desc}
	if track := !t.tx.readOnly && !st.fresh; track {
		sum = newDigester()
		c.visit = func(leaf *revision) { st.visited(leaf) }
		if st.top() == 0 {
			st.visited(nil)
		}
		defer func() {
			read.sum = sum.sum()
			st.ranges = append(st.ranges, read)
		}()
	}
	start := from
	if desc {
		start = to
	}
	if err := c.seek(st.top(), start); err != nil {
		return err
	}
	if sum == nil && len(st.writes) == 0 && !desc {
		return t.scan(&c, to, yield)
	}
	at, begun := start, false // the key behind us; none yet: the bound
	for {
		key, raw, ok := c.entry()
		ok = ok && (desc && key >= from || !desc && (to == "" || key < to))
		written, more := st.nextWritten(at, begun, from, to, desc)
		if !ok && !more {
			return nil
		}
		if ok && (!more || key == written || key < written != desc) {
			if sum != nil {
				sum.add(key, raw)
			}
			if err := c.next(); err != nil {
				return err
			}
		} else {
			key, raw = written, ""
		}
		at, begun = key, true
		e, ok, err := t.entryOf(st, key, raw)
		if err != nil {
			return err
		}
		if ok && !yield(e, nil) {
			if desc { // the stretch ends here
				read.from = key
			} else {
				read.to = key + "\x00"
			}
			return nil
		}
	}
}

// scan is walk where nothing is written and nothing is noted as read.
func (t *Tree) scan(c *cursor, to string, yield func(object.Entry, error) bool) error {
	for c.leaf != nil {
		keys, values := c.leaf.Keys, c.leaf.Values
		n := len(keys)
		if to != "" && keys[n-1] >= to {
			n, _ = slices.BinarySearch(keys, to)
		}
		for i := c.i; i < n; i++ {
			v, _, err := t.decode(keys[i], values[i])
			if err != nil {
				return err
			}
			k, err := codec.DecodeKey(keys[i])
			if err != nil {
				return err
			}
			if !yield(object.Entry{Key: k, Value: v}, nil) {
				return nil
			}
		}
		if n < len(keys) {
			return nil
		}
		c.i = n
		if err := c.settle(); err != nil {
			return err
		}
	}
	return nil
}

// entryOf gives what a key holds now, which may be nothing: raw is what the
// snapshot has.
func (t *Tree) entryOf(st *treeState, key, raw string) (e object.Entry, ok bool, err error) {
	w := st.writes[key]
	switch {
	case w.kind == writeDelete, w.kind == writeNone && raw == "": // an encoded value is never empty
		return e, false, nil
	case w.kind == writeSet:
		e.Value = w.value
	default:
		if e.Value, _, err = t.decode(key, raw); err != nil {
			return e, false, err
		}
	}
	e.Key, err = codec.DecodeKey(key)
	return e, true, err
}

// nextWritten gives the written key that comes next after at.
func (st *treeState) nextWritten(at string, begun bool, from, to string, desc bool) (string, bool) {
	keys := st.ordered()
	i, found := slices.BinarySearch(keys, at)
	if desc {
		if !begun && at == "" {
			i = len(keys)
		}
		if i--; i < 0 || keys[i] < from {
			return "", false
		}
		return keys[i], true
	}
	if found && begun {
		i++
	}
	if i == len(keys) || to != "" && keys[i] >= to {
		return "", false
	}
	return keys[i], true
}

func digest(h hash.Hash, key, raw string) { h.Write(appendDigested(nil, key, raw)) }

func appendDigested(b []byte, key, raw string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
	return append(append(b, key...), raw...)
}

// digester is the digest of entries, of which it takes many at once.
type digester struct {
	h   hash.Hash
	buf []byte
}

func newDigester() *digester { return &digester{h: sha256.New()} }

func (d *digester) add(key, raw string) {
	if d.buf = appendDigested(d.buf, key, raw); len(d.buf) >= 1<<10 {
		d.h.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) sum() (out [32]byte) {
	d.h.Write(d.buf)
	d.buf = d.buf[:0]
	d.h.Sum(out[:0])
	return out
}

// again computes a stretch's digest as another view has it.
func (r *rangeRead) again(load loader, tree, top batos.OID) ([32]byte, error) {
	sum := newDigester()
	c := cursor{load: load, tree: tree, desc: r.desc}
	start := r.from
	if r.desc {
		start = r.to
	}
	if err := c.seek(top, start); err != nil {
		return [32]byte{}, err
	}
	for {
		key, raw, ok := c.entry()
		if !ok || r.desc && key < r.from || !r.desc && r.to != "" && key >= r.to {
			return sum.sum(), nil
		}
		sum.add(key, raw)
		if err := c.next(); err != nil {
			return [32]byte{}, err
		}
	}
}

// keyText prints an encoded key for a person.
func keyText(key string) string {
	v, err := codec.DecodeKey(key)
	if err != nil {
		return strconv.QuoteToASCII(key)
	}
	return object.Text(v, 60)
}
