package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/internal/mind"
)

// Generate answers one request. An answer to a JSON schema that the server
// could not be held to is checked, and asked for again with what was wrong, up
// to repairs times; a grammar that it could not be held to is not enforced.
// [mind.Result.Loose] tells when the answer is not of the form.
func (e *Engine) Generate(ctx context.Context, r mind.Request) (*mind.Result, error) {
	return e.generate(ctx, r, nil)
}

// Stream is Generate with the text told in parts, as the server sends them. A
// stream that breaks off after the first part is an error: nothing is told
// twice.
func (e *Engine) Stream(ctx context.Context, r mind.Request, piece func(text string)) (*mind.Result, error) {
	return e.generate(ctx, r, piece)
}

// repairs is how often an answer of the wrong form is asked for again.
const repairs = 2

func (e *Engine) generate(ctx context.Context, r mind.Request, piece func(string)) (*mind.Result, error) {
	if err := e.check(r); err != nil {
		return nil, err
	}
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	begun := time.Now()
	for try := 0; ; try++ {
		body, held := e.body(r)
		res, err := e.ask(ctx, r, body, piece)
		if batos.CodeOf(err) == batos.NotFound && r.Adapter != "" {
			// A server that was started again has forgotten its adapters.
			if err = e.reload(ctx, r.Adapter); err == nil {
				res, err = e.ask(ctx, r, body, piece)
			}
		}
		if batos.CodeOf(err) == batos.NotFound {
			err = batos.Errorf(batos.Offline, "%w", err)
		}
		if err != nil {
			return nil, err
		}
		res.Duration, res.AdapterHash = time.Since(begun), r.Adapter
		if held {
			return res, nil
		}
		text, wrong := mind.CheckForm(r, res.Text)
		if wrong == nil && piece == nil {
			res.Text = text
		}
		res.Loose = wrong != nil
		if wrong == nil || piece != nil || r.Schema == "" || len(r.Chat) == 0 || try == repairs {
			return res, nil
		}
		r.Chat = append(r.Chat[:len(r.Chat):len(r.Chat)], mind.Turn{Role: mind.Assistant, Text: res.Text},
			mind.Turn{Role: mind.User, Text: "That is not of the form that was asked for: " + wrong.Error() + ". Answer with the JSON alone."})
	}
}

func (e *Engine) check(r mind.Request) error {
	prompts := 0
	for _, set := range []bool{r.Text != "", len(r.Tokens) > 0, len(r.Chat) > 0} {
		if set {
			prompts++
		}
	}
	switch {
	case prompts != 1:
		return batos.Errorf(batos.Invalid, "a request needs exactly one of text, tokens and chat; it has %d", prompts)
	case r.Grammar != "" && r.Schema != "":
		return batos.Errorf(batos.Invalid, "a request has a grammar or a schema, not both")
	case r.MaxTokens < 0:
		return batos.Errorf(batos.Invalid, "a request for %d tokens makes no sense", r.MaxTokens)
	case !(r.Temperature >= 0 && r.Temperature <= 100) || !(r.TopP >= 0 && r.TopP <= 1):
		return batos.Errorf(batos.Invalid, "temperature %g and top-p %g make no sense", r.Temperature, r.TopP)
	case len(r.Tokens) > 0 && e.server.kind != vllm && e.server.kind != llamaServer:
		return batos.Errorf(batos.Invalid, "%s takes no prompt in tokens", e.server.kind)
	case len(r.StopTokens) > 0 && e.server.kind != vllm:
		return batos.Errorf(batos.Invalid, "%s takes no tokens to stop at", e.server.kind)
	}
	for _, s := range r.Stop {
		if s == "" {
			return batos.Errorf(batos.Invalid, "an empty stop string would stop at once")
		}
	}
	for _, t := range r.Chat {
		if t.Role != mind.System && t.Role != mind.User && t.Role != mind.Assistant {
			return batos.Errorf(batos.Invalid, "a turn of a chat has the unknown role %.40q", t.Role)
		}
	}
	if r.Adapter != "" {
		if _, ok := e.loaded(r.Adapter); !ok {
			return batos.Errorf(batos.Invalid, "adapter %.16s is not loaded", r.Adapter)
		}
	}
	return nil
}

// body is what the server is sent, and whether it holds the answer to the
// request's form.
func (e *Engine) body(r mind.Request) (body map[string]any, held bool) {
	body = map[string]any{"model": e.info.ModelID, "temperature": r.Temperature, "seed": int64(uint32(r.Seed^r.Seed>>32) & 0x7fffffff)}
	switch {
	case len(r.Chat) > 0:
		var turns []map[string]string
		for _, t := range r.Chat {
			turns = append(turns, map[string]string{"role": string(t.Role), "content": t.Text})
		}
		body["messages"] = turns
	case len(r.Tokens) > 0:
		body["prompt"] = r.Tokens
	default:
		body["prompt"] = r.Text
	}
	if !e.plain.Load() {
		if len(r.Chat) > 0 {
			body["logprobs"] = true
		} else {
			body["logprobs"] = 1
		}
	}
	if r.MaxTokens > 0 {
		body["max_tokens"] = r.MaxTokens
	}
	if r.TopP > 0 && r.TopP < 1 {
		body["top_p"] = r.TopP
	}
	if len(r.Stop) > 0 {
		body["stop"] = r.Stop
	}
	if e.server.kind == vllm {
		body["return_tokens_as_token_ids"] = true
		if len(r.StopTokens) > 0 {
			body["stop_token_ids"] = r.StopTokens
		}
	}
	e.adapt(body, r.Adapter)
	return body, e.server.hold(body, r)
}

// answer is a completion, or one event of a streamed one.
type answer struct {
	Model   string `json:"model"`
	Choices []struct {
		Text    string `json:"text"`
		Message struct {
			Content *string `json:"content"`
			Refusal string  `json:"refusal"`
		} `json:"message"`
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
		Finish   string    `json:"finish_reason"`
		Logprobs *logprobs `json:"logprobs"`
	} `json:"choices"`
	Usage *struct {
		Prompt  int `json:"prompt_tokens"`
		Answer  int `json:"completion_tokens"`
		Details *struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
}

// logprobs has the form of chats or that of plain completions.
type logprobs struct {
	Content []struct {
		Token   string  `json:"token"`
		Logprob float64 `json:"logprob"`
	} `json:"content"`
	Tokens []string   `json:"tokens"`
	Values []*float64 `json:"token_logprobs"`
}

// gathered is an answer as it comes together.
type gathered struct {
	text   strings.Builder
	ids    []int32
	probs  []float32
	finish string
	model  string
	usage  struct{ prompt, answer, cached int }
	choice bool
	refuse string
}

func (g *gathered) add(a *answer) (part string) {
	if a.Model != "" {
		g.model = a.Model
	}
	if u := a.Usage; u != nil {
		g.usage.prompt, g.usage.answer = u.Prompt, u.Answer
		if u.Details != nil {
			g.usage.cached = u.Details.Cached
		}
	}
	if len(a.Choices) == 0 {
		return ""
	}
	c := a.Choices[0]
	g.choice = true
	part = c.Text + c.Delta.Content
	if c.Message.Content != nil {
		part += *c.Message.Content
	}
	g.text.WriteString(part)
	g.refuse += c.Message.Refusal
	if c.Finish != "" {
		g.finish = c.Finish
	}
	if l := c.Logprobs; l != nil {
		for _, t := range l.Content {
			g.token(t.Token, t.Logprob)
		}
		for i, t := range l.Tokens {
			p := 0.0
			if i < len(l.Values) && l.Values[i] != nil {
				p = *l.Values[i]
			}
			g.token(t, p)
		}
	}
	return part
}

func (g *gathered) token(name string, logprob float64) {
	id := int64(-1)
	if n, ok := strings.CutPrefix(name, "token_id:"); ok { // vLLM, when asked
		if v, err := strconv.ParseInt(n, 10, 32); err == nil {
			id = v
		}
	}
	g.ids = append(g.ids, int32(id))
	g.probs = append(g.probs, float32(math.Min(logprob, 0)))
}

// ask makes one exchange and reads its answer, streamed if piece is not nil.
// What an old or strict server does not know it is not asked again.
func (e *Engine) ask(ctx context.Context, r mind.Request, body map[string]any, piece func(string)) (*mind.Result, error) {
	path := "/completions"
	if len(r.Chat) > 0 {
		path = "/chat/completions"
	}
	if piece != nil {
		body["stream"] = true
		body["stream_options"] = map[string]any{"include_usage": true}
	}
	g, err := e.exchangeAnswer(ctx, e.base+path, body, piece)
	if batos.CodeOf(err) == batos.Invalid {
		switch words := err.Error(); {
		case strings.Contains(words, "logprobs") && body["logprobs"] != nil:
			e.plain.Store(true)
			delete(body, "logprobs")
			g, err = e.exchangeAnswer(ctx, e.base+path, body, piece)
		case strings.Contains(words, "max_completion_tokens") && body["max_tokens"] != nil:
			body["max_completion_tokens"] = body["max_tokens"]
			delete(body, "max_tokens")
			g, err = e.exchangeAnswer(ctx, e.base+path, body, piece)
		}
	}
	if err != nil {
		return nil, err
	}
	return e.result(g)
}

func (e *Engine) exchangeAnswer(ctx context.Context, url string, body map[string]any, piece func(string)) (*gathered, error) {
	g := &gathered{}
	if piece == nil {
		var a answer
		if err := e.post(ctx, url, body, &a); err != nil {
			return nil, err
		}
		g.add(&a)
		return g, nil
	}
	in, err := e.exchange(ctx, http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // read to its end, or given up
	return g, e.events(ctx, in, func(a *answer) {
		if part := g.add(a); part != "" {
			piece(part)
		}
	})
}

// maxEvent bounds one line of a stream.
const maxEvent = 4 << 20

// events reads a stream of server-sent events up to its [DONE].
func (e *Engine) events(ctx context.Context, in io.Reader, each func(*answer)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxEvent)
	done := false
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // a comment, another field, or the line between events
		}
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			done = true
			break
		}
		if err := saysError(e.root, data); err != nil {
			return err
		}
		var a answer
		if err := json.Unmarshal(data, &a); err != nil {
			return batos.Errorf(batos.Offline, "the remote mind at %s streams no JSON: %.60q", e.root, data)
		}
		each(&a)
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return ended(ctx)
	case err != nil:
		return batos.Errorf(batos.Offline, "the remote mind at %s broke off: %w", e.root, bare(err))
	case !done:
		return batos.Errorf(batos.Offline, "the remote mind at %s broke off amid its answer", e.root)
	}
	return nil
}

// result makes sense of an answer, or says why there is none.
func (e *Engine) result(g *gathered) (*mind.Result, error) {
	res := &mind.Result{Text: g.text.String(), PromptTokens: g.usage.prompt, CachedTokens: g.usage.cached, Model: e.info.Hash}
	switch {
	case !g.choice:
		return nil, batos.Errorf(batos.Offline, "the remote mind at %s answers without a choice", e.root)
	case g.refuse != "" && res.Text == "":
		return nil, batos.Errorf(batos.Refused, "the remote mind refuses: %.200s", g.refuse)
	}
	switch g.finish {
	case "stop", "eos_token", "stop_sequence", "eos":
		res.Stop = mind.StopEnd
	case "length":
		res.Stop = mind.StopLength
	default:
		return nil, batos.Errorf(batos.Offline, "the remote mind at %s ends for a reason that is none: %.40q", e.root, g.finish)
	}
	res.Tokens, res.Logprobs = g.ids, g.probs
	if n := g.usage.answer; len(g.ids) == 0 && n > 0 && n < 1<<20 {
		res.Tokens = make([]int32, n)
		for i := range res.Tokens {
			res.Tokens[i] = -1
		}
	}
	return res, nil
}

// CountTokens asks the server. One without an endpoint for it is asked to
// complete the text by one token and tells what it has counted, its own
// beginning included.
func (e *Engine) CountTokens(ctx context.Context, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	return e.counted(ctx, text)
}

// maxInputs is how many texts are embedded with one exchange.
const maxInputs = 64

// Embed asks the server for vectors and makes them of unit length.
func (e *Engine) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	out := make([][]float32, 0, len(texts))
	for len(texts) > 0 {
		n := min(maxInputs, len(texts))
		var got struct {
			Data []struct {
				Index  int       `json:"index"`
				Vector []float32 `json:"embedding"`
			} `json:"data"`
		}
		err := e.post(ctx, e.base+"/embeddings", map[string]any{"model": e.info.ModelID, "input": texts[:n], "encoding_format": "float"}, &got)
		if code := batos.CodeOf(err); code == batos.NotFound {
			err = batos.Errorf(batos.Invalid, "the remote mind at %s does not embed", e.root)
		}
		if err != nil {
			return nil, err
		}
		vectors := make([][]float32, n)
		for _, d := range got.Data {
			if d.Index >= 0 && d.Index < n {
				vectors[d.Index] = d.Vector
			}
		}
		for i, v := range vectors {
			if !unit(v) || len(out) > 0 && len(v) != len(out[0]) {
				return nil, batos.Errorf(batos.Offline, "the remote mind at %s gives no usable vector for text %d", e.root, len(out)+i)
			}
			out = append(out, v)
		}
		texts = texts[n:]
	}
	return out, nil
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
