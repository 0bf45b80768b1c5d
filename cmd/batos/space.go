package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// spaceEvery is how often a server looks whether space will become a problem.
const spaceEvery = 10 * time.Minute

// watchSpace tells, until ctx ends, when space begins to be a problem: each
// kind of warning once, and again when it has been over in between.
func watchSpace(ctx context.Context, warnings func() []string, w io.Writer, tick <-chan time.Time) {
	told := map[string]bool{}
	for {
		now := map[string]bool{}
		for _, text := range warnings() {
			kind := strings.Join(strings.Fields(text)[:3], " ") // what follows are numbers that change
			now[kind] = true
			if !told[kind] {
				fmt.Fprintf(w, "warning: %s\n", text)
			}
		}
		told = now
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}
