package exec

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/method"
	"batos/object"
)

// Limits bound one run.
type Limits = method.Limits

// DefaultAnswer bounds the answer of a message, in bytes.
const DefaultAnswer = 4 << 20

// maxEffects bounds the journal of one message.
const maxEffects = 10_000

// Config sets up a [Runner]. The zero value is good.
type Config struct {
	Limits Limits           // of one run; zero fields have the dialect's defaults
	Answer int64            // bytes that the answer of a message may have; 0: [DefaultAnswer]
	Clock  func() time.Time // nil: time.Now
}

// Runner carries out messages. What it keeps between them is shared by all:
// primitives, compiled methods, and the volatile slots of this process. Safe
// for concurrent use, once all primitives are registered.
type Runner struct {
	config     Config
	primitives map[string]primitive
	programs   programs
	volatile   volatile
}

// New makes a Runner that knows the primitives of this package.
func New(c Config) *Runner {
	if c.Answer == 0 {
		c.Answer = DefaultAnswer
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &Runner{config: c, primitives: builtins()}
}

// DoesNotUnderstand is the primitive that ends a run as [NotUnderstood].
const DoesNotUnderstand = "kernel.does_not_understand"

// Primitive is a function of the release that a slot can name.
type Primitive struct {
	// Receiver is a marker: a slot that look-up through the receiver must find
	// in a protected or sealed object, where generated code cannot forge it.
	// It says what kind of receiver Fn is made for; "" takes any.
	Receiver string
	// Fn answers the send. The error of a [Call] method must be returned as it
	// is. Fn must not keep the Call.
	Fn func(*Call) (object.Value, error)
}

// Primitive registers p under name ("mind.infer"), in place of what has that
// name. Not to be called once messages run.
func (r *Runner) Primitive(name string, p Primitive) { r.primitives[name] = primitive{Primitive: p} }

// HasPrimitive reports whether a slot may name this primitive.
func (r *Runner) HasPrimitive(name string) bool { _, ok := r.primitives[name]; return ok }

// Run carries out req in tx. It does not commit, abort or roll back; see
// [Status] for what the caller does next. What tx had changed before is the
// caller's own business and is not checked. Safe for concurrent use with
// different transactions.
func (r *Runner) Run(ctx context.Context, tx *image.Tx, req Request) (out Outcome) {
	x := newRun(ctx, r, tx, &req)
	defer func() {
		if p := recover(); p != nil {
			err := batos.Errorf(batos.Raised, "%s: a fault in the kernel: %v", req.Message.Selector, p)
			err.Err = errors.New(string(debug.Stack()))
			out = x.failed(err)
		}
	}()
	v, err := x.perform()
	return x.outcome(v, err)
}

// perform sends the message to its receiver and makes everything ready for
// the commit.
func (x *run) perform() (object.Value, error) {
	if err := x.baseline(); err != nil {
		return nil, err
	}
	args, kwargs, err := codec.DecodeArgs(x.req.Message.Args)
	if err != nil {
		return nil, err
	}
	if c, author := x.seenAsInstalled(); c != nil {
		x.overlay = c
		m := &object.Method{Selector: c.Selector, Source: c.Source, Author: author}
		if x.tried, err = x.runner.programs.get(m); err != nil {
			return nil, err
		}
		x.candidate = m
	}
	v, err := x.sendValues(x.req.Message.Target, x.req.Message.Selector, args, kwargs)
	if err != nil {
		return nil, err
	}
	if err := x.flush(); err != nil {
		return nil, err
	}
	if n := size(v); n > x.runner.config.Answer {
		return nil, batos.Errorf(batos.Limit, "the answer of %s has %d bytes; %d are allowed", x.req.Message.Selector, n, x.runner.config.Answer)
	}
	if err := object.Check(v); err != nil {
		return nil, err
	}
	if err := x.journal.cut(); err != nil {
		return nil, err
	}
	return v, x.recheck()
}

// seenAsInstalled is the method that look-ups find although no slot holds it:
// a candidate on trial, or an expression, and on whose word it runs.
func (x *run) seenAsInstalled() (*Candidate, batos.Authority) {
	if c := x.req.Candidate; c != nil {
		return c, batos.Persona
	}
	if x.req.Expression == "" {
		return nil, 0
	}
	m := &x.req.Message
	return &Candidate{OID: m.Target, Selector: m.Selector, Source: x.req.Expression}, m.Authority
}

// outcome is how the run ended, seen from what perform answered. What halted
// the run counts before any error that code made of it.
func (x *run) outcome(v object.Value, err error) Outcome {
	if x.halted != nil {
		h := x.halted
		if h.status == Failed {
			return x.failed(h.err)
		}
		return Outcome{Status: h.status, Journal: x.journal.entries, Wanted: h.wanted, Missing: h.missing, Usage: x.used()}
	}
	if err != nil {
		return x.failed(coded(err))
	}
	if x.req.Candidate == nil {
		x.runner.volatile.publish(x.volatile)
	}
	return Outcome{Status: Done, Value: v, Journal: x.journal.entries, Outbox: x.outbox, Usage: x.used()}
}

func (x *run) failed(err *batos.Error) Outcome {
	return Outcome{Status: Failed, Err: err, Journal: x.journal.entries, Usage: x.used()}
}

func (x *run) used() Usage {
	u := x.vm.Usage()
	return Usage{
		Steps: u.Steps, Bytes: u.Bytes, Sends: u.Sends, Depth: u.MaxDepth,
		Effects: x.journal.next, SendLater: len(x.outbox), NewObjects: x.newObjects, Written: x.written,
	}
}

// coded gives every error its place in the table.
func coded(err error) *batos.Error {
	var missing *method.NotUnderstood
	var e *batos.Error
	switch {
	case errors.As(err, &missing):
		return batos.Errorf(batos.DoesNotUnderstand, "%s", missing.Error())
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return batos.Errorf(batos.Timeout, "%w", err)
	case errors.Is(err, context.Canceled):
		return batos.Errorf(batos.Cancelled, "%w", err)
	}
	return batos.Errorf(batos.Raised, "%w", err)
}
