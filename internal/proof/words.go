package proof

import (
	"slices"
	"strings"

	"batos/object"
)

// What the first word of a selector promises. Only words that leave no choice
// stand here; a word with two uses is in no list.
var (
	asking = set("has is are was can could should does contains includes number how size length total sum average mean median " +
		"max min maximum minimum highest lowest largest smallest biggest longest shortest find lookup peek show describe list report who which what where")
	changing = set("set insert append push enqueue remove delete discard clear reset empty increment increase decrement decrease rename toggle " +
		"deposit withdraw flip switch turn enable disable activate deactivate boost grow shrink spend earn gain lose pay " +
		"charge refill drain consume overwrite assign bump")
	up   = set("increment increase add raise boost grow deposit earn gain bump lift swell improve climb ascend refill credit award grant advance")
	down = set("decrement decrease reduce subtract lower shrink withdraw spend lose drop cut sink descend drain debit consume deduct lessen diminish")
	asks = set("is are has can contains includes does was should")
	// counts are the ways to ask how many.
	counts = [][]string{{"count"}, {"number", "of"}, {"how", "many"}, {"size", "of"}, {"length", "of"}}
	// plain are words that say nothing about what is done.
	plain = set("the a an of in on to by with for from my its current all amount value number points units total it this that")
)

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}

// name is a selector taken apart.
type name struct {
	words []string
	slots []int // data slots that the words name, in order of the words
	rest  []string
}

func (s Subject) name() name {
	n := name{words: strings.FieldsFunc(strings.ToLower(string(s.Selector)), func(r rune) bool { return r == '_' })}
	n.rest = slices.Clone(n.words)
	for i, slot := range s.Slots {
		parts := strings.FieldsFunc(strings.ToLower(slot.Name), func(r rune) bool { return r == '_' })
		at := indexOf(n.words, parts)
		if at < 0 || len(parts) == 0 {
			continue
		}
		n.slots = append(n.slots, i)
		for k := range parts {
			n.rest[at+k] = ""
		}
	}
	n.rest = slices.DeleteFunc(n.rest, func(w string) bool { return w == "" || plain[w] })
	return n
}

// indexOf finds parts in words, one word after the other; the last may be in
// the singular or the plural.
func indexOf(words, parts []string) int {
	for at := 0; at+len(parts) <= len(words); at++ {
		hit := true
		for k, p := range parts {
			w := words[at+k]
			if w != p && (k < len(parts)-1 || singular(w) != singular(p)) {
				hit = false
				break
			}
		}
		if hit {
			return at
		}
	}
	return -1
}

func singular(w string) string {
	switch {
	case strings.HasSuffix(w, "ies") && len(w) > 4:
		return w[:len(w)-3] + "y"
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "xes"), strings.HasSuffix(w, "ches"), strings.HasSuffix(w, "shes"):
		return w[:len(w)-2]
	case strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && len(w) > 3:
		return w[:len(w)-1]
	}
	return w
}

func (n name) first() string {
	if len(n.words) == 0 {
		return ""
	}
	return n.words[0]
}

// gets reports whether the name is get and then a slot's: get_count, but not
// get_older or get_rid_of.
func (n name) gets() bool {
	return n.first() == "get" && len(n.slots) > 0 && len(n.words) > 1 && !slices.Contains(n.rest, n.words[1])
}

func (n name) has(words ...string) bool {
	for _, w := range words {
		if slices.Contains(n.words, w) {
			return true
		}
	}
	return false
}

// asksHowMany reports whether the name asks for a number of things.
func (n name) asksHowMany() bool {
	for _, c := range counts {
		if len(n.words) >= len(c) && slices.Equal(n.words[:len(c)], c) {
			return true
		}
	}
	return false
}

// ofKind lists the slots of a rough kind.
func (s Subject) ofKind(kind string) []int {
	var out []int
	for i, slot := range s.Slots {
		if kindOf(slot.Value) == kind {
			out = append(out, i)
		}
	}
	return out
}

// subjectOf is the slot that the name is about: the one it names, else the
// only one of the kind; -1 if that is not clear.
func (s Subject) subjectOf(n name, kind string) int {
	var named []int
	for _, i := range n.slots {
		if kindOf(s.Slots[i].Value) == kind {
			named = append(named, i)
		}
	}
	if len(named) == 1 && len(n.slots) == 1 {
		return named[0]
	}
	if all := s.ofKind(kind); len(n.slots) == 0 && len(all) == 1 {
		return all[0]
	}
	return -1
}

// numbersOf gives the numbers of a list or of a dict's values; ok is false if
// there is anything else, or nothing.
func numbersOf(v object.Value) ([]float64, bool) {
	items := itemsOf(v)
	var out []float64
	for _, it := range items {
		n, ok := number(it)
		if !ok {
			return nil, false
		}
		out = append(out, n)
	}
	return out, len(out) > 0
}
