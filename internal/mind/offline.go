package mind

import (
	"context"

	"batos"
)

// Offline is the engine of a system that has no model: every question is
// answered with the same clear error of code offline. Its zero value is
// ready.
type Offline struct{}

var _ Engine = Offline{}

func offline() error {
	return batos.Errorf(batos.Offline, "the cognitive core is offline: start batos with --model FILE.gguf")
}

func (Offline) Info(context.Context) (Info, error)                 { return Info{}, offline() }
func (Offline) Generate(context.Context, Request) (*Result, error) { return nil, offline() }
func (Offline) CountTokens(context.Context, string) (int, error)   { return 0, offline() }
func (Offline) Close() error                                       { return nil }
