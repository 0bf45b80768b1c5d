package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/vfs"
	"batos/object"
)

// audit compares all that the catalog holds with what a new one would hold of
// the same documents: every entry of every tree, every chunk and vector, and
// the counters.
func (s *shelf) audit(tx *image.Tx, docs map[string]string) error {
	want := map[string]string{}
	slot := func(oid batos.OID, name string) object.Value {
		v, _, err := tx.Slot(oid, name)
		if err != nil {
			s.t.Fatal(err)
		}
		return v
	}
	entry := func(tree string, key, v object.Value) { want[tree+object.Text(key, 200)] = object.Text(v, 2000) }
	var chunks, length, sum int64
	for id, text := range docs {
		v, ok, err := tx.Tree(s.trees.Document).Get(object.Str(id))
		if err != nil || !ok {
			return fmt.Errorf("document %s is not there: %w", id, err)
		}
		entry("document", object.Str(id), v)
		doc := batos.OID(v.(object.Ref))
		d := document(id, text)
		var oids []batos.OID
		index := map[string][]posting{}
		terms := int64(0)
		list, _ := slot(doc, "chunks").(*object.List)
		if list == nil || len(list.Items) != len(d.Chunks) {
			return fmt.Errorf("document %s has other chunks", id)
		}
		for i, c := range d.Chunks {
			oid := batos.OID(list.Items[i].(object.Ref))
			if got := slot(oid, "text"); got != object.Value(object.Str(c.Text)) {
				return fmt.Errorf("chunk %d of %s says %s", i, id, object.Text(got, 100))
			}
			oids = append(oids, oid)
			entry("chunk", chunkKey(id, i), object.Ref(oid))
			found, _ := Analyze(d.Language, c.Text)
			counts := map[string]int32{}
			for _, t := range found {
				counts[t]++
			}
			for t, n := range counts {
				index[t] = append(index[t], posting{int32(i), n, int32(len(found))})
			}
			terms += int64(len(found))
		}
		for t, ps := range index {
			entry("text", termKey(t, doc), encodePostings(ps))
		}
		for _, m := range d.Metadata {
			entry("meta", metaKey(m.Name, string(m.Value.(object.Str)), doc), object.None{})
		}
		if got, _ := slot(doc, "vectors").(object.Bytes); string(got) != string(packVectors(d.Chunks)) {
			return fmt.Errorf("document %s has other vectors", id)
		}
		chunks += int64(len(oids))
		length += terms
		sum += checksum(d, oids)
	}
	got := 0
	for name, tree := range map[string]object.Tree{"text": s.trees.Text, "meta": s.trees.Meta, "chunk": s.trees.Chunks, "document": s.trees.Document} {
		for e, err := range tx.Tree(tree).Range(nil, nil) {
			if err != nil {
				return err
			}
			key := name + object.Text(e.Key, 200)
			if v := object.Text(e.Value, 2000); want[key] != v {
				return fmt.Errorf("%s is %.100s, want %.100q", key, v, want[key])
			}
			got++
		}
	}
	if got != len(want) {
		return fmt.Errorf("%d entries, want %d", got, len(want))
	}
	for name, n := range map[string]int64{countSlot: chunks, lengthSlot: length, sumSlot: sum} {
		if got := slot(s.trees.Object, name); got != object.Value(object.Counter(n)) {
			return fmt.Errorf("%s is %s, want %d", name, object.Text(got, 40), n)
		}
	}
	return nil
}

// document is the document that a text becomes.
func document(id, text string) Document {
	chunks, _ := Split(Recursive, text, nil)
	d := Document{ID: id, Language: DefaultLanguage, Chunker: Recursive, Metadata: []object.Slot{{Name: "kind", Value: object.Str(fmt.Sprint("kind", len(text)%3))}}}
	for _, c := range chunks {
		d.Chunks = append(d.Chunks, Chunk{Text: c, Vector: hashed(c)})
	}
	return d
}

// Documents are added, replaced, removed, undone and redone, changed on
// branches that are merged or left; the image is packed, opened again, and loses
// its power in the middle. At every point, and at every moment of the past that
// is kept, the catalog holds what a new one would hold.
func TestIndexAgreesWhateverHappens(t *testing.T) {
	seeds, steps := uint64(3), 40
	if os.Getenv("BATOS_LONG") != "" {
		seeds, steps = 20, 80
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { life(t, seed, steps) })
	}
}

func life(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 85))
	fs := vfs.NewCrash(seed)
	s := newShelf(t, fs)
	if _, err := s.im.Update(t.Context(), func(tx *image.Tx) error { return tx.SetName("catalog", s.trees.Object) }); err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	type moment struct {
		tid    batos.TID
		before map[string]string // what the documents that it changed were, "" for none
		after  map[string]string // all documents
	}
	var past []moment
	done := func(tid batos.TID, before map[string]string) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(id string) bool { return before[id] != docs[id] }) {
			return // nothing was there to be removed: there is no such transaction
		}
		past = append(past, moment{tid, before, maps.Clone(docs)})
	}
	open := func() {
		im, err := image.Open(t.Context(), "img", image.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		s.im = im
	}
	defer func() { _ = s.im.Close() }()
	// change adds, replaces or removes one document.
	change := func(tx *image.Tx, docs map[string]string, id, text string) error {
		if text == "" {
			_, err := Remove(tx, s.trees, id)
			delete(docs, id)
			return err
		}
		_, _, err := Add(plainWriter{tx}, s.trees, s.trees.Object, document(id, text))
		docs[id] = text
		return err
	}
	draw := func() (id, text string) {
		id = fmt.Sprintf("d%d", r.IntN(6))
		if r.IntN(4) > 0 {
			text = sentence(r, 5+r.IntN(700))
		}
		return id, text
	}
	check := func(step string) {
		t.Helper()
		if err := s.im.View(t.Context(), func(tx *image.Tx) error { return s.audit(tx, docs) }); err != nil {
			t.Fatalf("after %s: %v", step, err)
		}
	}
	for range steps {
		step := "a change"
		switch r.IntN(10) {
		case 0, 1: // undo or redo something
			if len(past) == 0 {
				continue
			}
			m := past[r.IntN(len(past))]
			step = fmt.Sprintf("undo of %d", m.tid)
			tid, err := s.im.Undo(t.Context(), m.tid, image.Meta{})
			if batos.CodeOf(err) == batos.Conflict {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			before := map[string]string{}
			for id, text := range m.before {
				before[id] = docs[id]
				if docs[id] = text; text == "" {
					delete(docs, id)
				}
			}
			done(tid, before)
		case 2: // a branch, while the image goes on
			step = "a branch"
			branch, err := s.im.Branch(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			there := maps.Clone(docs)
			before := map[string]string{}
			for range 1 + r.IntN(3) {
				id, text := draw()
				if _, ok := before[id]; !ok {
					before[id] = docs[id]
				}
				if err := branch.Update(func(tx *image.Tx) error { return change(tx, there, id, text) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := branch.View(func(tx *image.Tx) error { return s.audit(tx, there) }); err != nil {
				t.Fatal("on a branch: ", err)
			}
			if r.IntN(2) == 0 {
				id, text := draw()
				here := map[string]string{id: docs[id]}
				tid, err := s.im.Update(t.Context(), func(tx *image.Tx) error { return change(tx, docs, id, text) })
				if err != nil {
					t.Fatal(err)
				}
				done(tid, here)
			}
			if r.IntN(4) == 0 {
				branch.Discard()
				break
			}
			tid, err := branch.Merge(t.Context(), image.Meta{})
			if batos.CodeOf(err) == batos.Conflict {
				branch.Discard()
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			step = "a merge"
			for id := range before {
				if docs[id] = there[id]; there[id] == "" {
					delete(docs, id)
				}
			}
			done(tid, before)
		case 3:
			step = "a pack"
			if _, err := s.im.Pack(t.Context(), image.PackOptions{Before: s.im.LastTID()}); err != nil {
				t.Fatal(err)
			}
			past = nil
		case 4:
			step = "opening again"
			if err := s.im.Close(); err != nil {
				t.Fatal(err)
			}
			open()
		case 5: // the power fails in the middle of a change
			id, text := draw()
			then := maps.Clone(docs)
			fs.StopAt(fs.Calls() + 1 + r.IntN(6))
			tid, err := s.im.Update(t.Context(), func(tx *image.Tx) error { return change(tx, then, id, text) })
			fs.Crash()
			_ = s.im.Close() // its files are dead
			open()
			step = fmt.Sprint("a crash, change: ", err)
			if err == nil {
				before := map[string]string{id: docs[id]}
				docs = then
				done(tid, before)
				break
			}
			if was := s.im.View(t.Context(), func(tx *image.Tx) error { return s.audit(tx, docs) }); was != nil {
				docs = then // it had been written after all
				past = nil  // under a number that nobody was told
			}
		case 6: // the power fails between two changes
			step = "a crash"
			fs.Crash()
			_ = s.im.Close()
			open()
		default:
			id, text := draw()
			before := map[string]string{id: docs[id]}
			tid, err := s.im.Update(t.Context(), func(tx *image.Tx) error { return change(tx, docs, id, text) })
			if err != nil {
				t.Fatal(err)
			}
			done(tid, before)
		}
		check(step)
	}
	for _, m := range past {
		tx, err := s.im.BeginAt(t.Context(), m.tid)
		if err != nil {
			t.Fatal(err)
		}
		err = s.audit(tx, m.after)
		tx.Abort()
		if err != nil {
			t.Errorf("as of %d: %v", m.tid, err)
		}
	}
	if len(docs) == 0 && seed == 0 {
		t.Error("nothing is left: the test proves little")
	}
}
