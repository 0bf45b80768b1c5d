package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"batos"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/internal/mind/openai"
)

// remote reports whether --model names a server.
func remote(model string) bool { return strings.Contains(model, "://") }

// sentAdapters is the value of --server-adapters for servers that read no
// folder: those that are sent the bytes, and those that were started with them.
const sentAdapters = "sent"

// remoteMind asks a server in place of a model in the image. The key comes
// from the environment, so that it is in no list of processes.
func remoteMind(f upFlags) func(context.Context, kernel.Model) (mind.Engine, error) {
	return func(ctx context.Context, m kernel.Model) (mind.Engine, error) {
		c := openai.Config{URL: f.model, Key: os.Getenv(openai.KeyEnv), Context: f.context, Parallel: f.parallel, Timeout: f.timeout, AdapterName: m.AdapterName}
		if f.serverAdapters != "" && f.serverAdapters != sentAdapters {
			c.AdapterPath = func(hash string) string {
				return strings.TrimRight(f.serverAdapters, "/") + "/" + m.AdapterName(hash)
			}
		}
		return openai.Open(ctx, c)
	}
}

// checkRemote refuses flags that only make sense with a server, without one.
func (f upFlags) checkRemote() error {
	if remote(f.model) {
		return nil
	}
	for flag, set := range map[string]bool{"--server-adapters": f.serverAdapters != "", "--parallel": f.parallel != 0, "--infer-timeout": f.timeout != 0} {
		if set {
			return batos.Errorf(batos.Invalid, "%s is for a server: give --model http://host:port/v1#MODEL with it", flag)
		}
	}
	return nil
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
