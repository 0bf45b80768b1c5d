package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"batos/image"
	"batos/internal/adapter"
	"batos/internal/ggml"
	"batos/internal/memory"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/object"
)

// tiersBig measures how fast adapters of two sizes come from each tier into
// the engine beside a model of a billion weights, against the library's own
// loading of the same file in this process. Files are in the page cache.
func tiersBig(ctx context.Context, dir string, emit func(Figure)) error {
	path, err := oneB.model(os.TempDir(), "batos-bench-1b.gguf")
	if err != nil {
		return err
	}
	cfg, err := engineConfig(path)
	if err != nil {
		return err
	}
	cfg.Context = 512
	e, err := llama.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	b, err := openBare(cfg.LibDir, path, 64)
	if err != nil {
		return err
	}
	defer b.close()
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	for _, c := range []struct {
		name string
		rank int
	}{{"20MB", 15}, {"160MB", 114}} {
		file, _, err := oneB.adapter(dir, c.rank, 7)
		if err == nil {
			err = comes(ctx, im, e, b, file, "adapters.1b."+c.name, emit)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// comes measures one adapter.
func comes(ctx context.Context, im *image.Image, e *llama.Engine, b *bare, file, name string, emit func(Figure)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	blob, err := im.NewBlob(ctx, io.TeeReader(f, sum))
	if err != nil {
		return err
	}
	if _, err := im.Update(ctx, func(tx *image.Tx) error {
		_, err := tx.Create(object.NewState(0, 0, object.Slot{Name: "blob", Value: blob}))
		return err
	}); err != nil {
		return err
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	t := memory.New(memory.Config{
		Open: func(ctx context.Context, _ string) (memory.Source, error) { return im.OpenBlob(ctx, blob) },
		Host: func() mind.AdapterHost { return e }, Weigh: adapter.Weigh, Budgets: func() (int64, int64) { return 1 << 30, 1 << 30 },
	})
	activate := func() error {
		l, err := t.Activate(ctx, hash)
		if err == nil {
			l.Release()
		}
		return err
	}
	var a *ggml.Adapter
	steps := []struct {
		name       string
		bar        float64
		do, undone func() error
	}{
		{"bare", 0, func() (err error) { a, err = b.m.LoadAdapterFile(f); return err }, func() error { return a.Close() }},
		{"cold", 0.4, activate, func() error { return t.Evict(ctx, hash, false) }},
		{"warm", 0.9, activate, func() error { return t.Evict(ctx, hash, true) }},
	}
	took := make([][]float64, len(steps))
	for range 9 {
		for i, s := range steps {
			began := time.Now()
			err := s.do()
			took[i] = append(took[i], time.Since(began).Seconds())
			if err == nil {
				err = s.undone()
			}
			if err != nil {
				return errors.Join(err, t.Close())
			}
		}
	}
	for i, s := range steps {
		if s.bar > 0 {
			emit(Figure{Name: name + "." + s.name, Value: 1 / median(took[i]), Unit: "loads/s", Against: 1 / median(took[0]), Bar: s.bar})
		}
	}
	return t.Close()
}
