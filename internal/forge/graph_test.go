package forge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

func shapes() map[string]Arch {
	grouped, tied, one := small, small, small
	grouped.KVHeads, grouped.RopeBase, grouped.Eps = 2, 500, 1e-3
	tied.Tied = true
	one.KVHeads = 1
	return map[string]Arch{"plain": small, "tied": tied, "grouped": grouped, "one key head": one}
}

func testConfig(a Arch) Config {
	return Config{Arch: a, Steps: 10, BatchTokens: 96, RowTokens: 24, LR: 1e-2, Threads: 1}.withDefaults()
}

// The packed graph and the engine's inference of each example by itself are
// two computations of one number.
func TestLossEqualsEngine(t *testing.T) {
	for name, a := range shapes() {
		t.Run(name, func(t *testing.T) {
			w := spread(t, a)
			data := counting{3, a.Vocab}
			net, b, n := prepared(t, testConfig(a), w, data, lossOnly)
			got := mustRun(t, net, b)
			want := engineLoss(t, loadModel(t, saveModel(t, w, Meta{})), data, n)
			if math.Abs(got-want) > 1e-4*want {
				t.Errorf("loss %.6f, the engine says %.6f, over %d examples", got, want, n)
			}
		})
	}
}

func TestGradients(t *testing.T) {
	for name, a := range shapes() {
		t.Run(name, func(t *testing.T) {
			w := spread(t, a)
			net, b, _ := prepared(t, testConfig(a), w, counting{3, a.Vocab}, gradients)
			gradientCheck{step: 5e-3, tolerance: 0.02, elements: 3}.run(t, net, b)
		})
	}
}

// gradientCheck compares gradients with finite differences: every tensor as a
// whole along its own gradient, and some of its elements.
type gradientCheck struct {
	step      float64 // length of the difference along the gradient
	tolerance float64 // relative
	elements  int     // of each tensor
}

func (c gradientCheck) run(t *testing.T, net *network, b *batch) {
	t.Helper()
	mustRun(t, net, b)
	grads := make(map[string][]float32)
	for _, p := range net.params {
		g := make([]float32, p.elements())
		p.grad.Floats(g)
		grads[p.name] = g
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, p := range net.params {
		g := grads[p.name]
		was := make([]float32, p.elements())
		p.w.Floats(was)
		slope := func(dir func(i int) float64, eps float64) float64 {
			var l [2]float64
			for k, sign := range []float64{1, -1} {
				v := make([]float32, len(was))
				for i := range v {
					v[i] = float32(float64(was[i]) + sign*eps*dir(i))
				}
				p.w.SetFloats(v)
				l[k] = mustRun(t, net, b)
			}
			p.w.SetFloats(was)
			return (l[0] - l[1]) / (2 * eps)
		}
		norm, top := 0.0, 0.0
		for _, x := range g {
			norm += float64(x) * float64(x)
			top = math.Max(top, math.Abs(float64(x)))
		}
		norm = math.Sqrt(norm)
		along := slope(func(i int) float64 { return float64(g[i]) / norm }, c.step)
		if norm == 0 || math.Abs(along-norm) > c.tolerance*norm+1e-4 {
			t.Errorf("%s: the gradient's length is %.6f, the loss's slope along it %.6f", p.name, norm, along)
		}
		for range c.elements {
			at := r.IntN(len(g))
			fd := slope(func(i int) float64 {
				if i == at {
					return 1
				}
				return 0
			}, 1e-2)
			if math.Abs(fd-float64(g[at])) > c.tolerance*top+1e-4 {
				t.Errorf("%s[%d]: gradient %.6f, finite difference %.6f, largest %.6f", p.name, at, g[at], fd, top)
			}
		}
	}
}

// One step of the graph's optimizer against AdamW written out.
func TestOptimizerStep(t *testing.T) {
	a := small
	c := testConfig(a)
	c.WeightDecay, c.Warmup, c.Beta2 = 0.1, 0, 0.95
	w := spread(t, a)
	data := counting{3, a.Vocab}
	withGrads, b, _ := prepared(t, c, w, data, gradients)
	mustRun(t, withGrads, b)
	net, b, _ := prepared(t, c, w, data, optimizing)
	net.setStep(c, 1)
	mustRun(t, net, b)
	after := net.values()
	for _, p := range withGrads.params {
		g := make([]float32, p.elements())
		p.grad.Floats(g)
		decay := float64(c.WeightDecay)
		if len(p.shape) == 1 {
			decay = 0
		}
		rate := float64(c.rate(1))
		for i, was := range w.tensors[p.name] {
			// After one step both moments, corrected, are the gradient itself.
			want := float64(was)*(1-rate*decay) - rate*float64(g[i])/(math.Abs(float64(g[i]))+1e-8)
			if got := float64(after[p.name][i]); math.Abs(got-want) > 1e-4*rate+2e-7*math.Abs(want)+1e-2*rate*boolToFloat(math.Abs(float64(g[i])) < 1e-6) {
				t.Fatalf("%s[%d]: %g became %g, want %g (gradient %g)", p.name, i, was, got, want, g[i])
			}
		}
	}
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestRate(t *testing.T) {
	c := Config{LR: 1, FinalLR: 0.1, Warmup: 4, Steps: 104}
	for step, want := range map[int]float64{1: 0.25, 4: 1, 54: 0.55, 104: 0.1} {
		if got := float64(c.rate(step)); math.Abs(got-want) > 1e-6 {
			t.Errorf("step %d: %g, want %g", step, got, want)
		}
	}
}

// typical has examples as long as the shipped model's, the last two fifths
// supervised.
type typical struct{ counting }

func (s typical) Example(n int) ([]int32, []bool) {
	r := rand.New(rand.NewPCG(s.seed, uint64(n)))
	length := 12 + r.IntN(28)
	tokens, marks := make([]int32, length), make([]bool, length)
	for i := range tokens {
		tokens[i], marks[i] = r.Int32N(int32(s.vocab)), i > 3*length/5
	}
	return tokens, marks
}

// BenchmarkStep measures one optimizer step of the shipped model's recipe on
// one thread, in CPU time. tok/s counts positions, filled or not.
func BenchmarkStep(b *testing.B) {
	for _, half := range []bool{false, true} {
		b.Run(fmt.Sprintf("bf16=%v", half), func(b *testing.B) {
			c := Config{
				Arch:  Arch{Layers: 4, Dim: 192, Heads: 6, FF: 512, Ctx: 256, Vocab: 3024, Tied: true},
				Steps: 1, BatchTokens: 1536, RowTokens: 96, HeadTokens: 768, LR: 1e-3, Threads: 1, BF16: half,
			}.withDefaults()
			w, err := NewWeights(c.Arch, 1)
			if err != nil {
				b.Fatal(err)
			}
			data := typical{counting{1, c.Arch.Vocab}}
			net, batch, next := prepared(b, c, w, data, optimizing)
			began := cpuTime()
			for b.Loop() {
				if next, err = batch.fill(data, next); err != nil {
					b.Fatal(err)
				}
				net.set(batch)
				net.setStep(c, 1)
				mustRun(b, net, batch)
			}
			spent := (cpuTime() - began).Seconds()
			b.ReportMetric(float64(c.BatchTokens*b.N)/spent, "tok/s")
			b.ReportMetric(float64(b.N)/spent, "steps/s")
			b.ReportMetric(float64(net.graph.Nodes()), "nodes")
			b.ReportMetric(float64(net.graph.Bytes()+net.arena.Bytes())/(1<<20), "MiB")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
