package kernel

import (
	"context"

	"batos"
	"batos/image/store"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/internal/quarantine"
	"batos/object"
)

// tryOne tries the source on one waiting message. Inferences that the message
// asks for come out of its own lineage's budget, and go into the journal that
// it keeps for its run in earnest. Plan, if not nil, is what is probed besides.
func (k *Kernel) tryOne(ctx context.Context, f *flight, snap store.Snapshot, d *docket, rec *record, source string, plan *trialPlan) (*verdict, error) {
	if k.config.Trial == nil {
		return nil, batos.Errorf(batos.Offline, "this kernel was started without a way to try methods")
	}
	req := quarantine.Request{
		Snapshot: snap,
		Run: exec.Request{
			Message: rec.Message, Journal: rec.Journal, Lineage: f.ledger.have(),
			Candidate: &exec.Candidate{OID: d.Receiver, Selector: d.Selector, Source: source},
		},
		Effect: func(ctx context.Context, w *exec.WantedEffect) (object.Value, error) {
			if w.Kind != exec.EffectInfer {
				return nil, batos.Errorf(batos.Denied, "a trial cannot ask for %s", w.Kind)
			}
			v, _, err := k.infer(ctx, f, w)
			return v, err
		},
		Clock: k.clock,
	}
	if plan != nil {
		plan.request(&req)
	}
	got, err := k.config.Trial.Trial(ctx, req)
	if err != nil {
		return nil, err
	}
	v := &verdict{
		OK: got.OK, Docket: docketOID(d.Cycle), Receiver: d.Receiver, Selector: d.Selector, Message: rec.ID, Bound: got.Bound, Snapshot: got.Snapshot, Answer: got.Value,
		Err: got.Err, Fingerprint: got.Fingerprint, Reads: got.Reads,
	}
	if got.OK && len(got.Effects) > len(rec.Journal) {
		v.Effects = got.Effects[len(rec.Journal):]
	}
	switch m := got.Missing; {
	case m == nil:
	case m.Authority > batos.Persona:
		// The candidate did its part; then code of people sent something else
		// that has no method yet. The message will park for that in its turn.
		v.OK, v.Partial, v.Err = true, true, nil
	default:
		v.Err = notKnown(d, m)
	}
	if v.OK && !v.Partial && plan != nil {
		if v.Checked, v.Err = plan.judge(&got); v.Err != nil {
			v.OK = false
		}
	}
	if !v.OK && v.Err == nil {
		v.Err = batos.Errorf(batos.Refused, "the trial did not end")
	}
	return v, nil
}

// notKnown tells the author that the method sends what nobody understands.
func notKnown(d *docket, m *method.NotUnderstood) *batos.Error {
	if m.Receiver == d.Receiver {
		return batos.Errorf(batos.DoesNotUnderstand, "the method sends self.%s, which the object does not understand either", m.Selector)
	}
	return batos.Errorf(batos.DoesNotUnderstand, "the method sends %s to %s, which does not understand it", m.Selector, m.Receiver)
}
