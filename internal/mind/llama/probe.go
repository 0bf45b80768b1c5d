package llama

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// Report is what [Probe] found, for a person to read. Empty parts were not
// found; Advice says what to do about them, one line each.
type Report struct {
	Library   *Library // nil if it does not load
	HashOK    bool     // every library file is the pinned one
	Model     string   // path, as asked for
	ModelInfo string   // one line: name, architecture, weights, context
	MemoryMiB int64    // estimate of what the model takes at the context asked for; 0 without a model
	FreeMiB   int64    // what the system could give; 0 where it does not say
	Plan      string   // one line: contexts, threads, caches
	Memory    *Plan    // where the model's parts would lie; nil without a model
	Advice    []string
}

// OK reports whether the engine can serve.
func (r Report) OK() bool { return len(r.Advice) == 0 }

const probeTime = 20 * time.Second

// Probe looks at the libraries and the model that cfg names, without loading
// weights. The libraries are loaded in a child, as for serving. A
// cfg.ModelPath of "" leaves the model out. Probe itself cannot fail: what is
// wrong becomes advice.
func Probe(ctx context.Context, cfg Config) Report {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	r := Report{Model: cfg.ModelPath, FreeMiB: availableMemory() >> 20}
	advise := func(err error) {
		if err != nil {
			r.Advice = append(r.Advice, err.Error())
		}
	}
	lib, err := probeLibrary(ctx, cfg)
	advise(err)
	r.Library, r.HashOK = lib, lib != nil // loading checks every hash first
	if cfg.ModelPath != "" {
		advise(r.probeModel(cfg))
	} else {
		r.Plan = fmt.Sprintf("on %d cores: a small model (under %d million weights) in %d contexts of one thread, a larger one in one context of %d",
			runtime.NumCPU(), smallModel/1_000_000, smallContexts, min(2, runtime.NumCPU()))
	}
	return r
}

func probeLibrary(ctx context.Context, cfg Config) (*Library, error) {
	dir, err := FindLibrary(cfg.LibDir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, batos.Errorf(batos.Offline, "engine: %w", err)
	}
	if cfg.Exe == "" {
		if cfg.Exe, err = os.Executable(); err != nil {
			return nil, batos.Errorf(batos.Offline, "engine: the running binary cannot be found: %w", err)
		}
	}
	c, err := start(cfg.Exe)
	if err != nil {
		return nil, err
	}
	defer c.close(defaultGrace)
	rep, err := c.call(ctx, defaultGrace, call{Op: opProbe, Open: &openArgs{LibDir: dir}}, nil)
	var d *death
	if errors.As(err, &d) {
		return nil, batos.Errorf(batos.Offline, "the engine library in %s ends its process: %w", dir, d)
	}
	if err == nil && rep.Library == nil {
		err = batos.Errorf(batos.Offline, "the engine answered something else")
	}
	return rep.Library, err
}

func (r *Report) probeModel(cfg Config) error {
	f, err := gguf.Open(cfg.ModelPath)
	if err != nil {
		return err
	}
	if err := gguf.CheckModel(f); err != nil {
		return batos.Errorf(batos.CodeOf(err), "model file %s: %w", cfg.ModelPath, err)
	}
	if cfg, err = cfg.complete(f); err != nil {
		return err
	}
	i := infoOf(f, cfg)
	r.ModelInfo = fmt.Sprintf("%s: %s, %.1f million weights in %.1f MiB, vocabulary of %d, context %d of %d, profile %s",
		i.ModelID, i.Architecture, float64(i.Params)/1e6, float64(i.Bytes)/(1<<20), i.VocabSize, cfg.Context, trainedContext(f), i.Profile)
	var devices []ggml.DeviceInfo
	if r.Library != nil {
		devices = r.Library.Devices
	}
	plan := planOf(f, cfg, devices, availableMemory())
	r.Memory = &plan
	need := memoryOf(f, cfg)
	r.MemoryMiB = (need.weights + need.working) >> 20
	r.Plan = fmt.Sprintf("%d of %d tokens, %d threads each, %d compute at a time on %d cores; caches of %d MiB, up to %d MiB of kept prefixes",
		cfg.Contexts, cfg.Context, cfg.Threads, min(cfg.Contexts, cfg.parallel()), runtime.NumCPU(), need.caches>>20, max(0, cfg.Prefixes)>>20)
	if i.EmbedsOnly {
		r.Plan = fmt.Sprintf("the model only makes vectors, of texts in windows of %d tokens", min(maxWindow, cfg.Context))
	}
	if r.FreeMiB > 0 && r.MemoryMiB > r.FreeMiB {
		return batos.Errorf(batos.Limit, "the model needs about %d MiB at a context of %d, %d MiB are free: it will be slow or fail; choose a smaller model or context", r.MemoryMiB, cfg.Context, r.FreeMiB)
	}
	return nil
}
