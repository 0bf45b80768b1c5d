package image

import (
	"slices"

	"batos"
	"batos/internal/codec"
)

// pageTarget is the size in bytes a page splits at. Every commit that touches
// a page writes it whole, so pages are small.
const pageTarget = 2048

// smallPage is the size below which a page joins its neighbour.
const smallPage = pageTarget / 4

// builder applies the key writes of one transaction to the pages of one tree,
// as some view of the image has them: the transaction's own snapshot first,
// and the front of the commit order when that has moved on. Pages are changed
// from the leaves up. A page that grows beyond pageTarget splits; one that
// shrinks well below it joins its neighbour; an empty one goes.
//
// Readers rely on this: as long as a leaf's revision is the newest, every key
// that was looked up in it is where it was. A leaf's stretch of keys only
// shrinks when the leaf itself is rewritten.
type builder struct {
	tree  batos.OID
	load  loader
	fresh func(reserve int) (batos.OID, bool, error)
	pages map[batos.OID]*draft
	delta int64 // change of the number of keys
}

// draft is a page that is being changed.
type draft struct {
	base    *revision // nil: a new page
	leaf    *codec.Leaf
	inner   *codec.Inner
	size    int
	changed bool
	gone    bool
}

// kid is a page as its parent sees it.
type kid struct {
	key string // its keys are not below this
	oid batos.OID
}

// rootReserve is what splitting leaves over of a limited supply of OIDs, so
// that there is one for a page above, whatever happens. A page that finds none
// grows beyond its size, and splits another time.
const rootReserve = 2

// apply makes the writes, in order of keys, and gives the new top page.
func (b *builder) apply(top batos.OID, keys []string, writes map[string]keyWrite) (batos.OID, error) {
	var kids []kid
	var err error
	if top == 0 {
		kids, err = b.plant(keys, writes)
	} else {
		kids, err = b.update(kid{oid: top}, keys, writes)
	}
	for err == nil && len(kids) > 1 {
		kids, err = b.split(&codec.Inner{Tree: b.tree, Keys: kidKeys(kids), Kids: kidOIDs(kids)}, nil, kid{}, true)
	}
	if err != nil || len(kids) == 0 {
		return 0, err
	}
	return b.collapse(kids[0].oid)
}

// collapse goes down from a top page that has only one page below.
func (b *builder) collapse(top batos.OID) (batos.OID, error) {
	for {
		d := b.pages[top]
		if d == nil || d.inner == nil || len(d.inner.Kids) > 1 {
			return top, nil
		}
		d.gone = true
		top = d.inner.Kids[0]
		if _, err := b.page(top); err != nil {
			return 0, err
		}
	}
}

// page gives the draft of a page.
func (b *builder) page(oid batos.OID) (*draft, error) {
	if d := b.pages[oid]; d != nil {
		return d, nil
	}
	rev, err := page(b.load, b.tree, oid)
	if err != nil {
		return nil, err
	}
	d := &draft{base: rev, leaf: rev.leaf, inner: rev.inner}
	if d.leaf != nil {
		d.size = codec.LeafSize(d.leaf.Keys, d.leaf.Values)
	} else {
		d.size = codec.InnerSize(d.inner.Keys)
	}
	b.pages[oid] = d
	return d, nil
}

// plant makes the first pages of an empty tree.
func (b *builder) plant(keys []string, writes map[string]keyWrite) ([]kid, error) {
	l := &codec.Leaf{Tree: b.tree}
	for _, key := range keys {
		if w := writes[key]; w.kind == writeSet {
			l.Keys = append(l.Keys, key)
			l.Values = append(l.Values, w.raw)
		}
	}
	b.delta = int64(len(l.Keys))
	if len(l.Keys) == 0 {
		return nil, nil
	}
	return b.splitLeaf(l, nil, kid{}, true)
}

// update applies writes to the page k and those below it, and gives what is
// there instead of it.
func (b *builder) update(k kid, keys []string, writes map[string]keyWrite) ([]kid, error) {
	d, err := b.page(k.oid)
	if err != nil {
		return nil, err
	}
	if d.leaf != nil {
		return b.updateLeaf(k, d, keys, writes)
	}
	return b.updateInner(k, d, keys, writes)
}

func (b *builder) updateLeaf(k kid, d *draft, keys []string, writes map[string]keyWrite) ([]kid, error) {
	old := d.leaf
	most := len(old.Keys) + len(keys)
	both := make([]string, 2*most)
	l := &codec.Leaf{Tree: b.tree, Keys: both[:0:most], Values: both[most:most]}
	put := func(key, raw string) {
		l.Keys = append(l.Keys, key)
		l.Values = append(l.Values, raw)
	}
	changed := false
	i := 0
	for _, key := range keys {
		w := writes[key]
		if w.kind == writeNone {
			continue
		}
		for i < len(old.Keys) && old.Keys[i] < key {
			put(old.Keys[i], old.Values[i])
			i++
		}
		has := i < len(old.Keys) && old.Keys[i] == key
		switch {
		case w.kind == writeSet:
			changed = changed || !has || old.Values[i] != w.raw
			put(key, w.raw)
			if !has {
				b.delta++
			}
		case has:
			changed = true
			b.delta--
		}
		if has {
			i++
		}
	}
	if !changed {
		return []kid{k}, nil
	}
	appended := i == len(old.Keys)
	for ; i < len(old.Keys); i++ {
		put(old.Keys[i], old.Values[i])
	}
	if len(l.Keys) == 0 {
		d.gone = true
		return nil, nil
	}
	return b.splitLeaf(l, d, k, appended)
}

// splitLeaf makes l the content of the page k, or of a new one if d is nil,
// and of as many more as it needs. Keys that were appended fill pages to the
// brim, for more will come behind them; others leave room everywhere.
func (b *builder) splitLeaf(l *codec.Leaf, d *draft, k kid, appended bool) ([]kid, error) {
	total := 0
	for i := range l.Keys {
		total += codec.EntrySize(l.Keys[i], l.Values[i])
	}
	if d != nil && total <= pageTarget { // as a rule
		b.pages[k.oid] = &draft{base: d.base, leaf: l, size: total, changed: true}
		return []kid{k}, nil
	}
	sizes := make([]int, len(l.Keys))
	for i := range l.Keys {
		sizes[i] = codec.EntrySize(l.Keys[i], l.Values[i])
	}
	var kids []kid
	err := b.cut(sizes, d, k, appended, func(oid batos.OID, from, to int) *draft {
		key := k.key
		if from > 0 {
			key = separator(l.Keys[from-1], l.Keys[from])
		}
		kids = append(kids, kid{key, oid})
		return &draft{leaf: &codec.Leaf{Tree: l.Tree, Keys: l.Keys[from:to:to], Values: l.Values[from:to:to]}}
	})
	return kids, err
}

// split is splitLeaf for pages of pages.
func (b *builder) split(p *codec.Inner, d *draft, k kid, appended bool) ([]kid, error) {
	sizes := make([]int, len(p.Keys))
	for i := range p.Keys {
		sizes[i] = codec.KidSize(p.Keys[i])
	}
	var kids []kid
	err := b.cut(sizes, d, k, appended, func(oid batos.OID, from, to int) *draft {
		key := k.key
		if from > 0 {
			key = p.Keys[from]
		}
		kids = append(kids, kid{key, oid})
		return &draft{inner: &codec.Inner{Tree: p.Tree, Keys: p.Keys[from:to:to], Kids: p.Kids[from:to:to]}}
	})
	return kids, err
}

// cut spreads entries of the given sizes over the page k, or a new one if d is
// nil, and over more new ones. Content is told which entries each page gets.
func (b *builder) cut(sizes []int, d *draft, k kid, fill bool, content func(oid batos.OID, from, to int) *draft) error {
	total := 0
	for _, n := range sizes {
		total += n
	}
	room := pageTarget
	if parts := (total + pageTarget - 1) / pageTarget; !fill && parts > 1 {
		room = (total + parts - 1) / parts
	}
	oid := k.oid
	if d == nil {
		fresh, ok, err := b.fresh(0)
		if err != nil {
			return err
		}
		if !ok {
			return batos.Errorf(batos.Conflict, "tree %s grew too much while the transaction waited", b.tree)
		}
		oid = fresh
	}
	for from := 0; from < len(sizes); {
		to, size := from, 0
		for to < len(sizes) && (to == from || size+sizes[to] <= room) {
			size += sizes[to]
			to++
		}
		var next batos.OID
		if to < len(sizes) {
			fresh, ok, err := b.fresh(rootReserve)
			if err != nil {
				return err
			}
			if next = fresh; !ok { // the last page there is takes the rest
				for ; to < len(sizes); to++ {
					size += sizes[to]
				}
			}
		}
		p := content(oid, from, to)
		p.size, p.changed = size, true
		if from == 0 && d != nil {
			p.base = d.base
		}
		b.pages[oid] = p
		from, oid = to, next
	}
	return nil
}

// separator gives a short key that is above below and not above from.
func separator(below, from string) string {
	i := 0
	for i < len(below) && below[i] == from[i] {
		i++
	}
	return from[:i+1]
}

func (b *builder) updateInner(k kid, d *draft, keys []string, writes map[string]keyWrite) ([]kid, error) {
	old := d.inner
	below := func(i int) kid {
		if i == 0 {
			return kid{k.key, old.Kids[0]} // its own key may be above keys that it has: see Inner
		}
		return kid{old.Keys[i], old.Kids[i]}
	}
	type instead struct { // what is there instead of page i
		i   int
		now []kid
	}
	var few [4]instead
	updated, changed := few[:0], false
	for len(keys) > 0 {
		i := kidFor(old, keys[0])
		n := len(keys)
		if i+1 < len(old.Kids) {
			n, _ = slices.BinarySearch(keys, old.Keys[i+1])
		}
		mine := keys[:n]
		keys = keys[n:]
		was := below(i)
		now, err := b.update(was, mine, writes)
		if err != nil {
			return nil, err
		}
		updated = append(updated, instead{i, now})
		changed = changed || len(now) != 1 || now[0] != was
		for _, n := range now {
			changed = changed || b.pages[n.oid].size < smallPage // join it
		}
	}
	if !changed {
		return []kid{k}, nil
	}
	kids := make([]kid, 0, len(old.Kids)+len(updated))
	touched := map[batos.OID]bool{}
	next := 0
	for _, u := range updated {
		for ; next < u.i; next++ {
			kids = append(kids, below(next))
		}
		next++
		for _, n := range u.now {
			touched[n.oid] = true
		}
		kids = append(kids, u.now...)
	}
	for ; next < len(old.Kids); next++ {
		kids = append(kids, below(next))
	}
	before := len(kids)
	kids, err := b.join(kids, touched)
	if err != nil {
		return nil, err
	}
	if len(kids) == 0 {
		d.gone = true
		return nil, nil
	}
	if len(kids) == before && slices.EqualFunc(kids, old.Kids, func(k kid, oid batos.OID) bool { return k.oid == oid }) {
		return []kid{k}, nil
	}
	kids[0].key = k.key
	appended := kids[len(kids)-1].oid != old.Kids[len(old.Kids)-1]
	return b.split(&codec.Inner{Tree: b.tree, Keys: kidKeys(kids), Kids: kidOIDs(kids)}, d, k, appended)
}

// join merges pages that were touched and have become small with a neighbour
// under the same parent, where both together leave room.
func (b *builder) join(kids []kid, touched map[batos.OID]bool) ([]kid, error) {
	for i := 0; i < len(kids); i++ {
		if !touched[kids[i].oid] {
			continue
		}
		d, err := b.page(kids[i].oid)
		if err != nil {
			return nil, err
		}
		if d.size >= smallPage {
			continue
		}
		for _, left := range []int{i, i - 1} {
			if left < 0 || left+1 >= len(kids) {
				continue
			}
			ok, err := b.merge(kids[left], kids[left+1])
			if err != nil {
				return nil, err
			}
			if ok {
				touched[kids[left].oid] = true
				kids = slices.Delete(kids, left+1, left+2)
				i = left - 1 // look at it again
				break
			}
		}
	}
	return kids, nil
}

// merge moves what the page right has into left, if it fits well.
func (b *builder) merge(left, right kid) (bool, error) {
	l, err := b.page(left.oid)
	if err != nil {
		return false, err
	}
	r, err := b.page(right.oid)
	if err != nil {
		return false, err
	}
	size := l.size + r.size
	if size > pageTarget*3/4 || (l.leaf == nil) != (r.leaf == nil) {
		return false, nil
	}
	to := &draft{base: l.base, size: size, changed: true}
	if l.leaf != nil {
		to.leaf = &codec.Leaf{
			Tree: b.tree, Keys: slices.Concat(l.leaf.Keys, r.leaf.Keys), Values: slices.Concat(l.leaf.Values, r.leaf.Values),
		}
	} else {
		keys := slices.Concat(l.inner.Keys, r.inner.Keys)
		keys[len(l.inner.Keys)] = right.key
		to.inner = &codec.Inner{Tree: b.tree, Keys: keys, Kids: slices.Concat(l.inner.Kids, r.inner.Kids)}
	}
	b.pages[left.oid] = to
	r.gone = true
	return true, nil
}

func kidKeys(kids []kid) []string {
	out := make([]string, len(kids))
	for i, k := range kids {
		out[i] = k.key
	}
	return out
}

func kidOIDs(kids []kid) []batos.OID {
	out := make([]batos.OID, len(kids))
	for i, k := range kids {
		out[i] = k.oid
	}
	return out
}
