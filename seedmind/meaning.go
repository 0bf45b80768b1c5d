package seedmind

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"

	"batos/internal/mind"
)

// reading is one way in which the slots of a prompt can be those of a family:
// which form it is, and which letter each slot and field has, in the order of
// the prompt.
type reading struct {
	family *Family
	form   Form
	slots  []int // letter by place
	fields []int // letter by place, of the record slot
}

// claim packs what a phrase means: the number of a reading and whether the
// phrase is held out from training.
type claim = uint32

const heldOut claim = 1

// Meaning is a family as a prompt means it.
type Meaning struct {
	Family *Family
	Held   bool // the phrase is never trained on
	bind   binding
	score  int
}

// Body is the code that the prompt asks for.
func (m Meaning) Body(p mind.SeedPrompt) string { return m.Family.body(p, m.bind) }

var claimSeed = maphash.MakeSeed()

// claim enters every phrase of every family, under every order in which its
// slots can stand in an object.
func (c *Corpus) claim() {
	c.claims = make(map[uint64]claim, 1<<20)
	c.words = map[string]bool{}
	for _, w := range putIn {
		c.words[w] = true
	}
	for _, f := range c.Families {
		for _, l := range f.Lines {
			for _, place := range l {
				for _, choice := range place {
					for _, w := range choice {
						if isWord(w) {
							c.words[w] = true
						}
					}
				}
			}
		}
		if f.all != nil {
			c.claimAll(f)
			continue
		}
		// Slots in the order of a form first: {name, age} is text and number,
		// not number and text turned around.
		for _, form := range f.Forms {
			c.claimForm(f, form, permutations(len(form))[:1])
		}
		for _, form := range f.Forms {
			c.claimForm(f, form, permutations(len(form))[1:])
		}
	}
}

// heldPhrase says whether a phrase of a family is kept for evaluation. Every
// type of slot follows the same choice.
func heldPhrase(f *Family, words []string) bool {
	return fnv(f.Name+"/"+strings.Join(words, "_"))%10 == 0
}

// heldCell says whether a crossing of the grid is kept for evaluation.
func heldCell(f *Family) bool { return f.cell && fnv(f.Name)%8 == 0 }

// fnv is a hash that is the same in every process.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 29
	return h * 0xbf58476d1ce4e5b9 >> 20
}

func (c *Corpus) enter(key uint64, r int, held bool) {
	v := claim(r) << 1
	if held {
		v |= heldOut
	}
	if old, ok := c.claims[key]; ok {
		if c.readings[old>>1].family != c.readings[r].family {
			c.dropped++
		}
		return
	}
	c.claims[key] = v
}

func (c *Corpus) claimAll(f *Family) {
	r := len(c.readings)
	c.readings = append(c.readings, reading{family: f})
	for _, l := range f.Lines {
		l.phrases(func(words []string) {
			held := heldPhrase(f, words)
			c.enter(keyOf("*", plain(words), nil), r, held)
		})
	}
}

// plain gives the words of a phrase with aliases for placeholders, for
// families of all slots: {s} is $.
func plain(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		switch w {
		case "{s}":
			w = "$"
		case "{~}":
			w = mind.SeedThing
		}
		out[i] = w
	}
	return out
}

// claimForm enters the phrases for one form under some orders of its slots.
func (c *Corpus) claimForm(f *Family, form Form, orders [][]int) {
	for _, args := range f.argTypes(form) {
		for _, slots := range orders {
			for _, fields := range fieldOrders(form) {
				r := len(c.readings)
				c.readings = append(c.readings, reading{f, form, slots, fields})
				shape := shapeKey(form, slots, fields)
				for _, l := range f.Lines {
					l.phrases(func(words []string) {
						if !told(form, slots, fields, words) {
							return
						}
						held := heldPhrase(f, words) || heldCell(f)
						aliased(form, words, slots, fields, func(words []string) { c.enter(keyOf(shape, words, args), r, held) })
					})
				}
			}
		}
	}
}

// permutations of 0..n-1, the identity first. permutations(n)[i][place] is the
// letter at a place.
func permutations(n int) [][]int {
	out := [][]int{{}}
	for k := range n {
		var next [][]int
		for _, p := range out {
			for at := len(p); at >= 0; at-- {
				next = append(next, slices.Insert(slices.Clone(p), at, k))
			}
		}
		out = next
	}
	return out
}

// fieldOrders are the orders of the letters of the form's fields.
func fieldOrders(form Form) [][]int {
	for _, s := range form {
		if len(s.Fields) > 0 {
			orders := permutations(len(s.Fields))
			for _, o := range orders {
				for i, k := range o {
					o[i] = s.Fields[k].letter()
				}
			}
			return orders
		}
	}
	return [][]int{nil}
}

// letter is the field's number among all letters of fields.
func (f FieldSpec) letter() int { return strings.IndexByte(fieldLetters, f.Letter) }

// field finds the field with a letter.
func (s SlotSpec) field(letter int) (FieldSpec, bool) {
	for _, f := range s.Fields {
		if f.letter() == letter {
			return f, true
		}
	}
	return FieldSpec{}, false
}

// told reports whether a person could tell the slots of this order apart:
// those that the phrase does not name and that look alike stand in the order
// of their letters.
func told(form Form, slots, fields []int, words []string) bool {
	named := func(letter byte) bool {
		return slices.ContainsFunc(words, func(w string) bool { return isPlaceholder(w) && w[1] == letter })
	}
	last := map[string]int{}
	for _, k := range slots {
		if named(slotLetters[k]) {
			continue
		}
		look := string(form[k].Type) + "^" + form[k].Role
		if was, ok := last[look]; ok && was > k {
			return false
		}
		last[look] = k
	}
	clear(last)
	for _, s := range form {
		for _, k := range fields {
			f, ok := s.field(k)
			if !ok || named(f.Letter) {
				continue
			}
			look := string(f.Type) + "^" + f.Role
			if was, ok := last[look]; ok && was > k {
				return false
			}
			last[look] = k
		}
	}
	return true
}

// shapeKey describes the meant slots in the order of the prompt.
func shapeKey(form Form, slots, fields []int) string {
	var b strings.Builder
	for _, k := range slots {
		s := form[k]
		b.WriteString(string(s.Type) + "^" + s.Role)
		for _, j := range fields {
			if f, ok := s.field(j); ok {
				b.WriteString("," + string(f.Type) + "^" + f.Role)
			}
		}
		b.WriteByte('|')
	}
	return b.String()
}

// aliased calls yield with the phrase in aliases counted among the meant
// slots, in every number that its names can have.
func aliased(form Form, words []string, slots, fields []int, yield func([]string)) {
	out := make([]string, len(words))
	var walk func(i int)
	walk = func(i int) {
		if i == len(words) {
			yield(out)
			return
		}
		w := words[i]
		if !isPlaceholder(w) {
			out[i] = w
			walk(i + 1)
			return
		}
		if k := strings.IndexByte(slotLetters, w[1]); k >= 0 {
			for _, number := range numbersOf(w, form[k].Type) {
				out[i] = "$" + itoa(slices.Index(slots, k)) + number
				walk(i + 1)
			}
			return
		}
		if k := strings.IndexByte(fieldLetters, w[1]); k >= 0 {
			out[i] = "#" + itoa(slices.Index(fields, k))
		} else {
			out[i] = mind.SeedThing
		}
		walk(i + 1)
	}
	walk(0)
}

func keyOf(shape string, words []string, args []mind.SeedType) uint64 {
	var h maphash.Hash
	h.SetSeed(claimSeed)
	h.WriteString(shape)
	for _, w := range words {
		h.WriteString(" ")
		h.WriteString(w)
	}
	for _, a := range args {
		h.WriteString("(")
		h.WriteString(string(a))
	}
	return h.Sum64()
}

// Read finds what a prompt means. Of several meanings the one wins whose
// slots are given away by most roles, then the one with most slots, then the
// one whose slots come first.
func (c *Corpus) Read(p mind.SeedPrompt) (Meaning, bool) {
	if m, ok := c.readAll(p); ok {
		return m, true
	}
	s := search{c: c, p: p}
	s.named()
	s.pick(0, nil, 0)
	return s.best, s.found
}

func (c *Corpus) readAll(p mind.SeedPrompt) (Meaning, bool) {
	words := slices.Clone(p.Words)
	meant := -1
	for i, w := range words {
		if w[0] == '#' || w[0] == '$' && meant >= 0 {
			return Meaning{}, false
		}
		if w[0] == '$' {
			meant = number(w[1:])
			words[i] = "$"
		}
	}
	v, ok := c.claims[keyOf("*", words, p.Args)]
	if !ok {
		return Meaning{}, false
	}
	f := c.readings[v>>1].family
	if len(p.Slots) < f.all.min || f.all.named && meant < 0 && !slices.ContainsFunc(p.Slots, isText) {
		return Meaning{}, false
	}
	m := Meaning{Family: f, Held: v&heldOut != 0}
	if f.all.named {
		if meant < 0 {
			meant = slices.IndexFunc(p.Slots, isText)
		}
		if !isText(p.Slots[meant]) {
			return Meaning{}, false
		}
		m.bind.slots[0] = meant
	} else if meant >= 0 {
		return Meaning{}, false
	}
	return m, true
}

func isText(s mind.SeedSlot) bool { return s.Type == mind.SeedStr }

// search tries the ways to choose the meant slots of a prompt.
type search struct {
	c           *Corpus
	p           mind.SeedPrompt
	namedSlots  []int
	namedFields []int
	fieldStart  []int // first field's number, by slot
	best        Meaning
	found       bool
}

const maxMeant = 3

func (s *search) named() {
	at := 0
	for _, slot := range s.p.Slots {
		s.fieldStart = append(s.fieldStart, at)
		at += len(slot.Fields)
	}
	for _, w := range s.p.Words {
		switch w[0] {
		case '$':
			s.namedSlots = append(s.namedSlots, number(w[1:]))
		case '#':
			s.namedFields = append(s.namedFields, number(w[1:]))
		}
	}
}

// pick extends the chosen slots by those from next on.
func (s *search) pick(next int, chosen []int, extra int) {
	if next == len(s.p.Slots) {
		s.fields(chosen)
		return
	}
	must := slices.Contains(s.namedSlots, next)
	if !must && len(chosen) < maxMeant || must {
		if len(chosen) < maxMeant {
			s.pick(next+1, append(slices.Clone(chosen), next), extra+1)
		}
	}
	if !must {
		s.pick(next+1, chosen, extra)
	}
}

// fields chooses fields of the one record slot among the chosen.
func (s *search) fields(chosen []int) {
	record := -1
	for _, i := range chosen {
		if len(s.p.Slots[i].Fields) > 0 || s.p.Slots[i].Type == mind.SeedRecords || s.p.Slots[i].Type == mind.SeedRecord {
			if record >= 0 {
				return // no family has two
			}
			record = i
		}
	}
	if record < 0 {
		if len(s.namedFields) == 0 {
			s.try(chosen, nil)
		}
		return
	}
	start, n := s.fieldStart[record], len(s.p.Slots[record].Fields)
	for _, k := range s.namedFields {
		if k < start || k >= start+n {
			return
		}
	}
	var walk func(j int, fields []int)
	walk = func(j int, fields []int) {
		if j == n {
			s.try(chosen, fields)
			return
		}
		must := slices.Contains(s.namedFields, start+j)
		if len(fields) < maxMeant {
			walk(j+1, append(slices.Clone(fields), start+j))
		}
		if !must {
			walk(j+1, fields)
		}
	}
	walk(0, nil)
}

// try looks a choice up, with and without the roles that names give away.
func (s *search) try(chosen, fields []int) {
	words := make([]string, len(s.p.Words))
	for i, w := range s.p.Words {
		switch w[0] {
		case '$':
			w = "$" + itoa(slices.Index(chosen, number(w[1:]))) + numberMark(w)
		case '#':
			w = "#" + itoa(slices.Index(fields, number(w[1:])))
		}
		words[i] = w
	}
	var walk func(i int, shape string, roles int)
	walk = func(i int, shape string, roles int) {
		if i == len(chosen) {
			s.look(shape, words, chosen, fields, roles)
			return
		}
		slot := s.p.Slots[chosen[i]]
		for _, r := range rolesOf(slot.Role) {
			s.fieldRoles(chosen[i], fields, 0, shape+string(slot.Type)+"^"+r, roles+used(r), func(shape string, roles int) {
				walk(i+1, shape+"|", roles)
			})
		}
	}
	walk(0, "", 0)
}

// numberMark gives what follows an alias's digits.
func numberMark(w string) string {
	if strings.HasSuffix(w, mind.SeedOne) {
		return mind.SeedOne
	}
	return ""
}

func rolesOf(role string) []string {
	if role == "" {
		return []string{""}
	}
	return []string{role, ""}
}

// used weighs how much a role tells.
func used(role string) int {
	switch role {
	case "":
		return 0
	case onlyNumber:
		return 1
	}
	return 2
}

// fieldRoles extends shape by the chosen fields of a slot.
func (s *search) fieldRoles(slot int, fields []int, at int, shape string, roles int, then func(string, int)) {
	start, all := s.fieldStart[slot], s.p.Slots[slot].Fields
	if at == len(fields) || len(all) == 0 {
		then(shape, roles)
		return
	}
	f := all[fields[at]-start]
	kinds := rolesOf(f.Role)
	numbers := 0
	for _, o := range all {
		if o.Type == mind.SeedNumber && o.Role != "id" {
			numbers++
		}
	}
	if f.Type == mind.SeedNumber && f.Role != "id" && numbers == 1 {
		kinds = append([]string{onlyNumber}, kinds...)
	}
	for _, r := range kinds {
		s.fieldRoles(slot, fields, at+1, shape+","+string(f.Type)+"^"+r, roles+used(r), then)
	}
}

func (s *search) look(shape string, words []string, chosen, fields []int, roles int) {
	v, ok := s.c.claims[keyOf(shape, words, s.p.Args)]
	if !ok {
		return
	}
	score := 100*roles + 10*len(chosen) + len(fields)
	if s.found && s.best.score >= score {
		return
	}
	r := s.c.readings[v>>1]
	m := Meaning{Family: r.family, Held: v&heldOut != 0, score: score}
	for place, letter := range r.slots {
		m.bind.slots[letter] = chosen[place]
	}
	for place, letter := range r.fields {
		m.bind.fields[letter] = fields[place]
	}
	s.best, s.found = m, true
}

// drawLine picks a phrase of a line at random.
func drawLine(r *rand.Rand, l Line) []string {
	var out []string
	for _, choices := range l {
		out = append(out, choices[r.IntN(len(choices))]...)
	}
	return out
}
