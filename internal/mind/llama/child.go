package llama

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"batos"
)

// child is one running engine process. Its methods are safe for concurrent
// use. When the process ends, for whatever reason, every pending call gets a
// *death and dead is closed.
type child struct {
	conn   *net.UnixConn
	signal func(os.Signal) error
	pid    int
	dead   chan struct{} // closed after exit is set
	exit   *death
	write  sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*waiter // nil once the child is dead
}

// waiter is a call that waits for its replies.
type waiter struct {
	mu    sync.Mutex
	more  []reply       // before the final one, not yet looked at
	woken chan struct{} // holds one once more has grown
	final chan reply    // holds one
}

func (w *waiter) add(r reply) {
	w.mu.Lock()
	w.more = append(w.more, r)
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// hear tells what has come so far.
func (w *waiter) hear(tell func(reply)) {
	w.mu.Lock()
	more := w.more
	w.more = nil
	w.mu.Unlock()
	for _, r := range more {
		if tell != nil {
			tell(r)
		}
	}
}

// death is the error of a call whose child ended before it answered.
type death struct {
	how    string // "signal: killed", "exit status 2"
	signal syscall.Signal
	words  string // the first line it wrote, where the reason stands
}

func (d *death) Error() string {
	if d.words == "" {
		return "the engine process ended: " + d.how
	}
	return "the engine process ended: " + d.how + ": " + d.words
}

// childEnv is the whole environment of a child. The allocator's settings make
// it give adapters' memory back: few pools for all threads, and every large
// piece a mapping of its own, however many came and went before. Large pieces
// are asked for in huge pages, where the system gives them to who asks:
// reading weights misses fewer addresses, and loading faults in fewer pages.
var childEnv = []string{
	"GGML_NO_BACKTRACE=1", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=4194304", "MALLOC_TRIM_THRESHOLD_=33554432",
	"GLIBC_TUNABLES=glibc.malloc.hugetlb=1",
}

// start runs exe as an engine. The child has descriptor 3, and dies with its
// parent.
func start(exe string) (*child, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, batos.Errorf(batos.Offline, "engine: no socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "engine"), os.NewFile(uintptr(fds[1]), "engine child")
	conn, err := net.FileConn(ours) // a duplicate of ours
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, batos.Errorf(batos.Offline, "engine: no socket pair: %w", err)
	}
	said := &head{}
	cmd := exec.Command(exe, "engine", "serve")
	cmd.Env = childEnv
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	c := &child{conn: conn.(*net.UnixConn), dead: make(chan struct{}), pending: map[uint64]*waiter{}}
	started, ended := make(chan error, 1), make(chan *death, 1)
	// The kernel delivers the parent-death signal when the starting thread
	// ends, so that thread is kept until the child is gone.
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- deathOf(cmd.Wait(), cmd.ProcessState, said)
		}
	}()
	err = <-started
	_ = theirs.Close()
	if err != nil {
		_ = conn.Close()
		return nil, batos.Errorf(batos.Offline, "engine: %s cannot be started: %w", exe, err)
	}
	c.signal, c.pid = cmd.Process.Signal, cmd.Process.Pid
	go c.read(ended)
	return c, nil
}

func deathOf(err error, st *os.ProcessState, h *head) *death {
	d := &death{how: "exit status 0", words: h.line()}
	if err != nil {
		d.how = err.Error()
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		d.signal = ws.Signal()
	}
	return d
}

// read delivers replies until the child ends or says something malformed,
// and then buries it.
func (c *child) read(ended <-chan *death) {
	in := bufio.NewReaderSize(c.conn, 1<<16)
	var broken error
	for {
		var r reply
		if err := readFrame(in, maxReply, &r); err != nil {
			if errors.Is(err, errFrame) {
				broken = err
			}
			break
		}
		c.mu.Lock()
		w := c.pending[r.ID]
		if !r.More {
			delete(c.pending, r.ID)
		}
		c.mu.Unlock()
		switch {
		case w == nil: // its caller went away
		case r.More:
			w.add(r)
		default:
			w.final <- r
		}
	}
	c.kill()
	_ = c.conn.Close()
	c.exit = <-ended
	if broken != nil {
		c.exit.words = broken.Error()
	}
	c.mu.Lock()
	c.pending = nil
	c.mu.Unlock()
	close(c.dead)
}

// kill ends the child now; it is no error that it has ended before.
func (c *child) kill() { _ = c.signal(syscall.SIGKILL) }

func (c *child) send(m call) error {
	c.write.Lock()
	defer c.write.Unlock()
	if m.file != nil {
		return sendFrame(c.conn, maxCall, m, m.file)
	}
	return writeFrame(c.conn, maxCall, m)
}

// call sends m and waits for its final reply; tell, if not nil, is given the
// replies before it, in order, on the caller's goroutine. When ctx ends first
// the child is told to stop, and killed if it has not within grace; either way
// nothing of m is computed any more when call returns. The error is *death if
// the child ended, ctx's if that ended, else what the child answered.
func (c *child) call(ctx context.Context, grace time.Duration, m call, tell func(reply)) (reply, error) {
	w := &waiter{woken: make(chan struct{}, 1), final: make(chan reply, 1)}
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		<-c.dead
		return reply{}, c.exit
	}
	c.next++
	m.ID = c.next
	c.pending[m.ID] = w
	c.mu.Unlock()

	sent := make(chan error, 1)
	go func() { sent <- c.send(m) }()
	done := ctx.Done()
	var stuck <-chan time.Time
	for {
		select {
		case err := <-sent:
			if batos.CodeOf(err) != "" { // nothing was written
				c.forget(m.ID)
				return reply{}, err
			}
			if err != nil {
				c.kill() // half a frame is written; reading finds the end
			}
			sent = nil
		case <-w.woken:
			w.hear(tell)
		case r := <-w.final:
			if ctx.Err() != nil && done == nil {
				return reply{}, ctx.Err()
			}
			w.hear(tell)
			return r, r.Err.error()
		case <-c.dead:
			if len(w.final) > 0 {
				continue // it answered before it died
			}
			if done == nil {
				return reply{}, ctx.Err()
			}
			return reply{}, c.exit
		case <-done:
			done = nil
			t := time.NewTimer(grace)
			defer t.Stop()
			stuck = t.C
			go func() { _ = c.send(call{ID: m.ID, Op: opCancel}) }() // a failure shows as the child's end
		case <-stuck:
			c.kill()
			stuck = nil
		}
	}
}

func (c *child) forget(id uint64) {
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
}

// close lets the child end by itself, and kills it after grace.
func (c *child) close(grace time.Duration) {
	_ = c.conn.CloseWrite() // the child reads the end and leaves
	t := time.AfterFunc(grace, c.kill)
	defer t.Stop()
	<-c.dead
}

// head keeps the beginning of what a child writes. A healthy one writes
// nothing; a dying one gives its reason first and its registers after it.
type head struct {
	mu  sync.Mutex
	buf []byte
}

const headKeep = 1024

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf = append(h.buf, p[:min(len(p), headKeep-len(h.buf))]...)
	return len(p), nil
}

// line gives the first line that is not empty, cut to a length that fits a
// message and without the folder the library was built in.
func (h *head) line() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range strings.Lines(string(h.buf)) {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if i := strings.LastIndex(l, "/llama.cpp/"); i >= 0 {
			l = l[i+1:]
		}
		return strings.ToValidUTF8(l[:min(len(l), 300)], "�")
	}
	return ""
}
