package mind

import (
	"slices"
	"strings"

	"batos"
)

// seedNames is a prompt together with the names that its aliases stand for.
type seedNames struct {
	prompt   SeedPrompt
	slots    []string // by alias number
	fields   []string
	receiver string
	params   []string // of the def line, after self
	unknown  []string // words of the selector that the model never saw
}

// lexicon is what a seed model knows of words.
type lexicon struct {
	words  map[string]bool // words that phrases of the corpus are made of
	things map[string]bool // nouns that a phrase may drop
}

// connectives and other small words never name a slot by themselves.
var connectives = wordSet("by to of in on for from with at is it as and or not all if up down off over under the a an per when set get add is_not new be do my me")

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// lastRoles are roles of slots that a bare verb is not about: increment on
// {limit, count} means count.
var lastRoles = wordSet("limit floor rate discount year current id")

// alias takes the names out of a task.
func (lex lexicon) alias(t Task) (*seedNames, error) {
	n := &seedNames{receiver: strings.TrimSuffix(t.Receiver, "_obj")}
	if len(t.Args)+len(t.Kwargs) > SeedMaxArgs {
		return nil, batos.Errorf(batos.Refused, "%s has %d arguments; the seed model knows methods of up to %d", t.Selector, len(t.Args)+len(t.Kwargs), SeedMaxArgs)
	}
	words := splitWords(string(t.Selector))
	for _, a := range t.Args {
		n.prompt.Args = append(n.prompt.Args, argType(a))
	}
	for _, k := range t.Kwargs {
		n.prompt.Args = append(n.prompt.Args, argType(k.Shape))
		for _, w := range splitWords(k.Name) {
			if lex.words[w] || slices.ContainsFunc(t.Slots, func(s NamedShape) bool { return s.Name == k.Name }) {
				words = append(words, w)
			}
		}
	}
	n.params = paramNames(t)
	var slots []namedSlot
	for _, s := range t.Slots {
		if isIdentifier(s.Name) && !strings.HasPrefix(s.Name, "_") {
			slots = append(slots, newNamedSlot(s))
		}
	}
	marks := lex.mark(words, slots, len(t.Args)+len(t.Kwargs))
	slots = arrange(slots, words, marks)
	n.number(slots)
	lex.spell(n, words, slots, marks)
	if len(n.unknown) == 0 && (len(n.prompt.Words) == 0 || len(n.prompt.Words) > SeedMaxWords) {
		return nil, batos.Errorf(batos.Refused, "%s has %d words; the seed model reads 1 to %d", t.Selector, len(n.prompt.Words), SeedMaxWords)
	}
	return n, nil
}

// namedSlot is a slot of the receiver before it has a number.
type namedSlot struct {
	name   string
	id     int // place in the task
	slot   SeedSlot
	fields []string
}

func newNamedSlot(s NamedShape) namedSlot {
	typ, fields := slotType(s.Shape)
	n := namedSlot{name: s.Name, slot: SeedSlot{Type: typ, Role: roleOf(s.Name, typ)}}
	named := false
	for _, f := range fields[:min(len(fields), SeedMaxFields)] {
		field := SeedField{Type: fieldType(f.Shape)}
		field.Role = roleOf(f.Name, field.Type)
		if field.Role == "title" {
			field.Role = "name"
		}
		if field.Role == "name" {
			if named {
				field.Role = ""
			}
			named = true
		}
		n.slot.Fields = append(n.slot.Fields, field)
		n.fields = append(n.fields, f.Name)
	}
	for i := range n.slot.Fields {
		if f := &n.slot.Fields[i]; !named && f.Type == SeedStr {
			f.Role, named = "name", true
		}
	}
	return n
}

// mark says what a word of the selector stands for.
type mark struct {
	slot, field int  // field -1: the slot itself; slot -1: no name
	words       int  // how many words of the selector it takes
	one         bool // the name of several things, in the singular
	negated     bool
	made        bool // a verb that makes it so: lock for locked
}

// verbs are nouns too: vote_for is about voting, also where a slot is called
// votes.
var verbs = wordSet("vote count score rank order list record log tag mark rate like view play move hit visit click note call bid bet answer reply comment post report review label sort name water color open close lock start stop lap win point book load total sum average max min all get")

// mark finds slots and fields in the words of a selector.
func (lex lexicon) mark(words []string, slots []namedSlot, args int) map[int]mark {
	marks := map[int]mark{}
	for i := range slots {
		slots[i].id = i
	}
	for at := 0; at < len(words); {
		m, ok := bestName(words, at, slots)
		if ok && m.words == 1 {
			verb := at == 0 && (len(words) == 1 && m.field < 0 || lex.words[words[0]] && lex.namedLater(words, slots) && !lex.subject(words) || m.one && args > 0 && verbs[words[0]])
			ok = !verb && !connectives[words[at]]
		}
		if !ok {
			at++
			continue
		}
		marks[at] = m
		at += m.words
	}
	lex.markParts(words, slots, marks)
	return marks
}

// subject reports whether the first word is what a phrase is about, not what
// to do: salary in salary_by_department.
func (lex lexicon) subject(words []string) bool {
	return len(words) > 2 && connectives[words[1]] && !verbs[words[0]] && !verbs[singular(words[0])]
}

func (lex lexicon) namedLater(words []string, slots []namedSlot) bool {
	for at := 1; at < len(words); at++ {
		if _, ok := bestName(words, at, slots); ok && !connectives[words[at]] {
			return true
		}
	}
	return false
}

// bestName finds the longest name that begins at words[at], a name as written
// before one in another number, a slot before a field.
func bestName(words []string, at int, slots []namedSlot) (mark, bool) {
	best, bestScore := mark{}, 0
	try := func(name string, bool_ bool, m mark) {
		nw := splitWords(name)
		if bool_ && len(nw) > 1 && strings.Contains(" is has was are can should did ", " "+nw[0]+" ") {
			nw = nw[1:]
		}
		if len(nw) == 0 || at+len(nw) > len(words) {
			return
		}
		score := 4 * len(nw)
		have := words[at : at+len(nw)]
		switch {
		case slices.Equal(have, nw):
			score += 2
		case !slices.Equal(singulars(have), singulars(nw)):
			return
		}
		if m.field < 0 {
			score++
		}
		if score > bestScore {
			last := len(nw) - 1
			m.one = m.field < 0 && have[last] != nw[last] && singular(nw[last]) == have[last]
			m.words = len(nw)
			best, bestScore = m, score
		}
	}
	for i, s := range slots {
		try(s.name, s.slot.Type == SeedBool, mark{slot: i, field: -1})
		for j, f := range s.fields {
			try(f, s.slot.Fields[j].Type == SeedBool, mark{slot: i, field: j})
		}
	}
	return best, bestScore > 0
}

// markParts marks words that give a name in part or in another form: speed
// for the only slot with that word, lock and unlocked for locked.
func (lex lexicon) markParts(words []string, slots []namedSlot, marks map[int]mark) {
	covered := map[int]bool{}
	for at, m := range marks {
		for i := range m.words {
			covered[at+i] = true
		}
	}
	for at, w := range words {
		if covered[at] || connectives[w] {
			continue
		}
		if m, ok := stateOf(w, at, slots, lex); ok {
			if !m.made || m.field >= 0 || len(marks) == 0 && lex.onlyThings(words[1:]) {
				marks[at] = m
			}
			continue
		}
		if at == 0 {
			continue
		}
		if m, ok := partOf(w, slots); ok {
			marks[at] = m
		}
	}
}

// onlyThings reports whether words are nothing but nouns that a phrase may
// drop: lock_front_door is about the lock, stop_and_reset is not.
func (lex lexicon) onlyThings(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return lex.words[w] && !lex.things[w] })
}

// stateOf relates a word to a flag's name: lock and unlock, unlocked, closed
// for a slot open.
func stateOf(w string, at int, slots []namedSlot, lex lexicon) (mark, bool) {
	flag := func(name string, m mark) (mark, bool) {
		nw := splitWords(name)
		state := nw[len(nw)-1]
		m.words = 1
		switch {
		case at == 0 && participle(w, state):
			m.made = true
			return m, true
		case at == 0 && undoes(w, state):
			m.made, m.negated = true, true
			return m, true
		case at > 0 && (w == "un"+state || w == "in"+state || w == "dis"+state || w == "im"+state || opposite(w, state)):
			m.negated = true
			return m, true
		}
		return m, false
	}
	for i, s := range slots {
		if s.slot.Type == SeedBool {
			if m, ok := flag(s.name, mark{slot: i, field: -1}); ok {
				return m, true
			}
		}
	}
	for i, s := range slots {
		for j, f := range s.fields {
			if s.slot.Fields[j].Type == SeedBool && !lex.words[w] {
				if m, ok := flag(f, mark{slot: i, field: j}); ok {
					return m, true
				}
			}
		}
	}
	return mark{}, false
}

// opposite reports whether a state ends where the other begins: closed, open.
func opposite(w, state string) bool {
	for verb := range opposites {
		if participle(verb, w) && undoes(verb, state) {
			return true
		}
	}
	return false
}

// partOf finds the only slot, else the only field, whose name has the word
// first or last among several.
func partOf(w string, slots []namedSlot) (mark, bool) {
	w = singular(w)
	fits := func(name string) bool {
		nw := singulars(splitWords(name))
		return len(nw) > 1 && (nw[0] == w || nw[len(nw)-1] == w)
	}
	var found []mark
	for i, s := range slots {
		if fits(s.name) {
			found = append(found, mark{slot: i, field: -1, words: 1})
		}
	}
	if len(found) == 0 {
		for i, s := range slots {
			for j, f := range s.fields {
				if fits(f) {
					found = append(found, mark{slot: i, field: j, words: 1})
				}
			}
		}
	}
	if len(found) != 1 {
		return mark{}, false
	}
	return found[0], true
}

// arrange orders the slots for the prompt: if there are too many, those that
// the selector names come first; what a bare verb is about comes before what
// only bounds it.
func arrange(slots []namedSlot, words []string, marks map[int]mark) []namedSlot {
	named := map[int]bool{}
	for _, m := range marks {
		named[m.slot] = true
	}
	out := slices.Clone(slots)
	if len(out) > SeedMaxSlots {
		slices.SortStableFunc(out, func(a, b namedSlot) int { return boolOrder(named[a.id], named[b.id]) })
		out = out[:SeedMaxSlots]
		slices.SortFunc(out, func(a, b namedSlot) int { return a.id - b.id })
	}
	fields := 0
	for i := range out {
		keep := min(len(out[i].fields), SeedMaxFields-fields)
		out[i].fields, out[i].slot.Fields = out[i].fields[:keep], out[i].slot.Fields[:keep]
		fields += keep
	}
	if len(marks) > 0 {
		return out
	}
	slices.SortStableFunc(out, func(a, b namedSlot) int {
		if c := boolOrder(affine(words, a.name), affine(words, b.name)); c != 0 {
			return c
		}
		return boolOrder(!lastRoles[a.slot.Role], !lastRoles[b.slot.Role])
	})
	return out
}

// boolOrder sorts true before false.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func affine(words []string, slot string) bool {
	if name := splitWords(slot); len(name) > 0 && (name[0] == "max" || name[0] == "min") {
		return false
	}
	for _, a := range affinities {
		if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(a.verbs, w) }) &&
			slices.ContainsFunc(splitWords(slot), func(w string) bool { return slices.Contains(a.slots, w) }) {
			return true
		}
	}
	return false
}

// number gives the slots and fields their aliases.
func (n *seedNames) number(slots []namedSlot) {
	for _, s := range slots {
		n.prompt.Slots = append(n.prompt.Slots, s.slot)
		n.slots = append(n.slots, s.name)
		n.fields = append(n.fields, s.fields...)
	}
}

// spell writes the selector in words and aliases.
func (lex lexicon) spell(n *seedNames, words []string, slots []namedSlot, marks map[int]mark) {
	aliases := func(m mark) (string, bool) {
		field := 0
		for i, s := range slots {
			if s.id == m.slot {
				switch {
				case m.field < 0:
					return "$" + itoa(i), true
				case m.field < len(s.fields):
					return "#" + itoa(field+m.field), true
				}
				return "", false
			}
			field += len(s.fields)
		}
		return "", false
	}
	receiver := map[string]bool{}
	for _, w := range splitWords(n.receiver) {
		receiver[singular(w)] = true
	}
	made := false
	add := func(w string) {
		if w == SeedThing && (made || len(n.prompt.Words) > 0 && n.prompt.Words[len(n.prompt.Words)-1] == SeedThing) {
			return
		}
		n.prompt.Words = append(n.prompt.Words, w)
	}
	for at := 0; at < len(words); {
		w := words[at]
		m, ok := marks[at]
		alias, shown := "", false
		if ok {
			alias, shown = aliases(m)
		}
		switch {
		case shown:
			switch {
			case m.made && m.negated:
				add("un")
				made = true
			case m.made:
				add("make")
				made = true
			case m.negated:
				add("not")
			}
			if m.one && isContainer(slots, m.slot) {
				alias += SeedOne
			}
			add(alias)
			at += m.words
			continue
		case at > 0 && receiver[singular(w)], lex.things[w] && !lex.words[w], lex.things[singular(w)] && !lex.words[w]:
			add(SeedThing)
		default:
			if word, ok := lex.known(w); ok {
				add(word)
			} else {
				n.unknown = append(n.unknown, w)
			}
		}
		at++
	}
}

func isContainer(slots []namedSlot, id int) bool {
	for _, s := range slots {
		if s.id == id {
			return strings.ContainsAny(string(s.slot.Type), "[{")
		}
	}
	return false
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return string(rune('0'+i/10)) + string(rune('0'+i%10))
}

func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetter(c) && c != '_' && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// paramNames names the parameters of the def line: one positional argument
// says what it is, several are a, b, c; named arguments keep their names.
func paramNames(t Task) []string {
	var out []string
	for i := range t.Args {
		out = append(out, string(rune('a'+i)))
	}
	if len(out) == 1 && len(t.Kwargs) == 0 {
		switch argType(t.Args[0]) {
		case SeedNumber:
			out[0] = "amount"
		case SeedStr:
			out[0] = "text"
		case SeedBool:
			out[0] = "flag"
		case SeedNumbers, SeedStrs, SeedList:
			out[0] = "items"
		default:
			out[0] = "value"
		}
	}
	for _, k := range t.Kwargs {
		out = append(out, k.Name)
	}
	return out
}

func argType(s Shape) SeedType {
	switch s.Kind {
	case IntShape, FloatShape:
		return SeedNumber
	case StrShape:
		return SeedStr
	case BoolShape:
		return SeedBool
	case ListShape:
		if t, _ := slotType(s); t == SeedNumbers || t == SeedStrs {
			return t
		}
		return SeedList
	case DictShape:
		return SeedDict
	case NoneShape:
		return SeedNone
	case ObjShape:
		return SeedObj
	}
	return SeedAny
}

func fieldType(s Shape) SeedType {
	switch s.Kind {
	case IntShape, FloatShape:
		return SeedNumber
	case StrShape:
		return SeedStr
	case BoolShape:
		return SeedBool
	}
	return SeedAny
}

// slotType is a slot's type, with the fields of records.
func slotType(s Shape) (SeedType, []NamedShape) {
	switch s.Kind {
	case IntShape:
		return SeedInt, nil
	case FloatShape:
		return SeedFloat, nil
	case StrShape:
		return SeedStr, nil
	case BoolShape:
		return SeedBool, nil
	case NoneShape:
		return SeedNone, nil
	case ObjShape:
		return SeedObj, nil
	case ListShape:
		if s.Elem != nil {
			switch s.Elem.Kind {
			case IntShape, FloatShape:
				return SeedNumbers, nil
			case StrShape:
				return SeedStrs, nil
			case BoolShape:
				return SeedBools, nil
			case DictShape:
				if len(s.Elem.Fields) > 0 {
					return SeedRecords, s.Elem.Fields
				}
			}
		}
		return SeedList, nil
	case DictShape:
		if len(s.Fields) > 0 && (s.Elem == nil || s.Elem.Kind == AnyShape) {
			return SeedRecord, s.Fields
		}
		if s.Elem != nil {
			switch s.Elem.Kind {
			case IntShape, FloatShape:
				return SeedNumberMap, nil
			case StrShape:
				return SeedStrMap, nil
			}
		}
		return SeedMap, nil
	}
	return SeedAny, nil
}
