package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/internal/mind"
)

// kind is the software of a server.
type kind string

const (
	vllm        kind = "vLLM"
	llamaServer kind = "llama-server"
	ollama      kind = "Ollama"
	lmStudio    kind = "LM Studio"
	lorax       kind = "LoRAX"
	other       kind = "OpenAI-compatible"
)

// server is what was found out about a server.
type server struct {
	kind    kind
	version string
	guided  bool // a vLLM that has guided_grammar and not yet structured_outputs
	loras   bool // a llama-server that was started with adapters
}

// detect finds out what the server is, by whom it calls the model's owner and
// by an endpoint of its own, and how long the context is. What is not told
// stays empty: that is no error.
func (e *Engine) detect(ctx context.Context, m listedModel) {
	ask := func(path string, out any) bool { return e.curious(ctx, http.MethodGet, path, nil, out) }
	e.server.kind = other
	switch m.OwnedBy {
	case "vllm":
		var v struct {
			Version string `json:"version"`
		}
		ask("/version", &v)
		e.server = server{kind: vllm, version: v.Version, guided: before(v.Version, 0, 11)}
		e.info.ContextTokens = m.Length
	case "llamacpp":
		var props struct {
			Settings struct {
				Ctx int `json:"n_ctx"`
			} `json:"default_generation_settings"`
			Template string `json:"chat_template"`
			Build    string `json:"build_info"`
		}
		ask("/props", &props)
		var loras []json.RawMessage
		ask("/lora-adapters", &loras)
		e.server = server{kind: llamaServer, version: props.Build, loras: len(loras) > 0}
		e.info.ContextTokens, e.info.ChatTemplate = props.Settings.Ctx, props.Template
		if m.Meta != nil {
			e.info.VocabSize, e.info.Params, e.info.Bytes = m.Meta.Vocab, m.Meta.Params, m.Meta.Size
			if e.info.ContextTokens == 0 {
				e.info.ContextTokens = m.Meta.Ctx
			}
		}
	case "organization_owner":
		e.server.kind = lmStudio
		var v struct {
			Arch   string `json:"arch"`
			Loaded int    `json:"loaded_context_length"`
			Most   int    `json:"max_context_length"`
		}
		ask("/api/v0/models/"+m.ID, &v)
		e.info.Architecture = v.Arch
		if e.info.ContextTokens = v.Loaded; v.Loaded == 0 {
			e.info.ContextTokens = v.Most
		}
	case "openai", "system", "openai-internal":
	default:
		e.detectByEndpoint(ctx, m, ask)
	}
}

// ollamaContext is what Ollama gives a model that does not say otherwise.
const ollamaContext = 4096

func (e *Engine) detectByEndpoint(ctx context.Context, m listedModel, ask func(string, any) bool) {
	var v struct {
		Version string `json:"version"`
	}
	if ask("/api/version", &v) && v.Version != "" {
		e.server = server{kind: ollama, version: v.Version}
		var show struct {
			Parameters string         `json:"parameters"`
			Template   string         `json:"template"`
			Info       map[string]any `json:"model_info"`
		}
		if !e.curious(ctx, http.MethodPost, "/api/show", map[string]any{"model": m.ID}, &show) {
			return
		}
		e.info.Architecture, _ = show.Info["general.architecture"].(string)
		e.info.ContextTokens = ollamaContext
		if n, ok := show.Info[e.info.Architecture+".context_length"].(float64); ok && n > 0 {
			e.info.ContextTokens = min(e.info.ContextTokens, int(n))
		}
		for line := range strings.Lines(show.Parameters) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "num_ctx" {
				if n, err := strconv.Atoi(f[1]); err == nil && n > 0 {
					e.info.ContextTokens = n
				}
			}
		}
		return
	}
	var i struct {
		Model string `json:"model_id"`
		Total int    `json:"max_total_tokens"`
		Build string `json:"version"`
	}
	if ask("/info", &i) && i.Model != "" && i.Total > 0 {
		e.server = server{kind: lorax, version: i.Build}
		e.info.ContextTokens = i.Total
	}
}

// curious asks once for what may not be there.
func (e *Engine) curious(ctx context.Context, method, path string, body, out any) bool {
	one := &Engine{cfg: e.cfg, root: e.root, base: e.base}
	one.cfg.sleep = func(context.Context, time.Duration) error { return context.Canceled }
	return one.read(ctx, method, e.root+path, body, out) == nil
}

// before compares a version with major.minor; one that cannot be read is new.
func before(version string, major, minor int) bool {
	var v [2]int
	for i, part := range strings.SplitN(version, ".", 3)[:min(2, strings.Count(version, ".")+1)] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return false
		}
		v[i] = n
	}
	return version != "" && (v[0] < major || v[0] == major && v[1] < minor)
}

// hold writes into body how the answer is to be held to a form, in the
// server's own dialect, and reports whether the server can.
func (s server) hold(body map[string]any, r mind.Request) bool {
	schema := json.RawMessage(r.Schema)
	switch {
	case r.Grammar == "" && r.Schema == "":
		return true
	case s.kind == vllm && s.guided && r.Grammar != "":
		body["guided_grammar"] = r.Grammar
	case s.kind == vllm && s.guided:
		body["guided_json"] = schema
	case s.kind == vllm && r.Grammar != "":
		body["structured_outputs"] = map[string]any{"grammar": r.Grammar}
	case s.kind == vllm:
		body["structured_outputs"] = map[string]any{"json": schema}
	case s.kind == llamaServer && r.Grammar != "":
		body["grammar"] = r.Grammar
	case s.kind == llamaServer:
		body["json_schema"] = schema
	case r.Schema == "": // JSON schemas are all that the others take
		return false
	case s.kind == lorax:
		body["response_format"] = map[string]any{"type": "json_object", "schema": schema}
	case len(r.Chat) == 0:
		return false
	default:
		body["response_format"] = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "answer", "strict": true, "schema": schema}}
		return s.kind != other // who knows
	}
	return true
}

// counted is how the server counts tokens, if it has an endpoint for it.
func (e *Engine) counted(ctx context.Context, text string) (int, error) {
	switch e.server.kind {
	case vllm:
		var out struct {
			Count int `json:"count"`
		}
		err := e.post(ctx, e.root+"/tokenize", map[string]any{"model": e.info.ModelID, "prompt": text, "add_special_tokens": false}, &out)
		return out.Count, err
	case llamaServer:
		var out struct {
			Tokens []json.RawMessage `json:"tokens"`
		}
		err := e.post(ctx, e.root+"/tokenize", map[string]any{"content": text, "parse_special": true}, &out)
		return len(out.Tokens), err
	}
	// The others count what they are asked, so they are asked for one token.
	var out answer
	err := e.post(ctx, e.base+"/completions", map[string]any{"model": e.info.ModelID, "prompt": text, "max_tokens": 1}, &out)
	if err == nil && (out.Usage == nil || out.Usage.Prompt <= 0) {
		err = batos.Errorf(batos.Offline, "the remote mind at %s does not count tokens", e.root)
	}
	if err != nil {
		return 0, err
	}
	return out.Usage.Prompt, nil
}
