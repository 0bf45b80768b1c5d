package llama

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// Serve is the whole life of `batos engine serve`: it answers calls on the
// inherited descriptor 3 until the parent closes it. The error is invalid if
// there is no such descriptor, as when a person runs the command.
func Serve() error {
	conn, err := inherited()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the process ends
	// An assertion of the library aborts: no core dump of gigabytes then, and
	// when memory runs out the system should choose this process.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)

	s := &server{conn: conn, calls: map[uint64]context.CancelFunc{}}
	return s.read()
}

func inherited() (*net.UnixConn, error) {
	const fd = 3
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, batos.Errorf(batos.Invalid, "engine serve is started by batos itself: run `batos up --model FILE.gguf`")
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(fd, "parent")
	conn, err := net.FileConn(f)
	_ = f.Close() // conn is a duplicate
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "engine serve: descriptor 3: %w", err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "engine serve: descriptor 3 is no socket of the kind that batos makes")
	}
	return u, nil
}

// server is the child's state. The reading goroutine answers what is quick;
// every other call has a goroutine of its own, and the session decides who
// computes.
type server struct {
	conn  *net.UnixConn
	write sync.Mutex

	mu      sync.Mutex
	session *session // nil until the model is loaded
	calls   map[uint64]context.CancelFunc
}

func (s *server) reply(r reply) {
	s.write.Lock()
	defer s.write.Unlock()
	_ = writeFrame(s.conn, maxReply, r) // a parent that is gone shows in read
}

func (s *server) read() error {
	box := &inbox{conn: s.conn}
	in := bufio.NewReaderSize(box, 1<<16)
	for {
		var m call
		switch err := readFrame(in, maxCall, &m); {
		case errors.Is(err, io.EOF):
			os.Exit(0) // a decode may be running: its threads end with the process
		case err != nil:
			return err
		}
		var missing error
		if m.Op.hasFile() {
			m.file, missing = box.take()
		}
		switch {
		case m.Op == opCancel:
			s.mu.Lock()
			stop := s.calls[m.ID]
			s.mu.Unlock()
			if stop != nil {
				stop()
			}
		case m.Op == opCount:
			s.reply(s.count(m))
		case missing != nil:
			s.reply(reply{ID: m.ID, Err: faultOf(missing)})
		default:
			ctx, cancel := context.WithCancel(context.Background())
			s.mu.Lock()
			s.calls[m.ID] = cancel
			ses := s.session
			s.mu.Unlock()
			go func() {
				r := s.do(ctx, ses, m)
				s.mu.Lock()
				delete(s.calls, m.ID)
				s.mu.Unlock()
				cancel()
				if m.file != nil {
					_ = m.file.Close() // read only
				}
				s.reply(r)
			}()
		}
	}
}

func (s *server) count(m call) reply {
	s.mu.Lock()
	ses := s.session
	s.mu.Unlock()
	if ses == nil {
		return reply{ID: m.ID, Err: faultOf(batos.Errorf(batos.Offline, "no model is loaded"))}
	}
	toks, err := ses.model.Tokenize(m.Text, false, true)
	return reply{ID: m.ID, Count: len(toks), Err: faultOf(err)}
}

// do answers one call; ses is nil before the first is answered.
func (s *server) do(ctx context.Context, ses *session, m call) reply {
	r := reply{ID: m.ID}
	more := func(part reply) {
		part.ID, part.More = m.ID, true
		s.reply(part)
	}
	var err error
	switch {
	case m.Op == opOpen && m.Open != nil && ses == nil:
		ses, err = openSession(*m.Open, func(f float64) { more(reply{Fraction: f}) })
		s.mu.Lock()
		s.session = ses
		s.mu.Unlock()
	case m.Op == opProbe && m.Open != nil:
		r.Library, err = inspect(m.Open.LibDir)
	case ses == nil:
		err = batos.Errorf(batos.Offline, "the engine was asked for %q out of turn", m.Op)
	case m.Op == opGenerate && m.Request != nil:
		var tell func(string)
		if m.Stream {
			tell = func(text string) { more(reply{Part: text}) }
		}
		r.Result, err = ses.generate(ctx, *m.Request, tell)
	case m.Op == opEmbed:
		r.Vectors, err = ses.embed(ctx, m.Texts)
	case m.Op == opLoad:
		r.Hot, err = ses.loadAdapter(ctx, m.Hash, m.file)
	case m.Op == opUnload:
		err = ses.unloadAdapter(ctx, m.Hash)
	case m.Op == opPrefixes:
		r.Prefixes = ses.prefixes.list()
	case m.Op == opSave, m.Op == opRestore:
		var p mind.Prefix
		if m.Op == opSave {
			p, err = ses.prefixes.save(m.Hash, m.file)
		} else {
			p, err = ses.prefixes.restore(m.file)
		}
		r.Prefixes = []mind.Prefix{p}
	case m.Op == opMemory:
		r.Memory = ses.memory()
	default:
		err = batos.Errorf(batos.Offline, "the engine was asked for %q out of turn", m.Op)
	}
	r.Err = faultOf(err)
	return r
}

// Library is what a child found when it loaded the engine's libraries.
type Library struct {
	Dir      string
	Version  string
	CPU      string // file name of the CPU variant that the library chose
	Devices  []ggml.DeviceInfo
	Features string // processor features in use, in the library's words
}

func inspect(dir string) (*Library, error) {
	lib, err := ggml.Load(dir)
	if err != nil {
		return nil, err
	}
	return &Library{Dir: lib.Dir(), Version: ggml.Version, CPU: mappedCPU(), Devices: lib.Devices(), Features: lib.SystemInfo()}, nil
}

// mappedCPU finds the CPU variant among the files mapped into this process.
func mappedCPU() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.LastIndexByte(line, '/'); i >= 0 {
			if name := strings.TrimSpace(line[i+1:]); strings.HasPrefix(name, "libggml-cpu") {
				return name
			}
		}
	}
	return ""
}
