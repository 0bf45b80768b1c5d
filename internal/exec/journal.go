package exec

import (
	"crypto/sha256"

	"batos"
	"batos/internal/codec"
	"batos/object"
)

// Kinds of effects that every release knows. Primitives may name others.
const (
	EffectTime   = "time"   // inline: the clock
	EffectRandom = "random" // inline: a random number
	EffectInfer  = "infer"  // an inference, bounded by the lineage's inferences and tokens
	EffectTrial  = "trial"  // a quarantine trial
)

// Effect is one entry of a message's journal: what was asked for at that place
// in the order of effects, and what came of it.
type Effect struct {
	Kind     string
	Key      [16]byte     // hash of kind and arguments: see [EffectKey]
	External bool         // it changes the world outside and is never done twice
	Result   object.Value // nil if Err is set, or while nothing is known
	Err      *batos.Error
}

// Pending reports whether e is an intent: recorded before the effect was begun,
// with nothing known of its end. A run that meets one fails as outcome_unknown.
func (e Effect) Pending() bool { return e.Result == nil && e.Err == nil }

// WantedEffect is what a suspended run waits for.
type WantedEffect struct {
	Kind     string
	External bool
	Args     object.Value
	Seq      int      // its place in the journal; with the message's id, the idempotency key
	Key      [16]byte // hash of kind and arguments
}

// Done makes the journal's entry from what came of the effect: a result, or an
// error that the run then raises at that place.
func (w *WantedEffect) Done(result object.Value, err *batos.Error) Effect {
	return Effect{Kind: w.Kind, Key: w.Key, External: w.External, Result: result, Err: err}
}

// Intent makes the journal's entry to commit before an external effect is begun.
func (w *WantedEffect) Intent() Effect {
	return Effect{Kind: w.Kind, Key: w.Key, External: w.External}
}

// EffectKey identifies an effect within a message, beside its place in the
// order: the hash of its kind and arguments.
func EffectKey(kind string, args object.Value) [16]byte {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(codec.EncodeValue(args))
	var sum [32]byte
	h.Sum(sum[:0])
	return [16]byte(sum[:16])
}
