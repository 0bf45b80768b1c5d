package catalog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/vfs"
	"batos/object"
)

// What searches keep in memory changes no answer: not after documents changed,
// in the past, nor in a transaction that is not committed or on a branch.
func TestMemoChangesNoAnswer(t *testing.T) {
	s := newShelf(t, vfs.NewMem())
	var memo Memo
	r := rand.New(rand.NewPCG(4, 4))
	same := func(tx *image.Tx) {
		t.Helper()
		text := sentence(r, 2)
		q := Query{Text: text, Vector: hashed(text), Top: 50}
		fresh, err := Search(tx, s.trees, q, nil)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := Search(tx, s.trees, q, &memo)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(fresh, kept) {
			t.Fatalf("%q: %v, from memory %v", text, fresh, kept)
		}
	}
	var tids []batos.TID
	for i := range 30 {
		id := fmt.Sprint(r.IntN(5))
		switch {
		case i%5 == 4:
			s.remove(id)
		default:
			tids = append(tids, s.add(id, sentence(r, 10+r.IntN(400))))
		}
		if err := s.im.View(t.Context(), func(tx *image.Tx) error { same(tx); return nil }); err != nil {
			t.Fatal(err)
		}
		past, err := s.im.BeginAt(t.Context(), tids[r.IntN(len(tids))])
		if err != nil {
			t.Fatal(err)
		}
		same(past)
		past.Abort()
		if i%10 != 9 {
			continue
		}
		branch, err := s.im.Branch(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		d := Document{ID: "branch", Language: DefaultLanguage, Chunks: []Chunk{{Text: sentence(r, 50) + " zebra"}}}
		if err := branch.Update(func(tx *image.Tx) error {
			if _, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, d); err != nil {
				return err
			}
			same(tx)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := branch.View(func(tx *image.Tx) error {
			hits, err := Search(tx, s.trees, Query{Text: "zebra", Top: 1}, nil)
			if err != nil || len(hits) != 1 || hits[0].Document != "branch" {
				t.Errorf("on the branch: %v, %v", hits, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if hits := s.search(Query{Text: "zebra", Top: 1000}); slices.Contains(documents(hits), "branch") {
			t.Error("the image finds what only a branch has")
		}
		if i == 29 {
			if _, err := branch.Merge(t.Context(), image.Meta{}); err != nil {
				t.Fatal(err)
			}
			if hits := s.search(Query{Text: "zebra", Top: 1}); len(hits) != 1 || hits[0].Document != "branch" {
				t.Errorf("after the merge: %v", hits)
			}
			if err := s.im.View(t.Context(), func(tx *image.Tx) error { same(tx); return nil }); err != nil {
				t.Fatal(err)
			}
			continue
		}
		branch.Discard()
	}
	if vectors, terms := memo.Bytes(); vectors == 0 || terms == 0 {
		t.Error("nothing was kept: the test proves nothing")
	}
}

// What lies in memory is the documents' vectors, whatever was added, replaced
// and moved before, and stays within twice what the documents have.
func TestVectorsInMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var v vectors
	said := map[batos.OID][]float32{}
	var present []batos.OID
	for doc := batos.OID(1); doc < 400; doc++ {
		one := make([]Chunk, r.IntN(200))
		var flat []float32
		for i := range one {
			one[i].Vector = make([]float32, 16)
			for j := range one[i].Vector {
				one[i].Vector[j] = r.Float32()
			}
			flat = append(flat, one[i].Vector...)
		}
		v.add(doc, object.Bytes(packVectors(one)), 16, int64(len(flat)))
		said[doc] = flat
		if present = append(present, doc); len(present) > 40 {
			i := r.IntN(len(present))
			present = slices.Delete(present, i, i+1)
		}
		var docs []shelved
		for _, d := range present {
			if m := v.of[d]; m.n > 0 {
				docs = append(docs, shelved{d, m})
			}
		}
		v.forget(docs)
		seen := 0
		all := newRoll(docs)
		for i := range all.runs {
			one := &all.runs[i]
			for n := range len(one.data) / one.dim {
				at := one.place(n)
				if !slices.Equal(one.data[n*16:n*16+16], said[at.doc][at.chunk*16:at.chunk*16+16]) {
					t.Fatalf("document %d, chunk %d: another one's vector", at.doc, at.chunk)
				}
				seen++
			}
		}
		wanted := 0
		for _, d := range docs {
			wanted += d.n
		}
		if seen != wanted/16 {
			t.Fatalf("%d vectors of %d", seen, wanted/16)
		}
		if most := int64(2*wanted + 3*blockLeast); v.room > most {
			t.Fatalf("room for %d numbers, at most %d are reasonable for %d", v.room, most, wanted)
		}
	}
}

// A ranking keeps what sorting everything would put first.
func TestRanking(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 300 {
		all := make([]scored, r.IntN(60))
		k := ranking{most: 1 + r.IntN(20)}
		for i := range all {
			all[i] = scored{place{batos.OID(r.IntN(5)), int32(i)}, float64(r.IntN(8))}
			k.add(all[i])
		}
		slices.SortFunc(all, scored.compare)
		if got := k.sorted(); !slices.Equal(got, all[:min(len(all), k.most)]) {
			t.Fatalf("%v of %v", got, all)
		}
	}
}
