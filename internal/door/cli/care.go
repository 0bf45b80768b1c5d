package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"batos"
	"batos/internal/wire"
)

// Care asks the server that has the image open to look after it. Served is
// false if no server of this image answers; the error says why.
func (a *App) Care(ctx context.Context, in wire.Care, tell func(wire.CareEvent)) (r *wire.CareResult, served bool, err error) {
	client, err := a.client()
	if err != nil {
		return nil, false, err
	}
	r, err = client.Care(ctx, in, tell)
	absent := errors.Is(err, wire.ErrNoServer) && !errors.Is(err, wire.ErrBroken)
	foreign := batos.CodeOf(err) == batos.Denied && a.Getenv("BATOS_TOKEN") == "" // the image's own token: it is the server of another image
	return r, !absent && !foreign, err
}

// Server is the server that was asked for.
func (a *App) Server() string { return a.server }

// Meter shows on a terminal, in one line that is written again and again, how
// far a piece of work came. Where nobody looks it shows nothing.
func (a *App) Meter(what string) (show func(wire.CareProgress), end func()) {
	f, ok := a.Err.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(f.Fd())) {
		return func(wire.CareProgress) {}, func() {}
	}
	shown := false
	show = func(p wire.CareProgress) {
		shown = true
		share := 0.0
		if p.Total > 0 {
			share = 100 * float64(p.Done) / float64(p.Total)
		}
		fmt.Fprintf(f, "\r\x1b[K%s: %.0f %% %s", what, share, p.Text)
	}
	return show, func() {
		if shown {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}
