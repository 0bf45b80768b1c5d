package image

import (
	"fmt"
	"strings"
	"testing"

	"batos/object"
)

// A page whose first pages below are gone takes, in what is then its first,
// keys that sort before it. When that one splits, the page must stay in order.
func TestTreeGrowsBelowWhatWasTakenAway(t *testing.T) {
	im := open(t)
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		return err
	})
	pad := object.Str(strings.Repeat("v", 100))
	set := func(from, to int) {
		t.Helper()
		update(t, im, func(tx *Tx) error {
			for n := from; n < to; n++ {
				if err := tx.Tree(tree).Set(object.Str(fmt.Sprintf("key %06d", n)), pad); err != nil {
					return err
				}
			}
			return nil
		})
	}
	set(100_000, 110_000) // three levels
	update(t, im, func(tx *Tx) error {
		for n := 100_000; n < 106_000; n++ {
			if _, err := tx.Tree(tree).Delete(object.Str(fmt.Sprintf("key %06d", n))); err != nil {
				return err
			}
		}
		return nil
	})
	for from := 0; from < 3000; from += 100 {
		set(from, from+100)
	}
	view(t, im, func(tx *Tx) error {
		n, last := 0, ""
		for e, err := range tx.Tree(tree).Range(nil, nil) {
			if err != nil {
				return err
			}
			if k := string(e.Key.(object.Str)); k <= last {
				t.Fatalf("%q comes after %q", k, last)
			} else {
				last = k
			}
			n++
		}
		if want := 3000 + 4000; n != want {
			t.Errorf("the tree has %d keys, want %d", n, want)
		}
		return nil
	})
}
