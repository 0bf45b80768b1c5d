package kernel

import (
	"context"
	"strings"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/internal/codec"
	"batos/internal/proof"
	"batos/internal/quarantine"
	"batos/object"
)

// A method that answered the message that waits has only shown that it can.
// Here it is shown to do what its name promises: it is tried on states near to
// the message's, in the same child process, and what it does there is held
// against the name, against what another persona wrote without having seen it,
// against tests, and against what earlier versions did. All of it is the
// kernel's: a workflow can ask for more, never for less.

// maxRegression is how many kept samples of earlier behaviour are tried.
const maxRegression = 10

// expectations is what a trial is told beside the source.
type expectations struct {
	tests  string // JSON, as the mind writes them
	second string // source of the second opinion
}

func expectationsOf(v object.Value) expectations {
	f := fieldsOf(v)
	return expectations{tests: f.str("tests"), second: f.str("second_opinion")}
}

// trialPlan is what one trial probes.
type trialPlan struct {
	subject  proof.Subject
	probes   []proof.Probe
	tests    []proof.Test // their probes come after the others
	second   string
	unusable string // why the tests were left out
}

// planOf prepares the probes of a candidate over a snapshot; nil if the
// arguments of the message are not known.
func (k *Kernel) planOf(ctx context.Context, snap store.Snapshot, d *docket, want expectations) (*trialPlan, error) {
	if len(d.Args) == 0 {
		return nil, nil
	}
	args, kwargs, err := codec.DecodeArgs(d.Args)
	if err != nil {
		return nil, err
	}
	tx := image.Scratch(ctx, borrowed{snap})
	defer tx.Abort()
	slots, err := dataSlots(tx, d.Receiver)
	if err != nil {
		return nil, err
	}
	p := &trialPlan{subject: proof.Subject{Selector: d.Selector, Slots: slots, Args: args, Kwargs: kwargs}}
	p.probes = proof.Probes(p.subject)
	if want.second != "" && auditOf(want.second, d.Selector) == nil {
		p.second = want.second
	}
	if want.tests != "" {
		tests, err := proof.ReadTests(p.subject, want.tests)
		if err != nil {
			p.unusable = err.Error()
		}
		p.tests = tests
	}
	earlier, err := k.regression(ctx, d, p.subject)
	if err != nil {
		return nil, err
	}
	p.tests = append(p.tests, earlier...)
	for _, t := range p.tests {
		p.probes = append(p.probes, t.Probe)
	}
	return p, nil
}

// borrowed is a snapshot that stays its owner's to close.
type borrowed struct{ store.Snapshot }

func (borrowed) Close() error { return nil }

// dataSlots lists what a receiver holds as its methods see it: its own slots,
// then those of open parents.
func dataSlots(tx *image.Tx, receiver batos.OID) ([]object.Slot, error) {
	var out []object.Slot
	seen := map[string]bool{}
	err := object.Walk(receiver, func(oid batos.OID) ([]batos.OID, bool, error) {
		s, err := tx.Load(oid)
		if err != nil {
			return nil, false, err
		}
		if oid == receiver || s.Protection == object.Open {
			for _, slot := range s.Slots() {
				if object.IsParent(slot.Name) || strings.HasPrefix(slot.Name, "_") || slot.Name == "doc" || seen[slot.Name] {
					continue
				}
				switch slot.Value.(type) {
				case *object.Method, object.Primitive, object.Tree, object.Blob:
					continue
				}
				seen[slot.Name] = true
				out = append(out, slot)
			}
		}
		return s.Parents(), false, nil
	})
	return out, err
}

// regression gives the kept samples of what earlier versions of the method
// did, as tests.
func (k *Kernel) regression(ctx context.Context, d *docket, s proof.Subject) ([]proof.Test, error) {
	var out []proof.Test
	err := k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		from := &object.Tuple{Items: []object.Value{object.NewInt(int64(d.Receiver)), object.Str(d.Selector)}}
		for e, err := range tx.Tree(k.roots.samples).Range(from, nil) {
			if err != nil {
				return err
			}
			key := itemsOf(e.Key)
			if len(key) != 3 || batos.OID(uint64(intOf(key[0]))) != d.Receiver || strOf(key[1]) != string(d.Selector) || len(out) == maxRegression {
				return nil
			}
			t, ok, err := sampleTest(tx, refOf(e.Value), s)
			if err != nil {
				return err
			}
			if ok {
				out = append(out, t)
			}
		}
		return nil
	})
	return out, err
}

// sampleTest makes a test of a sample that has the whole state.
func sampleTest(tx *image.Tx, oid batos.OID, s proof.Subject) (t proof.Test, ok bool, err error) {
	sample, err := tx.Load(oid)
	if err != nil {
		return t, false, err
	}
	get := func(name string) object.Value { v, _ := sample.Slot(name); return v }
	state, _ := get("state").(*object.Dict)
	raw, _ := get("args").(object.Bytes)
	if state == nil {
		return t, false, nil
	}
	args, kwargs, err := codec.DecodeArgs([]byte(raw))
	if err != nil || len(kwargs) > 0 || len(args) != len(s.Args) {
		return t, false, err
	}
	t = proof.Test{Probe: proof.Probe{Args: args}, Want: get("value"), Why: "as version " + object.Text(orNone(get("version")), 20) + " did"}
	for _, slot := range s.Slots {
		v := fieldsOf(state).get(slot.Name)
		if v == nil {
			return t, false, nil // the object had no such slot then
		}
		t.Slots = append(t.Slots, object.Slot{Name: slot.Name, Value: v})
		if after := fieldsOf(get("after")).get(slot.Name); after != nil {
			v = after
		}
		t.After = append(t.After, object.Slot{Name: slot.Name, Value: v})
	}
	return t, true, nil
}

// request puts the plan into a trial.
func (p *trialPlan) request(r *quarantine.Request) {
	r.Second = p.second
	for _, s := range p.subject.Slots {
		r.Watch = append(r.Watch, s.Name)
	}
	for _, q := range p.probes {
		r.Probes = append(r.Probes, quarantine.Probe{Slots: q.Slots, Args: q.Args, Kwargs: p.subject.Kwargs})
	}
}

// judge holds what was seen against what was promised. It answers what was
// looked at, in words, and the first promise that was not kept.
func (p *trialPlan) judge(got *quarantine.Verdict) (checked []string, failure *batos.Error) {
	if len(got.Effects) > 0 {
		return []string{"not probed: it asks the world for something"}, nil
	}
	plain := len(p.probes) - len(p.tests)
	seen := p.seen(got.Probed)
	checked = append(checked, "probes: "+object.Text(object.NewInt(int64(len(seen))), 10))
	if f := proof.Judge(p.subject, seen[:min(plain, len(seen))]); f != nil {
		return append(checked, f.String()), f.Err()
	}
	for i := plain; i < len(seen); i++ {
		if f := p.tests[i-plain].Hold(p.subject, &seen[i]); f != nil {
			return append(checked, f.String()), f.Err()
		}
	}
	if len(p.tests) > 0 && len(seen) > plain {
		checked = append(checked, "tests: "+object.Text(object.NewInt(int64(len(seen)-plain)), 10))
	}
	if p.unusable != "" {
		checked = append(checked, "tests left out: "+p.unusable)
	}
	if p.second == "" {
		return checked, nil
	}
	second := p.seen(got.Second)
	switch {
	case len(second) == 0 || second[0].Err != nil:
		checked = append(checked, "second opinion left out: it does not answer the message itself")
	case proof.Judge(p.subject, second[:min(plain, len(second))]) != nil:
		checked = append(checked, "second opinion left out: it does not keep what the name promises")
	default:
		if f := proof.Compare(p.subject, seen[:min(plain, len(seen))], second[:min(plain, len(second))]); f != nil {
			return append(checked, f.String()), f.Err()
		}
		checked = append(checked, "second opinion: it does the same")
	}
	return checked, nil
}

// seen is what a source did in the probes, in the terms of package proof.
func (p *trialPlan) seen(got []quarantine.Probed) []proof.Seen {
	out := make([]proof.Seen, 0, len(got))
	for i, g := range got {
		if i == len(p.probes) {
			break
		}
		s := proof.Seen{Args: p.probes[i].Args, Before: p.subject.With(p.probes[i]), Answer: g.Value, Err: g.Err, Elsewhere: g.Elsewhere}
		if g.Err == nil && len(g.After) == len(s.Before) {
			for j, v := range g.After {
				s.After = append(s.After, object.Slot{Name: s.Before[j].Name, Value: v})
			}
		} else if g.Err == nil {
			s.Err = batos.Errorf(batos.Invalid, "the probe was not understood")
		}
		out = append(out, s)
	}
	return out
}
