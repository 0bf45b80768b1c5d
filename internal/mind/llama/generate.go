package llama

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// generate computes one request. It leaves the context usable after any error.
func (s *session) generate(r mind.Request) (*mind.Result, error) {
	if err := s.use(r.Adapter); err != nil {
		return nil, err
	}
	prompt, err := s.prompt(r)
	if err != nil {
		return nil, err
	}
	room := s.tokens - len(prompt)
	switch {
	case len(prompt) == 0:
		return nil, batos.Errorf(batos.Invalid, "the prompt is empty")
	case room <= 0:
		return nil, batos.Errorf(batos.Invalid, "the prompt of %d tokens leaves no room in a context of %d", len(prompt), s.tokens)
	}
	if r.MaxTokens == 0 || r.MaxTokens > room {
		r.MaxTokens = room
	}
	if r.Grammar != "" && s.model.EOS() == ggml.NoToken && s.model.EOT() == ggml.NoToken {
		return nil, batos.Errorf(batos.Invalid, "the model has no token to end with, so it cannot follow a grammar")
	}
	sampler, err := s.model.NewSampler(ggml.SamplerOptions{
		Grammar: r.Grammar, Temperature: r.Temperature, TopP: r.TopP, Seed: r.Seed,
	})
	if err != nil {
		return nil, err
	}
	defer sampler.Close()

	res := &mind.Result{PromptTokens: len(prompt), Stop: mind.StopLength}
	if res.CachedTokens, err = s.prefill(prompt); err != nil {
		s.forget()
		return nil, err
	}
	// Whatever is generated lies behind the prompt; the next prefill removes
	// it with the rest of what it does not reuse.
	out := output{stops: r.Stop}
	for pos := len(prompt); ; pos++ {
		logits, err := s.ctx.Logits(-1)
		if err != nil {
			return nil, err
		}
		t, err := sampler.Sample(s.ctx, -1)
		if err != nil {
			return nil, err
		}
		if s.model.IsEOG(t) || slices.Contains(r.StopTokens, int32(t)) {
			res.Stop = mind.StopEnd
			break
		}
		if out.add(t, s.model.Piece(t, false), ggml.Logprob(logits, t)) {
			res.Stop = mind.StopEnd
			break
		}
		if len(out.tokens) >= r.MaxTokens {
			break
		}
		if err := s.ctx.Decode([]ggml.Item{{Token: t, Pos: pos, Output: true}}); err != nil {
			s.forget()
			return nil, err
		}
	}
	res.Tokens, res.Logprobs = out.tokens, out.logprobs
	res.Text = out.string()
	return res, nil
}

// use puts the adapter of that hash in force. What the cache holds was
// computed under the former one and goes.
func (s *session) use(hash string) error {
	if hash == s.active {
		return nil
	}
	var set []ggml.Scaled
	if hash != "" {
		a, ok := s.adapters.get(hash)
		if !ok {
			return batos.Errorf(wantAdapter, "adapter %s is not loaded", hash)
		}
		set = []ggml.Scaled{{Adapter: a, Scale: 1}}
	}
	s.forget()
	if err := s.ctx.SetAdapters(set); err != nil {
		return err
	}
	s.active = hash
	return nil
}

func (s *session) forget() {
	s.ctx.Clear()
	s.cached = nil
}

// prefill makes the cache hold exactly the prompt, computed by whole chunks
// from the beginning and one shorter one, and says how many tokens it did not
// have to compute. The last chunk is always computed: its logits are needed.
func (s *session) prefill(prompt []ggml.Token) (reused int, err error) {
	for reused+chunk < len(prompt) && reused+chunk <= len(s.cached) &&
		slices.Equal(prompt[reused:reused+chunk], s.cached[reused:reused+chunk]) {
		reused += chunk
	}
	s.cached = s.cached[:reused]
	if !s.ctx.Remove(0, reused, -1) { // a memory that only forgets whole sequences
		s.forget()
		reused = 0
	}
	items := make([]ggml.Item, 0, chunk)
	for pos := reused; pos < len(prompt); pos += len(items) {
		items = items[:0]
		for i := pos; i < min(pos+chunk, len(prompt)); i++ {
			items = append(items, ggml.Item{Token: prompt[i], Pos: i, Output: i == len(prompt)-1})
		}
		if err := s.ctx.Decode(items); err != nil {
			return 0, err
		}
		if len(items) == chunk {
			s.cached = append(s.cached, prompt[pos:pos+chunk]...)
		}
	}
	return reused, nil
}

// prompt makes tokens of a request's text, chat or tokens.
func (s *session) prompt(r mind.Request) ([]ggml.Token, error) {
	switch {
	case len(r.Chat) > 0:
		return s.chat(r.Chat)
	case len(r.Tokens) > 0:
		toks := make([]ggml.Token, len(r.Tokens))
		for i, t := range r.Tokens {
			if t < 0 || int(t) >= s.model.VocabSize() {
				return nil, batos.Errorf(batos.Invalid, "token %d is not one of the model's %d", t, s.model.VocabSize())
			}
			toks[i] = ggml.Token(t)
		}
		return toks, nil
	}
	toks, err := s.model.Tokenize(r.Text, false, true)
	return s.begin(toks), err
}

// begin puts the token that begins a text before toks, if the model wants it
// and they do not have it. The token that ends a text, which some models want
// too, has no place before an answer.
func (s *session) begin(toks []ggml.Token) []ggml.Token {
	bos := s.model.BOS()
	if !s.model.AddsBOS() || bos == ggml.NoToken || len(toks) > 0 && toks[0] == bos {
		return toks
	}
	return slices.Insert(toks, 0, bos)
}

// output gathers what was generated and watches for stop strings.
type output struct {
	stops    []string
	text     []byte
	tokens   []int32
	logprobs []float32
	starts   []int // where each token's piece begins in text
}

// add appends a token and reports whether a stop string is complete; the stop
// string and the tokens that lie wholly in it are gone then.
func (o *output) add(t ggml.Token, piece []byte, logprob float32) bool {
	o.tokens = append(o.tokens, int32(t))
	o.logprobs = append(o.logprobs, logprob)
	o.starts = append(o.starts, len(o.text))
	before := len(o.text)
	o.text = append(o.text, piece...)
	cut := -1
	for _, stop := range o.stops {
		from := max(0, before-len(stop)+1)
		if i := bytes.Index(o.text[from:], []byte(stop)); i >= 0 && (cut < 0 || from+i < cut) {
			cut = from + i
		}
	}
	if cut < 0 {
		return false
	}
	o.text = o.text[:cut]
	n := len(o.tokens)
	for n > 0 && o.starts[n-1] >= cut {
		n--
	}
	o.tokens, o.logprobs = o.tokens[:n], o.logprobs[:n]
	return true
}

// string is the text, without a last character that was cut off in the middle.
func (o *output) string() string {
	b := o.text
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				b = b[:len(b)-i]
			}
			break
		}
	}
	return strings.ToValidUTF8(string(b), "�")
}
