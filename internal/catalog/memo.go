package catalog

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"batos"
	"batos/image"
	"batos/object"
)

// Memo keeps in memory what searches have read, within bounds: the vectors of
// documents, which documents there are, and what the index has of the terms
// that were asked for last. It changes no answer: what is kept is used only at
// moments of the image that have the very same documents, which the counter
// content_sum tells (see [Add]). Safe for concurrent use. The zero value is
// ready.
type Memo struct {
	mu      sync.Mutex
	content content
	roll    []shelved // nil: not read yet
	terms   map[string]*postings
	held    int64 // bytes of terms
	vectors map[batos.OID]matrix
	bytes   int64 // of vectors
}

// content tells the documents of one moment from those of another.
type content struct {
	index                    object.Tree
	documents                object.Tree
	chunks, length, checksum int64
}

// shelved is a document with its vectors.
type shelved struct {
	doc batos.OID
	matrix
}

// matrix is the vectors of one document's chunks, one after another.
type matrix struct {
	data []float32
	dim  int
}

// postings is what the index has of one term, in order of documents.
type postings struct {
	docs []batos.OID
	ends []int32 // docs[i] has list[ends[i-1]:ends[i]]
	list []posting
}

func (p *postings) size() int64 {
	return int64(8*cap(p.docs) + 4*cap(p.ends) + 12*cap(p.list))
}

// memoTerms bounds the bytes that are kept of terms.
const memoTerms = 32 << 20

// Bytes is how much memory is held: by vectors, which are all kept, and by
// terms, which are bounded.
func (m *Memo) Bytes() (vectors, terms int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes, m.held
}

// at makes the memo one of that content. It holds the lock.
func (m *Memo) at(c content) {
	if m.content != c {
		m.content, m.roll, m.terms, m.held = c, nil, nil, 0
	}
}

// term gives what the index has of a term.
func (m *Memo) term(tx *image.Tx, t Trees, c content, term string) (*postings, error) {
	m.mu.Lock()
	m.at(c)
	p := m.terms[term]
	m.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := readTerm(tx, t, term)
	if err != nil {
		return nil, err
	}
	size := p.size() + int64(len(term))
	if size > memoTerms/4 {
		return p, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.content != c || m.terms[term] != nil {
		return p, nil
	}
	for other, old := range m.terms { // any will do: what is asked for often comes back
		if m.held+size <= memoTerms {
			break
		}
		m.held -= old.size() + int64(len(other))
		delete(m.terms, other)
	}
	if m.terms == nil {
		m.terms = map[string]*postings{}
	}
	m.terms[term] = p
	m.held += size
	return p, nil
}

func readTerm(tx *image.Tx, t Trees, term string) (*postings, error) {
	p := &postings{}
	for e, err := range tx.Tree(t.Text).Range(termKey(term, 0), termKey(term, math.MaxInt64)) {
		if err != nil {
			return nil, err
		}
		b, _ := e.Value.(object.Bytes)
		if !each(b, func(x posting) { p.list = append(p.list, x) }) {
			return nil, batos.Errorf(batos.Corrupt, "the index entry of %.60q is damaged; index its documents again", term)
		}
		p.docs = append(p.docs, lastOf(e.Key))
		p.ends = append(p.ends, int32(len(p.list)))
	}
	return p, nil
}

// documents gives every document with its vectors, in order of ids.
func (m *Memo) documents(tx *image.Tx, t Trees, c content) ([]shelved, error) {
	m.mu.Lock()
	m.at(c)
	roll := m.roll
	m.mu.Unlock()
	if roll != nil {
		return roll, nil
	}
	roll = []shelved{}
	for e, err := range tx.Tree(t.Document).Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		ref, _ := e.Value.(object.Ref)
		one, err := m.of(tx, batos.OID(ref))
		if err != nil {
			return nil, err
		}
		if one.dim > 0 {
			roll = append(roll, shelved{batos.OID(ref), one})
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.content == c {
		m.roll = roll
	}
	m.forget(roll)
	return roll, nil
}

// of gives a document's vectors, from memory if they were read before: a
// document never changes.
func (m *Memo) of(tx *image.Tx, doc batos.OID) (matrix, error) {
	m.mu.Lock()
	found, ok := m.vectors[doc]
	m.mu.Unlock()
	if ok {
		return found, nil
	}
	dim, _, err := tx.Slot(doc, "dimensions")
	if err != nil {
		return found, err
	}
	n, _ := dim.(object.Int)
	size, _ := n.Int64()
	raw, _, err := tx.Slot(doc, "vectors")
	if err != nil {
		return found, err
	}
	b, _ := raw.(object.Bytes)
	if size > 0 && len(b)%int(4*size) == 0 {
		found = matrix{data: make([]float32, len(b)/4), dim: int(size)}
		for i := range found.data {
			found.data[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.vectors == nil {
		m.vectors = map[batos.OID]matrix{}
	}
	if _, ok := m.vectors[doc]; !ok {
		m.vectors[doc] = found
		m.bytes += int64(4 * len(found.data))
	}
	return found, nil
}

// forget drops the vectors of what is not on the roll once that is most of what
// is kept: a search of the past may want some of it. It holds the lock.
func (m *Memo) forget(roll []shelved) {
	if len(m.vectors) <= 2*len(roll)+16 {
		return
	}
	present := make(map[batos.OID]bool, len(roll))
	for _, s := range roll {
		present[s.doc] = true
	}
	for doc, old := range m.vectors {
		if !present[doc] {
			m.bytes -= int64(4 * len(old.data))
			delete(m.vectors, doc)
		}
	}
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

// place is a chunk by document and number.
type place struct {
	doc   batos.OID
	chunk int32
}

type scored struct {
	at    place
	score float64
}

// before is the order of a ranking: the higher score, and of equal ones the
// earlier place, so that the answer is the same everywhere.
func (s scored) compare(o scored) int {
	return cmp.Or(cmp.Compare(o.score, s.score), cmp.Compare(s.at.doc, o.at.doc), cmp.Compare(s.at.chunk, o.at.chunk))
}

// ranking keeps the highest of what is added, in order.
type ranking struct {
	most int
	best []scored
}

func (r *ranking) add(s scored) {
	if len(r.best) == r.most {
		if last := r.best[len(r.best)-1]; s.score < last.score || s.compare(last) > 0 {
			return
		}
		r.best = r.best[:len(r.best)-1]
	}
	i, _ := slices.BinarySearchFunc(r.best, s, scored.compare)
	r.best = slices.Insert(r.best, i, s)
}

// bm25 ranks by text, a document at a time through the postings of all terms.
func bm25(tx *image.Tx, t Trees, c content, q Query, allowed map[batos.OID]bool, top int, memo *Memo) ([]scored, error) {
	if c.chunks <= 0 {
		return nil, nil
	}
	n, avg := float64(c.chunks), float64(c.length)/float64(c.chunks)
	type cursor struct {
		*postings
		at  int
		idf float64
	}
	var open []*cursor
	terms, err := queryTerms(q.Language, q.Text)
	if err != nil {
		return nil, err
	}
	for _, term := range terms {
		p, err := memo.term(tx, t, c, term)
		if err != nil {
			return nil, err
		}
		if len(p.docs) == 0 {
			continue
		}
		idf := math.Log((n - float64(len(p.list)) + 0.5) / (float64(len(p.list)) + 0.5))
		if idf <= 0 {
			idf = leastIDF
		}
		open = append(open, &cursor{postings: p, idf: idf})
	}
	r := ranking{most: top}
	var scores []float64 // of the chunks of one document
	for {
		doc := batos.OID(math.MaxInt64)
		for _, o := range open {
			if o.at < len(o.docs) && o.docs[o.at] < doc {
				doc = o.docs[o.at]
			}
		}
		if doc == math.MaxInt64 {
			return r.best, nil
		}
		wanted := allowed == nil || allowed[doc]
		scores = scores[:0]
		for _, o := range open {
			if o.at == len(o.docs) || o.docs[o.at] != doc {
				continue
			}
			begin := int32(0)
			if o.at > 0 {
				begin = o.ends[o.at-1]
			}
			list := o.list[begin:o.ends[o.at]]
			o.at++
			if !wanted {
				continue
			}
			for _, p := range list {
				for int(p.chunk) >= len(scores) {
					scores = append(scores, 0)
				}
				tf := float64(p.tf)
				scores[p.chunk] += o.idf * tf * (K1 + 1) / (tf + K1*(1-B+B*float64(p.length)/avg))
			}
		}
		for i, s := range scores {
			if s > 0 {
				r.add(scored{place{doc, int32(i)}, s})
			}
		}
	}
}

// nearest ranks all chunks that have a vector of the query's length.
func nearest(tx *image.Tx, t Trees, c content, q []float32, allowed map[batos.OID]bool, top int, memo *Memo) ([]scored, error) {
	roll, err := memo.documents(tx, t, c)
	if err != nil {
		return nil, err
	}
	r := ranking{most: top}
	least := float32(math.Inf(-1)) // what the ranking, once full, does not look at
	for _, d := range roll {
		if d.dim != len(q) || allowed != nil && !allowed[d.doc] {
			continue
		}
		for i, at := int32(0), 0; at < len(d.data); i, at = i+1, at+d.dim {
			s := dot(d.data[at:at+d.dim], q)
			if s < least {
				continue
			}
			r.add(scored{place{d.doc, i}, float64(s)})
			if len(r.best) == top {
				least = float32(r.best[top-1].score)
			}
		}
	}
	return r.best, nil
}

// dot is the inner product, in four sums so that the processor need not wait
// for each addition.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		x, y := a[:4:4], b[:4:4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		a, b = a[4:], b[4:]
	}
	for i := range min(len(a), len(b)) {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
