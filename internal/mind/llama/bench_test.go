package llama

import (
	"testing"

	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
)

// seedSized has about two million weights, like the model that ships.
var seedSized = gguftest.Shape{Layers: 4, Width: 192, Hidden: 512, Heads: 6}

// BenchmarkCold is what the first mission of a process pays: start of the
// child, load, and an answer of 60 tokens.
func BenchmarkCold(b *testing.B) {
	path := gguftest.Model(b, seedSized)
	lib := libraries(b)
	for b.Loop() {
		e, err := Open(b.Context(), Config{ModelPath: path, LibDir: lib})
		if err != nil {
			b.Fatal(err)
		}
		generate(b, e, sixty)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWarm is what later missions pay.
func BenchmarkWarm(b *testing.B) {
	e := open(b, Config{ModelPath: gguftest.Model(b, seedSized)})
	for b.Loop() {
		generate(b, e, sixty)
	}
}

// BenchmarkRequest is the overhead of a request alone: one token.
func BenchmarkRequest(b *testing.B) {
	e := open(b, Config{ModelPath: gguftest.Model(b, gguftest.Shape{Layers: 1, Width: 32, Hidden: 32, Heads: 1})})
	for b.Loop() {
		generate(b, e, mind.Request{Text: "x", MaxTokens: 1})
	}
}

var sixty = mind.Request{Text: "a prompt of about forty tokens, as missions have", Grammar: "root ::= [a-z] root", MaxTokens: 60}
