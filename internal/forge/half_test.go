package forge

import (
	"math"
	"testing"
)

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := half(h).float()
		if got := halfOf(f); got != half(h) && !math.IsNaN(float64(f)) {
			t.Fatalf("%#04x is %g, which becomes %#04x", h, f, got)
		}
	}
	for _, c := range []struct {
		f    float32
		want half
	}{
		{65519, 0x7bff}, {65520, 0x7c00}, {1e9, 0x7c00}, {-1e9, 0xfc00},
		{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {1.0/(1<<25) + 1.0/(1<<40), 1}, {1.0 / (1 << 25), 0},
	} {
		if got := halfOf(c.f); got != c.want {
			t.Errorf("%g becomes %#04x, want %#04x", c.f, got, c.want)
		}
	}
	if !math.IsNaN(float64(halfOf(float32(math.NaN())).float())) {
		t.Error("NaN became a number")
	}
}
