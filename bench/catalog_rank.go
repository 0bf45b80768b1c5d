package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the independent BM25: its FTS5

	"batos/image"
	"batos/internal/catalog"
)

// normal gives v length 1.
func normal(v []float32) []float32 {
	s := 0.0
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	if s > 0 {
		for i := range v {
			v[i] /= float32(math.Sqrt(s))
		}
	}
	return v
}

// catalogRank answers every question in the catalog and in SQLite's FTS5, which
// get the same terms, and counts how often the twenty best differ.
func catalogRank(ctx context.Context, dir string, emit func(Figure)) error {
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
	l, err := openLibrary(ctx, filepath.Join(dir, "image"))
	if err != nil {
		return err
	}
	defer l.im.Close()
	db, err := sql.Open("sqlite", filepath.Join(dir, "fts.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "PRAGMA synchronous=OFF; CREATE VIRTUAL TABLE chunks USING fts5(id UNINDEXED, terms, tokenize = 'ascii')"); err != nil {
		return err
	}
	for _, batch := range batches(docs) {
		if err := l.add(ctx, batch); err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for _, d := range batch {
			for i, c := range d.Chunks {
				terms, err := catalog.Analyze(d.Language, c.Text)
				if err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, "INSERT INTO chunks VALUES (?, ?)", fmt.Sprintf("%s::%d", d.ID, i), asTokens(terms, " ")); err != nil {
					return err
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	const top = 20
	asked, differ := 0, 0
	for _, q := range questions() {
		terms, err := catalog.Terms("", q.text)
		if err != nil {
			return err
		}
		theirs, err := askFTS(ctx, db, asTokens(terms, " OR "), top)
		if err != nil {
			return err
		}
		var hits []catalog.Hit
		if err := l.im.View(ctx, func(tx *image.Tx) (err error) {
			hits, err = catalog.Search(tx, l.trees, catalog.Query{Text: q.text, Top: top}, nil)
			return err
		}); err != nil {
			return err
		}
		asked++
		if !sameRanking(hits, theirs) {
			differ++
		}
	}
	emit(Figure{Name: "catalog.bm25.chunks", Value: float64(l.chunks), Unit: "chunks", Bar: float64(sized(3000, 20_000))})
	emit(Figure{Name: "catalog.bm25.queries", Value: float64(asked), Unit: "queries", Bar: 200})
	emit(Figure{Name: "catalog.bm25.same_as_fts5", Value: float64(asked - differ), Unit: "queries", Against: float64(asked), Bar: 1})
	return nil
}

// asTokens writes terms so that any tokenizer takes each as one word.
func asTokens(terms []string, between string) string {
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = "x" + hex.EncodeToString([]byte(t))
	}
	return strings.Join(out, between)
}

// ranked is a chunk and its score.
type ranked struct {
	id    string
	score float64
}

func askFTS(ctx context.Context, db *sql.DB, match string, top int) ([]ranked, error) {
	if match == "" {
		return nil, nil
	}
	// more than top, so that ties at its end can be told
	rows, err := db.QueryContext(ctx, "SELECT id, bm25(chunks) FROM chunks WHERE chunks MATCH ? ORDER BY bm25(chunks) LIMIT ?", match, 4*top)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ranked
	for rows.Next() {
		var r ranked
		if err := rows.Scan(&r.id, &r.score); err != nil {
			return nil, err
		}
		r.score = -r.score
		out = append(out, r)
	}
	return out, rows.Err()
}

// sameRanking reports whether the hits have, place by place, the scores that
// the peer gives them. Equal scores may change places.
func sameRanking(hits []catalog.Hit, theirs []ranked) bool {
	const tolerance = 1e-9
	near := func(a, b float64) bool { return math.Abs(a-b) <= tolerance*max(1, math.Abs(a)) }
	scores := map[string]float64{}
	for _, r := range theirs {
		scores[r.id] = r.score
	}
	for i, h := range hits {
		if i >= len(theirs) || !near(h.Score, theirs[i].score) {
			return false
		}
		if s, ok := scores[fmt.Sprintf("%s::%d", h.Document, h.Index)]; ok && !near(s, h.Score) {
			return false
		}
	}
	return len(hits) > 0 || len(theirs) == 0
}
