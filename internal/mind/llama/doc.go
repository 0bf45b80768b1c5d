// Package llama is the local engine: llama.cpp in a child process.
//
// The library ends its process when an assertion of its own fails, and a model
// file is other people's bytes. So the library never runs in the process that
// holds the image: [Open] starts `batos engine serve`, the same binary again,
// and talks to it over an inherited pair of sockets (file descriptor 3, no
// path, no port). A child that crashes or is killed costs one retried request.
//
// The parent's side, in reading order: [Config] and [FindLibrary]; [Open] and
// [Engine]; child, one running process and its pending calls; the frames in
// wire.go. The child's side: [Serve]; session, one model with one context;
// session.generate. [Probe] is what `batos doctor` shows.
//
// # What a request costs and shares
//
// One request is computed at a time, in order of arrival. The key-value cache
// of the last prompt is kept and reused for a prompt with the same beginning
// under the same adapter. The library itself mixes states of different
// adapters without a word, so the cache is known by (adapter hash, tokens) and
// dropped when the adapter changes. Prompts are computed in chunks of fixed
// size counted from the beginning, and only whole chunks are reused: so every
// number is computed by the same operations whether its prefix was cached or
// not, and a result does not depend on what was asked before.
package llama
