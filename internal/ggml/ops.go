package ggml

import "batos"

// Reshape reads the values of a contiguous tensor in another shape.
func (a *Arena) Reshape(t *Tensor, shape ...int) *Tensor {
	a.take()
	d := dims(shape)
	return a.wrap(a.dev.lib.c.base.reshape4(a.p, t.c, d[0], d[1], d[2], d[3]))
}

// Permute moves dimension i to place p[i], without copying.
func (a *Arena) Permute(t *Tensor, p0, p1, p2, p3 int) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.permute(a.p, t.c, int32(p0), int32(p1), int32(p2), int32(p3)))
}

// Contiguous copies a permuted tensor into order, in another shape if one is
// given.
func (a *Arena) Contiguous(t *Tensor, shape ...int) *Tensor {
	a.take()
	if len(shape) == 0 {
		return a.wrap(a.dev.lib.c.base.cont(a.p, t.c))
	}
	d := dims(shape)
	return a.wrap(a.dev.lib.c.base.cont4(a.p, t.c, d[0], d[1], d[2], d[3]))
}

// Transpose copies t with its first two dimensions exchanged.
func (a *Arena) Transpose(t *Tensor) *Tensor {
	a.take()
	return a.Contiguous(a.wrap(a.dev.lib.c.base.transpose(a.p, t.c)))
}

// Cast copies an F32 tensor into order as values of another type.
func (a *Arena) Cast(t *Tensor, typ Type) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.cast(a.p, t.c, int32(typ)))
}

// TransposeCast copies an F32 tensor, its first two dimensions exchanged, as
// values of another type.
func (a *Arena) TransposeCast(t *Tensor, typ Type) *Tensor {
	const block = 16
	n, m := t.Len(0), t.Len(1)
	if n%256 != 0 || m%block != 0 || t.Elements() != n*m {
		a.take()
		return a.Cast(a.wrap(a.dev.lib.c.base.transpose(a.p, t.c)), typ)
	}
	// Rows a power of two apart fall into the same few lines of the cache, and
	// going down a column takes ten times as long. So blocks of rows that fit
	// into these lines are transposed, and then put beside each other.
	c := a.Cast(a.Permute(a.Reshape(t, n, block, m/block), 1, 0, 2, 3), typ)
	return a.Contiguous(a.Permute(c, 0, 2, 1, 3), m, n)
}

func (a *Arena) binary(fn func(c uintptr, x, y *cTensor) *cTensor, x, y *Tensor) *Tensor {
	a.take()
	return a.wrap(fn(a.p, x.c, y.c))
}

// Add gives x + y; y is repeated to x's shape.
func (a *Arena) Add(x, y *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.add, x, y) }

// Mul gives x · y, value by value; y is repeated to x's shape.
func (a *Arena) Mul(x, y *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.mul, x, y) }

// MatMul gives, for w [n,m] and x [n,p], the product [m,p] of their rows; the
// higher dimensions are a batch. x is F32, or BF16 if w is.
func (a *Arena) MatMul(w, x *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.mulMat, w, x) }

// OuterProduct gives, for x [n,k] and y [m,k], the sum over k of their outer
// products, [n,m]. x may be quantized.
func (a *Arena) OuterProduct(x, y *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.outProd, x, y) }

// GetRows picks rows of t by number.
func (a *Arena) GetRows(t, rows *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.getRows, t, rows) }

// GetRowsBack adds each row of grad to the row of a zero tensor, shaped like
// t, that GetRows took it from.
func (a *Arena) GetRowsBack(grad, rows, t *Tensor) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.getRowsBack(a.p, grad.c, rows.c, t.c))
}

// Scale gives t · s.
func (a *Arena) Scale(t *Tensor, s float32) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.scale(a.p, t.c, s))
}

// RMSNorm divides each row by the root of its mean square plus eps.
func (a *Arena) RMSNorm(t *Tensor, eps float32) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.rmsNorm(a.p, t.c, eps))
}

// RMSNormBack is the gradient of RMSNorm's input t.
func (a *Arena) RMSNormBack(grad, t *Tensor, eps float32) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.rmsNormBack(a.p, grad.c, t.c, eps))
}

// Rope says how positions turn the rows of a head.
type Rope struct {
	Dims    int     // values of a head that turn
	Context int     // the context the model was trained with
	Base    float32 // frequency base
	Scale   float32 // frequency scale, 1 for none
}

// Rope turns t [head, heads, tokens] by the positions pos [tokens].
func (a *Arena) Rope(t, pos *Tensor, r Rope) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.rope(a.p, t.c, pos.c, nil, int32(r.Dims), 0, int32(r.Context), r.Base, r.Scale, 0, 1, 32, 1))
}

// RopeBack turns a gradient back.
func (a *Arena) RopeBack(grad, pos *Tensor, r Rope) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.ropeBack(a.p, grad.c, pos.c, nil, int32(r.Dims), 0, int32(r.Context), r.Base, r.Scale, 0, 1, 32, 1))
}

// SoftMax gives the soft maximum of each row of t · scale + mask.
func (a *Arena) SoftMax(t, mask *Tensor, scale float32) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.softMax(a.p, t.c, mask.c, scale, 0))
}

// SoftMaxBack is the gradient of SoftMax's input, from the gradient of its
// output and the output itself.
func (a *Arena) SoftMaxBack(grad, out *Tensor, scale float32) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.softMaxBack(a.p, grad.c, out.c, scale, 0))
}

// SiLU gives t · sigmoid(t).
func (a *Arena) SiLU(t *Tensor) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.silu(a.p, t.c))
}

// SiLUBack is the gradient of SiLU's input t.
func (a *Arena) SiLUBack(grad, t *Tensor) *Tensor {
	return a.binary(a.dev.lib.c.base.siluBack, grad, t)
}

// SwiGLU gives SiLU(gate) · up.
func (a *Arena) SwiGLU(gate, up *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.swiglu, gate, up) }

// Repeat repeats t to the shape of like.
func (a *Arena) Repeat(t, like *Tensor) *Tensor { return a.binary(a.dev.lib.c.base.repeat, t, like) }

// RepeatBack sums what Repeat repeated, to the shape of like.
func (a *Arena) RepeatBack(t, like *Tensor) *Tensor {
	return a.binary(a.dev.lib.c.base.repeatBack, t, like)
}

// CrossEntropy gives the mean over rows of -Σ labels · log softmax(logits).
func (a *Arena) CrossEntropy(logits, labels *Tensor) *Tensor {
	return a.binary(a.dev.lib.c.base.crossEntropy, logits, labels)
}

// CrossEntropyBack is the gradient of CrossEntropy's logits. It is exact only
// for rows whose labels sum to 1.
func (a *Arena) CrossEntropyBack(grad, logits, labels *Tensor) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.crossEntropyBack(a.p, grad.c, logits.c, labels.c))
}

// AdamW changes w in place by its gradient and the moments m and v. params is
// F32[7]: rate, β1, β2, ε, weight decay, 1/(1-β1ⁿ), 1/(1-β2ⁿ) for step n.
func (a *Arena) AdamW(w, grad, m, v, params *Tensor) *Tensor {
	a.take()
	return a.wrap(a.dev.lib.c.base.adamW(a.p, w.c, grad.c, m.c, v.c, params.c))
}

// Graph is an ordered plan of operations with its own memory. It may run any
// number of times, reading and writing the storage tensors as they then are.
type Graph struct {
	arena *Arena
	p     uintptr
	alloc uintptr
}

// NewGraph makes an empty plan for at most nodes operations.
func (a *Arena) NewGraph(nodes int) *Graph {
	return &Graph{arena: a, p: a.dev.lib.c.base.newGraph(a.p, uint64(nodes), false)}
}

// Add plans t and whatever it needs that is not yet planned, after everything
// planned before.
func (g *Graph) Add(t *Tensor) { g.arena.dev.lib.c.base.expand(g.p, t.c) }

// Nodes is the number of operations planned.
func (g *Graph) Nodes() int { return int(g.arena.dev.lib.c.base.graphNodes(g.p)) }

// Alloc gives the plan its memory, once, after the last Add. Storage tensors
// it uses must have theirs.
func (g *Graph) Alloc() error {
	c := &g.arena.dev.lib.c.base
	g.alloc = c.allocNew(c.bufferType(g.arena.dev.p))
	if g.alloc == 0 || !c.allocGraph(g.alloc, g.p) {
		return batos.Errorf(batos.Limit, "no memory for a graph of %d operations", g.Nodes())
	}
	return nil
}

// Bytes is the memory Alloc took.
func (g *Graph) Bytes() int64 {
	if g.alloc == 0 {
		return 0
	}
	return int64(g.arena.dev.lib.c.base.allocSize(g.alloc, 0))
}

// Run computes the plan.
func (g *Graph) Run() error {
	if rc := g.arena.dev.lib.c.base.compute(g.arena.dev.p, g.p); rc != 0 {
		return batos.Errorf(batos.Offline, "engine: graph failed with %d", rc)
	}
	return nil
}

// Close frees the plan's memory; the arena frees the rest.
func (g *Graph) Close() {
	if g.alloc != 0 {
		g.arena.dev.lib.c.base.allocFree(g.alloc)
		g.alloc = 0
	}
}
