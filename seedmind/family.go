package seedmind

import (
	"fmt"
	"strings"

	"batos/internal/mind"
	"batos/object"
)

// Family is one thing a method can do, whatever its slots are called.
type Family struct {
	Name string
	Area string // the file it is in
	Tell string // one sentence; $s, $t, $u, $f, $g, $h are slots and fields
	// Forms are the combinations of slots it works on, Args what it is given.
	Forms []Form
	Args  []ArgSpec
	Lines []Line // of phrases
	Code  []string
	// Examples prove the code.
	Examples []Example
	// all is for families whose code depends on every slot of the object.
	all *allSlots
	// cell marks a crossing of aggregate, container and filter.
	cell bool
}

// Form is one combination of slots, lettered s, t, u in this order.
type Form []SlotSpec

// SlotSpec is what a family wants of one slot. Role "" is any role.
type SlotSpec struct {
	Type   mind.SeedType
	Role   string
	Fields []FieldSpec // of records, lettered as they are
}

// FieldSpec is what a family wants of one field of a record. Role onlyNumber
// wants the only number of the record that is no id.
type FieldSpec struct {
	Letter byte
	Type   mind.SeedType
	Role   string
}

const onlyNumber = "!"

// Letters of slots and fields in code, phrases and sentences.
const (
	slotLetters  = "stu"
	fieldLetters = "fgh"
)

// ArgSpec says what an argument is, for its type and for drawing one.
type ArgSpec string

// The arguments. Where a type depends on the slot, it is slot s's.
const (
	argNumber   ArgSpec = "n"    // any number
	argLow      ArgSpec = "lo"   // a number, the lower of two
	argHigh     ArgSpec = "hi"   // a number, the higher of two
	argPositive ArgSpec = "pos"  // a whole number from 1
	argIndex    ArgSpec = "i"    // a whole number from 0, not always a place of the list
	argPlace    ArgSpec = "idx"  // a place of the list
	argStr      ArgSpec = "str"  // any text
	argPart     ArgSpec = "sub"  // a text, often a part of the slot
	argChar     ArgSpec = "str1" // a short text
	argKey      ArgSpec = "k"    // a key, often one of the dict
	argHeldKey  ArgSpec = "key"  // a key of the dict
	argItem     ArgSpec = "e"    // an item as the list or dict has them
	argHeld     ArgSpec = "el"   // an item, often one of the list
	argList     ArgSpec = "L"    // a list like the slot
	argNumbers  ArgSpec = "ns"   // a list of numbers
	argKeys     ArgSpec = "ks"   // a list of keys, most of them the dict's
	argDict     ArgSpec = "D"    // a dict like the slot
	argRecord   ArgSpec = "rec"  // a record like those of the slot
	argSlotT    ArgSpec = "t"    // a value for slot t
	argBool     ArgSpec = "bool"
	argAny      ArgSpec = "any"
)

// Example is a call with its outcome. Slots and After are by letter.
type Example struct {
	Slots, Args, After []object.Value
	Want               object.Value
}

// binding says which slot and which field of a prompt a letter stands for.
type binding struct {
	slots  [len(slotLetters)]int
	fields [len(fieldLetters)]int
}

// body is the family's code for a prompt, as the model writes it: one space
// for each level, aliases for names.
func (f *Family) body(p mind.SeedPrompt, b binding) string {
	code := f.Code
	if f.all != nil {
		code = f.all.code(p, b)
	}
	var out []string
	for _, line := range code {
		text := strings.TrimLeft(line, " ")
		indent := line[:len(line)-len(text)]
		for part := range strings.SplitSeq(text, "; ") {
			out = append(out, indent+b.fill(part))
		}
	}
	return strings.Join(out, "\n")
}

const covenant = "self._p_changed = True"

// fill puts aliases for letters into one statement.
func (b binding) fill(code string) string {
	if code == "!" {
		return covenant
	}
	var out strings.Builder
	for i := 0; i < len(code); i++ {
		c := code[i]
		if i+1 < len(code) && !wordAt(code, i+2) {
			if k := strings.IndexByte(slotLetters, code[i+1]); k >= 0 && (c == '$' || c == '%' && quoteAt(code, i)) {
				fmt.Fprintf(&out, "%c%d", c, b.slots[k])
				i++
				continue
			}
			if k := strings.IndexByte(fieldLetters, code[i+1]); k >= 0 && (c == '#' && quoteAt(code, i)) {
				fmt.Fprintf(&out, "%c%d", c, b.fields[k])
				i++
				continue
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

// wordAt reports whether code goes on with a letter or digit at i.
func wordAt(code string, i int) bool {
	return i < len(code) && (code[i] >= 'a' && code[i] <= 'z' || code[i] >= '0' && code[i] <= '9' || code[i] == '_')
}

// quoteAt reports whether code[i] is inside a text.
func quoteAt(code string, i int) bool {
	in := false
	for j := 0; j < i; j++ {
		switch code[j] {
		case '\\':
			j++
		case '"':
			in = !in
		}
	}
	return in
}

// argTypes gives the types of the arguments for a form. Where slot s does not
// say what its items are, an argument may be of several types: one list of
// types for each.
func (f *Family) argTypes(form Form) [][]mind.SeedType {
	out := [][]mind.SeedType{nil}
	for _, a := range f.Args {
		types := a.types(form)
		var next [][]mind.SeedType
		for _, done := range out {
			for _, t := range types {
				next = append(next, append(append([]mind.SeedType(nil), done...), t))
			}
		}
		out = next
	}
	return out
}

func (a ArgSpec) types(form Form) []mind.SeedType {
	var s SlotSpec
	if len(form) > 0 {
		s = form[0]
	}
	switch a {
	case argNumber, argLow, argHigh, argPositive, argIndex, argPlace:
		return []mind.SeedType{mind.SeedNumber}
	case argStr, argPart, argChar, argKey, argHeldKey:
		return []mind.SeedType{mind.SeedStr}
	case argBool:
		return []mind.SeedType{mind.SeedBool}
	case argNumbers:
		return []mind.SeedType{mind.SeedNumbers}
	case argKeys:
		return []mind.SeedType{mind.SeedStrs}
	case argRecord, argDict:
		return []mind.SeedType{mind.SeedDict}
	case argSlotT:
		return valueTypes(form[1])
	case argItem, argHeld:
		if len(form) > 1 && s.Type != mind.SeedNumbers && !isContainer(s.Type) {
			return itemTypes(form[1].Type)
		}
		return itemTypes(s.Type)
	case argList:
		switch s.Type {
		case mind.SeedNumbers, mind.SeedNumberMap:
			return []mind.SeedType{mind.SeedNumbers}
		case mind.SeedStrs, mind.SeedStrMap:
			return []mind.SeedType{mind.SeedStrs}
		}
		return []mind.SeedType{mind.SeedList, mind.SeedNumbers, mind.SeedStrs}
	case argAny:
		return []mind.SeedType{mind.SeedNumber, mind.SeedStr, mind.SeedBool}
	}
	for _, field := range s.Fields {
		if len(a) == 1 && a[0] == field.Letter {
			return []mind.SeedType{field.Type}
		}
	}
	panic("seedmind: argument " + string(a) + " without a type") // Load refuses unknown arguments
}

func isContainer(t mind.SeedType) bool { return strings.ContainsAny(string(t), "[{") }

func valueTypes(s SlotSpec) []mind.SeedType {
	switch s.Type {
	case mind.SeedInt, mind.SeedFloat:
		return []mind.SeedType{mind.SeedNumber}
	}
	return []mind.SeedType{s.Type}
}

func itemTypes(t mind.SeedType) []mind.SeedType {
	switch t {
	case mind.SeedNumbers, mind.SeedNumberMap:
		return []mind.SeedType{mind.SeedNumber}
	case mind.SeedStrs, mind.SeedStrMap:
		return []mind.SeedType{mind.SeedStr}
	case mind.SeedBools:
		return []mind.SeedType{mind.SeedBool}
	case mind.SeedList, mind.SeedMap:
		return []mind.SeedType{mind.SeedNumber, mind.SeedStr, mind.SeedDict, mind.SeedBool}
	}
	return []mind.SeedType{mind.SeedNumber}
}
