package mind

import (
	"slices"
	"strconv"
	"strings"
)

// A model that knows what a prompt means answers the same when the prompt is
// put another way: with a slot more that has nothing to do with it, with a
// word that people put in without meaning anything. Where it answers
// otherwise, it guessed.

// seedAgain is a prompt that means the same as another one.
type seedAgain struct {
	prompt SeedPrompt
	shift  int // by how much the numbers of its slots are higher
}

// again lists other prompts that mean the same as p.
func (p SeedPrompt) again() []seedAgain {
	var out []seedAgain
	if t, ok := p.strangeType(); ok && len(p.Slots) < SeedMaxSlots {
		q := SeedPrompt{Slots: append([]SeedSlot{{Type: t}}, p.Slots...), Args: p.Args}
		for _, w := range p.Words {
			q.Words = append(q.Words, shiftAliases(w, 1))
		}
		out = append(out, seedAgain{q, 1})
	}
	if len(p.Words) < SeedMaxWords {
		q := p
		q.Words = append(slices.Clone(p.Words), "please")
		out = append(out, seedAgain{prompt: q})
	}
	return out
}

// strangeType is a type that no slot of p has.
func (p SeedPrompt) strangeType() (SeedType, bool) {
	for _, t := range []SeedType{SeedObj, SeedNone, SeedAny, SeedBool, SeedStrMap} {
		if !slices.ContainsFunc(p.Slots, func(s SeedSlot) bool { return s.Type == t }) {
			return t, true
		}
	}
	return "", false
}

// shiftAliases adds by to the number of every slot's alias in text: $0 and %0.
func shiftAliases(text string, by int) string {
	if by == 0 {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		c := text[i]
		b.WriteByte(c)
		i++
		if (c == '$' || c == '%') && i < len(text) && isDigit(text[i]) {
			k, size := number(text[i:])
			b.WriteString(strconv.Itoa(k + by))
			i += size
		}
	}
	return b.String()
}

// agreed is how sure the model is of its answer, the text body, over all the
// ways in which it was asked: the mean of the probabilities that it gave to
// this answer, 0 where it gave another. asked and agreed count the ways beside
// the first.
func (s Seed) agreed(n *seedNames, body string, r *Result) (confidence float64, asked, agreed int) {
	sum := sureness(r.Logprobs)
	again := n.prompt.again()
	for i := range min(len(again), len(r.Again)) {
		other, shift := &r.Again[i], again[i].shift
		text, err := s.tok.Decode(other.Tokens)
		if err == nil && shift > 0 && (strings.Contains(text, "$0") || strings.Contains(text, "%0")) {
			continue // it shows every slot, also the one put in
		}
		asked++
		if err == nil && other.Stop == StopEnd && shiftAliases(text, -shift) == body {
			agreed++
			sum += sureness(other.Logprobs)
		}
	}
	return sum / float64(1+asked), asked, agreed
}

// leftOut names what the message names and the answer does not use: a slot, a
// field, an argument. No method of the corpus leaves one out.
func (n *seedNames) leftOut(body string) string {
	for _, w := range n.prompt.Words {
		if w[0] != '$' && w[0] != '#' {
			continue
		}
		k, _ := number(w[1:])
		names := n.slots
		if w[0] == '#' {
			names = n.fields
		}
		if k < len(names) && !hasAlias(body, w[0], k) && !hasAlias(body, '%', k) {
			return names[k]
		}
	}
	used := identifiers(body)
	for i, p := range n.params {
		if !slices.Contains(used, string(rune('a'+i))) {
			return p
		}
	}
	return ""
}

// hasAlias reports whether the alias $k, %k or #k stands in text.
func hasAlias(text string, kind byte, k int) bool {
	alias := string(kind) + strconv.Itoa(k)
	for at := strings.Index(text, alias); at >= 0; {
		end := at + len(alias)
		if end == len(text) || !isDigit(text[end]) {
			return true
		}
		next := strings.Index(text[end:], alias)
		if next < 0 {
			break
		}
		at = end + next
	}
	return false
}
