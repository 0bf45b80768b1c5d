package forge

import (
	"math"
	"slices"

	"batos"
	"batos/internal/ggml"
)

// network is a model, its optimizer state and the one graph of a training
// step, on a device.
type network struct {
	dev   *ggml.Device
	arena *ggml.Arena // storage: weights, moments, inputs
	work  *ggml.Arena // the steps of the graph
	graph *ggml.Graph

	fixed  map[string]*ggml.Tensor // weights that do not change
	params []param                 // weights that do, in file order

	pack                  packing
	tokens, rows          *ggml.Tensor // I32 [n], I32 [supervised]
	rowMask, labels, seed *ggml.Tensor // F32 [1,supervised], [vocab,supervised], [1]
	decaying, steady      *ggml.Tensor // AdamW's numbers for matrices and for norms
	loss                  *ggml.Tensor
}

// param is a tensor in training.
type param struct {
	slot
	w, m, v *ggml.Tensor
	grad    *ggml.Tensor // set only if the graph keeps gradients
}

// graphKind says what the graph of a network does.
type graphKind int

const (
	lossOnly   graphKind = iota
	gradients            // and keeps them readable
	optimizing           // and changes the weights
)

// newNetwork builds the graph for trainable tensors train over frozen tensors
// frozen; all have memory afterwards but no values.
func newNetwork(lib *ggml.Library, c Config, train, frozen []slot, types map[string]ggml.Type, lora lowRank, kind graphKind) (_ *network, err error) {
	dev, err := lib.NewDevice(c.Threads)
	if err != nil {
		return nil, err
	}
	net := &network{dev: dev, fixed: make(map[string]*ggml.Tensor)}
	defer func() {
		if err != nil {
			net.close()
		}
	}()
	a, n := c.Arch, c.BatchTokens
	if net.arena, err = dev.NewArena(4*len(train)+len(frozen)+16, 0); err != nil {
		return nil, err
	}
	for _, s := range train {
		p := param{slot: s, w: net.arena.New(ggml.F32, s.shape...)}
		if kind == optimizing {
			p.w.Param()
			p.m, p.v = net.arena.New(ggml.F32, s.shape...), net.arena.New(ggml.F32, s.shape...)
		}
		net.params = append(net.params, p)
	}
	for _, s := range frozen {
		net.fixed[s.name] = net.arena.New(types[s.name], s.shape...)
	}
	net.pack = packing{
		rows: n / c.RowTokens, length: c.RowTokens,
		pos:  net.arena.New(ggml.I32, n),
		mask: net.arena.New(ggml.F32, c.RowTokens, c.RowTokens, 1, n/c.RowTokens),
	}
	net.tokens = net.arena.New(ggml.I32, n)
	net.rows = net.arena.New(ggml.I32, c.HeadTokens)
	net.rowMask = net.arena.New(ggml.F32, 1, c.HeadTokens)
	net.labels = net.arena.New(ggml.F32, a.Vocab, c.HeadTokens)
	net.seed = net.arena.New(ggml.F32, 1)
	net.decaying, net.steady = net.arena.New(ggml.F32, 7), net.arena.New(ggml.F32, 7)
	if err := net.arena.Alloc(); err != nil {
		return nil, err
	}
	return net, net.build(c, lora, kind)
}

func (net *network) build(c Config, lora lowRank, kind graphKind) (err error) {
	room := 600*(c.Arch.Layers+1) + 8*len(net.params)
	if net.work, err = net.dev.NewArena(room, room); err != nil {
		return err
	}
	t := newTape(net.work, c.BF16)
	weight := make(map[string]*ggml.Tensor, len(net.params)+len(net.fixed))
	for name, w := range net.fixed {
		weight[name] = w
	}
	for _, p := range net.params {
		weight[p.name] = p.w
		if kind != lossOnly {
			t.watch(p.w)
		}
	}
	net.loss = net.forward(t, c.Arch, weight, lora).Output()
	net.graph = net.work.NewGraph(room)
	net.graph.Add(net.loss)
	if kind != lossOnly {
		t.backward()
		for i := range net.params {
			p := &net.params[i]
			p.grad = t.grads[p.w]
			if p.grad == nil {
				return batos.Errorf(batos.Invalid, "training: the loss does not depend on %s", p.name)
			}
			if kind == gradients {
				p.grad.Output()
			}
			net.graph.Add(p.grad)
		}
	}
	if kind == optimizing {
		for _, p := range net.params { // after every gradient, which read the old weights
			numbers := net.steady
			if len(p.shape) > 1 {
				numbers = net.decaying
			}
			net.graph.Add(net.work.AdamW(p.w, p.grad, p.m, p.v, numbers))
		}
	}
	return net.graph.Alloc()
}

// forward plans the loss.
func (net *network) forward(t *tape, a Arch, weight map[string]*ggml.Tensor, lora lowRank) *ggml.Tensor {
	linear := func(name string, x *ggml.Tensor) *ggml.Tensor {
		y := t.linear(weight[name], x)
		if low := weight[name+loraA]; low != nil {
			y = t.add(y, t.scale(t.linear(weight[name+loraB], t.linear(low, x)), lora.scale()))
		}
		return y
	}
	x := t.rows(weight["token_embd.weight"], net.tokens)
	for l := range a.Layers {
		name := func(part string) string { return blockTensor(l, part) }
		h := t.norm(x, weight[name("attn_norm")], a.Eps)
		o := t.attention(linear(name("attn_q"), h), linear(name("attn_k"), h), linear(name("attn_v"), h), a, net.pack)
		if l == a.Layers-1 { // of the last layer, only what the output matrix reads
			x, o = t.rows(x, net.rows), t.rows(o, net.rows)
		}
		x = t.add(x, linear(name("attn_output"), o))
		h = t.norm(x, weight[name("ffn_norm")], a.Eps)
		x = t.add(x, linear(name("ffn_down"), t.swiglu(linear(name("ffn_gate"), h), linear(name("ffn_up"), h))))
	}
	x = t.norm(x, weight["output_norm.weight"], a.Eps)
	head := weight["output.weight"]
	if a.Tied {
		head = weight["token_embd.weight"]
	}
	return t.crossEntropy(t.linear(head, t.maskRows(x, net.rowMask)), net.labels, net.seed)
}

// set puts a step's inputs into place.
func (net *network) set(b *batch) {
	net.tokens.SetInts(b.tokens)
	net.pack.pos.SetInts(b.pos)
	net.pack.mask.SetFloats(b.mask)
	net.rows.SetInts(b.rows)
	net.rowMask.SetFloats(b.rowMask)
	net.labels.SetFloats(b.labels)
	net.seed.SetFloats([]float32{float32(len(b.rows)) / float32(b.supervised)})
}

// run computes the graph and gives the mean loss of the supervised positions.
func (net *network) run(b *batch) (float64, error) {
	if err := net.graph.Run(); err != nil {
		return 0, err
	}
	var mean [1]float32
	net.loss.Floats(mean[:])
	loss := float64(mean[0]) * float64(len(b.rows)) / float64(b.supervised)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, batos.Errorf(batos.Invalid, "training diverged: the loss is %g; lower the learning rate", loss)
	}
	return loss, nil
}

// setStep gives AdamW its numbers for optimizer step n, from 1.
func (net *network) setStep(c Config, n int) {
	v := []float32{
		c.rate(n), c.Beta1, c.Beta2, 1e-8, c.WeightDecay,
		float32(1 / (1 - math.Pow(float64(c.Beta1), float64(n)))),
		float32(1 / (1 - math.Pow(float64(c.Beta2), float64(n)))),
	}
	net.decaying.SetFloats(v)
	v = slices.Clone(v)
	v[4] = 0
	net.steady.SetFloats(v)
}

// rate is the learning rate of optimizer step n, from 1.
func (c Config) rate(n int) float32 {
	if n <= c.Warmup {
		return c.LR * float32(n) / float32(c.Warmup)
	}
	done := float64(n-c.Warmup) / float64(max(1, c.Steps-c.Warmup))
	return c.FinalLR + (c.LR-c.FinalLR)*float32(0.5*(1+math.Cos(math.Pi*min(done, 1))))
}

func (net *network) close() {
	if net.graph != nil {
		net.graph.Close()
	}
	if net.work != nil {
		net.work.Close()
	}
	if net.arena != nil {
		net.arena.Close()
	}
	net.dev.Close()
}
