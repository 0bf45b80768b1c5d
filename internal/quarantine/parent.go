package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"runtime"
	"strings"
	"time"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

// Trial runs the request in a child process of its own and waits for its end.
// The context's end, or that of t, ends the child and is the error.
func (t *Trials) Trial(ctx context.Context, req Request) (Verdict, error) {
	c := req.Run.Candidate
	if c == nil || req.Snapshot == nil {
		return Verdict{}, batos.Errorf(batos.Invalid, "a trial needs a candidate and a snapshot")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.closed, func() {
		cancel(batos.Errorf(batos.Cancelled, "the trial was ended: the kernel stops"))
	})()

	// The child dies with the thread that starts it, so that it can't outlive
	// this process; nothing else may use up the thread meanwhile.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	started := time.Now()
	child, err := t.start()
	if err != nil {
		return Verdict{}, batos.Errorf(batos.Busy, "the trial's process can't be started: %w", err)
	}
	s := &session{trials: t, ctx: ctx, req: &req, child: child, left: t.config.Wall}
	unhook := context.AfterFunc(ctx, child.kill)
	rep, failed := s.converse()
	unhook()
	child.end()
	if ctx.Err() != nil {
		return Verdict{}, cause(ctx)
	}
	if s.fault != nil {
		return Verdict{}, s.fault
	}
	v := Verdict{
		Snapshot: req.Snapshot.TID(),
		Bound:    Bind(c.Source, c.OID, c.Selector, req.Run.Message.ID, req.Snapshot.TID()),
	}
	if failed == nil {
		failed = v.fill(rep)
	}
	if failed != nil {
		v = Verdict{Snapshot: v.Snapshot, Bound: v.Bound, Stopped: failed.stop, Err: failed.explain(t.config)}
	}
	v.Elapsed = time.Since(started)
	return v, nil
}

func cause(ctx context.Context) error {
	err := context.Cause(ctx)
	var coded *batos.Error
	switch {
	case errors.As(err, &coded):
		return coded
	case errors.Is(err, context.DeadlineExceeded):
		return batos.Errorf(batos.Timeout, "the trial was not waited for: %w", err)
	}
	return batos.Errorf(batos.Cancelled, "the trial was ended: %w", err)
}

// fill takes over what the child reported. The report is not believed where it
// can be checked: values are decoded strictly, and the fingerprint is taken
// here.
func (v *Verdict) fill(rep *report) *stopped {
	var err error
	if v.Effects, err = effectsIn(rep.Journal); err != nil {
		return garbled(err)
	}
	if v.Missing, err = missingIn(rep.Missing); err != nil {
		return garbled(err)
	}
	v.Usage, v.Diff, v.Reads = rep.Usage, rep.Diff, rep.Reads
	switch exec.Status(rep.Status) {
	case exec.Done:
		if v.Value, err = codec.DecodeValue(rep.Value); err != nil {
			return garbled(err)
		}
		if v.Changes, err = image.DecodeChanges(rep.Diff); err != nil {
			return garbled(err)
		}
		for _, m := range rep.Outbox {
			v.Outbox = append(v.Outbox, batos.Message{Target: batos.OID(m.Target), Selector: batos.Selector(m.Selector), Args: m.Args})
		}
		if v.Fingerprint, err = Fingerprint(v.Changes, v.Outbox); err != nil {
			return garbled(err)
		}
		if v.Probed, err = probedIn(rep.Probed); err != nil {
			return garbled(err)
		}
		if v.Second, err = probedIn(rep.Second); err != nil {
			return garbled(err)
		}
		v.OK = true
	case exec.NotUnderstood:
		if v.Missing == nil {
			return garbled(errors.New("a message that is not named was not understood"))
		}
		v.Err = batos.Errorf(batos.DoesNotUnderstand, "in its trial: %s does not understand %s", v.Missing.Receiver, v.Missing.Selector)
	case exec.Failed:
		if v.Err = rep.Err.error(); v.Err == nil {
			return garbled(errors.New("a failure without an error"))
		}
	default:
		return garbled(fmt.Errorf("status %d", rep.Status))
	}
	return nil
}

// stopped says why a child ended without a verdict of its own.
type stopped struct {
	stop   Stop
	detail string
}

func garbled(err error) *stopped { return &stopped{stop: Babble, detail: err.Error()} }

func (s *stopped) explain(c Config) *batos.Error {
	switch s.stop {
	case Memory:
		return batos.Errorf(batos.Limit, "the trial was stopped: it needed more than %d MiB of memory", c.Memory>>20)
	case CPU:
		return batos.Errorf(batos.Limit, "the trial was stopped: it took more than %s of processor time", c.CPU)
	case Wall:
		return batos.Errorf(batos.Limit, "the trial was stopped: it took longer than %s", c.Wall)
	case Read:
		return batos.Errorf(batos.Limit, "the trial was stopped: it read more than %d MiB of objects", c.Read>>20)
	case Babble:
		return batos.Errorf(batos.Limit, "the trial was stopped: its process said something unexpected (%s)", s.detail)
	}
	return batos.Errorf(batos.Limit, "the trial was stopped: its process ended without a verdict (%s)", s.detail)
}

// session is the parent's side of one trial.
type session struct {
	trials     *Trials
	ctx        context.Context
	req        *Request
	child      *process
	left       time.Duration // of the child's wall time
	read       int64         // bytes of revisions given
	effects    int           // asked for
	inferences int           // of them
	fault      error         // of the parent itself
}

// converse says the job and answers questions until the child reports, runs
// into a wall, or the parent fails; then s.fault says why. The child may still
// run after it.
func (s *session) converse() (*report, *stopped) {
	r := &s.req.Run
	err := s.say(frameJob, job{
		Memory: s.trials.config.Memory, CPU: int64((s.trials.config.CPU + time.Second - 1) / time.Second),
		Limits: s.trials.config.Limits, Snapshot: uint64(s.req.Snapshot.TID()),
		Message: r.Message, Journal: effectsOut(r.Journal), Lineage: r.Lineage,
		Receiver: uint64(r.Candidate.OID), Selector: string(r.Candidate.Selector), Source: r.Candidate.Source,
		Probes: probesOut(s.req.Probes), Second: s.req.Second, Watch: s.req.Watch,
	})
	if errors.Is(err, errTooLong) {
		s.fault = batos.Errorf(batos.Limit, "a message with its journal of more than %d MiB can't be tried", maxSaid>>20)
		return nil, nil
	}
	for err == nil {
		var kind frameKind
		var body []byte
		kind, body, err = s.hear()
		if errors.Is(err, errTooLong) {
			return nil, garbled(err)
		}
		if err != nil {
			break
		}
		var stop *stopped
		switch kind {
		case frameReport:
			var rep report
			if err := decode(body, &rep); err != nil {
				return nil, garbled(err)
			}
			return &rep, nil
		case frameGet:
			stop, err = s.get(body)
		case frameEffect:
			stop, err = s.effect(body)
		case frameClock:
			err = s.say(frameResult, result{Value: codec.EncodeValue(object.Time(s.now().UnixMicro()))})
		default:
			stop = garbled(fmt.Errorf("frame %q", byte(kind)))
		}
		if stop != nil || s.fault != nil {
			return nil, stop
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &stopped{stop: Wall}
	}
	return nil, s.child.autopsy(s.trials.config)
}

func (s *session) now() time.Time {
	if s.req.Clock != nil {
		return s.req.Clock()
	}
	return time.Now()
}

// say and hear count against the child's time; what the parent does between
// them does not.
func (s *session) say(kind frameKind, body any) error {
	return s.timed(func() error { return writeFrame(s.child.conn, maxSaid, kind, body) })
}

func (s *session) hear() (kind frameKind, body []byte, err error) {
	err = s.timed(func() error {
		kind, body, err = readFrame(s.child.conn, maxAsked)
		return err
	})
	return kind, body, err
}

func (s *session) timed(f func() error) error {
	from := time.Now()
	if err := s.child.conn.SetDeadline(from.Add(s.left)); err != nil {
		return err
	}
	err := f()
	s.left -= time.Since(from)
	return err
}

func (s *session) get(body []byte) (*stopped, error) {
	var q get
	if err := decode(body, &q); err != nil {
		return garbled(err), nil
	}
	rev, err := s.req.Snapshot.Load(s.ctx, batos.OID(q.OID))
	var coded *batos.Error
	switch {
	case err == nil:
	case errors.As(err, &coded) && coded.Code == batos.NotFound:
		s.read += 64 // an answer is not free, or the child could ask for ever
		return s.overread(), s.say(frameRevision, revision{Err: failureOf(coded)})
	default:
		s.fault = err
		return nil, nil
	}
	s.read += int64(len(rev.Data)) + 64
	if stop := s.overread(); stop != nil {
		return stop, nil
	}
	err = s.say(frameRevision, revision{Found: true, TID: uint64(rev.TID), Data: rev.Data})
	if errors.Is(err, errTooLong) {
		return &stopped{stop: Read}, nil
	}
	return nil, err
}

func (s *session) overread() *stopped {
	if s.read > s.trials.config.Read {
		return &stopped{stop: Read}
	}
	return nil
}

// effect carries out a new effect for the child.
func (s *session) effect(body []byte) (*stopped, error) {
	var q wanted
	if err := decode(body, &q); err != nil {
		return garbled(err), nil
	}
	args, err := codec.DecodeValue(q.Args)
	if err != nil {
		return garbled(err), nil
	}
	w := &exec.WantedEffect{Kind: q.Kind, External: q.External, Args: args, Seq: q.Seq, Key: q.Key}
	v, err := s.perform(w)
	if s.ctx.Err() != nil {
		return nil, s.ctx.Err()
	}
	if err != nil {
		var coded *batos.Error
		if !errors.As(err, &coded) {
			coded = batos.Errorf(batos.Raised, "%w", err)
		}
		return nil, s.say(frameResult, result{Err: failureOf(coded)})
	}
	err = s.say(frameResult, result{Value: valueOut(v)})
	if errors.Is(err, errTooLong) {
		return nil, s.say(frameResult, result{Err: failureOf(batos.Errorf(batos.Limit, "the result of %s has more than %d MiB", w.Kind, maxSaid>>20))})
	}
	return nil, err
}

// maxEffects bounds the new effects of one trial, inline ones not counted.
const maxEffects = 1000

// perform checks again what the child should have: it may be what the
// candidate made of it.
func (s *session) perform(w *exec.WantedEffect) (object.Value, error) {
	if s.effects++; s.effects > maxEffects {
		return nil, batos.Errorf(batos.Limit, "more than %d new effects in one trial", maxEffects)
	}
	switch {
	case w.External:
		return nil, batos.Errorf(batos.Refused, "%s would change the world outside; a trial may not", w.Kind)
	case w.Key != exec.EffectKey(w.Kind, w.Args):
		return nil, batos.Errorf(batos.Refused, "%s was asked for under the key of something else", w.Kind)
	case w.Kind == exec.EffectTrial:
		return nil, batos.Errorf(batos.Refused, "a trial may not ask for a trial")
	case s.req.Effect == nil:
		return nil, batos.Errorf(batos.Refused, "%s can't be had in a trial", w.Kind)
	}
	if w.Kind == exec.EffectInfer {
		if s.inferences++; s.inferences > s.req.Run.Lineage.Inferences {
			return nil, batos.Errorf(batos.Limit, "the request's budget of inferences is used up")
		}
	}
	v, err := s.req.Effect(s.ctx, w)
	if err == nil && v == nil {
		v = object.None{}
	}
	return v, err
}

// process is the child as the parent sees it.
type process struct {
	cmd    *osexec.Cmd
	conn   net.Conn
	stderr head
	waited bool
}

// start starts a child. It holds one end of a socket pair as its file 3, the
// null device as 0 and 1, and a pipe to the parent as 2, for what the runtime
// says when it dies.
func (t *Trials) start() (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has a copy
	if err != nil {
		return nil, err
	}
	p := &process{conn: conn}
	p.cmd = &osexec.Cmd{
		Path: t.config.Program, Args: append([]string{"batos"}, t.config.Args...),
		Env: []string{}, Dir: "/", Stderr: &p.stderr, ExtraFiles: []*os.File{theirs}, SysProcAttr: childAttributes(),
		WaitDelay: time.Second,
	}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

// kill ends the child at once. It may be called at any time, also twice.
func (p *process) kill() { _ = p.cmd.Process.Kill() } // it fails only if the child has ended

// end makes sure that the child is gone.
func (p *process) end() {
	_ = p.conn.Close()
	p.kill()
	p.wait()
}

func (p *process) wait() {
	if !p.waited {
		p.waited = true
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}
}

// autopsy says what a child died of that closed its socket unasked.
func (p *process) autopsy(c Config) *stopped {
	p.wait()
	said := p.stderr.String()
	switch {
	case overCPU(p.cmd.ProcessState, c.CPU):
		return &stopped{stop: CPU}
	case strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"), strings.Contains(said, "failed to allocate"):
		return &stopped{stop: Memory}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return &stopped{stop: Crash, detail: strings.TrimSpace(p.cmd.ProcessState.String() + " " + line)}
}

// head keeps the first bytes of what a child says, and drops the rest.
type head struct{ b bytes.Buffer }

const maxStderr = 8 << 10

func (h *head) Write(p []byte) (int, error) {
	if room := maxStderr - h.b.Len(); room > 0 {
		h.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (h *head) String() string { return h.b.String() }
