package catalog

import (
	"encoding/binary"
	"math"
	"sync"

	"batos"
	"batos/image"
	"batos/object"
)

// Vectors keeps the vectors of documents in memory. A document never changes,
// so what was read of one stays right for every moment of the image; which
// documents there are is asked of the transaction each time. Safe for
// concurrent use. The zero value is ready.
type Vectors struct {
	mu    sync.Mutex
	known map[batos.OID]matrix
	bytes int64
}

// matrix is the vectors of one document's chunks, one after another.
type matrix struct {
	data []float32
	dim  int
}

// Bytes is how much memory the vectors take.
func (v *Vectors) Bytes() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bytes
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

// nearest ranks all chunks that have a vector of the query's length.
func (v *Vectors) nearest(tx *image.Tx, t Trees, q []float32, allowed map[batos.OID]bool, top int) ([]scored, error) {
	var out []scored
	present := map[batos.OID]bool{}
	for e, err := range tx.Tree(t.Document).Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		ref, _ := e.Value.(object.Ref)
		doc := batos.OID(ref)
		present[doc] = true
		if allowed != nil && !allowed[doc] {
			continue
		}
		m, err := v.of(tx, doc)
		if err != nil {
			return nil, err
		}
		if m.dim != len(q) {
			continue
		}
		for i := 0; i < len(m.data); i += m.dim {
			out = append(out, scored{place{doc, int32(i / m.dim)}, float64(dot(q, m.data[i:i+m.dim]))})
		}
		if len(out) > 1<<16 {
			out = highest(out, top)
		}
	}
	v.forget(present)
	return highest(out, top), nil
}

// of gives a document's vectors, from memory if they were read before.
func (v *Vectors) of(tx *image.Tx, doc batos.OID) (matrix, error) {
	v.mu.Lock()
	m, ok := v.known[doc]
	v.mu.Unlock()
	if ok {
		return m, nil
	}
	dim, _, err := tx.Slot(doc, "dimensions")
	if err != nil {
		return m, err
	}
	n, _ := dim.(object.Int)
	size, _ := n.Int64()
	raw, _, err := tx.Slot(doc, "vectors")
	if err != nil {
		return m, err
	}
	b, _ := raw.(object.Bytes)
	if size > 0 && len(b)%int(4*size) == 0 {
		m = matrix{data: make([]float32, len(b)/4), dim: int(size)}
		for i := range m.data {
			m.data[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[batos.OID]matrix{}
	}
	v.known[doc] = m
	v.bytes += int64(4 * len(m.data))
	return m, nil
}

// forget drops what belongs to no document of the newest search, once that is
// most of what is kept: a search of the past may want some of it.
func (v *Vectors) forget(present map[batos.OID]bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) <= 2*len(present)+16 {
		return
	}
	for doc, m := range v.known {
		if !present[doc] {
			v.bytes -= int64(4 * len(m.data))
			delete(v.known, doc)
		}
	}
}

// dot is the inner product, in four sums so that the processor need not wait
// for each addition.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	n := len(a) &^ 3
	b = b[:len(a)]
	for i := 0; i < n; i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for i := n; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
