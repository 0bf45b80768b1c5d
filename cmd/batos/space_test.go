package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"batos/image/store"
)

func TestWatchSpace(t *testing.T) {
	const gib = 1 << 30
	course := []store.Stats{
		{DiskFree: 50 * gib, DiskTotal: 100 * gib},
		{DiskFree: gib / 2, DiskTotal: 100 * gib},
		{DiskFree: gib / 3, DiskTotal: 100 * gib}, // told already
		{DiskFree: gib / 3, DiskTotal: 100 * gib, Growth: gib / 4},
		{DiskFree: 50 * gib, DiskTotal: 100 * gib},
		{DiskFree: gib / 2, DiskTotal: 100 * gib},
	}
	ctx, stop := context.WithCancel(t.Context())
	tick := make(chan time.Time, len(course))
	n := 0
	var out bytes.Buffer
	watchSpace(ctx, func() []string {
		if n++; n == len(course) {
			stop()
		} else {
			tick <- time.Time{}
		}
		return course[n-1].Warnings()
	}, &out, tick)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "512.0 MiB of 100.0 GiB") || !strings.Contains(lines[1], "a day") || lines[0] != lines[2] {
		t.Fatalf("told:\n%s", out.String())
	}
}
