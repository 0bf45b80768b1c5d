package forge

import (
	"testing"

	"pgregory.net/rapid"
)

type drawnExamples []fixedExample

func (d drawnExamples) Example(n int) ([]int32, []bool) {
	e := d[n%len(d)]
	return e.tokens, e.marks
}

// Whatever the examples, a filled batch holds each of them whole, in order of
// number, and no position sees another example.
func TestFill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(4, 20).Draw(t, "length")
		rows := rapid.IntRange(1, 4).Draw(t, "rows")
		c := Config{Arch: Arch{Vocab: 50}, BatchTokens: rows * length, RowTokens: length, HeadTokens: rapid.IntRange(length, rows*length).Draw(t, "head")}
		data := make(drawnExamples, rapid.IntRange(1, 6).Draw(t, "examples"))
		for i := range data {
			n := rapid.IntRange(2, length+1).Draw(t, "n")
			data[i].tokens = rapid.SliceOfN(rapid.Int32Range(0, 49), n, n).Draw(t, "tokens")
			data[i].marks = rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "marks")
			data[i].marks[1] = true
		}
		b := newBatch(c)
		next := 0
		for range 3 {
			first := next
			var err error
			if next, err = b.fill(data, first); err != nil {
				t.Fatal(err)
			}
			if next == first {
				t.Fatal("nothing was packed")
			}
			checkBatch(t, b, data, first, next, length)
		}
	})
}

func checkBatch(t *rapid.T, b *batch, data Source, first, next, length int) {
	if len(b.spans) != next-first {
		t.Fatalf("%d examples placed, %d used", len(b.spans), next-first)
	}
	owner := make([]int, len(b.tokens)) // 1 + span of a position, 0 for filling
	place := 0
	for i, s := range b.spans {
		tokens, marks := data.Example(first + i)
		if s.n != len(tokens)-1 || s.start/length != (s.start+s.n-1)/length {
			t.Fatalf("example %d of %d tokens lies at %d+%d", i, len(tokens), s.start, s.n)
		}
		for j := range s.n {
			at := s.start + j
			if owner[at] != 0 {
				t.Fatalf("position %d has two owners", at)
			}
			owner[at] = i + 1
			if b.tokens[at] != tokens[j] || b.pos[at] != int32(j) {
				t.Fatalf("position %d holds token %d at %d", at, b.tokens[at], b.pos[at])
			}
			if marks[j+1] {
				if b.rows[place] != int32(at) || b.rowMask[place] != 1 || b.labels[place*b.vocab+int(tokens[j+1])] != 1 {
					t.Fatalf("supervised place %d is not position %d", place, at)
				}
				place++
			}
		}
	}
	if b.supervised != place {
		t.Fatalf("%d supervised, counted %d", b.supervised, place)
	}
	ones := 0
	for _, v := range b.labels {
		if v != 0 {
			ones++
		}
	}
	for _, v := range b.rowMask[place:] {
		if v != 0 {
			t.Fatal("filling is supervised")
		}
	}
	if ones != place {
		t.Fatalf("%d labels for %d places", ones, place)
	}
	for q := range b.tokens {
		for k := range length {
			key := q/length*length + k
			sees := b.mask[q*length+k] == 0
			should := key == q || owner[key] != 0 && owner[key] == owner[q] && key <= q
			if sees != should {
				t.Fatalf("position %d sees %d: %v", q, key, sees)
			}
		}
	}
}
