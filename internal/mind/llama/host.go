package llama

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/mind"
)

// hotSet remembers which adapters the child holds, with a descriptor of each
// file, so that the next child can be given them.
type hotSet struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// add keeps a duplicate of f under hash and reports whether it is new.
func (h *hotSet) add(hash string, f *os.File) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files[hash] != nil {
		return false, nil
	}
	dup, err := duplicate(f)
	if err != nil {
		return false, batos.Errorf(batos.Limit, "adapter %.16s: %w", hash, err)
	}
	if h.files == nil {
		h.files = map[string]*os.File{}
	}
	h.files[hash] = dup
	return true, nil
}

func (h *hotSet) remove(hash string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.files[hash]; f != nil {
		_ = f.Close() // read only
		delete(h.files, hash)
	}
}

func (h *hotSet) hashes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for hash := range h.files {
		out = append(out, hash)
	}
	slices.Sort(out)
	return out
}

// file gives a duplicate, which the caller closes; nil if the adapter is not
// hot.
func (h *hotSet) file(hash string) (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files[hash] == nil {
		return nil, nil
	}
	return duplicate(h.files[hash])
}

func (h *hotSet) clear() {
	for _, hash := range h.hashes() {
		h.remove(hash)
	}
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, derr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = derr
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// LoadAdapter hands the file to the child, which reads it through the
// descriptor: the bytes do not pass through this process. The engine keeps a
// duplicate of the descriptor while the adapter is hot, to give it to a child
// that is started again; a memory file lives that long.
func (e *Engine) LoadAdapter(ctx context.Context, hash string, f *os.File) (mind.HotAdapter, error) {
	st, err := f.Stat()
	switch {
	case len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "":
		return mind.HotAdapter{}, batos.Errorf(batos.Invalid, "%.70q is no hash of an adapter: want 64 hexadecimal digits", hash)
	case err != nil:
		return mind.HotAdapter{}, batos.Errorf(batos.Invalid, "adapter %.16s: %w", hash, err)
	case !st.Mode().IsRegular():
		return mind.HotAdapter{}, batos.Errorf(batos.Invalid, "adapter %.16s: %s is not a regular file", hash, f.Name())
	}
	if free := availableMemory(); free > 0 && st.Size() > free {
		return mind.HotAdapter{}, batos.Errorf(batos.Limit, "adapter %.16s has %d MiB, %d MiB of memory are free", hash, st.Size()>>20, free>>20)
	}
	ctx, done := e.bound(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	fresh, err := e.hot.add(hash, f)
	if err != nil {
		return mind.HotAdapter{}, err
	}
	rep, err := e.ask(ctx, call{Op: opLoad, Hash: hash, file: f}, nil, nil)
	if err == nil && rep.Hot == nil {
		err = batos.Errorf(batos.Offline, "the engine answered something else")
	}
	if err != nil {
		if fresh {
			e.hot.remove(hash)
		}
		if code := batos.CodeOf(err); code == batos.Invalid || code == batos.Limit {
			err = batos.Errorf(code, "adapter %.16s: %w", hash, err)
		}
		return mind.HotAdapter{}, err
	}
	return *rep.Hot, nil
}

// UnloadAdapter returns when the adapter's memory is free. Requests that use
// it are waited for, later ones find it gone; if ctx ends first, it goes when
// those requests end. A child that is down is not started for it.
func (e *Engine) UnloadAdapter(ctx context.Context, hash string) error {
	e.hot.remove(hash)
	ctx, done := e.bound(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	if err := e.starting.Acquire(ctx, 1); err != nil {
		return ended(ctx)
	}
	c := e.child
	e.starting.Release(1)
	if c == nil {
		return nil
	}
	_, err := c.call(ctx, e.cfg.Grace, call{Op: opUnload, Hash: hash}, nil)
	var d *death
	switch {
	case errors.As(err, &d): // and the adapter with it
		return nil
	case err != nil && ctx.Err() != nil:
		return ended(ctx)
	}
	return err
}

// Memory asks the child, and tells caches and scratch memory apart by what a
// cache of the model's shape takes.
func (e *Engine) Memory(ctx context.Context) (mind.Memory, error) {
	rep, err := e.quick(ctx, call{Op: opMemory})
	if err != nil {
		return mind.Memory{}, err
	}
	if rep.Memory == nil {
		return mind.Memory{}, batos.Errorf(batos.Offline, "the engine answered something else")
	}
	m := *rep.Memory
	m.KV = min(e.need.caches, m.Compute)
	m.Compute -= m.KV
	return m, nil
}

// Prefixes asks the child.
func (e *Engine) Prefixes(ctx context.Context) ([]mind.Prefix, error) {
	rep, err := e.quick(ctx, call{Op: opPrefixes})
	return rep.Prefixes, err
}

// SavePrefix lets the child write into f.
func (e *Engine) SavePrefix(ctx context.Context, key string, f *os.File) error {
	_, err := e.quick(ctx, call{Op: opSave, Hash: key, file: f})
	return err
}

// RestorePrefix lets the child read from f.
func (e *Engine) RestorePrefix(ctx context.Context, f *os.File) (mind.Prefix, error) {
	rep, err := e.quick(ctx, call{Op: opRestore, file: f})
	if err != nil {
		return mind.Prefix{}, err
	}
	if len(rep.Prefixes) != 1 {
		return mind.Prefix{}, batos.Errorf(batos.Offline, "the engine answered something else")
	}
	return rep.Prefixes[0], nil
}

// quick asks what does not wait for generations.
func (e *Engine) quick(ctx context.Context, m call) (reply, error) {
	ctx, done := e.bound(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	return e.ask(ctx, m, nil, nil)
}

// reheat gives a new child what the last one held. An adapter that the child
// refuses or does not survive is hot no more.
func (e *Engine) reheat(ctx context.Context, c *child) error {
	for _, hash := range e.hot.hashes() {
		f, err := e.hot.file(hash)
		if err != nil {
			return batos.Errorf(batos.Limit, "adapter %.16s: %w", hash, err)
		}
		if f == nil {
			continue // unloaded meanwhile
		}
		_, err = c.call(ctx, e.cfg.graceOf(opLoad), call{Op: opLoad, Hash: hash, file: f}, nil)
		_ = f.Close() // a duplicate
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var d *death
		if err != nil {
			e.hot.remove(hash)
		}
		if errors.As(err, &d) {
			return d
		}
	}
	return nil
}

// maxEmbedded bounds the texts of one call to the child, so that cancelling
// and other work come in between, and the bytes of one text.
const (
	maxEmbedded  = 32
	maxEmbedText = 1 << 20
)

// Embed gives vectors of unit length: as the model pools, and the mean of the
// hidden vectors where it does not say. A text beyond the model's window is
// the mean of its windows, weighted by their lengths.
func (e *Engine) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	for i, t := range texts {
		if len(t) > maxEmbedText {
			return nil, batos.Errorf(batos.Invalid, "text %d has %d KiB, more than %d can be embedded at once", i, len(t)>>10, maxEmbedText>>10)
		}
	}
	ctx, done := e.bound(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	out := make([][]float32, 0, len(texts))
	for group := range slices.Chunk(texts, maxEmbedded) {
		rep, err := e.ask(ctx, call{Op: opEmbed, Texts: group}, nil, nil)
		if err != nil {
			return nil, err
		}
		if len(rep.Vectors) != len(group) {
			return nil, batos.Errorf(batos.Offline, "the engine answered something else")
		}
		out = append(out, rep.Vectors...)
	}
	return out, nil
}
