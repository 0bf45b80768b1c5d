package kernel

import (
	"context"
	"slices"
	"time"

	"batos"
	"batos/image"
	"batos/object"
)

// LogEntry is one transaction as people see it.
type LogEntry struct {
	TID     batos.TID
	Meta    image.Meta
	Objects []Named // that it wrote or ended
	Trees   []batos.OID
	Slots   []string // of the one object that was asked about: what changed in it
	Deleted bool     // that object ended
}

// Log lists transactions, the newest first: those that wrote the target, or
// all if it is zero, not after before (zero: now), at most limit of them.
func (k *Kernel) Log(ctx context.Context, target batos.Ref, before batos.TID, limit int) ([]LogEntry, error) {
	if before == 0 {
		before = k.im.LastTID()
	}
	if target != (batos.Ref{}) {
		return k.logOf(ctx, target, before, limit)
	}
	all, err := k.newest(ctx, before, limit)
	if err != nil {
		return nil, err
	}
	var out []LogEntry
	err = k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		for _, t := range all {
			e := LogEntry{TID: t.TID, Meta: t.Meta, Trees: t.Trees}
			for _, oid := range t.Objects {
				name, err := nameOf(tx, oid)
				if err != nil {
					return err
				}
				e.Objects = append(e.Objects, Named{oid, name})
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// newest gives the newest limit transactions not after before. The log reads
// forward only, so it looks at longer and longer stretches of time.
func (k *Kernel) newest(ctx context.Context, before batos.TID, limit int) ([]image.Transaction, error) {
	for span := batos.TID(time.Minute.Microseconds()); ; span *= 8 {
		from := batos.TID(0)
		if span < before {
			from = before - span
		}
		var out []image.Transaction
		for t, err := range k.im.Log(ctx, from, before) {
			if err != nil {
				return nil, err
			}
			if out = append(out, t); len(out) >= 2*limit {
				out = slices.Delete(out, 0, len(out)-limit)
			}
		}
		if len(out) >= limit || from == 0 {
			out = out[max(0, len(out)-limit):]
			slices.Reverse(out)
			return out, nil
		}
	}
}

func (k *Kernel) logOf(ctx context.Context, target batos.Ref, before batos.TID, limit int) ([]LogEntry, error) {
	var oid batos.OID
	var name string
	err := k.im.View(ctx, func(tx *image.Tx) (err error) {
		if oid, err = resolve(tx, target); err != nil {
			return err
		}
		name, err = nameOf(tx, oid)
		return err
	})
	if err != nil && target.OID == 0 {
		if oid, err = batos.ParseOID(target.Name); err != nil || oid == 0 {
			return nil, batos.Errorf(batos.NotFound, "no object is named %s; one that is gone is found by its oid", quote(target.Name))
		}
	}
	if name == "" {
		name = oid.String()
	}
	var out []LogEntry
	var later *image.Revision // the one that came after
	tell := func(r *image.Revision) {
		if later == nil || later.TID > before || len(out) == limit {
			return
		}
		e := LogEntry{TID: later.TID, Meta: later.Meta, Objects: []Named{{oid, name}}, Deleted: later.Deleted}
		e.Slots = changedSlots(r, later)
		out = append(out, e)
	}
	for r, err := range k.im.History(ctx, oid) {
		if err != nil {
			return nil, err
		}
		tell(&r)
		if later = &r; len(out) == limit {
			return out, nil
		}
	}
	tell(&image.Revision{Deleted: true})
	return out, nil
}

// changedSlots names the slots that differ, in order.
func changedSlots(was, is *image.Revision) []string {
	var out []string
	if is.State != nil {
		for _, sl := range is.State.Slots() {
			var before object.Value
			if was.State != nil {
				before, _ = was.State.Slot(sl.Name)
			}
			if !object.Equal(before, sl.Value) {
				out = append(out, sl.Name)
			}
		}
	}
	if was.State != nil && is.State != nil {
		for _, sl := range was.State.Slots() {
			if is.State.Index(sl.Name) < 0 {
				out = append(out, sl.Name)
			}
		}
	}
	return out
}

// Difference is what two moments differ in.
type Difference struct {
	From, To batos.TID
	Changes  []image.Change
	Names    map[batos.OID]string // of the objects that changed
}

// Diff compares the image as it was right after two transactions.
func (k *Kernel) Diff(ctx context.Context, from, to batos.TID) (*Difference, error) {
	if to == 0 {
		to = k.im.LastTID()
	}
	changes, err := k.im.Diff(ctx, from, to)
	if err != nil {
		return nil, err
	}
	d := &Difference{From: from, To: to, Changes: changes, Names: map[batos.OID]string{}}
	err = k.im.View(ctx, func(tx *image.Tx) error {
		for _, c := range changes {
			name, err := nameOf(tx, c.OID)
			if err != nil {
				return err
			}
			if name != c.OID.String() {
				d.Names[c.OID] = name
			}
		}
		return nil
	})
	return d, err
}

// Undo takes back what a transaction did to people's and genesis' objects.
// Records of what happened stay: messages, missions and where methods came
// from. Taking back a method that a mission wrote is recorded as a correction.
func (k *Kernel) Undo(ctx context.Context, p Person, tid batos.TID) (batos.TID, error) {
	return k.im.Update(ctx, func(tx *image.Tx) error {
		m := p.meta("undo " + tid.String())
		m.Undoes = tid
		tx.SetMeta(m)
		if err := tx.Undo(tid, func(oid batos.OID) (bool, error) { return k.isRecord(tx, oid) }); err != nil {
			return err
		}
		changes, err := tx.Changes()
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return batos.Errorf(batos.Conflict, "%s changed nothing that can be undone: it only recorded what happened", tid)
		}
		for _, c := range changes {
			for _, s := range c.Slots {
				if err := k.correct(tx, p, "undo", c.OID, s.Name, s.Before, s.After); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// isRecord reports whether an object or tree is the kernel's record of what
// happened, and no state of the world.
func (k *Kernel) isRecord(tx *image.Tx, oid batos.OID) (bool, error) {
	r := &k.roots
	if slices.Contains([]object.Tree{r.live, r.open, r.missions, r.corrections, r.samples}, object.Tree(oid)) {
		return true, nil
	}
	if oid == r.kernel {
		return false, nil
	}
	if mission, err := tx.Exists(docketOID(oid)); err != nil || mission {
		return mission, err
	}
	p, err := tx.Protection(oid)
	if batos.CodeOf(err) == batos.NotFound { // a tree, or an object that is gone
		return false, nil
	}
	return p == object.Sealed, err
}
