package method

import (
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"batos"
	"batos/object"
)

// Effects is the world a run acts on. All methods are called on the run's own
// goroutine. An error ends the run; a [*batos.Error] keeps its code and gets
// the position of the code that caused it, and a [*NotUnderstood] passes
// through unchanged.
type Effects interface {
	// Get reads a slot through delegation; false means that nobody has it.
	// The same container must be answered for the same slot until the end of
	// the run (thaw once, keep it), and it must have been thawed with its
	// [Owner]. A slot holding behaviour is answered with [Run.Bound].
	Get(r *Run, recv batos.OID, name string) (starlark.Value, bool, error)
	// Set assigns a slot of recv itself. The implementation calls
	// [Run.Adopt], so that later changes inside v are noticed.
	Set(r *Run, recv batos.OID, name string, v starlark.Value) error
	// Send performs recv.sel(args…) and answers its result. args belong to
	// the callee.
	Send(r *Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
	// Resend calls the next method of the running selector in lookup order.
	Resend(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
	// Clone makes a copy of an object and answers the new one.
	Clone(r *Run, oid batos.OID) (batos.OID, error)
	// SendLater puts a message in the outbox of the transaction.
	SendLater(r *Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) error
	// Root resolves a root name; false means that there is none.
	Root(r *Run, name string) (batos.OID, bool, error)
	// Now and Random are journaled: a replay answers what the first run saw.
	Now(r *Run) (object.Time, error)
	// Random answers a number in [0, 1).
	Random(r *Run) (float64, error)
	// Changed says that a container owned by a slot is about to be changed
	// in place. It is called before every such change.
	Changed(r *Run, owner Owner) error
	// Open gives the behaviour of an opaque value: a tree or a blob.
	Open(r *Run, v object.Value) (Handle, error)
	// Describe names an object in messages for people; it must not fail.
	Describe(oid batos.OID) string
}

// Handle is an opaque value of the dialect: a tree, a blob. Code can call its
// methods and store it, nothing else.
type Handle interface {
	// Value is what a slot holding the handle stores.
	Value() object.Value
	// Methods lists the names that Call accepts, sorted.
	Methods() []string
	// Call performs one method. Results are charged by the caller's limits
	// when they are thawed.
	Call(r *Run, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
}

// Mapping is what a [Handle] has beside its methods if handle[key],
// handle[key] = v, key in handle and len(handle) work on it.
type Mapping interface {
	Handle
	Lookup(r *Run, key starlark.Value) (starlark.Value, bool, error)
	Store(r *Run, key, v starlark.Value) error
	Len(r *Run) (int, error)
}

// Owner is the slot that a container belongs to.
type Owner struct {
	OID  batos.OID
	Slot string
}

// NotUnderstood is the error of a send that nobody has a method for. It
// passes unchanged through any nesting of sends.
type NotUnderstood struct {
	Receiver batos.OID
	Selector batos.Selector
	Args     []object.Value
	Kwargs   []object.Slot
	// Authority is the weakest on the send stack where it was sent: whether
	// generated code had a part in it.
	Authority batos.Authority
}

func (e *NotUnderstood) Error() string {
	return fmt.Sprintf("%s does not understand %s", e.Receiver, e.Selector)
}

// Unwrap gives the error table's form, so that [batos.CodeOf] works.
func (e *NotUnderstood) Unwrap() error {
	return &batos.Error{Code: batos.DoesNotUnderstand, Text: e.Error()}
}

// Limits bound one run. A zero field takes its default from [DefaultLimits].
type Limits struct {
	Steps  uint64        // interpreter steps, and the work of guards in the same unit
	Bytes  uint64        // bytes allocated by values, in all; garbage is not given back
	Depth  int           // nested sends; calls of local functions may nest three times as deep
	Sends  int           // sends in all
	Later  int           // send_later calls in all
	Output int           // bytes printed
	Wall   time.Duration // elapsed time of the run
}

// DefaultLimits are the limits of an ordinary message. Bytes is chosen so
// that the process grows by less than 128 MiB whatever the method does.
func DefaultLimits() Limits {
	return Limits{Steps: 10_000_000, Bytes: 40 << 20, Depth: 200, Sends: 200_000, Later: 1000, Output: 64 << 10, Wall: 1500 * time.Millisecond}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.Steps, d.Steps)
	fill(&l.Bytes, d.Bytes)
	fill(&l.Depth, d.Depth)
	fill(&l.Sends, d.Sends)
	fill(&l.Later, d.Later)
	fill(&l.Output, d.Output)
	fill(&l.Wall, d.Wall)
	return l
}

func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Usage is what a run has used so far, in the units of [Limits].
type Usage struct {
	Steps    uint64
	Bytes    uint64
	Sends    int
	Later    int
	MaxDepth int
}
