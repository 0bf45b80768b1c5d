package catalog

import (
	"encoding/binary"
	"math"
	"slices"

	"batos"
	"batos/image"
	"batos/object"
)

// Vectors are kept in blocks, document after document, because a search reads
// all of them: one that finds them in order takes half the time of one that
// jumps from document to document.
const (
	blockLeast = 256 << 10 // numbers
	blockMost  = 4 << 20
)

// block is room for the vectors of many documents. What lies in it never
// changes, so searches read it while documents are added behind.
type block struct{ data []float32 }

// matrix is the vectors of one document's chunks, one after another: n numbers
// of a block.
type matrix struct {
	in         *block
	at, n, dim int
}

// shelved is a document with its vectors.
type shelved struct {
	doc batos.OID
	matrix
}

// vectors are those of all documents that were read.
type vectors struct {
	of   map[batos.OID]matrix
	open *block // where there may be room
	next int    // where it begins in open
	room int64  // numbers in all blocks
	used int64  // numbers of the documents
}

func (v *vectors) bytes() int64 { return 4 * v.room }

// reserve gives room for n numbers; expected will follow in all.
func (v *vectors) reserve(n int, expected int64) (in *block, at int) {
	if v.open == nil || len(v.open.data)-v.next < n {
		least := int64(blockLeast)
		if v.open == nil { // it may be a small catalog
			least = 0
		}
		size := max(int(min(max(expected, least), blockMost)), n)
		v.open, v.next = &block{make([]float32, size)}, 0
		v.room += int64(size)
	}
	at = v.next
	v.next += n
	v.used += int64(n)
	return v.open, at
}

// add keeps a document's vectors, as [packVectors] wrote them.
func (v *vectors) add(doc batos.OID, packed object.Bytes, dim int, expected int64) matrix {
	if v.of == nil {
		v.of = map[batos.OID]matrix{}
	}
	if found, ok := v.of[doc]; ok {
		return found
	}
	one := matrix{dim: dim, n: len(packed) / 4}
	if one.n > 0 {
		one.in, one.at = v.reserve(one.n, expected)
		to := one.in.data[one.at : one.at+one.n]
		for i := range to {
			b := packed[4*i : 4*i+4]
			to[i] = math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
		}
	}
	v.of[doc] = one
	return one
}

// forget drops the vectors of all other documents once they are most of what is
// kept: a search of the past may want some of them. It moves the documents'.
func (v *vectors) forget(docs []shelved) {
	wanted := int64(0)
	for _, d := range docs {
		wanted += int64(d.n)
	}
	if v.used <= 2*wanted+blockLeast && len(v.of) <= 2*len(docs)+1024 {
		return
	}
	kept := vectors{of: make(map[batos.OID]matrix, len(docs))}
	for i, d := range docs {
		in, at := kept.reserve(d.n, wanted-kept.used)
		copy(in.data[at:], d.in.data[d.at:d.at+d.n])
		docs[i].in, docs[i].at = in, at
		kept.of[d.doc] = docs[i].matrix
	}
	*v = kept
}

// roll is the documents that have vectors, as they lie in memory.
type roll struct {
	docs []shelved
	runs []run
}

// run is documents whose vectors lie one after another.
type run struct {
	data []float32
	dim  int
	docs []batos.OID
	from []int // docs[i] begins at vector from[i]
}

func newRoll(docs []shelved) *roll {
	slices.SortStableFunc(docs, func(a, b shelved) int { return a.at - b.at })
	byBlock := map[*block][]shelved{}
	var blocks []*block
	for _, d := range docs {
		if byBlock[d.in] == nil {
			blocks = append(blocks, d.in)
		}
		byBlock[d.in] = append(byBlock[d.in], d)
	}
	r := &roll{}
	for _, b := range blocks {
		r.docs = append(r.docs, byBlock[b]...)
	}
	r.runs = runsOf(r.docs)
	return r
}

// runsOf joins documents that are neighbours in memory.
func runsOf(docs []shelved) []run {
	var out []run
	for i := 0; i < len(docs); {
		first := docs[i]
		one := run{dim: first.dim}
		end := first.at
		for ; i < len(docs) && docs[i].in == first.in && docs[i].at == end && docs[i].dim == first.dim; i++ {
			one.docs = append(one.docs, docs[i].doc)
			one.from = append(one.from, (end-first.at)/first.dim)
			end += docs[i].n
		}
		one.data = first.in.data[first.at:end]
		out = append(out, one)
	}
	return out
}

// place tells whose vector the one of that number is.
func (r *run) place(vector int) place {
	i, exact := slices.BinarySearch(r.from, vector)
	if !exact {
		i--
	}
	return place{r.docs[i], int32(vector - r.from[i])}
}

// nearest ranks all chunks that have a vector of the query's length.
func nearest(tx *image.Tx, t Trees, c content, q []float32, allowed map[batos.OID]bool, top int, memo *Memo) ([]scored, error) {
	all, err := memo.documents(tx, t, c)
	if err != nil {
		return nil, err
	}
	runs := all.runs
	if allowed != nil {
		runs = runsOf(slices.DeleteFunc(slices.Clone(all.docs), func(d shelved) bool { return !allowed[d.doc] }))
	}
	r := ranking{most: top}
	least := float32(math.Inf(-1)) // what the ranking, once full, does not look at
	for i := range runs {
		one := &runs[i]
		if one.dim != len(q) {
			continue
		}
		for n, rest := 0, one.data; len(rest) >= len(q); n, rest = n+1, rest[len(q):] {
			s := dot(rest[:len(q)], q)
			if s < least {
				continue
			}
			r.add(scored{one.place(n), float64(s)})
			if r.full() {
				least = float32(r.best[0].score)
			}
		}
	}
	return r.sorted(), nil
}

// dot is the inner product, in four sums so that the processor need not wait
// for each addition.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	a = a[:len(b)]
	i := 0
	for ; i+4 <= len(b); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(b); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

// packVectors gives the chunks' vectors as bytes, nil if there are none.
func packVectors(chunks []Chunk) []byte {
	if len(chunks) == 0 || chunks[0].Vector == nil {
		return nil
	}
	b := make([]byte, 0, len(chunks)*len(chunks[0].Vector)*4)
	for _, c := range chunks {
		for _, x := range c.Vector {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}
