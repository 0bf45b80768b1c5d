package exec

import (
	"context"
	"time"

	"batos"
	"batos/image"
	"batos/internal/method"
	"batos/object"
)

// Config sets up a [Runner].
type Config struct {
	Limits  method.Limits    // of one message
	Lineage Lineage          // of a request at a door; zero: [DefaultLineage]
	Clock   func() time.Time // nil: time.Now
}

// DoesNotUnderstand is the primitive that ends a run as [NotUnderstood]. The
// Runner provides it.
const DoesNotUnderstand = "kernel.does_not_understand"

// Primitive is a function of the release that a slot can name.
type Primitive struct {
	// Receiver is a marker: a slot that look-up through the receiver must find
	// in a protected or sealed object, which generated code cannot forge. It
	// says what kind of receiver Fn is made for; "" takes any.
	Receiver string
	Fn       func(*Call) (object.Value, error)
}

// Primitive registers p under name ("mind.infer"). Call it before the first
// Run; a name that is taken is replaced.
func (r *Runner) Primitive(name string, p Primitive) {
	r.primitives[name] = p
}

// Run carries out req in tx. It does not commit, abort or roll back; see
// [Status] for what the caller does next. What tx had changed before is the
// caller's own business and is not checked. Safe for concurrent use with
// different transactions.
func (r *Runner) Run(ctx context.Context, tx *image.Tx, req Request) Outcome {
	return Outcome{}
}

// Install puts m into oid's slot m.Selector, with the next version number of
// that slot. It checks nothing about m's author: the gate does. Sealed objects
// are refused with code denied.
func Install(tx *image.Tx, oid batos.OID, m *object.Method) error {
	return nil
}
