// Package batos holds the vocabulary of BAT OS, a living image for
// language-model agents: object and transaction identifiers, selectors,
// messages, authority and the closed set of error codes. It imports nothing
// but the standard library, and everything else imports it.
//
// # A tour of the house
//
// Packages stand on floors and import only what is below; floors_test.go holds
// them to it. From the ground up:
//
//   - internal/vfs is files: real, in memory, crashing and failing ones;
//     internal/crc32c is the checksum of long runs of bytes, computed quickly.
//     internal/zmtp is the serving side of ZeroMQ.
//     internal/gguf reads and writes model files. genesis is the source of the
//     primordial objects. internal/codex reads the Persona Codex.
//   - object is what a slot may hold and how objects delegate, without storage.
//     image/store is the contract of a place that keeps revisions.
//   - internal/codec makes bytes of objects. image/store/logstore is the
//     append-only log; image/store/storetest is what every store must pass.
//   - image is the public package: transactions over objects, trees and blobs,
//     with history. It can be used on its own, as one uses ZODB.
//   - internal/method is the dialect that methods are written in: Starlark with
//     meters on everything. internal/mind is what a model is to the rest.
//     internal/ggml binds the engine's library.
//   - internal/exec runs one message in one transaction. internal/guardian
//     audits generated source. internal/catalog finds documents by what they
//     say. internal/adapter makes of other people's LoRA files what the engine
//     loads, internal/memory moves them through its tiers.
//     internal/proof holds what a method does against what its name promises.
//     internal/mind/llama is the engine process,
//     internal/mind/openai asks remote minds.
//   - internal/quarantine tries a method in a process of its own.
//     internal/forge trains models on the engine's library.
//   - internal/kernel takes messages, keeps what must survive, and turns what
//     nobody understands into missions. seedmind is the model that ships.
//   - internal/wire is the JSON of the doors; internal/telemetry the metrics and
//     traces; internal/door has the doors, what each token may in access, and
//     in care what looks after an image through them; cmd/batos is the program.
//
// # The main path
//
// batos send → door/http → [kernel.Kernel.Submit] → [exec.Runner.Run] → a
// look-up fails → [kernel.Kernel.park] makes a mission → the states in
// genesis/objects run as messages: plan, gather, write (an inference through
// internal/mind), audit (internal/guardian), try (internal/quarantine) → the
// gate installs method and provenance in one commit with the wake-up → the
// parked message runs again and answers.
package batos
