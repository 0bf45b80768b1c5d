// Package http is the HTTP door: JSON under /api/v1, events as server-sent
// events. It translates between wire and kernel and decides nothing else,
// except who may come in: see guard.go.
package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"batos"
	"batos/image"
	"batos/internal/door/access"
	"batos/internal/door/view"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// maxWait bounds how long a request waits for an outcome; clients ask again.
const maxWait = 30 * time.Second

// Config is what the door needs.
type Config struct {
	Kernel  *kernel.Kernel
	Image   *image.Image
	Dir     string // of the image, for status
	Keys    *access.Keyring
	Release string
	Log     *slog.Logger
	// Mounts are other doors behind the same guard, by pattern ("/mcp").
	Mounts map[string]http.Handler
}

// Server is a door that listens.
type Server struct {
	config Config
	http   *http.Server
	listen net.Listener
	host   string // as bound
	ctx    context.Context
	cancel context.CancelFunc // ends event streams
}

// Bind takes an address ("127.0.0.1:8420"). One that is taken or makes no
// sense is an error of one line.
func Bind(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, batos.Errorf(batos.Busy, "the address %s is taken: another batos up may run there; give --http another port", address)
	}
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "cannot listen on %s: %w", address, err)
	}
	return l, nil
}

// Listen is Bind and New.
func Listen(address string, c Config) (*Server, error) {
	l, err := Bind(address)
	if err != nil {
		return nil, err
	}
	return New(l, c), nil
}

// New makes a door of an address that was bound. Who connects before Serve
// waits for it.
func New(l net.Listener, c Config) *Server {
	s := &Server{config: c, listen: l, host: l.Addr().String()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		Handler:           s.guard(s.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute, // of connections kept alive: clients that vanish hold none
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// URL is where the door answers.
func (s *Server) URL() string { return "http://" + s.host }

// Serve answers until Close.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listen); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close stops taking requests and waits for those under way until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	handle := func(pattern string, scope access.Scope, fn func(*http.Request) (any, error)) {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			err := caller(r).May(scope)
			var v any
			if err == nil {
				v, err = fn(r)
			}
			if err != nil {
				s.fail(w, r, err)
				return
			}
			status := http.StatusOK
			if o, ok := v.(wire.Outcome); ok {
				switch {
				case !batos.MessageState(o.State).Final():
					status = http.StatusAccepted
				case o.Error != nil:
					status = o.Error.Code.HTTP()
				}
			}
			answer(w, status, v)
		})
	}
	handle("GET /api/v1/status", access.Read, s.status)
	handle("POST /api/v1/send", access.Send, s.send)
	handle("GET /api/v1/messages/{id}", access.Read, s.message)
	handle("POST /api/v1/objects", access.Admin, s.create)
	handle("GET /api/v1/objects/{target}", access.Read, s.inspect)
	handle("PUT /api/v1/objects/{target}/slots/{slot}", access.Admin, s.set)
	handle("POST /api/v1/objects/{target}/methods", access.Admin, s.define)
	handle("POST /api/v1/eval", access.Admin, s.eval)
	handle("GET /api/v1/log", access.Read, s.log)
	handle("GET /api/v1/diff", access.Read, s.diff)
	handle("POST /api/v1/undo", access.Admin, s.undo)
	handle("GET /api/v1/missions", access.Read, s.missions)
	handle("GET /api/v1/missions/{oid}", access.Read, s.mission)
	handle("POST /api/v1/missions/{oid}/{verb}", access.Admin, s.decide)
	handle("GET /api/v1/lessons", access.Admin, s.lessons)
	handle("GET /api/v1/forge/jobs", access.Admin, s.jobs)
	handle("POST /api/v1/forge/jobs", access.Admin, s.train)
	handle("GET /api/v1/codex", access.Read, s.codex)
	handle("PUT /api/v1/codex", access.Admin, s.loadCodex)
	m.HandleFunc("POST /api/v1/image/{verb}", s.care)
	m.HandleFunc("GET /api/v1/events", s.events)
	handle("GET /api/v1/openapi.json", access.Read, s.openAPI)
	handle("GET /api/v1/names", access.Read, s.names)
	handle("GET /api/v1/tokens", access.Admin, s.tokens)
	handle("POST /api/v1/tokens", access.Admin, s.giveToken)
	handle("DELETE /api/v1/tokens/{name}", access.Admin, s.takeToken)
	s.adapterRoutes(handle)
	for pattern, h := range s.config.Mounts {
		m.Handle(pattern, h)
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := otherMethods(m, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			answer(w, http.StatusMethodNotAllowed, wire.Problem{Error: wire.Error{Code: batos.Invalid,
				Message: fmt.Sprintf("%.100s is there for %s, not for %s", r.URL.Path, strings.Join(allowed, " and "), r.Method)}})
			return
		}
		s.fail(w, r, batos.Errorf(batos.NotFound, "nothing answers %s %.100s", r.Method, r.URL.Path))
	})
	return m
}

// otherMethods are those for which something else than the last resort would
// answer.
func otherMethods(m *http.ServeMux, r *http.Request) (out []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		ask := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := m.Handler(ask); pattern != "/" && pattern != "" {
			out = append(out, method)
		}
	}
	return out
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away: nobody is left to tell
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := batos.CodeOf(err)
	if code == "" {
		if r.Context().Err() != nil {
			return // the client is gone
		}
		s.config.Log.Error("a request failed", "path", r.URL.Path, "error", err)
		answer(w, http.StatusInternalServerError, wire.Problem{Error: wire.Error{Code: "internal", Message: err.Error()}})
		return
	}
	answer(w, access.Status(w.Header(), err), wire.Problem{Error: wire.Error{Code: code, Message: err.Error()}})
}

// read decodes a request's JSON body strictly.
func read(r *http.Request, into any) error {
	if mt, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(mt) != "application/json" {
		return batos.Errorf(batos.Invalid, "send application/json, not %.60q", mt)
	}
	if r.ContentLength > access.MaxBody {
		return access.ErrTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, access.MaxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return access.ErrTooLarge
		}
		return batos.Errorf(batos.Invalid, "the request could not be read: %w", err)
	}
	if !utf8.Valid(body) {
		return batos.Errorf(batos.Invalid, "bad JSON: the request is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if batos.CodeOf(err) != "" {
			return err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return batos.Errorf(batos.Invalid, "bad JSON: the request ends in the middle, after %d bytes", len(body))
		}
		return badJSON(err, d.InputOffset())
	}
	if d.More() {
		return batos.Errorf(batos.Invalid, "bad JSON: something follows the request at byte %d", d.InputOffset())
	}
	return nil
}

// badJSON says in our words what the decoder found at a byte.
func badJSON(err error, at int64) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		field := "the request"
		if kind.Field != "" {
			field = strconv.Quote(kind.Field)
		}
		return batos.Errorf(batos.Invalid, "bad JSON at byte %d: %s wants %s, not %s", at, field, wanted(kind.Type), kind.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return batos.Errorf(batos.Invalid, "bad JSON at byte %d: the field %.60s means nothing here", at, name)
	}
	return batos.Errorf(batos.Invalid, "bad JSON at byte %d: %w", at, err)
}

// wanted is a Go type as JSON calls it.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// ref reads a target of a path or body: an oid or a name.
func ref(target string) batos.Ref { return batos.Ref{Name: target} }

// callerKey is where a request's context holds who sends it.
type callerKey struct{}

// caller is who the token of a request that passed the guard stands for.
func caller(r *http.Request) *access.Caller {
	c, _ := r.Context().Value(callerKey{}).(*access.Caller)
	return c
}

func person(r *http.Request) kernel.Person { return caller(r).Person() }

func (s *Server) send(r *http.Request) (any, error) {
	var in wire.Send
	if err := read(r, &in); err != nil {
		return nil, err
	}
	req := caller(r).Request(kernel.Request{ID: batos.MessageID(in.ID), Target: ref(in.Target), Selector: in.Selector})
	for _, a := range in.Args {
		req.Args = append(req.Args, orNone(a.Value))
	}
	for _, name := range sortedKeys(in.Kwargs) {
		req.Kwargs = append(req.Kwargs, object.Slot{Name: name, Value: orNone(in.Kwargs[name].Value)})
	}
	if !(in.Wait > 0) {
		o, err := s.config.Kernel.Submit(r.Context(), req)
		if err != nil {
			return nil, err
		}
		return view.Outcome(o), nil
	}
	ctx, cancel := waiting(r.Context(), in.Wait)
	defer cancel()
	return answered(s.config.Kernel.Send(ctx, req))
}

func orNone(v object.Value) object.Value {
	if v == nil {
		return object.None{}
	}
	return v
}

func (s *Server) message(r *http.Request) (any, error) {
	seconds := 0.0
	if w := r.URL.Query().Get("wait"); w != "" {
		var err error
		if seconds, err = strconv.ParseFloat(w, 64); err != nil {
			return nil, batos.Errorf(batos.Invalid, "wait=%.20q is not a number of seconds", w)
		}
	}
	return s.outcome(r.Context(), batos.MessageID(r.PathValue("id")), seconds)
}

// outcome waits up to that many seconds for a message.
func (s *Server) outcome(ctx context.Context, id batos.MessageID, seconds float64) (any, error) {
	if !(seconds > 0) {
		o, err := s.config.Kernel.Peek(ctx, id)
		if err != nil {
			return nil, err
		}
		return view.Outcome(o), nil
	}
	ctx, cancel := waiting(ctx, seconds)
	defer cancel()
	return answered(s.config.Kernel.Wait(ctx, id))
}

// waiting is ctx for that many seconds, at most maxWait.
func waiting(ctx context.Context, seconds float64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(min(maxWait.Seconds(), seconds)*float64(time.Second)))
}

// answered is the outcome after a wait; one that is not final yet is no error.
func answered(o kernel.Outcome, err error) (any, error) {
	if err != nil && (batos.CodeOf(err) != batos.Timeout || o.ID == "") {
		return nil, err
	}
	return view.Outcome(o), nil
}

func (s *Server) create(r *http.Request) (any, error) {
	var in wire.New
	if err := read(r, &in); err != nil {
		return nil, err
	}
	var parent batos.Ref
	if in.Parent != "" {
		parent = ref(in.Parent)
	}
	var slots []object.Slot
	switch v := in.Slots.Value.(type) {
	case nil, object.None:
	case *object.Dict:
		for _, e := range v.Entries {
			k, ok := e.Key.(object.Str)
			if !ok {
				return nil, batos.Errorf(batos.Invalid, "slots wants an object of names and values")
			}
			slots = append(slots, object.Slot{Name: string(k), Value: e.Value})
		}
	default:
		return nil, batos.Errorf(batos.Invalid, "slots wants an object of names and values, not a %s", v.Kind())
	}
	oid, err := s.config.Kernel.New(r.Context(), person(r), in.Name, parent, slots)
	if err != nil {
		return nil, err
	}
	return wire.Created{OID: oid.String(), Name: in.Name}, nil
}

func (s *Server) set(r *http.Request) (any, error) {
	var in wire.Set
	if err := read(r, &in); err != nil {
		return nil, err
	}
	tid, err := s.config.Kernel.Set(r.Context(), person(r), ref(r.PathValue("target")), r.PathValue("slot"), orNone(in.Value.Value))
	if err != nil {
		return nil, err
	}
	return wire.Changed{TID: tid.String()}, nil
}

func (s *Server) define(r *http.Request) (any, error) {
	var in wire.Def
	if err := read(r, &in); err != nil {
		return nil, err
	}
	names, err := s.config.Kernel.Def(r.Context(), person(r), ref(r.PathValue("target")), in.Source)
	if err != nil {
		return nil, err
	}
	return wire.Defined{Names: names}, nil
}

func (s *Server) eval(r *http.Request) (any, error) {
	var in wire.Eval
	if err := read(r, &in); err != nil {
		return nil, err
	}
	var target batos.Ref
	if in.Target != "" {
		target = ref(in.Target)
	}
	v, err := s.config.Kernel.Eval(r.Context(), person(r), target, in.Expression)
	if err != nil {
		return nil, err
	}
	return wire.Result{Value: wire.Value{Value: orNone(v)}}, nil
}
