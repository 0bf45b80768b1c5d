package llama

import (
	"context"
	"math"
	"slices"

	"golang.org/x/sync/semaphore"

	"batos"
	"batos/internal/ggml"
)

// embedder makes vectors of texts, on a context of its own that is made with
// the first of them.
type embedder struct {
	model   *ggml.Model
	tokens  int // of one window
	threads int

	turn *semaphore.Weighted // guards what follows
	ctx  *ggml.Context
	head []ggml.Token // before and behind every window, as the model wants it
	tail []ggml.Token
	held int64
}

// maxWindow bounds the tokens that are embedded at once: the library computes
// a pooled text in one piece, and holds scratch memory for it.
const maxWindow = 512

func newEmbedder(m *ggml.Model, a openArgs) *embedder {
	return &embedder{model: m, tokens: min(maxWindow, a.Context), threads: a.Threads, turn: semaphore.NewWeighted(1)}
}

func (e *embedder) work() int64 {
	if e.turn.TryAcquire(1) {
		defer e.turn.Release(1)
		return e.held
	}
	return 0
}

// open makes the context and finds the tokens that the model puts around a
// text.
func (e *embedder) open(lib *ggml.Library) error {
	if e.ctx != nil {
		return nil
	}
	with, err := e.model.Tokenize("a", true, false)
	if err != nil {
		return err
	}
	bare, err := e.model.Tokenize("a", false, false)
	if err != nil {
		return err
	}
	for i := 0; i+len(bare) <= len(with); i++ {
		if slices.Equal(with[i:i+len(bare)], bare) {
			e.head, e.tail = with[:i], with[i+len(bare):]
			break
		}
	}
	if len(e.head)+len(e.tail) >= e.tokens {
		return batos.Errorf(batos.Invalid, "a context of %d tokens is too small to embed anything", e.tokens)
	}
	o := ggml.ContextOptions{Tokens: e.tokens, Batch: e.tokens, Threads: e.threads, Embeddings: true}
	if v, ok := e.model.Meta(e.model.Architecture() + ".pooling_type"); !ok || v == "0" {
		o.Pooling = ggml.PoolingMean
	}
	before := lib.Allocated()
	if e.ctx, err = e.model.NewContext(o); err != nil {
		return err
	}
	e.held = lib.Allocated() - before
	return nil
}

// embed gives a vector of unit length for each text. A text that is longer
// than the window is the mean of its windows, weighted by their lengths.
func (s *session) embed(ctx context.Context, texts []string) ([][]float32, error) {
	e := s.embedding
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return nil, batos.Errorf(batos.Cancelled, "cancelled while waiting to embed")
	}
	defer e.turn.Release(1)
	if err := e.open(s.lib); err != nil {
		return nil, err
	}
	defer e.ctx.Resume()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { e.ctx.Cancel(); close(stopped) })
	defer func() {
		if !stop() {
			<-stopped
		}
	}()
	out := make([][]float32, len(texts))
	for i, text := range texts {
		toks, err := e.model.Tokenize(text, false, false)
		if err != nil {
			return nil, err
		}
		room := e.tokens - len(e.head) - len(e.tail)
		if len(toks) == 0 && len(e.head)+len(e.tail) == 0 {
			return nil, batos.Errorf(batos.Invalid, "text %d has nothing to embed", i)
		}
		sum := make([]float64, e.model.EmbeddingSize())
		for first := true; first || len(toks) > 0; first = false {
			n := min(room, len(toks))
			v, err := s.window(ctx, toks[:n])
			if err != nil {
				return nil, err
			}
			unit(v)
			for k, x := range v {
				sum[k] += float64(x) * float64(max(n, 1))
			}
			toks = toks[n:]
		}
		v := make([]float32, len(sum))
		for k, x := range sum {
			v[k] = float32(x)
		}
		if !unit(v) {
			return nil, batos.Errorf(batos.Offline, "engine: text %d gave a vector without a length", i)
		}
		out[i] = v
	}
	return out, nil
}

func (s *session) window(ctx context.Context, toks []ggml.Token) ([]float32, error) {
	e := s.embedding
	all := slices.Concat(e.head, toks, e.tail)
	items := make([]ggml.Item, len(all))
	for i, t := range all {
		items[i] = ggml.Item{Token: t, Pos: i, Output: true}
	}
	if err := s.compute.Acquire(ctx, 1); err != nil {
		return nil, batos.Errorf(batos.Cancelled, "cancelled while embedding")
	}
	defer s.compute.Release(1)
	e.ctx.Clear()
	if err := e.ctx.Decode(items); err != nil {
		return nil, err
	}
	return e.ctx.SequenceEmbedding(0)
}

// unit scales v to length one and reports whether it has a length.
func unit(v []float32) bool {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return false
	}
	f := 1 / math.Sqrt(sum)
	for i := range v {
		v[i] = float32(float64(v[i]) * f)
	}
	return true
}
