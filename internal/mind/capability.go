package mind

import (
	"context"
	"os"
)

// AdapterHost is an [Engine] that holds LoRA adapters in its own memory, next
// to the base model: the hot tier. All methods are safe for concurrent use.
//
// An adapter is known by the SHA-256 of its GGUF bytes, in hex. Loading is
// separate from use: [Request.Adapter] names a loaded one.
type AdapterHost interface {
	// LoadAdapter brings an adapter into the engine's memory, from a regular
	// file or a sealed memfd that holds its GGUF bytes. The caller has
	// verified bytes and hash, and may close f afterwards; its position does
	// not matter. The engine keeps a handle of its own while the adapter is
	// hot, to load it again should its process be started again: a memfd
	// lives that long. Loading one that is loaded does nothing. The error is
	// invalid for an adapter that does not fit the base model, limit if the
	// engine has no memory for it.
	LoadAdapter(ctx context.Context, hash string, f *os.File) (HotAdapter, error)
	// UnloadAdapter takes an adapter out of every context and returns when its
	// memory is free. Requests that use it are waited for; if ctx ends first
	// the error says so, and the adapter goes when they end. Later requests
	// find it gone (invalid: not loaded). An unknown one is no error.
	UnloadAdapter(ctx context.Context, hash string) error
	// Memory measures what the engine holds now.
	Memory(ctx context.Context) (Memory, error)
}

// HotAdapter is an adapter in an engine's memory.
type HotAdapter struct {
	Hash  string
	Bytes int64 // measured in the engine, tensors and their overhead
}

// Memory is what an engine holds, in bytes.
type Memory struct {
	Model    int64 // weights of the base model
	KV       int64 // key-value caches of all contexts
	Compute  int64 // scratch buffers of all contexts
	Prefixes int64 // kept prefix states
	Adapters []HotAdapter
	Resident int64 // of the engine's process, as the system counts it; 0 if unknown
	Device   int64 // of the part that lies on an accelerator; 0 without one
}

// PrefixHost is an engine that keeps the computed state of prompt beginnings,
// a persona's system prompt above all, and puts it back instead of computing
// it again. It keeps and drops by itself, within a bound; these methods are
// for whoever wants a state to outlive the engine's process. They are safe for
// concurrent use.
//
// A state belongs to one model, adapter, engine release, kind of processor and
// sequence of tokens, and is never used for another.
type PrefixHost interface {
	// Prefixes lists what is kept, last used first.
	Prefixes(ctx context.Context) ([]Prefix, error)
	// SavePrefix writes the state of that key into f, a regular file or
	// memfd open for writing, from its beginning to its end. The error is
	// not_found if it is no longer kept.
	SavePrefix(ctx context.Context, key string, f *os.File) error
	// RestorePrefix keeps what SavePrefix wrote into f. The engine trusts
	// these bytes with its life, so the caller has kept them where nobody
	// else writes. The error is invalid if they were computed by another
	// engine or model, corrupt if they are damaged, limit if there is no room.
	RestorePrefix(ctx context.Context, f *os.File) (Prefix, error)
}

// Prefix is a kept beginning of prompts.
type Prefix struct {
	Key     string // hex; names all that the state depends on
	Adapter string // content hash; "" is the base model
	Tokens  int
	Bytes   int64
}

// Embedder is an engine that turns texts into vectors.
type Embedder interface {
	// Embed gives one vector for each text, of the same length and of unit
	// norm. The error is invalid if the model does not embed.
	Embed(ctx context.Context, texts []string) ([][]float32, error)
}

// Streamer is an engine that tells an answer while it is being written.
type Streamer interface {
	// Stream is Generate with piece called for every further part of the
	// text, in order, on one goroutine; the parts add up to Result.Text.
	Stream(ctx context.Context, r Request, piece func(text string)) (*Result, error)
}
