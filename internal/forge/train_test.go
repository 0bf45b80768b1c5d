package forge

import (
	"context"
	"testing"
)

func TestTrainLearns(t *testing.T) {
	lib := library(t)
	c := Config{Arch: small, Steps: 120, BatchTokens: 128, RowTokens: 32, LR: 1e-2, Warmup: 10, Seed: 1, Threads: 1, WeightDecay: 0.01}
	var first, last float64
	_, err := Train(context.Background(), lib, c, counting{1, small.Vocab}, func(p Progress) {
		if p.Step == 1 {
			first = p.Loss
		}
		last = p.Loss
		if p.Step%20 == 0 {
			t.Logf("%+v", p)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !(last < 0.3 && last < first/5) {
		t.Errorf("loss went from %.3f to %.3f", first, last)
	}
}
