package ggml

import (
	"math"
	"math/rand/v2"
	"testing"
)

// exactLogprob is Logprob with the standard library's exponential.
func exactLogprob(logits []float32, t Token) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return float64(logits[t]) - top - math.Log(sum)
}

func TestLogprobIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 771, 32000} {
		for _, spread := range []float64{0, 1e-3, 1, 10, 300, 1e30} {
			logits := make([]float32, n)
			for i := range logits {
				logits[i] = float32((r.Float64() - 0.5) * spread)
			}
			i := Token(r.IntN(n))
			got, want := float64(Logprob(logits, i)), exactLogprob(logits, i)
			if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("%d logits within %g: %v, want %v", n, spread, got, want)
			}
		}
	}
}

func TestLogprobOfOddLogits(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	half := float32(math.Log(0.5))
	for _, c := range []struct {
		logits []float32
		t      Token
		want   float32
	}{
		{[]float32{1, 1}, 0, half},
		{[]float32{1, nan, 1}, 0, half},
		{[]float32{1, nan}, 1, -inf},
		{[]float32{1, -inf, 1}, 2, half},
		{[]float32{1, -inf}, 1, -inf},
		{[]float32{-inf, -inf}, 0, -inf},
		{[]float32{inf, 3, inf}, 0, half},
		{[]float32{inf, 3}, 1, -inf},
		{[]float32{1}, 1, -inf},
		{[]float32{1}, -1, -inf},
		{nil, 0, -inf},
	} {
		got := Logprob(c.logits, c.t)
		if got != c.want && math.Abs(float64(got-c.want)) > 1e-6 {
			t.Errorf("%v at %d: %v, want %v", c.logits, c.t, got, c.want)
		}
	}
}

func TestLikeliestIsTheFirstOfTheLargest(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		logits []float32
		want   Token
	}{
		{[]float32{1, 3, 3, 2}, 1},
		{[]float32{nan, -1, nan}, 1},
		{[]float32{nan, -inf, -inf}, 1},
		{[]float32{nan}, NoToken},
		{nil, NoToken},
	} {
		if got := likeliest(c.logits); got != c.want {
			t.Errorf("%v: %d, want %d", c.logits, got, c.want)
		}
	}
}

func BenchmarkLogprob(b *testing.B) {
	logits := make([]float32, 32000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(r.NormFloat64())
	}
	for b.Loop() {
		Logprob(logits, 5)
	}
}
