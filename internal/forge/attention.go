package forge

import (
	"math"

	"batos/internal/ggml"
)

// packing is how the positions of a step lie in rows.
type packing struct {
	rows, length int
	pos          *ggml.Tensor // I32 [rows·length], position within the example
	mask         *ggml.Tensor // F32 [length, length, 1, rows]: 0 sees, -Inf does not
}

// attention gives the attention of every head, for q [dim, n] and k, v
// [kvDim, n] over the packed positions. In the comments T is a row's length, B
// the number of rows, H the heads, h the length of a head; K heads of keys are
// each shared by H/K query heads.
func (t *tape) attention(q, k, v *ggml.Tensor, a Arch, p packing) *ggml.Tensor {
	rope := ggml.Rope{Dims: a.head(), Context: a.Ctx, Base: a.RopeBase, Scale: 1}
	scale := float32(1 / math.Sqrt(float64(a.head())))
	n, h := p.rows*p.length, a.head()

	// split gives [h, T, heads, B] from [heads·h, T·B].
	split := func(x *ggml.Tensor, heads int) *ggml.Tensor {
		return t.a.Contiguous(t.a.Permute(t.a.Reshape(x, h, heads, p.length, p.rows), 0, 2, 1, 3))
	}
	join := func(x *ggml.Tensor, heads int) *ggml.Tensor { // the inverse of split
		return t.a.Contiguous(t.a.Permute(x, 0, 2, 1, 3), h*heads, n)
	}
	turn := func(x *ggml.Tensor, heads int) *ggml.Tensor {
		return t.a.Rope(t.a.Reshape(x, h, heads, n), p.pos, rope)
	}
	// share repeats each of the K heads of [h, T, K, B] for the query heads
	// that use it; gather sums their gradients.
	group := a.Heads / a.KVHeads
	share := func(x *ggml.Tensor) *ggml.Tensor { return x }
	gather := share
	if group > 1 {
		wide := t.a.New(ggml.F32, h*p.length, group, a.KVHeads, p.rows)
		share = func(x *ggml.Tensor) *ggml.Tensor {
			x = t.a.Reshape(x, h*p.length, 1, a.KVHeads, p.rows)
			return t.a.Reshape(t.a.Repeat(x, wide), h, p.length, a.Heads, p.rows)
		}
		gather = func(x *ggml.Tensor) *ggml.Tensor {
			x = t.a.Reshape(x, h*p.length, group, a.KVHeads, p.rows)
			narrow := t.a.New(ggml.F32, h*p.length, 1, a.KVHeads, p.rows)
			return t.a.Reshape(t.a.RepeatBack(x, narrow), h, p.length, a.KVHeads, p.rows)
		}
	}

	qs := split(turn(q, a.Heads), a.Heads)
	ks := share(split(turn(k, a.KVHeads), a.KVHeads))
	vs := share(split(v, a.KVHeads))
	probs := t.a.SoftMax(t.product(ks, qs), p.mask, scale) // [T keys, T queries, H, B]
	out := join(t.productBack(vs, probs), a.Heads)

	return t.note(out, func(grad *ggml.Tensor) {
		do := split(grad, a.Heads)
		t.give(v, func() *ggml.Tensor {
			return join(gather(t.productAcross(do, probs)), a.KVHeads)
		})
		if !t.needs[q] && !t.needs[k] {
			return
		}
		scores := t.a.SoftMaxBack(t.product(vs, do), probs, scale)
		back := func(x *ggml.Tensor, heads int) *ggml.Tensor {
			return t.a.Reshape(t.a.RopeBack(t.a.Reshape(join(x, heads), h, heads, n), p.pos, rope), h*heads, n)
		}
		t.give(q, func() *ggml.Tensor {
			return back(t.productBack(ks, scores), a.Heads)
		})
		t.give(k, func() *ggml.Tensor {
			return back(gather(t.productAcross(qs, scores)), a.KVHeads)
		})
	}, q, k, v)
}
