package kernel

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"slices"
	"time"

	"batos"
	"batos/image"
	"batos/internal/memory"
	"batos/internal/mind"
	"batos/object"
)

// Slots of pLLM_obj for what of the engine's computed prompt beginnings
// outlives it. The tree has, under the engine's key of each, a dict:
//
//	blob    what the engine wrote
//	adapter content hash of the adapter that it was computed under
//	rank    0 is what was used last
//	seal    HMAC-SHA256 of the blob's hash under Config.PrefixKey
//
// An engine trusts such bytes with its life, so only those that this image
// folder's own kernel has written are given to it: an image that came from
// elsewhere has another key.
const (
	keptSlot     = "kept_prefixes_mb"
	prefixesSlot = "prefixes"
)

// Times that the start and the stop of an engine may spend on kept states.
const (
	restoreTime = 5 * time.Second
	keepTime    = 2 * time.Second
)

// keptPrefix is one entry of the tree.
type keptPrefix struct {
	key, adapter string
	rank         int64
	blob         object.Blob
	seal         []byte
}

func (k *Kernel) sealOf(b object.Blob) []byte {
	m := hmac.New(sha256.New, k.config.PrefixKey)
	m.Write(b.Hash[:])
	return m.Sum(nil)
}

// prefixSetting gives the tree and the bytes that may be kept; no tree if the
// image's genesis is older.
func (k *Kernel) prefixSetting(tx *image.Tx) (*image.Tree, int64, error) {
	v, _, err := tx.Slot(k.roots.mind, prefixesSlot)
	if err != nil {
		return nil, 0, err
	}
	t, ok := v.(object.Tree)
	if !ok {
		return nil, 0, nil
	}
	mb, _, err := tx.Slot(k.roots.mind, keptSlot)
	if err != nil {
		return nil, 0, err
	}
	return tx.Tree(t), int64(max(0, float(mb)) * (1 << 20)), nil
}

func keptPrefixes(tree *image.Tree) ([]keptPrefix, error) {
	var out []keptPrefix
	for e, err := range tree.Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		d, ok := e.Value.(*object.Dict)
		if !ok {
			continue
		}
		f := fieldsOf(d)
		blob, ok := f.get("blob").(object.Blob)
		if !ok {
			continue
		}
		seal, _ := f.get("seal").(object.Bytes)
		out = append(out, keptPrefix{key: strOf(e.Key), adapter: f.str("adapter"), rank: intOf(f.get("rank")), blob: blob, seal: []byte(seal)})
	}
	slices.SortFunc(out, func(a, b keptPrefix) int { return cmp.Compare(a.rank, b.rank) })
	return out, nil
}

// prefixHost is the engine in use if it lends its kept states and this kernel
// may keep them.
func (k *Kernel) prefixHost() mind.PrefixHost {
	engine, _, _, err := k.core.use()
	if err != nil || len(k.config.PrefixKey) == 0 || k.safe != "" {
		return nil
	}
	h, _ := engine.(mind.PrefixHost)
	return h
}

// restorePrefixes gives a new engine the states that the image keeps. One that
// it does not take, or that is damaged, is passed over: it is computed again.
func (k *Kernel) restorePrefixes(ctx context.Context) {
	host := k.prefixHost()
	if host == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	var kept []keptPrefix
	err := k.im.View(ctx, func(tx *image.Tx) error {
		kept = nil
		tree, budget, err := k.prefixSetting(tx)
		if err != nil || tree == nil || budget == 0 {
			return err
		}
		kept, err = keptPrefixes(tree)
		return err
	})
	if err != nil {
		k.log.Warn("the kept beginnings of prompts cannot be read", "reason", err)
		return
	}
	for _, p := range slices.Backward(kept) { // what is given last counts as used last
		if err := k.restorePrefix(ctx, host, p); err != nil {
			k.log.Debug("a kept beginning of prompts is not used", "key", p.key[:min(12, len(p.key))], "reason", err)
		}
	}
}

func (k *Kernel) restorePrefix(ctx context.Context, host mind.PrefixHost, p keptPrefix) error {
	if !hmac.Equal(p.seal, k.sealOf(p.blob)) {
		return batos.Errorf(batos.Denied, "it was not kept by this image's own system")
	}
	src, err := k.im.OpenBlob(ctx, p.blob)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := memory.Scratch("prefix")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(src, 0, src.Size())); err != nil {
		return err
	}
	_, err = host.RestorePrefix(ctx, f)
	return err
}

// keepPrefixes keeps, before the engine stops, the states that were used last
// as far as the image wants them, and nothing else of before. A stop does not
// fail over it.
func (k *Kernel) keepPrefixes(ctx context.Context) {
	host := k.prefixHost()
	if host == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	if err := k.keepUsed(ctx, host); err != nil {
		k.log.Debug("beginnings of prompts are not kept", "reason", err)
	}
}

func (k *Kernel) keepUsed(ctx context.Context, host mind.PrefixHost) error {
	old := map[string]keptPrefix{}
	var budget int64
	err := k.im.View(ctx, func(tx *image.Tx) error {
		clear(old)
		tree, most, err := k.prefixSetting(tx)
		if err != nil || tree == nil {
			return err
		}
		budget = most
		all, err := keptPrefixes(tree)
		for _, p := range all {
			old[p.key] = p
		}
		return err
	})
	if err != nil || budget == 0 && len(old) == 0 {
		return err
	}
	var list []mind.Prefix
	if budget > 0 {
		if list, err = host.Prefixes(ctx); err != nil {
			return err
		}
	}
	var keep []keptPrefix
	changed := false
	for _, l := range list {
		if l.Bytes > budget {
			continue
		}
		p, known := old[l.Key]
		if !known || !hmac.Equal(p.seal, k.sealOf(p.blob)) {
			if p, err = k.savePrefix(ctx, host, l); err != nil {
				return err
			}
			changed = true
		}
		if p.blob.Size > budget {
			continue
		}
		budget -= p.blob.Size
		p.rank = int64(len(keep))
		keep = append(keep, p)
	}
	if !changed && len(keep) == len(old) { // in another order, perhaps: that is not worth a commit
		return nil
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "kernel", Note: "keep beginnings of prompts"})
		tree, _, err := k.prefixSetting(tx)
		if err != nil || tree == nil {
			return err
		}
		for key := range old {
			if _, err := tree.Delete(object.Str(key)); err != nil {
				return err
			}
		}
		for _, p := range keep {
			v := new(dict).set("blob", p.blob).str("adapter", p.adapter).int("rank", p.rank).set("seal", object.Bytes(k.sealOf(p.blob))).value()
			if err := tree.Set(object.Str(p.key), v); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (k *Kernel) savePrefix(ctx context.Context, host mind.PrefixHost, l mind.Prefix) (keptPrefix, error) {
	f, err := memory.Scratch("prefix")
	if err != nil {
		return keptPrefix{}, err
	}
	defer f.Close()
	if err := host.SavePrefix(ctx, l.Key, f); err != nil {
		return keptPrefix{}, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return keptPrefix{}, err
	}
	blob, err := k.im.NewBlob(ctx, io.NewSectionReader(f, 0, size))
	return keptPrefix{key: l.Key, adapter: l.Adapter, blob: blob}, err
}
