package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"batos/internal/wire"
)

// Progress tells a person what happens, one line for each event.
type Progress struct {
	mu sync.Mutex
	w  io.Writer
}

// NewProgress writes to w.
func NewProgress(w io.Writer) *Progress { return &Progress{w: w} }

// Show tells one event; those that people don't need are left out.
func (p *Progress) Show(e wire.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := e.Data.Value
	say := func(format string, args ...any) { fmt.Fprintf(p.w, "  "+format+"\n", args...) }
	switch e.Kind {
	case "mission":
		if text(get(d, "joined")) == "true" {
			say("%s  %s joins the mission for %s", e.Mission, text(get(d, "receiver")), text(get(d, "selector")))
			return
		}
		say("%s  mission: %s does not understand %s", e.Mission, text(get(d, "receiver")), text(get(d, "selector")))
	case "state":
		say("%s  → %s", e.Mission, text(get(d, "state")))
	case "plan":
		say("%s    plan: %s (%s)", e.Mission, text(get(d, "text")), text(get(d, "by")))
	case "facet":
		say("%s    %s: %s (%s)", e.Mission, text(get(d, "kind")), text(get(d, "text")), text(get(d, "by")))
	case "attempt":
		say("%s    attempt %s, confidence %.5s", e.Mission, text(get(d, "number")), text(get(d, "confidence")))
		for _, l := range strings.Split(strings.TrimRight(text(get(d, "source")), "\n"), "\n") {
			say("          │ %s", l)
		}
	case "verdict":
		if text(get(d, "ok")) == "true" {
			say("%s    %s: passed", e.Mission, text(get(d, "stage")))
			return
		}
		say("%s    %s: %s", e.Mission, text(get(d, "stage")), text(get(d, "error")))
	case "installed":
		say("%s    installed %s, version %s", e.Mission, text(get(d, "selector")), text(get(d, "version")))
	}
}

// watch tells on the terminal about the mission that message waits for; the
// result ends it. Nothing is told where nobody looks.
func (a *App) watch(ctx context.Context, c *wire.Client, message string) (stop func()) {
	f, ok := a.Err.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := NewProgress(a.Err)
		mission := ""
		_ = c.Events(ctx, 0, func(e wire.Event) error { // a comfort: without it the answer comes all the same
			if e.Kind == "mission" && e.Message == message {
				mission = e.Mission
			}
			if mission != "" && e.Mission == mission {
				p.Show(e)
			}
			return nil
		})
	}()
	return func() { cancel(); <-done }
}
