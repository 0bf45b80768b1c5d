package quarantine

import (
	"context"
	"fmt"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

// Bounds of the probes of one trial. They count steps and not time, so that
// the same trial always probes the same.
const (
	probeSteps = 200_000 // of one probe
	allSteps   = 3_000_000
)

// probeAll carries out the probes with the candidate and with the other
// source. Nothing that a probe does fails the trial.
func (a *asker) probeAll(j *job, rep *report, register []func(*exec.Runner)) error {
	if len(j.Probes) == 0 {
		return nil
	}
	limits := j.Limits
	if limits.Steps == 0 || limits.Steps > probeSteps {
		limits.Steps = probeSteps
	}
	runner := exec.New(exec.Config{Limits: limits, Clock: a.clock})
	for _, add := range register {
		add(runner)
	}
	left := int64(allSteps)
	for _, source := range []struct {
		text string
		into *[]probed
	}{{j.Source, &rep.Probed}, {j.Second, &rep.Second}} {
		if source.text == "" {
			continue
		}
		for i := range j.Probes {
			got, steps, err := a.probe(j, &j.Probes[i], source.text, runner)
			if err != nil {
				return err
			}
			*source.into = append(*source.into, got)
			if left -= steps; left < 0 || batos.Code(got.Err.Code) == batos.Limit {
				return nil
			}
		}
	}
	return nil
}

// probe carries out one. The error is the parent's; what the candidate does is
// in the answer.
func (a *asker) probe(j *job, p *probe, source string, runner *exec.Runner) (got probed, steps int64, err error) {
	ctx := context.Background()
	tx := image.Scratch(ctx, a)
	defer tx.Abort()
	receiver := batos.OID(j.Receiver)
	for i, name := range p.Names {
		v, err := codec.DecodeValue(p.Values[i])
		if err == nil {
			err = tx.SetSlot(receiver, name, v)
		}
		if err != nil {
			return probed{Err: failureOf(batos.Errorf(batos.Invalid, "%w", err))}, 0, a.broken
		}
	}
	before, err := tx.Changes()
	if err != nil {
		return got, 0, err
	}
	m := j.Message
	m.ID, m.Target, m.Selector, m.Args = m.ID+"/probe", receiver, batos.Selector(j.Selector), p.Args
	out := runner.Run(ctx, tx, exec.Request{
		Message: m, Lineage: j.Lineage, Candidate: &exec.Candidate{OID: receiver, Selector: m.Selector, Source: source},
	})
	steps = int64(out.Usage.Steps)
	if a.broken != nil {
		return got, steps, a.broken
	}
	switch out.Status {
	case exec.Done:
	case exec.Failed:
		got.Err = failureOf(out.Err)
		return got, steps, nil
	default:
		got.Err = failureOf(batos.Errorf(batos.Refused, "the probe %s", out.Status))
		return got, steps, nil
	}
	got.Value = codec.EncodeValue(out.Value)
	for _, name := range j.Watch {
		v, _, ok, err := tx.Lookup(receiver, name)
		if err != nil {
			return got, steps, err
		}
		if !ok {
			v = object.None{}
		}
		got.After = append(got.After, codec.EncodeValue(v))
	}
	changes, err := tx.Changes()
	if err != nil {
		return got, steps, err
	}
	got.Elsewhere = elsewhere(receiver, j.Watch, before, changes, len(out.Outbox))
	return got, steps, nil
}

// elsewhere says what was changed beside the watched slots, or "".
func elsewhere(receiver batos.OID, watch []string, before, after []image.Change, sent int) string {
	if sent > 0 {
		return fmt.Sprintf("%d messages sent for later", sent)
	}
	known := map[string]bool{}
	for _, w := range watch {
		known[w] = true
	}
	for _, c := range before {
		for _, s := range c.Slots {
			known[s.Name] = true
		}
	}
	for _, c := range after {
		if c.OID != receiver {
			return "object " + c.OID.String()
		}
		for _, s := range c.Slots {
			if !known[s.Name] {
				return "slot " + s.Name
			}
		}
	}
	return ""
}

func probesOut(in []Probe) []probe {
	out := make([]probe, len(in))
	for i, p := range in {
		for _, s := range p.Slots {
			out[i].Names = append(out[i].Names, s.Name)
			out[i].Values = append(out[i].Values, codec.EncodeValue(s.Value))
		}
		out[i].Args = codec.EncodeArgs(p.Args, p.Kwargs)
	}
	return out
}

func probedIn(in []probed) ([]Probed, error) {
	out := make([]Probed, len(in))
	for i, p := range in {
		out[i].Err, out[i].Elsewhere = p.Err.error(), p.Elsewhere
		if p.Err.Code != "" {
			continue
		}
		var err error
		if out[i].Value, err = codec.DecodeValue(p.Value); err != nil {
			return nil, err
		}
		for _, b := range p.After {
			v, err := codec.DecodeValue(b)
			if err != nil {
				return nil, err
			}
			out[i].After = append(out[i].After, v)
		}
	}
	return out, nil
}
