package exec

import (
	"crypto/sha256"
	"encoding/binary"

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
func (e *Effect) Pending() bool { return e.Result == nil && e.Err == nil }

// WantedEffect is what a suspended run waits for.
type WantedEffect struct {
	Kind     string
	External bool
	Args     object.Value
	Seq      int      // its place in the journal; with the message's id, the idempotency key
	Key      [16]byte // hash of kind and arguments
}

// Intent is the entry to commit before an external effect is begun.
func (w *WantedEffect) Intent() Effect {
	return Effect{Kind: w.Kind, Key: w.Key, External: w.External}
}

// Done is the entry of an effect that ended: with a result, or with an error
// that the run then raises at that place.
func (w *WantedEffect) Done(result object.Value, err *batos.Error) Effect {
	e := w.Intent()
	if err != nil {
		e.Err = err
		return e
	}
	if e.Result = result; result == nil {
		e.Result = object.None{}
	}
	return e
}

// EffectKey identifies an effect within a message, beside its place in the
// order: a hash of its kind and arguments.
func EffectKey(kind string, args object.Value) [16]byte {
	buf := append(make([]byte, 0, 64), kind...)
	buf = append(append(buf, 0), codec.EncodeValue(args)...)
	sum := sha256.Sum256(buf)
	return [16]byte(sum[:16])
}

// journal is a message's effects as a run goes through them. The first next
// entries have been asked for again; the rest are still to come.
type journal struct {
	message batos.MessageID
	entries []Effect
	next    int
}

// replay gives the recorded entry for the effect that is asked for now, or nil
// if there is none and it has to be carried out. An entry that does not match
// cuts the journal, unless that forgets an effect on the world.
func (j *journal) replay(key [16]byte, external bool) (*Effect, error) {
	if j.next >= maxEffects {
		return nil, batos.Errorf(batos.Limit, "more than %d effects in one message", maxEffects)
	}
	if j.next == len(j.entries) {
		return nil, nil
	}
	e := &j.entries[j.next]
	if e.Key != key || e.External != external {
		return nil, j.cut()
	}
	j.next++
	if e.Pending() {
		return nil, batos.Errorf(batos.OutcomeUnknown, "effect %d (%s) was begun before an interruption; whether it happened is not known", j.next-1, e.Kind)
	}
	return e, nil
}

// cut forgets the entries that are still to come.
func (j *journal) cut() error {
	for i := j.next; i < len(j.entries); i++ {
		if e := &j.entries[i]; e.External {
			return batos.Errorf(batos.Diverged, "a replay of %s left its journal at effect %d, but effect %d (%s) has already changed the world", j.message, j.next, i, e.Kind)
		}
	}
	j.entries = j.entries[:j.next:j.next]
	return nil
}

// add records an effect that was carried out at once.
func (j *journal) add(e Effect) {
	j.entries = append(j.entries[:j.next:j.next], e) // never into the request's array
	j.next++
}

// effect gives the result of an effect that takes time, or suspends the run.
func (x *run) effect(kind string, external bool, args object.Value) (object.Value, error) {
	if x.halted != nil {
		return nil, errHalted
	}
	key := EffectKey(kind, args)
	e, err := x.journal.replay(key, external)
	if err != nil {
		return nil, x.failure(coded(err))
	}
	if e != nil {
		return e.answer()
	}
	if external && x.req.Candidate != nil {
		return nil, x.failure(batos.Errorf(batos.Refused, "%s would change the world outside; a trial may not", kind))
	}
	if l := &x.req.Lineage; kind == EffectInfer && (l.Inferences <= 0 || l.Tokens <= 0) {
		if l.Tokens <= 0 {
			return nil, x.failure(spent("tokens", l.Tokens))
		}
		return nil, x.failure(spent("inferences", l.Inferences))
	}
	return nil, x.halt(halt{status: Suspended, wanted: &WantedEffect{Kind: kind, External: external, Args: args, Seq: x.journal.next, Key: key}})
}

// inline gives the result of an effect that is carried out at once. One that
// ends with an error is not recorded.
func (x *run) inline(kind string, args object.Value, f func() (object.Value, error)) (object.Value, error) {
	if x.halted != nil {
		return nil, errHalted
	}
	key := EffectKey(kind, args)
	e, err := x.journal.replay(key, false)
	if err != nil {
		return nil, x.failure(coded(err))
	}
	if e != nil {
		return e.answer()
	}
	v, err := f()
	if err != nil {
		return nil, err
	}
	x.journal.add((&WantedEffect{Kind: kind, Key: key}).Done(v, nil))
	return v, nil
}

func (e *Effect) answer() (object.Value, error) {
	if e.Err != nil {
		return nil, e.Err
	}
	return e.Result, nil
}

// now is the clock as the journal has it.
func (x *run) now() (object.Value, error) {
	return x.inline(EffectTime, object.None{}, func() (object.Value, error) {
		return object.Time(x.runner.config.Clock().UnixMicro()), nil
	})
}

// random is the n-th effect's number in [0, 1): it follows from the message.
func (x *run) random() (object.Value, error) {
	return x.inline(EffectRandom, object.None{}, func() (object.Value, error) {
		buf := append([]byte(x.journal.message), 0)
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(buf, uint64(x.journal.next)))
		return object.Float(float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)), nil
	})
}
