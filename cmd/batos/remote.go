package main

import (
	"context"
	"os"
	"strings"

	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/openai"
)

// remote reports whether --model names a server.
func remote(model string) bool { return strings.Contains(model, "://") }

// remoteMind asks a server in place of a model in the image. The key comes
// from the environment, so that it is in no list of processes.
func remoteMind(f upFlags) func(context.Context, kernel.Model) (mind.Engine, error) {
	return func(ctx context.Context, _ kernel.Model) (mind.Engine, error) {
		return openai.Open(ctx, openai.Config{URL: f.model, Key: os.Getenv(openai.KeyEnv), Context: f.context})
	}
}
