package method

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"batos"
)

// Run executes methods for one top-level message: nested sends run on the
// same Run, so that they share its meters, its objects and the identity of
// containers. A Run belongs to one goroutine and ends with its message; after
// an error it accepts no more calls that would succeed by accident, because
// used-up limits stay used up.
type Run struct {
	ctx     context.Context
	effects Effects
	limits  Limits
	thread  starlark.Thread
	start   time.Time
	next    uint64 // steps at which the next check is due

	bytes    uint64
	sends    int
	later    int
	depth    int
	maxDepth int
	output   strings.Builder

	objects map[batos.OID]*Object
	owners  map[starlark.Value]owners
	slots   map[Owner]*Owner
	crowds  map[crowd]int

	stopped *batos.Error // why the run was stopped, if it was
	located *batos.Error // the last error that has got its position
}

const runKey = "run"

// NewRun prepares a run. Elapsed time counts from here.
func NewRun(ctx context.Context, e Effects, l Limits) *Run {
	r := &Run{
		ctx: ctx, effects: e, limits: l.withDefaults(), start: time.Now(),
		objects: map[batos.OID]*Object{}, owners: map[starlark.Value]owners{}, slots: map[Owner]*Owner{}, crowds: map[crowd]int{},
	}
	r.thread.SetLocal(runKey, r)
	r.thread.OnMaxSteps = func(*starlark.Thread) { r.check() }
	r.schedule()
	return r
}

func runOf(t *starlark.Thread) *Run { return t.Local(runKey).(*Run) }

// Object gives the reference to oid; the same one for the same oid.
func (r *Run) Object(oid batos.OID) *Object {
	o := r.objects[oid]
	if o == nil {
		o = &Object{run: r, oid: oid}
		r.objects[oid] = o
	}
	return o
}

// Bound gives the value of reading, not calling, a slot that holds behaviour.
func (r *Run) Bound(recv batos.OID, sel batos.Selector) starlark.Value {
	return &Bound{recv: r.Object(recv), sel: sel}
}

// Usage is what the run has used so far.
func (r *Run) Usage() Usage {
	return Usage{Steps: r.thread.Steps, Bytes: r.bytes, Sends: r.sends, Later: r.later, MaxDepth: r.maxDepth}
}

// Output is what print wrote.
func (r *Run) Output() string { return r.output.String() }

// Context is the context the run was made with.
func (r *Run) Context() context.Context { return r.ctx }

// Call runs p with self bound to an object. Effects.Send uses it for nested
// sends. args do not include self and are kept.
//
// Errors: *NotUnderstood unchanged; otherwise a *batos.Error whose text begins
// with the position of the code that failed ("selector:line:col: "), with code
// Limit, Raised, Arity (no position: the caller's is added), or whatever
// Effects reported.
func (r *Run) Call(p *Program, self batos.OID, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := p.checkArity(args, kwargs); err != nil {
		return nil, err
	}
	if r.depth >= r.limits.Depth {
		return nil, r.stop(batos.Errorf(batos.Limit, "sends nested more than %d deep", r.limits.Depth))
	}
	r.depth++
	defer func() { r.depth-- }()
	r.maxDepth = max(r.maxDepth, r.depth)
	full := make(starlark.Tuple, 1+len(args))
	full[0] = r.Object(self)
	copy(full[1:], args)
	v, err := starlark.Call(&r.thread, p.fn, full, kwargs)
	if err != nil {
		return nil, r.locate(err)
	}
	return v, nil
}

// send is recv.sel(args…) from code.
func (r *Run) send(recv *Object, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if isKernelName(string(sel)) {
		return nil, batos.Errorf(batos.Invalid, "%s cannot be sent: names beginning with _p_ belong to the kernel", sel)
	}
	if r.sends++; r.sends > r.limits.Sends {
		return nil, r.stop(batos.Errorf(batos.Limit, "more than %d sends in one message", r.limits.Sends))
	}
	return r.effects.Send(r, recv.oid, sel, args, kwargs)
}

// locate turns what the interpreter reports into the error of the message.
func (r *Run) locate(err error) error {
	var missing *NotUnderstood
	if errors.As(err, &missing) {
		return missing
	}
	var cause *batos.Error
	switch {
	case r.stopped != nil:
		cause = r.stopped
	case !errors.As(err, &cause):
		cause = batos.Errorf(batos.Raised, "%s", shorten(err.Error()))
	}
	if cause == r.located {
		return cause
	}
	text := cause.Text
	if at := position(err); at != "" {
		text = at + ": " + text
	}
	r.located = &batos.Error{Code: cause.Code, Text: text, Err: cause}
	if r.stopped != nil {
		r.stopped = r.located
	}
	return r.located
}

// position is where the innermost frame of source code stood.
func position(err error) string {
	var eval *starlark.EvalError
	if !errors.As(err, &eval) {
		return ""
	}
	for i := len(eval.CallStack) - 1; i >= 0; i-- {
		if pos := eval.CallStack[i].Pos; pos.Line > 0 {
			return pos.String()
		}
	}
	return ""
}

// maxErrorText bounds what an error repeats of the values that caused it.
const maxErrorText = 400

func shorten(s string) string {
	if len(s) <= maxErrorText {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:maxErrorText], "") + "…"
}
