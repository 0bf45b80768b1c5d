package mind

import (
	"strconv"
	"strings"
)

// The seed model never sees a name. What it reads is a SeedPrompt: slots are
// $0, $1, …, fields of records #0, #1, … counted through all slots, and the
// selector is a list of plain words in which a slot's or field's alias stands
// where its name was. In its answer $0 is the slot, %0 the slot's name as
// text, "#0" a field's name, %~ the receiver's name, and a, b, c are the
// arguments.
//
//	$0:int$1:[rec]{#0:str^name,#1:n}
//	_increase$0_by(n)
//
// Limits of what the model was shown.
const (
	SeedMaxSlots  = 12
	SeedMaxFields = 10
	SeedMaxArgs   = 4
	SeedMaxWords  = 16
)

// SeedType is a value's type as the model reads it.
type SeedType string

// The types of slots. Arguments know no float and no int but SeedNumber, and
// all dicts are SeedDict.
const (
	SeedInt       SeedType = "int"
	SeedFloat     SeedType = "float"
	SeedStr       SeedType = "str"
	SeedBool      SeedType = "bool"
	SeedNumbers   SeedType = "[n]"
	SeedStrs      SeedType = "[str]"
	SeedBools     SeedType = "[bool]"
	SeedList      SeedType = "[?]" // nothing in it yet, or items of several types
	SeedRecords   SeedType = "[rec]"
	SeedNumberMap SeedType = "{n}"
	SeedStrMap    SeedType = "{str}"
	SeedMap       SeedType = "{?}"
	SeedRecord    SeedType = "rec"
	SeedNone      SeedType = "none"
	SeedObj       SeedType = "obj"
	SeedAny       SeedType = "any"

	SeedNumber SeedType = "n"  // of arguments and fields
	SeedDict   SeedType = "{}" // of arguments
)

// SeedField is a field of a record. Role is "" or what its name gives away,
// see seedRoles.
type SeedField struct {
	Type SeedType
	Role string
}

// SeedSlot is a slot. Fields are those of SeedRecord and SeedRecords.
type SeedSlot struct {
	Type   SeedType
	Role   string
	Fields []SeedField
}

// SeedPrompt is a task without names. Words are lower-case words and aliases.
type SeedPrompt struct {
	Slots []SeedSlot
	Words []string
	Args  []SeedType
}

// Text is the prompt as the model reads it.
func (p SeedPrompt) Text() string {
	var b strings.Builder
	field := 0
	for i, s := range p.Slots {
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i))
		b.WriteByte(':')
		b.WriteString(string(s.Type))
		writeRole(&b, s.Role)
		if s.Type != SeedRecord && s.Type != SeedRecords {
			continue
		}
		b.WriteByte('{')
		for j, f := range s.Fields {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('#')
			b.WriteString(strconv.Itoa(field))
			b.WriteByte(':')
			b.WriteString(string(f.Type))
			writeRole(&b, f.Role)
			field++
		}
		b.WriteByte('}')
	}
	b.WriteByte('\n')
	for _, w := range p.Words {
		if isLetter(w[0]) {
			b.WriteByte('_')
		}
		b.WriteString(w)
	}
	b.WriteByte('(')
	for i, a := range p.Args {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(a))
	}
	b.WriteString(")\n")
	return b.String()
}

func writeRole(b *strings.Builder, role string) {
	if role != "" {
		b.WriteByte('^')
		b.WriteString(role)
	}
}

// SeedOne follows the alias of a list or dict whose name stands in the
// singular: the books slot in add_book is $0', in books_by_author $0.
const SeedOne = "'"

// SeedThing is the word that stands for a noun which names neither slot nor
// field: the door of toggle_door.
const SeedThing = "~"
