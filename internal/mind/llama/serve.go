package llama

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/ggml"
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

	s := &server{conn: conn, work: make(chan call, 1)}
	go s.worker()
	return s.read()
}

func inherited() (net.Conn, error) {
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
	return conn, nil
}

// server is the child's state. The reading goroutine answers what is quick;
// the worker loads and generates.
type server struct {
	conn  net.Conn
	write sync.Mutex
	work  chan call

	mu      sync.Mutex
	session *session // nil until the model is loaded
	current uint64   // the call the worker is at; 0 is none
	stopped uint64   // the last call the parent wants stopped
}

func (s *server) reply(r reply) {
	s.write.Lock()
	defer s.write.Unlock()
	_ = writeFrame(s.conn, maxReply, r) // a parent that is gone shows in read
}

func (s *server) read() error {
	in := bufio.NewReaderSize(s.conn, 1<<16)
	for {
		var m call
		switch err := readFrame(in, maxCall, &m); {
		case errors.Is(err, io.EOF):
			os.Exit(0) // a decode may be running: its threads end with the process
		case err != nil:
			return err
		}
		switch m.Op {
		case opCancel:
			s.cancel(m.ID)
		case opCount:
			s.reply(s.count(m))
		default:
			s.work <- m
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

func (s *server) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = max(s.stopped, id)
	if s.current == id && s.session != nil {
		s.session.ctx.Cancel()
	}
}

// begin makes m the current call; a cancel that came before it counts.
func (s *server) begin(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = id
	if s.session == nil {
		return
	}
	s.session.ctx.Resume()
	if s.stopped == id {
		s.session.ctx.Cancel()
	}
}

func (s *server) worker() {
	for m := range s.work {
		s.begin(m.ID)
		s.reply(s.do(m))
		s.begin(0)
	}
}

func (s *server) do(m call) reply {
	r := reply{ID: m.ID}
	var err error
	switch {
	case m.Op == opOpen && m.Open != nil && s.session == nil:
		var ses *session
		ses, err = openSession(*m.Open, func(f float64) { s.reply(reply{ID: m.ID, Progress: true, Fraction: f}) })
		s.mu.Lock()
		s.session = ses
		s.mu.Unlock()
	case m.Op == opProbe && m.Open != nil:
		r.Library, err = inspect(m.Open.LibDir)
	case m.Op == opGenerate && m.Request != nil && s.session != nil:
		r.Result, err = s.session.generate(*m.Request)
	case m.Op == opAdapter && s.session != nil:
		err = s.session.adapters.add(s.session.model, m.Hash, m.Adapter)
	default:
		err = batos.Errorf(batos.Offline, "the engine was asked for %q out of turn", m.Op)
	}
	r.Err = faultOf(err)
	return r
}

// session is one loaded model with one context.
type session struct {
	model    *ggml.Model
	ctx      *ggml.Context
	tokens   int // room for prompt and answer; the context's own may be rounded up
	adapters adapters
	active   string       // hash of the adapter in force, "" is none
	cached   []ggml.Token // whole chunks that the cache holds under active
}

// chunk is how many tokens of a prompt are computed at once, and the unit in
// which a cached prefix is reused.
const chunk = 128

func openSession(a openArgs, progress func(float64)) (*session, error) {
	lib, err := ggml.Load(a.LibDir)
	if err != nil {
		return nil, err
	}
	progress(0.1)
	m, err := lib.LoadModel(a.ModelPath, ggml.ModelOptions{})
	if err != nil {
		return nil, err
	}
	if !m.Generates() {
		return nil, batos.Errorf(batos.Invalid, "model %s does not generate text", a.ModelPath)
	}
	progress(0.9)
	c, err := m.NewContext(ggml.ContextOptions{Tokens: a.Context, Batch: chunk, Threads: a.Threads})
	if err != nil {
		return nil, err
	}
	return &session{model: m, ctx: c, tokens: a.Context}, nil
}

// adapters holds loaded adapters, the last used first, up to a budget.
type adapters struct {
	loaded []loadedAdapter
}

type loadedAdapter struct {
	hash    string
	bytes   int
	adapter *ggml.Adapter
}

// adapterBudget bounds the bytes of the adapters that stay loaded; the one in
// use stays in any case.
const adapterBudget = 512 << 20

func (a *adapters) get(hash string) (*ggml.Adapter, bool) {
	i := slices.IndexFunc(a.loaded, func(l loadedAdapter) bool { return l.hash == hash })
	if i < 0 {
		return nil, false
	}
	l := a.loaded[i]
	a.loaded = slices.Insert(slices.Delete(a.loaded, i, i+1), 0, l)
	return l.adapter, true
}

func (a *adapters) add(m *ggml.Model, hash string, b []byte) error {
	if _, ok := a.get(hash); ok {
		return nil
	}
	ad, err := m.LoadAdapter(b)
	if err != nil {
		return err
	}
	a.loaded = slices.Insert(a.loaded, 0, loadedAdapter{hash, len(b), ad})
	total := 0
	for i := 0; i < len(a.loaded); i++ {
		l := a.loaded[i]
		if total += l.bytes; total <= adapterBudget || i == 0 {
			continue
		}
		if l.adapter.Close() != nil {
			continue // in force: it goes another time
		}
		total -= l.bytes
		a.loaded = slices.Delete(a.loaded, i, i+1)
		i--
	}
	return nil
}

// Library is what a child found when it loaded the engine's libraries.
type Library struct {
	Dir      string
	Version  string
	CPU      string // file name of the CPU variant that the library chose
	Devices  []string
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
