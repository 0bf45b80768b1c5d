package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"batos/image"
	"batos/internal/catalog"
)

// catalogRetrieval asks the questions of both chunkers' catalogs, by text, by
// vectors and by both, and says how well the chunks with the answers are
// found. Where there is no embedding model the vectors are the corpus' own:
// see [concepts].
func catalogRetrieval(ctx context.Context, dir string, emit func(Figure)) error {
	files, err := corpus(ctx, false)
	if err != nil {
		return err
	}
	asked := questions()
	if !*full { // the files that are asked about, and every eighth other
		wanted := map[string]bool{}
		for _, q := range asked {
			wanted[q.file] = true
		}
		var some []source
		for i, f := range files {
			if wanted[f.name] || i%8 == 0 {
				some = append(some, f)
			}
		}
		files = some
	}
	for _, chunker := range []string{catalog.Recursive, catalog.Semantic} {
		docs, err := cut(files, chunker)
		if err != nil {
			return err
		}
		space, err := learn(docs)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if err := space.document(d); err != nil {
				return err
			}
		}
		if err := retrieve(ctx, filepath.Join(dir, chunker), chunker, docs, asked, space, emit); err != nil {
			return err
		}
	}
	return nil
}

// found sums up how well answers were found.
type found struct{ recall, ndcg float64 }

func retrieve(ctx context.Context, dir, chunker string, docs []catalog.Document, asked []question, space *concepts, emit func(Figure)) error {
	l, err := openLibrary(ctx, dir)
	if err != nil {
		return err
	}
	defer l.im.Close()
	answers := make([]map[string]bool, len(asked)) // chunks with the answer, by question
	byFile := map[string][]int{}
	for i, q := range asked {
		answers[i] = map[string]bool{}
		byFile[q.file] = append(byFile[q.file], i)
	}
	for _, d := range docs {
		for _, i := range byFile[d.ID] {
			for n, c := range d.Chunks {
				if strings.Contains(oneLine(c.Text), asked[i].words) {
					answers[i][fmt.Sprintf("%s::%d", d.ID, n)] = true
				}
			}
		}
	}
	for _, batch := range batches(docs) {
		if err := l.add(ctx, batch); err != nil {
			return err
		}
	}
	ways := []string{"text", "vector", "hybrid"}
	sums := map[string]*found{}
	var memo catalog.Memo
	for _, way := range ways {
		sum := &found{}
		sums[way] = sum
		for i, q := range asked {
			query := catalog.Query{Text: q.text, Top: 10}
			if way != "text" {
				if query.Vector, err = space.question(q.text); err != nil {
					return err
				}
			}
			if way == "vector" {
				query.Text = ""
			}
			var hits []catalog.Hit
			if err := l.im.View(ctx, func(tx *image.Tx) (err error) {
				hits, err = catalog.Search(tx, l.trees, query, &memo)
				return err
			}); err != nil {
				return err
			}
			sum.count(hits, answers[i])
		}
	}
	n := float64(len(asked))
	name := "catalog.retrieval." + chunker
	emit(Figure{Name: name + ".chunks", Value: float64(l.chunks), Unit: "chunks"})
	best := found{}
	for _, way := range ways {
		s := sums[way]
		recall := Figure{Name: name + "." + way + ".recall5", Value: s.recall / n, Unit: "share"}
		ndcg := Figure{Name: name + "." + way + ".ndcg10", Value: s.ndcg / n, Unit: "share"}
		if way == "hybrid" {
			recall.Against, recall.Bar = best.recall/n, 1
			ndcg.Against, ndcg.Bar = best.ndcg/n, 1
		}
		emit(recall)
		emit(ndcg)
		best.recall, best.ndcg = max(best.recall, s.recall), max(best.ndcg, s.ndcg)
	}
	return nil
}

// count adds one question's hits: the share of its answers among the first
// five, and the gain of the first ten, discounted by rank.
func (f *found) count(hits []catalog.Hit, answers map[string]bool) {
	if len(answers) == 0 {
		return // a chunker cut the words apart: not found
	}
	got, gain, ideal := 0, 0.0, 0.0
	for i, h := range hits {
		if !answers[fmt.Sprintf("%s::%d", h.Document, h.Index)] {
			continue
		}
		if i < 5 {
			got++
		}
		gain += 1 / math.Log2(float64(i+2))
	}
	for i := range min(len(answers), 10) {
		ideal += 1 / math.Log2(float64(i+2))
	}
	f.recall += float64(got) / float64(min(len(answers), 5))
	f.ndcg += gain / ideal
}

// concepts are vectors that come from the corpus itself: each word has a random
// direction (Achlioptas 2003), and a text is the sum of its words', each weighted
// by how often it stands there and how rare it is. A chunk's vector has the mean
// of its document's beside its own, so it tells what the document is about too.
// They stand in for an embedding model where there is none, and know nothing of
// the language.
//
// A plain cosine puts a chunk of two words above all that explain them. So a
// chunk's last number takes up what a short chunk is short of, which makes every
// vector one of unit length, and is 0 in a question's.
type concepts struct {
	idf   map[string]float64
	slack float64 // what the last number has beside the length of a chunk's words
}

// Dimension, and slack in mean lengths of the chunks: chosen on every other
// question.
const (
	conceptDim   = 1024
	conceptSlack = 4
)

func learn(docs []catalog.Document) (*concepts, error) {
	s := &concepts{idf: map[string]float64{}}
	var bags []map[string]float64
	for _, d := range docs {
		for _, c := range d.Chunks {
			bag, err := bagOf(c.Text)
			if err != nil {
				return nil, err
			}
			bags = append(bags, bag)
			for t := range bag {
				s.idf[t]++
			}
		}
	}
	for t, df := range s.idf {
		if df < 2 {
			delete(s.idf, t)
			continue
		}
		s.idf[t] = math.Log(float64(len(bags)) / df)
	}
	for _, bag := range bags {
		sum := 0.0
		for t, tf := range bag {
			w := (1 + math.Log(tf)) * s.idf[t]
			sum += w * w
		}
		s.slack += conceptSlack * math.Sqrt(sum) / float64(len(bags))
	}
	return s, nil
}

func bagOf(text string) (map[string]float64, error) {
	terms, err := catalog.Analyze(catalog.DefaultLanguage, text)
	bag := map[string]float64{}
	for _, t := range terms {
		bag[t]++
	}
	return bag, err
}

// sum adds up the directions of a text's words, and leaves the last number 0.
func (s *concepts) sum(text string) ([]float32, error) {
	bag, err := bagOf(text)
	if err != nil {
		return nil, err
	}
	const some = 32 // numbers of a direction that are not 0
	v := make([]float32, conceptDim)
	for _, t := range slices.Sorted(maps.Keys(bag)) {
		weight := float32((1+math.Log(bag[t]))*s.idf[t]) / float32(math.Sqrt(some))
		h := fnv.New64a()
		_, _ = h.Write([]byte(t))
		rng := rand.New(rand.NewPCG(h.Sum64(), 1))
		for range some {
			v[rng.IntN(conceptDim-1)] += weight * float32(2*rng.IntN(2)-1)
		}
	}
	return v, nil
}

// question is the vector of a question.
func (s *concepts) question(text string) ([]float32, error) {
	v, err := s.sum(text)
	return normal(v), err
}

// document gives a document's chunks their vectors.
func (s *concepts) document(d catalog.Document) error {
	mean := make([]float32, conceptDim)
	for i := range d.Chunks {
		v, err := s.sum(d.Chunks[i].Text)
		if err != nil {
			return err
		}
		d.Chunks[i].Vector = v
		for j, x := range v {
			mean[j] += x / float32(len(d.Chunks))
		}
	}
	for _, c := range d.Chunks {
		for j, x := range mean {
			c.Vector[j] += x
		}
		c.Vector[conceptDim-1] = float32(s.slack)
		normal(c.Vector)
	}
	return nil
}
