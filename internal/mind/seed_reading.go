package mind

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"batos"
)

// A message that the model does not know is read once more in other words: one
// word of it, or each that the model never saw, gives way to another form of
// it or to a word that means much the same. What the model makes of these
// readings are candidates; where they disagree, nothing was understood.

//go:embed thesaurus.txt
var thesaurusText string

// thesaurus has, for a word, others that may stand for it, the nearest first.
var thesaurus = sync.OnceValue(func() map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(thesaurusText) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" {
			m[f[0]] = f[1:]
		}
	}
	return m
})

// seedReading is a message in other words.
type seedReading struct {
	names  *seedNames
	said   string  // the message in these words
	weight float64 // how near it is to what was said, 0 to 1
	form   bool    // its words are other forms of those of the message, no other words
}

// otherWord is a word that may stand for another.
type otherWord struct {
	word   string
	weight float64
	form   bool // of the same word
}

const (
	maxReadings = 12
	formWeight  = 0.95 // of another form of the same word
	nearWeight  = 0.9  // of the nearest word of the thesaurus
	farther     = 0.06 // what each further one loses
)

// readings lists a message in other words, the nearest first.
func (s Seed) readings(t Task) []seedReading {
	n, err := s.lex.alias(t)
	if err != nil {
		return nil
	}
	words := splitWords(string(t.Selector))
	type variant struct {
		words  []string
		weight float64
		form   bool
	}
	var variants []variant
	if len(n.unknown) > 0 {
		variants = []variant{{words, 1, true}}
		for i, w := range words {
			if !slices.Contains(n.unknown, w) {
				continue
			}
			var next []variant
			for _, v := range variants {
				for _, o := range s.others(w) {
					c := slices.Clone(v.words)
					c[i] = o.word
					next = append(next, variant{c, v.weight * o.weight, v.form && o.form})
				}
			}
			slices.SortStableFunc(next, func(a, b variant) int { return cmp.Compare(b.weight, a.weight) })
			variants = next[:min(len(next), maxReadings)]
		}
	} else {
		for i, w := range words {
			if connectives[w] || !slices.Contains(n.prompt.Words, w) {
				continue
			}
			for _, o := range s.others(w) {
				c := slices.Clone(words)
				c[i] = o.word
				variants = append(variants, variant{c, o.weight, o.form})
			}
		}
		slices.SortStableFunc(variants, func(a, b variant) int { return cmp.Compare(b.weight, a.weight) })
	}
	var out []seedReading
	seen := map[string]bool{n.prompt.Text(): true}
	for _, v := range variants {
		if len(out) == maxReadings {
			break
		}
		other := t
		other.Selector = batos.Selector(strings.Join(v.words, "_"))
		names, err := s.names(other)
		if err != nil || seen[names.prompt.Text()] {
			continue
		}
		seen[names.prompt.Text()] = true
		out = append(out, seedReading{names, string(other.Selector), v.weight, v.form})
	}
	return out
}

// others lists the words of the corpus that may stand for w.
func (s Seed) others(w string) []otherWord {
	var out []otherWord
	add := func(word string, weight float64, form bool) {
		if word != w && s.lex.words[word] && !slices.ContainsFunc(out, func(o otherWord) bool { return o.word == word }) {
			out = append(out, otherWord{word, weight, form})
		}
	}
	forms := baseForms(w)
	for _, f := range forms {
		add(f, formWeight, true)
		if known, ok := s.lex.known(f); ok {
			add(known, formWeight, true)
		}
	}
	for _, f := range append([]string{w}, forms...) {
		for i, o := range thesaurus()[f] {
			add(o, max(0.1, nearWeight-farther*float64(i)), false)
		}
	}
	slices.SortStableFunc(out, func(a, b otherWord) int { return cmp.Compare(b.weight, a.weight) })
	return out
}

// baseForms lists what w may be a form of: chained is of chain, biggest of big,
// dropping of drop. Some are no words.
func baseForms(w string) []string {
	var out []string
	if s := singular(w); s != w {
		out = append(out, s)
	}
	for _, end := range []string{"ed", "ing", "er", "est", "ly", "s", "es"} {
		stem, ok := strings.CutSuffix(w, end)
		if !ok || len(stem) < 3 {
			continue
		}
		out = append(out, stem)
		switch n := len(stem); {
		case end == "ly" || end == "s":
		case stem[n-1] == 'i':
			out = append(out, stem[:n-1]+"y")
		case stem[n-1] == stem[n-2]:
			out = append(out, stem[:n-1], stem+"e")
		default:
			out = append(out, stem+"e")
		}
	}
	return out
}

// inOtherWords reports whether an attempt after earlier ones is to read the
// message in other words: the model had no usable answer to its own.
func inOtherWords(earlier []Attempt) bool {
	return len(earlier) > 0 && earlier[len(earlier)-1].Source == ""
}

// composeOther asks for all readings at once.
func (s Seed) composeOther(mark int32, readings []seedReading) Request {
	var r Request
	for i, other := range readings {
		text := other.names.prompt.Text()
		tokens := append([]int32{mark}, s.tok.Encode(text)...)
		if i == 0 {
			r = Request{Tokens: tokens, Gloss: text, StopTokens: []int32{SeedEnd}, MaxTokens: seedAnswer}
			continue
		}
		r.Again = append(r.Again, tokens)
	}
	return r
}

// readOther takes, of what the model made of the readings, the method with
// the most behind it; refusal is why it had none for the message as it was
// said, unknown that there were words in it which it never saw.
func (s Seed) readOther(t Task, readings []seedReading, r *Result, unknown bool, refusal error) (Answer, error) {
	type candidate struct {
		sum, best float64
		ways      int
		said      string
		form      bool
	}
	found := map[string]candidate{}
	total := 0.0
	for i := range min(len(readings), 1+len(r.Again)) {
		res := r
		if i > 0 {
			res = &r.Again[i-1]
		}
		text, err := s.answer(readings[i].names, t.Selector, res)
		if err != nil {
			continue
		}
		if strings.HasPrefix(text, `return {"view"`) {
			continue // a display is asked for by words that need no others
		}
		c := idea{body: text}
		if err := s.examine(readings[i].names, t.Selector, &c); err != nil || len(c.strange) > 0 || c.novel || c.left != "" {
			continue
		}
		source, err := readings[i].names.source(t.Selector, text)
		if err != nil {
			continue
		}
		v := found[source]
		p := sureness(res.Logprobs) * readings[i].weight
		if p > v.best {
			v.best, v.said, v.form = p, readings[i].said, readings[i].form
		}
		v.sum, v.ways = v.sum+p, v.ways+1
		total += p
		found[source] = v
	}
	best := ""
	for source, c := range found {
		if b := found[best]; c.best > b.best || c.best == b.best && (c.sum > b.sum || c.sum == b.sum && source < best) {
			best = source
		}
	}
	c := found[best]
	a := Answer{Source: best, Confidence: c.best * c.sum / max(total, 1e-9), Notes: fmt.Sprintf("read as %s, in %d of %d ways", c.said, c.ways, len(readings))}
	if best == "" || a.Confidence < otherConfidence {
		return Answer{}, refusal
	}
	if !unknown || !c.form || a.Confidence < unknownSure {
		a.Doubt = fmt.Sprintf("the model read %s as %s; it is %.0f %% sure", t.Selector, c.said, 100*a.Confidence)
	}
	return a, nil
}

// Bounds of confidence of a message in other words, set on the development
// sets. A person looks at what lies above the first, where about half is
// right; only another form of a word that the model never saw, with the
// probability of the second, needs none. A word that means the same in one
// sense may mean the contrary in another: to illuminate is to clear, and to
// clear a lamp is to put it out.
const (
	otherConfidence = 0.45
	unknownSure     = 0.75
)
