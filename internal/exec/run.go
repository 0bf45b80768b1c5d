package exec

import (
	"context"
	"errors"

	"batos"
	"batos/image"
	"batos/internal/method"
	"batos/object"
)

// run is one run of one message.
type run struct {
	ctx    context.Context
	runner *Runner
	tx     *image.Tx
	req    *Request
	vm     *method.Run

	frames    []frame // frames[0] stands for the message itself
	room      [8]frame
	halted    *halt // why the run must end, whatever code makes of it
	journal   journal
	overlay   *Candidate // what look-ups find although no slot holds it, or nil
	candidate *object.Method
	tried     *method.Program
	programs  []compiled // the methods used so far, the first few

	held    map[method.Owner]*held // containers of slots, thawed
	dirty   []method.Owner         // keys of held that may differ from the transaction, in order
	trees   map[object.Tree][]place
	thawing place // of the container that is being thawed

	made       map[batos.OID]struct{} // objects and trees made in this run
	writes     map[method.Owner]write
	vouched    map[batos.OID]struct{}
	volatile   map[method.Owner]object.Value
	outbox     []batos.Message
	newObjects int
	written    int64
}

// frame is one method that runs: see the package comment.
type frame struct {
	self      batos.OID // 0 in frames[0]
	holder    batos.OID // where the method was found
	selector  batos.Selector
	authority batos.Authority
	granted   []batos.OID // arguments that the sender could write itself
}

// halt ends a run for good.
type halt struct {
	status  Status
	err     *batos.Error
	wanted  *WantedEffect
	missing *method.NotUnderstood
}

// errHalted is what a halted run answers to everything. It never leaves the
// package: outcome looks at the halt itself.
var errHalted = errors.New("the run has ended")

func newRun(ctx context.Context, r *Runner, tx *image.Tx, req *Request) *run {
	x := &run{ctx: ctx, runner: r, tx: tx, req: req}
	x.frames = append(x.room[:0], frame{authority: req.Message.Authority})
	x.journal = journal{entries: req.Journal, message: req.Message.ID}
	x.vm = method.NewRun(ctx, x, r.config.Limits)
	return x
}

func (x *run) top() *frame { return &x.frames[len(x.frames)-1] }

// halt ends the run; the error is only there to get out.
func (x *run) halt(h halt) error {
	if x.halted == nil {
		x.halted = &h
	}
	return errHalted
}

func (x *run) failure(err *batos.Error) error { return x.halt(halt{status: Failed, err: err}) }
