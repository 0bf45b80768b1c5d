package openai

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"batos"
	"batos/internal/mind"
)

// The bodies below are what the servers' documentation and sources show, not
// recordings of running ones.
const (
	vllmModels   = `{"object":"list","data":[{"id":"meta-llama/Llama-3.1-8B-Instruct","object":"model","created":1,"owned_by":"vllm","root":"meta-llama/Llama-3.1-8B-Instruct","parent":null,"max_model_len":16384},{"id":"sql-lora","object":"model","created":1,"owned_by":"vllm","root":"/loras/sql","parent":"meta-llama/Llama-3.1-8B-Instruct"}]}`
	llamaModels  = `{"object":"list","data":[{"id":"../models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf","object":"model","created":1735142223,"owned_by":"llamacpp","meta":{"vocab_type":2,"n_vocab":128256,"n_ctx_train":131072,"n_embd":4096,"n_params":8030261312,"size":4912898304}}]}`
	ollamaModels = `{"object":"list","data":[{"id":"llama3.2:latest","object":"model","created":1,"owned_by":"library"},{"id":"all-minilm:latest","object":"model","created":1,"owned_by":"library"}]}`
	studioModels = `{"object":"list","data":[{"id":"qwen2.5-7b-instruct","object":"model","owned_by":"organization_owner"}]}`
	loraxModels  = `{"object":"list","data":[{"id":"mistralai/Mistral-7B-Instruct-v0.1","object":"model","owned_by":"predibase"}]}`
	chatAnswer   = `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`
)

// exchange is what a test's server answers: by method and path, in order; the
// last one is repeated.
type script map[string][]string

// serve gives the address of a server that follows the script. An answer is a
// body, or a status, a line end and a body.
func serve(t *testing.T, s script) string {
	t.Helper()
	var asked [64]atomic.Int32
	names := map[string]int{}
	for name := range s {
		names[name] = len(names)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := q.Method + " " + q.URL.Path
		answers := s[name]
		if len(answers) == 0 {
			http.NotFound(w, q)
			return
		}
		n := int(asked[names[name]].Add(1))
		a := answers[min(n, len(answers))-1]
		status := 200
		if head, body, ok := strings.Cut(a, "\n"); ok && len(head) >= 3 && head[0] >= '2' && head[0] <= '5' {
			if _, err := fmt.Sscan(head, &status); err == nil {
				a = body
			}
			if _, wait, ok := strings.Cut(head, "after "); ok {
				w.Header().Set("Retry-After", wait)
			}
			if _, to, ok := strings.Cut(head, "to "); ok {
				w.Header().Set("Location", to)
			}
		}
		w.WriteHeader(status)
		fmt.Fprint(w, a)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// pauses notes what is waited for, and waits for nothing.
func pauses(into *[]time.Duration) func(context.Context, time.Duration) error {
	return func(_ context.Context, d time.Duration) error { *into = append(*into, d); return nil }
}

func TestWhatServersAre(t *testing.T) {
	for _, c := range []struct {
		name    string
		script  script
		model   string
		kind    kind
		id      string
		context int
	}{
		{"vLLM", script{"GET /v1/models": {vllmModels}, "GET /version": {`{"version":"0.11.2"}`}}, "", vllm, "meta-llama/Llama-3.1-8B-Instruct", 16384},
		{"llama-server", script{"GET /v1/models": {llamaModels}, "GET /props": {`{"default_generation_settings":{"n_ctx":4096},"chat_template":"x"}`}, "GET /lora-adapters": {`[]`}}, "", llamaServer, "../models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 4096},
		{"Ollama", script{"GET /v1/models": {ollamaModels}, "GET /api/version": {`{"version":"0.5.1"}`}, "POST /api/show": {`{"parameters":"stop \"x\"\nnum_ctx    16384","model_info":{"general.architecture":"llama","llama.context_length":131072}}`}}, "#llama3.2", ollama, "llama3.2:latest", 16384},
		{"LM Studio", script{"GET /v1/models": {studioModels}, "GET /api/v0/models/qwen2.5-7b-instruct": {`{"id":"qwen2.5-7b-instruct","arch":"qwen2","max_context_length":32768,"loaded_context_length":4096}`}}, "", lmStudio, "qwen2.5-7b-instruct", 4096},
		{"LoRAX", script{"GET /v1/models": {loraxModels}, "GET /info": {`{"model_id":"mistralai/Mistral-7B-Instruct-v0.1","max_total_tokens":2048,"version":"0.12.1"}`}}, "", lorax, "mistralai/Mistral-7B-Instruct-v0.1", 2048},
		{"another", script{"GET /v1/models": {`{"data":[{"id":"gpt-x","owned_by":"system"}]}`}}, "", other, "gpt-x", defaultContext},
	} {
		for _, tail := range []string{"", "/", "/v1", "/v1/"} {
			e, err := Open(t.Context(), Config{URL: serve(t, c.script) + tail + c.model})
			if err != nil {
				t.Errorf("%s%s: %v", c.name, tail, err)
				continue
			}
			if i, _ := e.Info(t.Context()); e.server.kind != c.kind || i.ModelID != c.id || i.ContextTokens != c.context {
				t.Errorf("%s: %s %+v", c.name, e.server.kind, i)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		name, url string
		code      batos.Code
		says      string
	}{
		{"no URL", "::", batos.Invalid, "no URL"},
		{"no server's address", "ftp://x/v1", batos.Invalid, "no address like"},
		{"key in the address", "http://user:secret@localhost/v1", batos.Invalid, KeyEnv},
		{"nobody there", gone.URL, batos.Offline, "cannot be reached: connection refused"},
		{"something else", serve(t, script{}), batos.Offline, "no OpenAI-compatible server"},
		{"a page", serve(t, script{"GET /v1/models": {"<html>welcome</html>"}}), batos.Offline, "answers no JSON"},
		{"the wrong key", serve(t, script{"GET /v1/models": {"401\n" + `{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}`}}), batos.Denied, "Invalid API Key"},
		{"no models", serve(t, script{"GET /v1/models": {`{"data":[]}`}}), batos.Offline, "no model"},
		{"several", serve(t, script{"GET /v1/models": {ollamaModels}}), batos.Invalid, "all-minilm:latest, llama3.2:latest"},
		{"another", serve(t, script{"GET /v1/models": {vllmModels}}) + "#gpt-4", batos.NotFound, "it has meta-llama/Llama-3.1-8B-Instruct"},
		{"an error with 200", serve(t, script{"GET /v1/models": {`{"error":"out of order"}`}}), batos.Offline, "out of order"},
		{"elsewhere", serve(t, script{"GET /v1/models": {"302 to http://example.invalid/\n"}}), batos.Offline, "sends elsewhere"},
	} {
		var waits []time.Duration
		_, err := Open(t.Context(), Config{URL: c.url, Key: "sk-secret", sleep: pauses(&waits)})
		if batos.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v (%s)", c.name, err, batos.CodeOf(err))
		}
		if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	const events = `data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n" +
		`: a comment` + "\n" + `data: {"choices":[{"delta":{"content":"Hel"},"finish_reason":null}]}` + "\n\n" +
		`data: {"choices":[{"delta":{"content":"lo."},"finish_reason":"stop"}]}` + "\n\n"
	for _, c := range []struct {
		name    string
		answers []string
		stream  bool
		code    batos.Code // "" is the answer Hello.
		says    string
		waits   int
	}{
		{"an answer", []string{chatAnswer}, false, "", "", 0},
		{"busy twice", []string{"429 after 3\n", "503\n" + `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, chatAnswer}, false, "", "", 2},
		{"busy for ever", []string{"429\n" + `{"error":{"message":"slow down"}}`}, false, batos.Busy, "slow down", maxTries - 1},
		{"no money", []string{"429\n" + `{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}`}, false, batos.Limit, "quota", 0},
		{"broken for ever", []string{"500\n<html>"}, false, batos.Offline, "says 500", maxTries - 1},
		{"too long", []string{"400\n" + `{"object":"error","message":"This model's maximum context length is 16384 tokens.","type":"BadRequestError","code":400}`}, false, batos.Invalid, "maximum context length", 0},
		{"a detail", []string{"422\n" + `{"detail":[{"loc":["body"],"msg":"field required"}]}`}, false, batos.Invalid, "field required", 0},
		{"no logprobs", []string{"400\n" + `{"error":{"message":"This model does not support logprobs."}}`, chatAnswer}, false, "", "", 0},
		{"other words for the maximum", []string{"400\n" + `{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}`, chatAnswer}, false, "", "", 0},
		{"the model is gone", []string{"404\n" + `{"error":{"message":"model not found"}}`}, false, batos.Offline, "model not found", 0},
		{"no choice", []string{`{"choices":[]}`}, false, batos.Offline, "without a choice", 0},
		{"an error with 200", []string{`{"error":{"message":"CUDA out of memory"}}`}, false, batos.Offline, "CUDA", 0},
		{"a filter", []string{strings.Replace(chatAnswer, `"stop"`, `"content_filter"`, 1)}, false, batos.Offline, "content_filter", 0},
		{"a page with 200", []string{"<html></html>"}, false, batos.Offline, "no JSON", 0},
		{"streamed", []string{events + "data: [DONE]\n\n"}, true, "", "", 0},
		{"a stream that breaks off", []string{events}, true, batos.Offline, "broke off", 0},
		{"an error amid a stream", []string{events + `data: {"error":{"message":"CUDA out of memory"}}` + "\n\n"}, true, batos.Offline, "CUDA", 0},
		{"nonsense amid a stream", []string{events + "data: {{{\n\n"}, true, batos.Offline, "streams no JSON", 0},
		{"busy, then streamed", []string{"503\n", events + "data: [DONE]\n\n"}, true, "", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var waits []time.Duration
			url := serve(t, script{"GET /v1/models": {`{"data":[{"id":"m","owned_by":"system"}]}`}, "POST /v1/chat/completions": c.answers})
			e, err := Open(t.Context(), Config{URL: url, Key: "sk-secret", sleep: pauses(&waits)})
			if err != nil {
				t.Fatal(err)
			}
			r := mind.Request{Chat: []mind.Turn{{Role: mind.User, Text: "Hi"}}, MaxTokens: 10}
			var res *mind.Result
			var told strings.Builder
			if c.stream {
				res, err = e.Stream(t.Context(), r, func(s string) { told.WriteString(s) })
			} else {
				res, err = e.Generate(t.Context(), r)
			}
			if batos.CodeOf(err) != c.code || c.code != "" && !strings.Contains(err.Error(), c.says) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Fatalf("%v (%s)", err, batos.CodeOf(err))
			}
			if c.code == "" && (res.Text != "Hello." || res.Stop != mind.StopEnd || c.stream && told.String() != "Hello." || !c.stream && len(res.Tokens) != 2) {
				t.Errorf("%+v, told %q", res, told.String())
			}
			if len(waits) != c.waits {
				t.Errorf("waited %v", waits)
			}
			for i, d := range waits {
				if d < firstPause<<i/2 || d > maxPause {
					t.Errorf("wait %d is %v", i, d)
				}
			}
			if c.name == "busy twice" && waits[0] != 3*time.Second {
				t.Errorf("waited %v, was asked for 3 s", waits[0])
			}
		})
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	e, err := Open(t.Context(), Config{URL: serve(t, script{"GET /v1/models": {`{"data":[{"id":"m","owned_by":"system"}]}`}})})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]mind.Request{
		"no prompt":        {},
		"two prompts":      {Text: "x", Tokens: []int32{1}},
		"tokens":           {Tokens: []int32{1}},
		"stop tokens":      {Text: "x", StopTokens: []int32{1}},
		"grammar, schema":  {Text: "x", Grammar: "x", Schema: "x"},
		"negative maximum": {Text: "x", MaxTokens: -1},
		"temperature":      {Text: "x", Temperature: -1},
		"empty stop":       {Text: "x", Stop: []string{""}},
		"role":             {Chat: []mind.Turn{{Role: "root", Text: "x"}}},
		"adapter":          {Text: "x", Adapter: "feed"},
	} {
		if _, err := e.Generate(t.Context(), r); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := e.LoadAdapter(t.Context(), strings.Repeat("0", 64), f); batos.CodeOf(err) != batos.Refused {
		t.Errorf("an adapter for a server that takes none: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Generate(t.Context(), mind.Request{Text: "x"}); batos.CodeOf(err) != batos.Offline {
		t.Errorf("closed: %v", err)
	}
}

// A server that says it has loaded an adapter and has not is not believed.
func TestAdapterThatIsNotThere(t *testing.T) {
	hash := strings.Repeat("a", 64)
	name := "batos@" + hash[:12]
	one := `{"data":[{"id":"m","owned_by":"vllm","parent":null}]}`
	two := `{"data":[{"id":"m","owned_by":"vllm","parent":null},{"id":"` + name + `","owned_by":"vllm","parent":"m"}]}`
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		name   string
		script script
		path   string
		code   batos.Code
		says   string
	}{
		{"not listed", script{"GET /v1/models": {one}, "POST /v1/load_lora_adapter": {"Success"}}, "/loras/x", batos.Offline, "does not list it"},
		{"answers as the base", script{"GET /v1/models": {one, two}, "POST /v1/load_lora_adapter": {"Success"}, "POST /v1/completions": {`{"model":"m","choices":[{"text":"a","finish_reason":"length"}]}`}}, "/loras/x", batos.Offline, `answers as "m"`},
		{"not allowed", script{"GET /v1/models": {one}}, "/loras/x", batos.Refused, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"},
		{"no such folder", script{"GET /v1/models": {one}, "POST /v1/load_lora_adapter": {"400\n" + `{"object":"error","message":"Loading lora failed: No adapter found for /loras/x","code":400}`}}, "/loras/x", batos.Invalid, "No adapter found"},
		{"no folder named", script{"GET /v1/models": {one}}, "", batos.Refused, "its own disk"},
	} {
		var waits []time.Duration
		e, err := Open(t.Context(), Config{URL: serve(t, c.script), AdapterPath: func(string) string { return c.path }, sleep: pauses(&waits)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.LoadAdapter(t.Context(), hash, f)
		if batos.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v (%s)", c.name, err, batos.CodeOf(err))
		}
		if m, _ := e.Memory(t.Context()); len(m.Adapters) != 0 {
			t.Errorf("%s: counted as loaded", c.name)
		}
	}
}

// BATOS_REMOTE names a real server, and BATOS_API_KEY its key, to try this
// engine against: BATOS_REMOTE=http://localhost:8080/v1#MODEL.
func TestRealServer(t *testing.T) {
	url := os.Getenv("BATOS_REMOTE")
	if url == "" {
		t.Skip("BATOS_REMOTE names no server")
	}
	e, err := Open(t.Context(), Config{URL: url, Key: os.Getenv(KeyEnv)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	info, err := e.Info(t.Context())
	t.Logf("%+v, %v, %+v", info, err, e.server)
	r := mind.Request{Chat: []mind.Turn{{Role: mind.User, Text: "Say hello."}}, MaxTokens: 20}
	res, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", res)
	var told strings.Builder
	if streamed, err := e.Stream(t.Context(), r, func(s string) { told.WriteString(s) }); err != nil || told.String() != streamed.Text {
		t.Errorf("streamed %+v, %q, %v", streamed, told.String(), err)
	}
	r.Schema, r.MaxTokens = `{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}`, 100
	if res, err = e.Generate(t.Context(), r); err != nil || res.Loose {
		t.Errorf("%+v, %v", res, err)
	}
	if n, err := e.CountTokens(t.Context(), "one two three"); n == 0 || err != nil {
		t.Errorf("%d tokens, %v", n, err)
	}
}
