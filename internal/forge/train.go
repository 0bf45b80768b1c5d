package forge

import (
	"context"
	"errors"
	"time"

	"batos"
	"batos/internal/ggml"
)

// Train fits a model to data and gives its weights. If CheckpointDir holds a
// checkpoint of the same run, it goes on from there; one of another run is
// refused as invalid. progress may be nil; it is called after every step, on
// the caller's goroutine. When ctx ends, Train writes a checkpoint and gives
// ctx's error.
func Train(ctx context.Context, lib *ggml.Library, c Config, data Source, progress func(Progress)) (*Weights, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	start := c.Start
	if start == nil {
		var err error
		if start, err = NewWeights(c.Arch, c.Seed); err != nil {
			return nil, err
		}
	} else if start.Arch != c.Arch {
		return nil, batos.Errorf(batos.Invalid, "training: the weights to start from are of another shape: %+v, not %+v", start.Arch, c.Arch)
	}
	net, err := newNetwork(lib, c, c.Arch.layout(), nil, nil, lowRank{}, optimizing)
	if err != nil {
		return nil, err
	}
	defer net.close()
	net.load(start.tensors)
	if err := net.train(ctx, c, "model", data, progress); err != nil {
		return nil, err
	}
	return &Weights{Arch: c.Arch, tensors: net.values()}, nil
}

// load puts values into the tensors in training.
func (net *network) load(values map[string][]float32) {
	for _, p := range net.params {
		p.w.SetFloats(values[p.name])
	}
}

// values copies the tensors in training out.
func (net *network) values() map[string][]float32 {
	out := make(map[string][]float32, len(net.params))
	for _, p := range net.params {
		v := make([]float32, p.elements())
		p.w.Floats(v)
		out[p.name] = v
	}
	return out
}

// train runs the steps that are left, from the checkpoint if there is one.
// what names the thing in training in the checkpoint's identity.
func (net *network) train(ctx context.Context, c Config, what string, data Source, progress func(Progress)) error {
	state := runState{identity: c.identity(what)}
	if err := state.restore(c.CheckpointDir, net); err != nil {
		return err
	}
	b := newBatch(c)
	began, trained := time.Now(), 0
	first, saved := state.step, state.step
	save := func() error {
		if c.CheckpointDir == "" || state.step == saved {
			return nil
		}
		saved = state.step
		return state.save(c.CheckpointDir, net)
	}
	for state.step < c.Steps {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, save())
		}
		next, err := b.fill(data, state.next)
		if err != nil {
			return err
		}
		net.set(b)
		net.setStep(c, state.step+1)
		loss, err := net.run(b)
		if err != nil {
			return err
		}
		state.step, state.next = state.step+1, next
		trained += b.real
		if state.step%c.CheckpointEvery == 0 {
			if err := save(); err != nil {
				return err
			}
		}
		if progress != nil {
			spent := time.Since(began)
			each := spent / time.Duration(state.step-first)
			progress(Progress{
				Step: state.step, Steps: c.Steps, Loss: loss, LR: c.rate(state.step), Tokens: trained,
				TokensPerSecond: float64(trained) / spent.Seconds(),
				Left:            each * time.Duration(c.Steps-state.step),
			})
		}
	}
	return save()
}
