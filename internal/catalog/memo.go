package catalog

import (
	"cmp"
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
	roll    *roll // nil: not read yet
	terms   map[string]*postings
	held    int64 // bytes of terms
	vectors vectors
}

// content tells the documents of one moment from those of another.
type content struct {
	index                    object.Tree
	documents                object.Tree
	chunks, length, checksum int64
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
	return m.vectors.bytes(), m.held
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

// documents gives every document that has vectors.
func (m *Memo) documents(tx *image.Tx, t Trees, c content) (*roll, error) {
	m.mu.Lock()
	m.at(c)
	known := m.roll
	m.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var docs []shelved
	chunks := int64(0)
	for e, err := range tx.Tree(t.Document).Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		ref, _ := e.Value.(object.Ref)
		one, err := m.of(tx, batos.OID(ref), c.chunks-chunks)
		if err != nil {
			return nil, err
		}
		if one.dim > 0 {
			docs = append(docs, shelved{batos.OID(ref), one})
			chunks += int64(one.n / one.dim)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vectors.forget(docs)
	all := newRoll(docs)
	if m.content == c {
		m.roll = all
	}
	return all, nil
}

// of gives a document's vectors, from memory if they were read before: a
// document never changes. About that many chunks will follow.
func (m *Memo) of(tx *image.Tx, doc batos.OID, chunks int64) (matrix, error) {
	m.mu.Lock()
	found, ok := m.vectors.of[doc]
	m.mu.Unlock()
	if ok {
		return found, nil
	}
	v, _, err := tx.Slot(doc, "dimensions")
	if err != nil {
		return found, err
	}
	n, _ := v.(object.Int)
	dim, _ := n.Int64()
	raw, _, err := tx.Slot(doc, "vectors")
	if err != nil {
		return found, err
	}
	b, _ := raw.(object.Bytes)
	m.mu.Lock()
	defer m.mu.Unlock()
	if dim <= 0 || int64(len(b))%(4*dim) != 0 {
		return m.vectors.add(doc, "", 0, 0), nil
	}
	return m.vectors.add(doc, b, int(dim), chunks*dim), nil
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

// compare is the order of a ranking: the higher score, and of equal ones the
// earlier place, so that the answer is the same everywhere.
func (s scored) compare(o scored) int {
	switch {
	case s.score > o.score:
		return -1
	case s.score < o.score:
		return 1
	}
	return cmp.Or(cmp.Compare(o.score, s.score), cmp.Compare(s.at.doc, o.at.doc), cmp.Compare(s.at.chunk, o.at.chunk))
}

// ranking keeps the highest of what is added: a heap, the lowest at its root.
type ranking struct {
	most int
	best []scored
}

func (r *ranking) add(s scored) {
	if len(r.best) < r.most {
		r.best = append(r.best, s)
		for i := len(r.best) - 1; i > 0; {
			up := (i - 1) / 2
			if r.best[i].compare(r.best[up]) <= 0 {
				return
			}
			r.best[i], r.best[up] = r.best[up], r.best[i]
			i = up
		}
		return
	}
	if s.compare(r.best[0]) >= 0 {
		return
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= len(r.best) {
			break
		}
		if down+1 < len(r.best) && r.best[down+1].compare(r.best[down]) > 0 {
			down++
		}
		if r.best[down].compare(s) <= 0 {
			break
		}
		r.best[i] = r.best[down]
		i = down
	}
	r.best[i] = s
}

// full reports whether only what is above the lowest kept can come in.
func (r *ranking) full() bool { return len(r.best) == r.most }

// sorted gives what was kept, the highest first. Nothing is added afterwards.
func (r *ranking) sorted() []scored {
	slices.SortFunc(r.best, scored.compare)
	return r.best
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
	terms, err := Terms(q.Language, q.Text)
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
			return r.sorted(), nil
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
