package kernel

import (
	"context"
	"errors"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

// conflictRetries is how often a message runs again because others committed
// first. Each retry means that somebody else made progress.
const conflictRetries = 32

// turn is one run of a message and what its primitives leave for after the
// commit. It travels in the run's context.
type turn struct {
	kernel *Kernel
	flight *flight
	events []Event
	woken  []batos.MessageID // parked messages that may go on
	failed []Outcome         // parked messages that ended with the mission
	ask    []batos.MessageID // parked messages whose mission awaits a person
	cycle  batos.OID         // that mission
	ahead  []string          // personas that are asked next
}

type turnKey struct{}

// turnOf finds the turn of a primitive's call.
func turnOf(c *exec.Call) *turn {
	t, _ := c.Context().Value(turnKey{}).(*turn)
	return t
}

// process carries out f, whose turn it is, and then those behind it in line:
// one goroutine for all that comes to a receiver while it is busy.
//
// A message holds its receiver's mailbox while it runs and at no other time:
// effects and missions are waited for outside. The place in line was taken when
// the message was: so messages of one sender to one receiver begin in the order
// in which they came.
func (k *Kernel) process(f *flight) {
	for f != nil {
		wanted := k.attempt(k.live(), f)
		next := k.boxes.leave(f.rec.Target)
		if wanted != nil {
			if next != nil {
				go k.process(next)
			}
			k.goOnAfter(f, wanted)
			next = nil
		}
		k.work.Done()
		f = next
	}
}

// goOnAfter takes f from an effect that it wants to its end, or to where it
// must wait. A step of this loop is: do the effect; wait for a turn; run in a
// fresh transaction; commit, or keep what must survive.
func (k *Kernel) goOnAfter(f *flight, wanted *exec.WantedEffect) {
	for wanted != nil && k.carryOut(f, wanted) {
		if err := k.boxes.await(k.ctx, f.rec.Target, f.stored.Load()); err != nil {
			k.interrupted(f, err)
			return
		}
		wanted = k.attempt(k.live(), f)
		if next := k.boxes.leave(f.rec.Target); next != nil {
			go k.process(next)
		}
	}
}

// interrupted ends f's time in this process when its turn never came.
func (k *Kernel) interrupted(f *flight, err error) {
	if errors.Is(context.Cause(k.ctx), errStopping) {
		k.stopped(f, err) // Close releases who waits; the next start takes it up
		return
	}
	k.fail(f, asError(err, batos.Busy))
}

// attempt runs f until it is done, failed or parked, and then answers nil, or
// until it wants an effect.
func (k *Kernel) attempt(ctx context.Context, f *flight) *exec.WantedEffect {
	for try := 0; ; try++ {
		if f.isDoomed() {
			k.fail(f, batos.Errorf(batos.Cancelled, "message %s was cancelled", f.rec.ID))
			return nil
		}
		f.setState(batos.Running)
		t := &turn{kernel: k, flight: f}
		tx, err := k.im.Begin(ctx)
		if err != nil {
			k.stopped(f, err)
			return nil
		}
		k.noteState(tx, f)
		out := k.runner.Run(context.WithValue(ctx, turnKey{}, t), tx, exec.Request{
			Message: f.rec.Message, Journal: f.rec.Journal, Lineage: f.ledger.have(),
		})
		switch out.Status {
		case exec.Done:
			err := k.commit(ctx, tx, f, t, &out)
			if err == nil {
				return nil
			}
			tx.Abort()
			if batos.CodeOf(err) == batos.Conflict && try < conflictRetries {
				f.rec.Journal = out.Journal
				continue
			}
			k.broken(f, asError(err, batos.Invalid))
			return nil
		case exec.Suspended:
			tx.Abort()
			f.rec.Journal = out.Journal
			return out.Wanted
		case exec.NotUnderstood:
			tx.Abort()
			f.rec.Journal = out.Journal
			if err := k.park(ctx, f, out.Missing); err != nil {
				if batos.CodeOf(err) == batos.Conflict && try < conflictRetries {
					continue
				}
				k.broken(f, asError(err, batos.DoesNotUnderstand))
			}
			return nil
		default:
			tx.Abort()
			f.rec.Journal = out.Journal
			k.fail(f, out.Err)
			return nil
		}
	}
}

// commit makes a run's effect, its outcome and its outbox durable in one
// transaction, then tells everyone. A message that changed nothing and has no
// record leaves none.
func (k *Kernel) commit(ctx context.Context, tx *image.Tx, f *flight, t *turn, out *exec.Outcome) (err error) {
	rec := *f.rec
	rec.State, rec.Value, rec.Journal = batos.Done, out.Value, nil
	if rec.Value == nil {
		rec.Value = object.None{}
	}
	if err := k.compareWithTrial(tx, f, out.Outbox); err != nil {
		return err
	}
	if err := f.ledger.take(out.Usage); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.ledger.giveBack(out.Usage)
		}
	}()
	var promote func()
	var outgoing []*record
	if len(out.Outbox) > 0 {
		left := f.ledger.have()
		for _, m := range out.Outbox {
			r := &record{Message: m, Cycle: rec.Cycle, Synthesis: rec.Synthesis, State: batos.Queued, Received: k.now(), Left: left}
			if err := k.enlist(tx, r); err != nil {
				return err
			}
			outgoing = append(outgoing, r)
		}
	}
	if tx.Dirty() || f.stored.Load() {
		// Whether it is among those to resume is asked in the transaction: it
		// may have been retained while it ran.
		listed, err := tx.Exists(recordOID(rec.ID))
		if err != nil {
			return err
		}
		rec.Finished = k.now()
		if err := k.account(tx, f, usageOf(out.Usage), len(outgoing)); err != nil {
			return err
		}
		k.sample(tx, f, &rec)
		promote = k.behaved(tx, &rec)
		if err := rec.save(tx); err != nil {
			return err
		}
		if listed {
			if err := k.delist(tx, rec.ID); err != nil {
				return err
			}
		}
		tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: string(rec.Selector)})
		if _, err := tx.Commit(ctx); err != nil {
			return err
		}
	} else {
		promote = k.behaved(tx, &rec)
		if tx.Abort(); !k.vanish(f) {
			return batos.Errorf(batos.Conflict, "message %s was retained while it ended", rec.ID) // run again: now it leaves a record
		}
	}
	if promote != nil {
		promote()
	}
	f.rec = &rec
	k.after(t, outgoing) // before the answer: who reads it finds everything done
	k.land(f, outcomeOf(&rec))
	return nil
}

// account makes what an ending message took from its lineage durable, if the
// lineage goes on without it.
func (k *Kernel) account(tx *image.Tx, f *flight, took spending, outgoing int) error {
	if outgoing == 0 && !k.shared(f) {
		return nil
	}
	return took.plus(f.owed).note(tx, f.rec.Lineage)
}

// after does what a committed turn asked for.
func (k *Kernel) after(t *turn, outgoing []*record) {
	for _, e := range t.events {
		k.Events.publish(e)
		if e.Kind == "state" && e.ends() {
			k.observeMission(e.Mission)
		}
	}
	for _, who := range t.ahead {
		k.prefetch(who)
	}
	for _, r := range outgoing {
		k.take(r)
	}
	for _, o := range t.failed {
		k.mu.Lock()
		f := k.flights[o.ID]
		k.mu.Unlock()
		if f != nil {
			k.land(f, o)
		}
	}
	for _, id := range t.woken {
		k.wake(id)
	}
	for _, id := range t.ask {
		k.mu.Lock()
		f := k.flights[id]
		k.mu.Unlock()
		if f != nil {
			f.pending(t.cycle)
		}
	}
}

// enlist writes a new message's record and puts it among those to resume.
func (k *Kernel) enlist(tx *image.Tx, r *record) error {
	if err := r.save(tx); err != nil {
		return err
	}
	return tx.Tree(k.roots.live).Set(object.Str(r.ID), object.Ref(recordOID(r.ID)))
}

// delist takes a message out of those to resume.
func (k *Kernel) delist(tx *image.Tx, id batos.MessageID) error {
	_, err := tx.Tree(k.roots.live).Delete(object.Str(id))
	return err
}

// keep makes f durable as it stands: state, journal, what its lineage has
// left. What also writes in the same transaction, if not nil.
func (k *Kernel) keep(ctx context.Context, f *flight, state batos.MessageState, also func(*image.Tx) error) error {
	rec := *f.rec
	rec.State, rec.Left = state, f.ledger.have()
	owed := f.owed
	if !k.shared(f) {
		owed = spending{}
	}
	_, err := k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: string(state)})
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := owed.note(tx, rec.Lineage); err != nil {
			return err
		}
		return k.enlist(tx, &rec)
	})
	if err != nil {
		return err
	}
	if !owed.nothing() {
		f.owed = spending{}
	}
	f.rec = &rec
	f.stored.Store(true)
	f.setState(state)
	return nil
}

// fail ends f with an error. A message the image knows is ended there too;
// one that left no trace is forgotten with its answer.
func (k *Kernel) fail(f *flight, failure *batos.Error) {
	if f.rec.Cycle != 0 && k.abandonMission(f, failure) {
		return
	}
	rec := *f.rec
	rec.State, rec.Err, rec.Journal, rec.Finished = batos.Failed, failure, nil, k.now()
	if failure.Code == batos.Cancelled {
		rec.State = batos.Ended
	}
	if f.stored.Load() || !k.vanish(f) {
		_, err := k.im.Update(k.live(), func(tx *image.Tx) error {
			tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: "failed"})
			if err := rec.save(tx); err != nil {
				return err
			}
			return k.delist(tx, rec.ID)
		})
		if err != nil {
			k.stopped(f, err)
			return
		}
	}
	f.rec = &rec
	k.misbehaved(&rec, failure)
	k.land(f, outcomeOf(&rec))
}

// broken ends f with an error of its commit. It is written down like any
// other, else the next start would run the message again that was answered
// here; only an image that takes no more commits leaves it as it is.
func (k *Kernel) broken(f *flight, err *batos.Error) {
	if err.Code == batos.StorePoisoned || err.Code == batos.Corrupt {
		k.stopped(f, err)
		return
	}
	k.fail(f, err)
}

// stopped ends f's time in this process when the image itself would not go on:
// a poisoned store, or a kernel that stops. What was durable stays so.
func (k *Kernel) stopped(f *flight, err error) {
	if errors.Is(context.Cause(k.ctx), errStopping) {
		if !k.vanish(f) {
			return
		}
		err = batos.Errorf(batos.Busy, "the system is stopping; the message was not carried out")
	}
	if c := batos.CodeOf(err); c == batos.StorePoisoned || c == batos.Corrupt {
		k.die(asError(err, c))
	} else {
		k.log.Error("a message could not be committed", "message", f.rec.ID, "error", err)
	}
	k.land(f, Outcome{ID: f.rec.ID, State: batos.Failed, Err: asError(err, batos.StorePoisoned)})
}

// die lets everyone who waits go when the image takes no more commits: what
// is durable goes on at the next start. Until then messages that only read are
// answered, and all others are refused with err.
func (k *Kernel) die(err *batos.Error) {
	if !k.dead.CompareAndSwap(nil, err) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, f := range k.flights {
		f.release(err)
		delete(k.flights, id)
	}
	k.deaths <- err
}

// Dead tells, once, that the image takes no more commits, and why. It goes on
// answering what needs none.
func (k *Kernel) Dead() <-chan error { return k.deaths }

// live is the context of transactions: a message that runs may finish while
// the kernel stops.
func (k *Kernel) live() context.Context { return context.WithoutCancel(k.ctx) }

func (f *flight) isDoomed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doomed
}

// asError gives err a code if it has none.
func asError(err error, code batos.Code) *batos.Error {
	var e *batos.Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return batos.Errorf(batos.Cancelled, "%w", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return batos.Errorf(batos.Timeout, "%w", err)
	}
	return batos.Errorf(code, "%w", err)
}
