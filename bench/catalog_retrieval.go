package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path/filepath"
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
			for i := range d.Chunks {
				if d.Chunks[i].Vector, err = space.of(d.Chunks[i].Text); err != nil {
					return err
				}
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
				if query.Vector, err = space.of(q.text); err != nil {
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

// concepts are vectors of words that come from the corpus itself, by random
// indexing (Kanerva and others 2000): each chunk is the sum of its words'
// random vectors, and a word means the sum of the chunks that have it. They
// stand in for an embedding model where there is none, and know no more of the
// language than the corpus does.
type concepts struct {
	idf  map[string]float64
	word map[string][]float32
}

const conceptDim = 384

func learn(docs []catalog.Document) (*concepts, error) {
	s := &concepts{idf: map[string]float64{}, word: map[string][]float32{}}
	n := 0
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
			n++
		}
	}
	for t, df := range s.idf {
		if df < 2 {
			delete(s.idf, t)
			continue
		}
		s.idf[t] = math.Log(float64(n) / df)
	}
	first := func(t string) []float32 { return sparse(t) }
	next := map[string][]float32{}
	for _, bag := range bags {
		v := s.sum(bag, first)
		for t, tf := range bag {
			if s.idf[t] == 0 {
				continue
			}
			w := next[t]
			if w == nil {
				w = make([]float32, conceptDim)
				next[t] = w
			}
			for i := range v {
				w[i] += float32(1+math.Log(tf)) * v[i]
			}
		}
	}
	for t, v := range next {
		// what a word means, and the word itself
		normal(v)
		for i, x := range sparse(t) {
			v[i] = v[i]*0.5 + x
		}
		s.word[t] = normal(v)
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

// sparse is a random vector that a word always has.
func sparse(term string) []float32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(term))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	v := make([]float32, conceptDim)
	for range 8 {
		v[rng.IntN(conceptDim)] += float32(2*rng.IntN(2) - 1)
	}
	return normal(v)
}

// sum is the weighted sum of the vectors of words, of unit length.
func (s *concepts) sum(bag map[string]float64, vector func(string) []float32) []float32 {
	out := make([]float32, conceptDim)
	for t, tf := range bag {
		weight := float32((1 + math.Log(tf)) * s.idf[t])
		if weight == 0 {
			continue
		}
		for i, x := range vector(t) {
			out[i] += weight * x
		}
	}
	return normal(out)
}

// of is the vector of a text.
func (s *concepts) of(text string) ([]float32, error) {
	bag, err := bagOf(text)
	if err != nil {
		return nil, err
	}
	return s.sum(bag, func(t string) []float32 { return s.word[t] }), nil
}
