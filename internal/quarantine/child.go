package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

// ChildMain is the child's whole life: it takes one job from its socket,
// carries it out within its walls and reports. It answers the exit status of
// the process: 0 if it reported. register adds the primitives that the
// message may need beyond those of package exec.
func ChildMain(register ...func(*exec.Runner)) int {
	if err := supported(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return batos.Invalid.Exit()
	}
	conn, err := inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "batos "+Command+" is started by batos itself")
		return batos.Invalid.Exit()
	}
	if err := serve(conn, register); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(conn io.ReadWriter, register []func(*exec.Runner)) error {
	kind, body, err := readFrame(conn, maxSaid)
	if err != nil {
		return err
	}
	var j job
	if kind != frameJob {
		return batos.Errorf(batos.Invalid, "frame %q instead of a job", byte(kind))
	}
	if err := decode(body, &j); err != nil {
		return err
	}
	// From here on this process has nothing to lose and nothing to take.
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(j.Memory / 2)
	if err := confine(j.Memory, j.CPU); err != nil {
		return err
	}
	a := &asker{conn: conn, at: batos.TID(j.Snapshot), known: map[batos.OID]store.Revision{}}
	rep, err := a.try(&j, register)
	if err != nil {
		return err
	}
	err = writeFrame(conn, maxAsked, frameReport, rep)
	if errors.Is(err, errTooLong) {
		err = writeFrame(conn, maxAsked, frameReport, &report{Status: uint8(exec.Failed), Usage: rep.Usage, Reads: rep.Reads, Err: failureOf(
			batos.Errorf(batos.Limit, "answer and changes of the trial have more than %d MiB", maxAsked>>20))})
	}
	return err
}

// try carries the job out. A run that needs an effect ends there; the effect
// is asked for, and the message runs again from its start.
func (a *asker) try(j *job, register []func(*exec.Runner)) (*report, error) {
	runner := exec.New(exec.Config{Limits: j.Limits, Clock: a.clock})
	for _, add := range register {
		add(runner)
	}
	journal, err := effectsIn(j.Journal)
	if err != nil {
		return nil, err
	}
	req := exec.Request{
		Message: j.Message, Journal: journal, Lineage: j.Lineage,
		Candidate: &exec.Candidate{OID: batos.OID(j.Receiver), Selector: batos.Selector(j.Selector), Source: j.Source},
	}
	ctx := context.Background()
	for {
		tx := image.Scratch(ctx, a)
		out := runner.Run(ctx, tx, req)
		if a.broken != nil {
			return nil, a.broken
		}
		if out.Status == exec.Suspended {
			e, err := a.effect(out.Wanted)
			if err != nil {
				return nil, err
			}
			if out.Wanted.Kind == exec.EffectInfer {
				req.Lineage.Inferences--
			}
			req.Journal = append(out.Journal, e)
			tx.Abort()
			continue
		}
		tried := image.Place{OID: req.Candidate.OID, Slot: string(req.Candidate.Selector)}
		rep := &report{
			Status: uint8(out.Status), Err: failureOf(out.Err), Missing: missingOut(out.Missing),
			Journal: effectsOut(out.Journal), Usage: out.Usage, Reads: tx.ReadDigest(tried),
		}
		if out.Status == exec.Done {
			rep.Value = codec.EncodeValue(out.Value)
			changes, err := tx.Changes()
			if err != nil {
				return nil, err
			}
			rep.Diff = image.EncodeChanges(changes)
			for _, m := range out.Outbox {
				rep.Outbox = append(rep.Outbox, later{Target: uint64(m.Target), Selector: string(m.Selector), Args: m.Args})
			}
			if err := a.probeAll(j, rep, register); err != nil {
				return nil, err
			}
		}
		tx.Abort()
		return rep, nil
	}
}

// asker is the snapshot as the child sees it: every object is asked from the
// parent once, and kept.
type asker struct {
	conn   io.ReadWriter
	at     batos.TID
	known  map[batos.OID]store.Revision
	broken error // the parent is gone: nothing that follows counts
}

var _ store.Snapshot = (*asker)(nil)

// TID is the snapshot's.
func (a *asker) TID() batos.TID { return a.at }

// Close does nothing: the snapshot is the parent's.
func (a *asker) Close() error { return nil }

// Load asks the parent for an object.
func (a *asker) Load(_ context.Context, oid batos.OID) (store.Revision, error) {
	if rev, ok := a.known[oid]; ok {
		return rev, nil
	}
	var rev revision
	if err := a.ask(frameGet, get{OID: uint64(oid)}, frameRevision, &rev); err != nil {
		return store.Revision{}, err
	}
	if !rev.Found {
		if err := rev.Err.error(); err != nil {
			return store.Revision{}, err
		}
		return store.Revision{}, batos.Errorf(batos.NotFound, "%s is no object", oid)
	}
	r := store.Revision{OID: oid, TID: batos.TID(rev.TID), Data: rev.Data}
	a.known[oid] = r
	return r, nil
}

func (a *asker) effect(w *exec.WantedEffect) (exec.Effect, error) {
	var res result
	q := wanted{Kind: w.Kind, External: w.External, Args: codec.EncodeValue(w.Args), Seq: w.Seq, Key: w.Key}
	if err := a.ask(frameEffect, q, frameResult, &res); err != nil {
		return exec.Effect{}, err
	}
	v, err := valueIn(res.Value)
	if err != nil {
		return exec.Effect{}, err
	}
	failed := res.Err.error()
	if v == nil && failed == nil {
		v = object.None{}
	}
	return w.Done(v, failed), nil
}

// clock asks the parent what time it is.
func (a *asker) clock() time.Time {
	var res result
	if err := a.ask(frameClock, nil, frameResult, &res); err != nil {
		return time.Time{} // broken is set: the run does not count
	}
	v, err := valueIn(res.Value)
	if t, ok := v.(object.Time); ok && err == nil {
		return t.AsTime()
	}
	a.broken = errors.New("the parent does not know the time")
	return time.Time{}
}

func (a *asker) ask(kind frameKind, body any, want frameKind, into any) error {
	err := writeFrame(a.conn, maxAsked, kind, body)
	if err == nil {
		var got frameKind
		var data []byte
		if got, data, err = readFrame(a.conn, maxSaid); err == nil {
			if got != want {
				err = batos.Errorf(batos.Invalid, "frame %q instead of %q", byte(got), byte(want))
			} else {
				err = decode(data, into)
			}
		}
	}
	if err != nil && a.broken == nil {
		a.broken = err
	}
	return err
}
