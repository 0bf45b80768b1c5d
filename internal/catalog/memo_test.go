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
