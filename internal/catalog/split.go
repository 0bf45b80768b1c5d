package catalog

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"batos"
)

// Chunkers make chunks of documents.
const (
	// Recursive cuts at the strongest border that fits: sections, paragraphs,
	// lines, sentences, into chunks of 200 to 400 tokens.
	Recursive = "recursive"
	// Semantic cuts between sentences where neighbours are least alike: at the
	// 5th percentile of their similarity.
	Semantic = "semantic"
)

// Bounds of chunks, in tokens as [Tokens] counts.
const (
	chunkLeast = 200
	chunkMost  = 400
)

// Similarity says how alike neighbouring sentences are: n-1 numbers for n
// sentences. Nil takes their words: see [Lexical].
type Similarity func(sentences []string) ([]float64, error)

// Split makes chunks of a document.
func Split(chunker, text string, like Similarity) ([]string, error) {
	switch chunker {
	case Recursive:
		return recursive(text, borders), nil
	case Semantic:
		return semantic(text, like)
	}
	return nil, batos.Errorf(batos.Invalid, "there is no chunker %.40q; there are %s and %s", chunker, Recursive, Semantic)
}

// Sentences splits text by Unicode's rules (UAX 29). Blank lines end a sentence
// too.
func Sentences(text string) []string {
	out := sentences(text)
	for i, s := range out {
		out[i] = strings.TrimSpace(s)
	}
	return out
}

// sentences are pieces of text with what stands between them: joined they are
// the text, but for blanks at its beginning.
func sentences(text string) []string {
	var out []string
	for _, paragraph := range strings.SplitAfter(text, "\n\n") {
		for state := -1; len(paragraph) > 0; {
			var s string
			s, paragraph, state = uniseg.FirstSentenceInString(paragraph, state)
			switch {
			case strings.TrimSpace(s) != "":
				out = append(out, s)
			case len(out) > 0:
				out[len(out)-1] += s
			}
		}
	}
	return out
}

// partMost is the size of the parts of a long document in bytes: few enough that
// one message can index it.
const partMost = 1 << 20

// Parts cuts a long text into parts, each for a document and a message of its
// own, where a paragraph, a line or at least a letter ends.
func Parts(text string) []string {
	var out []string
	for len(text) > partMost {
		head := text[:partMost]
		cut := strings.LastIndex(head, "\n\n")
		if cut < partMost/2 {
			cut = strings.LastIndexByte(head, '\n')
		}
		if cut < partMost/2 {
			for cut = partMost; text[cut]&0xc0 == 0x80; {
				cut--
			}
		}
		out = append(out, text[:cut])
		text = text[cut:]
	}
	return append(out, text)
}

// borders are where a text is cut, the strongest first.
var borders = []func(string) []string{
	func(s string) []string { return before(s, "\n# ", "\n## ", "\n### ", "\nfunc ", "\ntype ") },
	func(s string) []string { return strings.SplitAfter(s, "\n\n") },
	func(s string) []string { return strings.SplitAfter(s, "\n") },
	func(s string) []string {
		var out []string
		for state := -1; len(s) > 0; {
			var one string
			one, s, state = uniseg.FirstSentenceInString(s, state)
			out = append(out, one)
		}
		return out
	},
	func(s string) []string { return strings.SplitAfter(s, " ") },
	func(s string) []string { // one word beyond all measure: cut where letters end
		var out []string
		for len(s) > 0 {
			n := min(len(s), 1200)
			for n < len(s) && s[n]&0xc0 == 0x80 {
				n++
			}
			out = append(out, s[:n])
			s = s[n:]
		}
		return out
	},
}

// before splits before each mark.
func before(s string, marks ...string) []string {
	var out []string
	begin := 0
	for i := 1; i < len(s); i++ {
		if s[i] != '\n' {
			continue
		}
		for _, m := range marks {
			if strings.HasPrefix(s[i:], m) {
				out = append(out, s[begin:i])
				begin = i
				break
			}
		}
	}
	return append(out, s[begin:])
}

// recursive cuts text into pieces that fit and joins small neighbours.
func recursive(text string, at []func(string) []string) []string {
	var out []string
	var open strings.Builder
	held := 0
	flush := func() {
		if s := strings.TrimSpace(open.String()); s != "" {
			out = append(out, s)
		}
		open.Reset()
		held = 0
	}
	for _, piece := range at[0](text) {
		n := Tokens(piece)
		if n > chunkMost && len(at) > 1 {
			flush()
			out = append(out, recursive(piece, at[1:])...)
			continue
		}
		if held+n > chunkMost || held >= chunkLeast {
			flush()
		}
		open.WriteString(piece)
		held += n
	}
	flush()
	return out
}

// percentile of neighbours' similarity at which the semantic chunker cuts.
const breakPercentile = 0.05

func semantic(text string, like Similarity) ([]string, error) {
	pieces := sentences(text)
	if len(pieces) == 0 {
		return nil, nil
	}
	if Tokens(text) <= chunkLeast { // one chunk says it all
		return []string{strings.TrimSpace(text)}, nil
	}
	breaks := map[int]bool{}
	if len(pieces) > 1 {
		if like == nil {
			like = Lexical
		}
		alike, err := like(Sentences(text))
		if err != nil {
			return nil, err
		}
		if len(alike) != len(pieces)-1 {
			return nil, batos.Errorf(batos.Invalid, "%d similarities were given for %d sentences", len(alike), len(pieces))
		}
		breaks = leastAlike(alike)
	}
	var out []string
	add := func(chunk string) {
		if chunk = strings.TrimSpace(chunk); Tokens(chunk) <= chunkMost {
			out = append(out, chunk)
			return
		}
		out = append(out, recursive(chunk, borders[1:])...) // one sentence can be too long by itself
	}
	begin, held := 0, Tokens(pieces[0])
	for i := 1; i < len(pieces); i++ {
		n := Tokens(pieces[i])
		if breaks[i-1] || held+n > chunkMost {
			add(strings.Join(pieces[begin:i], ""))
			begin, held = i, 0
		}
		held += n
	}
	add(strings.Join(pieces[begin:], ""))
	return out, nil
}

// leastAlike marks the places at and below the percentile, at least one. Where
// many places are equally unlike, as where no words are shared at all, there
// are no more than that: the first of them.
func leastAlike(alike []float64) map[int]bool {
	order := make([]int, len(alike))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(alike[a], alike[b]) })
	out := map[int]bool{}
	for _, i := range order[:max(1, int(breakPercentile*float64(len(order))))] {
		out[i] = true
	}
	return out
}

// Lexical compares windows of sentences by the words that they share (Hearst's
// TextTiling, 1997): what there is without an embedder.
func Lexical(sentences []string) ([]float64, error) {
	const window = 2
	counts := make([]map[string]float64, len(sentences))
	a, err := analyzer(DefaultLanguage)
	if err != nil {
		return nil, err
	}
	for i, s := range sentences {
		counts[i] = map[string]float64{}
		for _, t := range a(s) {
			counts[i][t]++
		}
	}
	sum := func(from, to int) map[string]float64 {
		out := map[string]float64{}
		for i := max(0, from); i < min(to, len(counts)); i++ {
			for t, n := range counts[i] {
				out[t] += n
			}
		}
		return out
	}
	out := make([]float64, len(sentences)-1)
	for i := range out {
		left, right := sum(i+1-window, i+1), sum(i+1, i+1+window)
		dot, l, r := 0.0, 0.0, 0.0
		for _, n := range left {
			l += n * n
		}
		for t, n := range right {
			r += n * n
			dot += n * left[t]
		}
		if l > 0 && r > 0 {
			out[i] = dot / math.Sqrt(l*r)
		}
	}
	return out, nil
}
