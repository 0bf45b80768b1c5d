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
		out = append(out, seedAgain{prompt: q, extra: 0})
	}
	if len(p.Words) < SeedMaxWords {
		q := p
		q.Words = append(slices.Clone(p.Words), "please")
		out = append(out, seedAgain{prompt: q, extra: -1})
		if len(p.Words) > 0 {
			q.Words = slices.Insert(slices.Clone(p.Words), 1, "now")
			out = append(out, seedAgain{prompt: q, extra: -1})
		}
	}
	if ok {
		q := p
		q.Slots = append(slices.Clone(p.Slots), SeedSlot{Type: t})
		out = append(out, seedAgain{prompt: q, extra: len(p.Slots)})
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

// idea is a method that the model wrote, in at least one way of asking.
type idea struct {
	body       string
	sum        float64  // of its probabilities in the message's own words
	ways       int      // askings that gave it, of those
	drawn      int      // how many of the drawn answers it is
	own        float64  // its probability as the answer to the message as it is, as far as it was seen
	left       string   // what the message names and it makes no use of
	novel      bool     // the model was taught no such method
	strange    []string // words of the message that nobody uses for it
	features   SeedFeatures
	confidence float64
}

// election is what came of asking in several ways.
type election struct {
	idea
	asked   int          // ways that count, in the message's own words
	refused int          // of these, those in which the model refused
	drawn   int          // answers that were drawn
	near    []SeedPhrase // what the nearest phrases ask for
	tried   int          // ideas that the gate turned down before
}

// elect reads the answers to all ways in which the model was asked, and chooses
// the idea that has the most behind it. Only what could be installed is one,
// and what the gate turned down before is none; if there is none, the error,
// refused, says what is wrong with the first answer.
func (s Seed) elect(n *seedNames, sel batos.Selector, r *Result, earlier []Attempt) (election, error) {
	e, ideas, err := s.ideas(n, sel, r)
	ideas = slices.DeleteFunc(ideas, func(c idea) bool {
		source, err := n.source(sel, c.body)
		tried := err == nil && slices.ContainsFunc(earlier, func(a Attempt) bool { return sameCode(a.Source, source) })
		if tried {
			e.tried++
		}
		return tried
	})
	switch {
	case len(ideas) == 0 && e.tried > 0:
		return e, batos.Errorf(batos.Refused, "I don't know how to %s with %s: the gate turned down %s, and I have no other", sel, n.shape(), count(e.tried, "idea"))
	case len(ideas) == 0:
		return e, err
	}
	s.weigh(&e, ideas)
	best := ideas[0]
	for _, c := range ideas[1:] {
		if s.better(&c, &best) {
			best = c
		}
	}
	e.idea = best
	return e, nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// better orders ideas. Without phrases to hold them against, what the model was
// taught by other words counts only where there is nothing else.
func (s Seed) better(a, b *idea) bool {
	if s.phrases == nil {
		if sane, was := len(a.strange) == 0, len(b.strange) == 0; sane != was {
			return sane
		}
	}
	return a.confidence > b.confidence
}

// ideas reads all answers. The error says what is wrong with the first.
func (s Seed) ideas(n *seedNames, sel batos.Selector, r *Result) (election, []idea, error) {
	e := election{asked: 1, near: s.near(n.prompt)}
	var ideas []idea
	find := func(text string) (*idea, error) {
		i := slices.IndexFunc(ideas, func(c idea) bool { return c.body == text })
		if i < 0 {
			c := idea{body: text}
			if err := s.examine(n, sel, &c); err != nil {
				return nil, err
			}
			i = len(ideas)
			ideas = append(ideas, c)
		}
		return &ideas[i], nil
	}
	vote := func(text string, logprobs []float32) error {
		c, err := find(text)
		if err != nil {
			return err
		}
		c.sum, c.ways = c.sum+sureness(logprobs), c.ways+1
		return nil
	}
	text, err := s.answer(n, sel, r)
	if err == nil {
		if err = vote(text, r.Logprobs); err == nil {
			ideas[0].own = sureness(r.Logprobs)
		}
	} else if refuses(r) {
		e.refused++
	}
	again := n.prompt.again()
	for i := range r.Again {
		other := &r.Again[i]
		text, bad := s.tok.Decode(other.Tokens)
		if i >= len(again) { // drawn
			e.drawn++
			if bad == nil && other.Stop == StopEnd {
				if c, err := find(text); err == nil {
					c.drawn++
					c.own = sureness(other.Logprobs)
				}
			}
			continue
		}
		extra := again[i].extra
		if bad == nil && extra >= 0 && (hasAlias(text, '$', extra) || hasAlias(text, '%', extra)) {
			continue // it shows every slot, also the one put in
		}
		e.asked++
		if refuses(other) {
			e.refused++
		}
		if bad != nil || other.Stop != StopEnd {
			continue
		}
		if extra == 0 {
			text = shiftAliases(text, -1)
		}
		_ = vote(text, other.Logprobs) // what is no idea counts as another answer
	}
	return e, ideas, err
}

func refuses(r *Result) bool { return len(r.Tokens) > 0 && r.Tokens[0] == SeedRefuse }

// weigh gives ideas their features and confidence. A model whose phrases are not
// at hand has the mean probability of its ideas, 0 where it gave another.
func (s Seed) weigh(e *election, ideas []idea) {
	for i := range ideas {
		c := &ideas[i]
		if s.phrases == nil {
			c.confidence = c.sum / float64(e.asked)
			continue
		}
		flag := func(b bool) float64 {
			if b {
				return 1
			}
			return 0
		}
		drawn := c.own // what is to be expected, where nothing was drawn
		if e.drawn > 0 {
			drawn = float64(c.drawn) / float64(e.drawn)
		}
		c.features = SeedFeatures{
			byBias: 1, byOwn: logOdds(min(c.own, 1)), byDrawn: drawn,
			byRefused: float64(e.refused) / float64(e.asked), byNearest: flag(nearest(e.near, c.body)),
			byStrange: flag(len(c.strange) > 0), byNovel: flag(c.novel), byLeft: flag(c.left != ""),
		}
		c.confidence = s.weights.Confidence(&c.features)
	}
}

// sameCode compares two sources but for their docstrings.
func sameCode(a, b string) bool {
	code := func(source string) string {
		var out []string
		for line := range strings.Lines(source) {
			if t := strings.TrimSpace(line); t != "" && !strings.HasPrefix(t, `"""`) {
				out = append(out, t)
			}
		}
		return strings.Join(out, "\n")
	}
	return a != "" && code(a) == code(b)
}

// answer is the text that the model wrote, or why r has none.
func (s Seed) answer(n *seedNames, sel batos.Selector, r *Result) (string, error) {
	if refuses(r) {
		return "", batos.Errorf(batos.Refused, "I don't know how to %s with %s", sel, n.shape())
	}
	if r.Stop != StopEnd {
		return "", batos.Errorf(batos.Refused, "I don't know how to %s: the answer had no end", sel)
	}
	return s.tok.Decode(r.Tokens)
}

// examine says of an idea what is known of it without its probability. It is an
// error, refused, if it must not be installed whatever the model thinks of it:
// without phrases to hold it against, that is also a method that the model was
// not taught, or that makes no use of what the message names.
func (s Seed) examine(n *seedNames, sel batos.Selector, c *idea) error {
	if _, err := n.source(sel, c.body); err != nil {
		return err
	}
	c.left = n.leftOut(c.body)
	c.strange, c.novel = s.methods.strange(n.prompt, c.body)
	switch {
	case s.phrases != nil:
	case c.left != "":
		return batos.Errorf(batos.Refused, "I don't know how to %s: my best idea makes no use of %s, which the message names", sel, c.left)
	case c.novel:
		return batos.Errorf(batos.Refused, "I don't know how to %s with %s: my best idea is no method that I learned", sel, n.shape())
	}
	return nil
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
