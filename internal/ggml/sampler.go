package ggml

import (
	"math"

	"batos"
)

// Sampler chooses one token after another. It remembers what it chose, for
// the grammar's sake, and belongs to one goroutine at a time.
type Sampler struct {
	model *Model
	p     uintptr
}

// SamplerOptions says how to choose. The zero value takes the likeliest token.
type SamplerOptions struct {
	Grammar     string  // GBNF whose root rule is "root"; "": anything
	Temperature float32 // 0: the likeliest token
	TopK        int     // 0: all
	TopP        float32 // 0 or 1: all
	MinP        float32 // 0: all
	Seed        uint64
}

// NewSampler makes a sampler for contexts over m.
func (m *Model) NewSampler(o SamplerOptions) (*Sampler, error) {
	if o.Temperature < 0 || math.IsNaN(float64(o.Temperature)) || o.TopP < 0 || o.TopP > 1 || o.MinP < 0 || o.MinP > 1 || o.TopK < 0 {
		return nil, batos.Errorf(batos.Invalid, "sampler options make no sense: temperature %g, top-k %d, top-p %g, min-p %g", o.Temperature, o.TopK, o.TopP, o.MinP)
	}
	c := &m.lib.c
	chain := c.chainInit(cChainParams{noPerf: true})
	if chain == 0 {
		return nil, batos.Errorf(batos.Limit, "no memory for a sampler")
	}
	if o.Grammar != "" {
		var g uintptr
		words := m.lib.quietly(func() { g = c.grammar(m.vocab, o.Grammar, "root") })
		if g == 0 {
			c.samplerFree(chain)
			return nil, batos.Errorf(batos.Invalid, "grammar cannot be parsed%s", said(words))
		}
		c.chainAdd(chain, g)
	}
	if o.Temperature == 0 {
		c.chainAdd(chain, c.greedy())
	} else {
		if o.TopK > 0 {
			c.chainAdd(chain, c.topK(int32(min(o.TopK, math.MaxInt32))))
		}
		if o.TopP > 0 && o.TopP < 1 {
			c.chainAdd(chain, c.topP(o.TopP, 1))
		}
		if o.MinP > 0 {
			c.chainAdd(chain, c.minP(o.MinP, 1))
		}
		c.chainAdd(chain, c.temp(o.Temperature))
		seed := uint32(o.Seed ^ o.Seed>>32)
		if seed == math.MaxUint32 { // means "any" to the library
			seed = 0
		}
		c.chainAdd(chain, c.dist(seed))
	}
	m.users.Add(1)
	return &Sampler{model: m, p: chain}, nil
}

// Sample chooses by the logits of item i of the context's last Decode (-1: its
// last output) and takes note of the choice.
func (s *Sampler) Sample(c *Context, i int) (Token, error) {
	if c.model != s.model {
		return NoToken, batos.Errorf(batos.Invalid, "sampler belongs to another model")
	}
	if _, err := c.Logits(i); err != nil {
		return NoToken, err
	}
	t := Token(s.model.lib.c.sample(s.p, c.p, int32(i)))
	if !s.model.known(t) {
		return NoToken, batos.Errorf(batos.Offline, "engine: the sampler chose token %d", t)
	}
	return t, nil
}

// Accept takes note of a token that was chosen elsewhere. A grammar must allow
// it.
func (s *Sampler) Accept(t Token) {
	if s.model.known(t) {
		s.model.lib.c.accept(s.p, int32(t))
	}
}

// Reset forgets what was chosen: the next choice is the first.
func (s *Sampler) Reset() { s.model.lib.c.samplerReset(s.p) }

// Close frees the sampler.
func (s *Sampler) Close() {
	if s.p == 0 {
		return
	}
	s.model.lib.c.samplerFree(s.p)
	s.p = 0
	s.model.users.Add(-1)
}
