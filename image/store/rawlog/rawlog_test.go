package rawlog

import (
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	r, err := Measure(t.TempDir(), Load{Writers: 4, Bytes: 100, Duration: 20 * time.Millisecond})
	if err != nil || r.Commits < 4 || r.Syncs < 1 || r.Syncs > r.Commits || r.PerSecond() <= 0 {
		t.Fatalf("Measure = %+v, %v", r, err)
	}
}
