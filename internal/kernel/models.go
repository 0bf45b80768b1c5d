package kernel

import (
	"context"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"

	"batos"
	"batos/image"
	"batos/internal/gguf"
	"batos/object"
)

// StoredModel is a base model that the image holds.
type StoredModel struct {
	Name         string
	Hash         string // SHA-256 of its file, hex
	Bytes        int64
	Architecture string
	Context      int // tokens it was trained for
	Parameters   uint64
	InUse        bool
}

const modelsSlot = "models"

// ImportModel takes a GGUF file into the image, checked first. It does not
// change which model is in use. Its progress is told as events of the kind
// "import". The error is invalid for a file that is no whole model.
func (k *Kernel) ImportModel(ctx context.Context, p Person, name, path string) (StoredModel, error) {
	f, err := os.Open(path)
	if err != nil {
		return StoredModel{}, batos.Errorf(batos.NotFound, "%s cannot be opened: %w", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return StoredModel{}, batos.Errorf(batos.Invalid, "%s is no file", path)
	}
	header, err := gguf.Read(f, st.Size())
	if err == nil {
		err = gguf.CheckModel(header)
	}
	if err != nil {
		return StoredModel{}, batos.Errorf(batos.Invalid, "%s: %w", path, err)
	}
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(path), ".gguf")
	}
	if len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return StoredModel{}, batos.Errorf(batos.Invalid, "%s cannot be the name of a model: use printable letters without blanks and slashes, at most 100; give --name", quote(name))
	}
	blob, err := k.im.NewBlob(ctx, &telling{r: io.NewSectionReader(f, 0, st.Size()), size: st.Size(), tell: func(done int64) {
		k.Events.publish(Event{Kind: "import", Data: new(dict).str("name", name).int("done", done).int("bytes", st.Size()).value()})
	}})
	if err != nil {
		return StoredModel{}, err
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("import model " + name))
		return k.keepModel(tx, name, blob)
	})
	if err != nil {
		return StoredModel{}, err
	}
	return k.storedModel(ctx, name)
}

// keepModel notes a model under its name.
func (k *Kernel) keepModel(tx *image.Tx, name string, blob object.Blob) error {
	models, err := k.modelTree(tx)
	if err != nil {
		return err
	}
	old, ok, err := models.Get(object.Str(name))
	if err != nil {
		return err
	}
	if b, isBlob := old.(object.Blob); ok && isBlob && b.Hash != blob.Hash {
		return batos.Errorf(batos.Conflict, "there is another model %s already; give this one a --name of its own", quote(name))
	}
	return models.Set(object.Str(name), blob)
}

func (k *Kernel) modelTree(tx *image.Tx) (*image.Tree, error) {
	v, _, err := tx.Slot(k.roots.mind, modelsSlot)
	if err != nil {
		return nil, err
	}
	t, ok := v.(object.Tree)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "pLLM_obj.%s is no tree; batos image upgrade makes it", modelsSlot)
	}
	return tx.Tree(t), nil
}

// Models lists the models of the image by name.
func (k *Kernel) Models(ctx context.Context) ([]StoredModel, error) {
	var out []StoredModel
	err := k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		use, err := k.baseHash(tx)
		if err != nil {
			return err
		}
		id, _, err := tx.Slot(k.roots.mind, "model_id")
		if err != nil {
			return err
		}
		models, err := k.modelTree(tx)
		if err != nil {
			return err
		}
		listed := false
		for e, err := range models.Range(nil, nil) {
			if err != nil {
				return err
			}
			b, ok := e.Value.(object.Blob)
			if !ok {
				continue
			}
			m := StoredModel{Name: strOf(e.Key), Hash: hex.EncodeToString(b.Hash[:]), Bytes: b.Size}
			m.InUse = m.Hash == use && m.Name == strOf(id)
			listed = listed || m.InUse
			out = append(out, m)
		}
		v, _, err := tx.Slot(k.roots.mind, "model_blob")
		if b, ok := v.(object.Blob); ok && !listed { // the one of the awakening
			out = append(out, StoredModel{Name: strOf(id), Hash: use, Bytes: b.Size, InUse: true})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		if err := k.describeModel(ctx, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// describeModel reads what the model's own header says.
func (k *Kernel) describeModel(ctx context.Context, m *StoredModel) error {
	var b object.Blob
	h, err := hex.DecodeString(m.Hash)
	if err != nil {
		return err
	}
	copy(b.Hash[:], h)
	src, err := k.im.OpenBlob(ctx, b)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := gguf.Read(src, src.Size())
	if err != nil {
		return nil // the blob is no model: a test's, or an edited slot's
	}
	m.Architecture, m.Parameters = f.Text("general.architecture"), f.Parameters()
	v, _ := f.Get(m.Architecture + ".context_length")
	n, _ := v.Uint()
	m.Context = int(n)
	return nil
}

func (k *Kernel) storedModel(ctx context.Context, name string) (StoredModel, error) {
	all, err := k.Models(ctx)
	if err != nil {
		return StoredModel{}, err
	}
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
	}
	return StoredModel{}, batos.Errorf(batos.NotFound, "the image holds no model %s; batos model list", quote(name))
}

// UseModel takes a model file into the image and makes it the one in use, for
// this start and later ones. A file that is in use already changes nothing. If
// the image has another model of that name, this one is called NAME@hash12.
func (k *Kernel) UseModel(ctx context.Context, p Person, m ModelSource) (StoredModel, error) {
	r, err := m.Open()
	if err != nil {
		return StoredModel{}, batos.Errorf(batos.NotFound, "the model cannot be opened: %w", err)
	}
	blob, err := k.im.NewBlob(ctx, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return StoredModel{}, err
	}
	name, err := k.putInUse(ctx, p, m.ID, blob)
	if err != nil {
		return StoredModel{}, err
	}
	return k.storedModel(ctx, name)
}

// SwitchModel makes a model of the image the one in use. An engine that does
// not start leaves the core offline; the error says why, and the choice stays.
func (k *Kernel) SwitchModel(ctx context.Context, p Person, name string) (StoredModel, error) {
	m, err := k.storedModel(ctx, name)
	if err != nil {
		return m, err
	}
	if k.config.Mind == nil {
		return m, batos.Errorf(batos.Offline, "the server was started without a model; start batos up without --model none")
	}
	if k.config.Remote {
		return m, batos.Errorf(batos.Offline, "the server asks a remote mind; start batos up without --model URL to use a model of the image")
	}
	blob := object.Blob{Size: m.Bytes}
	h, err := hex.DecodeString(m.Hash)
	if err != nil {
		return m, err
	}
	copy(blob.Hash[:], h)
	if _, err := k.putInUse(ctx, p, name, blob); err != nil {
		return m, err
	}
	m.InUse = true
	_, err = k.Core()
	return m, err
}

// putInUse makes a model the one in use, so that the one before can be chosen
// again, and starts the engine anew unless it serves those bytes already.
func (k *Kernel) putInUse(ctx context.Context, p Person, name string, blob object.Blob) (string, error) {
	same := false
	var is string
	_, err := k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("use model " + name))
		v, _, err := tx.Slot(k.roots.mind, "model_blob")
		if err != nil {
			return err
		}
		id, _, err := tx.Slot(k.roots.mind, "model_id")
		if err != nil {
			return err
		}
		before, any := v.(object.Blob)
		same, is = any && before.Hash == blob.Hash, name
		if same && (strOf(id) == name || strings.HasPrefix(strOf(id), name+"@")) {
			is = strOf(id)
			return nil
		}
		if any {
			if _, err := k.keepAs(tx, strOf(id), before); err != nil {
				return err
			}
		}
		if is, err = k.keepAs(tx, name, blob); err != nil {
			return err
		}
		if err := tx.SetSlot(k.roots.mind, "model_id", object.Str(is)); err != nil {
			return err
		}
		return tx.SetSlot(k.roots.mind, "model_blob", blob)
	})
	if err != nil {
		return "", err
	}
	if _, offline := k.Core(); same && offline == nil {
		return is, nil
	}
	k.keepPrefixes(ctx)
	k.core.close()
	k.tiers.CloseHot(ctx)
	return is, k.openCore(ctx)
}

// keepAs notes a model under its name, or with its hash behind it where another
// has that name. An image of an older genesis keeps no models.
func (k *Kernel) keepAs(tx *image.Tx, name string, blob object.Blob) (string, error) {
	if v, _, err := tx.Slot(k.roots.mind, modelsSlot); err != nil {
		return "", err
	} else if _, ok := v.(object.Tree); !ok {
		return name, nil
	}
	err := k.keepModel(tx, name, blob)
	if batos.CodeOf(err) == batos.Conflict {
		name += "@" + hex.EncodeToString(blob.Hash[:])[:12]
		err = k.keepModel(tx, name, blob)
	}
	return name, err
}

// telling is a reader that says how far it is, about a hundred times.
type telling struct {
	r                io.Reader
	size, done, said int64
	tell             func(done int64)
}

func (t *telling) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.done += int64(n)
	if t.done-t.said > t.size/100 {
		t.said = t.done
		t.tell(t.done)
	}
	return n, err
}
