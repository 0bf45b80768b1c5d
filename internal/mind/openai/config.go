package openai

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"batos"
	"batos/internal/mind"
)

// KeyEnv names the environment variable with the key that servers are shown.
const KeyEnv = "BATOS_API_KEY"

// Config says which server to use and how. Only URL must be set.
type Config struct {
	URL     string // http://host:port/v1, with #MODEL behind it where the server has several
	Key     string // shown as a bearer token; never logged, never in an error
	Context int    // tokens of prompt and answer; 0: what the server says, else 8192

	Parallel int           // most requests under way; 0: 4
	Queue    int           // most requests waiting; 0: 256
	Timeout  time.Duration // most that one request may take, retries included; 0: 10 minutes

	// AdapterName gives the immutable name of an adapter: persona@hash12. nil
	// calls all of them batos.
	AdapterName func(hash string) string
	// AdapterPath gives the folder of the adapter in PEFT's form, as the
	// server sees it: vLLM and LoRAX read adapters from their own disk. nil
	// or "" is none.
	AdapterPath func(hash string) string

	// Client makes the exchanges; nil is one with sensible time-outs.
	Client *http.Client

	sleep func(ctx context.Context, d time.Duration) error // between tries; tests do not wait
}

const (
	defaultContext  = 8192
	defaultParallel = 4
	defaultQueue    = 256
	defaultTimeout  = 10 * time.Minute
)

// Engine asks one model of a server. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	base   string // ends in /v1
	root   string // without it
	server server
	info   mind.Info

	stop    context.Context // ends with Close
	cancel  context.CancelFunc
	turn    *semaphore.Weighted
	waiting atomic.Int64
	plain   atomic.Bool // the server refuses to tell log probabilities

	mu  sync.Mutex
	hot map[string]adapter // by hash
}

var (
	_ mind.Engine      = (*Engine)(nil)
	_ mind.Streamer    = (*Engine)(nil)
	_ mind.Embedder    = (*Engine)(nil)
	_ mind.AdapterHost = (*Engine)(nil)
)

// Open asks the server what it is and which models it has. Errors: invalid (a
// URL that is none, a model that must be chosen), not_found (no such model),
// offline (no server there, or one that speaks something else), denied (the
// key), cancelled and timeout.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	u, err := address(cfg.URL)
	if err != nil {
		return nil, err
	}
	model := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	root := strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1")
	if cfg.Parallel <= 0 {
		cfg.Parallel = defaultParallel
	}
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = cfg.Parallel
		cfg.Client = &http.Client{Transport: t}
	}
	own := *cfg.Client // the key goes to the server that was named and to no other
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}
	cfg.Client = &own
	if cfg.sleep == nil {
		cfg.sleep = sleep
	}
	e := &Engine{cfg: cfg, base: root + "/v1", root: root, turn: semaphore.NewWeighted(int64(cfg.Parallel)), hot: map[string]adapter{}}
	e.stop, e.cancel = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	listed, err := e.models(ctx)
	if err != nil {
		return nil, err
	}
	m, err := choose(listed, model, root)
	if err != nil {
		return nil, err
	}
	e.info = mind.Info{ModelID: m.ID, Profile: mind.CovenantName, Meta: map[string]string{}}
	e.detect(ctx, m)
	if cfg.Context > 0 {
		e.info.ContextTokens = cfg.Context
	}
	if e.info.ContextTokens <= 0 {
		e.info.ContextTokens = defaultContext
	}
	e.info.Meta["server"] = string(e.server.kind)
	return e, nil
}

// Check says what is wrong with an address, without asking anybody.
func Check(addr string) error {
	_, err := address(addr)
	return err
}

func address(addr string) (*url.URL, error) {
	u, err := url.Parse(addr)
	switch {
	case err != nil:
		return nil, batos.Errorf(batos.Invalid, "remote mind: the address is no URL")
	case u.User != nil:
		return nil, batos.Errorf(batos.Invalid, "remote mind: the key does not belong into the address; put it into %s", KeyEnv)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "":
		return nil, batos.Errorf(batos.Invalid, "remote mind: %s is no address like http://host:port/v1#MODEL", u.Redacted())
	case strings.HasSuffix(u.Path, ".gguf"):
		return nil, batos.Errorf(batos.Invalid, "remote mind: %s is a file; fetch it first and name it on this machine", u.Redacted())
	}
	return u, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listedModel is an entry of GET /v1/models, with what some servers add.
type listedModel struct {
	ID      string  `json:"id"`
	OwnedBy string  `json:"owned_by"`
	Parent  *string `json:"parent"`        // vLLM: the model an adapter belongs to
	Length  int     `json:"max_model_len"` // vLLM
	Meta    *struct {
		Vocab  int    `json:"n_vocab"`
		Params uint64 `json:"n_params"`
		Size   int64  `json:"size"`
		Ctx    int    `json:"n_ctx_train"`
	} `json:"meta"` // llama-server
}

func (e *Engine) models(ctx context.Context) ([]listedModel, error) {
	var list struct {
		Data []listedModel `json:"data"`
	}
	if err := e.get(ctx, e.base+"/models", &list); err != nil {
		if batos.CodeOf(err) == batos.NotFound {
			err = batos.Errorf(batos.Offline, "there is no OpenAI-compatible server at %s", e.base)
		}
		return nil, err
	}
	return list.Data, nil
}

// choose finds the model that was named, or the only one.
func choose(list []listedModel, name, at string) (listedModel, error) {
	var names []string
	for _, m := range list {
		if m.ID == name || name != "" && m.ID == name+":latest" {
			return m, nil
		}
		if m.Parent == nil {
			names = append(names, m.ID)
		}
	}
	slices.Sort(names)
	shown := strings.Join(names[:min(len(names), 12)], ", ")
	if len(names) > 12 {
		shown += ", …"
	}
	switch {
	case len(names) == 0:
		return listedModel{}, batos.Errorf(batos.Offline, "the server at %s has no model", at)
	case name != "":
		return listedModel{}, batos.Errorf(batos.NotFound, "the server at %s has no model %s; it has %s", at, name, shown)
	case len(names) > 1:
		return listedModel{}, batos.Errorf(batos.Invalid, "the server at %s has several models; name one behind a # in the address: %s", at, shown)
	}
	for _, m := range list {
		if m.ID == names[0] {
			return m, nil
		}
	}
	return listedModel{}, batos.Errorf(batos.Offline, "the server at %s has no model", at)
}

// Info describes the model as the server does, without asking again. The hash
// of a remote model's bytes is not known.
func (e *Engine) Info(context.Context) (mind.Info, error) {
	if e.stop.Err() != nil {
		return mind.Info{}, errClosed()
	}
	return e.info, nil
}

func errClosed() error { return batos.Errorf(batos.Offline, "the remote mind is closed") }

// Close ends requests under way as cancelled. The server is not told.
func (e *Engine) Close() error {
	e.cancel()
	e.cfg.Client.CloseIdleConnections()
	return nil
}

// enter waits for a turn; the context it gives ends with the engine and with
// the request's time.
func (e *Engine) enter(ctx context.Context) (context.Context, func(), error) {
	if e.stop.Err() != nil {
		return nil, nil, errClosed()
	}
	if n := e.waiting.Add(1); n > int64(e.cfg.Queue) {
		e.waiting.Add(-1)
		return nil, nil, batos.Errorf(batos.Busy, "%d requests wait for the remote mind already", n-1)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	off := context.AfterFunc(e.stop, cancel)
	leave := func() { off(); cancel(); e.waiting.Add(-1) }
	if err := e.turn.Acquire(ctx, 1); err != nil {
		defer leave()
		return nil, nil, ended(ctx)
	}
	return ctx, func() { e.turn.Release(1); leave() }, nil
}
