package proof

import (
	"fmt"
	"slices"

	"batos/object"
)

// Names of the checks.
const (
	Reader        = "reader changes nothing"
	Writer        = "writer changes something"
	Touches       = "the slot that the name names"
	Direction     = "up is up and down is down"
	Amount        = "by the amount that was given"
	Assigned      = "set means equal afterwards"
	Toggled       = "toggle turns over"
	Emptied       = "clear leaves nothing"
	Joined        = "what is added is there"
	Removed       = "what is removed is gone"
	Answers       = "an answer"
	AnswerKind    = "the kind of the answer"
	NewValue      = "the answer is the new value"
	Threshold     = "above is above and below is below"
	Nothing       = "nothing of nothing"
	Text          = "what is done to a text"
	Kept          = "slots keep their kind"
	ArgumentsUsed = "arguments matter"
	SlotsUsed     = "named slots matter"
	HowMany       = "as many as there are"
	Aggregate     = "what the word computes"
	SecondOpinion = "second opinion"
	Expected      = "expected outcome"
)

type check struct {
	name string
	run  func(s Subject, n name, seen []Seen) string
}

// checks in the order in which they speak; the first that has something to say
// is the finding.
var checks = []check{
	{Reader, reader}, {Writer, writer}, {Touches, touches}, {Direction, direction}, {Amount, amount}, {Assigned, assigned}, {Toggled, toggled},
	{Emptied, emptied}, {Joined, joined}, {Removed, removed}, {Kept, kept}, {Answers, answers}, {NewValue, newValue}, {Threshold, threshold}, {Nothing, nothing}, {Text, text}, {AnswerKind, answerKind}, {HowMany, howMany},
	{Aggregate, aggregate}, {SlotsUsed, slotsUsed}, {ArgumentsUsed, argumentsUsed},
}

// Checks lists the checks that need no model, in order.
func Checks() []string {
	var out []string
	for _, c := range checks {
		out = append(out, c.name)
	}
	return out
}

// Judge holds what was seen in the probes of [Probes] against the name. It
// answers the first promise that was not kept, or nil. Checks in without are
// left out.
func Judge(s Subject, seen []Seen, without ...string) *Finding {
	var ran []Seen
	for _, p := range seen {
		if p.Err == nil {
			ran = append(ran, p)
		}
	}
	if len(ran) == 0 {
		return nil
	}
	n := s.name()
	for _, c := range checks {
		if slices.Contains(without, c.name) {
			continue
		}
		if text := c.run(s, n, ran); text != "" {
			return &Finding{c.name, text}
		}
	}
	return nil
}

func reader(s Subject, n name, seen []Seen) string {
	if !asking[n.first()] && !n.gets() {
		return ""
	}
	for i := range seen {
		if !seen[i].quiet() {
			return fmt.Sprintf("%s asks something, and %s changes the object", s.Selector, seen[i].call(s.Selector))
		}
	}
	return ""
}

func writer(s Subject, n name, seen []Seen) string {
	if !changing[n.first()] {
		return ""
	}
	for i := range seen {
		if !seen[i].quiet() {
			return ""
		}
	}
	return fmt.Sprintf("%s says that something changes, and in %d calls nothing did", s.Selector, len(seen))
}

// touches: a change of slots of which the name names none, while it names
// another that stays as it is.
func touches(s Subject, n name, seen []Seen) string {
	if len(n.slots) != 1 {
		return ""
	}
	if len(n.words) > 0 && n.has("if", "when", "unless", "in", "into", "to", "from", "with", "by", "of", "at", "for") {
		return "" // the named one may be a condition or a measure
	}
	named, other := false, -1
	for i := range seen {
		for j := range s.Slots {
			if seen[i].changed(j) {
				if j == n.slots[0] {
					named = true
				} else {
					other = j
				}
			}
		}
	}
	if other >= 0 && !named && changing[n.first()] {
		return fmt.Sprintf("%s names %s, and the slot that changes is %s", s.Selector, s.Slots[n.slots[0]].Name, s.Slots[other].Name)
	}
	return ""
}

// moved collects how a slot that holds a number changes: for each probe that
// ran, by how much, and by how much it was told.
func moved(s Subject, seen []Seen, slot int) (by, told []float64) {
	for i := range seen {
		a, ok1 := number(seen[i].before(slot))
		b, ok2 := number(seen[i].after(slot))
		if !ok1 || !ok2 {
			continue
		}
		t := 1.0
		switch len(seen[i].Args) {
		case 0:
		case 1:
			n, ok := number(seen[i].Args[0])
			if !ok {
				return nil, nil
			}
			t = n
		default:
			return nil, nil
		}
		by, told = append(by, b-a), append(told, t)
	}
	return by, told
}

// theNumber is the slot with a number that a word such as increase is about:
// the one that is named, else the only one that changes.
func theNumber(s Subject, n name, seen []Seen) int {
	if i := s.subjectOf(n, "number"); i >= 0 {
		return i
	}
	if len(n.slots) > 0 {
		return -1
	}
	changing := -1
	for _, j := range s.ofKind("number") {
		for i := range seen {
			if seen[i].changed(j) {
				if changing >= 0 && changing != j {
					return -1
				}
				changing = j
			}
		}
	}
	return changing
}

func direction(s Subject, n name, seen []Seen) string {
	sign := 0.0
	if up[n.first()] {
		sign = 1
	} else if down[n.first()] {
		sign = -1
	}
	slot := theNumber(s, n, seen)
	if sign == 0 || slot < 0 || n.has("wrapping", "wrap", "cyclic", "modulo", "around") || len(n.rest) > 1 {
		return ""
	}
	right, wrong := 0, 0
	by, told := moved(s, seen, slot)
	for i := range by {
		if told[i] <= 0 || by[i] == 0 {
			continue
		}
		if by[i]*sign > 0 {
			right++
		} else {
			wrong++
		}
	}
	if wrong > right {
		word := map[float64]string{1: "down", -1: "up"}[sign]
		return fmt.Sprintf("%s lets %s go %s", s.Selector, s.Slots[slot].Name, word)
	}
	return ""
}

func amount(s Subject, n name, seen []Seen) string {
	if !up[n.first()] && !down[n.first()] || n.has("percent", "twice", "half", "double", "max", "maximum", "limit", "to", "random", "times", "rate", "ratio", "factor") {
		return ""
	}
	slot := theNumber(s, n, seen)
	if slot < 0 || len(n.rest) > 1 {
		return ""
	}
	by, told := moved(s, seen, slot)
	exact, counted := 0, 0
	example := -1
	for i := range by {
		if told[i] <= 0 {
			continue
		}
		counted++
		if near(by[i], told[i]) || near(-by[i], told[i]) {
			exact++
		} else {
			example = i
		}
	}
	if counted > 0 && example >= 0 && 3*exact < counted {
		return fmt.Sprintf("%s changes %s by %g where %g was meant", s.Selector, s.Slots[slot].Name, by[example], told[example])
	}
	return ""
}

// assigned: set_x(v) and the like.
func assigned(s Subject, n name, seen []Seen) string {
	if n.first() != "set" && n.first() != "assign" && n.first() != "rename" && n.first() != "replace" || len(s.Args) != 1 || len(n.slots) != 1 || len(n.rest) != 1 {
		return ""
	}
	slot := n.slots[0]
	if kindOf(s.Slots[slot].Value) != kindOf(s.Args[0]) {
		return ""
	}
	hit := 0
	for i := range seen {
		if same(seen[i].after(slot), seen[i].Args[0]) {
			hit++
		}
	}
	if 3*hit < len(seen) {
		return fmt.Sprintf("after %s the slot %s holds something else", seen[0].call(s.Selector), s.Slots[slot].Name)
	}
	return ""
}

func toggled(s Subject, n name, seen []Seen) string {
	if n.first() != "toggle" && n.first() != "flip" || len(s.Args) > 0 {
		return ""
	}
	slot := s.subjectOf(n, "yes or no")
	if slot < 0 {
		return ""
	}
	for i := range seen {
		if !seen[i].changed(slot) {
			return fmt.Sprintf("%s leaves %s as it is", s.Selector, s.Slots[slot].Name)
		}
	}
	return ""
}

func emptied(s Subject, n name, seen []Seen) string {
	if n.first() != "clear" && n.first() != "empty" || len(s.Args) > 0 || len(n.rest) != 1 {
		return ""
	}
	slot := -1
	for _, kind := range []string{"list", "dict"} {
		if i := s.subjectOf(n, kind); i >= 0 {
			slot = i
		}
	}
	if slot < 0 {
		return ""
	}
	for i := range seen {
		if len(itemsOf(seen[i].after(slot))) > 0 {
			return fmt.Sprintf("after %s the slot %s still holds something", s.Selector, s.Slots[slot].Name)
		}
	}
	return ""
}

// theList is the list that adding or removing is about.
func theList(s Subject, n name, seen []Seen) int {
	if i := s.subjectOf(n, "list"); i >= 0 {
		return i
	}
	if all := s.ofKind("list"); len(all) == 1 && len(n.slots) == 0 {
		return all[0]
	}
	return -1
}

func joined(s Subject, n name, seen []Seen) string {
	switch n.first() {
	case "add", "append", "push", "enqueue", "insert", "put":
	default:
		return ""
	}
	slot := theList(s, n, seen)
	if slot < 0 || len(s.Args) != 1 || kindOf(s.Args[0]) == "list" {
		return ""
	}
	hit, tried := 0, 0
	for i := range seen {
		if !seen[i].changed(slot) {
			continue // it was refused, or is there already
		}
		tried++
		if holds(itemsOf(seen[i].after(slot)), seen[i].Args[0]) {
			hit++
		}
	}
	if tried < 3 || 3*hit > tried {
		return ""
	}
	if k := kindOf(s.Args[0]); k == "number" && n.has("to", "all", "each", "every") {
		return ""
	}
	return fmt.Sprintf("after %s the slot %s does not hold it", seen[0].call(s.Selector), s.Slots[slot].Name)
}

// holds reports whether v is among items, or part of one of them.
func holds(items []object.Value, v object.Value) bool {
	for _, it := range items {
		if same(it, v) {
			return true
		}
		for _, part := range itemsOf(it) {
			if same(part, v) {
				return true
			}
		}
	}
	return false
}

func removed(s Subject, n name, seen []Seen) string {
	if w := n.first(); w != "remove" && w != "delete" && w != "discard" && w != "drop" {
		return ""
	}
	slot := theList(s, n, seen)
	if slot < 0 {
		return ""
	}
	for i := range seen {
		if len(itemsOf(seen[i].after(slot))) > len(itemsOf(seen[i].before(slot))) {
			return fmt.Sprintf("after %s the slot %s has more than before", seen[i].call(s.Selector), s.Slots[slot].Name)
		}
	}
	return ""
}

// kept: a slot that held a number, text, list … holds one afterwards, and a
// list of numbers does not get texts.
func kept(s Subject, n name, seen []Seen) string {
	for i := range seen {
		for j := range s.Slots {
			a, b := kindOf(seen[i].before(j)), kindOf(seen[i].after(j))
			if a != b && a != "nothing" && b != "nothing" && seen[i].changed(j) {
				return fmt.Sprintf("%s turns %s from a %s into a %s", seen[i].call(s.Selector), s.Slots[j].Name, a, b)
			}
			if a == "dict" && seen[i].changed(j) && strangeKeys(seen[i].before(j), seen[i].after(j)) {
				return fmt.Sprintf("%s gives %s a key of another kind", seen[i].call(s.Selector), s.Slots[j].Name)
			}
		}
	}
	return ""
}

func strangeKeys(before, after object.Value) bool {
	a, _ := before.(*object.Dict)
	b, _ := after.(*object.Dict)
	if a == nil || b == nil || len(a.Entries) == 0 {
		return false
	}
	kind := kindOf(a.Entries[0].Key)
	for _, e := range b.Entries {
		if kindOf(e.Key) != kind {
			return true
		}
	}
	return false
}

// answers: a method that answers nothing, ever, or when it changed something.
func answers(s Subject, n name, seen []Seen) string {
	dumb, changes := 0, 0
	for i := range seen {
		if !seen[i].quiet() {
			changes++
			if kindOf(seen[i].Answer) == "nothing" {
				dumb++
			}
		}
	}
	if changes >= 3 && dumb == changes {
		return fmt.Sprintf("%s answers nothing when it changes something; a method answers what it took, or the new value of what it changed", s.Selector)
	}
	for i := range seen {
		if kindOf(seen[i].Answer) != "nothing" {
			return ""
		}
	}
	if len(seen) < 3 {
		return ""
	}
	return fmt.Sprintf("%s answered nothing in %d calls; a method answers the result, or the new value of what it changed", s.Selector, len(seen))
}

func answerKind(s Subject, n name, seen []Seen) string {
	want := ""
	switch {
	case asks[n.first()]:
		want = "yes or no"
	case n.asksHowMany() && len(n.words) > 1 && !n.has("each", "every", "per", "by"):
		want = "number"
	}
	first := ""
	for i := range seen {
		k := kindOf(seen[i].Answer)
		if want != "" && k != want && k != "nothing" {
			return fmt.Sprintf("%s answers a %s where a %s was asked for", seen[i].call(s.Selector), k, want)
		}
		if k == "number" && n.asksHowMany() && seen[i].quiet() {
			if v, _ := number(seen[i].Answer); v < 0 {
				return fmt.Sprintf("%s answers %g", seen[i].call(s.Selector), v)
			}
		}
		if first == "" && k != "nothing" {
			first = k
		}
	}
	return ""
}

// howMany: count_x with nothing else said is the length of x.
func howMany(s Subject, n name, seen []Seen) string {
	if !n.asksHowMany() || len(s.Args) > 0 || len(n.slots) != 1 {
		return ""
	}
	for _, w := range n.rest {
		if w != "count" && w != "how" && w != "many" && w != "size" && w != "length" {
			return ""
		}
	}
	slot := n.slots[0]
	for i := range seen {
		v := seen[i].before(slot)
		if k := kindOf(v); k != "list" && k != "dict" {
			return ""
		}
		got, ok := number(seen[i].Answer)
		if ok && got != float64(len(itemsOf(v))) {
			return fmt.Sprintf("%s answers %g for %d", s.Selector, got, len(itemsOf(v)))
		}
	}
	return ""
}

// aggregates are words with one meaning for a list of numbers.
var aggregates = []struct {
	words map[string]bool
	of    func([]float64) float64
}{
	{set("total sum"), total},
	{set("average mean"), func(v []float64) float64 { return total(v) / float64(len(v)) }},
	{set("max maximum highest largest biggest greatest"), func(v []float64) float64 { return slices.Max(v) }},
	{set("min minimum lowest smallest least"), func(v []float64) float64 { return slices.Min(v) }},
}

func total(v []float64) float64 {
	t := 0.0
	for _, x := range v {
		t += x
	}
	return t
}

// aggregate: one word that computes, one slot of numbers, and nothing else.
func aggregate(s Subject, n name, seen []Seen) string {
	if len(s.Args) > 0 || len(n.slots) != 1 || len(n.words) > 4 {
		return ""
	}
	for _, a := range aggregates {
		rest := slices.DeleteFunc(slices.Clone(n.rest), func(w string) bool { return a.words[w] || w == "get" || w == "compute" || w == "find" })
		if len(rest) > 0 || !slices.ContainsFunc(n.words, func(w string) bool { return a.words[w] }) {
			continue
		}
		for i := range seen {
			if _, isList := seen[i].before(n.slots[0]).(*object.List); !isList {
				return ""
			}
			v, ok := numbersOf(seen[i].before(n.slots[0]))
			got, isNumber := number(seen[i].Answer)
			if !ok || !isNumber {
				continue
			}
			if want := a.of(v); !near(got, want) && apart(got, want) > 0.51 {
				return fmt.Sprintf("%s answers %g where %g was to be expected", s.Selector, got, want)
			}
		}
	}
	return ""
}

func apart(x, y float64) float64 { return max(x-y, y-x) }

// differ reports whether two probes came to different ends.
func differ(a, b *Seen) bool {
	if !same(a.Answer, b.Answer) {
		return true
	}
	for j := range a.After {
		// What differs before may differ after; what a call makes of it counts.
		if a.changed(j) != b.changed(j) || a.changed(j) && !same(a.after(j), b.after(j)) {
			return true
		}
	}
	return false
}

// reached reports whether probes brought different outcomes out of a method. One
// that answered the same in all of them, and changed nothing, may be about
// something that none of them had: is_adult of ages below ten.
func reached(seen []Seen) bool {
	for i := range seen {
		if !seen[i].quiet() || !same(seen[i].Answer, seen[0].Answer) {
			return true
		}
	}
	return false
}

// argumentsUsed: each argument, varied by itself, matters somewhere.
func argumentsUsed(s Subject, n name, seen []Seen) string {
	if !reached(seen) {
		return ""
	}
	for arg := range s.Args {
		tried, matters := 0, false
		for i := range seen {
			for k := range seen[:i] {
				if !onlyArgument(&seen[i], &seen[k], arg) {
					continue
				}
				tried++
				matters = matters || differ(&seen[i], &seen[k])
			}
		}
		if tried >= 5 && !matters {
			return fmt.Sprintf("argument %d makes no difference in %d calls", arg+1, tried)
		}
	}
	return ""
}

// onlyArgument reports whether two probes differ in one argument alone.
func onlyArgument(a, b *Seen, arg int) bool {
	for j := range a.Before {
		if !same(a.before(j), b.before(j)) {
			return false
		}
	}
	for j := range a.Args {
		if same(a.Args[j], b.Args[j]) == (j == arg) {
			return false
		}
	}
	return true
}

// slotsUsed: a slot that the name names is changed, or matters.
func slotsUsed(s Subject, n name, seen []Seen) string {
	if !reached(seen) {
		return ""
	}
	for _, slot := range n.slots {
		tried, matters := 0, false
		for i := range seen {
			matters = matters || seen[i].changed(slot)
			for k := range seen[:i] {
				if !onlySlot(&seen[i], &seen[k], slot) {
					continue
				}
				tried++
				matters = matters || !same(seen[i].Answer, seen[k].Answer) || differ(&seen[i], &seen[k])
			}
		}
		if tried >= 8 && !matters && len(n.slots) == 1 {
			return fmt.Sprintf("the name speaks of %s, and in %d calls it makes no difference", s.Slots[slot].Name, tried)
		}
	}
	return ""
}

func onlySlot(a, b *Seen, slot int) bool {
	for j := range a.Before {
		if same(a.before(j), b.before(j)) == (j == slot) {
			return false
		}
	}
	for j := range a.Args {
		if !same(a.Args[j], b.Args[j]) {
			return false
		}
	}
	return true
}
