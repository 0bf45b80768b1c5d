package kernel

import (
	"context"
	"strconv"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// park turns a message that was not understood into one that waits: it joins
// the open mission for the same selector on the same receiver, or begins one.
// Message, mission and the mission's first step become durable in one commit.
func (k *Kernel) park(ctx context.Context, f *flight, missing *method.NotUnderstood) error {
	_, profile, _, offline := k.core.use()
	who, err := k.label(ctx, missing.Receiver)
	if err != nil {
		return err
	}
	not := who + " does not understand " + strconv.Quote(string(missing.Selector))
	switch {
	case f.rec.Cycle != 0:
		return batos.Errorf(batos.DoesNotUnderstand, "%s", not)
	case !f.rec.Synthesis:
		return batos.Errorf(batos.DoesNotUnderstand, "%s, and this request may not have methods written", not)
	case offline != nil:
		return batos.Errorf(batos.Offline, "%s, and the %w", not, offline)
	case !profile.Serves("method"):
		return batos.Errorf(batos.Offline, "%s, and the model in use does not write methods", not)
	}

	k.missions.Lock()
	defer k.missions.Unlock()
	key := missionKey(missing.Receiver, missing.Selector, len(missing.Args), missing.Kwargs)
	var cycle batos.OID
	var first []*record
	booked, pending := false, false
	before, rec := f.rec, *f.rec
	err = k.once(ctx, func(tx *image.Tx) error {
		if _, _, found, err := exec.Answering(tx, missing.Receiver, missing.Selector); err != nil || found {
			if found { // it was written meanwhile: run again
				err = batos.Errorf(batos.Conflict, "%s learned %q meanwhile", who, missing.Selector)
			}
			return err
		}
		v, ok, err := tx.Tree(k.roots.open).Get(object.Str(key))
		if err != nil {
			return err
		}
		var d *docket
		if ok {
			if d, err = loadDocket(tx, refOf(v)); err != nil {
				return err
			}
		} else {
			if err := f.ledger.mission(); err != nil {
				return err
			}
			booked = true
			if k.shared(f) {
				if err := (spending{missions: 1}).note(tx, rec.Lineage); err != nil {
					return err
				}
			}
			if d, first, err = k.begin(ctx, tx, f, missing, key); err != nil {
				return err
			}
		}
		d.Waiting = append(d.Waiting, rec.ID)
		cycle, pending = d.Cycle, d.State == "pending"
		if err := d.save(tx); err != nil {
			return err
		}
		rec.State, rec.Waits, rec.Left = batos.Parked, docketOID(d.Cycle), f.ledger.have()
		tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: "parked for " + string(missing.Selector)})
		if err := k.enlist(tx, &rec); err != nil {
			return err
		}
		f.parkFor(cycle, &rec)
		return nil
	})
	if err != nil {
		if booked {
			f.ledger.noMission()
		}
		f.goOn(before, batos.Running)
		return err
	}
	f.stored.Store(true)
	if pending {
		f.pending(cycle)
	}
	k.Events.publish(Event{Kind: "mission", Mission: cycle, Message: rec.ID, Data: new(dict).str("receiver", who).
		str("selector", string(missing.Selector)).bool("joined", len(first) == 0).value()})
	for _, r := range first {
		k.take(r)
	}
	return nil
}

// once is Update without a retry: on a conflict the message itself must run
// again, since what it saw may have changed.
func (k *Kernel) once(ctx context.Context, fn func(*image.Tx) error) error {
	tx, err := k.im.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Abort()
	if err := fn(tx); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}

// missionMessage names the message that begins a mission. The ids of the
// mission's own messages descend from it, and a message may need more than one
// mission in its life: each begins on a snapshot of its own.
func missionMessage(id batos.MessageID, at batos.TID) batos.MessageID {
	return id + "/mission/" + batos.MessageID(at.String())
}

// begin makes a mission by sending the orchestrator its message, in the
// caller's transaction. It answers the docket, not yet saved, and the messages
// that the cycle sent for later.
func (k *Kernel) begin(ctx context.Context, tx *image.Tx, f *flight, missing *method.NotUnderstood, key string) (*docket, []*record, error) {
	brief, err := briefOf(tx, missing.Receiver, missing.Selector, missing.Args, missing.Kwargs)
	if err != nil {
		return nil, nil, err
	}
	args := codec.EncodeArgs([]object.Value{brief, object.Ref(missing.Receiver)}, nil)
	m := batos.Message{
		ID: missionMessage(f.rec.ID, tx.Snapshot()), Lineage: f.rec.Lineage, Sender: "kernel", Target: k.roots.orchestrator,
		Selector: "start_cognitive_cycle_for_", Args: args, Authority: batos.Genesis,
	}
	out := k.runner.Run(ctx, tx, exec.Request{Message: m, Lineage: f.ledger.have()})
	if out.Status != exec.Done {
		err := out.Err
		if err == nil {
			err = batos.Errorf(batos.Invalid, "it %s instead of answering", out.Status)
		}
		return nil, nil, batos.Errorf(batos.MissionFailed, "the orchestrator could not begin a mission: %w", err)
	}
	cycle := refOf(out.Value)
	if cycle == 0 {
		return nil, nil, batos.Errorf(batos.MissionFailed, "the orchestrator did not answer with a mission")
	}
	d := &docket{Cycle: cycle, Key: key, Receiver: missing.Receiver, Selector: missing.Selector, State: "open", Began: k.now(), Args: codec.EncodeArgs(missing.Args, missing.Kwargs)}
	doc := object.Ref(docketOID(cycle))
	if err := tx.Tree(k.roots.open).Set(object.Str(key), doc); err != nil {
		return nil, nil, err
	}
	if err := tx.Tree(k.roots.missions).Set(object.NewInt(int64(cycle)), doc); err != nil {
		return nil, nil, err
	}
	var first []*record
	for _, m := range out.Outbox {
		r := &record{Message: m, Cycle: cycle, State: batos.Queued, Received: k.now(), Left: f.ledger.have()}
		if err := k.enlist(tx, r); err != nil {
			return nil, nil, err
		}
		first = append(first, r)
	}
	return d, first, nil
}

// wake lets a parked message go on.
func (k *Kernel) wake(id batos.MessageID) {
	k.mu.Lock()
	f := k.flights[id]
	k.mu.Unlock()
	if f == nil {
		return
	}
	rec, err := k.record(k.live(), id)
	if err != nil || rec == nil {
		k.log.Error("a message that should go on has no record", "message", id, "error", err)
		return
	}
	f.stored.Store(true)
	f.goOn(rec, rec.State)
	k.start(f)
}

// endMission closes a mission's books in tx: the docket, the index of open
// missions, and everyone who waits. It answers who goes on and who failed.
func (k *Kernel) endMission(tx *image.Tx, d *docket, status string, failure *batos.Error) (woken []batos.MessageID, failed []Outcome, err error) {
	d.State, d.Ended, d.Err = status, k.now(), failure
	if _, err := tx.Tree(k.roots.open).Delete(object.Str(d.Key)); err != nil {
		return nil, nil, err
	}
	for _, id := range d.Waiting {
		rec, err := loadRecord(tx, id)
		if err != nil {
			return nil, nil, err
		}
		if rec == nil || rec.State != batos.Parked {
			continue
		}
		own := failure
		if status == "complete" {
			verdict, err := k.verdictFor(tx, d, id)
			if err != nil {
				return nil, nil, err
			}
			if verdict != nil && verdict.OK {
				rec.State, rec.Waits, rec.Verdict = batos.Queued, 0, verdict.OID
				rec.Journal = append(rec.Journal, verdict.Effects...)
				if err := rec.save(tx); err != nil {
					return nil, nil, err
				}
				woken = append(woken, id)
				continue
			}
			if verdict == nil { // it joined after the trial: as if it had come after the install
				rec.State, rec.Waits = batos.Queued, 0
				if err := rec.save(tx); err != nil {
					return nil, nil, err
				}
				woken = append(woken, id)
				continue
			}
			own = verdict.Err
		}
		if own == nil {
			own = batos.Errorf(batos.Cancelled, "the mission for %q was cancelled", d.Selector)
		}
		rec.State, rec.Err, rec.Journal, rec.Waits, rec.Finished = batos.Failed, own, nil, 0, k.now()
		if own.Code == batos.Cancelled {
			rec.State = batos.Ended
		}
		if err := rec.save(tx); err != nil {
			return nil, nil, err
		}
		if err := k.delist(tx, id); err != nil {
			return nil, nil, err
		}
		failed = append(failed, outcomeOf(rec))
	}
	return woken, failed, d.save(tx)
}

// abandonMission ends the mission of a step that failed: a state whose own
// method raised, or an effect that could not be had. It answers false when
// the step's mission is over anyway.
func (k *Kernel) abandonMission(f *flight, failure *batos.Error) bool {
	k.missions.Lock()
	defer k.missions.Unlock()
	var t *turn
	rec := *f.rec
	rec.State, rec.Err, rec.Journal, rec.Finished = batos.Failed, failure, nil, k.now()
	if failure.Code == batos.Cancelled {
		rec.State = batos.Ended
	}
	over := false
	_, err := k.im.Update(k.live(), func(tx *image.Tx) (err error) {
		if t, err = k.abandon(tx, f.cycle, rec.ID, failure); err != nil {
			return err
		}
		if over = t == nil; over {
			return nil
		}
		if err := rec.save(tx); err != nil {
			return err
		}
		return k.delist(tx, rec.ID)
	})
	if err != nil {
		k.stopped(f, err)
		return true
	}
	if over {
		return false
	}
	f.rec = &rec
	k.after(t, nil)
	k.land(f, outcomeOf(&rec))
	return true
}

// abandon ends a mission in tx without its workflow, and answers what is to be
// done once that is committed; nil if the mission is over.
func (k *Kernel) abandon(tx *image.Tx, cycle batos.OID, by batos.MessageID, failure *batos.Error) (*turn, error) {
	d, err := loadDocket(tx, docketOID(cycle))
	if batos.CodeOf(err) == batos.NotFound || err == nil && !d.open() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "kernel", Message: by, Note: "mission ended"})
	reason := batos.Errorf(batos.MissionFailed, "the mission for %q failed in a step of its workflow: %s", d.Selector, failure.Text)
	status, state := "failed", "FAILED"
	if failure.Code == batos.Cancelled {
		reason, status, state = nil, "cancelled", "CANCELLED"
	} else if failure.Code == batos.Offline || failure.Code == batos.Limit || failure.Code == batos.Timeout {
		reason.Code = failure.Code
	}
	t := &turn{kernel: k}
	if t.woken, t.failed, err = k.endMission(tx, d, status, reason); err != nil {
		return nil, err
	}
	t.events = []Event{{Kind: "state", Mission: d.Cycle, Data: new(dict).str("state", state).str("error", failure.Text).value()}}
	return t, k.leaveCycle(tx, d.Cycle, state)
}

// closeMission cancels a mission whose own workflow cannot end it.
func (k *Kernel) closeMission(cycle batos.OID) error {
	k.missions.Lock()
	defer k.missions.Unlock()
	var t *turn
	_, err := k.im.Update(k.live(), func(tx *image.Tx) (err error) {
		t, err = k.abandon(tx, cycle, "", batos.Errorf(batos.Cancelled, "the mission was cancelled"))
		return err
	})
	if err == nil && t != nil {
		k.after(t, nil)
	}
	return err
}

// leaveCycle puts a cycle into an end state without asking its methods.
func (k *Kernel) leaveCycle(tx *image.Tx, cycle batos.OID, state string) error {
	v, ok, err := tx.Slot(k.roots.states, state)
	if err != nil {
		return err
	}
	if ok {
		in, err := stateSlot(tx, cycle)
		if err != nil {
			return err
		}
		if err := tx.SetSlot(cycle, in, v); err != nil {
			return err
		}
	}
	cycles, ok, err := tx.Slot(k.roots.active, "cycles")
	if err != nil || !ok {
		return err
	}
	tree, ok := cycles.(object.Tree)
	if !ok {
		return nil
	}
	if _, err := tx.Tree(tree).Delete(object.NewInt(int64(cycle))); err != nil {
		return err
	}
	finished, ok, err := tx.Slot(k.roots.active, "finished")
	if err != nil || !ok {
		return err
	}
	if tree, ok = finished.(object.Tree); !ok {
		return nil
	}
	return tx.Tree(tree).Set(object.NewInt(int64(cycle)), object.Ref(cycle))
}
