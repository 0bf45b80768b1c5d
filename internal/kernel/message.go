package kernel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/object"
)

// Request is a message as a door hands it in.
type Request struct {
	ID       batos.MessageID // "" makes a new one
	Target   batos.Ref
	Selector string
	Args     []object.Value
	Kwargs   []object.Slot
	Sender   string // who to keep in order with
	// Synthesis lets a message that is not understood become a mission.
	Synthesis bool
	// Authority is that of the door's token; doors of people give batos.Person.
	Authority batos.Authority
	// Underscore lets the selector begin with an underscore.
	Underscore bool
}

// Outcome is what became of a message.
type Outcome struct {
	ID      batos.MessageID
	State   batos.MessageState
	Value   object.Value // when done
	Err     *batos.Error // when failed or cancelled
	Mission batos.OID    // the cycle it waits for, or 0

	Received, Finished time.Time // zero if that is not known, or not yet
}

// flight is a message that is not final, in this process. Its fields below mu
// change under mu; rec belongs to whoever processes the message.
type flight struct {
	id      batos.MessageID
	cycle   batos.OID // the mission it is part of, or 0
	lineage batos.MessageID
	landed  bool // under the kernel's mu

	selector string
	received time.Time

	rec    *record
	stored atomic.Bool // the image has a record of it
	ledger *ledger
	owed   spending // taken from the ledger and not yet in its durable account; its own goroutine's

	ready    chan struct{} // closed when accepted is set, or stored
	accepted record        // as it came in

	mu     sync.Mutex
	state  batos.MessageState
	step   string             // the state of the mission that this message works on; "" of all others, and where nobody observes
	waits  batos.OID          // cycle it is parked for
	cancel context.CancelFunc // ends the effect under way
	doomed bool               // cancelled by a person
	out    Outcome
	done   chan struct{} // closed when out is final, or the kernel stops
	over   bool
	then   []func(Outcome) // called when done is closed
	ask    chan struct{}   // closed when the mission it waits for awaits a person; made when somebody asks
	asking bool
}

// pending lets waiters know that a person must decide about the mission first,
// if f still waits for it.
func (f *flight) pending(cycle batos.OID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asking && f.state == batos.Parked && f.waits == cycle {
		f.asking = true
		if f.ask != nil {
			close(f.ask)
		}
	}
}

// parkFor notes, before that is durable, that f waits for a mission: what ends
// the mission may come right after.
func (f *flight) parkFor(cycle batos.OID, rec *record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec, f.state, f.waits = rec, batos.Parked, cycle
}

// goOn notes that f waits for nothing any more.
func (f *flight) goOn(rec *record, state batos.MessageState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec, f.state, f.waits = rec, state, 0
	if f.asking {
		f.asking, f.ask = false, nil
	}
}

// asks is closed when a person must decide.
func (f *flight) asks() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ask == nil {
		f.ask = make(chan struct{})
		if f.asking {
			close(f.ask)
		}
	}
	return f.ask
}

func (f *flight) setState(s batos.MessageState) {
	f.mu.Lock()
	f.state = s
	f.mu.Unlock()
}

// finish publishes the outcome. Only the first call counts.
func (f *flight) finish(o Outcome) { f.end(func() Outcome { return o }) }

// release lets waiters go without an outcome.
func (f *flight) release(err *batos.Error) {
	f.end(func() Outcome { return Outcome{ID: f.id, State: f.state, Err: err} })
}

func (f *flight) end(out func() Outcome) {
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return
	}
	f.over, f.out = true, out()
	f.state = f.out.State
	o, then := f.out, f.then
	f.then = nil
	close(f.done)
	f.mu.Unlock()
	for _, fn := range then {
		fn(o)
	}
}

func (f *flight) snapshot() Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return f.out
	}
	o := Outcome{ID: f.id, State: f.state, Mission: f.waits, Received: f.received}
	if f.asking && f.state == batos.Parked {
		o.Err = batos.Errorf(batos.ApprovalPending, "a person must approve the method first: batos mission show %s, then approve or reject", f.waits)
	}
	return o
}

// Submit accepts a message and tells where it is, without waiting for its
// outcome; [Kernel.Wait] does. A message that is not final when Submit returns
// is durable. Submitting an id again changes nothing: the message is the first
// one's.
func (k *Kernel) Submit(ctx context.Context, r Request) (Outcome, error) {
	h, err := k.Hand(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	return h.Keep()
}

// Send is Submit and Wait. When ctx ends first it gives what is known so far
// and an error of code timeout; the message lives on, and is durable.
func (k *Kernel) Send(ctx context.Context, r Request) (Outcome, error) {
	h, err := k.Hand(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	return h.Wait(ctx)
}

// Handed is a message that has its place in its receiver's line.
type Handed struct {
	k *Kernel
	f *flight
}

// Hand is Send in two steps: when it returns, the message stands in line, so
// that a door which hands messages in one after another keeps their order and
// can wait for their outcomes side by side.
func (k *Kernel) Hand(ctx context.Context, r Request) (Handed, error) {
	f, err := k.submit(ctx, r)
	return Handed{k, f}, err
}

// ID is the message's.
func (h Handed) ID() batos.MessageID { return h.f.id }

// Done is closed when Wait will not wait: there is an outcome, or the kernel
// stops.
func (h Handed) Done() <-chan struct{} { return h.f.done }

// Then has fn called once Done is closed, with the outcome or, if the kernel
// stops, what is known. It is called on whatever goroutine ends the message,
// before Then returns if that was so already; it must not wait for anything, nor
// ask the kernel for anything.
func (h Handed) Then(fn func(Outcome)) {
	h.f.mu.Lock()
	over := h.f.over
	if !over {
		h.f.then = append(h.f.then, fn)
	}
	h.f.mu.Unlock()
	if over {
		fn(h.f.snapshot())
	}
}

// Wait gives the outcome as [Kernel.Send] does.
func (h Handed) Wait(ctx context.Context) (Outcome, error) { return h.k.wait(ctx, h.f) }

// Keep tells where the message is, without waiting for its outcome; one that
// is not final is durable, as after [Kernel.Submit].
func (h Handed) Keep() (Outcome, error) {
	if err := h.k.retain(h.f); err != nil {
		return Outcome{}, err
	}
	return h.f.snapshot(), nil
}

// Wait gives the outcome of a message once it is final; when ctx ends first,
// as Send. not_found means that no such message is known: it was never
// accepted, or it only read.
func (k *Kernel) Wait(ctx context.Context, id batos.MessageID) (Outcome, error) {
	k.mu.Lock()
	f := k.flights[id]
	k.mu.Unlock()
	if f != nil {
		return k.wait(ctx, f)
	}
	rec, err := k.record(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	if rec == nil {
		return Outcome{}, batos.Errorf(batos.NotFound, "no message %s is known", id)
	}
	return outcomeOf(rec), nil
}

// Peek is Wait without waiting.
func (k *Kernel) Peek(ctx context.Context, id batos.MessageID) (Outcome, error) {
	k.mu.Lock()
	f := k.flights[id]
	k.mu.Unlock()
	if f != nil {
		return f.snapshot(), nil
	}
	return k.Wait(ctx, id)
}

func (k *Kernel) wait(ctx context.Context, f *flight) (Outcome, error) {
	select {
	case <-f.done:
		return f.snapshot(), nil
	default:
	}
	for {
		select {
		case <-f.done:
			return f.snapshot(), nil
		case <-f.asks():
			if o := f.snapshot(); o.Err != nil {
				return o, nil
			} // else a person has decided meanwhile
		case <-ctx.Done():
			if err := k.retain(f); err != nil {
				return Outcome{}, err
			}
			o := f.snapshot()
			if o.State.Final() {
				return o, nil
			}
			return o, batos.Errorf(batos.Timeout, "message %s is still %s; it lives on, ask for it by its id", o.ID, o.State)
		}
	}
}

func outcomeOf(r *record) Outcome {
	o := Outcome{ID: r.ID, State: r.State, Value: r.Value, Err: r.Err, Received: r.Received.AsTime()}
	if r.Finished != 0 {
		o.Finished = r.Finished.AsTime()
	}
	return o
}

func (k *Kernel) record(ctx context.Context, id batos.MessageID) (rec *record, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		rec, err = loadRecord(tx, id)
		return err
	})
	return rec, err
}

func (k *Kernel) submit(ctx context.Context, r Request) (*flight, error) {
	if k.closed.Load() {
		return nil, batos.Errorf(batos.Busy, "the system is stopping")
	}
	if err := k.runs(); err != nil {
		return nil, err
	}
	sel, err := admit(&r)
	if err != nil {
		return nil, err
	}
	fresh := r.ID == ""
	if fresh {
		r.ID = batos.NewMessageID()
	}
	args := codec.EncodeArgs(r.Args, r.Kwargs)

	// The id is claimed before the image is asked for it: of two requests with
	// one id, only one can find that it is new.
	rec := &record{
		Message: batos.Message{ID: r.ID, Lineage: r.ID, Sender: r.Sender, Selector: sel, Args: args, Authority: r.Authority},
		State:   batos.Queued, Received: k.now(), Synthesis: r.Synthesis, Left: k.config.Lineage,
	}
	f, claimed := k.claim(rec, false)
	if !claimed {
		return f, nil
	}
	var known *record
	err = k.im.View(ctx, func(tx *image.Tx) error {
		if !fresh { // nobody else has an id that was made here
			if known, err = loadRecord(tx, r.ID); err != nil || known != nil {
				return err
			}
		}
		rec.Target, err = resolve(tx, r.Target)
		return err
	})
	if err != nil {
		k.land(f, Outcome{ID: r.ID, State: batos.Failed, Err: asError(err, batos.Busy)})
		return nil, err
	}
	if known != nil {
		o := outcomeOf(known)
		if dead := k.dead.Load(); dead != nil && !known.State.Final() {
			o.Err = dead // it goes on at the next start
		}
		k.land(f, o)
		return f, nil
	}
	k.accept(f)
	return f, nil
}

// accept begins to process a message that came in.
func (k *Kernel) accept(f *flight) {
	f.accepted = *f.rec
	close(f.ready)
	k.start(f)
}

// take makes a flight of a record in the image and begins to process it,
// unless a message of that id is in flight already.
func (k *Kernel) take(rec *record) {
	if f, claimed := k.claim(rec, true); claimed {
		k.start(f)
	}
}

// claim makes a flight of rec, or gives the one of its id.
func (k *Kernel) claim(rec *record, stored bool) (f *flight, claimed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[rec.ID]; f != nil {
		return f, false
	}
	return k.board(rec, stored), true
}

// board makes a flight; k.mu is held.
func (k *Kernel) board(rec *record, stored bool) *flight {
	f := &flight{
		id: rec.ID, cycle: rec.Cycle, lineage: rec.Lineage, selector: string(rec.Selector), received: rec.Received.AsTime(), rec: rec, state: rec.State, done: make(chan struct{}),
		ledger: k.ledgers.open(rec.Lineage, rec.Left), ready: make(chan struct{}),
	}
	if stored {
		f.stored.Store(true)
		close(f.ready)
	}
	k.flights[rec.ID] = f
	return f
}

// start takes a place in the receiver's line. If it is f's turn at once, a
// goroutine of its own processes it; else whoever is before it does.
func (k *Kernel) start(f *flight) {
	k.mu.Lock()
	if k.closed.Load() {
		k.mu.Unlock()
		if !f.stored.Load() { // else the next start takes it up
			k.land(f, Outcome{ID: f.id, State: batos.Failed, Err: batos.Errorf(batos.Busy, "the system is stopping; the message was not carried out")})
		}
		return
	}
	k.work.Add(1)
	first, err := k.boxes.join(f.rec.Target, f, f.stored.Load()) // under mu: Close empties the lines
	k.mu.Unlock()
	switch {
	case err != nil:
		go func() {
			defer k.work.Done()
			k.interrupted(f, err)
		}()
	case first:
		go k.process(f)
	}
}

// leave takes f out of the flights; k.mu is held. After the death of the image
// another flight of that id may be there.
func (k *Kernel) leave(f *flight) {
	if k.flights[f.id] == f {
		delete(k.flights, f.id)
	}
}

// vanish takes a message out of flight that leaves no trace in the image. It
// answers false if it left one already: it was retained.
func (k *Kernel) vanish(f *flight) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.stored.Load() {
		return false
	}
	k.leave(f)
	return true
}

// land ends a flight with its outcome. Only the first call counts.
func (k *Kernel) land(f *flight, o Outcome) {
	k.mu.Lock()
	k.leave(f)
	first := !f.landed
	f.landed = true
	k.mu.Unlock()
	if first {
		k.ledgers.close(f.lineage)
		k.observeMessage(f, o)
	}
	f.finish(o)
}

// retain makes a message durable that is neither final nor kept yet. It is the
// promise behind every answer that says that a message lives on.
//
// The message may be processed meanwhile. If its own commit comes first there
// is nothing to retain; if it ended and left no trace, what was retained is
// taken back.
func (k *Kernel) retain(f *flight) error {
	select {
	case <-f.ready:
	case <-f.done:
		return nil
	}
	if f.stored.Load() || f.snapshot().State.Final() {
		return nil
	}
	rec := f.accepted
	rec.Left = f.ledger.have()
	_, err := k.im.Update(k.live(), func(tx *image.Tx) error {
		if known, err := loadRecord(tx, rec.ID); err != nil || known != nil {
			return err
		}
		tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: "accepted"})
		return k.enlist(tx, &rec)
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	flying := k.flights[f.id] == f
	if flying {
		f.stored.Store(true)
	}
	k.mu.Unlock()
	if flying {
		return nil
	}
	_, err = k.im.Update(k.live(), func(tx *image.Tx) error {
		known, err := loadRecord(tx, rec.ID)
		if err != nil || known == nil || known.State != batos.Queued {
			return err
		}
		tx.SetMeta(image.Meta{Author: rec.Authority, AuthorName: rec.Sender, Message: rec.ID, Note: "it left no trace"})
		if err := tx.Delete(recordOID(rec.ID)); err != nil {
			return err
		}
		return k.delist(tx, rec.ID)
	})
	return err
}
