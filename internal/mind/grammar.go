package mind

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"batos"
)

// Grammar is a parsed GBNF grammar, the notation of llama.cpp: rules of
// literals, character classes, groups, alternatives and repetitions, with a
// rule named root. Local engines hold a model to one while it writes; for a
// server that cannot, [Grammar.Match] tells afterwards. It is immutable.
type Grammar struct {
	rules map[string]*gnode
}

// gkind says what a node of a grammar is.
type gkind uint8

const (
	gSeq   gkind = iota // all of sub, in order
	gAlt                // one of sub
	gRep                // sub[0], min to max times; max < 0 is without end
	gClass              // one character in ranges, or not in them
	gText               // literal text
	gRule               // the rule named text
)

type gnode struct {
	kind     gkind
	id       int
	sub      []*gnode
	min, max int
	not      bool
	ranges   [][2]rune
	text     string
	rule     *gnode
}

// Bounds of a grammar that is read.
const (
	maxGrammar    = 1 << 20
	maxGrammarGap = 100 // nesting of groups
	maxRepeat     = 1 << 16
)

// ParseGrammar reads GBNF. The error is invalid and names the line: a broken
// notation, a rule that is missing, or one that begins with itself, which no
// engine accepts.
func ParseGrammar(gbnf string) (*Grammar, error) {
	if len(gbnf) > maxGrammar {
		return nil, batos.Errorf(batos.Invalid, "a grammar of %d KiB is more than %d", len(gbnf)>>10, maxGrammar>>10)
	}
	p := &gparser{src: gbnf, rules: map[string]*gnode{}}
	for p.space(true); p.pos < len(p.src) && p.err == nil; p.space(true) {
		name := p.name()
		p.space(true)
		if !p.take("::=") {
			p.fail("want ::= after %q", name)
			break
		}
		p.space(true)
		if p.rules[name] != nil {
			p.fail("rule %q is defined twice", name)
		}
		p.rules[name] = p.alternatives(0)
	}
	if p.err != nil {
		return nil, p.err
	}
	if p.rules["root"] == nil {
		return nil, batos.Errorf(batos.Invalid, "grammar: there is no rule root")
	}
	for _, n := range p.refs {
		if n.rule = p.rules[n.text]; n.rule == nil {
			return nil, batos.Errorf(batos.Invalid, "grammar: there is no rule %.60q", n.text)
		}
	}
	g := &Grammar{rules: p.rules}
	return g, g.checkLeft()
}

type gparser struct {
	src   string
	pos   int
	rules map[string]*gnode
	refs  []*gnode
	nodes int
	err   error
}

func (p *gparser) fail(format string, args ...any) {
	if p.err == nil {
		line := 1 + strings.Count(p.src[:min(p.pos, len(p.src))], "\n")
		p.err = batos.Errorf(batos.Invalid, "grammar, line %d: %s", line, fmt.Sprintf(format, args...))
	}
}

func (p *gparser) node(k gkind, sub ...*gnode) *gnode {
	p.nodes++
	return &gnode{kind: k, id: p.nodes, sub: sub}
}

// space skips blanks and comments, and line ends if lines is set.
func (p *gparser) space(lines bool) {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' {
				p.pos++
			}
		default:
			return
		}
	}
}

func (p *gparser) take(s string) bool {
	if !strings.HasPrefix(p.src[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func (p *gparser) name() string {
	from := p.pos
	for p.pos < len(p.src) && wordByte(p.src[p.pos]) {
		p.pos++
	}
	if from == p.pos {
		p.fail("want a rule's name")
	}
	return p.src[from:p.pos]
}

// alternatives reads the right side of a rule, or the inside of a group.
func (p *gparser) alternatives(depth int) *gnode {
	if depth > maxGrammarGap {
		p.fail("groups are nested too deep")
	}
	alts := []*gnode{p.sequence(depth)}
	for p.err == nil && p.take("|") {
		p.space(true)
		alts = append(alts, p.sequence(depth))
	}
	if len(alts) == 1 {
		return alts[0]
	}
	return p.node(gAlt, alts...)
}

func (p *gparser) sequence(depth int) *gnode {
	seq := p.node(gSeq)
	for p.err == nil && p.pos < len(p.src) {
		var n *gnode
		switch c := p.src[p.pos]; {
		case c == '"':
			n = p.literal()
		case c == '[':
			n = p.class()
		case c == '(':
			p.pos++
			p.space(true)
			n = p.alternatives(depth + 1)
			if !p.take(")") {
				p.fail("a group is not closed")
			}
		case c == '.':
			p.pos++
			n = p.node(gClass)
			n.not = true
		case wordByte(c):
			n = p.node(gRule)
			n.text = p.name()
			p.refs = append(p.refs, n)
		default:
			return seq
		}
		p.space(depth > 0)
		seq.sub = append(seq.sub, p.repeated(n, depth))
	}
	return seq
}

func (p *gparser) repeated(n *gnode, depth int) *gnode {
	for p.err == nil && p.pos < len(p.src) {
		low, high := 0, -1
		switch p.src[p.pos] {
		case '*':
		case '+':
			low = 1
		case '?':
			high = 1
		case '{':
			end := strings.IndexByte(p.src[p.pos:], '}')
			if end < 0 {
				p.fail("a repetition is not closed")
				return n
			}
			a, b, two := strings.Cut(p.src[p.pos+1:p.pos+end], ",")
			low, high = p.times(a), -1
			if !two {
				high = low
			} else if strings.TrimSpace(b) != "" {
				high = p.times(b)
			}
			if high >= 0 && high < low {
				p.fail("a repetition of %d to %d times", low, high)
			}
			p.pos += end
		default:
			return n
		}
		p.pos++
		p.space(depth > 0)
		n = p.node(gRep, n)
		n.min, n.max = low, high
	}
	return n
}

func (p *gparser) times(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 || n > maxRepeat {
		p.fail("%.20q is no number of times", s)
	}
	return n
}

func (p *gparser) literal() *gnode {
	p.pos++
	var b strings.Builder
	for p.err == nil {
		if p.take(`"`) {
			n := p.node(gText)
			n.text = b.String()
			return n
		}
		b.WriteRune(p.char())
	}
	return p.node(gText)
}

func (p *gparser) class() *gnode {
	p.pos++
	n := p.node(gClass)
	n.not = p.take("^")
	for p.err == nil && !p.take("]") {
		low := p.char()
		high := low
		if p.pos+1 < len(p.src) && p.src[p.pos] == '-' && p.src[p.pos+1] != ']' {
			p.pos++
			high = p.char()
		}
		n.ranges = append(n.ranges, [2]rune{low, high})
	}
	return n
}

// char reads one character of a literal or class.
func (p *gparser) char() rune {
	if p.pos >= len(p.src) || p.src[p.pos] == '\n' {
		p.fail("a text or class is not closed")
		return 0
	}
	if p.src[p.pos] != '\\' {
		r, n := utf8.DecodeRuneInString(p.src[p.pos:])
		p.pos += n
		return r
	}
	if p.pos+1 >= len(p.src) {
		p.fail("an escape is cut off")
		return 0
	}
	c := p.src[p.pos+1]
	p.pos += 2
	digits := 0
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case '\\', '"', '[', ']':
		return rune(c)
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		p.fail("unknown escape \\%c", c)
		return 0
	}
	if p.pos+digits > len(p.src) {
		p.fail("an escape is cut off")
		return 0
	}
	v, err := strconv.ParseUint(p.src[p.pos:p.pos+digits], 16, 31)
	if err != nil {
		p.fail("%q is no character", p.src[p.pos:p.pos+digits])
	}
	p.pos += digits
	return rune(v)
}

// checkLeft refuses rules that come to themselves before any character.
func (g *Grammar) checkLeft() error {
	state := map[*gnode]int{} // 1: on the way, 2: done
	empty := map[*gnode]bool{}
	var visit func(n *gnode) (bool, error)
	visit = func(n *gnode) (bool, error) {
		switch state[n] {
		case 1:
			return false, batos.Errorf(batos.Invalid, "grammar: a rule begins with itself")
		case 2:
			return empty[n], nil
		}
		state[n] = 1
		can := false
		switch n.kind {
		case gText:
			can = n.text == ""
		case gRule:
			e, err := visit(n.rule)
			if err != nil {
				return false, batos.Errorf(batos.Invalid, "grammar: rule %.60q begins with itself", n.text)
			}
			can = e
		case gSeq:
			can = true
			for _, s := range n.sub {
				e, err := visit(s)
				if err != nil {
					return false, err
				}
				if !e {
					can = false
					break
				}
			}
		case gAlt:
			for _, s := range n.sub {
				e, err := visit(s)
				if err != nil {
					return false, err
				}
				can = can || e
			}
		case gRep:
			e, err := visit(n.sub[0])
			if err != nil {
				return false, err
			}
			can = e || n.min == 0
		}
		state[n], empty[n] = 2, can
		return can, nil
	}
	for _, n := range g.rules {
		if _, err := visit(n); err != nil {
			return err
		}
	}
	return nil
}

// maxMatch bounds a text that is matched, in bytes.
const maxMatch = 256 << 10

// Match checks that text as a whole is of the grammar. The error is invalid
// and says how far the text goes along.
func (g *Grammar) Match(text string) error {
	if len(text) > maxMatch {
		return batos.Errorf(batos.Invalid, "a text of %d KiB is too long to check against a grammar", len(text)>>10)
	}
	m := &gmatcher{text: text, memo: map[gstate][]int{}}
	if slices.Contains(m.ends(g.rules["root"], 0), len(text)) {
		return nil
	}
	if m.far == len(text) {
		return batos.Errorf(batos.Invalid, "the text ends before the grammar does")
	}
	return batos.Errorf(batos.Invalid, "the text leaves the grammar at byte %d: %.40q", m.far, text[m.far:])
}

type gstate struct{ node, pos int }

// gmatcher finds, for a node and a place, all places where it may end. Every
// pair is computed once.
type gmatcher struct {
	text string
	memo map[gstate][]int
	far  int
}

func (m *gmatcher) ends(n *gnode, at int) []int {
	switch n.kind { // what is cheaper done again than remembered
	case gText:
		if strings.HasPrefix(m.text[at:], n.text) {
			m.far = max(m.far, at+len(n.text))
			return []int{at + len(n.text)}
		}
		return nil
	case gClass:
		r, size := utf8.DecodeRuneInString(m.text[at:])
		if size == 0 || !n.has(r) {
			return nil
		}
		m.far = max(m.far, at+size)
		return []int{at + size}
	case gRule:
		return m.ends(n.rule, at)
	}
	key := gstate{n.id, at}
	if out, ok := m.memo[key]; ok {
		return out
	}
	var out []int
	switch n.kind {
	case gSeq:
		out = []int{at}
		for _, s := range n.sub {
			out = m.step(s, out)
		}
	case gAlt:
		for _, s := range n.sub {
			out = union(out, m.ends(s, at))
		}
	case gRep:
		if n.sub[0].kind == gClass {
			out = m.run(n, at)
			break
		}
		now := []int{at}
		if n.min == 0 {
			out = now
		}
		for i := 1; len(now) > 0 && (n.max < 0 || i <= n.max); i++ {
			next := m.step(n.sub[0], now)
			if i >= n.min {
				if next = without(next, out); len(next) == 0 {
					break
				}
				out = union(out, next)
			}
			now = next
		}
	}
	m.memo[key] = out
	return out
}

// run is ends of a repeated class.
func (m *gmatcher) run(n *gnode, at int) []int {
	var out []int
	for i := 0; n.max < 0 || i <= n.max; i++ {
		if i >= n.min {
			out = append(out, at)
		}
		next := m.ends(n.sub[0], at)
		if len(next) == 0 {
			break
		}
		at = next[0]
	}
	return out
}

func (m *gmatcher) step(n *gnode, from []int) []int {
	if len(from) == 1 {
		return m.ends(n, from[0])
	}
	var out []int
	for _, at := range from {
		out = union(out, m.ends(n, at))
	}
	return out
}

func (n *gnode) has(r rune) bool {
	in := slices.ContainsFunc(n.ranges, func(x [2]rune) bool { return r >= x[0] && r <= x[1] })
	return in != n.not
}

// union joins two sorted sets.
func union(a, b []int) []int {
	if len(a) == 0 {
		return b
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func without(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(x int) bool { _, in := slices.BinarySearch(b, x); return in })
}
