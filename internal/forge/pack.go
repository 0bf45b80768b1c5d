package forge

import (
	"math"

	"batos"
)

// batch is the inputs of one step, in the graph's layout.
type batch struct {
	tokens, pos []int32   // [rows·length]
	mask        []float32 // [rows][length queries][length keys]
	rows        []int32   // positions that are supervised, then zeros
	rowMask     []float32 // 1 for a supervised position, 0 for filling
	labels      []float32 // one-hot rows of the vocabulary's length
	supervised  int       // how many of rows count
	real        int       // positions that belong to an example

	vocab int
	used  []int  // by row, positions filled
	hot   []int  // places of labels that are 1
	spans []span // examples placed
}

type span struct{ start, n int }

func newBatch(c Config) *batch {
	rows, n := c.BatchTokens/c.RowTokens, c.BatchTokens
	return &batch{
		tokens: make([]int32, n), pos: make([]int32, n), mask: make([]float32, n*c.RowTokens),
		rows: make([]int32, c.HeadTokens), rowMask: make([]float32, c.HeadTokens),
		labels: make([]float32, c.HeadTokens*c.Arch.Vocab),
		vocab:  c.Arch.Vocab, used: make([]int, rows),
	}
}

// fill packs examples from number next on, each into the first row with room,
// until one fits nowhere, and gives the number of that one: the next step
// begins with it.
func (b *batch) fill(data Source, next int) (int, error) {
	length := len(b.tokens) / len(b.used)
	b.reset()
	for {
		tokens, supervised := data.Example(next)
		n := len(tokens) - 1
		if n < 1 || n > length || len(supervised) != len(tokens) {
			return 0, batos.Errorf(batos.Invalid, "training example %d has %d tokens and %d marks: want 2 to %d of each", next, len(tokens), len(supervised), length+1)
		}
		marked := 0
		for i, t := range tokens {
			if t < 0 || int(t) >= b.vocab {
				return 0, batos.Errorf(batos.Invalid, "training example %d has token %d, the vocabulary %d entries", next, t, b.vocab)
			}
			if i > 0 && supervised[i] {
				marked++
			}
		}
		if marked > len(b.rows) {
			return 0, batos.Errorf(batos.Invalid, "training example %d has %d supervised tokens, a step takes %d", next, marked, len(b.rows))
		}
		row := b.room(n)
		if row < 0 || b.supervised+marked > len(b.rows) {
			break
		}
		b.place(row*length+b.used[row], tokens, supervised)
		b.used[row] += n
		next++
	}
	if b.supervised == 0 {
		return 0, batos.Errorf(batos.Invalid, "training examples before number %d fill a step without a supervised token", next)
	}
	b.setMask(length)
	return next, nil
}

func (b *batch) room(n int) int {
	length := len(b.tokens) / len(b.used)
	for row, used := range b.used {
		if used+n <= length {
			return row
		}
	}
	return -1
}

func (b *batch) reset() {
	clear(b.tokens)
	clear(b.pos)
	clear(b.rows)
	clear(b.rowMask)
	clear(b.used)
	for _, h := range b.hot {
		b.labels[h] = 0
	}
	b.hot, b.spans = b.hot[:0], b.spans[:0]
	b.supervised, b.real = 0, 0
}

// place puts an example's tokens, but the last, at position start: the token
// at each position is there to predict the one after it.
func (b *batch) place(start int, tokens []int32, supervised []bool) {
	n := len(tokens) - 1
	copy(b.tokens[start:], tokens[:n])
	for i := range n {
		b.pos[start+i] = int32(i)
		if supervised[i+1] {
			hot := b.supervised*b.vocab + int(tokens[i+1])
			b.labels[hot] = 1
			b.hot = append(b.hot, hot)
			b.rows[b.supervised], b.rowMask[b.supervised] = int32(start+i), 1
			b.supervised++
		}
	}
	b.spans = append(b.spans, span{start, n})
	b.real += n
}

var minusInf = float32(math.Inf(-1))

// setMask lets a position see its own example up to itself. Filling sees
// itself alone: a row that sees nothing would have no soft maximum.
func (b *batch) setMask(length int) {
	for i := range b.mask {
		b.mask[i] = minusInf
	}
	for i := range b.tokens {
		b.mask[i*length+i%length] = 0
	}
	for _, s := range b.spans {
		first := s.start % length
		for i := range s.n {
			clear(b.mask[(s.start+i)*length+first : (s.start+i)*length+first+i+1])
		}
	}
}
