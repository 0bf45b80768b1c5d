package forge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"batos"
)

// A training process reads one order as a line of JSON from its standard
// input, and writes reports, a line each, to its standard output. When the
// input ends it writes a checkpoint and stops.

// report is one line of a training process.
type report struct {
	Progress *Progress `json:",omitempty"`
	Outcome  *Outcome  `json:",omitempty"`
	Code     batos.Code
	Error    string
}

// ServeOrder is the whole life of `batos engine train`.
func ServeOrder(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	var o Order
	if err != nil || json.Unmarshal(line, &o) != nil || o.Model == "" {
		return batos.Errorf(batos.Invalid, "engine train is started by batos itself: run `batos forge train`")
	}
	if err := o.confine(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, lines) // until the parent closes it, or is gone
		stop()
	}()
	say := json.NewEncoder(out)
	var last time.Time
	outcome, err := o.Fill(ctx, func(p Progress) {
		if time.Since(last) >= time.Second || p.Step == p.Steps {
			last = time.Now()
			_ = say.Encode(report{Progress: &p}) // a parent that is gone ends the input too
		}
	})
	if err != nil {
		var e *batos.Error
		r := report{Code: batos.Invalid, Error: err.Error()}
		switch {
		case errors.Is(err, context.Canceled):
			r.Code = batos.Cancelled
		case errors.As(err, &e):
			r.Code = e.Code
		}
		return say.Encode(r)
	}
	return say.Encode(report{Outcome: &outcome})
}

// leastMemory is what the engine's libraries take before there is a model.
const leastMemory = 32 << 20

// confine bounds the process's memory, lets others go first, and offers it to
// a system that runs out of memory.
func (o Order) confine() error {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 15)
	if o.Memory == 0 {
		return nil
	}
	if o.Memory < leastMemory {
		return batos.Errorf(batos.Limit, "training: %d MiB of memory are too little; it takes %d at least", o.Memory>>20, leastMemory>>20)
	}
	mapped, err := dataMapped()
	if err != nil {
		return err
	}
	limit := uint64(mapped + o.Memory)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return batos.Errorf(batos.Limit, "training: the bound on memory cannot be set: %w", err)
	}
	return nil
}

// dataMapped is the private writable memory of this process, in bytes.
func dataMapped() (int64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, batos.Errorf(batos.Limit, "training: memory cannot be measured: %w", err)
	}
	fields := strings.Fields(string(b))
	if len(fields) < 6 {
		return 0, batos.Errorf(batos.Limit, "training: memory cannot be measured: %q", b)
	}
	pages, err := strconv.ParseInt(fields[5], 10, 64)
	if err != nil {
		return 0, batos.Errorf(batos.Limit, "training: memory cannot be measured: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// stopGrace is how long a training may take to write its checkpoint.
const stopGrace = 20 * time.Second

// Run carries an order out in a process of its own, exe being the batos
// binary. progress may be nil; it is called about once a second. When ctx
// ends, the training writes a checkpoint, and the error is cancelled; a later
// Run of the same order goes on from there. A training that outgrows its
// memory, or is killed, is an error of code limit, and harms nobody else.
func Run(ctx context.Context, exe string, o Order, progress func(Progress)) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, batos.Errorf(batos.Cancelled, "training: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return Outcome{}, batos.Errorf(batos.Invalid, "training: %w", err)
	}
	line, err := json.Marshal(o)
	if err != nil {
		return Outcome{}, batos.Errorf(batos.Invalid, "training: %w", err)
	}
	cmd := exec.Command(exe, "engine", "train")
	cmd.Env = []string{"GGML_NO_BACKTRACE=1", "GOMEMLIMIT=512MiB"}
	said := &tail{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err = errors.Join(err, err2); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return Outcome{}, batos.Errorf(batos.Busy, "training: the process cannot be started: %w", err)
	}
	unhook := context.AfterFunc(ctx, func() {
		_ = in.Close() // asks it to stop
		time.AfterFunc(stopGrace, func() { _ = cmd.Process.Kill() })
	})
	defer unhook()
	_, _ = in.Write(append(line, '\n')) // a child that is gone says so by its reports
	last, err := follow(out, progress)
	_ = in.Close()
	ended := cmd.Wait()
	switch {
	case err != nil:
		return Outcome{}, batos.Errorf(batos.Invalid, "training: the process speaks nonsense: %w", err)
	case last.Outcome != nil:
		return *last.Outcome, nil
	case last.Error != "":
		return Outcome{}, batos.Errorf(last.Code, "%s", last.Error)
	case ctx.Err() != nil:
		return Outcome{}, batos.Errorf(batos.Cancelled, "training: %w", ctx.Err())
	}
	return Outcome{}, batos.Errorf(batos.Limit, "training: the process died (%v); give it more memory or less work; its last words: %s", ended, said)
}

// follow reads reports until the process has no more to say, and gives the
// last one.
func follow(out io.Reader, progress func(Progress)) (report, error) {
	var last report
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		last = report{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return last, err
		}
		if last.Progress != nil && progress != nil {
			progress(*last.Progress)
		}
	}
	return last, nil // an output that breaks off is a process that died
}

// tail keeps the last bytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - 400; n > 0 {
		t.b = t.b[n:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
