package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"

	"batos"
	"batos/image"
	"batos/object"
)

// hashSlot is pLLM_obj's tree of adapters' names by content hash, and by
// [sourceKey] for those that were converted. It only speeds up a look-up: what
// it says is compared with lora_repository, from which a method may have taken
// an adapter out.
const hashSlot = "adapter_hashes"

// hashIndex is the tree of names by hash, or nil in an image of an older
// genesis. An empty one beside adapters is filled if fill is set.
func (k *Kernel) hashIndex(tx *image.Tx, repository *image.Tree, fill bool) (*image.Tree, error) {
	v, _, err := tx.Slot(k.roots.mind, hashSlot)
	if err != nil {
		return nil, err
	}
	t, ok := v.(object.Tree)
	if !ok {
		return nil, nil
	}
	index := tx.Tree(t)
	if _, _, some, err := index.Min(); err != nil || some {
		return index, err
	}
	if !fill {
		return nil, nil
	}
	names, err := walkHashes(tx, repository)
	if err != nil {
		return nil, err
	}
	for hash, name := range names {
		if err := index.Set(object.Str(hash), object.Str(name)); err != nil {
			return nil, err
		}
	}
	return index, nil
}

// sourceKey names what an adapter was converted from: the bytes of its
// matrices, its configuration, and the model that it was converted for.
func sourceKey(weights [sha256.Size]byte, config, base string) string {
	h := sha256.New()
	h.Write(weights[:])
	io.WriteString(h, config)
	return "from " + base + " " + hex.EncodeToString(h.Sum(nil))
}

// keysOf are the keys of a proxy: one, or two if it was converted.
func keysOf(tx *image.Tx, oid batos.OID) ([]string, error) {
	st, err := tx.Load(oid)
	if err != nil {
		return nil, err
	}
	get := func(name string) object.Value { v, _ := st.Slot(name); return v }
	keys := []string{strOf(get("content_hash"))}
	if b, ok := get("source_blob").(object.Blob); ok {
		keys = append(keys, sourceKey(b.Hash, strOf(get("source_config")), strOf(get("base_hash"))))
	}
	return keys, nil
}

// walkHashes reads every adapter's keys.
func walkHashes(tx *image.Tx, repository *image.Tree) (map[string]string, error) {
	out := map[string]string{}
	for e, err := range repository.Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		keys, err := keysOf(tx, refOf(e.Value))
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			out[key] = strOf(e.Key)
		}
	}
	return out, nil
}

// knownSource finds the adapter that came from the same files for the model in
// use, so that they need not be converted again.
func (k *Kernel) knownSource(ctx context.Context, baseHash string, s AdapterSource) (a Adapter, found bool, err error) {
	if s.Config == nil {
		return a, false, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(s.Weights, 0, s.Size)); err != nil {
		return a, false, batos.Errorf(batos.Invalid, "%s: %w", s.Origin, err)
	}
	key := sourceKey([sha256.Size]byte(h.Sum(nil)), configText(s.Config), baseHash)
	err = k.im.View(ctx, func(tx *image.Tx) error {
		repository, err := k.repository(tx)
		if err != nil {
			return err
		}
		index, err := k.hashIndex(tx, repository, false)
		if err != nil {
			return err
		}
		oid, known, err := findContent(tx, repository, index, key)
		if err != nil || !known {
			return err
		}
		found = true
		a, err = k.adapterOf(tx, oid, baseHash)
		return err
	})
	return a, found, err
}

// namedIn gives the name and the object of the adapter with that key, if the
// repository still has it.
func namedIn(tx *image.Tx, repository, index *image.Tree, key string) (name string, oid batos.OID, found bool, err error) {
	v, ok, err := index.Get(object.Str(key))
	if err != nil || !ok {
		return "", 0, false, err
	}
	ref, ok, err := repository.Get(v)
	if err != nil || !ok {
		return "", 0, false, err
	}
	keys, err := keysOf(tx, refOf(ref))
	if err != nil || !slices.Contains(keys, key) {
		return "", 0, false, err
	}
	return strOf(v), refOf(ref), true, nil
}

// findContent gives the adapter with that key; without an index it walks.
func findContent(tx *image.Tx, repository, index *image.Tree, key string) (batos.OID, bool, error) {
	if index != nil {
		_, oid, found, err := namedIn(tx, repository, index, key)
		return oid, found, err
	}
	names, err := walkHashes(tx, repository)
	if err != nil || names[key] == "" {
		return 0, false, err
	}
	ref, ok, err := repository.Get(object.Str(names[key]))
	return refOf(ref), ok, err
}

// adapterNames gives the names of adapters with these contents, by hash.
func (k *Kernel) adapterNames(tx *image.Tx, hashes []string) (map[string]string, error) {
	repository, err := k.repository(tx)
	if err != nil {
		return nil, err
	}
	index, err := k.hashIndex(tx, repository, false)
	if err != nil {
		return nil, err
	}
	if index == nil {
		return walkHashes(tx, repository)
	}
	out := map[string]string{}
	for _, h := range hashes {
		name, _, found, err := namedIn(tx, repository, index, h)
		if err != nil {
			return nil, err
		}
		if found {
			out[h] = name
		}
	}
	return out, nil
}
