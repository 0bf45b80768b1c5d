package image

import (
	"slices"

	"batos"
	"batos/internal/codec"
)

// maxHeight is far above the height of any tree; a longer way down is a circle
// in damaged pages.
const maxHeight = 40

// page loads one page of a tree.
func page(load loader, tree, oid batos.OID) (*revision, error) {
	rev, err := load(oid)
	if err != nil {
		return nil, err
	}
	if rev == nil || rev.leaf == nil && rev.inner == nil {
		return nil, batos.Errorf(batos.Corrupt, "tree %s lacks its page %s", tree, oid)
	}
	return rev, nil
}

// kidFor gives the place of the page below p that has key.
func kidFor(p *codec.Inner, key string) int {
	i, found := slices.BinarySearch(p.Keys, key)
	if !found {
		i--
	}
	return max(i, 0)
}

// findLeaf gives the leaf that has key, or would have it; nil in an empty tree.
func findLeaf(load loader, tree, top batos.OID, key string) (*revision, error) {
	if top == 0 {
		return nil, nil
	}
	oid := top
	for range maxHeight {
		rev, err := page(load, tree, oid)
		if err != nil {
			return nil, err
		}
		if rev.leaf != nil {
			return rev, nil
		}
		oid = rev.inner.Kids[kidFor(rev.inner, key)]
	}
	return nil, batos.Errorf(batos.Corrupt, "tree %s runs in a circle", tree)
}

// getIn gives what a leaf, which may be nil, has for key.
func getIn(leaf *revision, key string) (raw string, ok bool) {
	if leaf == nil {
		return "", false
	}
	i, ok := slices.BinarySearch(leaf.leaf.Keys, key)
	if !ok {
		return "", false
	}
	return leaf.leaf.Values[i], true
}

// cursor walks the entries of a tree as one view has it, in either direction.
// Pages are immutable, so nothing that is written meanwhile disturbs it.
type cursor struct {
	load  loader
	tree  batos.OID
	desc  bool
	visit func(leaf *revision) // called for every leaf it looks at
	stack []level
	leaf  *codec.Leaf // nil: at the end
	i     int         // in leaf
}

type level struct {
	inner *codec.Inner
	i     int
}

// seek goes to the first entry with a key of at least bound, or, descending,
// to the last one below it. No bound is the first or last entry of all.
func (c *cursor) seek(top batos.OID, bound string) error {
	c.stack, c.leaf = c.stack[:0], nil
	if top == 0 {
		return nil
	}
	return c.down(top, bound)
}

// down goes from a page to a leaf, and to the entry nearest bound.
func (c *cursor) down(oid batos.OID, bound string) error {
	for len(c.stack) < maxHeight {
		rev, err := page(c.load, c.tree, oid)
		if err != nil {
			return err
		}
		if rev.leaf == nil {
			i := kidFor(rev.inner, bound)
			if c.desc && bound == "" {
				i = len(rev.inner.Kids) - 1
			}
			c.stack = append(c.stack, level{rev.inner, i})
			oid = rev.inner.Kids[i]
			continue
		}
		if c.visit != nil {
			c.visit(rev)
		}
		c.leaf = rev.leaf
		switch {
		case !c.desc:
			c.i, _ = slices.BinarySearch(c.leaf.Keys, bound)
		case bound == "":
			c.i = len(c.leaf.Keys) - 1
		default:
			c.i, _ = slices.BinarySearch(c.leaf.Keys, bound)
			c.i--
		}
		return c.settle()
	}
	return batos.Errorf(batos.Corrupt, "tree %s runs in a circle", c.tree)
}

// settle goes to the neighbouring leaf when the place is outside this one.
func (c *cursor) settle() error {
	if c.i >= 0 && c.i < len(c.leaf.Keys) {
		return nil
	}
	for len(c.stack) > 0 {
		l := &c.stack[len(c.stack)-1]
		if c.desc {
			l.i--
		} else {
			l.i++
		}
		if l.i >= 0 && l.i < len(l.inner.Kids) {
			return c.down(l.inner.Kids[l.i], "")
		}
		c.stack = c.stack[:len(c.stack)-1]
	}
	c.leaf = nil
	return nil
}

func (c *cursor) next() error {
	if c.desc {
		c.i--
	} else {
		c.i++
	}
	return c.settle()
}

// entry gives the entry the cursor is at, if any.
func (c *cursor) entry() (key, raw string, ok bool) {
	if c.leaf == nil {
		return "", "", false
	}
	return c.leaf.Keys[c.i], c.leaf.Values[c.i], true
}
