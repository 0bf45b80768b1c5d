package wire_test

import (
	"testing"
	"time"

	"batos"
	"batos/internal/wire"
)

// A moment is what it says, and never silently now.
func TestParseMoment(t *testing.T) {
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.Local)
	for text, want := range map[string]batos.TID{
		"":                            0,
		"t0000000000000000":           1,
		"t0000000000000001":           1,
		"t000000000000002a":           42,
		"1900-01-01T00:00:00Z":        1,
		"1970-01-01T00:00:01Z":        1_000_000,
		"2026-11-23":                  batos.TIDAt(day),
		"2026-11-23 02:03":            batos.TIDAt(day.Add(2*time.Hour + 3*time.Minute)),
		"2026-11-23T02:03":            batos.TIDAt(day.Add(2*time.Hour + 3*time.Minute)),
		"2026-11-23 02:03:04":         batos.TIDAt(day.Add(2*time.Hour + 3*time.Minute + 4*time.Second)),
		"2026-11-23 02:03:04.5":       batos.TIDAt(day.Add(2*time.Hour + 3*time.Minute + 4500*time.Millisecond)),
		"2026-11-23T02:03:04.000001Z": batos.TIDAt(time.Date(2026, 11, 23, 2, 3, 4, 1000, time.UTC)),
	} {
		if got, err := wire.ParseMoment(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"now", "t00", "t000000000000000g", "23.11.2026", "2026-11", "2026-11-31", "2026-11-23 25:00", " "} {
		if got, err := wire.ParseMoment(text); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
