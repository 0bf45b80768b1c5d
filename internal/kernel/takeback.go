package kernel

import (
	"context"
	"slices"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

// UndoMission takes back what a mission brought about: the method it
// installed, and what the messages that had waited for it changed. Records
// stay, and the undo is recorded as a correction. The error is conflict, and
// nothing is changed, if somebody built on it since; it names what stands in
// the way.
func (k *Kernel) UndoMission(ctx context.Context, p Person, cycle batos.OID) (batos.TID, error) {
	m, err := k.Mission(ctx, cycle)
	if err != nil {
		return 0, err
	}
	if m.Version == 0 {
		return 0, batos.Errorf(batos.Conflict, "the mission %s installed nothing: it is %s", cycle, m.Status)
	}
	tids, err := k.deedsOf(ctx, cycle, m)
	if err != nil {
		return 0, err
	}
	tid, err := k.im.Update(ctx, func(tx *image.Tx) error {
		meta := p.meta("undo of mission " + cycle.String())
		meta.Undoes = tids[len(tids)-1]
		tx.SetMeta(meta)
		for _, tid := range tids {
			leave := func(oid batos.OID) (bool, error) { return k.isRecord(tx, oid) }
			if err := tx.Undo(tid, leave); err != nil {
				return err
			}
		}
		changes, err := tx.Changes()
		if err != nil {
			return err
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
	if batos.CodeOf(err) == batos.Conflict && m.Gone {
		return 0, batos.Errorf(batos.Conflict, "the method %s of the mission %s is not there any more: it was taken back or replaced since; see batos log %s", m.Selector, cycle, m.ReceiverName)
	}
	return tid, err
}

// deedsOf finds the transactions of a mission that changed the world: those in
// which its waiting messages were done, the newest first, then the install.
func (k *Kernel) deedsOf(ctx context.Context, cycle batos.OID, m Mission) ([]batos.TID, error) {
	var out []batos.TID
	for _, id := range m.Waiting {
		for rev, err := range k.im.History(ctx, recordOID(id)) {
			if err != nil {
				return nil, err
			}
			rec, err := k.record(ctx, id)
			if err != nil {
				return nil, err
			}
			if rec != nil && rec.State == batos.Done {
				out = append(out, rev.TID)
			}
			break
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	// The install is in the revision of the provenance that the docket's
	// mission made.
	provenance := batos.DeriveOID("provenance", cycle.String())
	for rev, err := range k.im.History(ctx, provenance) {
		if err != nil {
			return nil, err
		}
		return append(out, rev.TID), nil
	}
	return nil, batos.Errorf(batos.Packed, "what the mission %s installed is not known any more", cycle)
}

// ApproveOn is [Kernel.Approve] with the method put on a parent of the
// receiver instead, for all objects that delegate to it. A mission that has
// installed its method already has it moved there, as one transaction.
func (k *Kernel) ApproveOn(ctx context.Context, p Person, cycle batos.OID, parent batos.Ref) error {
	m, err := k.Mission(ctx, cycle)
	if err != nil {
		return err
	}
	var holder batos.OID
	err = k.im.View(ctx, func(tx *image.Tx) error {
		if holder, err = resolve(tx, parent); err != nil {
			return err
		}
		return mayLift(tx, m.Receiver, holder)
	})
	if err != nil {
		return err
	}
	if m.Status == "pending" {
		_, err = k.im.Update(ctx, func(tx *image.Tx) error {
			tx.SetMeta(p.meta("approve on " + holder.String()))
			d, err := loadDocket(tx, docketOID(cycle))
			if err != nil {
				return err
			}
			d.Lift = holder
			return d.save(tx)
		})
		if err != nil {
			return err
		}
		return k.Approve(ctx, p, cycle)
	}
	if m.Version == 0 {
		return batos.Errorf(batos.Conflict, "the mission %s has no method to put on a parent: it is %s", cycle, m.Status)
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("lift " + string(m.Selector) + " to " + holder.String()))
		v, ok, err := tx.Slot(m.Receiver, string(m.Selector))
		if err != nil {
			return err
		}
		method, is := v.(*object.Method)
		if !ok || !is || method.Mission != cycle {
			return batos.Errorf(batos.Conflict, "%s.%s is not what the mission %s wrote any more", m.ReceiverName, m.Selector, cycle)
		}
		if _, taken, err := tx.Slot(holder, string(m.Selector)); err != nil || taken {
			if taken {
				err = batos.Errorf(batos.Conflict, "the parent has a slot %s of its own", m.Selector)
			}
			return err
		}
		if err := exec.Install(tx, holder, method); err != nil {
			return err
		}
		return tx.DeleteSlot(m.Receiver, string(m.Selector))
	})
	return err
}

// mayLift demands that look-up from the receiver comes to the holder.
func mayLift(tx *image.Tx, receiver, holder batos.OID) error {
	found := false
	err := object.Walk(receiver, func(oid batos.OID) ([]batos.OID, bool, error) {
		if oid == holder && oid != receiver {
			found = true
			return nil, true, nil
		}
		parents, err := tx.Parents(oid)
		return parents, false, err
	})
	if err == nil && !found {
		err = batos.Errorf(batos.Invalid, "%s is no parent of %s", holder, receiver)
	}
	if err != nil {
		return err
	}
	p, err := tx.Protection(holder)
	if err == nil && p == object.Sealed {
		err = batos.Errorf(batos.Denied, "%s is sealed: only the kernel writes it", holder)
	}
	return err
}
