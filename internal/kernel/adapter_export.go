package kernel

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"batos"
	"batos/image"
	"batos/object"
)

// ImmutableName is what an adapter is called outside of the image, where a
// name must stand for one content for ever: name@hash12.
func ImmutableName(name, hash string) string {
	return strings.ToLower(name) + "@" + hash[:min(12, len(hash))]
}

// immutableName is ImmutableName of the adapter with that content; one that
// the image does not know is called adapter.
func (k *Kernel) immutableName(hash string) string {
	name := "adapter"
	err := k.im.View(k.live(), func(tx *image.Tx) error {
		names, err := k.adapterNames(tx, []string{hash})
		if n := names[hash]; n != "" {
			name = n
		}
		return err
	})
	if err != nil {
		k.log.Warn("the names of adapters cannot be read", "reason", err)
	}
	return ImmutableName(name, hash)
}

// ExportAdapter writes an adapter below a folder of this machine, under its
// immutable name, and answers where. One that came in PEFT's form becomes a
// folder of that form, as servers read it, unless asGGUF; the others become a
// GGUF file. What is there under that name already stays.
func (k *Kernel) ExportAdapter(ctx context.Context, name, folder string, asGGUF bool) (a Adapter, path string, err error) {
	var weights object.Blob
	var config string
	peft := false
	err = k.im.View(ctx, func(tx *image.Tx) error {
		repository, err := k.repository(tx)
		if err != nil {
			return err
		}
		base, err := k.baseHash(tx)
		if err != nil {
			return err
		}
		v, ok, err := repository.Get(object.Str(strings.ToUpper(name)))
		if err != nil {
			return err
		}
		if !ok {
			return batos.Errorf(batos.NotFound, "no adapter is named %s; batos adapter list", quote(name))
		}
		if a, err = k.adapterOf(tx, refOf(v), base); err != nil {
			return err
		}
		st, err := tx.Load(a.OID)
		if err != nil {
			return err
		}
		get := func(name string) object.Value { v, _ := st.Slot(name); return v }
		source, has := get("source_blob").(object.Blob)
		config = strOf(get("source_config"))
		if peft = has && config != "" && !asGGUF; peft {
			weights = source
			return nil
		}
		if weights, ok = get("model_blob").(object.Blob); !ok {
			return batos.Errorf(batos.Invalid, "adapter %s has lost its bytes", a.Name)
		}
		return nil
	})
	if err != nil {
		return a, "", err
	}
	path = filepath.Join(folder, ImmutableName(a.Name, a.Hash))
	if !peft {
		path += ".gguf"
	}
	if _, err := os.Stat(path); err == nil {
		return a, path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return a, "", batos.Errorf(batos.Denied, "%s: %w", path, err)
	}
	if err := k.writeAdapter(ctx, path, weights, config, peft); err != nil {
		return a, "", batos.Errorf(batos.Denied, "adapter %s cannot be written to %s: %w", a.Name, folder, err)
	}
	return a, path, nil
}

// writeAdapter writes beside its place first, so that nobody reads half of it.
func (k *Kernel) writeAdapter(ctx context.Context, path string, weights object.Blob, config string, peft bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // nothing is left in it, or it is half
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, "adapter_model.safetensors")
	if err := k.writeBlob(ctx, file, weights); err != nil {
		return err
	}
	if !peft {
		return os.Rename(file, path)
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(config), 0o644); err != nil {
		return err
	}
	return os.Rename(dir, path)
}

func (k *Kernel) writeBlob(ctx context.Context, path string, b object.Blob) error {
	src, err := k.im.OpenBlob(ctx, b)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.NewSectionReader(src, 0, src.Size()))
	if err == nil && n != b.Size {
		err = batos.Errorf(batos.Corrupt, "blob %.12s is cut off", hex.EncodeToString(b.Hash[:]))
	}
	return errors.Join(err, f.Close())
}
