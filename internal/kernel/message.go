package kernel

import (
	"context"
	"sync"

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
}

// flight is a message that is not final, in this process. Its fields below mu
// change under mu; rec belongs to whoever processes the message.
type flight struct {
	rec    *record
	stored bool // the image has a record of it
	ledger *ledger

	mu     sync.Mutex
	state  batos.MessageState
	waits  batos.OID          // cycle it is parked for
	cancel context.CancelFunc // ends the effect under way
	doomed bool               // cancelled by a person
	out    Outcome
	done   chan struct{} // closed when out is final, or the kernel stops
	over   bool
	ask    chan struct{} // closed when the mission it waits for awaits a person
	asking bool
}

// pending lets waiters know that a person must decide first.
func (f *flight) pending() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asking {
		f.asking = true
		close(f.ask)
	}
}

func (f *flight) setState(s batos.MessageState) {
	f.mu.Lock()
	f.state = s
	f.mu.Unlock()
}

// finish publishes the outcome. Only the first call counts.
func (f *flight) finish(o Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	f.over, f.out, f.state = true, o, o.State
	close(f.done)
}

// release lets waiters go without an outcome.
func (f *flight) release(err *batos.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	f.over = true
	f.out = Outcome{ID: f.rec.ID, State: f.state, Err: err}
	close(f.done)
}

func (f *flight) snapshot() Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return f.out
	}
	o := Outcome{ID: f.rec.ID, State: f.state, Mission: f.waits}
	if f.asking && f.state == batos.Parked {
		o.Err = batos.Errorf(batos.ApprovalPending, "a person must approve the method first: batos mission show %s, then approve or reject", f.waits)
	}
	return o
}

// Submit accepts a message and returns its id; [Kernel.Wait] tells the
// outcome. Submitting an id again changes nothing: the message is the first
// one's. A message is durable from its first effect, park or commit on.
func (k *Kernel) Submit(ctx context.Context, r Request) (batos.MessageID, error) {
	f, err := k.submit(ctx, r)
	if err != nil {
		return "", err
	}
	return f.rec.ID, nil
}

// Send is Submit and Wait.
func (k *Kernel) Send(ctx context.Context, r Request) (Outcome, error) {
	f, err := k.submit(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	return wait(ctx, f)
}

// Wait gives the outcome of a message once it is final. When ctx ends first
// it gives what is known so far and an error of code timeout; the message
// lives on. not_found means that no such message is known: it was never
// accepted, or it only read.
func (k *Kernel) Wait(ctx context.Context, id batos.MessageID) (Outcome, error) {
	k.mu.Lock()
	f := k.flights[id]
	k.mu.Unlock()
	if f != nil {
		return wait(ctx, f)
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

func wait(ctx context.Context, f *flight) (Outcome, error) {
	select {
	case <-f.done:
		return f.snapshot(), nil
	default:
	}
	select {
	case <-f.done:
		return f.snapshot(), nil
	case <-f.ask:
		if o := f.snapshot(); o.Err != nil {
			return o, nil
		}
	case <-ctx.Done():
		o := f.snapshot()
		return o, batos.Errorf(batos.Timeout, "message %s is still %s; it lives on, ask for it by its id", o.ID, o.State)
	}
	select {
	case <-f.done:
		return f.snapshot(), nil
	case <-ctx.Done():
		o := f.snapshot()
		return o, batos.Errorf(batos.Timeout, "message %s is still %s; it lives on, ask for it by its id", o.ID, o.State)
	}
}

func outcomeOf(r *record) Outcome {
	return Outcome{ID: r.ID, State: r.State, Value: r.Value, Err: r.Err}
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
	sel, err := batos.ParseSelector(r.Selector)
	if err != nil {
		return nil, err
	}
	if sel[0] == '_' && !r.Underscore {
		return nil, batos.Errorf(batos.Denied, "selector %q begins with an underscore: that needs a token with admin scope", sel)
	}
	if r.ID == "" {
		r.ID = batos.NewMessageID()
	} else if len(r.ID) > batos.MaxSelector {
		return nil, batos.Errorf(batos.Invalid, "a message id has at most %d characters", batos.MaxSelector)
	}
	for _, v := range r.Args {
		if err := object.Check(v); err != nil {
			return nil, err
		}
	}
	for _, kw := range r.Kwargs {
		if err := object.Check(kw.Value); err != nil {
			return nil, err
		}
	}
	args := codec.EncodeArgs(r.Args, r.Kwargs)

	k.mu.Lock()
	f := k.flights[r.ID]
	k.mu.Unlock()
	if f != nil {
		return f, nil
	}
	var known *record
	var target batos.OID
	err = k.im.View(ctx, func(tx *image.Tx) error {
		if known, err = loadRecord(tx, r.ID); err != nil || known != nil {
			return err
		}
		target, err = resolve(tx, r.Target)
		return err
	})
	if err != nil {
		return nil, err
	}
	if known != nil {
		f := &flight{rec: known, done: make(chan struct{}), ask: make(chan struct{})}
		f.finish(outcomeOf(known))
		return f, nil
	}
	rec := &record{
		Message: batos.Message{ID: r.ID, Lineage: r.ID, Sender: r.Sender, Target: target, Selector: sel, Args: args, Authority: r.Authority},
		State:   batos.Queued, Received: k.now(), Synthesis: r.Synthesis, Left: k.config.Lineage,
	}
	return k.take(rec, false), nil
}

// take makes a flight of rec and begins to process it, unless a message of
// that id is in flight already: then it is that one.
func (k *Kernel) take(rec *record, stored bool) *flight {
	k.mu.Lock()
	if f := k.flights[rec.ID]; f != nil {
		k.mu.Unlock()
		return f
	}
	f := k.board(rec, stored)
	k.mu.Unlock()
	if rec.State != batos.Parked {
		k.start(f)
	}
	return f
}

// board makes a flight; k.mu is held.
func (k *Kernel) board(rec *record, stored bool) *flight {
	f := &flight{rec: rec, stored: stored, state: rec.State, done: make(chan struct{}), ask: make(chan struct{}), ledger: k.ledgers.open(rec.Lineage, rec.Left)}
	k.flights[rec.ID] = f
	return f
}

// start processes f in a goroutine of its own.
func (k *Kernel) start(f *flight) {
	k.work.Add(1)
	go func() {
		defer k.work.Done()
		k.process(f)
	}()
}

// land ends a flight with its outcome.
func (k *Kernel) land(f *flight, o Outcome) {
	k.mu.Lock()
	delete(k.flights, f.rec.ID)
	k.mu.Unlock()
	k.ledgers.close(f.rec.Lineage)
	f.finish(o)
}
