package main

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"

	"batos"
	"batos/image"
	"batos/internal/catalog"
	"batos/object"
)

// The suites catalog.… measure the knowledge catalog on the sources of the Go
// distribution that builds this program, and on questions about them.

// catalogQuestions has one question a line: the question, the file that answers
// it, and words that the answering chunk has. They were written before the
// chunkers and the ranking were tuned.
//
//go:embed catalog_questions.tsv
var catalogQuestions string

// question is one of catalogQuestions.
type question struct{ text, file, words string }

func questions() []question {
	var out []question
	for line := range strings.Lines(catalogQuestions) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 3 && !strings.HasPrefix(line, "#") {
			out = append(out, question{f[0], f[1], oneLine(f[2])})
		}
	}
	return out
}

// oneLine is a text as it reads when nothing depends on where lines end.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n//", "\n")), " ")
}

// source is one file of the corpus.
type source struct{ name, text string }

// corpus reads the packages of the Go distribution, tests and commands left
// out, or all of its Go files.
func corpus(ctx context.Context, all bool) ([]source, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("the corpus is the Go distribution: %w", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	var files []source
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() && (d.Name() == "testdata" || name == "cmd" && !all) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") && !all {
			return nil
		}
		b, err := os.ReadFile(path)
		files = append(files, source{name, strings.ToValidUTF8(string(b), "\uFFFD")})
		return err
	})
	return files, err
}

// library is a catalog in an image of its own.
type library struct {
	im     *image.Image
	trees  catalog.Trees
	parent batos.OID
	chunks int
}

func openLibrary(ctx context.Context, dir string) (*library, error) {
	im, err := image.Open(ctx, dir, image.Options{})
	if err != nil {
		return nil, err
	}
	l := &library{im: im}
	_, err = im.Update(ctx, func(tx *image.Tx) error {
		for _, t := range []*object.Tree{&l.trees.Text, &l.trees.Meta, &l.trees.Chunks, &l.trees.Document} {
			if *t, err = tx.NewTree(); err != nil {
				return err
			}
		}
		if l.parent, err = tx.Create(object.NewState(object.Protected, batos.Genesis)); err != nil {
			return err
		}
		l.trees.Object, err = tx.Create(object.NewState(object.Protected, batos.Genesis,
			object.Slot{Name: "total_chunks", Value: object.Counter(0)}, object.Slot{Name: "total_length", Value: object.Counter(0)}, object.Slot{Name: "content_sum", Value: object.Counter(0)},
			object.Slot{Name: "text_index", Value: l.trees.Text}, object.Slot{Name: "metadata_index", Value: l.trees.Meta},
			object.Slot{Name: "chunk_storage", Value: l.trees.Chunks}, object.Slot{Name: "documents", Value: l.trees.Document}))
		if err != nil {
			return err
		}
		return tx.SetName("knowledge_catalog_obj", l.trees.Object)
	})
	return l, err
}

// librarian makes objects without asking for anybody's authority.
type librarian struct{ tx *image.Tx }

func (l librarian) Tx() *image.Tx { return l.tx }

func (l librarian) New(slots ...object.Slot) (batos.OID, error) {
	return l.tx.Create(object.NewState(object.Protected, batos.Genesis, slots...))
}

// add indexes documents in one transaction.
func (l *library) add(ctx context.Context, docs []catalog.Document) error {
	n := 0
	_, err := l.im.Update(ctx, func(tx *image.Tx) error {
		n = 0
		for _, d := range docs {
			if _, _, err := catalog.Add(librarian{tx}, l.trees, l.parent, d); err != nil {
				return fmt.Errorf("%s: %w", d.ID, err)
			}
			n += len(d.Chunks)
		}
		return nil
	})
	l.chunks += n
	return err
}

// cut makes documents of files.
func cut(files []source, chunker string) ([]catalog.Document, error) {
	var out []catalog.Document
	for _, f := range files {
		chunks, err := catalog.Split(chunker, f.text, nil)
		if err != nil {
			return nil, err
		}
		d := catalog.Document{ID: f.name, Language: catalog.DefaultLanguage, Chunker: chunker}
		for _, c := range chunks {
			d.Chunks = append(d.Chunks, catalog.Chunk{Text: c})
		}
		out = append(out, d)
	}
	return out, nil
}

// batches groups documents into transactions of at least 100 chunks.
func batches(docs []catalog.Document) [][]catalog.Document {
	var out [][]catalog.Document
	n, begin := 0, 0
	for i, d := range docs {
		if n += len(d.Chunks); n >= 100 || i == len(docs)-1 {
			out = append(out, docs[begin:i+1])
			n, begin = 0, i+1
		}
	}
	return out
}

// catalogSpeed measures indexing and queries against bleve on disk: the same
// documents, the same batches, each durable before the next begins.
func catalogSpeed(ctx context.Context, dir string, emit func(Figure)) error {
	files, err := corpus(ctx, false)
	if err != nil {
		return err
	}
	if !*full {
		files = files[:len(files)/6]
	}
	docs, err := cut(files, catalog.Recursive)
	if err != nil {
		return err
	}
	if *full { // 100,000 chunks: the same files under further names
		whole := docs
		for copy, n := 1, chunksOf(docs); n < 100_000; copy++ {
			for _, d := range whole {
				if n < 100_000 {
					d.ID = fmt.Sprintf("%d/%s", copy, d.ID)
					docs = append(docs, d)
					n += len(d.Chunks)
				}
			}
		}
	}
	const dim = 384
	rng := rand.New(rand.NewPCG(6, 384))
	for _, d := range docs { // copies share their chunks, and so their vectors
		for i := range d.Chunks {
			if d.Chunks[i].Vector == nil {
				d.Chunks[i].Vector = unit(rng, dim)
			}
		}
	}
	l, err := openLibrary(ctx, filepath.Join(dir, "image"))
	if err != nil {
		return err
	}
	defer l.im.Close()
	peer, err := bleve.NewUsing(filepath.Join(dir, "bleve"), bleve.NewIndexMapping(), scorch.Name, scorch.Name, nil)
	if err != nil {
		return err
	}
	defer peer.Close()
	var ours, theirs time.Duration
	for _, batch := range batches(docs) {
		began := time.Now()
		b := peer.NewBatch()
		for _, d := range batch {
			for i, c := range d.Chunks {
				if err := b.Index(fmt.Sprintf("%s::%d", d.ID, i), map[string]string{"text": c.Text}); err != nil {
					return err
				}
			}
		}
		if err := peer.Batch(b); err != nil {
			return err
		}
		theirs += time.Since(began)
		began = time.Now()
		if err := l.add(ctx, batch); err != nil {
			return err
		}
		ours += time.Since(began)
	}
	n := float64(l.chunks)
	emit(Figure{Name: "catalog.index", Value: n / ours.Seconds(), Unit: "chunks/s", Against: n / theirs.Seconds(), Bar: 0.5})
	stats := l.im.Stats()
	emit(Figure{Name: "catalog.size", Value: float64(stats.LogBytes) / n, Unit: "bytes/chunk"})

	var text, hybrid, peers, scans []time.Duration
	var memo catalog.Memo
	asked := questions()
	for i := range asked {
		asked[i].file = "" // only their words count here
	}
	flat := make([]float32, 0, l.chunks*dim)
	for _, d := range docs {
		for _, c := range d.Chunks {
			flat = append(flat, c.Vector...)
		}
	}
	search := func(q catalog.Query) error {
		return l.im.View(ctx, func(tx *image.Tx) error {
			_, err := catalog.Search(tx, l.trees, q, &memo)
			return err
		})
	}
	if err := search(catalog.Query{Text: "warm", Vector: unit(rng, dim), Top: 5}); err != nil {
		return err
	}
	for _, q := range asked {
		v := unit(rng, dim)
		err := timed(&text, func() error { return search(catalog.Query{Text: q.text, Top: 5}) })
		if err != nil {
			return err
		}
		if err := timed(&hybrid, func() error { return search(catalog.Query{Text: q.text, Vector: v, Top: 5}) }); err != nil {
			return err
		}
		match := bleve.NewMatchQuery(q.text)
		if err := timed(&peers, func() error { _, err := peer.Search(bleve.NewSearchRequestOptions(match, 5, 0, false)); return err }); err != nil {
			return err
		}
		_ = timed(&scans, func() error { bareScan(flat, v); return nil })
	}
	emit(Figure{Name: "catalog.query.text.p50", Value: p50(text), Unit: "ms", Against: p50(peers), Bar: 2, AtMost: true})
	emit(Figure{Name: "catalog.query.hybrid.p50", Value: p50(hybrid), Unit: "ms", Against: p50(scans), Bar: 1.2, AtMost: true})
	stats = l.im.Stats()
	vectors, terms := memo.Bytes()
	emit(Figure{Name: "catalog.memory.terms", Value: float64(terms) / (1 << 20), Unit: "MiB", Against: 32, Bar: 1, AtMost: true})
	emit(Figure{Name: "catalog.memory.vectors", Value: float64(vectors) / (1 << 20), Unit: "MiB", Against: n * dim * 4 / (1 << 20), Bar: 1.1, AtMost: true})
	emit(Figure{Name: "catalog.memory.cache", Value: float64(stats.CacheBytes) / (1 << 20), Unit: "MiB", Against: 128, Bar: 1.1, AtMost: true})
	return nil
}

func chunksOf(docs []catalog.Document) (n int) {
	for _, d := range docs {
		n += len(d.Chunks)
	}
	return n
}

// timed keeps the shortest of three runs, so that what else the machine does
// counts little.
func timed(to *[]time.Duration, f func() error) error {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		began := time.Now()
		if err := f(); err != nil {
			return err
		}
		best = min(best, time.Since(began))
	}
	*to = append(*to, best)
	return nil
}

// p50 is the median in milliseconds.
func p50(ds []time.Duration) float64 {
	slices.Sort(ds)
	return float64(ds[len(ds)/2]) / float64(time.Millisecond)
}

// unit is a random vector of length 1.
func unit(rng *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return normal(v)
}

// bareScan is the least that an exact search does: every inner product, and
// the best five.
func bareScan(flat, q []float32) (best [5]float32) {
	for i := 0; i+len(q) <= len(flat); i += len(q) {
		v := flat[i : i+len(q)]
		var s0, s1, s2, s3 float32
		for j := 0; j+4 <= len(q); j += 4 {
			s0 += v[j] * q[j]
			s1 += v[j+1] * q[j+1]
			s2 += v[j+2] * q[j+2]
			s3 += v[j+3] * q[j+3]
		}
		if s := s0 + s1 + s2 + s3; s > best[4] {
			best[4] = s
			slices.SortFunc(best[:], func(a, b float32) int {
				if a > b {
					return -1
				}
				return 1
			})
		}
	}
	return best
}
