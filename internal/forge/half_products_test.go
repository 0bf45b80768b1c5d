package forge

import (
	"math"
	"testing"
)

// halfArch is a shape whose products can all be computed in BF16.
var halfArch = Arch{Layers: 2, Dim: 64, Heads: 2, KVHeads: 2, FF: 256, Ctx: 64, Vocab: 288, Tied: true}

func halfConfig(half bool) Config {
	return Config{Arch: halfArch, Steps: 40, BatchTokens: 96, RowTokens: 32, LR: 1e-2, Threads: 1, BF16: half}.withDefaults()
}

// Rounding the operands of the products moves a gradient a little and in no
// direction of its own.
func TestHalfGradients(t *testing.T) {
	w := spread(t, halfArch)
	grads := make(map[bool]map[string][]float32)
	for _, half := range []bool{false, true} {
		net, b, _ := prepared(t, halfConfig(half), w, counting{3, halfArch.Vocab}, gradients)
		mustRun(t, net, b)
		grads[half] = make(map[string][]float32)
		for _, p := range net.params {
			g := make([]float32, p.elements())
			p.grad.Floats(g)
			grads[half][p.name] = g
		}
	}
	same := 0
	for name, exact := range grads[false] {
		var xx, yy, xy float64
		for i, x := range exact {
			y := float64(grads[true][name][i])
			xx, yy, xy = xx+float64(x)*float64(x), yy+y*y, xy+float64(x)*y
		}
		if cosine, length := xy/math.Sqrt(xx*yy), math.Sqrt(yy/xx); cosine < 0.999 || math.Abs(length-1) > 0.02 {
			t.Errorf("%s: gradient has cosine %.5f with the exact one and %.4f of its length", name, cosine, length)
		} else if cosine > 1-1e-9 {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d tensors have exactly the F32 gradient: nothing was rounded", same)
	}
}

func TestHalfLearnsAlike(t *testing.T) {
	last := make(map[bool]float64)
	for _, half := range []bool{false, true, true} {
		before := last[half]
		if _, err := Train(t.Context(), library(t), halfConfig(half), counting{3, halfArch.Vocab}, func(p Progress) { last[half] = p.Loss }); err != nil {
			t.Fatal(err)
		}
		if before != 0 && before != last[half] {
			t.Errorf("two runs of one seed end at %v and %v", before, last[half])
		}
	}
	if exact, got := last[false], last[true]; math.Abs(got-exact) > 0.03*exact {
		t.Errorf("loss %.4f after 40 steps in BF16, %.4f in F32", got, exact)
	}
}
