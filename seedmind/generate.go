package seedmind

import (
	"math/rand/v2"
	"slices"
	"strings"

	"batos/internal/mind"
)

// Sample is one example: what the model reads and what it is to write.
type Sample struct {
	Kind   mind.Kind
	Prompt mind.SeedPrompt
	Answer string // "" and Refuse: that it does not know how
	Refuse bool
	// Meaning is what the prompt means, for methods.
	Meaning Meaning
}

// Generator makes training examples: the n-th is the same in every run with
// the same seed. It is safe for concurrent use.
type Generator struct {
	c        *Corpus
	seed     uint64
	families []*Family // those to draw from, some several times
	displays []*Family // those of them that show something
	held     func(Meaning) bool
	strict   bool // no words put in or left out
	grown    bool // the personas' work as their adapters learn it
}

// Parts of the training, of 100 examples.
const (
	partRefuse  = 9
	partPersona = 16
)

// NewGenerator makes the generator of training examples.
func NewGenerator(c *Corpus, seed uint64) *Generator {
	g := &Generator{c: c, seed: seed, held: func(m Meaning) bool { return m.Held }}
	for _, f := range c.Families {
		times := f.weight()
		switch {
		case heldCell(f):
			continue
		case strings.HasPrefix(f.Name, "layout_two_"):
			if fnv(f.Name)%6 != 0 {
				continue // 225 pairs of views teach one thing
			}
			times = 1
		case f.Name == "increment_by" || f.Name == "increment":
			times = 8
		}
		for range times {
			g.families = append(g.families, f)
		}
	}
	g.displays = displays(g.families)
	return g
}

// weight is how often a family comes: more often, the more it must find out
// from the prompt.
func (f *Family) weight() int {
	switch {
	case f.cell:
		return 2
	case f.all != nil:
		return 10
	}
	most := 0
	for _, form := range f.Forms {
		n := len(form)
		for _, s := range form {
			n += len(s.Fields)
			for _, field := range s.Fields {
				if field.Role != "" {
					n++ // which field has the role is to be seen from the slot
				}
			}
		}
		most = max(most, n)
	}
	return 3 + 2*min(max(0, most-1), 3)
}

// Sample gives the n-th example.
func (g *Generator) Sample(n int) Sample {
	return g.draw(rand.New(rand.NewPCG(g.seed, uint64(n))))
}

func (g *Generator) draw(r *rand.Rand) Sample {
	switch k := r.IntN(100); {
	case k < partRefuse:
		return g.refusal(r)
	case k < partRefuse+partPersona:
		return g.persona(r)
	}
	return g.method(r)
}

// method draws an example of a family.
func (g *Generator) method(r *rand.Rand) Sample { return g.methodOf(r, g.families) }

func (g *Generator) methodOf(r *rand.Rand, families []*Family) Sample {
	for {
		f := families[r.IntN(len(families))]
		p, bare, ok := g.prompt(r, f)
		if !ok {
			continue
		}
		if m, ok := g.c.Read(p); ok {
			if !g.held(m) {
				return Sample{Kind: mind.Method, Prompt: p, Meaning: m, Answer: m.Body(p)}
			}
			continue
		}
		// Words were put in or left out, and no phrase reads like that: it
		// still means what it meant before.
		if m, ok := g.c.Read(bare); ok && m.Family == f && !g.held(m) {
			return Sample{Kind: mind.Method, Prompt: p, Meaning: m, Answer: m.Body(p)}
		}
	}
}

// prompt draws a prompt for a family: p with some words put in or left out,
// bare without that.
func (g *Generator) prompt(r *rand.Rand, f *Family) (p, bare mind.SeedPrompt, ok bool) {
	form := Form{}
	if len(f.Forms) > 0 {
		form = f.Forms[r.IntN(len(f.Forms))]
	}
	types := f.argTypes(form)
	words := drawLine(r, f.Lines[r.IntN(len(f.Lines))])
	if len(words) == 0 || len(words) > mind.SeedMaxWords {
		return p, p, false
	}
	extra := drawExtra(r)
	if f.all != nil {
		extra = r.IntN(10)
	}
	b := builder{r: r}
	b.build(form, extra)
	bare = mind.SeedPrompt{Slots: b.slots, Args: types[r.IntN(len(types))], Words: b.words(g.c, words)}
	p = bare
	if !g.strict && r.IntN(6) == 0 {
		p.Words = loosen(r, slices.Clone(bare.Words))
	}
	return p, bare, len(p.Words) > 0
}

// drawExtra is how many slots the object has beside those that are meant.
func drawExtra(r *rand.Rand) int {
	switch k := r.IntN(100); {
	case k < 34:
		return 0
	case k < 60:
		return 1
	case k < 78:
		return 2
	case k < 89:
		return 3
	}
	return 4 + r.IntN(3)
}

// builder makes the slots of a prompt for a form.
type builder struct {
	r      *rand.Rand
	slots  []mind.SeedSlot
	meant  [len(slotLetters)]int // slot by letter
	fields [len(fieldLetters)]int
}

func (b *builder) build(form Form, extra int) {
	type place struct {
		letter int // -1: nothing of the form
		slot   mind.SeedSlot
		fields []int // number in the form's slot by place, -1: none
	}
	var places []place
	for k, spec := range form {
		slot, fields := b.slot(spec)
		places = append(places, place{k, slot, fields})
	}
	for range extra {
		spec := SlotSpec{Type: extraTypes[b.r.IntN(len(extraTypes))]}
		slot, _ := b.slot(spec)
		at := b.r.IntN(len(places) + 1)
		places = slices.Insert(places, at, place{letter: -1, slot: slot})
	}
	if len(form) > 1 && b.r.IntN(3) == 0 {
		b.r.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	}
	field := 0
	for i, pl := range places {
		b.slots = append(b.slots, pl.slot)
		if pl.letter >= 0 {
			b.meant[pl.letter] = i
			for j, k := range pl.fields {
				if k >= 0 {
					b.fields[form[pl.letter].Fields[k].letter()] = field + j
				}
			}
		}
		field += len(pl.slot.Fields)
	}
}

// extraTypes are the types of slots that a phrase is not about.
var extraTypes = []mind.SeedType{mind.SeedInt, mind.SeedInt, mind.SeedInt, mind.SeedStr, mind.SeedStr, mind.SeedStr, mind.SeedBool, mind.SeedBool,
	mind.SeedFloat, mind.SeedNumbers, mind.SeedStrs, mind.SeedStrs, mind.SeedList, mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap,
	mind.SeedRecords, mind.SeedRecord, mind.SeedNone, mind.SeedObj, mind.SeedAny}

// role draws what the name of a value gives away.
func (b *builder) role(t mind.SeedType) string {
	roles := mind.SeedRolesOf(t)
	if len(roles) == 0 || b.r.IntN(100) < 60 || isContainer(t) && b.r.IntN(2) == 0 {
		return ""
	}
	return roles[b.r.IntN(len(roles))]
}

// slot draws a slot for a specification; fields gives the number of each field
// in it, or -1.
func (b *builder) slot(spec SlotSpec) (mind.SeedSlot, []int) {
	s := mind.SeedSlot{Type: spec.Type, Role: spec.Role}
	if s.Role == "" {
		s.Role = b.role(s.Type)
	}
	if s.Type != mind.SeedRecords && s.Type != mind.SeedRecord {
		return s, nil
	}
	var letters []int
	only := false
	for k, f := range spec.Fields {
		role := f.Role
		if role == onlyNumber {
			only, role = true, ""
		}
		for role == "" || only && role == "id" {
			if role = b.role(f.Type); role == "" {
				break
			}
		}
		s.Fields = append(s.Fields, mind.SeedField{Type: f.Type, Role: role})
		letters = append(letters, k)
	}
	more := []int{0, 1, 1, 2, 2, 3}[b.r.IntN(6)]
	if len(spec.Fields) == 0 {
		more = 2 + b.r.IntN(2)
	}
	for range min(more, 4-len(s.Fields)) {
		t := []mind.SeedType{mind.SeedStr, mind.SeedStr, mind.SeedNumber, mind.SeedNumber, mind.SeedBool}[b.r.IntN(5)]
		role := b.role(t)
		if t == mind.SeedNumber && (only || b.r.IntN(3) == 0) {
			role = "id" // a number that counts nothing
		}
		at := b.r.IntN(len(s.Fields) + 1)
		s.Fields = slices.Insert(s.Fields, at, mind.SeedField{Type: t, Role: role})
		letters = slices.Insert(letters, at, -1)
	}
	if len(s.Fields) > 1 && b.r.IntN(2) == 0 {
		i, j := b.r.IntN(len(s.Fields)), b.r.IntN(len(s.Fields))
		s.Fields[i], s.Fields[j] = s.Fields[j], s.Fields[i]
		letters[i], letters[j] = letters[j], letters[i]
	}
	nameFields(s.Fields, spec.Fields, letters)
	return s, letters
}

// nameFields gives one text field the role of a name, as the codec does: the
// one that has it, else the first.
func nameFields(fields []mind.SeedField, spec []FieldSpec, letters []int) {
	name := -1
	for i, k := range letters {
		if k >= 0 && spec[k].Role == "name" {
			name = i
		}
	}
	for i := range fields {
		f := &fields[i]
		if f.Type != mind.SeedStr {
			continue
		}
		if f.Role == "title" || f.Role == "name" {
			if name < 0 {
				name = i
			}
			f.Role = ""
		}
	}
	if name < 0 {
		name = slices.IndexFunc(fields, func(f mind.SeedField) bool { return f.Type == mind.SeedStr })
	}
	if name >= 0 {
		fields[name].Role = "name"
	}
}

// words writes a phrase in words and aliases.
func (b *builder) words(c *Corpus, phrase []string) []string {
	var out []string
	for _, w := range phrase {
		switch {
		case w == "{~}":
			w = mind.SeedThing
			if b.r.IntN(5) == 0 {
				// Some nouns are words of phrases too; they stand for
				// themselves then.
				if t := c.Things[b.r.IntN(len(c.Things))]; c.words[t] {
					w = t
				}
			}
		case isPlaceholder(w):
			if k := strings.IndexByte(slotLetters, w[1]); k >= 0 {
				numbers := numbersOf(w, b.slots[b.meant[k]].Type)
				w = "$" + itoa(b.meant[k]) + numbers[b.r.IntN(len(numbers))]
			} else {
				w = "#" + itoa(b.fields[strings.IndexByte(fieldLetters, w[1])])
			}
		}
		out = append(out, w)
	}
	return out
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return "1" + string(rune('0'+i-10))
}

// fillers are words that people leave out or put in without meaning anything.
var (
	leftOut = []string{"the", "of", "to", "by", "a", "in", "from", "with"}
	putIn   = []string{"the", "my", "a", "please", "now", "me", "this", "just", "do", "its", "your", "our", "their", "that", "currently", "really", "actually", "simply", "quickly", "kindly", "already", "again"}
)

// loosen leaves a small word out or puts one in.
func loosen(r *rand.Rand, words []string) []string {
	if r.IntN(2) == 0 && len(words) > 2 {
		var at []int
		for i, w := range words[1:] {
			if slices.Contains(leftOut, w) {
				at = append(at, i+1)
			}
		}
		if len(at) > 0 {
			i := at[r.IntN(len(at))]
			return slices.Delete(words, i, i+1)
		}
	}
	at := r.IntN(len(words) + 1)
	if len(words) > 1 && at == 0 {
		at = 1
	}
	return slices.Insert(words, at, putIn[r.IntN(len(putIn))])
}

// refusal draws a prompt that means nothing: right words for the wrong slots
// or arguments, a thing where a slot is needed, words of two families.
func (g *Generator) refusal(r *rand.Rand) Sample {
	for {
		f := g.families[r.IntN(len(g.families))]
		p, _, ok := g.prompt(r, f)
		if !ok {
			continue
		}
		switch k := r.IntN(10); {
		case k < 4:
			p = otherSlots(r, p)
		case k < 6:
			p = otherArgs(r, p)
		case k < 9:
			if p, ok = thingForSlot(r, p); !ok {
				continue
			}
		default:
			o := g.families[r.IntN(len(g.families))]
			q, _, ok := g.prompt(r, o)
			if !ok || o.Area == f.Area {
				continue
			}
			p = mixed(r, p, q)
		}
		if _, ok := g.c.Read(p); ok || len(p.Words) == 0 {
			continue
		}
		return Sample{Kind: mind.Method, Prompt: p, Refuse: true}
	}
}

// otherSlots keeps the words and gives every slot another type.
func otherSlots(r *rand.Rand, p mind.SeedPrompt) mind.SeedPrompt {
	b := builder{r: r}
	if len(p.Slots) == 0 {
		b.build(nil, 1+r.IntN(2))
		p.Slots = b.slots
		return p
	}
	slots := slices.Clone(p.Slots)
	for i := range slots {
		if len(slots[i].Fields) > 0 && slices.ContainsFunc(p.Words, func(w string) bool { return w[0] == '#' }) {
			continue
		}
		t := extraTypes[r.IntN(len(extraTypes))]
		for t == slots[i].Type || len(slots[i].Fields) == 0 && (t == mind.SeedRecords || t == mind.SeedRecord) {
			t = extraTypes[r.IntN(len(extraTypes))]
		}
		slots[i], _ = b.slot(SlotSpec{Type: t})
	}
	p.Slots = slots
	return p
}

var argTypes = []mind.SeedType{mind.SeedNumber, mind.SeedNumber, mind.SeedStr, mind.SeedStr, mind.SeedBool, mind.SeedNumbers, mind.SeedStrs, mind.SeedDict}

// otherArgs changes the arguments.
func otherArgs(r *rand.Rand, p mind.SeedPrompt) mind.SeedPrompt {
	args := slices.Clone(p.Args)
	if len(args) > 0 && r.IntN(2) == 0 {
		if r.IntN(2) == 0 {
			args = args[:len(args)-1]
		} else {
			args[r.IntN(len(args))] = argTypes[r.IntN(len(argTypes))]
		}
	} else if len(args) < 3 {
		args = append(args, argTypes[r.IntN(len(argTypes))])
	}
	p.Args = args
	return p
}

// thingForSlot names a thing instead of a slot or field.
func thingForSlot(r *rand.Rand, p mind.SeedPrompt) (mind.SeedPrompt, bool) {
	var at []int
	for i, w := range p.Words {
		if w[0] == '$' || w[0] == '#' {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return p, false
	}
	p.Words = slices.Clone(p.Words)
	p.Words[at[r.IntN(len(at))]] = mind.SeedThing
	return p, true
}

// mixed takes the first words of one prompt and the last of another.
func mixed(r *rand.Rand, p, q mind.SeedPrompt) mind.SeedPrompt {
	words := slices.Clone(p.Words[:1+r.IntN(len(p.Words))])
	for _, w := range q.Words[r.IntN(len(q.Words)):] {
		if w[0] != '$' && w[0] != '#' && len(words) < mind.SeedMaxWords {
			words = append(words, w)
		}
	}
	p.Words = words
	return p
}
