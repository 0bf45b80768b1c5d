package object

import (
	"math/big"
	"time"

	"batos"
)

// Kind says which of the closed set of slot values a [Value] is.
type Kind uint8

const (
	KindNone Kind = iota
	KindBool
	KindInt
	KindFloat
	KindStr
	KindBytes
	KindList
	KindDict
	KindTuple
	KindSet
	KindRef
	KindMethod
	KindPrimitive
	KindBlob
	KindTree
	KindCounter
	KindTime
)

var kindNames = [...]string{"none", "bool", "int", "float", "str", "bytes", "list", "dict", "tuple", "set", "ref", "method", "primitive", "blob", "tree", "counter", "time"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind?"
}

// Value is what a slot holds. Values are immutable: whoever holds one may
// share it between goroutines and transactions, and nobody changes what it
// points to. The set of implementations is closed.
type Value interface {
	Kind() Kind
	value()
}

type (
	// None is the absence of a value.
	None struct{}
	// Bool is true or false.
	Bool bool
	// Int is an integer of any size; make it with [NewInt] or [BigInt].
	Int struct {
		small int64
		big   *big.Int // nil: small holds the value
	}
	// Float is an IEEE double.
	Float float64
	// Str is UTF-8 text.
	Str string
	// Bytes is a small binary value; large ones are blobs.
	Bytes string
	// List is a list.
	List struct{ Items []Value }
	// Dict is a mapping in insertion order; keys are hashable scalars or tuples.
	Dict struct{ Entries []Entry }
	// Entry is one key of a [Dict] and its value.
	Entry struct{ Key, Value Value }
	// Tuple is a fixed sequence.
	Tuple struct{ Items []Value }
	// Set is a set in insertion order.
	Set struct{ Items []Value }
	// Ref points at an object of the same image.
	Ref batos.OID
	// Primitive names a function of the kernel that a slot answers with.
	Primitive string
	// Blob refers to a large binary beside the log, by content.
	Blob struct {
		Hash [32]byte // SHA-256
		Size int64    // bytes
	}
	// Tree refers to a persistent ordered map by the OID of its root record.
	Tree batos.OID
	// Counter is an integer that merges: concurrent additions add up.
	Counter int64
	// Time is a moment, in microseconds since 1970 UTC.
	Time int64
)

func (None) Kind() Kind      { return KindNone }
func (Bool) Kind() Kind      { return KindBool }
func (Int) Kind() Kind       { return KindInt }
func (Float) Kind() Kind     { return KindFloat }
func (Str) Kind() Kind       { return KindStr }
func (Bytes) Kind() Kind     { return KindBytes }
func (*List) Kind() Kind     { return KindList }
func (*Dict) Kind() Kind     { return KindDict }
func (*Tuple) Kind() Kind    { return KindTuple }
func (*Set) Kind() Kind      { return KindSet }
func (Ref) Kind() Kind       { return KindRef }
func (*Method) Kind() Kind   { return KindMethod }
func (Primitive) Kind() Kind { return KindPrimitive }
func (Blob) Kind() Kind      { return KindBlob }
func (Tree) Kind() Kind      { return KindTree }
func (Counter) Kind() Kind   { return KindCounter }
func (Time) Kind() Kind      { return KindTime }

func (None) value()      {}
func (Bool) value()      {}
func (Int) value()       {}
func (Float) value()     {}
func (Str) value()       {}
func (Bytes) value()     {}
func (*List) value()     {}
func (*Dict) value()     {}
func (*Tuple) value()    {}
func (*Set) value()      {}
func (Ref) value()       {}
func (*Method) value()   {}
func (Primitive) value() {}
func (Blob) value()      {}
func (Tree) value()      {}
func (Counter) value()   {}
func (Time) value()      {}

// NewInt makes an Int that fits a machine word.
func NewInt(i int64) Int { return Int{small: i} }

// BigInt makes an Int of any size. b is not kept.
func BigInt(b *big.Int) Int {
	if b.IsInt64() {
		return Int{small: b.Int64()}
	}
	return Int{big: new(big.Int).Set(b)}
}

// Int64 gives the value and whether it fits.
func (i Int) Int64() (int64, bool) { return i.small, i.big == nil }

// Big gives the value; the result is the caller's.
func (i Int) Big() *big.Int {
	if i.big != nil {
		return new(big.Int).Set(i.big)
	}
	return big.NewInt(i.small)
}

// AsTime gives the moment in UTC.
func (t Time) AsTime() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Method is behaviour in a slot: source text and where it came from. Only the
// kernel makes one; code of the image can neither build nor copy it.
type Method struct {
	Selector   batos.Selector
	Source     string          // one complete "def selector(self, …)"
	Author     batos.Authority // who wrote it; bounds what it may do
	AuthorName string          // "genesis 0.1.0", a person's name, a persona's name, "import:<hash>"
	Mission    batos.OID       // the mission that wrote it, or 0
	Provenance batos.OID       // sealed record of prompt, model, adapter, verdicts, or 0
	Version    int             // 1 for the first in this slot, then counting
}
