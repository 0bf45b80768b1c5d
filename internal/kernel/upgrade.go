package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// Upgrade is what a release changes in an image that an older one awakened.
// Genesis noted for every slot what it shipped; a slot that still holds that is
// replaced by what is shipped now, one that people or missions have changed
// stays.
type Upgrade struct {
	From, To string // releases of genesis
	TID      batos.TID
	Steps    []UpgradeStep // by object and slot; those that change nothing are left out
}

// UpgradeStep is one slot.
type UpgradeStep struct {
	Object, Slot  string
	Kind          UpgradeKind
	Before, After object.Value // nil: absent; After of a kept slot is what the release would have put there
}

// UpgradeKind says what becomes of a slot.
type UpgradeKind string

const (
	UpgradeAdds     UpgradeKind = "adds"
	UpgradeReplaces UpgradeKind = "replaces"
	UpgradeDrops    UpgradeKind = "drops"
	UpgradeKeeps    UpgradeKind = "keeps" // it was edited, and the release has something else
)

// Changes reports whether the upgrade changes any slot.
func (u *Upgrade) Changes() bool {
	return slices.ContainsFunc(u.Steps, func(s UpgradeStep) bool { return s.Kind != UpgradeKeeps })
}

// Kept lists the edited slots.
func (u *Upgrade) Kept() []string {
	var out []string
	for _, s := range u.Steps {
		if s.Kind == UpgradeKeeps {
			out = append(out, s.Object+"."+s.Slot)
		}
	}
	return out
}

// UpgradeGenesis brings the genesis objects of an image to this release, in
// one transaction that can be undone, or with dry only tells what it would do.
func UpgradeGenesis(ctx context.Context, im *image.Image, dry bool) (*Upgrade, error) {
	files, err := genesis.Files()
	if err != nil {
		return nil, err
	}
	return upgrade(ctx, im, files, genesis.Release, dry)
}

func upgrade(ctx context.Context, im *image.Image, files []genesis.File, release string, dry bool) (*Upgrade, error) {
	var u *upgrading
	run := func(tx *image.Tx) error {
		u = &upgrading{tx: tx, dry: dry, author: "genesis " + release, out: &Upgrade{To: release}}
		return u.all(files)
	}
	var err error
	if dry {
		err = im.View(ctx, run)
	} else {
		u = nil
		var tid batos.TID
		tid, err = im.Update(ctx, func(tx *image.Tx) error {
			if err := run(tx); err != nil {
				return err
			}
			tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: u.author, Note: "upgrade from genesis " + u.out.From + " to " + release})
			return nil
		})
		if err == nil {
			u.out.TID = tid
		}
	}
	if err != nil {
		return nil, err
	}
	return u.out, nil
}

// upgrading is an upgrade under way.
type upgrading struct {
	tx     *image.Tx
	dry    bool
	author string
	kernel batos.OID
	labels object.Tree
	out    *Upgrade
}

func (u *upgrading) all(files []genesis.File) error {
	var ok bool
	var err error
	if u.kernel, ok, err = u.tx.Name(rootName); err != nil {
		return err
	}
	if !ok {
		return batos.Errorf(batos.NotFound, "the image was not awakened yet; batos up does that")
	}
	k, err := u.tx.Load(u.kernel)
	if err != nil {
		return err
	}
	get := func(name string) object.Value { v, _ := k.Slot(name); return v }
	u.out.From = strOf(get("release"))
	u.labels, _ = get("labels").(object.Tree)
	if compareReleases(u.out.From, u.out.To) > 0 {
		return newerGenesis(u.out.From, u.out.To)
	}
	before := fieldsOf(get("shipped"))
	if err := u.objects(files); err != nil {
		return err
	}
	after := new(dict)
	for _, f := range files {
		hashes, err := u.file(f, fieldsOf(before.get(f.Name)))
		if err != nil {
			return batos.Errorf(batos.CodeOf(err), "%s: %w", f.Name, err)
		}
		after.set(f.Name, hashes)
	}
	if u.dry {
		return nil
	}
	if err := u.tx.SetSlot(u.kernel, "shipped", after.value()); err != nil {
		return err
	}
	if err := codexShips(u.tx, u.kernel, object.Time(time.Now().UnixMicro())); err != nil {
		return err
	}
	return u.tx.SetSlot(u.kernel, "release", object.Str(u.out.To))
}

// objects makes those that the release has and the image has not.
func (u *upgrading) objects(files []genesis.File) error {
	for _, f := range files {
		_, ok, err := u.tx.Name(f.Name)
		if err != nil {
			return err
		}
		if ok || u.dry {
			continue
		}
		oid, err := u.tx.Create(object.NewState(object.Protected, batos.Genesis))
		if err != nil {
			return err
		}
		if err := christen(u.tx, u.labels, f.Name, oid); err != nil {
			return err
		}
	}
	return nil
}

func (u *upgrading) find(name string) (batos.OID, error) {
	oid, ok, err := u.tx.Name(name)
	if err == nil && !ok {
		err = batos.Errorf(batos.NotFound, "no object is named %s", quote(name))
	}
	return oid, err
}

// file upgrades one object and gives what is shipped of it now.
func (u *upgrading) file(f genesis.File, before fields) (object.Value, error) {
	defs, err := method.ParseFile(f.Name+".star", f.Source)
	if err != nil {
		return nil, err
	}
	oid, exists, err := u.tx.Name(f.Name)
	if err != nil {
		return nil, err
	}
	hashes := new(dict)
	shipped := map[string]bool{}
	for _, d := range defs {
		if chosen(f.Name, d.Name) {
			continue
		}
		shipped[d.Name] = true
		is := hashOf(shippedForm(d))
		hashes.str(d.Name, is)
		var now object.Value
		if exists {
			if now, _, err = u.tx.Slot(oid, d.Name); err != nil {
				return nil, err
			}
		}
		if err := u.slot(f.Name, oid, d, now, before.str(d.Name), is); err != nil {
			return nil, err
		}
	}
	if !exists || before.d == nil {
		return hashes.value(), nil
	}
	for _, e := range before.d.Entries {
		name := strOf(e.Key)
		if shipped[name] || chosen(f.Name, name) {
			continue
		}
		if err := u.drop(f.Name, oid, name, strOf(e.Value)); err != nil {
			return nil, err
		}
	}
	return hashes.value(), nil
}

// chosen reports whether a slot holds a person's choice of a model, which no
// release touches.
func chosen(of, slot string) bool {
	return of == "pLLM_obj" && (slot == "model_id" || slot == "model_blob")
}

// slot does the one step for a slot that the release ships: was is the hash of
// what was shipped before, or "", is that of what is shipped now.
func (u *upgrading) slot(of string, oid batos.OID, d method.Def, now object.Value, was, is string) error {
	have := ""
	if now != nil {
		form, err := u.form(now)
		if err != nil {
			return err
		}
		have = hashOf(form)
	}
	kind := UpgradeReplaces
	switch {
	case have == is, was == is:
		return nil // up to date, or nothing new
	case have == "" && was == "":
		kind = UpgradeAdds
	case have != was:
		u.step(of, d.Name, UpgradeKeeps, now, shown(d))
		return nil
	}
	u.step(of, d.Name, kind, now, shown(d))
	if u.dry {
		return nil
	}
	return define(u.tx, oid, d, batos.Genesis, u.author, u.find)
}

// drop takes a slot away that the release no longer ships, unless it was
// edited.
func (u *upgrading) drop(of string, oid batos.OID, name, was string) error {
	now, ok, err := u.tx.Slot(oid, name)
	if err != nil || !ok {
		return err
	}
	form, err := u.form(now)
	if err != nil {
		return err
	}
	if hashOf(form) != was {
		u.step(of, name, UpgradeKeeps, now, nil)
		return nil
	}
	u.step(of, name, UpgradeDrops, now, nil)
	if u.dry {
		return nil
	}
	return u.tx.DeleteSlot(oid, name)
}

func (u *upgrading) step(of, slot string, kind UpgradeKind, before, after object.Value) {
	u.out.Steps = append(u.out.Steps, UpgradeStep{Object: of, Slot: slot, Kind: kind, Before: before, After: after})
}

// form is what [shippedForm] is of the definition that would give v.
func (u *upgrading) form(v object.Value) (string, error) {
	switch v := v.(type) {
	case *object.Method:
		return v.Source, nil
	case object.Tree:
		return "tree", nil
	case object.Ref:
		return nameOf(u.tx, batos.OID(v))
	case *object.List:
		var names []string
		for _, it := range v.Items {
			r, ok := it.(object.Ref)
			if !ok {
				return string(codec.EncodeValue(v)), nil
			}
			name, err := nameOf(u.tx, batos.OID(r))
			if err != nil {
				return "", err
			}
			names = append(names, name)
		}
		if len(names) > 0 {
			return strings.Join(names, " "), nil
		}
	}
	return string(codec.EncodeValue(v)), nil
}

// shown is a definition as a value, for people.
func shown(d method.Def) object.Value {
	switch d.Kind {
	case method.DefMethod:
		return object.Str(d.Source)
	case method.DefRef, method.DefRefs:
		return object.Str(strings.Join(d.Refs, " "))
	case method.DefTree:
		return object.Str("tree()")
	}
	return d.Value
}

func hashOf(form string) string {
	sum := sha256.Sum256([]byte(form))
	return hex.EncodeToString(sum[:8])
}

// compareReleases orders releases such as 0.1.0 by their numbers.
func compareReleases(a, b string) int {
	numbers := func(s string) []int {
		s, _, _ = strings.Cut(s, "-")
		var out []int
		for _, p := range strings.Split(s, ".") {
			n, _ := strconv.Atoi(p) // what is no number is before all
			out = append(out, n)
		}
		return out
	}
	return slices.Compare(numbers(a), numbers(b))
}

func newerGenesis(has, want string) error {
	return batos.Errorf(batos.NewerFormat, "the image is of genesis %s and this release ships %s: start it with the newer release, or look into it with --safe", has, want)
}

// checkGenesis compares the image with the release at a start: an image of a
// newer one, or one that needs a primitive this one lacks, is an error; an
// older one is upgraded, unless a person has undone that. In safe mode nothing
// is checked or changed.
func (k *Kernel) checkGenesis(ctx context.Context) error {
	if err := k.enterSafe(ctx); err != nil || k.safe != "" {
		return err
	}
	_, has, err := k.Awakened(ctx)
	if err != nil {
		return err
	}
	switch c := compareReleases(has, genesis.Release); {
	case c > 0:
		return newerGenesis(has, genesis.Release)
	case c < 0:
		if err := k.upgradeOnce(ctx); err != nil {
			return err
		}
	}
	return k.im.View(ctx, k.checkPrimitives)
}

func (k *Kernel) upgradeOnce(ctx context.Context) error {
	for rev, err := range k.im.History(ctx, k.roots.kernel) {
		if err != nil {
			return err
		}
		if rev.Meta.Undoes != 0 {
			k.log.Warn("the upgrade of genesis was undone and is not made again; batos image upgrade does it", "release", genesis.Release)
			return nil
		}
		break
	}
	u, err := UpgradeGenesis(ctx, k.im, false)
	if err != nil {
		return err
	}
	k.log.Info("genesis was upgraded", "from", u.From, "to", u.To, "transaction", u.TID)
	if kept := u.Kept(); len(kept) > 0 {
		k.log.Warn("slots that were edited stay as they are; see batos image upgrade --diff", "slots", strings.Join(kept, ", "))
	}
	return nil
}

// checkPrimitives demands every primitive that a genesis object holds.
func (k *Kernel) checkPrimitives(tx *image.Tx) error {
	files, err := genesis.Files()
	if err != nil {
		return err
	}
	for _, f := range files {
		oid, ok, err := tx.Name(f.Name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		s, err := tx.Load(oid)
		if err != nil {
			return err
		}
		for _, sl := range s.Slots() {
			if p, ok := sl.Value.(object.Primitive); ok && !k.knows(string(p)) {
				return batos.Errorf(batos.NewerFormat, "%s.%s needs the primitive %q, which this release does not have: start the image with the release that made it, or with --safe", f.Name, sl.Name, string(p))
			}
		}
	}
	return nil
}

func (k *Kernel) knows(p string) bool { return p == exec.DoesNotUnderstand || k.runner.HasPrimitive(p) }
