package catalog

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"batos"
	"batos/image"
	"batos/internal/vfs"
	"batos/object"
)

// shelf is an image with an empty catalog in it.
type shelf struct {
	t     *testing.T
	im    *image.Image
	trees Trees
}

// plainWriter makes objects without the kernel's checks.
type plainWriter struct{ tx *image.Tx }

func (w plainWriter) Tx() *image.Tx { return w.tx }
func (w plainWriter) New(slots ...object.Slot) (batos.OID, error) {
	return w.tx.Create(object.NewState(object.Protected, batos.Genesis, slots...))
}

func newShelf(t *testing.T, fs vfs.FS) *shelf {
	t.Helper()
	im, err := image.Open(t.Context(), "img", image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = im.Close() })
	s := &shelf{t: t, im: im}
	if err := s.furnish(); err != nil {
		t.Fatal(err)
	}
	return s
}

// furnish makes the empty catalog.
func (s *shelf) furnish() error {
	_, err := s.im.Update(s.t.Context(), func(tx *image.Tx) (err error) {
		var slots []object.Slot
		for name, to := range map[string]*object.Tree{"text": &s.trees.Text, "meta": &s.trees.Meta, "chunks": &s.trees.Chunks, "documents": &s.trees.Document} {
			if *to, err = tx.NewTree(); err != nil {
				return err
			}
			slots = append(slots, object.Slot{Name: name, Value: *to})
		}
		slots = append(slots, object.Slot{Name: countSlot, Value: object.Counter(0)}, object.Slot{Name: lengthSlot, Value: object.Counter(0)}, object.Slot{Name: sumSlot, Value: object.Counter(0)})
		s.trees.Object, err = tx.Create(object.NewState(object.Protected, batos.Genesis, slots...))
		return err
	})
	return err
}

func (s *shelf) add(id, text string, meta ...object.Slot) batos.TID {
	s.t.Helper()
	chunks, err := Split(Recursive, text, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	d := Document{ID: id, Metadata: meta, Language: DefaultLanguage, Chunker: Recursive}
	for _, c := range chunks {
		d.Chunks = append(d.Chunks, Chunk{Text: c, Vector: hashed(c)})
	}
	tid, err := s.im.Update(s.t.Context(), func(tx *image.Tx) error {
		_, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, d)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return tid
}

func (s *shelf) remove(id string) bool {
	s.t.Helper()
	was := false
	if _, err := s.im.Update(s.t.Context(), func(tx *image.Tx) (err error) {
		was, err = Remove(tx, s.trees, id)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return was
}

func (s *shelf) search(q Query) []Hit {
	s.t.Helper()
	var hits []Hit
	if err := s.im.View(s.t.Context(), func(tx *image.Tx) (err error) {
		hits, err = Search(tx, s.trees, q, nil)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return hits
}

// hashed is a vector of a text's words: enough to see vectors at work, and no
// model.
func hashed(text string) []float32 {
	v := make([]float32, 16)
	terms, _ := Analyze(Plain, text)
	sum := 0.0
	for _, t := range terms {
		h := uint32(2166136261)
		for _, c := range []byte(t) {
			h = (h ^ uint32(c)) * 16777619
		}
		v[h%16]++
	}
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(max(sum, 1e-9)))
	}
	return v
}

func documents(hits []Hit) []string {
	var out []string
	for _, h := range hits {
		out = append(out, h.Document)
	}
	return out
}

func TestFindsWhatDocumentsSay(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	s.add("fox", "The quick brown foxes were jumping over lazy dogs.", object.Slot{Name: "kind", Value: object.Str("tale")})
	s.add("dog", "A dog sleeps. It does nothing else all day long.", object.Slot{Name: "kind", Value: object.Str("fact")})
	s.add("code", "func parseHTTPHeader(raw_value string) error", object.Slot{Name: "kind", Value: object.Str("source")})
	for query, want := range map[string][]string{
		"jump": {"fox"}, "sleeping": {"dog"}, "the of and": nil, "header": {"code"}, "HTTP value": {"code"}, "parseHTTPHeader": {"code"}, "zebra": nil, "": nil,
	} {
		if got := documents(s.search(Query{Text: query, Top: 5})); !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", query, got, want)
		}
	}
	if got := documents(s.search(Query{Text: "dog", Top: 5, Where: map[string]string{"kind": "tale"}})); !slices.Equal(got, []string{"fox"}) {
		t.Errorf("with a filter: %v", got)
	}
	if got := s.search(Query{Text: "dog", Top: 5, Where: map[string]string{"kind": "none"}}); len(got) != 0 {
		t.Errorf("with a filter that nothing passes: %v", got)
	}
	h := s.search(Query{Text: "dog", Top: 1})[0]
	if h.Chunk == 0 || h.Text == "" || h.BM25 <= 0 || h.Score != h.BM25 || h.TextRank != 1 || h.VectorRank != 0 || len(h.Metadata.Entries) != 1 {
		t.Errorf("%+v", h)
	}
	both := s.search(Query{Text: "dog", Vector: hashed("A dog sleeps. It does nothing else all day long."), Top: 3})
	if len(both) == 0 || both[0].Document != "dog" || both[0].VectorRank != 1 || math.Abs(both[0].Score-1.0/61-1.0/float64(60+both[0].TextRank)) > 1e-9 {
		t.Errorf("fused: %+v", both)
	}
	s.add("dog", "A cat purrs.")
	if got := documents(s.search(Query{Text: "sleep", Top: 5})); got != nil {
		t.Errorf("a replaced document is found: %v", got)
	}
	if !s.remove("fox") || s.remove("fox") || len(s.search(Query{Text: "jump", Top: 5})) != 0 {
		t.Error("a removed document is found")
	}
	for _, q := range []Query{{Text: "x"}, {Text: "x", Top: 1001}} {
		if err := s.im.View(t.Context(), func(tx *image.Tx) error { _, err := Search(tx, s.trees, q, nil); return err }); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// reference ranks by the formula itself, from the texts.
func reference(docs map[string]string, query string) map[string]float64 {
	type chunk struct {
		id    string
		terms []string
	}
	var all []chunk
	total := 0
	for id, text := range docs {
		cs, _ := Split(Recursive, text, nil)
		for i, c := range cs {
			terms, _ := Analyze(DefaultLanguage, c)
			all = append(all, chunk{fmt.Sprintf("%s::%d", id, i), terms})
			total += len(terms)
		}
	}
	out := map[string]float64{}
	n := float64(len(all))
	terms, _ := Terms("", query)
	for _, q := range terms {
		df := 0.0
		for _, c := range all {
			if slices.Contains(c.terms, q) {
				df++
			}
		}
		idf := math.Log((n - df + 0.5) / (df + 0.5))
		if idf <= 0 {
			idf = 1e-6
		}
		for _, c := range all {
			tf := 0.0
			for _, term := range c.terms {
				if term == q {
					tf++
				}
			}
			if tf > 0 {
				out[c.id] += idf * tf * (K1 + 1) / (tf + K1*(1-B+B*float64(len(c.terms))/(float64(total)/n)))
			}
		}
	}
	return out
}

var vocabulary = strings.Fields("log page tree commit undo branch pack blob object slot message mission adapter persona engine token vector index crash replay journal snapshot")

func sentence(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(vocabulary[int(float64(len(vocabulary))*r.Float64()*r.Float64())])
		if r.IntN(12) == 0 {
			b.WriteString(".\n\n")
		}
	}
	return b.String()
}

// Documents are added, changed, removed, undone, looked at in the past, on a
// branch and after a pack: the index always finds what a new one would.
func TestIndexEqualsDocuments(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := newShelf(t, vfs.NewMem())
			docs := map[string]string{}
			type moment struct {
				tid  batos.TID
				docs map[string]string
			}
			var past []moment
			check := func(tx *image.Tx, docs map[string]string) {
				t.Helper()
				query := sentence(r, 1+r.IntN(3))
				want := reference(docs, query)
				hits, err := Search(tx, s.trees, Query{Text: query, Top: 1000}, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]float64{}
				for i, h := range hits {
					got[fmt.Sprintf("%s::%d", h.Document, h.Index)] = h.BM25
					if i > 0 && h.Score > hits[i-1].Score {
						t.Error("the hits are out of order")
					}
				}
				if len(got) != len(want) {
					t.Fatalf("%q: %d chunks are found, %d have it", query, len(got), len(want))
				}
				for id, score := range want {
					if math.Abs(got[id]-score) > 1e-9 {
						t.Errorf("%q: %s has %g, want %g", query, id, got[id], score)
					}
				}
			}
			now := func() {
				t.Helper()
				if err := s.im.View(t.Context(), func(tx *image.Tx) error { check(tx, docs); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			for range 40 {
				id := fmt.Sprintf("d%d", r.IntN(8))
				before := clone(docs)
				switch r.IntN(6) {
				case 0:
					if _, had := docs[id]; s.remove(id) != had {
						t.Fatal("removed what was not there, or not what was")
					}
					delete(docs, id)
				case 1:
					docs[id] = sentence(r, 20+r.IntN(900))
					tid := s.add(id, docs[id])
					if _, err := s.im.Undo(t.Context(), tid, image.Meta{}); err != nil {
						t.Fatal("an addition cannot be undone: ", err)
					}
					docs = before
				case 2:
					docs[id] = sentence(r, 20+r.IntN(100))
					first := s.add(id, docs[id])
					other := "other" + id
					docs[other] = sentence(r, 20+r.IntN(100))
					s.add(other, docs[other])
					if _, err := s.im.Undo(t.Context(), first, image.Meta{}); err != nil {
						t.Fatal("an addition that is not the newest cannot be undone: ", err)
					}
					delete(docs, id)
					if old, had := before[id]; had {
						docs[id] = old
					}
				default:
					docs[id] = sentence(r, 20+r.IntN(900))
					s.add(id, docs[id])
				}
				now()
				past = append(past, moment{s.im.LastTID(), clone(docs)})
			}
			for range 20 {
				m := past[r.IntN(len(past))]
				tx, err := s.im.BeginAt(t.Context(), m.tid)
				if err != nil {
					t.Fatal(err)
				}
				check(tx, m.docs)
				tx.Abort()
			}
			if _, err := s.im.Pack(t.Context(), image.PackOptions{Before: s.im.LastTID()}); err != nil {
				t.Fatal(err)
			}
			now()
		})
	}
}

func clone(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// Documents that are added side by side do not conflict.
func TestAddSideBySide(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	var txs []*image.Tx
	for i := range 4 {
		tx, err := s.im.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d := Document{ID: fmt.Sprint(i), Language: DefaultLanguage, Chunks: []Chunk{{Text: "the same words in all of them"}}}
		if _, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, d); err != nil {
			t.Fatal(err)
		}
		txs = append(txs, tx)
	}
	for i, tx := range txs {
		if _, err := tx.Commit(context.Background()); err != nil {
			t.Errorf("document %d: %v", i, err)
		}
	}
	if got := s.search(Query{Text: "words", Top: 10}); len(got) != 4 {
		t.Errorf("%d found", len(got))
	}
}

// A crash leaves whole documents or none: the index finds exactly the chunks
// of the documents that are there, and every acknowledged one is.
func TestCrashLeavesIndexAndDocumentsOne(t *testing.T) {
	life := func(fs *vfs.Crash, acknowledged map[string]string) (Trees, error) {
		im, err := image.Open(t.Context(), "img", image.Options{FS: fs})
		if err != nil {
			return Trees{}, err
		}
		defer func() { _ = im.Close() }() // it may have crashed
		s := &shelf{t: t, im: im}
		if err := s.furnish(); err != nil {
			return Trees{}, err
		}
		r := rand.New(rand.NewPCG(9, 2))
		for i := range 4 {
			id, text := fmt.Sprint(i), sentence(r, 500)
			chunks, _ := Split(Recursive, text, nil)
			d := Document{ID: id, Language: DefaultLanguage}
			for _, c := range chunks {
				d.Chunks = append(d.Chunks, Chunk{Text: c})
			}
			if _, err := im.Update(t.Context(), func(tx *image.Tx) error {
				_, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, d)
				return err
			}); err != nil {
				return s.trees, err
			}
			acknowledged[id] = text
		}
		return s.trees, nil
	}
	whole := vfs.NewCrash(1)
	if _, err := life(whole, map[string]string{}); err != nil {
		t.Fatal(err)
	}
	calls := whole.Calls()
	points := 0
	for n := 1; n < calls; n += max(1, calls/40) {
		fs := vfs.NewCrash(uint64(n))
		fs.StopAt(n)
		kept := map[string]string{}
		trees, err := life(fs, kept)
		if err == nil {
			continue // the power failed while it was closed
		}
		fs.Crash()
		im, err := image.Open(t.Context(), "img", image.Options{FS: fs})
		if err != nil {
			t.Fatalf("crash at %d: %v", n, err)
		}
		if trees.Object != 0 {
			points++
			again := &shelf{t: t, im: im, trees: trees}
			again.consistent(kept)
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if points < 5 {
		t.Errorf("only %d crashes left a catalog to look at", points)
	}
}

// consistent checks that the index has what the documents say, and that there
// are at least the acknowledged ones.
func (s *shelf) consistent(acknowledged map[string]string) {
	s.t.Helper()
	docs := map[string]string{}
	if err := s.im.View(s.t.Context(), func(tx *image.Tx) error {
		for e, err := range tx.Tree(s.trees.Document).Range(nil, nil) {
			if err != nil {
				return err
			}
			ref, _ := e.Value.(object.Ref)
			v, _, err := tx.Slot(batos.OID(ref), "chunks")
			if err != nil {
				return err
			}
			var text []string
			for _, c := range v.(*object.List).Items {
				st, err := tx.Load(batos.OID(c.(object.Ref)))
				if err != nil {
					return err
				}
				said, _ := st.Slot("text")
				text = append(text, string(said.(object.Str)))
			}
			docs[string(e.Key.(object.Str))] = strings.Join(text, "\n\n")
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	for id := range acknowledged {
		if docs[id] == "" {
			s.t.Errorf("document %s was acknowledged and is not there", id)
		}
	}
	if len(docs) > len(acknowledged)+1 {
		s.t.Errorf("%d documents of %d", len(docs), len(acknowledged))
	}
	for _, word := range vocabulary[:6] {
		stem, _ := Analyze(DefaultLanguage, word)
		want := 0
		for _, text := range docs {
			terms, _ := Analyze(DefaultLanguage, text)
			for _, term := range terms {
				if term == stem[0] {
					want++
				}
			}
		}
		got := 0
		if err := s.im.View(s.t.Context(), func(tx *image.Tx) error {
			for e, err := range tx.Tree(s.trees.Text).Range(termKey(stem[0], 0), termKey(stem[0], math.MaxInt64)) {
				if err != nil {
					return err
				}
				if !each(e.Value.(object.Bytes), func(p posting) { got += int(p.tf) }) {
					return batos.Errorf(batos.Corrupt, "damaged")
				}
			}
			return nil
		}); err != nil {
			s.t.Fatal(err)
		}
		if got != want {
			s.t.Errorf("%q stands %d times in the documents, %d times in the index", word, want, got)
		}
	}
}

// A query is cut as the documents of its language are.
func TestQueryInALanguage(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	if _, err := s.im.Update(t.Context(), func(tx *image.Tx) error {
		_, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, Document{ID: "fr", Language: "french", Chunks: []Chunk{{Text: "Les chevaux mangeaient."}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := documents(s.search(Query{Text: "cheval", Language: "french", Top: 3})); !slices.Equal(got, []string{"fr"}) {
		t.Errorf("%v", got)
	}
	if err := s.im.View(t.Context(), func(tx *image.Tx) error {
		_, err := Search(tx, s.trees, Query{Text: "x", Language: "klingon", Top: 3}, nil)
		return err
	}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("%v", err)
	}
}

func TestAnalyze(t *testing.T) {
	for _, c := range []struct{ language, text, want string }{
		{"english", "The runners were running, quickly!", "runner run quick"},
		{"english", "don't", "don't"},
		{"plain", "HTTPServer snake_case x", "httpserver http server snake_case snake case x"},
		{"english", "naïve café 3.14 東京", "naïv café 3.14 東 京"},
		{"french", "les chevaux mangeaient", "le cheval mang"},
		{"english", "", ""},
		{"english", "___ --- !!!", ""},
	} {
		got, err := Analyze(c.language, c.text)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s %q: %q, %v; want %q", c.language, c.text, got, err, c.want)
		}
	}
	if _, err := Analyze("klingon", "x"); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("%v", err)
	}
}

// The shortcut for plain words changes nothing.
func TestShortcutEqualsTheRules(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	letters := []rune("ab_1 .,'-:()\n\"é中")
	for range 3000 {
		text := make([]rune, r.IntN(12))
		for i := range text {
			text[i] = letters[r.IntN(len(letters))]
		}
		var fast []string
		words(string(text), func(w string) { fast = append(fast, w) })
		if slow := slowWords(string(text)); !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%q: %q, by the rules %q", string(text), fast, slow)
		}
	}
}

func TestParts(t *testing.T) {
	for _, unit := range []string{"é", "a line\n", "a paragraph\nof two lines\n\n"} {
		text := strings.Repeat(unit, 3*partMost/len(unit))
		parts := Parts(text)
		if strings.Join(parts, "") != text || len(parts) < 3 || len(parts) > 6 {
			t.Errorf("%q: %d parts", unit, len(parts))
		}
		for _, p := range parts {
			if len(p) > partMost || !utf8.ValidString(p) {
				t.Errorf("%q: a part of %d bytes", unit, len(p))
			}
		}
	}
}

func TestSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	long := sentence(r, 3000) + "\n# Heading\n" + strings.Repeat("x", 9000) + " end."
	for _, chunker := range []string{Recursive, Semantic} {
		chunks, err := Split(chunker, long, nil)
		if err != nil || len(chunks) < 5 {
			t.Fatalf("%s: %d, %v", chunker, len(chunks), err)
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(strings.Join(chunks, "")) != squeeze(long) {
			t.Errorf("%s loses or adds text", chunker)
		}
		for _, c := range chunks {
			if Tokens(c) > chunkMost {
				t.Errorf("%s: a chunk of %d tokens", chunker, Tokens(c))
			}
		}
	}
	two := strings.Repeat("Cats purr and cats sleep and cats hunt mice at night. ", 12) + strings.Repeat("The engine loads weights and the engine computes tokens. ", 12)
	chunks, err := Split(Semantic, two, nil)
	if err != nil || len(chunks) < 2 || !strings.HasPrefix(chunks[1], "The engine loads") && !strings.HasPrefix(chunks[len(chunks)-1], "The engine") {
		t.Errorf("%q, %v", chunks, err)
	}
	short := "Cats purr. The engine loads weights."
	if chunks, err := Split(Semantic, short, nil); err != nil || len(chunks) != 1 {
		t.Errorf("a short document in pieces: %q, %v", chunks, err)
	}
	if _, err := Split("random", "x", nil); batos.CodeOf(err) != batos.Invalid {
		t.Error(err)
	}
	if got, err := Split(Recursive, " \n ", nil); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}
