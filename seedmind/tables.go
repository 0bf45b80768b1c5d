package seedmind

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"batos/internal/mind"
)

// Sizes of the tokenizer.
const (
	mergedPieces = 320  // runs of code that are one entry, at least
	vocabulary   = 5120 // entries, at most
	roundSize    = 256  // the trainer multiplies fastest by multiples of it
	tableSamples = 6000 // examples that the pieces are counted in
	fewestSeen   = 14   // times a word is there to be an entry
	longestPiece = 40   // bytes
	tableSeed    = 20261

	// Bounds of confidence, set on the sets for development and on generated
	// ones: see the model's card.
	minConfidence  = 0.05
	sureConfidence = 0.1
)

// Tables makes the tokenizer's pieces and the lists of words that the model's
// profile needs. They follow from the corpus alone.
func (c *Corpus) Tables() mind.SeedTables {
	t := mind.SeedTables{Version: mind.SeedVersion, MinConfidence: minConfidence, SureConfidence: sureConfidence, Parts: wordParts}
	seen := map[string]bool{}
	for _, p := range wordParts {
		seen[p] = true
	}
	add := func(p string) {
		if len(p) > 1 && !seen[p] {
			seen[p] = true
			t.Pieces = append(t.Pieces, p)
		}
	}
	for i := range mind.SeedMaxSlots {
		add("$" + itoa(i))
		add("%" + itoa(i))
	}
	for i := range mind.SeedMaxFields {
		add("#" + itoa(i))
	}
	add("%~")
	for _, typ := range extraTypes {
		add(":" + string(typ))
	}
	for _, typ := range []mind.SeedType{mind.SeedNumber, mind.SeedBools, mind.SeedDict} {
		add(":" + string(typ))
	}
	for _, r := range mind.SeedRoles() {
		add("^" + r)
	}
	args := []string{"n", "str", "bool", "[n]", "[str]", "[?]", "{}", "none", "obj", "any"}
	add("()\n")
	add(")\n")
	for _, a := range args {
		add("(" + a + ")\n")
		add("(" + a)
		add("," + a)
		add("," + a + ")\n")
	}
	for w := range c.words {
		t.Words = append(t.Words, w)
	}
	slices.Sort(t.Words)
	for _, w := range t.Words {
		add("_" + w)
	}
	pieces, least := c.codePieces()
	for i, p := range pieces {
		size := mind.SeedFirstPiece + len(t.Parts) + len(t.Pieces)
		if size >= vocabulary || i >= least && size%roundSize == 0 {
			break
		}
		add(p)
	}
	things := map[string]bool{}
	for _, w := range c.Things {
		things[w] = true
	}
	for w := range things {
		t.Things = append(t.Things, w)
	}
	slices.Sort(t.Things)
	methods, err := mind.PackSeedMethods(c.methods(), t.Words)
	if err != nil {
		panic(err) // the words are those of the phrases
	}
	t.Methods = methods
	return t
}

// methods lists every method of the corpus with the words of its phrases, for
// every type of slot and argument.
func (c *Corpus) methods() []mind.SeedMethod {
	var out []mind.SeedMethod
	for _, f := range c.Families {
		words := f.words()
		if f.all != nil {
			p := mind.SeedPrompt{Slots: []mind.SeedSlot{{Type: mind.SeedStr}, {Type: mind.SeedInt}}}
			body := f.body(p, binding{})
			key, all := mind.SeedTextOfAll(p, body)
			if !all {
				key = mind.SeedMethodKey(p, body)
			}
			out = append(out, mind.SeedMethod{Key: key, Words: words})
			continue
		}
		for _, form := range f.forms() {
			var p mind.SeedPrompt
			var b binding
			fields := 0
			for i, spec := range form {
				b.slots[i] = i
				slot := mind.SeedSlot{Type: spec.Type}
				for _, field := range spec.Fields {
					slot.Fields = append(slot.Fields, mind.SeedField{Type: field.Type})
					b.fields[field.letter()] = fields
					fields++
				}
				p.Slots = append(p.Slots, slot)
			}
			for _, p.Args = range f.argTypes(form) {
				out = append(out, mind.SeedMethod{Key: mind.SeedMethodKey(p, f.body(p, b)), Words: words})
			}
		}
	}
	return out
}

// forms are the family's forms, one without slots if it has none.
func (f *Family) forms() []Form {
	if len(f.Forms) == 0 {
		return []Form{{}}
	}
	return f.Forms
}

// words lists the words of the family's phrases, and those that may stand in
// any phrase.
func (f *Family) words() []string {
	seen := map[string]bool{}
	for _, w := range putIn {
		seen[w] = true
	}
	for _, l := range f.Lines {
		for _, place := range l {
			for _, choice := range place {
				for _, w := range choice {
					if isWord(w) {
						seen[w] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// wordParts let the tokenizer write words that it does not know whole in
// fewer entries than bytes.
var wordParts = strings.Fields(`th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea
	ra ce li ch ll be ma si om ur ing ion ent ate tion ous able ment ess ness ly un pre con pro com per`)

// codePieces finds the runs of code and text that are worth an entry of their
// own: atoms are words, numbers and single characters; the pair of neighbours
// seen most often becomes one piece, again and again. Aliases stay alone.
// The first least of them are wanted, the others fill the tokenizer up.
func (c *Corpus) codePieces() (pieces []string, least int) {
	g := NewGenerator(c, tableSeed)
	counts := map[string]int{}
	for i := range tableSamples {
		s := g.Sample(i)
		if s.Refuse {
			continue
		}
		counts[s.Answer]++
	}
	texts := make([]string, 0, len(counts))
	for t := range counts {
		texts = append(texts, t)
	}
	slices.Sort(texts)
	seqs := make([][]string, len(texts))
	words := map[string]int{}
	for i, t := range texts {
		seqs[i] = atoms(t)
		for _, a := range seqs[i] {
			if len(a) > 1 && a[0] != '$' && a[0] != '#' && a[0] != '%' {
				words[a]++
			}
		}
	}
	out := frequent(words, fewestSeen)
	least = len(out) + mergedPieces
	for range mergedPieces + roundSize {
		a, b := bestPair(seqs)
		if a == "" {
			break
		}
		out = append(out, a+b)
		for i := range seqs {
			seqs[i] = merge(seqs[i], a, b)
		}
	}
	return out, least
}

func frequent(counts map[string]int, least int) []string {
	var out []string
	for w, n := range counts {
		if n >= least {
			out = append(out, w)
		}
	}
	sort.Strings(out)
	return out
}

// atoms takes a text apart: aliases, words with a space before them, single
// bytes.
func atoms(t string) []string {
	var out []string
	letter := func(i int) bool {
		return i < len(t) && (t[i] >= 'a' && t[i] <= 'z' || t[i] >= 'A' && t[i] <= 'Z' || t[i] == '_')
	}
	for i := 0; i < len(t); {
		j := i + 1
		switch {
		case strings.IndexByte("$#%", t[i]) >= 0 && j < len(t) && (t[j] >= '0' && t[j] <= '9' || t[j] == '~'):
			for j++; j < len(t) && t[j] >= '0' && t[j] <= '9'; j++ {
			}
		case t[i] == ' ' && letter(j), letter(i):
			for letter(j) {
				j++
			}
		}
		out = append(out, t[i:j])
		i = j
	}
	return out
}

func bestPair(seqs [][]string) (string, string) {
	counts := map[[2]string]int{}
	for _, s := range seqs {
		for i := 1; i < len(s); i++ {
			if !isAlias(s[i-1]) && !isAlias(s[i]) && len(s[i-1])+len(s[i]) <= longestPiece {
				counts[[2]string{s[i-1], s[i]}]++
			}
		}
	}
	var best [2]string
	most := 1
	for p, n := range counts {
		if n > most || n == most && p[0]+p[1] < best[0]+best[1] {
			best, most = p, n
		}
	}
	return best[0], best[1]
}

func isAlias(a string) bool {
	return len(a) > 1 && strings.IndexByte("$#%", a[0]) >= 0 && (a[1] >= '0' && a[1] <= '9' || a[1] == '~')
}

func merge(s []string, a, b string) []string {
	out := s[:0]
	for i := 0; i < len(s); i++ {
		if i+1 < len(s) && s[i] == a && s[i+1] == b {
			out = append(out, a+b)
			i++
		} else {
			out = append(out, s[i])
		}
	}
	return out
}
