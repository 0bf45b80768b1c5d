package openai

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
	"batos/internal/mind/llama"
)

// TestMain lets the test binary be the local engine's process.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"engine", "serve"}) {
		if err := llama.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const chatML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// live is a server of OpenAI's protocol over HTTP, with a real model behind
// it: the local engine. It has the manners of the server software it is told
// to be, as their documentation describes them.
type live struct {
	t     *testing.T
	as    kind
	local *llama.Engine
	shape gguftest.Shape
	url   string

	mu       sync.Mutex
	adapters map[string]string // name → hash
	blobs    map[string]string // Ollama: hash → path
	bodies   []map[string]any  // of completions
}

func serveLive(t *testing.T, as kind) *live {
	t.Helper()
	dir, err := filepath.Abs(ggml.Dir("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("engine library is not installed (npm ci installs %s)", ggml.Package)
	}
	s := &live{t: t, as: as, shape: gguftest.Shape{Context: 1024, Template: chatML}, adapters: map[string]string{}, blobs: map[string]string{}}
	s.local, err = llama.Open(t.Context(), llama.Config{LibDir: dir, ModelPath: gguftest.Model(t, s.shape), Threads: 1, Contexts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.local.Close(); err != nil {
			t.Error(err)
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", s.list)
	mux.HandleFunc("POST /v1/completions", s.complete)
	mux.HandleFunc("POST /v1/chat/completions", s.complete)
	mux.HandleFunc("POST /v1/embeddings", s.embed)
	switch as {
	case vllm:
		mux.HandleFunc("GET /version", s.say(map[string]any{"version": "0.12.0"}))
		mux.HandleFunc("POST /tokenize", s.tokenize)
		mux.HandleFunc("POST /v1/load_lora_adapter", s.load)
		mux.HandleFunc("POST /v1/unload_lora_adapter", s.unload)
	case llamaServer:
		mux.HandleFunc("GET /props", s.say(map[string]any{"default_generation_settings": map[string]any{"n_ctx": 1024}, "build_info": "b1"}))
		mux.HandleFunc("GET /lora-adapters", s.loras)
		mux.HandleFunc("POST /tokenize", s.tokenize)
	case ollama:
		mux.HandleFunc("GET /api/version", s.say(map[string]any{"version": "0.12.6"}))
		mux.HandleFunc("POST /api/show", s.say(map[string]any{"model_info": map[string]any{"general.architecture": "llama", "llama.context_length": 1024}}))
		mux.HandleFunc("HEAD /api/blobs/{digest}", s.hasBlob)
		mux.HandleFunc("POST /api/blobs/{digest}", s.putBlob)
		mux.HandleFunc("POST /api/create", s.create)
		mux.HandleFunc("DELETE /api/delete", s.remove)
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL + "/v1"
	return s
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone
}

func (s *live) say(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, v) }
}

func (s *live) fail(w http.ResponseWriter, status int, words string) {
	reply(w, status, map[string]any{"error": map[string]any{"message": words, "code": status}})
}

func (s *live) list(w http.ResponseWriter, _ *http.Request) {
	owner := map[kind]string{vllm: "vllm", llamaServer: "llamacpp", ollama: "library", other: "system"}[s.as]
	data := []map[string]any{{"id": "tiny", "owned_by": owner, "max_model_len": 1024, "parent": nil}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.as == vllm || s.as == ollama {
		for name := range s.adapters {
			if s.as == ollama {
				name += ":latest"
			}
			data = append(data, map[string]any{"id": name, "owned_by": owner, "parent": "tiny"})
		}
	}
	reply(w, 200, map[string]any{"object": "list", "data": data})
}

// complete is both endpoints of completions, streamed or not.
func (s *live) complete(w http.ResponseWriter, q *http.Request) {
	var raw map[string]any
	b, err := io.ReadAll(q.Body)
	if err != nil || json.Unmarshal(b, &raw) != nil {
		s.fail(w, 400, "no JSON")
		return
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, raw)
	s.mu.Unlock()
	var in struct {
		Model       string
		Prompt      json.RawMessage
		Messages    []struct{ Role, Content string }
		Max         int `json:"max_tokens"`
		Temperature float32
		TopP        float32 `json:"top_p"`
		Seed        uint64
		Stop        []string
		StopIDs     []int32 `json:"stop_token_ids"`
		Stream      bool
		Grammar     string
		JSONSchema  json.RawMessage `json:"json_schema"`
		Lora        []struct{ ID int }
		Structured  struct {
			Grammar string
			JSON    json.RawMessage
		} `json:"structured_outputs"`
		Format struct {
			Schema struct{ Schema json.RawMessage } `json:"json_schema"`
		} `json:"response_format"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	r := mind.Request{MaxTokens: in.Max, Temperature: in.Temperature, TopP: in.TopP, Seed: in.Seed, Stop: in.Stop, StopTokens: in.StopIDs}
	for _, m := range in.Messages {
		r.Chat = append(r.Chat, mind.Turn{Role: mind.Role(m.Role), Text: m.Content})
	}
	if len(in.Prompt) > 0 && json.Unmarshal(in.Prompt, &r.Text) != nil && json.Unmarshal(in.Prompt, &r.Tokens) != nil {
		s.fail(w, 400, "no prompt")
		return
	}
	s.mu.Lock()
	hash, known := s.adapters[strings.TrimSuffix(in.Model, ":latest")]
	if s.as == llamaServer {
		for _, l := range in.Lora {
			hash = s.sorted()[l.ID]
		}
	}
	s.mu.Unlock()
	if in.Model != "tiny" && !known {
		s.fail(w, 404, "The model `"+in.Model+"` does not exist.")
		return
	}
	r.Adapter = hash
	switch s.as {
	case vllm:
		r.Grammar, r.Schema = in.Structured.Grammar, string(in.Structured.JSON)
	case llamaServer:
		r.Grammar, r.Schema = in.Grammar, string(in.JSONSchema)
	case ollama:
		r.Schema = string(in.Format.Schema.Schema)
	}
	chat := len(r.Chat) > 0
	if in.Stream {
		s.stream(w, q, r, in.Model, chat)
		return
	}
	res, err := s.local.Generate(q.Context(), r)
	if err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	choice := map[string]any{"index": 0, "finish_reason": res.Stop, "logprobs": s.probs(res, chat)}
	if chat {
		choice["message"] = map[string]any{"role": "assistant", "content": res.Text}
	} else {
		choice["text"] = res.Text
	}
	reply(w, 200, map[string]any{"object": "completion", "model": in.Model, "choices": []any{choice}, "usage": usage(res)})
}

func usage(r *mind.Result) map[string]any {
	return map[string]any{"prompt_tokens": r.PromptTokens, "completion_tokens": len(r.Tokens), "prompt_tokens_details": map[string]any{"cached_tokens": r.CachedTokens}}
}

func (s *live) probs(r *mind.Result, chat bool) any {
	var content, names, values []any
	for i, t := range r.Tokens {
		name := fmt.Sprintf("<%d>", t)
		if s.as == vllm {
			name = fmt.Sprintf("token_id:%d", t)
		}
		content = append(content, map[string]any{"token": name, "logprob": r.Logprobs[i]})
		names, values = append(names, name), append(values, r.Logprobs[i])
	}
	if chat {
		return map[string]any{"content": content}
	}
	return map[string]any{"tokens": names, "token_logprobs": values}
}

func (s *live) stream(w http.ResponseWriter, q *http.Request, r mind.Request, model string, chat bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(v any) {
		b, _ := json.Marshal(v)
		fmt.Fprintf(w, "data: %s\n\n", b)
		w.(http.Flusher).Flush()
	}
	res, err := s.local.Stream(q.Context(), r, func(text string) {
		choice := map[string]any{"index": 0, "delta": map[string]any{"content": text}, "finish_reason": nil}
		if !chat {
			choice = map[string]any{"index": 0, "text": text, "finish_reason": nil}
		}
		event(map[string]any{"model": model, "choices": []any{choice}})
	})
	if err != nil {
		event(map[string]any{"error": map[string]any{"message": err.Error()}})
		return
	}
	event(map[string]any{"model": model, "choices": []any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": res.Stop, "logprobs": s.probs(res, chat)}}})
	event(map[string]any{"model": model, "choices": []any{}, "usage": usage(res)})
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (s *live) embed(w http.ResponseWriter, q *http.Request) {
	var in struct{ Input []string }
	_ = json.NewDecoder(q.Body).Decode(&in)
	vectors, err := s.local.Embed(q.Context(), in.Input)
	if err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	var data []any
	for i, v := range vectors {
		for k := range v {
			v[k] *= 3 // servers need not scale
		}
		data = slices.Insert(data, 0, any(map[string]any{"index": i, "embedding": v})) // nor keep the order
	}
	reply(w, 200, map[string]any{"data": data})
}

func (s *live) tokenize(w http.ResponseWriter, q *http.Request) {
	var in struct{ Prompt, Content string }
	_ = json.NewDecoder(q.Body).Decode(&in)
	n, err := s.local.CountTokens(q.Context(), in.Prompt+in.Content)
	if err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	reply(w, 200, map[string]any{"count": n, "tokens": make([]int, n)})
}

// take loads an adapter into the engine behind the server.
func (s *live) take(ctx context.Context, name, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.Sum256(b)
	hash := hex.EncodeToString(sum[:])
	if _, err := s.local.LoadAdapter(ctx, hash, f); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adapters[name] = hash
	return nil
}

func (s *live) load(w http.ResponseWriter, q *http.Request) {
	var in struct {
		Name string `json:"lora_name"`
		Path string `json:"lora_path"`
	}
	_ = json.NewDecoder(q.Body).Decode(&in)
	s.mu.Lock()
	_, twice := s.adapters[in.Name]
	s.mu.Unlock()
	if twice {
		reply(w, 400, map[string]any{"object": "error", "message": "The lora adapter '" + in.Name + "' has already been loaded.", "code": 400})
		return
	}
	if err := s.take(q.Context(), in.Name, in.Path); err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	fmt.Fprintf(w, "Success: LoRA adapter '%s' added successfully.", in.Name)
}

func (s *live) unload(w http.ResponseWriter, q *http.Request) {
	var in struct {
		Name string `json:"lora_name"`
	}
	_ = json.NewDecoder(q.Body).Decode(&in)
	s.forget(in.Name)
	fmt.Fprintf(w, "Success: LoRA adapter '%s' removed successfully.", in.Name)
}

func (s *live) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.adapters, name)
}

func (s *live) sorted() []string {
	var out []string
	for _, hash := range s.adapters {
		out = append(out, hash)
	}
	slices.Sort(out)
	return out
}

func (s *live) loras(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []any{}
	for i, hash := range s.sorted() {
		list = append(list, map[string]any{"id": i, "path": "/loras/robin-" + hash[:12] + ".gguf", "scale": 0})
	}
	reply(w, 200, list)
}

func (s *live) hasBlob(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs[strings.TrimPrefix(q.PathValue("digest"), "sha256:")] == "" {
		w.WriteHeader(404)
	}
}

func (s *live) putBlob(w http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(q.Body)
	sum := sha256.Sum256(b)
	hash := hex.EncodeToString(sum[:])
	if err != nil || "sha256:"+hash != q.PathValue("digest") {
		s.fail(w, 400, "digest mismatch")
		return
	}
	path := filepath.Join(s.t.TempDir(), hash)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.fail(w, 500, err.Error())
		return
	}
	s.mu.Lock()
	s.blobs[hash] = path
	s.mu.Unlock()
	w.WriteHeader(201)
}

func (s *live) create(w http.ResponseWriter, q *http.Request) {
	var in struct {
		Model, From string
		Adapters    map[string]string
	}
	_ = json.NewDecoder(q.Body).Decode(&in)
	s.mu.Lock()
	path := s.blobs[strings.TrimPrefix(in.Adapters["adapter.gguf"], "sha256:")]
	s.mu.Unlock()
	if in.From != "tiny" || strings.Contains(in.Model, "@") {
		s.fail(w, 400, "invalid model name")
		return
	}
	if err := s.take(q.Context(), in.Model, path); err != nil {
		s.fail(w, 400, err.Error())
		return
	}
	reply(w, 200, map[string]any{"status": "success"})
}

func (s *live) remove(w http.ResponseWriter, q *http.Request) {
	var in struct{ Model string }
	_ = json.NewDecoder(q.Body).Decode(&in)
	s.forget(in.Model)
}

func (s *live) last() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[len(s.bodies)-1]
}

func open(t *testing.T, s *live, cfg Config) *Engine {
	t.Helper()
	cfg.URL = s.url
	e, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() }) // has no error
	return e
}

// What a remote mind answers is what its model answers.
func TestLiveServers(t *testing.T) {
	for _, as := range []kind{vllm, llamaServer, ollama, other} {
		t.Run(string(as), func(t *testing.T) {
			s := serveLive(t, as)
			e := open(t, s, Config{})
			info, err := e.Info(t.Context())
			if err != nil || info.ModelID != "tiny" || info.Profile != mind.CovenantName || info.Meta["server"] != string(as) || as != other && info.ContextTokens != 1024 {
				t.Fatalf("%+v, %v", info, err)
			}
			for _, r := range []mind.Request{
				{Text: "once upon a time", MaxTokens: 12},
				{Chat: []mind.Turn{{Role: mind.System, Text: "Be brief."}, {Role: mind.User, Text: "Hi"}}, MaxTokens: 12, Temperature: 0.8, TopP: 0.9, Seed: 7},
				{Text: "once", Stop: []string{"e", "a"}, Temperature: 1, Seed: 2, MaxTokens: 30},
			} {
				want, err := s.local.Generate(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Generate(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if got.Text != want.Text || got.Stop != want.Stop || got.PromptTokens != want.PromptTokens || len(got.Tokens) != len(want.Tokens) || !close32(got.Logprobs, want.Logprobs) {
					t.Errorf("remote %+v\nlocal %+v", got, want)
				}
				if as == vllm && !slices.Equal(got.Tokens, want.Tokens) {
					t.Errorf("tokens %v, want %v", got.Tokens, want.Tokens)
				}
				var parts strings.Builder
				streamed, err := e.Stream(t.Context(), r, func(text string) { parts.WriteString(text) })
				if err != nil || streamed.Text != want.Text || parts.String() != want.Text || streamed.PromptTokens != want.PromptTokens {
					t.Errorf("streamed %+v, %q, %v", streamed, parts.String(), err)
				}
			}
			if n, err := e.CountTokens(t.Context(), "twelve bytes"); n != 12 || err != nil {
				t.Errorf("%d tokens, %v", n, err)
			}
			v, err := e.Embed(t.Context(), []string{"the cat", "a dog"})
			want, werr := s.local.Embed(t.Context(), []string{"the cat", "a dog"})
			if err != nil || werr != nil || !close32(v[0], want[0]) || !close32(v[1], want[1]) {
				t.Errorf("vectors %v, %v", err, werr)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := e.Generate(ctx, mind.Request{Text: "x"}); batos.CodeOf(err) != batos.Cancelled {
				t.Errorf("cancelled: %v", err)
			}
			if _, err := e.Generate(t.Context(), mind.Request{Text: strings.Repeat("x", 2000)}); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "no room") {
				t.Errorf("too long: %v", err)
			}
		})
	}
}

func close32(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) < 1e-4 })
}

// An answer is held to its form by the server, or checked.
func TestLiveForms(t *testing.T) {
	const schema = `{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}`
	for _, as := range []kind{vllm, llamaServer, ollama, other} {
		t.Run(string(as), func(t *testing.T) {
			s := serveLive(t, as)
			e := open(t, s, Config{})
			chat := []mind.Turn{{Role: mind.User, Text: "Hi"}}
			res, err := e.Generate(t.Context(), mind.Request{Chat: chat, Schema: schema, MaxTokens: 100})
			if err != nil {
				t.Fatal(err)
			}
			_, wrong := mind.CheckForm(mind.Request{Schema: schema}, res.Text)
			if held := as != other; held != (wrong == nil) || res.Loose == held {
				t.Errorf("%q, loose %t: %v", res.Text, res.Loose, wrong)
			}
			if as == other {
				if turns := s.last()["messages"].([]any); len(turns) != 1+2*repairs {
					t.Errorf("asked with %d turns at last", len(turns))
				}
			}
			res, err = e.Generate(t.Context(), mind.Request{Chat: chat, Grammar: `root ::= "yes" | "no"`, MaxTokens: 20})
			if err != nil {
				t.Fatal(err)
			}
			if held := as == vllm || as == llamaServer; held != (res.Text == "yes" || res.Text == "no") || res.Loose == held {
				t.Errorf("%q, loose %t", res.Text, res.Loose)
			}
		})
	}
}

func TestLiveAdapters(t *testing.T) {
	for _, as := range []kind{vllm, llamaServer, ollama} {
		t.Run(string(as), func(t *testing.T) {
			s := serveLive(t, as)
			b, hash := gguftest.Adapter(t, s.shape, 1)
			path := filepath.Join(t.TempDir(), "robin.gguf")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if as == llamaServer { // it is started with it
				if err := s.take(t.Context(), "robin", path); err != nil {
					t.Fatal(err)
				}
			}
			e := open(t, s, Config{
				AdapterName: func(hash string) string { return "ROBIN@" + hash[:12] },
				AdapterPath: func(string) string { return path },
			})
			r := mind.Request{Text: "once upon a time", MaxTokens: 10}
			bare, err := e.Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			r.Adapter = hash
			if _, err := e.Generate(t.Context(), r); batos.CodeOf(err) != batos.Invalid {
				t.Errorf("before it is loaded: %v", err)
			}
			for range 2 {
				hot, err := e.LoadAdapter(t.Context(), hash, f)
				if err != nil || hot.Hash != hash || hot.Bytes != int64(len(b)) {
					t.Fatalf("%+v, %v", hot, err)
				}
			}
			want, err := s.local.Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				got, err := e.Generate(t.Context(), r)
				if err != nil || got.Text != want.Text || !close32(got.Logprobs, want.Logprobs) || got.AdapterHash != hash {
					t.Fatalf("with the adapter %+v, %v; want %+v", got, err, want)
				}
				if as == vllm && round == 0 { // as after a restart
					s.forget("ROBIN@" + hash[:12])
				}
			}
			if m, err := e.Memory(t.Context()); err != nil || len(m.Adapters) != 1 {
				t.Errorf("%+v, %v", m, err)
			}
			if as == llamaServer && (s.last()["cache_prompt"] != false) {
				t.Error("the cache of prompts is not turned off beside adapters")
			}
			if err := e.UnloadAdapter(t.Context(), hash); err != nil {
				t.Error(err)
			}
			r.Adapter = ""
			if again, err := e.Generate(t.Context(), r); err != nil || again.Text != bare.Text || !close32(again.Logprobs, bare.Logprobs) {
				t.Errorf("without it %+v, %v; before %+v", again, err, bare)
			}
			if as == vllm {
				other, _ := gguftest.Adapter(t, gguftest.Shape{Width: 128}, 2)
				if err := os.WriteFile(path, other, 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := e.LoadAdapter(t.Context(), strings.Repeat("0", 64), f); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "does not fit") {
					t.Errorf("one that does not fit: %v", err)
				}
			}
		})
	}
}
