package mind

import (
	"math/rand/v2"
	"strings"
)

// derive writes a random text of the grammar, which should have at most about
// size bytes: beyond that, the shortest way out is taken.
func (g *Grammar) derive(r *rand.Rand, size int) string {
	d := &deriver{r: r, size: size, cost: map[*gnode]int{}}
	for range 200 { // shortest derivations, by rounds until nothing changes
		d.changed = false
		for _, n := range g.rules {
			d.measure(n)
		}
		if !d.changed {
			break
		}
	}
	d.write(g.rules["root"], 0)
	return d.b.String()
}

type deriver struct {
	r       *rand.Rand
	b       strings.Builder
	size    int
	cost    map[*gnode]int // fewest bytes; absent is not known yet
	changed bool
}

const farAway = 1 << 30

func (d *deriver) of(n *gnode) int {
	if c, ok := d.cost[n]; ok {
		return c
	}
	return farAway
}

func (d *deriver) measure(n *gnode) {
	for _, s := range n.sub {
		d.measure(s)
	}
	c := farAway
	switch n.kind {
	case gText:
		c = len(n.text)
	case gClass:
		c = 1
	case gRule:
		c = d.of(n.rule)
	case gRep:
		if c = 0; n.min > 0 {
			c = min(farAway, n.min*min(d.of(n.sub[0]), farAway/n.min))
		}
	case gAlt:
		for _, s := range n.sub {
			c = min(c, d.of(s))
		}
	case gSeq:
		c = 0
		for _, s := range n.sub {
			c = min(farAway, c+d.of(s))
		}
	}
	if c < d.of(n) {
		d.cost[n] = c
		d.changed = true
	}
}

func (d *deriver) write(n *gnode, depth int) {
	over := d.b.Len() > d.size || depth > 120
	switch n.kind {
	case gText:
		d.b.WriteString(n.text)
	case gClass:
		d.b.WriteRune(d.char(n))
	case gRule:
		d.write(n.rule, depth+1)
	case gSeq:
		for _, s := range n.sub {
			d.write(s, depth+1)
		}
	case gAlt:
		pick := n.sub[d.r.IntN(len(n.sub))]
		if over {
			for _, s := range n.sub {
				if d.of(s) < d.of(pick) {
					pick = s
				}
			}
		}
		d.write(pick, depth+1)
	case gRep:
		times := n.min
		for !over && (n.max < 0 || times < n.max) && d.r.IntN(3) > 0 {
			times++
		}
		for range times {
			d.write(n.sub[0], depth+1)
		}
	}
}

// char picks from a class, mostly plain letters where it is a negated one.
func (d *deriver) char(n *gnode) rune {
	if !n.not {
		x := n.ranges[d.r.IntN(len(n.ranges))]
		return x[0] + rune(d.r.IntN(int(x[1]-x[0])+1))
	}
	pool := []rune("abcxyz 0189_-+*/%#@!?:;,.()[]{}<>=&|~^'\"\\`$é漢🦇\t\n\u00a0\u2028")
	for {
		if r := pool[d.r.IntN(len(pool))]; n.has(r) {
			return r
		}
	}
}
