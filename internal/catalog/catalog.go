// Package catalog is retrieval inside the transaction: documents as objects of
// an image, found by what they say, at any moment of its history.
//
// Read in this order: [Trees], where an index lies; [Add] and [Remove]; [Search]
// with [Query] and [Hit]; [Analyze], which makes terms of text; [Split], which
// makes chunks of a document; [Memo], what is kept in memory.
//
// # Layout
//
// A document is one object that never changes: indexing it again makes another.
// Its chunks are objects too. What the index holds of a term lies under the key
// (term, document): which chunks have it, how often, and how long they are.
// So documents never share a key: adding and removing them side by side does
// not conflict, and undoing one touches nothing of the others. Everything is
// written in the transaction of the message that adds the document, so index
// and documents cannot disagree, at any moment of the image.
//
// # Ranking
//
// Text is ranked by BM25 (Robertson and Zaragoza 2009) with k1 = 1.2 and
// b = 0.75, chunks being what is ranked:
//
//	Σ over terms of ln((N - n + 0.5)/(n + 0.5)) · tf·(k1+1) / (tf + k1·(1 - b + b·len/avg))
//
// where a term that more than half of all chunks have counts 1e-6 instead of
// a negative number, as SQLite's FTS5 does it. Vectors are compared by their inner product, all of
// them. Two rankings are fused by reciprocal rank, Σ 1/(60 + rank) (Cormack and
// others 2009).
package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"

	"batos"
	"batos/image"
	"batos/object"
)

// Parameters of BM25 and of the fusion.
const (
	K1       = 1.2
	B        = 0.75
	leastIDF = 1e-6
	FusionK  = 60
)

// Trees are where an index lies, and the object that counts.
type Trees struct {
	Object   batos.OID   // its slots total_chunks, total_length and content_sum are counters
	Text     object.Tree // (term, document) -> postings
	Meta     object.Tree // (key, value, document) -> None
	Chunks   object.Tree // "doc::i" -> chunk
	Document object.Tree // doc_id -> document
}

// Slots of the catalog object that count; they merge, so documents are added
// side by side.
const (
	countSlot  = "total_chunks"
	lengthSlot = "total_length"
	// sumSlot is the sum of the checksums of all documents: two moments with
	// equal counters have the same documents.
	sumSlot = "content_sum"
)

// Chunk is a piece of a document as it is indexed.
type Chunk struct {
	Text   string
	Vector []float32 // of unit length; nil without an embedder
}

// Document is what is added.
type Document struct {
	ID       string
	Metadata []object.Slot // text values are indexed; others are kept
	Language string        // see [Languages]
	Chunker  string
	Chunks   []Chunk
}

// Writer makes objects; the kernel's own checks authority and budgets.
type Writer interface {
	Tx() *image.Tx
	New(slots ...object.Slot) (batos.OID, error)
}

// posting is what one chunk has of a term.
type posting struct{ chunk, tf, length int32 }

func encodePostings(ps []posting) object.Bytes {
	var b []byte
	for _, p := range ps {
		b = binary.AppendUvarint(b, uint64(p.chunk))
		b = binary.AppendUvarint(b, uint64(p.tf))
		b = binary.AppendUvarint(b, uint64(p.length))
	}
	return object.Bytes(b)
}

// each calls fn for every posting; false if the bytes are damaged.
func each(b object.Bytes, fn func(p posting)) bool {
	raw := []byte(b)
	for len(raw) > 0 {
		var v [3]uint64
		for i := range v {
			u, n := binary.Uvarint(raw)
			if n <= 0 || u > math.MaxInt32 {
				return false
			}
			v[i], raw = u, raw[n:]
		}
		fn(posting{int32(v[0]), int32(v[1]), int32(v[2])})
	}
	return true
}

func termKey(term string, doc batos.OID) object.Value {
	return &object.Tuple{Items: []object.Value{object.Str(term), object.NewInt(int64(doc))}}
}

func metaKey(key, value string, doc batos.OID) object.Value {
	return &object.Tuple{Items: []object.Value{object.Str(key), object.Str(value), object.NewInt(int64(doc))}}
}

// maxTerm bounds a term, in bytes; keys of trees are short.
const maxTerm = 64

// Add indexes a document and gives its chunks. One with that id is replaced.
func Add(w Writer, t Trees, chunkParent batos.OID, d Document) (doc batos.OID, chunks []batos.OID, err error) {
	tx := w.Tx()
	if d.ID == "" || len(d.ID) > 512 {
		return 0, nil, batos.Errorf(batos.Invalid, "a document's id has 1 to 512 characters")
	}
	if _, err := Remove(tx, t, d.ID); err != nil {
		return 0, nil, err
	}
	analyze, err := analyzer(d.Language)
	if err != nil {
		return 0, nil, err
	}
	index := map[string][]posting{}
	total := 0
	meta := metadata(d.Metadata)
	for i, c := range d.Chunks {
		terms := analyze(c.Text)
		total += len(terms)
		counts := map[string]int{}
		for _, term := range terms {
			counts[term]++
		}
		for term, n := range counts {
			index[term] = append(index[term], posting{int32(i), int32(n), int32(len(terms))})
		}
		oid, err := w.New(object.Slot{Name: "parent*", Value: object.Ref(chunkParent)}, object.Slot{Name: "document_id", Value: object.Str(d.ID)},
			object.Slot{Name: "chunk_index", Value: object.NewInt(int64(i))}, object.Slot{Name: "text", Value: object.Str(c.Text)}, object.Slot{Name: "metadata", Value: meta})
		if err != nil {
			return 0, nil, err
		}
		chunks = append(chunks, oid)
	}
	all := make([]string, 0, len(index))
	for term := range index {
		all = append(all, term)
	}
	slices.Sort(all)
	slots := []object.Slot{
		{Name: "parent*", Value: object.Ref(chunkParent)}, {Name: "document_id", Value: object.Str(d.ID)}, {Name: "metadata", Value: metadata(d.Metadata)},
		{Name: "language", Value: object.Str(d.Language)}, {Name: "chunker", Value: object.Str(d.Chunker)}, {Name: "length", Value: object.NewInt(int64(total))},
		{Name: "terms", Value: object.Str(strings.Join(all, " "))}, {Name: "chunks", Value: refs(chunks)},
	}
	if v := packVectors(d.Chunks); v != nil {
		slots = append(slots, object.Slot{Name: "vectors", Value: object.Bytes(v)}, object.Slot{Name: "dimensions", Value: object.NewInt(int64(len(d.Chunks[0].Vector)))})
	}
	sum := checksum(d, chunks)
	if doc, err = w.New(append(slots, object.Slot{Name: "checksum", Value: object.NewInt(sum)})...); err != nil {
		return 0, nil, err
	}
	text := tx.Tree(t.Text)
	for _, term := range all {
		if err := text.Set(termKey(term, doc), encodePostings(index[term])); err != nil {
			return 0, nil, err
		}
	}
	for _, m := range d.Metadata {
		if s, ok := m.Value.(object.Str); ok && filters(m.Name, string(s)) {
			if err := tx.Tree(t.Meta).Set(metaKey(m.Name, string(s), doc), object.None{}); err != nil {
				return 0, nil, err
			}
		}
	}
	for i, oid := range chunks {
		if err := tx.Tree(t.Chunks).Set(chunkKey(d.ID, i), object.Ref(oid)); err != nil {
			return 0, nil, err
		}
	}
	if err := tx.Tree(t.Document).Set(object.Str(d.ID), object.Ref(doc)); err != nil {
		return 0, nil, err
	}
	if err := tx.AddCounter(t.Object, countSlot, int64(len(chunks))); err != nil {
		return 0, nil, err
	}
	if err := tx.AddCounter(t.Object, lengthSlot, int64(total)); err != nil {
		return 0, nil, err
	}
	return doc, chunks, tx.AddCounter(t.Object, sumSlot, sum)
}

// checksum is a number of 40 bits that tells a document from all others: sums
// of many millions of them fit a counter.
func checksum(d Document, chunks []batos.OID) int64 {
	h := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		_, _ = io.WriteString(h, s) // a hash takes everything
	}
	write(d.ID)
	write(d.Language)
	for i, c := range d.Chunks {
		write(chunks[i].String())
		write(c.Text)
	}
	write(string(packVectors(d.Chunks)))
	return int64(binary.BigEndian.Uint64(h.Sum(nil)) >> 24)
}

// filters reports whether documents can be filtered by a value of metadata:
// longer ones are kept and not indexed.
func filters(name, value string) bool { return len(value) <= 256 && len(name) <= 128 }

func metadata(slots []object.Slot) *object.Dict {
	d := &object.Dict{}
	for _, s := range slots {
		d.Entries = append(d.Entries, object.Entry{Key: object.Str(s.Name), Value: s.Value})
	}
	return d
}

func refs(oids []batos.OID) *object.List {
	l := &object.List{}
	for _, o := range oids {
		l.Items = append(l.Items, object.Ref(o))
	}
	return l
}

func chunkKey(doc string, i int) object.Value {
	var b [20]byte
	return object.Str(doc + "::" + string(appendInt(b[:0], i)))
}

func appendInt(b []byte, i int) []byte {
	if i >= 10 {
		b = appendInt(b, i/10)
	}
	return append(b, byte('0'+i%10))
}

// Remove takes a document out of the index, and ends it and its chunks. It
// answers false if there is none of that id.
func Remove(tx *image.Tx, t Trees, id string) (bool, error) {
	v, ok, err := tx.Tree(t.Document).Get(object.Str(id))
	if err != nil || !ok {
		return false, err
	}
	ref, _ := v.(object.Ref)
	doc := batos.OID(ref)
	st, err := tx.Load(doc)
	if err != nil {
		return false, err
	}
	get := func(name string) object.Value {
		v, _ := st.Slot(name)
		return v
	}
	terms, _ := get("terms").(object.Str)
	for _, term := range strings.Fields(string(terms)) {
		if _, err := tx.Tree(t.Text).Delete(termKey(term, doc)); err != nil {
			return false, err
		}
	}
	if m, ok := get("metadata").(*object.Dict); ok {
		for _, e := range m.Entries {
			k, isName := e.Key.(object.Str)
			s, isText := e.Value.(object.Str)
			if !isName || !isText || !filters(string(k), string(s)) {
				continue
			}
			if _, err := tx.Tree(t.Meta).Delete(metaKey(string(k), string(s), doc)); err != nil {
				return false, err
			}
		}
	}
	chunks, _ := get("chunks").(*object.List)
	if chunks == nil {
		chunks = &object.List{}
	}
	for i, c := range chunks.Items {
		r, ok := c.(object.Ref)
		if !ok {
			continue
		}
		if _, err := tx.Tree(t.Chunks).Delete(chunkKey(id, i)); err != nil {
			return false, err
		}
		if err := tx.Delete(batos.OID(r)); err != nil {
			return false, err
		}
	}
	length, _ := get("length").(object.Int)
	n, _ := length.Int64()
	if _, err := tx.Tree(t.Document).Delete(object.Str(id)); err != nil {
		return false, err
	}
	if err := tx.AddCounter(t.Object, countSlot, -int64(len(chunks.Items))); err != nil {
		return false, err
	}
	if err := tx.AddCounter(t.Object, lengthSlot, -n); err != nil {
		return false, err
	}
	sum, _ := get("checksum").(object.Int)
	checksum, _ := sum.Int64()
	if err := tx.AddCounter(t.Object, sumSlot, -checksum); err != nil {
		return false, err
	}
	return true, tx.Delete(doc)
}

// Query is what is searched for.
type Query struct {
	Text     string
	Language string            // of Text; "" is [DefaultLanguage]
	Vector   []float32         // of unit length; nil searches text only
	Where    map[string]string // metadata that a document must have
	Top      int               // most hits
}

// Hit is a chunk that was found.
type Hit struct {
	Chunk      batos.OID
	Document   string
	DocumentID batos.OID
	Index      int
	Text       string
	Metadata   *object.Dict
	Score      float64
	BM25       float64 // 0: not found by text
	Cosine     float64 // 0: not found by its vector
	TextRank   int     // from 1; 0: not among them
	VectorRank int
}

// deep is how many hits of each ranking are fused, at least.
const deep = 100

// Search finds the chunks that fit a query best, the best first. The memo keeps
// what was read for the next search; nil reads everything anew, and so does a
// transaction that has changed something, whose documents may yet be taken back.
func Search(tx *image.Tx, t Trees, q Query, memo *Memo) ([]Hit, error) {
	if q.Top < 1 || q.Top > 1000 {
		return nil, batos.Errorf(batos.Invalid, "between 1 and 1000 hits can be asked for, not %d", q.Top)
	}
	if memo == nil || tx.Dirty() {
		memo = new(Memo)
	}
	allowed, err := filter(tx, t, q.Where)
	if err != nil {
		return nil, err
	}
	c, err := contentOf(tx, t)
	if err != nil {
		return nil, err
	}
	want := q.Top
	if q.Vector != nil {
		want = max(want, deep)
	}
	byText, err := bm25(tx, t, c, q, allowed, want, memo)
	if err != nil {
		return nil, err
	}
	var byVector []scored
	if q.Vector != nil {
		if byVector, err = nearest(tx, t, c, q.Vector, allowed, want, memo); err != nil {
			return nil, err
		}
	}
	return fuse(tx, byText, byVector, q.Top)
}

// filter gives the documents that have all of where; nil allows all.
func filter(tx *image.Tx, t Trees, where map[string]string) (map[batos.OID]bool, error) {
	var allowed map[batos.OID]bool
	for key, value := range where {
		found := map[batos.OID]bool{}
		for e, err := range tx.Tree(t.Meta).Range(metaKey(key, value, 0), metaKey(key, value, math.MaxInt64)) {
			if err != nil {
				return nil, err
			}
			doc := lastOf(e.Key)
			if allowed == nil || allowed[doc] {
				found[doc] = true
			}
		}
		allowed = found
	}
	return allowed, nil
}

// lastOf is the document of a key.
func lastOf(key object.Value) batos.OID {
	t, ok := key.(*object.Tuple)
	if !ok || len(t.Items) == 0 {
		return 0
	}
	i, _ := t.Items[len(t.Items)-1].(object.Int)
	n, _ := i.Int64()
	return batos.OID(n)
}

// contentOf tells which documents there are.
func contentOf(tx *image.Tx, t Trees) (content, error) {
	c := content{index: t.Text, documents: t.Document}
	for _, one := range []struct {
		name string
		to   *int64
	}{{countSlot, &c.chunks}, {lengthSlot, &c.length}, {sumSlot, &c.checksum}} {
		v, _, err := tx.Slot(t.Object, one.name)
		if err != nil {
			return c, err
		}
		n, _ := v.(object.Counter)
		*one.to = int64(n)
	}
	return c, nil
}

// fuse joins two rankings and reads what was found.
func fuse(tx *image.Tx, byText, byVector []scored, top int) ([]Hit, error) {
	all := make([]Hit, 0, len(byText)+len(byVector))
	at := make(map[place]int, cap(all))
	for i, s := range byText {
		at[s.at] = len(all)
		all = append(all, Hit{DocumentID: s.at.doc, Index: int(s.at.chunk), Score: s.score, BM25: s.score, TextRank: i + 1})
		if byVector != nil {
			all[i].Score = 1 / float64(FusionK+i+1)
		}
	}
	for i, s := range byVector {
		n, ok := at[s.at]
		if !ok {
			n = len(all)
			at[s.at] = n
			all = append(all, Hit{DocumentID: s.at.doc, Index: int(s.at.chunk)})
		}
		all[n].Cosine, all[n].VectorRank = s.score, i+1
		all[n].Score += 1 / float64(FusionK+i+1)
	}
	r := ranking{most: top}
	for i := range all {
		r.add(scored{place{all[i].DocumentID, int32(all[i].Index)}, all[i].Score})
	}
	var out []Hit
	for _, s := range r.sorted() {
		h := all[at[s.at]]
		if err := h.read(tx); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// read fills in what the chunk says.
func (h *Hit) read(tx *image.Tx) error {
	v, _, err := tx.Slot(h.DocumentID, "chunks")
	if err != nil {
		return err
	}
	l, ok := v.(*object.List)
	if !ok || h.Index >= len(l.Items) {
		return batos.Errorf(batos.Corrupt, "document %s has no chunk %d", h.DocumentID, h.Index)
	}
	ref, _ := l.Items[h.Index].(object.Ref)
	h.Chunk = batos.OID(ref)
	st, err := tx.Load(h.Chunk)
	if err != nil {
		return err
	}
	for _, s := range st.Slots() {
		switch v := s.Value.(type) {
		case object.Str:
			if s.Name == "text" {
				h.Text = string(v)
			}
			if s.Name == "document_id" {
				h.Document = string(v)
			}
		case *object.Dict:
			h.Metadata = v
		}
	}
	return nil
}
