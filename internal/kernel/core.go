package kernel

import (
	"context"
	"fmt"
	"sync"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/object"
)

// Model is the base model as pLLM_obj holds it.
type Model struct {
	ID   string
	Blob object.Blob
	Path string // of the blob's file, to be mapped in place

	// AdapterName gives the immutable name of an adapter by its content hash,
	// see [ImmutableName].
	AdapterName func(hash string) string
}

// core is the cognitive core: the engine that serves the image's model and
// the profile that speaks to it. Without an engine it is offline.
type core struct {
	find     func(context.Context, Model) (mind.Engine, error)
	profiles map[string]mind.Profile

	mu      sync.RWMutex
	engine  mind.Engine
	profile mind.Profile
	info    mind.Info
	reason  error // why offline
}

func newCore(find func(context.Context, Model) (mind.Engine, error), profiles []mind.Profile) *core {
	c := &core{find: find, profiles: map[string]mind.Profile{}}
	for _, p := range profiles {
		c.profiles[p.Name()] = p
	}
	return c
}

func (c *core) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine != nil {
		_ = c.engine.Close() // nothing can be done about an engine that won't stop cleanly; it dies with us
		c.engine = nil
	}
}

// open brings the engine up for the model. An engine that cannot be brought up
// leaves the core offline with the reason; everything but missions works.
func (c *core) open(ctx context.Context, m Model) error {
	engine, err := c.find(ctx, m)
	if err != nil {
		return err
	}
	info, err := engine.Info(ctx)
	if err != nil {
		_ = engine.Close() // the first error is the one to tell
		return err
	}
	profile := c.profiles[info.Profile]
	if profile == nil {
		_ = engine.Close() // as above
		return batos.Errorf(batos.Offline, "the model %s wants the profile %q, which this release does not have", info.ModelID, info.Profile)
	}
	if b, ok := profile.(mind.Binder); ok {
		if profile, err = b.Bind(info); err != nil {
			_ = engine.Close() // as above
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine, c.profile, c.info = engine, profile, info
	return nil
}

// use gives the engine, or the error that says why there is none.
func (c *core) use() (mind.Engine, mind.Profile, mind.Info, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.engine == nil {
		if c.reason != nil {
			return nil, nil, mind.Info{}, batos.Errorf(batos.Offline, "cognitive core is offline: %w", c.reason)
		}
		return nil, nil, mind.Info{}, batos.Errorf(batos.Offline, "cognitive core is offline")
	}
	return c.engine, c.profile, c.info, nil
}

// openCore starts the engine for the model in the image, if there is one and
// a way to run it.
func (k *Kernel) openCore(ctx context.Context) error {
	if k.config.Mind == nil {
		k.core.reason = fmt.Errorf("it was started without a model; start batos up with --model FILE.gguf")
		return nil
	}
	model := &Model{}
	if !k.config.Remote {
		var err error
		if model, err = k.Model(ctx); err != nil {
			return err
		}
	}
	if model == nil {
		k.core.reason = fmt.Errorf("the image holds no model; start batos up with --model FILE.gguf")
		return nil
	}
	model.AdapterName = k.immutableName
	if err := k.core.open(ctx, *model); err != nil {
		k.core.reason = err
		k.log.Warn("the engine did not start; everything but missions works", "reason", err)
		return nil
	}
	k.restorePrefixes(ctx)
	return nil
}

// Model gives the base model in use, or nil if the image has none.
func (k *Kernel) Model(ctx context.Context) (*Model, error) {
	var m *Model
	err := k.im.View(ctx, func(tx *image.Tx) error {
		id, _, err := tx.Slot(k.roots.mind, "model_id")
		if err != nil {
			return err
		}
		v, _, err := tx.Slot(k.roots.mind, "model_blob")
		if err != nil {
			return err
		}
		if blob, ok := v.(object.Blob); ok {
			m = &Model{ID: strOf(id), Blob: blob}
		}
		return nil
	})
	if err != nil || m == nil {
		return nil, err
	}
	b, err := k.im.OpenBlob(ctx, m.Blob)
	if err != nil {
		return nil, err
	}
	m.Path = b.Path()
	return m, b.Close()
}

// Core tells what the cognitive core is: the model's facts, or the reason why
// it is offline.
func (k *Kernel) Core() (mind.Info, error) {
	_, _, info, err := k.core.use()
	return info, err
}
