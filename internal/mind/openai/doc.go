// Package openai is the engine of remote minds: servers that speak OpenAI's
// protocol over HTTP. It knows vLLM, llama-server, Ollama, LM Studio and
// LoRAX apart, because what matters here is beyond the common protocol: how an
// answer is held to a grammar, how adapters come and go, how long the context
// is. Any other server is used as far as the common protocol goes.
//
// Read in this order: [Config] and [Open]; [Engine] with [Engine.Generate] and
// [Engine.Stream]; server.go, what is different from server to server;
// adapters.go; http.go, one exchange with its retries and errors.
//
// # What is not believed
//
// A 200 alone means nothing: an answer without a choice, an error in a body
// that claims success, a page of a proxy and a stream that breaks off are
// errors. An adapter counts as loaded when the server lists it and answers one
// token under its name. Adapters have names that say their content
// (persona@hash12), so that no server's cache, which may know them by name
// alone, can mix two of them up.
package openai
