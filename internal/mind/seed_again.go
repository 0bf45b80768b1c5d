package mind

import (
	"slices"
	"strconv"
	"strings"

	"batos"
)

// A model that knows what a prompt means answers the same when the prompt is
// put another way: with a slot more that has nothing to do with it, with a
// word that people put in without meaning anything. Where it answers
// otherwise, it guessed. So it is asked in several ways, and of what it was
// taught (see seedMethods) it says what has the most probability behind it.

// seedAgain is a prompt that means the same as another one.
type seedAgain struct {
	prompt SeedPrompt
	extra  int // number of the slot put in, -1: none
}

// again lists other prompts that mean the same as p.
func (p SeedPrompt) again() []seedAgain {
	var out []seedAgain
	t, ok := p.strangeType()
	ok = ok && len(p.Slots) < SeedMaxSlots
	if ok {
		q := SeedPrompt{Slots: append([]SeedSlot{{Type: t}}, p.Slots...), Args: p.Args}
		for _, w := range p.Words {
			q.Words = append(q.Words, shiftAliases(w, 1))
		}
		out = append(out, seedAgain{q, 0})
	}
	if len(p.Words) < SeedMaxWords {
		q := p
		q.Words = append(slices.Clone(p.Words), "please")
		out = append(out, seedAgain{q, -1})
		if len(p.Words) > 0 {
			q.Words = slices.Insert(slices.Clone(p.Words), 1, "now")
			out = append(out, seedAgain{q, -1})
		}
	}
	if ok {
		q := p
		q.Slots = append(slices.Clone(p.Slots), SeedSlot{Type: t})
		out = append(out, seedAgain{q, len(p.Slots)})
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

// election is what came of asking in several ways.
type election struct {
	body          string   // the answer with the most probability behind it
	confidence    float64  // the mean of the probabilities that it got, 0 where another was given
	asked, agreed int      // ways that count, and those that gave this answer
	strange       []string // words of the message that nobody uses for this method
}

// elect reads the answers to all ways in which the model was asked. Only what
// could be installed is a candidate, and what the model was taught by other
// words only where there is nothing else; if there is none, the error, refused,
// says what is wrong with the first answer.
func (s Seed) elect(n *seedNames, sel batos.Selector, r *Result) (election, error) {
	type candidate struct {
		sum     float64
		ways    int
		strange []string
	}
	e := election{asked: 1}
	votes := map[string]candidate{}
	vote := func(text string, logprobs []float32) error {
		c, seen := votes[text]
		if !seen {
			var err error
			if c.strange, err = s.examine(n, sel, text); err != nil {
				return err
			}
		}
		c.sum, c.ways = c.sum+sureness(logprobs), c.ways+1
		votes[text] = c
		best, chosen := votes[e.body]
		if sane, was := len(c.strange) == 0, len(best.strange) == 0; !chosen || sane && !was || sane == was && c.sum > best.sum {
			e.body = text
		}
		return nil
	}
	text, err := s.answer(n, sel, r)
	if err == nil {
		err = vote(text, r.Logprobs)
	}
	again := n.prompt.again()
	for i := range min(len(again), len(r.Again)) {
		other, extra := &r.Again[i], again[i].extra
		text, bad := s.tok.Decode(other.Tokens)
		if bad == nil && extra >= 0 && (hasAlias(text, '$', extra) || hasAlias(text, '%', extra)) {
			continue // it shows every slot, also the one put in
		}
		e.asked++
		if bad != nil || other.Stop != StopEnd {
			continue
		}
		if extra == 0 {
			text = shiftAliases(text, -1)
		}
		vote(text, other.Logprobs) // what is no candidate counts as another answer
	}
	if len(votes) == 0 {
		return e, err
	}
	best := votes[e.body]
	e.confidence, e.agreed, e.strange = best.sum/float64(e.asked), best.ways, best.strange
	return e, nil
}

// answer is the text that the model wrote, or why r has none.
func (s Seed) answer(n *seedNames, sel batos.Selector, r *Result) (string, error) {
	if len(r.Tokens) > 0 && r.Tokens[0] == SeedRefuse {
		return "", batos.Errorf(batos.Refused, "I don't know how to %s with %s", sel, n.shape())
	}
	if r.Stop != StopEnd {
		return "", batos.Errorf(batos.Refused, "I don't know how to %s: the answer had no end", sel)
	}
	return s.tok.Decode(r.Tokens)
}

// examine lists the words of the message that nobody uses for the method that
// the model wrote. It is an error, refused, if the method must not be installed
// whatever the model thinks of it.
func (s Seed) examine(n *seedNames, sel batos.Selector, body string) (strange []string, err error) {
	if _, err := n.source(sel, body); err != nil {
		return nil, err
	}
	if left := n.leftOut(body); left != "" {
		return nil, batos.Errorf(batos.Refused, "I don't know how to %s: my best idea makes no use of %s, which the message names", sel, left)
	}
	strange, novel := s.methods.strange(n.prompt, body)
	if novel {
		return nil, batos.Errorf(batos.Refused, "I don't know how to %s with %s: my best idea is no method that I learned", sel, n.shape())
	}
	return strange, nil
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
