package mind

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"batos"
)

// The first entries of a seed tokenizer. Then come the 256 single bytes, then
// the pieces.
const (
	SeedPad    int32 = iota // fills nothing; never generated
	SeedEnd                 // ends an answer
	SeedRefuse              // the whole answer of a model that does not know how
	seedTask                // the first of the task marks, in the order of seedKinds
)

var seedKinds = []Kind{Method, Plan, Requirements, Describe, Layout, Tests}

// seedBytes is the entry of byte 0.
var seedBytes = seedTask + int32(len(seedKinds))

// SeedFirstPiece is the number of entries before the pieces.
var SeedFirstPiece = int(seedBytes) + 256

// SeedTokenizer turns text into entries of a vocabulary: at each place the
// longest piece that fits, else a single byte. A piece that begins or ends
// with a letter fits only where no further letter touches it, so words stay
// whole or fall apart into bytes, but never share a piece by chance; parts are
// free of that rule. Every text can be written, and Decode gives it back
// unchanged.
type SeedTokenizer struct {
	texts  []string // by entry; control entries have a name in <>
	starts [256][]seedPiece
}

type seedPiece struct {
	text string
	id   int32
	part bool
}

// NewSeedTokenizer makes a tokenizer of the given pieces and word parts, which
// keep their order in the vocabulary. Empty, repeated and single-byte pieces
// are invalid.
func NewSeedTokenizer(pieces, parts []string) (*SeedTokenizer, error) {
	t := &SeedTokenizer{texts: []string{"<pad>", "<end>", "<refuse>"}}
	for _, k := range seedKinds {
		t.texts = append(t.texts, "<"+string(k)+">")
	}
	for b := range 256 {
		t.texts = append(t.texts, string([]byte{byte(b)}))
	}
	seen := map[string]bool{}
	for i, p := range append(append([]string(nil), pieces...), parts...) {
		if len(p) < 2 || seen[p] {
			return nil, batos.Errorf(batos.Invalid, "seed tokenizer: piece %d, %q, is too short or there twice", i, p)
		}
		seen[p] = true
		t.starts[p[0]] = append(t.starts[p[0]], seedPiece{p, int32(len(t.texts)), i >= len(pieces)})
		t.texts = append(t.texts, p)
	}
	for b := range t.starts {
		sortByLength(t.starts[b])
	}
	return t, nil
}

func sortByLength(ps []seedPiece) {
	for i := 1; i < len(ps); i++ { // insertion: stable, and the lists are short
		for j := i; j > 0 && len(ps[j].text) > len(ps[j-1].text); j-- {
			ps[j], ps[j-1] = ps[j-1], ps[j]
		}
	}
}

// Size is the number of entries.
func (t *SeedTokenizer) Size() int { return len(t.texts) }

// Entry gives the text of an entry, and whether it is a control entry, whose
// text is only a name.
func (t *SeedTokenizer) Entry(id int32) (text string, control bool) {
	return t.texts[id], id < seedBytes
}

// TaskMark is the entry that begins a prompt of the given kind.
func (t *SeedTokenizer) TaskMark(kind Kind) (int32, error) {
	for i, k := range seedKinds {
		if k == kind {
			return seedTask + int32(i), nil
		}
	}
	return 0, batos.Errorf(batos.Refused, "the seed model has no mark for work of the kind %q", kind)
}

// Encode gives the entries of text.
func (t *SeedTokenizer) Encode(text string) []int32 {
	var out []int32
	for i := 0; i < len(text); {
		id, n := seedBytes+int32(text[i]), 1
		for _, p := range t.starts[text[i]] {
			if strings.HasPrefix(text[i:], p.text) && (p.part || fits(text, i, i+len(p.text))) {
				id, n = p.id, len(p.text)
				break
			}
		}
		out = append(out, id)
		i += n
	}
	return out
}

// fits reports whether text[i:j] touches no letter with a letter of its own.
func fits(text string, i, j int) bool {
	if isLetter(text[i]) && i > 0 && isLetter(text[i-1]) {
		return false
	}
	return !isLetter(text[j-1]) || j == len(text) || !isLetter(text[j])
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

// Decode gives the text of entries. Control entries and numbers that are no
// entry make it an error of code refused.
func (t *SeedTokenizer) Decode(ids []int32) (string, error) {
	var b strings.Builder
	for i, id := range ids {
		if id < seedBytes || int(id) >= len(t.texts) {
			return "", batos.Errorf(batos.Refused, "the model's answer has the entry %d at %d, which is no text", id, i)
		}
		b.WriteString(t.texts[id])
	}
	if !utf8.ValidString(b.String()) {
		return "", batos.Errorf(batos.Refused, "the model's answer is not text")
	}
	return b.String(), nil
}

func (t *SeedTokenizer) String() string { return fmt.Sprintf("%d entries", len(t.texts)) }
