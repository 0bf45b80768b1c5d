package image

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/object"
)

// Survey is where an image's space goes.
type Survey struct {
	Kinds    []Share   // the largest first
	Biggest  []Sized   // objects and trees that exist, by the bytes of their newest state
	Busiest  []Sized   // objects and trees by the bytes of their past states
	Popular  []Popular // objects and trees that most others refer to
	Dangling int64     // references that lead nowhere
}

// Share is the space of one kind of record.
type Share struct {
	// Kind is object, tree or page, and for objects whose slot kind says what
	// they are, that: "object message".
	Kind      string
	Count     int64 // that exist
	Bytes     int64 // of their newest states
	Past      int64 // revisions that were replaced or ended
	PastBytes int64
	Blobs     int64 // different ones that states of this kind refer to, or did
	BlobBytes int64
}

// Sized is one object or tree with a size in bytes.
type Sized struct {
	OID   batos.OID
	Kind  string // as in [Share]
	Tree  bool   // its pages are counted with it
	Bytes int64
}

// Popular is one object or tree and how many others refer to it.
type Popular struct {
	OID  batos.OID
	Kind string // as in [Share]
	Tree bool
	From int64
}

// Survey reads the whole image, past included, and tells where its space goes;
// lists have at most top entries. Memory is about 100 bytes for each object.
func (im *Image) Survey(ctx context.Context, top int) (*Survey, error) {
	s := &surveyor{shares: map[string]*Share{}, at: map[batos.OID]*surveyed{}, blobs: map[blobIn]bool{}}
	for t, err := range im.store.Transactions(ctx, 0, im.store.LastTID()) {
		if err != nil {
			return nil, err
		}
		for _, r := range t.Revisions {
			if err := s.add(r); err != nil {
				return nil, err
			}
		}
	}
	out := s.result(top)
	for b := range s.blobs {
		blob, err := im.store.OpenBlob(ctx, b.hash)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out.Kinds, func(sh Share) bool { return sh.Kind == b.kind })
		out.Kinds[i].Blobs++
		out.Kinds[i].BlobBytes += blob.Size()
		if err := blob.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Objects lists the objects that exist, ascending. It reads the whole log.
func (im *Image) Objects(ctx context.Context) ([]batos.OID, error) {
	kinds, err := im.census(ctx, im.store.LastTID())
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(kinds, func(_ batos.OID, k codec.Kind) bool { return k != codec.KindObject })
	return sorted(kinds), nil
}

// Referrers lists the objects and trees whose newest state refers to oid,
// ascending. It looks at every object.
func (im *Image) Referrers(ctx context.Context, oid batos.OID) ([]batos.OID, error) {
	snap, err := im.store.Snapshot(ctx) // holds back what pack would remove meanwhile
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	from := map[batos.OID]bool{}
	for t, err := range im.store.Transactions(ctx, 0, snap.TID()) {
		if err != nil {
			return nil, err
		}
		for _, r := range t.Revisions {
			if slices.Contains(r.Refs, oid) {
				from[r.OID] = true
			} else {
				delete(from, r.OID)
			}
		}
	}
	out := map[batos.OID]bool{}
	for by := range from { // a page speaks for its tree, which has the page below it, too
		rev, err := revisionIn(ctx, snap, by)
		if err != nil {
			return nil, err
		}
		switch {
		case rev == nil || rev.root != nil || rev.inner != nil:
		case rev.leaf != nil:
			out[rev.leaf.Tree] = true
		default:
			out[by] = true
		}
	}
	return sorted(out), nil
}

// surveyed is what is known of one record.
type surveyed struct {
	kind  string
	bytes int64
	past  int64
	tree  batos.OID // of a page
	refs  []batos.OID
}

type blobIn struct {
	kind string
	hash store.BlobHash
}

type surveyor struct {
	shares map[string]*Share
	at     map[batos.OID]*surveyed
	blobs  map[blobIn]bool
}

func (s *surveyor) share(kind string) *Share {
	if s.shares[kind] == nil {
		s.shares[kind] = &Share{Kind: kind}
	}
	return s.shares[kind]
}

func (s *surveyor) add(r store.Revision) error {
	e := s.at[r.OID]
	if e == nil {
		e = &surveyed{}
		s.at[r.OID] = e
	}
	if e.kind != "" { // it has a state that is past now
		sh := s.share(e.kind)
		sh.Count--
		sh.Bytes -= e.bytes
		sh.Past++
		sh.PastBytes += e.bytes
		e.past += e.bytes
	}
	if r.Delete {
		*e = surveyed{past: e.past, tree: e.tree}
		return nil
	}
	kind, tree, err := kindOf(r)
	if err != nil {
		return err
	}
	e.kind, e.tree, e.bytes, e.refs = kind, tree, int64(len(r.Data)), r.Refs
	sh := s.share(kind)
	sh.Count++
	sh.Bytes += e.bytes
	for _, b := range r.Blobs {
		s.blobs[blobIn{kind, b}] = true
	}
	return nil
}

// kindOf names what a record is, and the tree that it is a page of.
func kindOf(r store.Revision) (string, batos.OID, error) {
	k, err := codec.KindOf(r.Data)
	if err != nil {
		return "", 0, batos.Errorf(batos.CodeOf(err), "object %s as of %s: %w", r.OID, r.TID, err)
	}
	switch k {
	case codec.KindTree:
		return "tree", r.OID, nil
	case codec.KindObject:
		rev, err := decode(r)
		if err != nil {
			return "", 0, err
		}
		if v, ok := rev.state.Slot("kind"); ok {
			if name, ok := v.(object.Str); ok && rev.state.Protection == object.Sealed {
				return "object " + string(name), 0, nil
			}
		}
		return "object", 0, nil
	}
	rev, err := decode(r)
	if err != nil {
		return "", 0, err
	}
	return "page", rev.tree(), nil
}

func (s *surveyor) result(top int) *Survey {
	out := &Survey{}
	size, past, from := map[batos.OID]int64{}, map[batos.OID]int64{}, map[batos.OID]int64{}
	type way struct{ from, to batos.OID }
	told := map[way]bool{} // a tree refers once, from however many pages
	for oid, e := range s.at {
		owner := oid
		if e.tree != 0 {
			owner = e.tree
		}
		if e.past > 0 {
			past[owner] += e.past
		}
		if e.kind == "" {
			continue
		}
		size[owner] += e.bytes
		for _, to := range e.refs {
			target := s.at[to]
			switch {
			case target == nil || target.kind == "":
				out.Dangling++
			case target.kind == "page":
			case e.tree == 0:
				from[to]++
			case !told[way{owner, to}]:
				told[way{owner, to}] = true
				from[to]++
			}
		}
	}
	for _, sh := range s.shares {
		out.Kinds = append(out.Kinds, *sh)
	}
	slices.SortFunc(out.Kinds, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Bytes+b.PastBytes, a.Bytes+a.PastBytes), cmp.Compare(a.Kind, b.Kind))
	})
	out.Biggest, out.Busiest = s.largest(size, top), s.largest(past, top)
	for _, l := range s.largest(from, top) {
		out.Popular = append(out.Popular, Popular{l.OID, l.Kind, l.Tree, l.Bytes})
	}
	return out
}

func (s *surveyor) largest(of map[batos.OID]int64, top int) []Sized {
	out := make([]Sized, 0, len(of))
	for oid, n := range of {
		out = append(out, Sized{OID: oid, Bytes: n})
	}
	slices.SortFunc(out, func(a, b Sized) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.OID, b.OID)) })
	out = out[:min(top, len(out))]
	for i := range out {
		if e := s.at[out[i].OID]; e != nil {
			out[i].Kind, out[i].Tree = e.kind, e.tree == out[i].OID
		}
	}
	return out
}
