package forge

import "batos/internal/ggml"

// tape builds a forward pass and remembers how to build its gradient. Every
// method plans an operation and, if an operand needs a gradient, notes a
// function that turns the gradient of the result into gradients of the
// operands; backward calls these in reverse.
//
// A gradient of a matrix product is made of matrix products of transposed
// copies: copying costs little beside the product, and the library's product
// of rows is several times faster than its outer product.
//
// With half set, the operands of a product are rounded to BF16, which halves
// what is read and lets the processor multiply twice as many values at once;
// its sums, like everything else, stay F32.
type tape struct {
	a         *ggml.Arena
	half      bool
	grads     map[*ggml.Tensor]*ggml.Tensor
	needs     map[*ggml.Tensor]bool
	transpose map[*ggml.Tensor]*ggml.Tensor // copies made so far
	rounded   map[*ggml.Tensor]*ggml.Tensor // of a tensor, in BF16
	across    map[*ggml.Tensor]*ggml.Tensor // of a tensor, transposed in BF16
	steps     []func()
}

func newTape(a *ggml.Arena, half bool) *tape {
	return &tape{
		a:         a,
		half:      half,
		grads:     make(map[*ggml.Tensor]*ggml.Tensor),
		needs:     make(map[*ggml.Tensor]bool),
		transpose: make(map[*ggml.Tensor]*ggml.Tensor),
		rounded:   make(map[*ggml.Tensor]*ggml.Tensor),
		across:    make(map[*ggml.Tensor]*ggml.Tensor),
	}
}

// watch asks for the gradient of a storage tensor.
func (t *tape) watch(x *ggml.Tensor) { t.needs[x] = true }

// note registers the gradient rule of result, which was made from operands.
func (t *tape) note(result *ggml.Tensor, rule func(grad *ggml.Tensor), operands ...*ggml.Tensor) *ggml.Tensor {
	for _, o := range operands {
		if t.needs[o] {
			t.needs[result] = true
			t.steps = append(t.steps, func() {
				if g := t.grads[result]; g != nil {
					rule(g)
				}
			})
			break
		}
	}
	return result
}

// give adds to the gradient of x, if it needs one.
func (t *tape) give(x *ggml.Tensor, grad func() *ggml.Tensor) {
	if !t.needs[x] {
		return
	}
	g := grad()
	if old := t.grads[x]; old != nil {
		g = t.a.Add(old, g)
	}
	t.grads[x] = g
}

// backward builds the gradients of everything watched.
func (t *tape) backward() {
	for i := len(t.steps) - 1; i >= 0; i-- {
		t.steps[i]()
	}
}

func (t *tape) transposed(x *ggml.Tensor) *ggml.Tensor {
	if c := t.transpose[x]; c != nil {
		return c
	}
	c := t.a.Transpose(x)
	t.transpose[x] = c
	return c
}

// halfLength is what the length of a product's sums must divide by for the
// library to have a fast kernel for BF16.
const halfLength = 32

// halves reports whether a product that sums over so many values is computed
// in BF16.
func (t *tape) halves(length int) bool { return t.half && length%halfLength == 0 }

// product gives the product of the rows of x and y, both F32.
func (t *tape) product(x, y *ggml.Tensor) *ggml.Tensor {
	if t.halves(x.Len(0)) {
		return t.a.MatMul(t.bf16(x), t.bf16(y))
	}
	return t.a.MatMul(x, y)
}

// productAcross gives the product of the columns of x and y.
func (t *tape) productAcross(x, y *ggml.Tensor) *ggml.Tensor {
	if t.halves(x.Len(1)) {
		return t.a.MatMul(t.bf16Transposed(x), t.bf16Transposed(y))
	}
	return t.a.MatMul(t.transposed(x), t.transposed(y))
}

// productBack gives the product of the columns of x and the rows of y.
func (t *tape) productBack(x, y *ggml.Tensor) *ggml.Tensor {
	if t.halves(x.Len(1)) {
		return t.a.MatMul(t.bf16Transposed(x), t.bf16(y))
	}
	return t.a.MatMul(t.transposed(x), y)
}

func (t *tape) bf16(x *ggml.Tensor) *ggml.Tensor {
	if c := t.rounded[x]; c != nil {
		return c
	}
	c := t.a.Cast(x, ggml.BF16)
	t.rounded[x] = c
	return c
}

func (t *tape) bf16Transposed(x *ggml.Tensor) *ggml.Tensor {
	if c := t.across[x]; c != nil {
		return c
	}
	c := t.a.TransposeCast(x, ggml.BF16)
	t.across[x] = c
	return c
}

// linear gives w·x for w [in,out] and x [in,n].
func (t *tape) linear(w, x *ggml.Tensor) *ggml.Tensor {
	quantized := w.Type() != ggml.F32
	y := t.a.MatMul
	if !quantized {
		y = t.product
	}
	return t.note(y(w, x), func(grad *ggml.Tensor) {
		t.give(x, func() *ggml.Tensor {
			if quantized { // cannot be transposed
				return t.a.OuterProduct(w, t.transposed(grad))
			}
			return t.productBack(w, grad)
		})
		t.give(w, func() *ggml.Tensor { return t.productAcross(x, grad) })
	}, w, x)
}

// add gives x + y of one shape.
func (t *tape) add(x, y *ggml.Tensor) *ggml.Tensor {
	return t.note(t.a.Add(x, y), func(grad *ggml.Tensor) {
		t.give(x, func() *ggml.Tensor { return grad })
		t.give(y, func() *ggml.Tensor { return grad })
	}, x, y)
}

// scale gives x · s.
func (t *tape) scale(x *ggml.Tensor, s float32) *ggml.Tensor {
	return t.note(t.a.Scale(x, s), func(grad *ggml.Tensor) {
		t.give(x, func() *ggml.Tensor { return t.a.Scale(grad, s) })
	}, x)
}

// maskRows multiplies each row of x by its value in rows [1,n], which needs no
// gradient.
func (t *tape) maskRows(x, rows *ggml.Tensor) *ggml.Tensor {
	return t.note(t.a.Mul(x, rows), func(grad *ggml.Tensor) {
		t.give(x, func() *ggml.Tensor { return t.a.Mul(grad, rows) })
	}, x)
}

// norm gives the RMS norm of x's rows times w.
func (t *tape) norm(x, w *ggml.Tensor, eps float32) *ggml.Tensor {
	n := t.a.RMSNorm(x, eps)
	return t.note(t.a.Mul(n, w), func(grad *ggml.Tensor) {
		t.give(w, func() *ggml.Tensor { return t.a.RepeatBack(t.a.Mul(n, grad), w) })
		t.give(x, func() *ggml.Tensor { return t.a.RMSNormBack(t.a.Mul(grad, w), x, eps) })
	}, x, w)
}

// rows picks rows of x by number.
func (t *tape) rows(x, numbers *ggml.Tensor) *ggml.Tensor {
	return t.note(t.a.GetRows(x, numbers), func(grad *ggml.Tensor) {
		t.give(x, func() *ggml.Tensor { return t.a.GetRowsBack(grad, numbers, x) })
	}, x)
}

// swiglu gives SiLU(gate) · up.
func (t *tape) swiglu(gate, up *ggml.Tensor) *ggml.Tensor {
	return t.note(t.a.SwiGLU(gate, up), func(grad *ggml.Tensor) {
		t.give(gate, func() *ggml.Tensor { return t.a.SiLUBack(t.a.Mul(grad, up), gate) })
		t.give(up, func() *ggml.Tensor { return t.a.Mul(grad, t.a.SiLU(gate)) })
	}, gate, up)
}

// crossEntropy gives the mean of the rows' losses; the gradient it hands back
// is multiplied by seed [1].
func (t *tape) crossEntropy(logits, labels, seed *ggml.Tensor) *ggml.Tensor {
	loss := t.a.CrossEntropy(logits, labels)
	t.note(loss, func(grad *ggml.Tensor) {
		t.give(logits, func() *ggml.Tensor { return t.a.CrossEntropyBack(grad, logits, labels) })
	}, logits)
	t.grads[loss] = seed
	return loss
}
