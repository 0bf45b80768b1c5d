package kernel

import (
	"context"
	"encoding/binary"
	"math"

	"batos"
	"batos/image"
	"batos/internal/catalog"
	"batos/internal/exec"
	"batos/internal/mind"
	"batos/object"
)

// effectEmbed is the effect of turning texts into vectors.
const effectEmbed = "embed"

// Names of the objects of the knowledge catalog.
const (
	catalogObject = "knowledge_catalog_obj"
	chunkObject   = "catalog_chunk_obj"
)

// embedder is the engine for vectors, or nil: then text alone is searched.
func (k *Kernel) embedder() mind.Embedder { return k.config.Embedder }

// catalogTrees finds where the index of a catalog object lies.
func catalogTrees(tx *image.Tx, oid batos.OID) (catalog.Trees, error) {
	t := catalog.Trees{Object: oid}
	for name, to := range map[string]*object.Tree{"text_index": &t.Text, "metadata_index": &t.Meta, "chunk_storage": &t.Chunks, "documents": &t.Document} {
		v, _, err := tx.Slot(oid, name)
		if err != nil {
			return t, err
		}
		tree, ok := v.(object.Tree)
		if !ok {
			return t, batos.Errorf(batos.Invalid, "%s holds no tree in its slot %s: it is no catalog", oid, name)
		}
		*to = tree
	}
	return t, nil
}

// primSplit: split_(text, chunker) answers the chunks of a document, and the
// sentences' likeness is by words or, given them, by the vectors of sentences.
func primSplit(c *exec.Call) (object.Value, error) {
	if err := arity(c, 2, 3); err != nil {
		return nil, err
	}
	var like catalog.Similarity
	if len(c.Args()) == 3 {
		vs, err := vectorsOf(c.Args()[2])
		if err != nil {
			return nil, err
		}
		like = func(sentences []string) ([]float64, error) {
			if len(vs) != len(sentences) {
				return nil, batos.Errorf(batos.Invalid, "%d vectors were given for %d sentences", len(vs), len(sentences))
			}
			out := make([]float64, 0, len(vs))
			for i := 1; i < len(vs); i++ {
				s := 0.0
				for j := range vs[i] {
					s += float64(vs[i-1][j]) * float64(vs[i][j])
				}
				out = append(out, s)
			}
			return out, nil
		}
	}
	chunks, err := catalog.Split(strOf(c.Args()[1]), strOf(c.Args()[0]), like)
	if err != nil {
		return nil, err
	}
	return strList(chunks), nil
}

// primSentences: sentences_(text) answers its sentences.
func primSentences(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	return strList(catalog.Sentences(strOf(c.Args()[0]))), nil
}

// primEmbeds: embeds_() tells whether there is an engine for vectors.
func (k *Kernel) primEmbeds(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	return c.Inline("embeds", object.None{}, func() (object.Value, error) { return object.Bool(k.embedder() != nil), nil })
}

// primEmbed: embed_(texts) answers a vector for each text, as bytes.
func (k *Kernel) primEmbed(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	return c.Effect(effectEmbed, false, new(dict).set("texts", c.Args()[0]).value())
}

// embed carries out primEmbed.
func (k *Kernel) embed(ctx context.Context, args fields) (object.Value, error) {
	e := k.embedder()
	if e == nil {
		return nil, batos.Errorf(batos.Offline, "there is no embedder; start batos up with --embedder FILE.gguf")
	}
	ctx, cancel := context.WithTimeout(ctx, inferTimeout)
	defer cancel()
	vs, err := e.Embed(ctx, stringsOf(args.get("texts")))
	if err != nil {
		return nil, err
	}
	out := &object.List{}
	for _, v := range vs {
		b := make([]byte, 0, 4*len(v))
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		out.Items = append(out.Items, object.Bytes(b))
	}
	return out, nil
}

// vectorsOf reads what embed_ answered.
func vectorsOf(v object.Value) ([][]float32, error) {
	var out [][]float32
	for _, it := range itemsOf(v) {
		b, ok := it.(object.Bytes)
		if !ok || len(b) == 0 || len(b)%4 != 0 {
			return nil, batos.Errorf(batos.Invalid, "a vector is bytes that embed_ answered, not %s", object.Text(it, 40))
		}
		one := make([]float32, len(b)/4)
		for i := range one {
			one[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
		}
		out = append(out, one)
	}
	return out, nil
}

// mayCatalog demands more than generated code's authority to change what
// everybody's questions are answered from.
func mayCatalog(c *exec.Call) error {
	if a := c.Authority(); a < batos.Genesis {
		return batos.Errorf(batos.Denied, "%s changes the knowledge catalog; code of %s authority may only search it", c.Selector(), a)
	}
	return nil
}

// primAdd: add_({id, chunks, metadata, language, chunker, vectors}) indexes a
// document whose chunks were made, in place of one of that id, and answers the
// chunks' objects.
func (k *Kernel) primAdd(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	if err := mayCatalog(c); err != nil {
		return nil, err
	}
	in := fieldsOf(c.Args()[0])
	d := catalog.Document{ID: in.str("id"), Language: in.str("language"), Chunker: in.str("chunker")}
	vs, err := vectorsOf(in.get("vectors"))
	if err != nil {
		return nil, err
	}
	texts := stringsOf(in.get("chunks"))
	if len(vs) > 0 && len(vs) != len(texts) {
		return nil, batos.Errorf(batos.Invalid, "%d vectors were given for %d chunks", len(vs), len(texts))
	}
	for i, text := range texts {
		chunk := catalog.Chunk{Text: text}
		if len(vs) > 0 {
			chunk.Vector = vs[i]
		}
		d.Chunks = append(d.Chunks, chunk)
	}
	meta, ok := in.get("metadata").(*object.Dict)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "metadata is a dict of names and values")
	}
	for _, e := range meta.Entries {
		name, ok := e.Key.(object.Str)
		if !ok {
			return nil, batos.Errorf(batos.Invalid, "a key of metadata is a text, not a %s", e.Key.Kind())
		}
		d.Metadata = append(d.Metadata, object.Slot{Name: string(name), Value: e.Value})
	}
	t, err := k.vouchedCatalog(c, d.ID)
	if err != nil {
		return nil, err
	}
	parent, ok, err := c.Tx().Name(chunkObject)
	if err != nil || !ok {
		return nil, cmpNotFound(err, chunkObject)
	}
	_, chunks, err := catalog.Add(c, t, parent, d)
	if err != nil {
		return nil, err
	}
	out := &object.List{}
	for _, oid := range chunks {
		out.Items = append(out.Items, object.Ref(oid))
	}
	return out, nil
}

// vouchedCatalog finds the receiver's index, and vouches for what changing the
// document of that id will write.
func (k *Kernel) vouchedCatalog(c *exec.Call, id string) (catalog.Trees, error) {
	t, err := catalogTrees(c.Tx(), c.Receiver())
	if err != nil {
		return t, err
	}
	for _, oid := range []batos.OID{t.Object, batos.OID(t.Text), batos.OID(t.Meta), batos.OID(t.Chunks), batos.OID(t.Document)} {
		c.Vouch(oid)
	}
	v, ok, err := c.Tx().Tree(t.Document).Get(object.Str(id))
	if err != nil || !ok {
		return t, err
	}
	c.Vouch(refOf(v))
	chunks, _, err := c.Tx().Slot(refOf(v), "chunks")
	for _, it := range itemsOf(chunks) {
		c.Vouch(refOf(it))
	}
	return t, err
}

// primRemove: remove_(doc_id) takes a document out; False if there is none.
func (k *Kernel) primRemove(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	if err := mayCatalog(c); err != nil {
		return nil, err
	}
	t, err := k.vouchedCatalog(c, strOf(c.Args()[0]))
	if err != nil {
		return nil, err
	}
	ok, err := catalog.Remove(c.Tx(), t, strOf(c.Args()[0]))
	return object.Bool(ok), err
}

// primFindChunks: find_(query, top_k, where, vector, language) answers the chunks that fit best.
func (k *Kernel) primFindChunks(c *exec.Call) (object.Value, error) {
	if err := arity(c, 4, 5); err != nil {
		return nil, err
	}
	q := catalog.Query{Text: strOf(c.Args()[0]), Top: int(intOf(c.Args()[1]))}
	if where, ok := c.Args()[2].(*object.Dict); ok {
		q.Where = map[string]string{}
		for _, e := range where.Entries {
			key, isName := e.Key.(object.Str)
			value, isText := e.Value.(object.Str)
			if !isName || !isText {
				return nil, batos.Errorf(batos.Invalid, "where is a dict of names and texts of the metadata")
			}
			q.Where[string(key)] = string(value)
		}
	}
	if len(c.Args()) == 5 {
		q.Language = strOf(c.Args()[4])
	}
	if b, ok := c.Args()[3].(object.Bytes); ok {
		vs, err := vectorsOf(&object.List{Items: []object.Value{b}})
		if err != nil {
			return nil, err
		}
		q.Vector = vs[0]
	}
	t, err := catalogTrees(c.Tx(), c.Receiver())
	if err != nil {
		return nil, err
	}
	hits, err := catalog.Search(c.Tx(), t, q, &k.memo)
	if err != nil {
		return nil, err
	}
	by := "text"
	if q.Vector != nil {
		by = "text and vectors"
	}
	out := &object.List{}
	for _, h := range hits {
		meta := h.Metadata
		if meta == nil {
			meta = &object.Dict{}
		}
		parts := new(dict).set("bm25", object.Float(h.BM25)).set("cosine", object.Float(h.Cosine)).int("text_rank", int64(h.TextRank)).int("vector_rank", int64(h.VectorRank)).value()
		out.Items = append(out.Items, new(dict).ref("chunk", h.Chunk).str("document", h.Document).int("index", int64(h.Index)).str("text", h.Text).
			set("metadata", meta).set("score", object.Float(h.Score)).set("parts", parts).str("by", by).value())
	}
	return out, nil
}

// primList: list_(after, limit) answers the documents whose id comes after that one,
// by id: {document, id, chunks, metadata, language, chunker, dimensions}; the
// last is 0 for a document without vectors.
func (k *Kernel) primList(c *exec.Call) (object.Value, error) {
	if err := arity(c, 2, 2); err != nil {
		return nil, err
	}
	limit := intOf(c.Args()[1])
	if limit < 1 || limit > 1000 {
		return nil, batos.Errorf(batos.Invalid, "between 1 and 1000 documents can be listed at once, not %d", limit)
	}
	t, err := catalogTrees(c.Tx(), c.Receiver())
	if err != nil {
		return nil, err
	}
	after := object.Str(strOf(c.Args()[0]))
	out := &object.List{}
	for e, err := range c.Tx().Tree(t.Document).Range(after, nil) {
		if err != nil {
			return nil, err
		}
		if e.Key == object.Value(after) {
			continue
		}
		if int64(len(out.Items)) == limit {
			break
		}
		st, err := c.Tx().Load(refOf(e.Value))
		if err != nil {
			return nil, err
		}
		one := new(dict).ref("document", refOf(e.Value)).str("id", strOf(e.Key))
		for _, name := range []string{"metadata", "language", "chunker"} {
			if v, ok := st.Slot(name); ok {
				one.set(name, v)
			}
		}
		dim, _ := st.Slot("dimensions")
		chunks, _ := st.Slot("chunks")
		out.Items = append(out.Items, one.int("dimensions", intOf(dim)).int("chunks", int64(len(itemsOf(chunks)))).value())
	}
	return out, nil
}
