package exec

import (
	"context"

	"batos"
	"batos/image"
	"batos/object"
)

// Call is one call of a [Primitive]. It is valid until the function returns
// and belongs to its goroutine.
type Call struct{}

// Context is the run's context.
func (c *Call) Context() context.Context

// Tx is the run's transaction. Reads are free. What a primitive writes through
// it directly is the primitive's responsibility: it must [Call.Vouch] for the
// object, or the run fails as denied when it ends.
func (c *Call) Tx() *image.Tx

// Receiver is the object that was sent to.
func (c *Call) Receiver() batos.OID

// Selector is the selector that was sent.
func (c *Call) Selector() batos.Selector

// Args are the positional arguments.
func (c *Call) Args() []object.Value

// Kwargs are the named arguments in order.
func (c *Call) Kwargs() []object.Slot

// Authority is the weakest author on the send stack.
func (c *Call) Authority() batos.Authority

// Message is the message being carried out.
func (c *Call) Message() batos.Message

// Budget is what the lineage may still spend at this moment.
func (c *Call) Budget() Lineage

// Effect gives the journaled result of an effect, or suspends the run. The
// returned error must be returned at once, unchanged.
func (c *Call) Effect(kind string, external bool, args object.Value) (object.Value, error)

// Inline is an effect that is carried out at once, by f, and recorded. It is
// never external.
func (c *Call) Inline(kind string, args object.Value, f func() (object.Value, error)) (object.Value, error)

// Send sends within the run, in the frame of the caller.
func (c *Call) Send(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) (object.Value, error)

// SendLater puts a message into the outbox, with the authority of the caller.
func (c *Call) SendLater(recv batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) error

// SetSlot writes a slot as the calling frame would: same checks, same budget.
func (c *Call) SetSlot(oid batos.OID, name string, v object.Value) error

// RemoveSlot removes a slot as the calling frame would.
func (c *Call) RemoveSlot(oid batos.OID, name string) error

// New makes an object with these slots, made by the calling frame, which may
// write it from then on. Protection: what genesis makes is protected.
func (c *Call) New(slots ...object.Slot) (batos.OID, error)

// Clone makes a copy of oid as the calling frame would.
func (c *Call) Clone(oid batos.OID) (batos.OID, error)

// Vouch says that this primitive itself decided that oid may be written
// through [Call.Tx], or was made through it.
func (c *Call) Vouch(oid batos.OID)
