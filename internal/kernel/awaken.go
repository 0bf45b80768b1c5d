package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// rootName is the object that holds the kernel's own trees.
const rootName = "kernel_obj"

// roots are the objects and trees the kernel itself works with.
type roots struct {
	kernel, genesis, traits, mind, orchestrator, states, active batos.OID

	live        object.Tree // message id -> record, of messages that are not final
	open        object.Tree // mission key -> docket, of missions under way
	missions    object.Tree // cycle -> docket, of all missions
	labels      object.Tree // object -> its root name
	corrections object.Tree // time -> correction
	samples     object.Tree // method and number -> sample of what it did
}

// ModelSource is a model file to import at the first awakening.
type ModelSource struct {
	ID   string
	Open func() (io.ReadCloser, error)
}

// awaken makes the primordial objects of a new image, in one transaction with
// the model, and finds the roots of any image.
func (k *Kernel) awaken(ctx context.Context) error {
	fresh := false
	err := k.im.View(ctx, func(tx *image.Tx) error {
		_, ok, err := tx.Name(rootName)
		fresh = !ok
		return err
	})
	if err != nil {
		return err
	}
	if fresh {
		if err := k.create(ctx); err != nil {
			return err
		}
	}
	return k.im.View(ctx, k.findRoots)
}

// Awakened reports when the image was first awakened and by which release.
func (k *Kernel) Awakened(ctx context.Context) (at object.Time, release string, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		v, _, err := tx.Slot(k.roots.kernel, "awakened")
		if err != nil {
			return err
		}
		at, _ = v.(object.Time)
		v, _, err = tx.Slot(k.roots.kernel, "release")
		release = strOf(v)
		return err
	})
	return at, release, err
}

func (k *Kernel) create(ctx context.Context) error {
	files, err := genesis.Files()
	if err != nil {
		return err
	}
	var blob object.Value = object.None{}
	var id object.Value = object.None{}
	if k.config.Model != nil {
		r, err := k.config.Model.Open()
		if err != nil {
			return batos.Errorf(batos.NotFound, "the model cannot be opened: %w", err)
		}
		b, err := k.im.NewBlob(ctx, r)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		blob, id = b, object.Str(k.config.Model.ID)
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "genesis " + genesis.Release, Note: "prototypal awakening"})
		var trees []object.Slot
		for _, name := range []string{"live", "open", "missions", "labels", "corrections", "samples"} {
			t, err := tx.NewTree()
			if err != nil {
				return err
			}
			trees = append(trees, object.Slot{Name: name, Value: t})
		}
		labels := trees[3].Value.(object.Tree)
		slots := append([]object.Slot{
			{Name: "kind", Value: object.Str("kernel")},
			{Name: "awakened", Value: k.now()},
			{Name: "release", Value: object.Str(genesis.Release)},
		}, trees...)
		kernel, err := tx.Create(object.NewState(object.Sealed, batos.Genesis, slots...))
		if err != nil {
			return err
		}
		if err := christen(tx, labels, rootName, kernel); err != nil {
			return err
		}
		if err := k.createObjects(tx, files, kernel, labels, map[string]object.Value{"model_id": id, "model_blob": blob}); err != nil {
			return err
		}
		return codexShips(tx, kernel, k.now())
	})
	return err
}

// createObjects makes one protected object of each file; given replaces what
// the file of pLLM_obj says of the model.
func (k *Kernel) createObjects(tx *image.Tx, files []genesis.File, kernel batos.OID, labels object.Tree, given map[string]object.Value) error {
	oids := map[string]batos.OID{}
	for _, f := range files {
		oid, err := tx.Create(object.NewState(object.Protected, batos.Genesis))
		if err != nil {
			return err
		}
		if err := christen(tx, labels, f.Name, oid); err != nil {
			return err
		}
		oids[f.Name] = oid
	}
	find := func(name string) (batos.OID, error) {
		if oid, ok := oids[name]; ok {
			return oid, nil
		}
		return 0, batos.Errorf(batos.NotFound, "no object is named %s", quote(name))
	}
	shipped := new(dict)
	for _, f := range files {
		defs, err := method.ParseFile(f.Name+".star", f.Source)
		if err != nil {
			return err
		}
		hashes := new(dict)
		for _, d := range defs {
			if v, ok := given[d.Name]; ok && f.Name == "pLLM_obj" {
				if err := tx.SetSlot(oids[f.Name], d.Name, v); err != nil {
					return err
				}
				continue
			}
			if err := define(tx, oids[f.Name], d, batos.Genesis, "genesis "+genesis.Release, find); err != nil {
				return batos.Errorf(batos.CodeOf(err), "%s: %w", f.Name, err)
			}
			sum := sha256.Sum256([]byte(shippedForm(d)))
			hashes.str(d.Name, hex.EncodeToString(sum[:8]))
		}
		shipped.set(f.Name, hashes.value())
	}
	return tx.SetSlot(kernel, "shipped", shipped.value())
}

// shippedForm is what a slot's hash is taken of, to tell later whether people
// edited what genesis made.
func shippedForm(d method.Def) string {
	switch d.Kind {
	case method.DefMethod:
		return d.Source
	case method.DefRef, method.DefRefs:
		return strings.Join(d.Refs, " ")
	case method.DefTree:
		return "tree"
	}
	return string(codec.EncodeValue(d.Value))
}

// define makes one slot of oid from a parsed definition.
func define(tx *image.Tx, oid batos.OID, d method.Def, author batos.Authority, name string, find func(string) (batos.OID, error)) error {
	switch d.Kind {
	case method.DefMethod:
		sel, err := batos.ParseSelector(d.Name)
		if err != nil {
			return err
		}
		return exec.Install(tx, oid, &object.Method{Selector: sel, Source: d.Source, Author: author, AuthorName: name})
	case method.DefTree:
		t, err := tx.NewTree()
		if err != nil {
			return err
		}
		return tx.SetSlot(oid, d.Name, t)
	case method.DefRef, method.DefRefs:
		l := &object.List{}
		for _, n := range d.Refs {
			target, err := find(n)
			if err != nil {
				return err
			}
			l.Items = append(l.Items, object.Ref(target))
		}
		if d.Kind == method.DefRef || len(l.Items) == 1 && object.IsParent(d.Name) {
			return tx.SetSlot(oid, d.Name, l.Items[0])
		}
		return tx.SetSlot(oid, d.Name, l)
	}
	return tx.SetSlot(oid, d.Name, d.Value)
}

func (k *Kernel) findRoots(tx *image.Tx) error {
	r := &k.roots
	for _, n := range []struct {
		name string
		oid  *batos.OID
	}{
		{rootName, &r.kernel}, {"genesis_obj", &r.genesis}, {"traits_obj", &r.traits}, {"pLLM_obj", &r.mind},
		{"orchestrator_obj", &r.orchestrator}, {"psm_prototypes_obj", &r.states}, {"active_cycles", &r.active},
	} {
		oid, ok, err := tx.Name(n.name)
		if err != nil {
			return err
		}
		if !ok {
			return batos.Errorf(batos.Corrupt, "the image has no object named %s; it cannot be awakened", n.name)
		}
		*n.oid = oid
	}
	for _, n := range []struct {
		name string
		tree *object.Tree
	}{
		{"live", &r.live}, {"open", &r.open}, {"missions", &r.missions}, {"labels", &r.labels},
		{"corrections", &r.corrections}, {"samples", &r.samples},
	} {
		v, _, err := tx.Slot(r.kernel, n.name)
		if err != nil {
			return err
		}
		t, ok := v.(object.Tree)
		if !ok {
			return batos.Errorf(batos.Corrupt, "%s has no tree %q", rootName, n.name)
		}
		*n.tree = t
	}
	return nil
}
