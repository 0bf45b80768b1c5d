package codec

import (
	"math/bits"
	"reflect"

	"batos/object"
)

// What decoded things take of memory, for a cache with a budget: an account of
// every piece that is asked of the allocator, at the size that it gives. Text
// and numbers that all objects share (see words.go) are nobody's.

var (
	valueSize     = int(reflect.TypeFor[object.Value]().Size())
	slotSize      = int(reflect.TypeFor[object.Slot]().Size())
	boxSize       = int(reflect.TypeFor[object.Str]().Size()) // also of Int, Bytes and Primitive
	listSize      = allocatedFor[object.List]()
	shortListSize = allocatedFor[shortList]()
	methodSize    = allocatedFor[object.Method]()
	blobSize      = allocatedFor[object.Blob]()
	pageSize      = allocatedFor[Leaf]() // an Inner is as large
)

const (
	wordSize = 8  // of what is one word: Float, Ref, Time …
	bigSize  = 40 // of a big.Int, without its digits

	// textSize is what a text takes in a list of them.
	textSize = 16
)

// Allocated is how many bytes the allocator takes for a piece of n. It has
// sizes at about an eighth from each other.
func Allocated(n int) int {
	step := 8
	switch {
	case n <= 32:
	case n <= 256:
		step = 16
	case n <= 32<<10:
		step = 1 << (bits.Len(uint(n-1)) - 4)
	default:
		step = 8 << 10
	}
	return (n + step - 1) / step * step
}

func allocatedFor[T any]() int { return Allocated(int(reflect.TypeFor[T]().Size())) }

func (d *decoder) hold(n int) { d.held += Allocated(n) }

// indexMemory is what the map from names takes that a state of many slots has.
func indexMemory(slots int) int {
	if slots <= object.FewSlots {
		return 0
	}
	groups := 1 << bits.Len(uint((slots*8/7-1)/8))
	return Allocated(groups*(8+8*(slotSize-8))) + 96
}

// Memory is how many bytes a state takes that was not decoded, beside the
// State itself: as if it had everything for itself but the names of its slots.
func Memory(s *object.State) int {
	slots := s.Slots()
	n := Allocated(cap(slots)*slotSize) + Allocated(len(s.CreatedBy)) + indexMemory(len(slots))
	for i := range slots {
		n += valueMemory(slots[i].Value)
	}
	return n
}

func valueMemory(v object.Value) int {
	items := func(list []object.Value) int {
		n := listSize + Allocated(cap(list)*valueSize)
		for _, v := range list {
			n += valueMemory(v)
		}
		return n
	}
	switch v := v.(type) {
	case object.Int:
		if _, ok := v.Int64(); !ok {
			return boxSize + bigSize + Allocated(v.Big().BitLen()/8)
		}
		return boxSize
	case object.Float, object.Ref, object.Tree, object.Counter, object.Time:
		return wordSize
	case object.Str:
		return boxSize + Allocated(len(v))
	case object.Bytes:
		return boxSize + Allocated(len(v))
	case object.Primitive:
		return boxSize + Allocated(len(v))
	case object.Blob:
		return blobSize
	case *object.List:
		return items(v.Items)
	case *object.Tuple:
		return items(v.Items)
	case *object.Set:
		return items(v.Items)
	case *object.Dict:
		n := listSize + Allocated(cap(v.Entries)*2*valueSize)
		for _, e := range v.Entries {
			n += valueMemory(e.Key) + valueMemory(e.Value)
		}
		return n
	case *object.Method:
		return methodSize + Allocated(len(v.Source)) + Allocated(len(v.AuthorName))
	}
	return 0
}

// PageMemory is how many bytes a page takes whose record has a length, with so
// many texts, which share one copy of it, and kids.
func PageMemory(record, texts, kids int) int {
	return Allocated(record) + Allocated(textSize*texts) + Allocated(wordSize*kids) + pageSize
}
