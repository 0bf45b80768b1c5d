package seedmind

import (
	"context"
	"slices"
	"strings"

	"batos"
	"batos/internal/mind"
)

// Nearest is the baseline that a model must beat: it takes the phrase of the
// corpus with the most words in common (the most of their union), of those
// whose slots and arguments the object and message have, and answers that
// family's code. It reads the same prompts as the model.
func Nearest(c *Corpus, profile *mind.Seed) Writer {
	return func(_ context.Context, t mind.Task, earlier []mind.Attempt) (mind.Answer, error) {
		if len(earlier) > 0 {
			return mind.Answer{}, batos.Errorf(batos.Refused, "the nearest phrase was tried")
		}
		p, err := profile.Prompt(t)
		if err != nil {
			return mind.Answer{}, err
		}
		n := nearest{p: p}
		for _, f := range c.Families {
			if f.all == nil {
				n.family(f)
			}
		}
		if n.best == 0 {
			return mind.Answer{}, batos.Errorf(batos.Refused, "no phrase has a word in common")
		}
		source, err := profile.Source(t, n.body)
		return mind.Answer{Source: source, Confidence: n.best}, err
	}
}

type nearest struct {
	p    mind.SeedPrompt
	best float64
	body string
}

// family tries every phrase of a family on every form that fits.
func (n *nearest) family(f *Family) {
	for _, form := range f.Forms {
		if !slices.ContainsFunc(f.argTypes(form), func(ts []mind.SeedType) bool { return slices.Equal(ts, n.p.Args) }) {
			continue
		}
		for _, l := range f.Lines {
			l.phrases(func(words []string) {
				score := n.likeness(words)
				if score <= n.best || heldPhrase(f, words) {
					return
				}
				if b, ok := n.bind(form, words); ok {
					n.best, n.body = score, f.body(n.p, b)
				}
			})
		}
	}
}

// likeness is the share of common words.
func (n *nearest) likeness(words []string) float64 {
	common := 0
	for _, w := range words {
		if isPlaceholder(w) {
			if slices.ContainsFunc(n.p.Words, func(v string) bool { return sameKind(v, w) }) {
				common++
			}
		} else if slices.Contains(n.p.Words, w) {
			common++
		}
	}
	return float64(common) / float64(len(words)+len(n.p.Words)-common)
}

// sameKind reports whether a word of a prompt is an alias or noun as a
// placeholder stands for.
func sameKind(word, placeholder string) bool {
	switch {
	case strings.IndexByte(slotLetters, placeholder[1]) >= 0:
		return word[0] == '$'
	case strings.IndexByte(fieldLetters, placeholder[1]) >= 0:
		return word[0] == '#'
	}
	return word == mind.SeedThing
}

// bind gives the form's slots to letters: in the order of the words where they
// are named, else the first that fit.
func (n *nearest) bind(form Form, words []string) (binding, bool) {
	var b binding
	var named []int
	var fieldsNamed []int
	for _, w := range n.p.Words {
		switch w[0] {
		case '$':
			named = append(named, number(w[1:]))
		case '#':
			fieldsNamed = append(fieldsNamed, number(w[1:]))
		}
	}
	taken := map[int]bool{}
	order := make([]int, 0, len(form))
	for _, w := range words {
		if isPlaceholder(w) {
			if k := strings.IndexByte(slotLetters, w[1]); k >= 0 && k < len(form) && !slices.Contains(order, k) {
				order = append(order, k)
			}
		}
	}
	for k := range form {
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	for i, k := range order {
		choice := -1
		if i < len(named) && n.p.Slots[named[i]].Type == form[k].Type && !taken[named[i]] {
			choice = named[i]
		} else {
			for j, s := range n.p.Slots {
				if s.Type == form[k].Type && !taken[j] && (form[k].Role == "" || form[k].Role == s.Role) {
					choice = j
					break
				}
			}
		}
		if choice < 0 {
			return b, false
		}
		taken[choice] = true
		b.slots[k] = choice
		if len(form[k].Fields) > 0 && !n.bindFields(form[k], choice, fieldsNamed, &b) {
			return b, false
		}
	}
	return b, true
}

func (n *nearest) bindFields(spec SlotSpec, slot int, named []int, b *binding) bool {
	start := 0
	for _, s := range n.p.Slots[:slot] {
		start += len(s.Fields)
	}
	taken := map[int]bool{}
	for i, f := range spec.Fields {
		choice := -1
		for j, have := range n.p.Slots[slot].Fields {
			if have.Type != f.Type || taken[j] {
				continue
			}
			if i < len(named) && named[i] == start+j {
				choice = j
				break
			}
			if choice < 0 {
				choice = j
			}
		}
		if choice < 0 {
			return false
		}
		taken[choice] = true
		b.fields[f.letter()] = start + choice
	}
	return true
}
