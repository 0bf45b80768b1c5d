// Package llama is the local engine: llama.cpp in a child process.
//
// The library ends its process when an assertion of its own fails, and a model
// file is other people's bytes. So the library never runs in the process that
// holds the image: [Open] starts `batos engine serve`, the same binary again,
// and talks to it over an inherited pair of sockets (file descriptor 3, no
// path, no port). A child that crashes or is killed costs one retried request.
//
// The parent's side, in reading order: [Config] and [FindLibrary]; [Open] and
// [Engine]; in host.go what it can do beside generating; child, one running
// process and its pending calls; the frames in wire.go. The child's side:
// [Serve]; session, one model with its contexts and adapters;
// session.generate and session.embed. [Probe] is what `batos doctor` shows.
//
// # What a request costs and shares
//
// Requests are computed side by side, one to a context, in order of arrival.
// The library's threads spin while they wait, so contexts that would need more
// threads than there are cores take turns, decode by decode.
//
// The key-value cache of a context's last prompt is kept and reused for a
// prompt with the same beginning under the same adapter. The library itself
// mixes states of different adapters without a word, so what is kept is known
// by (adapter hash, tokens) and dropped when the adapter changes. Prompts are
// computed in pieces whose bounds depend on the prompt alone, and only whole
// pieces are reused: so every number is computed by the same operations
// whether its prefix was cached or not, and a result depends neither on what
// was asked before nor on the context that computes it.
//
// The state of a chat's system prompt, and of other beginnings that come a
// second time, is copied out of the cache and put back instead of computed
// again, whichever context it is for; [Engine.SavePrefix] and
// [Engine.RestorePrefix] carry one over to another process.
//
// # Adapters
//
// [Engine.LoadAdapter] sends an open file over the sockets; the child reads it
// through the descriptor, and the bytes never pass through Go. The parent
// keeps a descriptor of every hot adapter and gives them to a child that is
// started again. An adapter is freed when no request uses it, after it was
// taken out of every context.
package llama
