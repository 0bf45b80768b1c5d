package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/llama"
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

// probeTime bounds how long doctor waits for a server.
const probeTime = 20 * time.Second

// probeRemote asks a server what it is, for doctor. What is wrong becomes
// advice.
func probeRemote(ctx context.Context, url string, r *llama.Report) string {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	e, err := openai.Open(ctx, openai.Config{URL: url, Key: os.Getenv(openai.KeyEnv)})
	if err != nil {
		r.Advice = append(r.Advice, err.Error())
		return ""
	}
	defer func() { _ = e.Close() }() // has no error
	info, err := e.Info(ctx)
	if err != nil {
		r.Advice = append(r.Advice, err.Error())
		return ""
	}
	return fmt.Sprintf("%s, %s, context of %d tokens, profile %s", info.ModelID, info.Meta["server"], info.ContextTokens, info.Profile)
}
