package method

import (
	"batos/object"
)

// DefKind says what a [Def] puts into its slot.
type DefKind uint8

const (
	DefData      DefKind = iota // Value
	DefMethod                   // Source, Program
	DefPrimitive                // Value, an object.Primitive
	DefRef                      // Refs[0], a root name
	DefRefs                     // Refs, a list of root names
	DefTree                     // a new, empty tree
	DefCounter                  // Value, an object.Counter
)

// Def is one slot of the object that a .star file describes.
type Def struct {
	Name    string // of the slot; parents end in "*"
	Kind    DefKind
	Value   object.Value
	Refs    []string
	Source  string   // of a method: its def, exactly as written
	Program *Program // of a method: Source compiled under the method's name
	Line    int      // of the file, from 1
}
