package method

import (
	"context"
	"errors"
	"time"

	"batos"
)

// Costs in bytes of what values take on the heap, rounded up.
const (
	cellCost     = 32   // one element of a list or tuple, its interface and growth
	entryCost    = 160  // one entry of a dict or set, buckets and growth
	listCost     = 64   // a list or tuple without its elements
	dictCost     = 560  // a dict or set: its first bucket is inline
	stringCost   = 16   // a string without its text
	closureCost  = 1024 // a function value, its cells and what they keep
	slotCost     = 64   // an assignment to a slot
	bytesPerStep = 64   // work is charged as one step for so many bytes
	checkEvery   = 1000 // steps between two looks at the clock and the stack
)

// maxText bounds one string or bytes value, and the text inside one tuple, so
// that one conversion of it (quoting, changing case) stays within the budget.
// Larger texts are blobs.
const maxText = 4 << 20

// maxBits bounds integers, so that arithmetic that is left native cannot
// allocate to speak of.
const maxBits = 4096

// Charge takes n bytes from the run's budget, and work in proportion, for what
// an [Effects] does on behalf of code: pages of a tree, entries of a list it
// answers. It is called before the work. The error ends the run.
func (r *Run) Charge(n int) error { return r.charge(n) }

// charge takes n bytes from the budget, and work in proportion. It is called
// before the bytes are allocated.
func (r *Run) charge(n int) error {
	if n < 0 || uint64(n) > r.limits.Bytes-min(r.bytes, r.limits.Bytes) {
		return r.stop(batos.Errorf(batos.Limit, "out of memory: one message may allocate %d MiB in all", r.limits.Bytes>>20))
	}
	r.bytes += uint64(n)
	return r.work(n / bytesPerStep)
}

// work takes n steps from the budget.
func (r *Run) work(n int) error {
	r.thread.Steps += uint64(n)
	if r.thread.Steps >= r.next {
		r.check()
	}
	if r.stopped != nil {
		return r.stopped
	}
	return nil
}

// check looks at everything that can end a run, and says when to look again.
// It runs on the run's goroutine every checkEvery steps.
func (r *Run) check() {
	switch {
	case r.thread.Steps >= r.limits.Steps:
		_ = r.stop(batos.Errorf(batos.Limit, "out of steps: one message may take %d", r.limits.Steps))
	case r.thread.CallStackDepth() > 3*r.limits.Depth:
		_ = r.stop(batos.Errorf(batos.Limit, "calls nested more than %d deep", 3*r.limits.Depth))
	case r.ctx.Err() != nil:
		code := batos.Cancelled
		if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
			code = batos.Timeout
		}
		_ = r.stop(batos.Errorf(code, "stopped: %w", context.Cause(r.ctx)))
	case time.Since(r.start) > r.limits.Wall:
		_ = r.stop(batos.Errorf(batos.Limit, "out of time: one message may run %s", r.limits.Wall))
	}
	r.schedule()
}

func (r *Run) schedule() {
	r.next = min(r.thread.Steps+checkEvery, r.limits.Steps)
	r.thread.SetMaxExecutionSteps(r.next)
}

// stop ends the run: the interpreter leaves at its next step, and every later
// charge fails with the same error.
func (r *Run) stop(why *batos.Error) *batos.Error {
	if r.stopped == nil {
		r.stopped = why
		r.thread.Cancel(why.Text)
	}
	return r.stopped
}

// text charges a string or bytes value of n bytes that is about to be made.
func (r *Run) text(n int) error {
	if n > maxText {
		return r.stop(batos.Errorf(batos.Limit, "a text in a method has at most %d MiB; larger ones are blobs", maxText>>20))
	}
	return r.charge(stringCost + n)
}

// shared charges a text that exists already and is only pointed to.
func (r *Run) shared(n int) error {
	if n > maxText {
		return r.text(n)
	}
	if err := r.charge(stringCost); err != nil {
		return err
	}
	return r.work(n / bytesPerStep)
}

// mul multiplies sizes without overflow; the result is capped, and a capped
// one is over every limit.
func mul(a, b int) int {
	const top = 1 << 50
	if a <= 0 || b <= 0 {
		return 0
	}
	if b > top/a {
		return top
	}
	return a * b
}
