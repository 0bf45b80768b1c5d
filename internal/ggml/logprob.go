package ggml

import "math"

// likeliest is the first of the largest; a NaN is never chosen.
func likeliest(logits []float32) Token {
	best, top := NoToken, float32(math.Inf(-1))
	for i, l := range logits {
		if l > top {
			best, top = Token(i), l
		}
	}
	if best == NoToken && len(logits) > 0 { // nothing is above -Inf
		for i, l := range logits {
			if l == top {
				return Token(i)
			}
		}
	}
	return best
}

// Logprob is the natural logarithm of the probability that logits give t. A
// NaN among the logits counts as impossible. It is computed for every token
// that is written, over the whole vocabulary, so it may not cost as much as
// math.Exp would: a fortieth of the time of a model of a billion weights.
func Logprob(logits []float32, t Token) float32 {
	none := float32(math.Inf(-1))
	if t < 0 || int(t) >= len(logits) || logits[t] != logits[t] {
		return none
	}
	top := none
	for _, v := range logits {
		if v > top {
			top = v
		}
	}
	if math.IsInf(float64(top), 0) {
		return amongInfinite(logits, t, top)
	}
	// Two sums, so that one addition need not wait for the other.
	var even, odd float64
	rest := logits
	for len(rest) >= 2 {
		even += expBelow(rest[0], top)
		odd += expBelow(rest[1], top)
		rest = rest[2:]
	}
	if len(rest) > 0 {
		even += expBelow(rest[0], top)
	}
	return float32(float64(logits[t]) - float64(top) - math.Log(even+odd))
}

// amongInfinite shares the probability among those that have +Inf.
func amongInfinite(logits []float32, t Token, top float32) float32 {
	if top < 0 || logits[t] < top {
		return float32(math.Inf(-1))
	}
	n := 0
	for _, v := range logits {
		if v == top {
			n++
		}
	}
	return float32(-math.Log(float64(n)))
}

// A power of e is taken apart into a power of two and 2^(i/expSteps), which is
// looked up; what is left is so small that a parabola is exact to 1e-9.
const (
	expSteps = 256
	expLeast = -80     // e^expLeast is nothing beside the 1 of the top
	expRound = 3 << 51 // added to a number, it leaves an integer in the lowest bits
	expShift = 52 - 8  // from an integer of steps to the exponent's bits
	expScale = expSteps / math.Ln2
	expUnit  = math.Ln2 / expSteps
)

var expTable = func() (t [expSteps]uint64) {
	for i := range t {
		t[i] = math.Float64bits(math.Exp2(float64(i)/expSteps)) - uint64(i)<<expShift
	}
	return t
}()

// expBelow is e^(v-top) for v ≤ top, to nine digits; 0 for a NaN.
func expBelow(v, top float32) float64 {
	d := float64(v) - float64(top)
	if !(d > expLeast) {
		return 0
	}
	n := d*expScale + expRound
	steps := math.Float64bits(n)
	r := (d*expScale - (n - expRound)) * expUnit
	return math.Float64frombits(expTable[steps%expSteps]+steps<<expShift) * (1 + r + r*r/2)
}
