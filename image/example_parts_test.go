package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"

	"batos"
	"batos/image"
	"batos/object"
)

// made makes one object of the given slots.
func made(im *image.Image, slots ...object.Slot) batos.OID {
	var oid batos.OID
	must(im.Update(context.Background(), func(tx *image.Tx) (err error) {
		oid, err = tx.Create(object.NewState(object.Open, batos.Person, slots...))
		return err
	}))
	return oid
}

// shown is what a slot holds, for a person.
func shown(tx *image.Tx, oid batos.OID, slot string) string {
	v, _, err := tx.Slot(oid, slot)
	check(err)
	return object.Text(v, 40)
}

// A part of a transaction can be taken back, and the rest committed.
func ExampleTx_Savepoint() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()
	oid := made(im, object.Slot{Name: "name", Value: object.Str("before")})

	must(im.Update(ctx, func(tx *image.Tx) error {
		check(tx.SetSlot(oid, "name", object.Str("after")))
		here := tx.Savepoint()
		check(tx.SetSlot(oid, "name", object.Str("a bad idea")))
		return tx.Rollback(here)
	}))
	check(im.View(ctx, func(tx *image.Tx) error {
		fmt.Println(shown(tx, oid, "name"))
		return nil
	}))
	// Output: "after"
}

// A transaction that is doomed goes on reading and writing, but cannot commit;
// one whose function answers an error is aborted.
func ExampleTx_Doom() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()
	oid := made(im, object.Slot{Name: "n", Value: object.NewInt(1)})

	_, err := im.Update(ctx, func(tx *image.Tx) error {
		tx.Doom(errors.New("the auditor says no"))
		return tx.SetSlot(oid, "n", object.NewInt(2))
	})
	fmt.Println(err)
	_, err = im.Update(ctx, func(tx *image.Tx) error {
		check(tx.SetSlot(oid, "n", object.NewInt(3)))
		return errors.New("changed my mind")
	})
	fmt.Println(err)
	check(im.View(ctx, func(tx *image.Tx) error {
		fmt.Println(shown(tx, oid, "n"))
		return nil
	}))
	// Output:
	// the auditor says no
	// changed my mind
	// 1
}

// Additions to a counter never conflict, and none is lost.
func ExampleTx_AddCounter() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()
	oid := made(im, object.Slot{Name: "visits", Value: object.Counter(0)})

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				must(im.Update(ctx, func(tx *image.Tx) error { return tx.AddCounter(oid, "visits", 1) }))
			}
		})
	}
	wg.Wait()
	check(im.View(ctx, func(tx *image.Tx) error {
		v, _, err := tx.Slot(oid, "visits")
		fmt.Println(object.Text(v, 20))
		return err
	}))
	// Output: <counter 20>
}

// Many put into a queue at once without a conflict.
func ExampleQueue() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()
	var jobs object.Tree
	must(im.Update(ctx, func(tx *image.Tx) (err error) {
		jobs, err = tx.NewTree() // keep it in a slot
		return err
	}))
	for _, job := range []string{"wash", "dry"} {
		must(im.Update(ctx, func(tx *image.Tx) error { return tx.Queue(jobs).Put(object.Str(job)) }))
	}
	for range 3 {
		var job object.Value
		var ok bool
		must(im.Update(ctx, func(tx *image.Tx) (err error) {
			job, ok, err = tx.Queue(jobs).Take()
			return err
		}))
		fmt.Println(job, ok)
	}
	// Output:
	// wash true
	// dry true
	// <nil> false
}

// A blob streams in and out, and any part of it can be read. Every read is
// verified.
func ExampleImage_NewBlob() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()

	blob := must(im.NewBlob(ctx, strings.NewReader("a large file, perhaps")))
	made(im, object.Slot{Name: "file", Value: blob}) // from now on it is kept
	b := must(im.OpenBlob(ctx, blob))
	defer b.Close()
	part := make([]byte, 5)
	must(b.ReadAt(part, 2))
	fmt.Printf("%s of %d bytes\n", part, b.Size())
	must(io.Copy(os.Stdout, io.NewSectionReader(b, 0, b.Size())))
	// Output:
	// large of 21 bytes
	// a large file, perhaps
}

// Any moment of the past can be read as if it were now.
func ExampleImage_BeginAt() {
	im, done := openTemp()
	defer done()
	ctx := context.Background()
	oid := made(im, object.Slot{Name: "n", Value: object.NewInt(1)})
	then := im.LastTID()
	for n := range int64(3) {
		must(im.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(oid, "n", object.NewInt(n+2)) }))
	}

	past := must(im.BeginAt(ctx, then))
	fmt.Println(shown(past, oid, "n"))
	past.Abort()
	for r, err := range im.History(ctx, oid) {
		check(err)
		n, _ := r.State.Slot("n")
		fmt.Print(object.Text(n, 20), " ")
	}
	// Output:
	// 1
	// 4 3 2 1
}

// Another process reads an image while it is written, and sees each commit.
func ExampleOptions_readOnly() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "image")
	check(err)
	defer os.RemoveAll(dir)
	writer := must(image.Open(ctx, dir, image.Options{}))
	defer writer.Close()
	oid := made(writer, object.Slot{Name: "n", Value: object.NewInt(1)})

	reader := must(image.Open(ctx, dir, image.Options{ReadOnly: true})) // as a rule elsewhere
	defer reader.Close()
	for n := range int64(2) {
		must(writer.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(oid, "n", object.NewInt(n+2)) }))
		check(reader.View(ctx, func(tx *image.Tx) error {
			fmt.Println(shown(tx, oid, "n"))
			return nil
		}))
	}
	if _, err := reader.Update(ctx, func(tx *image.Tx) error { return tx.SetSlot(oid, "n", object.NewInt(9)) }); err == nil {
		log.Fatal("a reader wrote")
	}
	// Output:
	// 2
	// 3
}
