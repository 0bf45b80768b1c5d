package image

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
)

// VerifyOptions say how much [Image.Verify] looks at.
type VerifyOptions struct {
	// SkipBlobs leaves the content of blobs unread; missing ones are found.
	SkipBlobs bool
}

// VerifyReport says what Verify looked at.
type VerifyReport struct {
	Transactions, Revisions int64
	Objects, Trees, Pages   int64 // that exist now
}

// Unreadable is the kind of problem of a revision whose bytes are intact and
// make no sense, or do not say what the store keeps beside them.
const Unreadable store.ProblemKind = "unreadable"

// Broken is the kind of problem of a tree whose pages do not fit together.
const Broken store.ProblemKind = "broken_tree"

// Verify reads the whole image and yields what is wrong, as it finds it: bytes
// that fail their checksum, blobs that are missing or altered, revisions that
// do not decode, trees whose pages do not fit together, references that lead
// nowhere, and objects that nothing leads to. The roots are the root names and
// the records whose OID is derived from a name. An error ends it: it could not
// look any further. It may run while the image is in use. The report is
// complete when the loop ends; it may be nil.
//
// A reference that leads nowhere and an object that nothing leads to are no
// damage: deleting an object, or forgetting it, leaves them. [IsDamage] tells
// them apart.
func (im *Image) Verify(ctx context.Context, o VerifyOptions, report *VerifyReport) iter.Seq2[store.Problem, error] {
	return func(yield func(store.Problem, error) bool) {
		if report == nil {
			report = new(VerifyReport)
		}
		v := &verifier{im: im, ctx: ctx, report: report, live: map[batos.OID]codec.Kind{}, yield: yield}
		snap, err := im.store.Snapshot(ctx) // holds back what pack would remove meanwhile
		if err != nil {
			yield(store.Problem{}, err)
			return
		}
		defer snap.Close()
		v.revisions(snap.TID())
		if !v.stopped {
			v.trees(snap)
		}
		checker, ok := im.store.(store.Verifier)
		if v.stopped || !ok {
			return
		}
		var roots []batos.OID // none while it is not known what there is
		if !v.damaged {
			roots = append(roots, batos.OID(namesTree))
			for oid := range v.live {
				if oid.Derived() && oid != batos.OID(namesTree) {
					roots = append(roots, oid)
				}
			}
			slices.Sort(roots[1:])
		}
		for p, err := range checker.Verify(ctx, store.VerifyOptions{Roots: roots, SkipBlobs: o.SkipBlobs}) {
			if err == nil && v.known[place{p.OID, p.TID}] {
				continue
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// IsDamage reports whether a problem means that something was lost.
func IsDamage(p store.Problem) bool {
	return p.Kind != store.Dangling && p.Kind != store.Unreachable
}

type place struct {
	oid batos.OID
	tid batos.TID
}

// verifier is the part of Verify that understands objects.
type verifier struct {
	im      *Image
	ctx     context.Context
	report  *VerifyReport
	live    map[batos.OID]codec.Kind // what exists now
	known   map[place]bool           // problems that were told of
	yield   func(store.Problem, error) bool
	stopped bool
	damaged bool // the log could not be read to its end
}

func (v *verifier) tell(p store.Problem) {
	if v.known == nil {
		v.known = map[place]bool{}
	}
	v.known[place{p.OID, p.TID}] = true
	v.stopped = v.stopped || !v.yield(p, nil)
}

// revisions decodes everything the log has. Where the log itself is damaged,
// it stops: the store tells where.
func (v *verifier) revisions(end batos.TID) {
	for t, err := range v.im.store.Transactions(v.ctx, 0, end) {
		if err != nil {
			if v.ctx.Err() != nil {
				v.stopped = true
				v.yield(store.Problem{}, err)
			}
			v.damaged = true
			return
		}
		v.report.Transactions++
		if _, err := decodeMeta(t.TID, t.Meta); err != nil {
			v.tell(store.Problem{Kind: Unreadable, TID: t.TID, Since: t.TID, Text: err.Error()})
		}
		for _, r := range t.Revisions {
			v.report.Revisions++
			v.revision(r)
			if v.stopped {
				return
			}
		}
	}
	for _, kind := range v.live {
		switch kind {
		case codec.KindObject:
			v.report.Objects++
		case codec.KindTree:
			v.report.Trees++
		default:
			v.report.Pages++
		}
	}
}

func (v *verifier) revision(r store.Revision) {
	if r.Delete {
		delete(v.live, r.OID)
		return
	}
	rev, err := decode(r)
	if err != nil {
		v.live[r.OID] = codec.KindObject
		v.tell(store.Problem{Kind: Unreadable, OID: r.OID, TID: r.TID, Since: r.TID, Text: err.Error()})
		return
	}
	kind, _ := codec.KindOf(r.Data) // it decoded
	v.live[r.OID] = kind
	w, err := rev.encode(0, new([]byte))
	if err == nil && (!slices.Equal(w.Refs, r.Refs) || !slices.Equal(w.Blobs, r.Blobs)) {
		err = batos.Errorf(batos.Corrupt, "object %s as of %s refers to other objects than the store has noted", r.OID, r.TID)
	}
	if err != nil {
		v.tell(store.Problem{Kind: Unreadable, OID: r.OID, TID: r.TID, Since: r.TID, Text: err.Error()})
	}
}

// trees walks every tree as it is in the snapshot, and misses pages that no tree
// has.
func (v *verifier) trees(snap store.Snapshot) {
	load := func(oid batos.OID) (*revision, error) { return revisionIn(v.ctx, snap, oid) }
	for _, id := range slices.Sorted(maps.Keys(v.live)) {
		if v.live[id] != codec.KindTree || v.stopped {
			continue
		}
		root, err := load(id)
		if err != nil || root == nil || root.root == nil {
			continue // told of as a revision, or by the store
		}
		c := treeCheck{load: load, tree: id, seen: map[batos.OID]bool{}}
		err = c.page(root.root.Top, "", "", 0)
		if err == nil && c.keys != root.root.Count {
			err = batos.Errorf(batos.Corrupt, "tree %s says it has %d keys, and has %d", id, root.root.Count, c.keys)
		}
		if batos.CodeOf(err) == batos.Packed {
			continue // by the process that writes, which does not know of this one
		}
		if err != nil && v.ctx.Err() == nil {
			v.tell(store.Problem{Kind: Broken, OID: id, TID: root.tid, Since: root.tid, Text: err.Error()})
		}
	}
}

// treeCheck walks one tree.
type treeCheck struct {
	load loader
	tree batos.OID
	seen map[batos.OID]bool
	keys int64
}

// page checks the page oid, whose keys have to be from from on and, unless
// that is "", below to.
func (c *treeCheck) page(oid batos.OID, from, to string, height int) error {
	if oid == 0 {
		return nil
	}
	bad := func(format string, args ...any) error {
		return batos.Errorf(batos.Corrupt, "page %s of tree %s %s", oid, c.tree, fmt.Sprintf(format, args...))
	}
	if c.seen[oid] || height > maxHeight {
		return bad("is in it twice")
	}
	c.seen[oid] = true
	rev, err := page(c.load, c.tree, oid)
	if err != nil {
		return err
	}
	if rev.tree() != c.tree {
		return bad("belongs to tree %s", rev.tree())
	}
	if rev.leaf != nil {
		for _, k := range rev.leaf.Keys {
			if k < from || to != "" && k >= to {
				return bad("has key %s, which belongs elsewhere", keyText(k))
			}
		}
		c.keys += int64(len(rev.leaf.Keys))
		return nil
	}
	for i, kid := range rev.inner.Kids {
		lo, hi := from, to
		if i > 0 {
			lo = rev.inner.Keys[i]
		}
		if i+1 < len(rev.inner.Keys) {
			hi = rev.inner.Keys[i+1]
		}
		if err := c.page(kid, lo, hi, height+1); err != nil {
			return err
		}
	}
	return nil
}
