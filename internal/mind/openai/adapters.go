package openai

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"

	"batos"
	"batos/internal/mind"
)

// adapter is one that the server serves.
type adapter struct {
	name  string // what the server calls it
	path  string // where it reads it
	id    int    // llama-server's number of it
	bytes int64
}

func (e *Engine) loaded(hash string) (adapter, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.hot[hash]
	return a, ok
}

// LoadAdapter brings an adapter into the server, as far as the server lets
// others do that, and believes it when the server lists it and answers a token
// with it:
//
//   - vLLM loads it from its own disk, under its immutable name;
//   - LoRAX does so with every request, so only the request is tried;
//   - Ollama is sent the bytes and makes a model of base and adapter;
//   - llama-server has those it was started with: one whose file's name has
//     the hash's first twelve digits is found;
//   - the others take none (refused).
func (e *Engine) LoadAdapter(ctx context.Context, hash string, f *os.File) (mind.HotAdapter, error) {
	if len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return mind.HotAdapter{}, batos.Errorf(batos.Invalid, "%.70q is no hash of an adapter: want 64 hexadecimal digits", hash)
	}
	st, err := f.Stat()
	if err != nil {
		return mind.HotAdapter{}, batos.Errorf(batos.Invalid, "adapter %.16s: %w", hash, err)
	}
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return mind.HotAdapter{}, err
	}
	defer leave()
	if a, ok := e.loaded(hash); ok {
		return mind.HotAdapter{Hash: hash, Bytes: a.bytes}, nil
	}
	a := adapter{name: e.nameOf(hash), bytes: st.Size()}
	if e.cfg.AdapterPath != nil {
		a.path = e.cfg.AdapterPath(hash)
	}
	if err := e.bring(ctx, hash, &a, f); err != nil {
		return mind.HotAdapter{}, batos.Errorf(batos.CodeOf(err), "adapter %.16s: %w", hash, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hot[hash] = a
	return mind.HotAdapter{Hash: hash, Bytes: a.bytes}, nil
}

// nameOf is what the server calls an adapter. Ollama's names have no @.
func (e *Engine) nameOf(hash string) string {
	name := "batos@" + hash[:12]
	if e.cfg.AdapterName != nil {
		name = e.cfg.AdapterName(hash)
	}
	if e.server.kind == ollama {
		name = strings.ToLower(strings.ReplaceAll(name, "@", "-"))
	}
	return name
}

func (e *Engine) bring(ctx context.Context, hash string, a *adapter, f *os.File) error {
	switch e.server.kind {
	case vllm:
		if a.path == "" {
			return batos.Errorf(batos.Refused, "vLLM reads adapters from its own disk: export it there in PEFT's form and say where")
		}
		err := e.read(ctx, http.MethodPost, e.base+"/load_lora_adapter", map[string]any{"lora_name": a.name, "lora_path": a.path}, nil)
		switch {
		case batos.CodeOf(err) == batos.NotFound:
			return batos.Errorf(batos.Refused, "this vLLM takes no adapters: start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True")
		case batos.CodeOf(err) == batos.Invalid && strings.Contains(err.Error(), "already"): // the name says the content
		case err != nil:
			return err
		}
	case lorax:
		if a.path == "" {
			return batos.Errorf(batos.Refused, "LoRAX reads adapters from its own disk: export it there in PEFT's form and say where")
		}
	case ollama:
		if err := e.make(ctx, hash, a, f); err != nil {
			return err
		}
	case llamaServer:
		if err := e.find(ctx, hash, a); err != nil {
			return err
		}
	default:
		return batos.Errorf(batos.Refused, "%s takes no adapters", e.server.kind)
	}
	if err := e.probe(ctx, a); err != nil {
		_ = e.drop(ctx, a) // what matters is why
		return err
	}
	return nil
}

// make sends Ollama the adapter's bytes and has it make a model.
func (e *Engine) make(ctx context.Context, hash string, a *adapter, f *os.File) error {
	blob := e.root + "/api/blobs/sha256:" + hash
	err := e.read(ctx, http.MethodHead, blob, nil, nil)
	if batos.CodeOf(err) == batos.NotFound {
		err = e.read(ctx, http.MethodPost, blob, io.NewSectionReader(f, 0, a.bytes), nil)
	}
	if err != nil {
		return err
	}
	var out struct {
		Status string `json:"status"`
	}
	err = e.post(ctx, e.root+"/api/create", map[string]any{
		"model": a.name, "from": e.info.ModelID, "adapters": map[string]string{"adapter.gguf": "sha256:" + hash}, "stream": false,
	}, &out)
	if err == nil && out.Status != "success" {
		err = batos.Errorf(batos.Offline, "Ollama made no model of it: %.100q", out.Status)
	}
	return err
}

// find looks for the adapter among those llama-server was started with.
func (e *Engine) find(ctx context.Context, hash string, a *adapter) error {
	var list []struct {
		ID   int    `json:"id"`
		Path string `json:"path"`
	}
	if err := e.get(ctx, e.root+"/lora-adapters", &list); err != nil {
		return err
	}
	for _, l := range list {
		if strings.Contains(path.Base(strings.ReplaceAll(l.Path, `\`, "/")), hash[:12]) {
			a.id, a.path = l.ID, l.Path
			return nil
		}
	}
	return batos.Errorf(batos.Refused, "llama-server has only the adapters it is started with: start it with --lora-init-without-apply and --lora FILE, where the file's name has %s in it", hash[:12])
}

// adapt makes a request one to the adapter, or plainly to the base model.
func (e *Engine) adapt(body map[string]any, hash string) {
	a, _ := e.loaded(hash)
	if hash != "" {
		e.with(body, &a)
	} else if e.server.kind == llamaServer && e.server.loras {
		// Without a list its adapters act as they were started; and its
		// cache of prompts has been seen to mix adapters up.
		body["lora"], body["cache_prompt"] = []any{}, false
	}
}

func (e *Engine) with(body map[string]any, a *adapter) {
	switch e.server.kind {
	case llamaServer:
		body["lora"], body["cache_prompt"] = []map[string]any{{"id": a.id, "scale": 1}}, false
	case lorax:
		body["model"], body["adapter_source"] = a.path, "local"
	default:
		body["model"] = a.name
	}
}

// probe asks for one token with the adapter.
func (e *Engine) probe(ctx context.Context, a *adapter) error {
	if e.server.kind == vllm || e.server.kind == ollama {
		list, err := e.models(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(m listedModel) bool { return m.ID == a.name || m.ID == a.name+":latest" }) {
			return batos.Errorf(batos.Offline, "%s says that it has loaded %s, and does not list it", e.server.kind, a.name)
		}
	}
	body := map[string]any{"model": e.info.ModelID, "prompt": "a", "max_tokens": 1, "temperature": 0}
	e.with(body, a)
	var out answer
	if err := e.post(ctx, e.base+"/completions", body, &out); err != nil {
		return err
	}
	if len(out.Choices) == 0 {
		return batos.Errorf(batos.Offline, "%s answers nothing with %s", e.server.kind, a.name)
	}
	if e.server.kind == vllm && out.Model != a.name {
		return batos.Errorf(batos.Offline, "vLLM answers as %.60q when it is asked for %s", out.Model, a.name)
	}
	return nil
}

// reload brings an adapter back into a server that has lost it.
func (e *Engine) reload(ctx context.Context, hash string) error {
	a, ok := e.loaded(hash)
	if !ok || e.server.kind != vllm && e.server.kind != lorax {
		return batos.Errorf(batos.Offline, "the server has lost adapter %.16s: load it again", hash)
	}
	return e.bring(ctx, hash, &a, nil)
}

// UnloadAdapter takes the adapter out of the server where it can be taken out,
// and makes sure that it is gone. Requests under way end as the server sees
// fit.
func (e *Engine) UnloadAdapter(ctx context.Context, hash string) error {
	a, ok := e.loaded(hash)
	if !ok {
		return nil
	}
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	e.mu.Lock()
	delete(e.hot, hash)
	e.mu.Unlock()
	if err := e.drop(ctx, &a); err != nil {
		return fmt.Errorf("adapter %.16s: %w", hash, err)
	}
	return nil
}

func (e *Engine) drop(ctx context.Context, a *adapter) error {
	var err error
	switch e.server.kind {
	case vllm:
		err = e.read(ctx, http.MethodPost, e.base+"/unload_lora_adapter", map[string]any{"lora_name": a.name}, nil)
	case ollama:
		err = e.read(ctx, http.MethodDelete, e.root+"/api/delete", map[string]any{"model": a.name}, nil)
	default:
		return nil
	}
	if err != nil && batos.CodeOf(err) != batos.NotFound {
		return err
	}
	list, err := e.models(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(m listedModel) bool { return m.ID == a.name || m.ID == a.name+":latest" }) {
		return batos.Errorf(batos.Offline, "%s says that it has let go of %s, and lists it still", e.server.kind, a.name)
	}
	return nil
}

// Memory tells the adapters that were brought into the server; what else it
// holds it does not say.
func (e *Engine) Memory(context.Context) (mind.Memory, error) {
	if e.stop.Err() != nil {
		return mind.Memory{}, errClosed()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var m mind.Memory
	for hash, a := range e.hot {
		m.Adapters = append(m.Adapters, mind.HotAdapter{Hash: hash, Bytes: a.bytes})
	}
	slices.SortFunc(m.Adapters, func(a, b mind.HotAdapter) int { return strings.Compare(a.Hash, b.Hash) })
	return m, nil
}
