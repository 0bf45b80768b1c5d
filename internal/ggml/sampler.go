package ggml

import (
	"math"
	"unsafe"

	"batos"
)

// Sampler chooses one token after another. It remembers what it chose, for
// the grammar's sake, and belongs to one goroutine at a time.
//
// Asking a grammar about every token of a vocabulary costs more than computing
// one, and it mostly allows what the model wants to say. So the choice is made
// without the grammar first and kept if the grammar allows it; only else is
// the grammar asked about all. For the likeliest token that is the same
// choice; with a temperature, what is refused goes to the allowed tokens in
// proportion.
type Sampler struct {
	model   *Model
	chain   uintptr // 0: the likeliest token
	grammar uintptr // 0: none
	cands   *cTokenDataArray
	buf     []cTokenData // C memory, one for each token
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
	s := &Sampler{model: m}
	s.cands = (*cTokenDataArray)(c.libc.calloc(1, uint64(unsafe.Sizeof(cTokenDataArray{}))))
	buf := c.libc.calloc(uint64(m.nVocab), uint64(unsafe.Sizeof(cTokenData{})))
	m.users.Add(1)
	if s.cands == nil || buf == nil {
		c.libc.free(buf)
		s.Close()
		return nil, batos.Errorf(batos.Limit, "no memory for a sampler")
	}
	s.buf = unsafe.Slice((*cTokenData)(buf), m.nVocab)
	if o.Grammar != "" {
		words := m.lib.quietly(func() { s.grammar = c.grammar(m.vocab, o.Grammar, "root") })
		if s.grammar == 0 {
			s.Close()
			return nil, batos.Errorf(batos.Invalid, "grammar cannot be parsed%s", said(words))
		}
	}
	if o.Temperature == 0 {
		return s, nil
	}
	if s.chain = c.chainInit(cChainParams{noPerf: true}); s.chain == 0 {
		s.Close()
		return nil, batos.Errorf(batos.Limit, "no memory for a sampler")
	}
	if o.TopK > 0 {
		c.chainAdd(s.chain, c.topK(int32(min(o.TopK, math.MaxInt32))))
	}
	if o.TopP > 0 && o.TopP < 1 {
		c.chainAdd(s.chain, c.topP(o.TopP, 1))
	}
	if o.MinP > 0 {
		c.chainAdd(s.chain, c.minP(o.MinP, 1))
	}
	c.chainAdd(s.chain, c.temp(o.Temperature))
	seed := uint32(o.Seed ^ o.Seed>>32)
	if seed == math.MaxUint32 { // means "any" to the library
		seed = 0
	}
	c.chainAdd(s.chain, c.dist(seed))
	return s, nil
}

// Sample chooses by the logits of item i of the context's last Decode (-1: its
// last output) and takes note of the choice.
func (s *Sampler) Sample(c *Context, i int) (Token, error) {
	if c.model != s.model {
		return NoToken, batos.Errorf(batos.Invalid, "sampler belongs to another model")
	}
	logits, err := c.Logits(i)
	if err != nil {
		return NoToken, err
	}
	t := s.choose(logits, false)
	if s.grammar != 0 && !s.allows(t) {
		t = s.choose(logits, true)
	}
	if !s.model.known(t) {
		return NoToken, batos.Errorf(batos.Offline, "engine: the sampler chose token %d", t)
	}
	s.Accept(t)
	return t, nil
}

// choose picks among all tokens, or among those that the grammar allows.
func (s *Sampler) choose(logits []float32, strict bool) Token {
	if s.chain == 0 && !strict {
		return likeliest(logits)
	}
	if strict && s.chain == 0 {
		if t := s.nearTop(logits); t != NoToken {
			return t
		}
	}
	for i, l := range logits {
		s.buf[i] = cTokenData{id: int32(i), logit: l}
	}
	*s.cands = cTokenDataArray{data: &s.buf[0], size: uint64(len(s.buf)), selected: -1}
	if strict {
		s.model.lib.c.apply(s.grammar, s.cands)
		if s.chain == 0 {
			best := NoToken // the first of the largest, as in likeliest
			for i, c := range s.buf {
				if c.logit > float32(math.Inf(-1)) && (best == NoToken || c.logit > s.buf[best].logit) {
					best = Token(i)
				}
			}
			return best
		}
	}
	s.model.lib.c.apply(s.chain, s.cands)
	if s.cands.selected < 0 || uint64(s.cands.selected) >= s.cands.size {
		return NoToken
	}
	// The library may have moved the data.
	return Token(unsafe.Slice(s.cands.data, s.cands.size)[s.cands.selected].id)
}

// topCount is how many of the likeliest tokens a grammar is asked about before
// it is asked about all.
const topCount = 64

// nearTop gives the likeliest token that the grammar allows, if it is among the
// first few.
func (s *Sampler) nearTop(logits []float32) Token {
	top := s.buf[:0]
	for i, l := range logits {
		switch {
		case len(top) == topCount && !(l > top[topCount-1].logit):
			continue
		case len(top) < topCount:
			top = top[:len(top)+1]
		}
		at := len(top) - 1
		for at > 0 && l > top[at-1].logit {
			top[at] = top[at-1]
			at--
		}
		top[at] = cTokenData{id: int32(i), logit: l}
	}
	*s.cands = cTokenDataArray{data: &s.buf[0], size: uint64(len(top)), selected: -1}
	s.model.lib.c.apply(s.grammar, s.cands)
	for _, c := range top {
		if c.logit > float32(math.Inf(-1)) {
			return Token(c.id)
		}
	}
	return NoToken
}

// allows asks the grammar about one token.
func (s *Sampler) allows(t Token) bool {
	if !s.model.known(t) {
		return false
	}
	s.buf[0] = cTokenData{id: int32(t)}
	*s.cands = cTokenDataArray{data: &s.buf[0], size: 1, selected: -1}
	s.model.lib.c.apply(s.grammar, s.cands)
	return !math.IsInf(float64(s.buf[0].logit), -1)
}

// Accept takes note of a token that was chosen elsewhere. A grammar must allow
// it.
func (s *Sampler) Accept(t Token) {
	if !s.model.known(t) {
		return
	}
	for _, p := range []uintptr{s.grammar, s.chain} {
		if p != 0 {
			s.model.lib.c.accept(p, int32(t))
		}
	}
}

// Reset forgets what was chosen: the next choice is the first.
func (s *Sampler) Reset() {
	for _, p := range []uintptr{s.grammar, s.chain} {
		if p != 0 {
			s.model.lib.c.samplerReset(p)
		}
	}
}

// Close frees the sampler.
func (s *Sampler) Close() {
	if s.model == nil {
		return
	}
	c := &s.model.lib.c
	for _, p := range []uintptr{s.grammar, s.chain} {
		if p != 0 {
			c.samplerFree(p)
		}
	}
	if s.buf != nil {
		c.libc.free(unsafe.Pointer(&s.buf[0]))
	}
	c.libc.free(unsafe.Pointer(s.cands))
	s.model.users.Add(-1)
	*s = Sampler{}
}
