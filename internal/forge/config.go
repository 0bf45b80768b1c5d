package forge

import (
	"time"

	"batos"
)

// Arch is the shape of a Llama-like model: rotary positions, RMS norms, gated
// feed-forward, no biases.
type Arch struct {
	Layers  int
	Dim     int // length of a hidden vector, a multiple of 2·Heads
	Heads   int // query heads
	KVHeads int // key and value heads; divides Heads
	FF      int // hidden length of the feed-forward part
	Ctx     int // longest context, tokens
	Vocab   int
	Tied    bool // the output matrix is the embedding matrix

	Eps      float32 // of the norms; 0: 1e-5
	RopeBase float32 // frequency base of the positions; 0: 10000
}

func (a Arch) withDefaults() Arch {
	if a.KVHeads == 0 {
		a.KVHeads = a.Heads
	}
	if a.Eps == 0 {
		a.Eps = 1e-5
	}
	if a.RopeBase == 0 {
		a.RopeBase = 10000
	}
	return a
}

func (a Arch) check() error {
	switch {
	case a.Layers < 1 || a.Dim < 1 || a.Heads < 1 || a.KVHeads < 1 || a.FF < 1 || a.Ctx < 1 || a.Vocab < 2:
		return batos.Errorf(batos.Invalid, "model shape makes no sense: %+v", a)
	case a.Dim%(2*a.Heads) != 0:
		return batos.Errorf(batos.Invalid, "model shape: %d values do not divide into %d heads of even length", a.Dim, a.Heads)
	case a.Heads%a.KVHeads != 0:
		return batos.Errorf(batos.Invalid, "model shape: %d heads do not share %d key heads evenly", a.Heads, a.KVHeads)
	}
	return nil
}

func (a Arch) head() int  { return a.Dim / a.Heads }
func (a Arch) kvDim() int { return a.head() * a.KVHeads }

// Params is the number of weights.
func (a Arch) Params() int {
	a = a.withDefaults()
	n := 0
	for _, s := range a.layout() {
		n += s.elements()
	}
	return n
}

// Config says how to train.
type Config struct {
	Arch Arch

	Steps       int     // optimizer steps in all, those of earlier runs included
	BatchTokens int     // positions of one step, a multiple of RowTokens
	RowTokens   int     // positions of one packed row; 0: BatchTokens, at most 256. An example of n tokens takes n-1.
	HeadTokens  int     // most supervised positions of one step; 0: BatchTokens
	LR          float32 // peak learning rate
	FinalLR     float32 // rate after the last step; the way there is a cosine
	Warmup      int     // steps of linear rise to LR
	WeightDecay float32 // of matrices; norms do not decay
	Beta1       float32 // 0: 0.9
	Beta2       float32 // 0: 0.99
	Seed        uint64  // of the initial weights
	// Start is what training begins from, of the same Arch; nil: random
	// weights by Seed.
	Start *Weights
	// BF16 rounds the operands of matrix products to BF16: a step is faster on
	// processors that multiply them, and the loss about as good. Weights,
	// moments and sums stay F32.
	BF16    bool
	Threads int // 0: 1; more than there are free cores makes a step many times slower

	CheckpointDir   string // "": no checkpoints
	CheckpointEvery int    // steps; 0: 500
}

func (c Config) withDefaults() Config {
	c.Arch = c.Arch.withDefaults()
	if c.RowTokens == 0 {
		c.RowTokens = min(c.BatchTokens, 256)
	}
	if c.HeadTokens == 0 {
		c.HeadTokens = c.BatchTokens
	}
	if c.Beta1 == 0 {
		c.Beta1 = 0.9
	}
	if c.Beta2 == 0 {
		c.Beta2 = 0.99
	}
	c.Threads = max(c.Threads, 1)
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = 500
	}
	return c
}

func (c Config) check() error {
	if err := c.Arch.check(); err != nil {
		return err
	}
	switch {
	case c.Steps < 1 || c.BatchTokens < 1 || c.Warmup < 0 || c.CheckpointEvery < 1:
		return batos.Errorf(batos.Invalid, "training: %d steps of %d tokens with a warm-up of %d make no sense", c.Steps, c.BatchTokens, c.Warmup)
	case c.RowTokens < 1 || c.BatchTokens%c.RowTokens != 0:
		return batos.Errorf(batos.Invalid, "training: %d tokens do not divide into rows of %d", c.BatchTokens, c.RowTokens)
	case c.HeadTokens < 1 || c.HeadTokens > c.BatchTokens:
		return batos.Errorf(batos.Invalid, "training: %d supervised of %d tokens make no sense", c.HeadTokens, c.BatchTokens)
	case c.RowTokens > c.Arch.Ctx:
		return batos.Errorf(batos.Invalid, "training: rows of %d tokens exceed the context of %d", c.RowTokens, c.Arch.Ctx)
	case !(c.LR > 0) || !(c.FinalLR >= 0) || !(c.WeightDecay >= 0) || !(c.Beta1 > 0 && c.Beta1 < 1) || !(c.Beta2 > 0 && c.Beta2 < 1):
		return batos.Errorf(batos.Invalid, "training: rate %g, weight decay %g and moments %g, %g make no sense", c.LR, c.WeightDecay, c.Beta1, c.Beta2)
	}
	return nil
}

// Source gives training examples by number, from 0 without end. The same
// number always gives the same example: that is what makes a run reproducible
// and resumable. A source that goes through a finite set in epochs derives the
// epoch and its shuffle from n.
type Source interface {
	// Example gives the n-th example: its tokens, and which of them the model
	// is to learn to predict from those before. supervised has the length of
	// tokens; its first element means nothing. The slices are only read, and
	// only until the next call.
	Example(n int) (tokens []int32, supervised []bool)
}

// Progress is the state after a step.
type Progress struct {
	Step, Steps     int
	Loss            float64 // mean over this step's supervised tokens, nats
	LR              float32
	Tokens          int     // positions of real tokens trained on so far, this run
	TokensPerSecond float64 // of real tokens, over this run
	Left            time.Duration
}
