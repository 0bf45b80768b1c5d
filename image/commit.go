package image

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// Commit makes the transaction's writes durable, all or nothing, and ends it.
// It gives the new TID; a transaction that writes nothing commits nothing and
// gives the TID of its snapshot.
//
// Transactions are serializable: everything that counts as read must still be
// so at the front of the commit order, slot by slot and key by key, or the
// error has code conflict and names the first difference. Other changes that
// were committed meanwhile, to the same objects and trees, are kept: the
// writes are made again on top of them.
//
// Once the store has the writes, ctx no longer stops it: the answer is always
// the outcome. When it is a conflict, what it was with is durable by then, so
// that a transaction begun anew sees it.
func (tx *Tx) Commit(ctx context.Context) (batos.TID, error) {
	if err := tx.usable(); err != nil {
		return 0, err
	}
	defer tx.Abort()
	switch {
	case tx.doom != nil:
		return 0, tx.doom
	case tx.readOnly:
		return tx.at, nil
	case tx.im == nil:
		return 0, batos.Errorf(batos.Invalid, "a scratch transaction cannot be committed")
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := tx.meta.check(); err != nil {
		return 0, err
	}
	p := &plan{tx: tx, ctx: ctx, buf: encodeBuffers.Get().(*[]byte)}
	defer p.release()
	var writes []store.Write
	late := p.late()
	if !late {
		var err error
		writes, err = p.make(tx.base, false)
		switch {
		case err != nil:
			return 0, err
		case len(writes) == 0:
			return tx.at, nil
		case tx.im.readOnly:
			return 0, errReadOnly()
		}
	}
	if err := p.stock(); err != nil {
		return 0, err
	}
	if !tx.turn {
		tx.im.turns.giveWay(ctx)
	}
	p.mark(writes)
	tx.im.commits.begin()
	tid, err := tx.im.store.Commit(ctx, &store.Changes{
		Meta: tx.meta.encode(), Writes: writes, Reads: tx.reads(writes), Rebase: p.rebase, Late: late, Accepted: p.accepted,
	})
	p.finish(tid, err)
	tx.im.commits.end()
	if err == nil {
		return tid, nil
	}
	if batos.CodeOf(err) == batos.Conflict {
		tx.im.commits.settle(ctx, func() bool { return tx.im.store.LastTID() > tx.at })
	}
	return 0, err
}

// plan turns a transaction into a store's write set, once for the snapshot and
// again for every newer state that the store shows it.
type plan struct {
	tx     *Tx
	ctx    context.Context
	spare  []batos.OID // for new pages
	used   int         // of spare, by the latest write set
	fixed  bool        // spare cannot grow: the store must not be called
	result []result    // of the latest write set
	marked []batos.OID // pending in the cache: those of the first write set, then others
	again  bool        // there was more than one write set
	buf    *[]byte     // of encodeBuffers: what writes consist of
}

// result is what a record becomes: nil where it ends.
type result struct {
	oid batos.OID
	rev *revision
}

// encodeBuffers are for the bytes of write sets, of which a store keeps nothing.
var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (p *plan) release() {
	if cap(*p.buf) <= keptBuffer {
		*p.buf = (*p.buf)[:0]
		encodeBuffers.Put(p.buf)
	}
}

// base is the loader of what the transaction started from.
func (tx *Tx) base(oid batos.OID) (*revision, error) {
	if h := tx.objects[oid]; h != nil {
		return h.base, nil
	}
	return tx.load(oid)
}

// make builds the write set over what load shows. With check set it first
// demands that everything that counts as read is still so.
func (p *plan) make(load loader, check bool) ([]store.Write, error) {
	p.result, p.used, p.again = p.result[:0], 0, p.result != nil
	var writes []store.Write
	put := func(rev *revision, base batos.TID) error {
		w, err := rev.encode(base, p.buf)
		if err == nil {
			writes = append(writes, w)
			p.result = append(p.result, result{rev.oid, rev})
		}
		return err
	}
	end := func(oid batos.OID, base batos.TID) {
		writes = append(writes, store.Write{OID: oid, Base: base, Delete: true})
		p.result = append(p.result, result{oid, nil})
	}
	for _, oid := range sorted(p.tx.objects) {
		h := p.tx.objects[oid]
		if !check && !h.written() {
			continue
		}
		now, err := load(oid)
		if err == nil && check {
			err = h.validate(now)
		}
		if err != nil {
			return nil, err
		}
		switch {
		case h.deleted && h.fresh == nil:
			end(oid, tidOf(now))
		case h.written():
			origin := h.fresh
			if origin == nil {
				origin = stateOf(now)
			}
			state, err := h.over(origin)
			if err != nil {
				return nil, conflicting(err, check)
			}
			if state == stateOf(now) {
				continue // it changes nothing
			}
			if err := put(&revision{oid: oid, state: state}, tidOf(now)); err != nil {
				return nil, err
			}
		}
	}
	for _, oid := range sorted(p.tx.trees) {
		st := p.tx.trees[oid]
		if check {
			if err := st.validate(load); err != nil {
				return nil, err
			}
		}
		if err := p.tree(st, load, put, end); err != nil {
			return nil, err
		}
	}
	return writes, nil
}

// mark makes what is about to be written pending in the cache.
func (p *plan) mark(writes []store.Write) {
	var known map[batos.OID]bool
	if len(p.marked) > 0 {
		known = make(map[batos.OID]bool, len(p.marked))
		for _, oid := range p.marked {
			known[oid] = true
		}
	}
	for i := range writes {
		if oid := writes[i].OID; !known[oid] {
			p.marked = append(p.marked, oid)
			p.tx.cache.begin(oid)
		}
	}
}

// accepted tells the cache what the latest write set is going to leave.
func (p *plan) accepted(tid batos.TID) {
	for _, r := range p.result {
		if r.rev != nil {
			r.rev.tid = tid
		}
		p.tx.cache.accepted(r.oid, r.rev)
	}
}

// finish tells the cache the outcome, and gives back OIDs nobody has seen.
// After an error nothing was written, but for store_poisoned: then that is not
// known, and what may have been written stays pending, so that it is always
// asked of the store, and no OID is used again.
func (p *plan) finish(tid batos.TID, err error) {
	if err != nil {
		if batos.CodeOf(err) == batos.StorePoisoned {
			return
		}
		for _, oid := range p.marked {
			p.tx.cache.abandon(oid)
		}
		p.tx.oids.giveBack(p.spare)
		return
	}
	for _, r := range p.result {
		if r.rev != nil && r.rev.tid == 0 { // the store did not tell
			r.rev.tid = tid
		}
		p.tx.cache.committed(r.oid, tid, r.rev, true)
	}
	if p.again { // what only an earlier write set had
		wrote := make(map[batos.OID]bool, len(p.result))
		for _, r := range p.result {
			wrote[r.oid] = true
		}
		for _, oid := range p.marked {
			if !wrote[oid] {
				p.tx.cache.committed(oid, tid, nil, false)
			}
		}
	}
	p.tx.oids.giveBack(p.spare[p.used:])
}

// conflicting makes an error that only a newer state brought a conflict, for
// the transaction to run again and find it out itself.
func conflicting(err error, newer bool) error {
	if newer {
		return batos.Errorf(batos.Conflict, "%w", err)
	}
	return err
}

// tree adds what becomes of one tree.
func (p *plan) tree(st *treeState, load loader, put func(*revision, batos.TID) error, end func(batos.OID, batos.TID)) error {
	keys := slices.DeleteFunc(slices.Clone(st.ordered()), func(k string) bool { return st.writes[k].kind == writeNone })
	if len(keys) == 0 && !st.fresh {
		return nil
	}
	root, err := load(st.id)
	if err != nil {
		return err
	}
	if root != nil && root.root == nil {
		return batos.Errorf(batos.Conflict, "%s is no tree any more", st.id)
	}
	var top batos.OID
	var count int64
	if root != nil {
		top, count = root.root.Top, root.root.Count
	}
	b := &builder{tree: st.id, load: load, fresh: p.fresh, pages: map[batos.OID]*draft{}}
	newTop, err := b.apply(top, keys, st.writes)
	if err != nil {
		return err
	}
	for _, oid := range sorted(b.pages) {
		d := b.pages[oid]
		switch {
		case d.gone && d.base != nil:
			end(oid, d.base.tid)
		case d.changed && !d.gone:
			if err := put(&revision{oid: oid, leaf: d.leaf, inner: d.inner}, tidOf(d.base)); err != nil {
				return err
			}
		}
	}
	if root != nil && newTop == top && b.delta == 0 || root == nil && newTop == 0 && !st.fresh {
		return nil
	}
	return put(&revision{oid: st.id, root: &codec.Root{Top: newTop, Count: count + b.delta}}, tidOf(root))
}

// fresh gives an OID for a new page. Where none can be reserved, it answers
// false rather than to leave less than reserve.
func (p *plan) fresh(reserve int) (batos.OID, bool, error) {
	if p.used+reserve >= len(p.spare) {
		if p.fixed {
			if p.used >= len(p.spare) || reserve > 0 {
				return 0, false, nil
			}
		} else {
			oid, err := p.tx.oids.take(p.ctx)
			if err != nil {
				return 0, false, err
			}
			p.spare = append(p.spare, oid)
		}
	}
	p.used++
	return p.spare[p.used-1], true, nil
}

// late reports whether a write set for the snapshot is not worth making, since
// it would be stale: somebody else is committing to the same tree, and so the
// store is going to ask for one over what that leaves. Only a few keys are
// worth the doubt, and no objects, whose writes may turn out to be impossible.
func (p *plan) late() bool {
	contended, keys, bytes := false, 0, 0
	for id, st := range p.tx.trees {
		n := 0
		for key, w := range st.writes {
			if w.kind != writeNone {
				n++
				bytes += codec.EntrySize(key, w.raw)
			}
			if n+keys > lateKeys || bytes > pageTarget {
				return false
			}
		}
		keys += n
		contended = contended || n > 0 && p.tx.cache.contended(id)
	}
	if !contended || p.tx.im.readOnly {
		return false
	}
	for _, h := range p.tx.objects {
		if h.written() {
			return false
		}
	}
	return true
}

// lateKeys is how many keys late takes for few.
const lateKeys = 8

// stock reserves OIDs that pages may need on a newer state, where splits can
// fall differently. From then on the store is not called any more.
func (p *plan) stock() error {
	n := 0
	for _, st := range p.tx.trees {
		switch few := len(st.writes); {
		case few == 0:
		case few <= lateKeys: // they may all be for it, see late
			n += 2*rootReserve + few
		default:
			n += 2*rootReserve + few/16
		}
	}
	for range n {
		oid, err := p.tx.oids.take(p.ctx)
		if err != nil {
			return err
		}
		p.spare = append(p.spare, oid)
	}
	p.fixed = true
	return nil
}

// rebase is the store's question for a write set over a newer state.
func (p *plan) rebase(newest store.Newest) ([]store.Write, error) {
	seen := map[batos.OID]*revision{}
	writes, err := p.make(func(oid batos.OID) (*revision, error) {
		if rev, ok := seen[oid]; ok {
			return rev, nil
		}
		var rev *revision
		if tid := newest.TID(oid); tid != 0 {
			if rev = p.tx.cache.exact(oid, tid); rev == nil {
				stored, err := newest.Load(oid)
				if err != nil {
					return nil, err
				}
				if rev, err = decode(stored); err != nil {
					return nil, err
				}
			}
		}
		seen[oid] = rev
		return rev, nil
	}, true)
	if err != nil {
		return nil, err
	}
	p.mark(writes)
	return writes, nil
}

// reads lists the revisions that the transaction depends on and does not
// itself replace, so that the store can tell at a glance that all is as it was.
func (tx *Tx) reads(writes []store.Write) []store.Read {
	var out []store.Read
	var many map[batos.OID]bool // of both, where there are many
	add := func(oid batos.OID, tid batos.TID) {
		if many == nil && len(writes)+len(out) > fewWrites {
			many = make(map[batos.OID]bool, 2*(len(writes)+len(out)))
			for i := range writes {
				many[writes[i].OID] = true
			}
			for i := range out {
				many[out[i].OID] = true
			}
		}
		known := many[oid]
		if many == nil {
			for i := range writes {
				known = known || writes[i].OID == oid
			}
			for i := range out {
				known = known || out[i].OID == oid
			}
		} else {
			many[oid] = true
		}
		if !known {
			out = append(out, store.Read{OID: oid, TID: tid})
		}
	}
	for oid, h := range tx.objects {
		add(oid, tidOf(h.base))
	}
	for id, st := range tx.trees {
		if st.readCount {
			add(id, tidOf(st.base))
		}
		for oid, tid := range st.leaves {
			add(oid, tid)
		}
	}
	slices.SortFunc(out, func(a, b store.Read) int { return cmp.Compare(a.OID, b.OID) }) // conflicts name the first
	return out
}

func sorted[V any](m map[batos.OID]V) []batos.OID {
	if len(m) == 0 {
		return nil
	}
	out := make([]batos.OID, 0, len(m))
	for oid := range m {
		out = append(out, oid)
	}
	if len(out) > 1 {
		slices.Sort(out)
	}
	return out
}

// validate demands that what the transaction read of an object is so in the
// revision now as well.
func (h *handle) validate(now *revision) error {
	if h.base == nil || now == nil {
		if (h.base == nil) != (now == nil) {
			return batos.Errorf(batos.Conflict, "object %s was made or ended by another transaction", h.oid)
		}
		return nil
	}
	if h.base.tid == now.tid {
		return nil
	}
	was, is := h.base.state, now.state
	if is == nil || was.Creator != is.Creator || was.CreatedBy != is.CreatedBy {
		return batos.Errorf(batos.Conflict, "object %s was made anew by another transaction", h.oid)
	}
	if (h.readAll || h.readProtect) && was.Protection != is.Protection {
		return batos.Errorf(batos.Conflict, "the protection of %s was changed by another transaction", h.oid)
	}
	if h.readParents && !slices.Equal(h.base.parents, now.parents) {
		return batos.Errorf(batos.Conflict, "the parents of %s were changed by another transaction", h.oid)
	}
	if h.readNames && !slices.Equal(names(was), names(is)) {
		return batos.Errorf(batos.Conflict, "slots of %s were added or taken away by another transaction", h.oid)
	}
	if h.readAll {
		return h.validateAll(was, is)
	}
	var err error
	h.readSlots.each(func(i int) bool {
		sl := was.Slots()[i]
		if v, _ := is.Slot(sl.Name); !object.Equal(v, sl.Value) {
			err = slotConflict(h.oid, sl.Name)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(h.readAbsent)) {
		if is.Index(name) >= 0 {
			return slotConflict(h.oid, name)
		}
	}
	return nil
}

func (h *handle) validateAll(was, is *object.State) error {
	for _, sl := range was.Slots() {
		if v, _ := is.Slot(sl.Name); !object.Equal(v, sl.Value) {
			return slotConflict(h.oid, sl.Name)
		}
	}
	if !slices.Equal(names(was), names(is)) {
		return batos.Errorf(batos.Conflict, "slots of %s were added or moved by another transaction", h.oid)
	}
	return nil
}

func slotConflict(oid batos.OID, name string) error {
	return batos.Errorf(batos.Conflict, "slot %q of %s was changed by another transaction", name, oid)
}

// validate demands that what the transaction read of a tree is so in the view
// of load as well.
func (st *treeState) validate(load loader) error {
	if st.fresh || len(st.leaves) == 0 && !st.readCount {
		return nil
	}
	root, err := load(st.id)
	if err != nil {
		return err
	}
	if root == nil && st.base != nil || root != nil && root.root == nil {
		return batos.Errorf(batos.Conflict, "tree %s was ended by another transaction", st.id)
	}
	now := &treeState{id: st.id, base: root}
	if st.readCount && st.count() != now.count() {
		return batos.Errorf(batos.Conflict, "the size of tree %s was changed by another transaction", st.id)
	}
	moved := map[batos.OID]bool{}
	for oid, tid := range st.leaves {
		rev, err := load(oid)
		if err != nil {
			return err
		}
		if tidOf(rev) != tid {
			moved[oid] = true
		}
	}
	if len(moved) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(st.gets)) {
		was := st.gets[key]
		if !moved[was.leaf] {
			continue
		}
		leaf, err := findLeaf(load, st.id, now.top(), key)
		if err != nil {
			return err
		}
		if raw, ok := getIn(leaf, key); ok != was.ok || raw != was.raw {
			return batos.Errorf(batos.Conflict, "key %s of tree %s was changed by another transaction", keyText(key), st.id)
		}
	}
	for i := range st.ranges {
		sum, err := st.ranges[i].again(load, st.id, now.top())
		if err != nil {
			return err
		}
		if sum != st.ranges[i].sum {
			return batos.Errorf(batos.Conflict, "keys of tree %s that were listed were changed by another transaction", st.id)
		}
	}
	return nil
}
