package guardian

import "go.starlark.net/syntax"

// block is a run of statements that are carried out one after the other.
// Blocks carry two things: the steps that path.go walks, and the version of
// every local variable that is in force at the block's end.
//
// Versions are made on demand while the blocks are built: a variable read in a
// block that does not assign it is looked up in the blocks before; where
// several lead to one block, a new version joins what they say. A loop's head
// is open until its body is known, and collects the versions that wait for it.
type block struct {
	preds []*block
	succs []*block
	steps []step

	versions map[variable]node
	open     bool              // more blocks will lead here
	waiting  map[variable]node // versions to join once it is closed

	dead     bool // nothing leads here
	reported bool // and that was said

	// Filled by path.go.
	states  states
	witness int32
	queued  bool
}

// step is what one statement, or the condition of one, does to a path.
type step struct {
	kind  stepKind
	pos   syntax.Position
	sites []int32
}

type stepKind uint8

const (
	ordinary    stepKind = iota // a statement
	transparent                 // the condition of a loop: not a statement of its own
	covenanted                  // self._p_changed = True
	leaves                      // return
	ends                        // the end of the method
)

func (b *builder) newBlock(preds ...*block) *block {
	n := &block{versions: map[variable]node{}}
	for _, p := range preds {
		n.follows(p)
	}
	return n
}

// deadBlock is what follows a statement that never lets the next one run.
func (b *builder) deadBlock() *block {
	n := b.newBlock()
	n.dead = true
	return n
}

func (n *block) follows(p *block) {
	n.preds = append(n.preds, p)
	p.succs = append(p.succs, n)
}

// close says that every block that leads to n is known.
func (b *builder) close(n *block) {
	n.open = false
	for v, join := range n.waiting {
		b.join(n, v, join)
	}
	n.waiting = nil
}

func (b *builder) join(n *block, v variable, join node) {
	for _, p := range n.preds {
		b.g.connect(edge{kind: flow, a: b.version(p, v), b: join})
	}
}

// version gives what v holds at the end of n, as n stands.
func (b *builder) version(n *block, v variable) node {
	// The chain of single predecessors is walked by a loop: it is as long as
	// the method.
	var chain []*block
	found := scalar
	for {
		if at, ok := n.versions[v]; ok {
			found = at
			break
		}
		if n.open {
			found = b.g.fresh(0)
			if n.waiting == nil {
				n.waiting = map[variable]node{}
			}
			n.waiting[v], n.versions[v] = found, found
			break
		}
		if len(n.preds) == 0 {
			break // not assigned on this path: reading it fails
		}
		if len(n.preds) > 1 {
			found = b.g.fresh(0)
			n.versions[v] = found
			b.join(n, v, found)
			break
		}
		chain = append(chain, n)
		n = n.preds[0]
	}
	for _, c := range chain {
		c.versions[v] = found
	}
	return found
}
