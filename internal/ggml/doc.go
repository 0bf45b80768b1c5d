// Package ggml binds the prebuilt llama.cpp libraries, release v0.5.0, from Go
// without cgo. It is the only package of BAT OS that uses unsafe.
//
// The libraries come from the npm package @node-llama-cpp/linux-x64, pinned
// with its integrity in package-lock.json: `npm ci` puts them where [Dir]
// looks, in node_modules/@node-llama-cpp/linux-x64/bins/linux-x64. [Load]
// refuses any library whose bytes are not the ones this build was made for,
// because structs are passed by value and their layout changes between
// releases.
//
// # Inference, in reading order
//
//   - [Load] gives the process's one [Library]: versions, devices, log,
//     [Library.LoadModel], [Library.Quantize].
//   - [Model] is a GGUF file in memory, its header checked by package gguf
//     first: metadata, the vocabulary ([Model.Tokenize], [Model.Piece],
//     [Model.Detokenize]), the chat template ([Model.ApplyTemplate]).
//   - [Context] is one KV cache over a model: [Context.Decode] takes [Item]s,
//     [Context.Logits] and [Context.Embedding] read the outputs,
//     [Context.State] and [Context.SetState] copy a sequence out and in,
//     [Context.Cancel] stops a decode.
//   - [Sampler] chooses a token: temperature, nucleus, GBNF grammar. [Logprob]
//     says how likely a token was.
//   - [Adapter] is a LoRA adapter of a model; [Context.SetAdapters] puts a set
//     of them in force.
//
// # Training
//
//   - [Device] computes; [Arena] holds the tensors of a graph, and has one
//     method for each operation; [Graph] is a plan that can be run any number
//     of times. Package forge builds its training step from these.
//
// # Rules
//
// A Library and a Model may be used from any goroutine. A Context, a Sampler,
// an Arena and a Graph belong to one goroutine at a time; only
// [Context.Cancel] may be called from another. Close in the reverse order of
// making: samplers and contexts, then adapters, then the model.
//
// A failed assertion inside the libraries ends the process, and no Go code can
// prevent it. So whatever must outlive a bad model belongs in another process;
// GGML_NO_BACKTRACE=1 in its environment keeps it from starting a debugger
// when it dies. The libraries' worker threads spin while they wait: threads of
// all contexts together should not exceed the free cores.
//
// Errors are [batos.Error]: offline for a missing or wrong library and for an
// engine that failed, not_found for a missing model file, invalid for a bad
// model, adapter or grammar, limit for a full context, cancelled for a
// cancelled decode. They carry the libraries' own words where they had any.
package ggml
