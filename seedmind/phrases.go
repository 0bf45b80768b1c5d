package seedmind

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"batos/internal/mind"
)

// Phrases gives what the corpus's phrases ask for, without those that are held
// out for evaluation: what the model was taught, to hold its ideas against.
// The families are read at the first question, in some 30 ms.
func Phrases() mind.SeedPhrases { return &phrases{} }

type phrases struct {
	once     sync.Once
	hash     string
	families []*Family
	lines    map[string][]lineOf // by the words that they have
	bare     []lineOf            // lines without a word
}

// lineOf is a line of a family.
type lineOf struct {
	family *Family
	line   Line
}

var _ mind.SeedPhrases = (*phrases)(nil)

// Corpus is the hash of the families that are part of the program.
func (k *phrases) Corpus() string {
	k.once.Do(k.read)
	return k.hash
}

// read panics on families that are wrong: they are part of the program, and
// every test of the package reads them.
func (k *phrases) read() {
	c := &Corpus{}
	if err := c.parse(familyFiles); err != nil {
		panic(err)
	}
	k.families, k.hash = c.Families, c.Hash
	k.lines = map[string][]lineOf{}
	for _, f := range k.families {
		for _, l := range f.Lines {
			words := l.words()
			one := lineOf{family: f, line: l}
			for w := range words {
				k.lines[w] = append(k.lines[w], one)
			}
			if len(words) == 0 {
				k.bare = append(k.bare, one)
			}
		}
	}
}

// words are the plain words of a line.
func (l Line) words() map[string]bool {
	out := map[string]bool{}
	for _, place := range l {
		for _, choice := range place {
			for _, w := range choice {
				if isWord(w) {
					out[w] = true
				}
			}
		}
	}
	return out
}

// Near lists the methods of the nearest phrases.
func (k *phrases) Near(p mind.SeedPrompt) []mind.SeedPhrase {
	k.once.Do(k.read)
	var lines []lineOf
	type lineKey struct {
		family *Family
		first  *[][]string
	}
	seen := map[lineKey]bool{}
	take := func(more []lineOf) {
		for _, l := range more {
			key := lineKey{l.family, &l.line[0]}
			if !seen[key] {
				seen[key] = true
				lines = append(lines, l)
			}
		}
	}
	plain := 0
	for _, w := range p.Words {
		if isWord(w) {
			plain++
			take(k.lines[w])
		}
	}
	take(k.bare)
	if plain == 0 { // $0_~: every line has as much in common
		for _, f := range k.families {
			for _, l := range f.Lines {
				take([]lineOf{{family: f, line: l}})
			}
		}
	}
	found := map[string]mind.SeedPhrase{}
	for _, l := range lines {
		k.line(p, l, found)
	}
	out := make([]mind.SeedPhrase, 0, len(found))
	for _, f := range found {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b mind.SeedPhrase) int {
		return cmp.Or(cmp.Compare(b.Likeness, a.Likeness), cmp.Compare(a.Body, b.Body))
	})
	return out
}

// line enters the methods that a line's phrases ask for.
func (k *phrases) line(p mind.SeedPrompt, l lineOf, found map[string]mind.SeedPhrase) {
	n := nearest{p: p}
	var forms []Form
	if l.family.all != nil {
		if len(p.Args) > 0 || len(p.Slots) < l.family.all.min {
			return
		}
		forms = []Form{nil}
	} else {
		forms = slices.DeleteFunc(slices.Clone(l.family.forms()), func(form Form) bool {
			return !slices.ContainsFunc(l.family.argTypes(form), func(ts []mind.SeedType) bool { return slices.Equal(ts, p.Args) })
		})
	}
	if len(forms) == 0 {
		return
	}
	best := 0.0
	var words []string
	l.line.phrases(func(ws []string) {
		if likeness := min(1, n.likeness(ws)); likeness > best && !heldPhrase(l.family, ws) && !heldCell(l.family) {
			best, words = likeness, slices.Clone(ws)
		}
	})
	if words == nil {
		return
	}
	for _, form := range forms {
		b, ok := binding{}, true
		if l.family.all != nil {
			ok = l.family.bindAll(p, &b)
		} else {
			b, ok = n.bind(form, words)
		}
		if !ok {
			continue
		}
		body := l.family.body(p, b)
		if f, ok := found[body]; !ok || best > f.Likeness {
			found[body] = mind.SeedPhrase{Body: body, Words: said(p, form, words, b), Likeness: best}
		}
	}
}

// said puts a phrase in the aliases of a prompt, names in the number that the
// prompt has them in.
func said(p mind.SeedPrompt, form Form, words []string, b binding) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if !isPlaceholder(w) {
			continue
		}
		if k := strings.IndexByte(slotLetters, w[1]); k >= 0 {
			alias := "$" + itoa(b.slots[k])
			out[i] = alias
			if k < len(form) {
				out[i] += numbersOf(w, form[k].Type)[0]
			}
			for _, own := range p.Words {
				if own == alias || own == alias+mind.SeedOne {
					out[i] = own
				}
			}
		} else if k := strings.IndexByte(fieldLetters, w[1]); k >= 0 {
			out[i] = "#" + itoa(b.fields[k])
		} else {
			out[i] = mind.SeedThing
		}
	}
	return out
}

// bindAll finds the slot whose text a layout of all slots is named by.
func (f *Family) bindAll(p mind.SeedPrompt, b *binding) bool {
	if !f.all.named {
		return true
	}
	meant := slices.IndexFunc(p.Slots, isText)
	for _, w := range p.Words {
		if w[0] == '$' {
			meant = number(w[1:])
			break
		}
	}
	if meant < 0 || meant >= len(p.Slots) || !isText(p.Slots[meant]) {
		return false
	}
	b.slots[0] = meant
	return true
}
