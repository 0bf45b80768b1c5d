package llama

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"batos"
	"batos/internal/gguf"
	"batos/internal/mind"
)

// Engine serves one model from a child process. It is safe for concurrent use.
type Engine struct {
	cfg  Config
	info mind.Info
	need memory

	stop    context.Context // ends with Close
	cancel  context.CancelFunc
	turn    *semaphore.Weighted // one for each context; waiters are served in order
	waiting atomic.Int64

	starting *semaphore.Weighted // guards what follows; a lock that a context can leave
	child    *child
	deaths   int       // in a row, without a request answered between
	died     time.Time // the last of them
	answered atomic.Bool
	hot      hotSet

	watch func(*child, op) // sees every call about to be sent, if set; tests injure children here
}

var (
	_ mind.Engine      = (*Engine)(nil)
	_ mind.Streamer    = (*Engine)(nil)
	_ mind.Embedder    = (*Engine)(nil)
	_ mind.AdapterHost = (*Engine)(nil)
	_ mind.PrefixHost  = (*Engine)(nil)
)

// Open validates the model file, starts a child and waits until it has loaded
// the model. Errors: not_found (no such file), invalid (truncated, not GGUF,
// not a model the library can be given, a context beyond its training),
// offline (no library, a wrong one, the child does not start or does not
// survive the model), limit (not enough memory), cancelled and timeout.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Progress != nil {
		cfg.Progress(Checking, 0)
	}
	f, err := gguf.Open(cfg.ModelPath)
	if err != nil {
		return nil, err
	}
	if err := gguf.CheckModel(f); err != nil {
		return nil, batos.Errorf(batos.CodeOf(err), "model file %s: %w", cfg.ModelPath, err)
	}
	if cfg, err = cfg.complete(f); err != nil {
		return nil, err
	}
	if cfg.LibDir, err = FindLibrary(cfg.LibDir); err != nil {
		return nil, err
	}
	for _, p := range []*string{&cfg.LibDir, &cfg.ModelPath} { // the child lives in another folder
		if *p, err = filepath.Abs(*p); err != nil {
			return nil, batos.Errorf(batos.Offline, "engine: %w", err)
		}
	}
	need := memoryOf(f, cfg)
	if free := availableMemory(); free > 0 && need.working > free {
		return nil, batos.Errorf(batos.Limit, "%d contexts of %d tokens need about %d MiB, %d MiB of memory are free: choose fewer or smaller ones", cfg.Contexts, cfg.Context, need.working>>20, free>>20)
	}
	if cfg.ModelHash == "" {
		if cfg.ModelHash, err = hashFile(ctx, cfg.ModelPath, f.Size, cfg.Progress); err != nil {
			return nil, err
		}
	}
	e := &Engine{
		cfg: cfg, info: infoOf(f, cfg), need: need,
		turn: semaphore.NewWeighted(int64(cfg.Contexts)), starting: semaphore.NewWeighted(1),
	}
	e.stop, e.cancel = context.WithCancel(context.Background())
	_, err = e.up(ctx)
	var d *death
	if errors.As(err, &d) {
		err = e.epitaph(d)
	}
	if err != nil {
		_ = e.Close() // there is no child to fail at it
		return nil, err
	}
	return e, nil
}

func infoOf(f *gguf.File, cfg Config) mind.Info {
	list, _ := f.Get("tokenizer.ggml.tokens")
	_, vocab := list.Elem()
	i := mind.Info{
		ModelID:       f.Text("general.name"),
		Hash:          cfg.ModelHash,
		Architecture:  f.Text("general.architecture"),
		ContextTokens: cfg.Context,
		Profile:       f.Text("batos.profile"),
		ChatTemplate:  f.Text("tokenizer.chat_template"),
		VocabSize:     vocab,
		Params:        f.Parameters(),
		EmbedsOnly:    embedsOnly(f),
		Meta:          map[string]string{},
	}
	if i.ModelID == "" {
		i.ModelID = strings.TrimSuffix(filepath.Base(cfg.ModelPath), ".gguf")
	}
	if i.Profile == "" {
		i.Profile = mind.CovenantName
	}
	for _, t := range f.Tensors {
		i.Bytes += t.Size
	}
	for _, m := range f.Meta {
		if key, ok := strings.CutPrefix(m.Key, "batos."); ok && m.Value.Type() == gguf.String {
			i.Meta[key], _ = m.Value.Text()
		}
	}
	return i
}

func hashFile(ctx context.Context, path string, size int64, progress func(Phase, float64)) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", batos.Errorf(batos.Invalid, "model file %s: %w", path, err)
	}
	defer func() { _ = in.Close() }() // read only
	h := sha256.New()
	const step = 64 << 20
	for done := int64(0); ; done += step {
		if ctx.Err() != nil {
			return "", ended(ctx)
		}
		switch _, err := io.CopyN(h, in, step); {
		case err == io.EOF:
			return hex.EncodeToString(h.Sum(nil)), nil
		case err != nil:
			return "", batos.Errorf(batos.Invalid, "model file %s cannot be read: %w", path, err)
		}
		progress(Checking, min(1, float64(done+step)/float64(size)))
	}
}

// ended says why ctx is over.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return batos.Errorf(batos.Timeout, "the engine had not answered in time")
	}
	return batos.Errorf(batos.Cancelled, "the engine was told to stop")
}

// Info describes the model, without asking the child.
func (e *Engine) Info(context.Context) (mind.Info, error) {
	if e.stop.Err() != nil {
		return mind.Info{}, errClosed()
	}
	return e.info, nil
}

func errClosed() error { return batos.Errorf(batos.Offline, "the engine is closed") }

// Generate answers one request, after those that came before it. A child that
// dies over it is started again and asked again.
func (e *Engine) Generate(ctx context.Context, r mind.Request) (*mind.Result, error) {
	return e.generate(ctx, r, nil)
}

// Stream is Generate with the text told in parts: whole characters, and never
// what a stop string may still take back. A child that dies amid it is started
// again and writes the same again; nothing is told twice.
func (e *Engine) Stream(ctx context.Context, r mind.Request, piece func(text string)) (*mind.Result, error) {
	return e.generate(ctx, r, piece)
}

func (e *Engine) generate(ctx context.Context, r mind.Request, piece func(string)) (*mind.Result, error) {
	if err := e.check(r); err != nil {
		return nil, err
	}
	if r.Schema != "" {
		var err error
		if r.Grammar, err = mind.SchemaGrammar(r.Schema); err != nil {
			return nil, err
		}
		r.Schema = ""
	}
	if n := e.waiting.Add(1); n > int64(e.cfg.Queue) {
		e.waiting.Add(-1)
		return nil, batos.Errorf(batos.Busy, "%d requests wait for the engine already", n-1)
	}
	defer e.waiting.Add(-1)
	ctx, done := e.bound(ctx)
	defer done()
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return nil, ended(ctx)
	}
	held := int64(1)
	defer func() { e.turn.Release(held) }()

	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	begun := time.Now()
	m := call{Op: opGenerate, Request: &r, Stream: piece != nil}
	rep, err := e.ask(ctx, m, newTeller(piece), func() error {
		// Two children died over it, or over what ran beside it. Alone it can
		// neither harm others nor be harmed.
		if held == 1 && e.cfg.Contexts > 1 {
			e.turn.Release(held)
			held = 0
			if err := e.turn.Acquire(ctx, int64(e.cfg.Contexts)); err != nil {
				return ended(ctx)
			}
			held = int64(e.cfg.Contexts)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if rep.Result == nil || len(rep.Result.Tokens) != len(rep.Result.Logprobs) {
		return nil, batos.Errorf(batos.Offline, "the engine answered something else")
	}
	rep.Result.Model, rep.Result.AdapterHash = e.info.Hash, r.Adapter
	rep.Result.Duration = time.Since(begun)
	return rep.Result, nil
}

// newTeller gives, for each child that is asked, who listens to it: whoever
// writes the same text again is passed over until something new comes.
func newTeller(piece func(string)) func() func(reply) {
	if piece == nil {
		return nil
	}
	told := 0
	return func() func(reply) {
		skip := told
		return func(r reply) {
			text := r.Part
			n := min(skip, len(text))
			skip -= n
			if text = text[n:]; text != "" {
				told += len(text)
				piece(text)
			}
		}
	}
}

// maxTokenBytes is longer than any token of a real vocabulary; a prompt with
// more for each place of the context is not even sent.
const maxTokenBytes = 512

// check refuses what the model could not answer whatever it says.
func (e *Engine) check(r mind.Request) error {
	prompts := 0
	for _, set := range []bool{r.Text != "", len(r.Tokens) > 0, len(r.Chat) > 0} {
		if set {
			prompts++
		}
	}
	size := len(r.Text) + maxTokenBytes*len(r.Tokens)
	for _, t := range r.Chat {
		size += len(t.Text)
	}
	switch {
	case e.info.EmbedsOnly:
		return batos.Errorf(batos.Invalid, "model %s only embeds: it writes no text", e.info.ModelID)
	case prompts != 1:
		return batos.Errorf(batos.Invalid, "a request needs exactly one of text, tokens and chat; it has %d", prompts)
	case size > maxTokenBytes*e.cfg.Context:
		return batos.Errorf(batos.Invalid, "the prompt is far too long for a context of %d tokens", e.cfg.Context)
	case r.Grammar != "" && r.Schema != "":
		return batos.Errorf(batos.Invalid, "a request has a grammar or a schema, not both")
	case r.MaxTokens < 0:
		return batos.Errorf(batos.Invalid, "a request for %d tokens makes no sense", r.MaxTokens)
	case !(r.Temperature >= 0 && r.Temperature <= 100) || !(r.TopP >= 0 && r.TopP <= 1):
		return batos.Errorf(batos.Invalid, "temperature %g and top-p %g make no sense", r.Temperature, r.TopP)
	}
	for _, s := range r.Stop {
		if s == "" {
			return batos.Errorf(batos.Invalid, "an empty stop string would stop at once")
		}
	}
	return nil
}

// maxCount bounds the text of one CountTokens, in bytes: the child counts
// between two looks at its parent.
const maxCount = 16 << 20

// CountTokens says how many tokens text is. It does not wait for generations.
func (e *Engine) CountTokens(ctx context.Context, text string) (int, error) {
	if len(text) > maxCount {
		return 0, batos.Errorf(batos.Invalid, "a text of %d MiB is too long to count", len(text)>>20)
	}
	ctx, done := e.bound(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	rep, err := e.ask(ctx, call{Op: opCount, Text: text}, nil, nil)
	return rep.Count, err
}

// Close stops the child. Requests under way end as cancelled, later ones as
// offline.
func (e *Engine) Close() error {
	e.cancel()
	if err := e.starting.Acquire(context.Background(), 1); err != nil {
		return err
	}
	defer e.starting.Release(1)
	if e.child != nil {
		e.child.close(e.cfg.Grace)
		e.child = nil
	}
	e.hot.clear()
	return nil
}

// bound gives a context that also ends with the engine.
func (e *Engine) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	off := context.AfterFunc(e.stop, func() { cancel(context.Canceled) })
	return ctx, func() { off(); cancel(nil) }
}

// tries is how many children are given one call. Between the second and the
// third the call is taken aside.
const tries = 3

// ask calls a living child; when it dies over the call, another one. A child
// that dies while it starts was not given the call, so one such death more is
// borne. listen, if not nil, gives for each child who hears its parts. aside,
// if not nil, is called before the last try.
func (e *Engine) ask(ctx context.Context, m call, listen func() func(reply), aside func() error) (reply, error) {
	var d *death
	for sent, starts := 0, 0; sent < tries && starts < 2; {
		c, err := e.up(ctx)
		if errors.As(err, &d) {
			starts++
			continue
		}
		if err != nil {
			return reply{}, err
		}
		if e.watch != nil {
			e.watch(c, m.Op)
		}
		var tell func(reply)
		if listen != nil {
			tell = listen()
		}
		rep, err := c.call(ctx, e.cfg.graceOf(m.Op), m, tell)
		if errors.As(err, &d) {
			if sent++; sent == tries-1 && aside != nil {
				if err := aside(); err != nil {
					return reply{}, err
				}
			}
			continue
		}
		if err != nil && ctx.Err() != nil {
			return reply{}, ended(ctx)
		}
		e.answered.Store(true)
		return rep, err
	}
	return reply{}, e.epitaph(d)
}

// epitaph is the error for a child that cannot be kept alive.
func (e *Engine) epitaph(d *death) error {
	if d.signal == syscall.SIGKILL {
		return batos.Errorf(batos.Offline, "the engine does not stay alive: it was killed, perhaps for want of memory (the model needs about %d MiB, %d MiB are free)",
			(e.need.weights+e.need.working)>>20, availableMemory()>>20)
	}
	return batos.Errorf(batos.Offline, "the engine does not stay alive with model %s: %w", e.cfg.ModelPath, d)
}

// Delays between starts of children that die: none for the first, so that a
// single crash costs no more than the start itself.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 5 * time.Second
)

func delay(deaths int) time.Duration {
	if deaths <= 1 {
		return 0
	}
	return min(firstDelay<<min(deaths-2, 16), maxDelay)
}

// up gives a living child with the model loaded, starting one if need be. The
// error is *death if that one ended before it was ready.
func (e *Engine) up(ctx context.Context) (*child, error) {
	if err := e.starting.Acquire(ctx, 1); err != nil {
		return nil, ended(ctx)
	}
	defer e.starting.Release(1)
	if e.stop.Err() != nil {
		return nil, errClosed()
	}
	if e.child != nil {
		select {
		case <-e.child.dead:
			e.bury()
		default:
			return e.child, nil
		}
	}
	if wait := time.Until(e.died.Add(delay(e.deaths))); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
	c, err := start(e.cfg.Exe)
	if err != nil {
		return nil, err
	}
	e.cfg.Progress(Loading, 0)
	_, err = c.call(ctx, e.cfg.Grace, call{Op: opOpen, Open: &openArgs{
		LibDir: e.cfg.LibDir, ModelPath: e.cfg.ModelPath, ModelHash: e.cfg.ModelHash, Prefixes: e.cfg.Prefixes, Threads: e.cfg.Threads, Context: e.cfg.Context,
		Contexts: e.cfg.Contexts, Parallel: e.cfg.parallel(), GPULayers: e.cfg.GPULayers, EmbedsOnly: e.info.EmbedsOnly,
	}}, func(r reply) { e.cfg.Progress(Loading, r.Fraction) })
	if err == nil {
		err = e.reheat(ctx, c)
	}
	var d *death
	switch {
	case err == nil:
		e.child = c
		e.cfg.Progress(Ready, 1)
		return c, nil
	case errors.As(err, &d):
		e.bury()
		return nil, d
	}
	c.close(e.cfg.Grace)
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	return nil, err
}

// bury counts a death for the delay before the next start.
func (e *Engine) bury() {
	if e.answered.Swap(false) {
		e.deaths = 0
	}
	e.child = nil
	e.deaths++
	e.died = time.Now()
}
