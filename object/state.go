package object

import (
	"slices"
	"strings"

	"batos"
)

// Protection says who may change an object's slots. It is metadata of the
// kernel, not a slot.
type Protection uint8

const (
	Open      Protection = iota // any code that may write this object at all
	Protected                   // persons and genesis code only
	Sealed                      // nobody but the kernel: messages, provenance, verdicts
)

// State is one revision of an object: its slots in the order they were made,
// and the kernel's metadata. A State is immutable; With and Without copy.
type State struct {
	Protection Protection
	Creator    batos.Authority // the authority that made the object
	CreatedBy  batos.MessageID // the message that made it, "" for genesis
	slots      []Slot
	index      map[string]int // nil while there are few slots
}

// Slot is one name of an object and what it holds.
type Slot struct {
	Name  string
	Value Value
}

// FewSlots is the number of slots up to which a scan beats a map.
const FewSlots = 12

// NewState makes a State of the given slots, which it keeps.
func NewState(p Protection, creator batos.Authority, slots ...Slot) *State {
	s := &State{}
	s.Init(p, creator, slots)
	return s
}

// Init makes a State that is not in use yet one of the given slots, which it
// keeps.
func (s *State) Init(p Protection, creator batos.Authority, slots []Slot) {
	*s = State{Protection: p, Creator: creator, slots: slots}
	s.reindex()
}

func (s *State) reindex() {
	s.index = nil
	if len(s.slots) > FewSlots {
		s.index = make(map[string]int, len(s.slots))
		for i := range s.slots {
			s.index[s.slots[i].Name] = i
		}
	}
}

func (s *State) find(name string) int {
	if s.index != nil {
		if i, ok := s.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range s.slots {
		if s.slots[i].Name == name {
			return i
		}
	}
	return -1
}

// Slots are the slots in order. The caller must not change them.
func (s *State) Slots() []Slot { return s.slots }

// Slot gives what name holds in this object alone.
func (s *State) Slot(name string) (Value, bool) {
	if i := s.find(name); i >= 0 {
		return s.slots[i].Value, true
	}
	return nil, false
}

// Index gives the place of name among [State.Slots], or -1.
func (s *State) Index(name string) int { return s.find(name) }

// Protect gives a copy with another protection.
func (s *State) Protect(p Protection) *State {
	c := *s
	c.Protection = p
	return &c
}

// With gives a copy in which name holds v.
func (s *State) With(name string, v Value) *State {
	c := *s
	if i := s.find(name); i >= 0 {
		c.slots = slices.Clone(s.slots)
		c.slots[i].Value = v
		return &c // same names, same index
	}
	c.slots = append(slices.Clip(s.slots), Slot{name, v})
	c.reindex()
	return &c
}

// Without gives a copy that lacks name.
func (s *State) Without(name string) *State {
	i := s.find(name)
	if i < 0 {
		return s
	}
	c := *s
	c.slots = slices.Delete(slices.Clone(s.slots), i, i+1)
	c.reindex()
	return &c
}

// IsParent reports whether a slot of this name delegates.
func IsParent(name string) bool { return strings.HasSuffix(name, "*") }

// IsVolatile reports whether a slot of this name lives in one process only.
func IsVolatile(name string) bool { return strings.HasPrefix(name, "_v_") }

// String gives a protection's name: open, protected or sealed.
func (p Protection) String() string {
	switch p {
	case Open:
		return "open"
	case Protected:
		return "protected"
	case Sealed:
		return "sealed"
	}
	return "protection?"
}

// Parents lists the objects s delegates to, in slot order, lists in list order.
func (s *State) Parents() []batos.OID { return s.AppendParents(nil) }

// AppendParents appends to out what Parents gives.
func (s *State) AppendParents(out []batos.OID) []batos.OID {
	for i := range s.slots {
		if !IsParent(s.slots[i].Name) {
			continue
		}
		switch v := s.slots[i].Value.(type) {
		case Ref:
			out = append(out, batos.OID(v))
		case *List:
			out = appendRefs(out, v.Items)
		case *Tuple:
			out = appendRefs(out, v.Items)
		}
	}
	return out
}

func appendRefs(out []batos.OID, items []Value) []batos.OID {
	for _, it := range items {
		if r, ok := it.(Ref); ok {
			out = append(out, batos.OID(r))
		}
	}
	return out
}
