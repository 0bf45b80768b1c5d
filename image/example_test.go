package image_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"batos"
	"batos/image"
	"batos/object"
)

// openTemp opens a fresh image for an example.
func openTemp() (*image.Image, func()) {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		log.Fatal(err)
	}
	im, err := image.Open(context.Background(), filepath.Join(dir, "live_image"), image.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return im, func() {
		if err := im.Close(); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

// must is for examples only: a program looks at its errors.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// An object is made, named, changed, and found again.
func Example() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	must(im.Update(ctx, func(tx *image.Tx) error {
		oid, err := tx.Create(object.NewState(object.Open, batos.Person,
			object.Slot{Name: "count", Value: object.NewInt(3)}))
		if err != nil {
			return err
		}
		return tx.SetName("counter", oid)
	}))

	check(im.View(ctx, func(tx *image.Tx) error {
		oid, _, err := tx.Name("counter")
		if err != nil {
			return err
		}
		state, err := tx.Load(oid)
		if err != nil {
			return err
		}
		count, _ := state.Slot("count")
		fmt.Println(object.Describe(oid, "counter", state), object.Text(count, 20))
		return nil
	}))
	// Output: <0x1 counter: count> 3
}

// An object without a slot asks its parents, and an assignment stays local.
func ExampleTx_Lookup() {
	im, done := openTemp()
	defer done()

	must(im.Update(context.Background(), func(tx *image.Tx) error {
		animal := must(tx.Create(object.NewState(object.Open, batos.Person,
			object.Slot{Name: "legs", Value: object.NewInt(4)})))
		bird := must(tx.Create(object.NewState(object.Open, batos.Person,
			object.Slot{Name: "parent*", Value: object.Ref(animal)})))

		legs, holder, _, err := tx.Lookup(bird, "legs")
		fmt.Println(object.Text(legs, 20), holder == animal, err)

		check(tx.SetSlot(bird, "legs", object.NewInt(2)))
		legs, holder, _, err = tx.Lookup(bird, "legs")
		fmt.Println(object.Text(legs, 20), holder == bird, err)
		return nil
	}))
	// Output:
	// 4 true <nil>
	// 2 true <nil>
}

// A tree holds large collections; a range loads only the pages it needs.
func ExampleTree() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	var words object.Tree
	must(im.Update(ctx, func(tx *image.Tx) error {
		words = must(tx.NewTree()) // keep it in a slot, so that something leads to it
		for i, w := range strings.Fields("the image keeps every word that it was ever told") {
			if err := tx.Tree(words).Set(object.Str(w), object.NewInt(int64(i))); err != nil {
				return err
			}
		}
		return nil
	}))
	check(im.View(ctx, func(tx *image.Tx) error {
		for e, err := range tx.Tree(words).Range(object.Str("i"), object.Str("l")) {
			if err != nil {
				return err
			}
			fmt.Println(object.Text(e.Key, 20), object.Text(e.Value, 20))
		}
		fmt.Println(must(tx.Tree(words).Len()))
		return nil
	}))
	// Output:
	// "image" 1
	// "it" 6
	// "keeps" 2
	// 10
}

// Nothing is overwritten: the past can be looked at, and taken back.
func ExampleImage_Undo() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	var lamp batos.OID
	first := must(im.Update(ctx, func(tx *image.Tx) (err error) {
		lamp, err = tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "on", Value: object.Bool(false)}))
		return err
	}))
	second := must(im.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(lamp, "on", object.Bool(true)) }))

	show := func(when string, tx *image.Tx, err error) {
		check(err)
		defer tx.Abort()
		on, _, err := tx.Slot(lamp, "on")
		fmt.Println(when, object.Text(on, 20), err)
	}
	tx, err := im.BeginAt(ctx, first)
	show("at first:", tx, err)
	tx, err = im.Begin(ctx)
	show("then:", tx, err)
	must(im.Undo(ctx, second, image.Meta{Author: batos.Person, Note: "too bright"}))
	tx, err = im.Begin(ctx)
	show("undone:", tx, err)
	// Output:
	// at first: False <nil>
	// then: True <nil>
	// undone: False <nil>
}

// A transaction can say what it would do, and not do it.
func ExampleTx_Changes() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	var account batos.OID
	must(im.Update(ctx, func(tx *image.Tx) (err error) {
		account, err = tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "balance", Value: object.NewInt(10)}))
		return err
	}))
	tx := image.Scratch(ctx, must(im.Snapshot(ctx)))
	defer tx.Abort()
	check(tx.SetSlot(account, "balance", object.NewInt(7)))
	for _, c := range must(tx.Changes()) {
		for _, s := range c.Slots {
			fmt.Println(c.OID, s.Name, object.Text(s.Before, 20), "→", object.Text(s.After, 20))
		}
	}
	// Output: 0x1 balance 10 → 7
}

// A backup is taken while the image is in use, and restored to any moment.
func ExampleRestore() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	var page batos.OID
	first := must(im.Update(ctx, func(tx *image.Tx) (err error) {
		page, err = tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "text", Value: object.Str("right")}))
		return err
	}))
	must(im.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(page, "text", object.Str("wrong")) }))
	dir := must(os.MkdirTemp("", "backup"))
	defer os.RemoveAll(dir)
	must(im.Backup(ctx, filepath.Join(dir, "safe"))) // again later: only what is new

	must(image.Restore(ctx, filepath.Join(dir, "safe"), filepath.Join(dir, "restored"), first, image.Options{}))
	old := must(image.Open(ctx, filepath.Join(dir, "restored"), image.Options{}))
	defer old.Close()
	check(old.View(ctx, func(tx *image.Tx) error {
		text, _, err := tx.Slot(page, "text")
		fmt.Println(object.Text(text, 20))
		return err
	}))
	// Output: "right"
}

// Pack gives back the space of a past that nobody needs.
func ExampleImage_Pack() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	oid := batos.OID(0)
	must(im.Update(ctx, func(tx *image.Tx) (err error) {
		oid, err = tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "n", Value: object.NewInt(0)}))
		return err
	}))
	for n := range int64(10) {
		must(im.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(oid, "n", object.NewInt(n+1)) }))
	}
	would := must(im.Pack(ctx, image.PackOptions{Before: im.LastTID(), DryRun: true}))
	did := must(im.Pack(ctx, image.PackOptions{Before: im.LastTID()}))
	fmt.Println(would.Revisions, did.Revisions)
	// Output: 10 10
}

// A branch is a scratch world that is merged or discarded.
func ExampleImage_Branch() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	var lamp batos.OID
	must(im.Update(ctx, func(tx *image.Tx) (err error) {
		lamp, err = tx.Create(object.NewState(object.Open, batos.Person, object.Slot{Name: "on", Value: object.Bool(false)}))
		return err
	}))
	b := must(im.Branch(ctx, 0))
	check(b.Update(func(tx *image.Tx) error { return tx.SetSlot(lamp, "on", object.Bool(true)) }))
	show := func(tx *image.Tx) error {
		on, _, err := tx.Slot(lamp, "on")
		fmt.Println(object.Text(on, 20))
		return err
	}
	check(im.View(ctx, show))
	must(b.Merge(ctx, image.Meta{Author: batos.Person, Note: "let there be light"}))
	check(im.View(ctx, show))
	// Output:
	// False
	// True
}
