package llama

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// generate computes one request. It leaves the context usable after any error.
// tell, if not nil, is given the text in parts as it is settled.
func (s *session) generate(ctx context.Context, r mind.Request, tell func(string)) (*mind.Result, error) {
	if s.embedOnly {
		return nil, batos.Errorf(batos.Invalid, "the model only embeds: it writes no text")
	}
	prompt, head, err := s.prompt(r)
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

	pieces := cut(prompt, head)
	sl, err := s.take(ctx, r.Adapter, pieces)
	if err != nil {
		return nil, err
	}
	defer s.give(sl)
	defer sl.ctx.Resume()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { sl.ctx.Cancel(); close(stopped) })
	defer func() {
		if !stop() {
			<-stopped // so that nothing cancels the next request
		}
	}()

	res := &mind.Result{PromptTokens: len(prompt), Stop: mind.StopLength}
	if res.CachedTokens, err = s.prefill(ctx, sl, pieces, head); err != nil {
		sl.forget()
		return nil, err
	}
	// Whatever is generated lies behind the prompt; the next prefill removes
	// it with the rest of what it does not reuse.
	out := output{stops: r.Stop, tell: tell}
	for pos := len(prompt); ; pos++ {
		logits, err := sl.ctx.Logits(-1)
		if err != nil {
			return nil, err
		}
		t, err := sampler.Sample(sl.ctx, -1)
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
		if err := s.decode(ctx, sl, []ggml.Item{{Token: t, Pos: pos, Output: true}}); err != nil {
			sl.forget()
			return nil, err
		}
	}
	out.end()
	res.Tokens, res.Logprobs, res.Text = out.tokens, out.logprobs, out.text.String()
	return res, nil
}

// decode computes once there are processors for it.
func (s *session) decode(ctx context.Context, sl *slot, items []ggml.Item) error {
	if err := s.compute.Acquire(ctx, 1); err != nil {
		return batos.Errorf(batos.Cancelled, "decode cancelled")
	}
	defer s.compute.Release(1)
	return sl.ctx.Decode(items)
}

// piece is what of a prompt is computed at once.
type piece []ggml.Token

// cut divides a prompt into pieces: chunks from the beginning, and a shorter
// one where its head ends, so that a head which many prompts share is always
// the same pieces. Only the last piece of a prompt may be shorter beside that.
func cut(prompt []ggml.Token, head int) []piece {
	var out []piece
	for at := 0; at < len(prompt); {
		end := min(at+chunk, len(prompt))
		if at < head && head < end {
			end = head
		}
		out = append(out, prompt[at:end:end])
		at = end
	}
	return out
}

// common is how many pieces two prompts begin with alike.
func common(a, b []piece) int {
	n := 0
	for n < len(a) && n < len(b) && slices.Equal(a[n], b[n]) {
		n++
	}
	return n
}

func length(pieces []piece) int {
	n := 0
	for _, p := range pieces {
		n += len(p)
	}
	return n
}

// prefill makes the cache hold exactly the prompt, computed piece by piece,
// and says how many tokens it did not have to compute: because the context
// holds them still, or because their state was kept. The last piece is always
// computed: its logits are needed.
func (s *session) prefill(ctx context.Context, sl *slot, prompt []piece, head int) (reused int, err error) {
	last := len(prompt) - 1
	keys := s.prefixes.keys(sl.active, prompt)
	from := common(sl.cached, prompt[:last])
	if k, n := s.prefixes.longest(keys[:last], from); k != nil {
		sl.forget()
		err := sl.ctx.SetState(0, k.state)
		s.prefixes.release(k)
		if err == nil {
			sl.cached, from = slices.Clone(prompt[:n]), n
		} else { // then it is computed
			sl.forget()
			from = 0
		}
	}
	sl.cached = sl.cached[:from:from]
	reused = length(sl.cached)
	if !sl.ctx.Remove(0, reused, -1) { // a memory that only forgets whole sequences
		sl.forget()
		from, reused = 0, 0
	}
	whole := 0 // pieces of the head
	for n := 0; whole < last && n < head; whole++ {
		n += len(prompt[whole])
	}
	keep := s.prefixes.worth(keys, whole)
	pos := reused
	for i := from; i <= last; i++ {
		items := make([]ggml.Item, len(prompt[i]))
		for k, t := range prompt[i] {
			items[k] = ggml.Item{Token: t, Pos: pos + k, Output: i == last && k == len(items)-1}
		}
		if err := s.decode(ctx, sl, items); err != nil {
			return 0, err
		}
		sl.cached = append(sl.cached, prompt[i])
		pos += len(items)
		if i+1 == keep {
			s.keep(sl, keys[i])
		}
	}
	return reused, nil
}

// keep puts the state of a context aside, if there is room; a request does not
// fail over it.
func (s *session) keep(sl *slot, key prefixKey) {
	size, err := sl.ctx.StateSize(0)
	if err == nil {
		_ = s.prefixes.put(key, sl.active, sl.cached, size, func(b []byte) error { return sl.ctx.StateInto(0, b) })
	}
}

// prompt makes tokens of a request's text, chat or tokens. The first head of
// them are what a chat begins with before anybody but the system speaks.
func (s *session) prompt(r mind.Request) (toks []ggml.Token, head int, err error) {
	switch {
	case len(r.Chat) > 0:
		return s.chat(r.Chat)
	case len(r.Tokens) > 0:
		toks = make([]ggml.Token, len(r.Tokens))
		for i, t := range r.Tokens {
			if t < 0 || int(t) >= s.model.VocabSize() {
				return nil, 0, batos.Errorf(batos.Invalid, "token %d is not one of the model's %d", t, s.model.VocabSize())
			}
			toks[i] = ggml.Token(t)
		}
		return toks, 0, nil
	}
	toks, err = s.model.Tokenize(r.Text, false, true)
	return s.begin(toks), 0, err
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

// output gathers what was generated, watches for stop strings, and settles the
// text: what can no longer be taken back by one, in whole characters.
type output struct {
	stops    []string
	tell     func(string)
	tokens   []int32
	logprobs []float32
	bytes    []byte
	starts   []int // where each token's piece begins in bytes
	settled  int   // how many of bytes are in text
	text     strings.Builder
}

// add appends a token and reports whether a stop string is complete; the stop
// string and the tokens that lie wholly in it are gone then.
func (o *output) add(t ggml.Token, piece []byte, logprob float32) bool {
	o.tokens = append(o.tokens, int32(t))
	o.logprobs = append(o.logprobs, logprob)
	o.starts = append(o.starts, len(o.bytes))
	before := len(o.bytes)
	o.bytes = append(o.bytes, piece...)
	cut := -1
	for _, stop := range o.stops {
		from := max(0, before-len(stop)+1)
		if i := bytes.Index(o.bytes[from:], []byte(stop)); i >= 0 && (cut < 0 || from+i < cut) {
			cut = from + i
		}
	}
	if cut < 0 {
		o.settle(len(o.bytes) - o.open())
		return false
	}
	o.bytes = o.bytes[:cut]
	n := len(o.tokens)
	for n > 0 && o.starts[n-1] >= cut {
		n--
	}
	o.tokens, o.logprobs = o.tokens[:n], o.logprobs[:n]
	return true
}

// open is how many of the last bytes may be the beginning of a stop string.
func (o *output) open() int {
	most := 0
	for _, stop := range o.stops {
		for n := min(len(stop)-1, len(o.bytes)); n > most; n-- {
			if bytes.HasSuffix(o.bytes, []byte(stop[:n])) {
				most = n
			}
		}
	}
	return most
}

// settle moves bytes before end into the text, without a last character that
// may go on. Bytes that are no character become replacement characters.
func (o *output) settle(end int) {
	b := o.bytes[o.settled:max(o.settled, end)]
	b = b[:len(b)-partial(b)]
	if len(b) == 0 {
		return
	}
	o.settled += len(b)
	part := strings.ToValidUTF8(string(b), "\uFFFD")
	o.text.WriteString(part)
	if o.tell != nil {
		o.tell(part)
	}
}

// end settles the rest, without a last character that was cut off in the
// middle.
func (o *output) end() { o.settle(len(o.bytes)) }

// partial is how many bytes at the end of b are the beginning of a character.
func partial(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			break
		}
	}
	return 0
}
