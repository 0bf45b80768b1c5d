package store_test

import (
	"strings"
	"testing"

	"batos/image/store"
)

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		stats store.Stats
		says  []string
	}{
		{store.Stats{}, nil}, // nothing is known of the disk
		{store.Stats{DiskFree: 50 << 30, DiskTotal: 100 << 30, Growth: 1 << 20}, nil},
		{store.Stats{DiskFree: 100 << 20, DiskTotal: 100 << 30}, []string{"100.0 MiB of 100.0 GiB"}},
		{store.Stats{DiskFree: 10 << 30, DiskTotal: 1000 << 30}, []string{"10.0 GiB"}},
		{store.Stats{DiskFree: 50 << 30, DiskTotal: 100 << 30, Growth: 10 << 30}, []string{"last 5 days"}},
	} {
		got := c.stats.Warnings()
		if len(got) != len(c.says) {
			t.Fatalf("%+v: %q", c.stats, got)
		}
		for i, w := range got {
			if !strings.Contains(w, c.says[i]) {
				t.Fatalf("%q does not say %q", w, c.says[i])
			}
		}
	}
}
