// Package openai is the door for programs that speak OpenAI's protocol: the
// model in use and its personas as models, for chat and plain completions,
// whole or streamed. docs/openai.md is the guide.
package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"batos"
	"batos/internal/door/access"
	"batos/internal/kernel"
	"batos/internal/mind"
)

// Config is what the door needs.
type Config struct {
	Kernel *kernel.Kernel
	Keys   *access.Keyring
	Log    *slog.Logger
}

type door struct{ config Config }

// Handler answers /v1/models, /v1/chat/completions and /v1/completions.
func Handler(c Config) http.Handler {
	d := &door{c}
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/models", d.models)
	m.HandleFunc("GET /v1/models/{id}", d.model)
	m.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { d.complete(w, r, true) })
	m.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) { d.complete(w, r, false) })
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, batos.Errorf(batos.NotFound, "nothing answers %s %.100s", r.Method, r.URL.Path))
	})
	return m
}

// may recognises who sends and checks what it may.
func (d *door) may(r *http.Request, s access.Scope) error {
	who, err := d.config.Keys.Caller(access.Token(r.Header))
	if err == nil {
		err = who.May(s)
	}
	return err
}

type errorBody struct {
	Error struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    string `json:"code"`
	} `json:"error"`
}

// fail answers an error in the protocol's form.
func fail(w http.ResponseWriter, err error) {
	code := batos.CodeOf(err)
	var e errorBody
	e.Error.Message, e.Error.Code, e.Error.Type = err.Error(), string(code), "invalid_request_error"
	status := access.Status(w.Header(), err)
	switch {
	case status >= 500:
		e.Error.Type = "server_error"
	case status == http.StatusTooManyRequests:
		e.Error.Type = "rate_limit_error"
	}
	write(w, status, e)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away: nobody is left to tell
}

type modelInfo struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// listed gives the models that can be asked: "base", the model's own name, and
// the personas.
func (d *door) listed(r *http.Request) ([]modelInfo, error) {
	voices, err := d.config.Kernel.Voices(r.Context())
	if err != nil {
		return nil, err
	}
	at, _, err := d.config.Kernel.Awakened(r.Context())
	if err != nil {
		return nil, err
	}
	created := at.AsTime().Unix()
	var out []modelInfo
	if info, err := d.config.Kernel.Core(); err == nil {
		out = append(out, modelInfo{info.ModelID, "model", created, "batos"})
	}
	out = append(out, modelInfo{"base", "model", created, "batos"})
	for _, v := range voices {
		out = append(out, modelInfo{strings.ToLower(v.Name), "model", created, "batos"})
	}
	return out, nil
}

func (d *door) models(w http.ResponseWriter, r *http.Request) {
	if err := d.may(r, access.Read); err != nil {
		fail(w, err)
		return
	}
	all, err := d.listed(r)
	if err != nil {
		fail(w, err)
		return
	}
	write(w, http.StatusOK, struct {
		Object string      `json:"object"`
		Data   []modelInfo `json:"data"`
	}{"list", all})
}

func (d *door) model(w http.ResponseWriter, r *http.Request) {
	err := d.may(r, access.Read)
	var all []modelInfo
	if err == nil {
		all, err = d.listed(r)
	}
	if err != nil {
		fail(w, err)
		return
	}
	for _, m := range all {
		if m.ID == r.PathValue("id") {
			write(w, http.StatusOK, m)
			return
		}
	}
	fail(w, batos.Errorf(batos.NotFound, "there is no model %.60q", r.PathValue("id")))
}

// request is what both kinds of completion may say; other fields of the
// protocol are hints and are passed over.
type request struct {
	Model       string          `json:"model"`
	Messages    []message       `json:"messages"`
	Prompt      json.RawMessage `json:"prompt"`
	MaxTokens   int             `json:"max_tokens"`
	MaxAnswer   int             `json:"max_completion_tokens"`
	Temperature *float32        `json:"temperature"`
	TopP        float32         `json:"top_p"`
	Seed        *int64          `json:"seed"`
	Stop        json.RawMessage `json:"stop"`
	Stream      bool            `json:"stream"`
	N           *int            `json:"n"`
	Format      *struct {
		Type   string `json:"type"`
		Schema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
	StreamOptions struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

func invalid(format string, args ...any) error { return batos.Errorf(batos.Invalid, format, args...) }

// oneOrMore reads a text or a list of texts.
func oneOrMore(raw json.RawMessage, name string) ([]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return many, nil
	}
	return nil, invalid("%s is a text or a list of texts", name)
}

// content reads a message's content: a text, or parts of type text.
func content(raw json.RawMessage) (string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one, nil
	}
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", invalid("a message's content is a text, or a list of parts")
	}
	var all []string
	for _, p := range parts {
		if p.Type != "text" {
			return "", invalid("a part of type %.40q cannot be read; the models read text", p.Type)
		}
		all = append(all, p.Text)
	}
	return strings.Join(all, "\n"), nil
}

var roles = map[string]mind.Role{"system": mind.System, "developer": mind.System, "user": mind.User, "assistant": mind.Assistant}

// read makes an engine's request of what came, and says whose adapter it wants.
func (d *door) read(r *http.Request, chat bool) (in request, who string, out mind.Request, err error) {
	if mt, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(mt) != "application/json" {
		return in, "", out, invalid("send application/json, not %.60q", mt)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, access.MaxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return in, "", out, access.ErrTooLarge
		}
		return in, "", out, invalid("the request could not be read: %w", err)
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, "", out, invalid("bad JSON: %w", err)
	}
	if in.N != nil && *in.N != 1 {
		return in, "", out, invalid("n is %d; one answer is given at a time", *in.N)
	}
	info, err := d.config.Kernel.Core()
	if err != nil {
		return in, "", out, err
	}
	voices, err := d.config.Kernel.Voices(r.Context())
	if err != nil {
		return in, "", out, err
	}
	var voice *kernel.Voice
	for i := range voices {
		if strings.EqualFold(voices[i].Name, in.Model) {
			voice = &voices[i]
			who = voice.Name
		}
	}
	if voice == nil && in.Model != "base" && in.Model != info.ModelID {
		return in, "", out, batos.Errorf(batos.NotFound, "there is no model %.60q; GET /v1/models lists them", in.Model)
	}
	out.MaxTokens, out.TopP, out.Temperature = max(in.MaxTokens, in.MaxAnswer, 0), in.TopP, 1
	if in.Temperature != nil {
		out.Temperature = *in.Temperature
	}
	if out.Temperature < 0 || out.Temperature > 2 || out.TopP < 0 || out.TopP > 1 {
		return in, "", out, invalid("temperature is 0 to 2, top_p 0 to 1")
	}
	out.Seed = uint64(time.Now().UnixNano())
	if in.Seed != nil {
		out.Seed = uint64(*in.Seed)
	}
	if out.Stop, err = oneOrMore(in.Stop, "stop"); err != nil {
		return in, "", out, err
	}
	if in.Format != nil {
		switch in.Format.Type {
		case "text", "":
		case "json_schema":
			out.Schema = string(in.Format.Schema.Schema)
		case "json_object":
			out.Schema = `{"type": "object"}`
		default:
			return in, "", out, invalid("response_format %.40q is not known; there are text, json_object and json_schema", in.Format.Type)
		}
	}
	if !chat {
		prompts, err := oneOrMore(in.Prompt, "prompt")
		if err != nil {
			return in, "", out, err
		}
		if len(prompts) != 1 || prompts[0] == "" {
			return in, "", out, invalid("prompt is one text")
		}
		out.Text = prompts[0]
		return in, who, out, nil
	}
	if len(in.Messages) == 0 {
		return in, "", out, invalid("messages is empty")
	}
	for _, m := range in.Messages {
		role, ok := roles[m.Role]
		if !ok {
			return in, "", out, invalid("a message's role is system, user or assistant, not %.40q", m.Role)
		}
		text, err := content(m.Content)
		if err != nil {
			return in, "", out, err
		}
		out.Chat = append(out.Chat, mind.Turn{Role: role, Text: text})
	}
	if voice != nil && out.Chat[0].Role != mind.System {
		introduction := fmt.Sprintf("You are %s, %s. %s %s", voice.Name, voice.Title, voice.Voice, voice.Duties)
		out.Chat = append([]mind.Turn{{Role: mind.System, Text: strings.TrimSpace(introduction)}}, out.Chat...)
	}
	return in, who, out, nil
}

type choice struct {
	Index   int     `json:"index"`
	Message *said   `json:"message,omitempty"`
	Delta   *said   `json:"delta,omitempty"`
	Text    *string `json:"text,omitempty"`
	Finish  *string `json:"finish_reason"`
}

type said struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type usage struct {
	Prompt int `json:"prompt_tokens"`
	Answer int `json:"completion_tokens"`
	Total  int `json:"total_tokens"`
}

type answer struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Fingerprint string   `json:"system_fingerprint"`
	Choices     []choice `json:"choices"`
	Usage       *usage   `json:"usage,omitempty"`
}

func (d *door) complete(w http.ResponseWriter, r *http.Request, chat bool) {
	if err := d.may(r, access.Send); err != nil {
		fail(w, err)
		return
	}
	in, who, req, err := d.read(r, chat)
	if err != nil {
		fail(w, err)
		return
	}
	a := answer{ID: "cmpl-" + string(batos.NewMessageID()), Object: "text_completion", Created: time.Now().Unix(), Model: in.Model}
	if chat {
		a.ID, a.Object = "chat"+a.ID, "chat.completion"
	}
	if in.Stream {
		if chat {
			a.Object = "chat.completion.chunk"
		}
		d.stream(w, r, in, who, req, a, chat)
		return
	}
	res, _, err := d.config.Kernel.Complete(r.Context(), who, req, nil)
	if err != nil {
		fail(w, err)
		return
	}
	a.Fingerprint = fingerprint(res)
	end := finish(res)
	c := choice{Finish: &end}
	if chat {
		c.Message = &said{Role: "assistant", Content: res.Text}
	} else {
		c.Text = &res.Text
	}
	a.Choices, a.Usage = []choice{c}, used(res)
	write(w, http.StatusOK, a)
}

// fingerprint names the weights that answered.
func fingerprint(r *mind.Result) string {
	f := fmt.Sprintf("%.12s", r.Model)
	if r.AdapterHash != "" {
		f += fmt.Sprintf("+%.12s", r.AdapterHash)
	}
	return f
}

func finish(r *mind.Result) string {
	if r.Stop == mind.StopLength {
		return "length"
	}
	return "stop"
}

func used(r *mind.Result) *usage {
	return &usage{r.PromptTokens, len(r.Tokens), r.PromptTokens + len(r.Tokens)}
}

// stream tells an answer as server-sent events while it is written. An error
// before the first word is an answer of its own; one after it is an event.
func (d *door) stream(w http.ResponseWriter, r *http.Request, in request, who string, req mind.Request, a answer, chat bool) {
	out := http.NewResponseController(w)
	begun := false
	send := func(v any) {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
		}
		var b bytes.Buffer
		if json.NewEncoder(&b).Encode(v) != nil {
			return // our own types always encode
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", bytes.TrimSpace(b.Bytes())) // a client that is gone ends the context
		_ = out.Flush()
	}
	piece := func(text string) {
		c := choice{}
		if chat {
			c.Delta = &said{Content: text}
			if !begun {
				c.Delta.Role = "assistant"
			}
		} else {
			c.Text = &text
		}
		a.Choices = []choice{c}
		send(a)
	}
	res, _, err := d.config.Kernel.Complete(r.Context(), who, req, piece)
	if err != nil {
		if !begun {
			fail(w, err)
			return
		}
		var e errorBody
		e.Error.Message, e.Error.Code, e.Error.Type = err.Error(), string(batos.CodeOf(err)), "server_error"
		send(e)
		return
	}
	a.Fingerprint = fingerprint(res)
	end := finish(res)
	last := choice{Finish: &end}
	if chat {
		last.Delta = &said{}
	} else {
		empty := ""
		last.Text = &empty
	}
	a.Choices = []choice{last}
	send(a)
	if in.StreamOptions.Usage {
		a.Choices, a.Usage = []choice{}, used(res)
		send(a)
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n") // as above
	_ = out.Flush()
}
