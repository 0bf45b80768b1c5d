package kernel

import (
	"context"
	"encoding/hex"
	"io"
	"os"
	"regexp"
	"strings"

	"batos"
	"batos/image"
	"batos/internal/adapter"
	"batos/internal/gguf"
	"batos/internal/memory"
	"batos/object"
)

// AdapterSource is an adapter to import: the files of a PEFT adapter, or one
// GGUF file.
type AdapterSource struct {
	Name    string // what the image calls it, in capitals; letters, digits and _
	Origin  string // where it comes from, for people
	Weights io.ReaderAt
	Size    int64
	Config  []byte // adapter_config.json; nil says that Weights is GGUF
	Persona string // whose work it does, or ""
}

// Adapter is a LoRA adapter that the image holds.
type Adapter struct {
	OID        batos.OID
	Name       string
	Hash       string // content hash of its GGUF bytes, hex
	Base       string // hash of the model it was made for
	Rank       int64
	Alpha      float64
	Targets    []string
	Parameters int64
	Origin     string
	Persona    string
	Bytes      int64
	Fits       bool // it is for the model in use
	State      memory.State
}

// Names of the objects and slots that the kernel itself works with.
const (
	proxyPrototype = "lora_proxy_obj"
	managerObject  = "memory_manager_obj"
	manifestObject = "vram_manifest_obj"
	cacheObject    = "ram_cache_obj"
	repositorySlot = "lora_repository"
	budgetSlot     = "budget_mb"
)

// ImportAdapter takes an adapter into the image: checked against the model in
// use, converted, as blobs, with a proxy object in pLLM_obj.lora_repository,
// all in one commit. Content that is there already is not imported again; its
// adapter is answered, with added false. The error is invalid if it does not
// fit or cannot be used, conflict if its name is taken by another.
func (k *Kernel) ImportAdapter(ctx context.Context, p Person, s AdapterSource) (a Adapter, added bool, err error) {
	name, err := adapterName(s.Name)
	if err != nil {
		return a, false, err
	}
	base, baseHash, err := k.baseModel(ctx)
	if err != nil {
		return a, false, err
	}
	if a, found, err := k.knownSource(ctx, baseHash, s); err != nil || found {
		return a, false, err
	}
	blob, source, info, err := k.storeAdapter(ctx, base, s)
	if err != nil {
		return a, false, batos.Errorf(batos.CodeOf(err), "%s: %w", s.Origin, err)
	}
	hash := hex.EncodeToString(blob.Hash[:])
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		added = false
		tx.SetMeta(p.meta("import adapter " + name))
		repository, err := k.repository(tx)
		if err != nil {
			return err
		}
		index, err := k.hashIndex(tx, repository, true)
		if err != nil {
			return err
		}
		oid, known, err := findContent(tx, repository, index, hash)
		if err != nil {
			return err
		}
		if !known {
			if v, taken, err := repository.Get(object.Str(name)); err != nil {
				return err
			} else if taken {
				oid, known = refOf(v), true
			}
		}
		if known {
			old, err := k.adapterOf(tx, oid, baseHash)
			if err == nil && old.Hash != hash {
				err = batos.Errorf(batos.Conflict, "there is another adapter %s already; give this one a --name of its own", name)
			}
			a = old
			return err
		}
		prototype, ok, err := tx.Name(proxyPrototype)
		if err != nil || !ok {
			return cmpNotFound(err, proxyPrototype)
		}
		slots := []object.Slot{
			{Name: "parent*", Value: object.Ref(prototype)},
			{Name: "adapter_name", Value: object.Str(name)},
			{Name: "rank", Value: object.NewInt(int64(info.Rank))},
			{Name: "alpha", Value: object.Float(info.Alpha)},
			{Name: "targets", Value: strList(info.Targets)},
			{Name: "parameters", Value: object.NewInt(info.Parameters)},
			{Name: "base_hash", Value: object.Str(baseHash)},
			{Name: "content_hash", Value: object.Str(hash)},
			{Name: "origin", Value: object.Str(s.Origin)},
			{Name: "persona", Value: object.Str(s.Persona)},
			{Name: "imported", Value: k.now()},
			{Name: "model_blob", Value: blob},
		}
		if source != nil {
			slots = append(slots, object.Slot{Name: "source_blob", Value: *source}, object.Slot{Name: "source_config", Value: object.Str(configText(s.Config))})
		}
		if oid, err = tx.Create(object.NewState(object.Protected, batos.Person, slots...)); err != nil {
			return err
		}
		if err := repository.Set(object.Str(name), object.Ref(oid)); err != nil {
			return err
		}
		if index != nil {
			keys, err := keysOf(tx, oid)
			if err != nil {
				return err
			}
			for _, key := range keys {
				if err := index.Set(object.Str(key), object.Str(name)); err != nil {
					return err
				}
			}
		}
		added = true
		a, err = k.adapterOf(tx, oid, baseHash)
		return err
	})
	return a, added, err
}

// ImportFound is ImportAdapter of files on this machine. alpha is that of
// matrices which come without a configuration; 0 refuses those.
func (k *Kernel) ImportFound(ctx context.Context, p Person, f adapter.Found, alpha float64, persona string) (Adapter, bool, error) {
	config, err := f.ReadConfig(alpha)
	if err != nil {
		return Adapter{}, false, err
	}
	file, err := os.Open(f.Weights)
	if err != nil {
		return Adapter{}, false, batos.Errorf(batos.Denied, "%s cannot be opened: %w", f.Weights, err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return Adapter{}, false, err
	}
	return k.ImportAdapter(ctx, p, AdapterSource{Name: f.Name, Origin: f.Weights, Weights: file, Size: st.Size(), Config: config, Persona: persona})
}

// configText is a configuration as an image keeps it.
func configText(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// exportedAs is the end of an immutable name, see [ImmutableName].
var exportedAs = regexp.MustCompile("@[0-9a-f]{12}$")

func adapterName(s string) (string, error) {
	s = exportedAs.ReplaceAllString(s, "")
	name := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(s))
	if err := checkName(name); err != nil {
		return "", batos.Errorf(batos.Invalid, "%s cannot be the name of an adapter: use letters, digits and _, no digit first", quote(s))
	}
	return name, nil
}

// baseModel reads the header of the model in use.
func (k *Kernel) baseModel(ctx context.Context) (*adapter.Base, string, error) {
	m, err := k.Model(ctx)
	if err != nil {
		return nil, "", err
	}
	if m == nil {
		return nil, "", batos.Errorf(batos.Offline, "an adapter belongs to a model, and the image holds none; batos model import FILE.gguf")
	}
	f, err := gguf.Open(m.Path)
	if err != nil {
		return nil, "", batos.Errorf(batos.Offline, "the model in use cannot be adapted here: %w", err)
	}
	base, err := adapter.BaseOf(f)
	return base, hex.EncodeToString(m.Blob.Hash[:]), err
}

// storeAdapter converts an adapter in memory outside Go's heap, checks what
// came of it, and only then stores it as blobs: what is checked is what will be
// loaded. Nothing refers to the blobs yet, so they go again if the import
// fails.
func (k *Kernel) storeAdapter(ctx context.Context, base *adapter.Base, s AdapterSource) (blob object.Blob, source *object.Blob, info adapter.Info, err error) {
	whole := io.NewSectionReader(s.Weights, 0, s.Size)
	file, err := memory.Scratch("import")
	if err != nil {
		return blob, nil, info, err
	}
	defer file.Close()
	if s.Config == nil {
		_, err = io.Copy(file, whole)
	} else {
		err = convertAdapter(file, base, s)
	}
	if err != nil {
		return blob, nil, info, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return blob, nil, info, err
	}
	f, err := gguf.Read(file, size)
	if err != nil {
		return blob, nil, info, err
	}
	if info, err = adapter.Inspect(f, base); err != nil {
		return blob, nil, info, err
	}
	if err := gguf.CheckFinite(f, file); err != nil {
		return blob, nil, info, err
	}
	if blob, err = k.im.NewBlob(ctx, io.NewSectionReader(file, 0, size)); err != nil || s.Config == nil {
		return blob, nil, info, err
	}
	from, err := k.im.NewBlob(ctx, whole)
	return blob, &from, info, err
}

func convertAdapter(w io.Writer, base *adapter.Base, s AdapterSource) error {
	c, err := adapter.ReadConfig(s.Config)
	if err != nil {
		return err
	}
	header, err := adapter.ReadSafetensors(s.Weights, s.Size)
	if err != nil {
		return err
	}
	_, err = adapter.Convert(w, base, s.Weights, header, c, []gguf.Entry{{Key: "general.name", Value: gguf.OfText(s.Name)}})
	return err
}

// repository is pLLM_obj's tree of adapters by name.
func (k *Kernel) repository(tx *image.Tx) (*image.Tree, error) {
	v, _, err := tx.Slot(k.roots.mind, repositorySlot)
	if err != nil {
		return nil, err
	}
	t, ok := v.(object.Tree)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "pLLM_obj.%s is no tree any more; put one back, or undo what changed it", repositorySlot)
	}
	return tx.Tree(t), nil
}

// adapterOf reads a proxy.
func (k *Kernel) adapterOf(tx *image.Tx, oid batos.OID, baseHash string) (Adapter, error) {
	st, err := tx.Load(oid)
	if err != nil {
		return Adapter{}, err
	}
	get := func(name string) object.Value {
		v, _ := st.Slot(name)
		return v
	}
	a := Adapter{
		OID: oid, Name: strOf(get("adapter_name")), Hash: strOf(get("content_hash")), Base: strOf(get("base_hash")), Rank: intOf(get("rank")),
		Alpha: float64(float(get("alpha"))), Targets: stringsOf(get("targets")), Parameters: intOf(get("parameters")), Origin: strOf(get("origin")), Persona: strOf(get("persona")),
	}
	if b, ok := get("model_blob").(object.Blob); ok {
		a.Bytes = b.Size
	}
	a.Fits = a.Base == baseHash
	a.State = k.tiers.State(a.Hash)
	return a, nil
}

// baseHash is the hash of the model in use, "" if there is none.
func (k *Kernel) baseHash(tx *image.Tx) (string, error) {
	v, _, err := tx.Slot(k.roots.mind, "model_blob")
	b, ok := v.(object.Blob)
	if err != nil || !ok {
		return "", err
	}
	return hex.EncodeToString(b.Hash[:]), nil
}

// Adapters lists the adapters of the image by name, and how full the tiers are.
func (k *Kernel) Adapters(ctx context.Context) ([]Adapter, memory.Usage, error) {
	var out []Adapter
	err := k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		base, err := k.baseHash(tx)
		if err != nil {
			return err
		}
		repository, err := k.repository(tx)
		if err != nil {
			return err
		}
		for e, err := range repository.Range(nil, nil) {
			if err != nil {
				return err
			}
			a, err := k.adapterOf(tx, refOf(e.Value), base)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		return nil
	})
	return out, k.tiers.Usage(), err
}

// findAdapter gives the adapter of a persona or of that name. found is false
// for the base model: no name, "base", or a persona without an adapter for the
// model in use. not_found if there is no such persona or adapter.
func (k *Kernel) findAdapter(tx *image.Tx, name string) (a Adapter, found bool, err error) {
	if name == "" || strings.EqualFold(name, "base") {
		return a, false, nil
	}
	want, persona, err := k.adapterOfPersona(tx, name)
	if err != nil {
		return a, false, err
	}
	base, err := k.baseHash(tx)
	if err != nil {
		return a, false, err
	}
	repository, err := k.repository(tx)
	if err != nil {
		return a, false, err
	}
	for _, n := range []string{want, strings.ToUpper(want), strings.ToUpper(want) + "_LORA"} {
		v, ok, err := repository.Get(object.Str(n))
		if err != nil {
			return a, false, err
		}
		if !ok {
			continue
		}
		if a, err = k.adapterOf(tx, refOf(v), base); err != nil {
			return a, false, err
		}
		if a.Fits || !persona {
			return a, a.Fits, fits(a)
		}
	}
	if !persona {
		return a, false, batos.Errorf(batos.NotFound, "no adapter is named %s", quote(name))
	}
	return Adapter{}, false, nil
}

func fits(a Adapter) error {
	if a.Fits {
		return nil
	}
	return batos.Errorf(batos.Invalid, "adapter %s is for the model %.12s, not for the one in use", a.Name, a.Base)
}

// adapterOfPersona gives what the codex calls a persona's adapter, and whether
// name is a persona.
func (k *Kernel) adapterOfPersona(tx *image.Tx, name string) (string, bool, error) {
	oid, ok, err := tx.Name(codexObject)
	if err != nil || !ok {
		return name, false, err
	}
	v, ok, err := tx.Slot(oid, name)
	if err != nil || !ok {
		return name, false, err
	}
	who, isPersona := v.(*object.Dict)
	if !isPersona || fieldsOf(who).get("title") == nil {
		return name, false, nil
	}
	want := fieldsOf(who).str("adapter")
	if want == "" || want == "None" {
		want = name
	}
	return want, true, nil
}

// lease brings the adapter of a persona or of that name into the engine and
// keeps it there. Without an adapter, or an engine that holds any, it answers
// no lease and the base model's hash "".
func (k *Kernel) lease(ctx context.Context, name string) (hash string, release func(), err error) {
	release = func() {}
	var a Adapter
	var found bool
	err = k.im.View(ctx, func(tx *image.Tx) error {
		a, found, err = k.findAdapter(tx, name)
		return err
	})
	if err != nil || !found || k.host() == nil {
		return "", release, err
	}
	l, err := k.tiers.Activate(ctx, a.Hash)
	if err != nil {
		return "", release, err
	}
	return a.Hash, l.Release, nil
}

// MoveAdapter brings an adapter into a tier: hot, warm or cold.
func (k *Kernel) MoveAdapter(ctx context.Context, name string, to memory.Tier) (Adapter, error) {
	var a Adapter
	find := func(tx *image.Tx) error {
		found := false
		var err error
		if a, found, err = k.findAdapter(tx, name); err == nil && !found {
			err = batos.Errorf(batos.NotFound, "%s has no adapter for the model in use", quote(name))
		}
		return err
	}
	err := k.im.View(ctx, find)
	if err != nil {
		return a, err
	}
	switch to {
	case memory.Hot:
		var l *memory.Lease
		if l, err = k.tiers.Activate(ctx, a.Hash); err == nil {
			l.Release()
		}
	case memory.Warm:
		if a.State.Tier == memory.Cold {
			err = k.tiers.Stage(ctx, a.Hash)
		} else {
			err = k.tiers.Evict(ctx, a.Hash, false)
		}
	default:
		err = k.tiers.Evict(ctx, a.Hash, true)
	}
	if err == nil {
		err = k.im.View(ctx, find)
	}
	return a, err
}
