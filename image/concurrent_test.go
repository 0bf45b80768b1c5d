package image

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// together runs fn n times at once and fails the test on an error.
func together(t *testing.T, n int, fn func(worker int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			if err := fn(w); err != nil {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	wg.Wait()
}

func intSlot(tx *Tx, oid batos.OID, name string) (int64, error) {
	v, _, err := tx.Slot(oid, name)
	if err != nil {
		return 0, err
	}
	n, _ := v.(object.Int).Int64()
	return n, nil
}

// TestMoneyIsConserved moves amounts between accounts from several workers,
// while readers demand that the sum never changes: no lost update, no half
// transaction, no stale revision from the cache, which is too small to hold
// all accounts.
func TestMoneyIsConserved(t *testing.T) {
	const accounts, each, workers, moves = 20, 100, 4, 150
	ctx := context.Background()
	im, err := Open(ctx, "/image", Options{FS: vfs.NewMem(), CacheBytes: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	oids := make([]batos.OID, accounts)
	update(t, im, func(tx *Tx) (err error) {
		for n := range oids {
			if oids[n], err = tx.Create(slots("amount", i(each))); err != nil {
				return err
			}
		}
		return nil
	})
	sum := func(tx *Tx) error {
		var total int64
		for _, oid := range oids {
			n, err := intSlot(tx, oid, "amount")
			if err != nil {
				return err
			}
			total += n
		}
		if total != accounts*each {
			return fmt.Errorf("as of %s the accounts hold %d instead of %d", tx.Snapshot(), total, accounts*each)
		}
		return nil
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				if err := im.View(ctx, sum); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	together(t, workers, func(w int) error {
		rng := rand.New(rand.NewPCG(1, uint64(w)))
		for range moves {
			from, to, n := oids[rng.IntN(accounts)], oids[rng.IntN(accounts)], rng.Int64N(10)
			_, err := im.Update(ctx, func(tx *Tx) error {
				a, err := intSlot(tx, from, "amount")
				if err != nil {
					return err
				}
				if err := tx.SetSlot(from, "amount", i(a-n)); err != nil {
					return err
				}
				b, err := intSlot(tx, to, "amount")
				if err != nil {
					return err
				}
				return tx.SetSlot(to, "amount", i(b+n))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	stop.Store(true)
	readers.Wait()
	view(t, im, sum)
	for tr, err := range im.Log(ctx, 0, im.LastTID()) { // and at every past moment
		if err != nil {
			t.Fatal(err)
		}
		tx, err := im.BeginAt(ctx, tr.TID)
		if err != nil {
			t.Fatal(err)
		}
		if err := sum(tx); err != nil {
			t.Fatal(err)
		}
		tx.Abort()
	}
}

// TestNothingIsLost counts in four ways at once: a counter that merges, an
// integer that is read and written, keys of a tree, and slots of one object.
// Workers begin together, so that they meet.
func TestNothingIsLost(t *testing.T) {
	const workers, rounds = 4, 60
	ctx := context.Background()
	im := open(t)
	shared := create(t, im, slots("merged", object.Counter(0), "plain", i(0)))
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		if err != nil {
			return err
		}
		return tx.SetSlot(shared, "tree", tree)
	})
	together(t, workers, func(w int) error {
		for r := range rounds {
			_, err := im.Update(ctx, func(tx *Tx) error {
				if err := tx.AddCounter(shared, "merged", 1); err != nil {
					return err
				}
				n, err := intSlot(tx, shared, "plain")
				if err != nil {
					return err
				}
				if err := tx.SetSlot(shared, "plain", i(n+1)); err != nil {
					return err
				}
				if err := tx.SetSlot(shared, fmt.Sprintf("worker_%d_%d", w, r%3), i(int64(r))); err != nil {
					return err
				}
				return tx.Tree(tree).Set(object.Str(fmt.Sprintf("%d/%d", r, w)), object.Str("some text that fills pages"))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, shared, "merged", object.Counter(workers*rounds))
		wantSlot(t, tx, shared, "plain", i(workers*rounds))
		for w := range workers {
			for r := rounds - 3; r < rounds; r++ {
				wantSlot(t, tx, shared, fmt.Sprintf("worker_%d_%d", w, r%3), i(int64(r)))
			}
		}
		n, err := tx.Tree(tree).Len()
		if err != nil || n != workers*rounds {
			t.Errorf("the tree has %d keys of %d, %v", n, workers*rounds, err)
		}
		for range tx.Tree(tree).Range(nil, nil) {
			n--
		}
		if n != 0 {
			t.Errorf("the tree's count is off by %d", n)
		}
		return nil
	})
}

// two begins two transactions on the same state.
func two(t *testing.T, im *Image) (*Tx, *Tx) {
	t.Helper()
	var txs [2]*Tx
	for n := range txs {
		tx, err := im.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tx.Abort)
		txs[n] = tx
	}
	return txs[0], txs[1]
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatConflicts states, pair by pair, what two transactions over the same
// snapshot may do without one of them having to run again. The first commits
// first.
func TestWhatConflicts(t *testing.T) {
	type world struct {
		oid, parent batos.OID
		tree        object.Tree
	}
	get := func(tx *Tx, w world, key int64) error {
		_, _, err := tx.Tree(w.tree).Get(i(key))
		return err
	}
	slot := func(tx *Tx, oid batos.OID, name string) error {
		_, _, err := tx.Slot(oid, name)
		return err
	}
	mark := func(tx *Tx, w world) error { return tx.SetSlot(w.parent, "mark", i(1)) } // so that there is something to commit
	for _, c := range []struct {
		name          string
		first, second func(*Tx, world) error
		conflict      bool
	}{
		{"different slots merge",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "a", i(10)) },
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "b", i(20)) }, false},
		{"a slot that is set without looking",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "a", i(10)) },
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "a", i(20)) }, false},
		{"a lost update",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "a", i(10)) },
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "a")); return tx.SetSlot(w.oid, "a", i(20)) }, true},
		{"write skew",
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "b")); return tx.SetSlot(w.oid, "a", i(10)) },
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "a")); return tx.SetSlot(w.oid, "b", i(20)) }, true},
		{"a slot read that somebody sets to the same",
			func(tx *Tx, w world) error {
				must(t, tx.SetSlot(w.oid, "a", i(1)))
				return tx.SetSlot(w.oid, "b", i(9))
			},
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "a")); return mark(tx, w) }, false},
		{"an absent slot that appears",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "new", i(1)) },
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "new")); return mark(tx, w) }, true},
		{"a lookup that a slot on the way would answer",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "inherited", i(1)) },
			func(tx *Tx, w world) error {
				_, holder, _, err := tx.Lookup(w.oid, "inherited")
				if holder != w.parent {
					t.Errorf("found in %s", holder)
				}
				must(t, err)
				return mark(tx, w)
			}, true},
		{"a lookup whose way changes",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "parent*", object.None{}) },
			func(tx *Tx, w world) error {
				_, _, _, err := tx.Lookup(w.oid, "inherited")
				must(t, err)
				return mark(tx, w)
			}, true},
		{"a lookup and another slot",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "b", i(1)) },
			func(tx *Tx, w world) error {
				_, _, _, err := tx.Lookup(w.oid, "inherited")
				must(t, err)
				return mark(tx, w)
			}, false},
		{"slot names and a value",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "b", i(1)) },
			func(tx *Tx, w world) error { _, err := tx.SlotNames(w.oid); must(t, err); return mark(tx, w) }, false},
		{"slot names and a new slot",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "new", i(1)) },
			func(tx *Tx, w world) error { _, err := tx.SlotNames(w.oid); must(t, err); return mark(tx, w) }, true},
		{"a whole object",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "b", i(1)) },
			func(tx *Tx, w world) error { _, err := tx.Load(w.oid); must(t, err); return mark(tx, w) }, true},
		{"an object that ends",
			func(tx *Tx, w world) error { return tx.Delete(w.oid) },
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "a", i(9)) }, true},
		{"protection",
			func(tx *Tx, w world) error { return tx.SetProtection(w.oid, object.Sealed) },
			func(tx *Tx, w world) error {
				_, err := tx.Protection(w.oid)
				must(t, err)
				return tx.SetSlot(w.oid, "a", i(9))
			}, true},
		{"two additions",
			func(tx *Tx, w world) error { return tx.AddCounter(w.oid, "n", 2) },
			func(tx *Tx, w world) error { return tx.AddCounter(w.oid, "n", 3) }, false},
		{"an addition after a look",
			func(tx *Tx, w world) error { return tx.AddCounter(w.oid, "n", 2) },
			func(tx *Tx, w world) error { must(t, slot(tx, w.oid, "n")); return tx.AddCounter(w.oid, "n", 3) }, true},
		{"an addition to what is no counter any more",
			func(tx *Tx, w world) error { return tx.SetSlot(w.oid, "n", i(1)) },
			func(tx *Tx, w world) error { return tx.AddCounter(w.oid, "n", 3) }, true},
		{"the same derived object",
			func(tx *Tx, w world) error { return tx.CreateAt(batos.DeriveOID("test", "x"), slots()) },
			func(tx *Tx, w world) error { return tx.CreateAt(batos.DeriveOID("test", "x"), slots()) }, true},
		{"different keys",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(5), i(1)) },
			func(tx *Tx, w world) error { must(t, get(tx, w, 6)); return tx.Tree(w.tree).Set(i(6), i(2)) }, false},
		{"a key after a look",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(5), i(1)) },
			func(tx *Tx, w world) error { must(t, get(tx, w, 5)); return tx.Tree(w.tree).Set(i(5), i(2)) }, true},
		{"a key that is put in all the same",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(5), i(1)) },
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(5), i(2)) }, false},
		{"a key within a range",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(25), i(1)) },
			func(tx *Tx, w world) error {
				for range tx.Tree(w.tree).Range(i(20), i(30)) {
				}
				return mark(tx, w)
			}, true},
		{"a key outside a range",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(31), i(1)) },
			func(tx *Tx, w world) error {
				for range tx.Tree(w.tree).Range(i(20), i(30)) {
				}
				return mark(tx, w)
			}, false},
		{"a key behind where a loop ended",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(25), i(1)) },
			func(tx *Tx, w world) error {
				for range tx.Tree(w.tree).Range(i(20), i(30)) {
					break
				}
				return mark(tx, w)
			}, false},
		{"a new least key",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(-1), i(1)) },
			func(tx *Tx, w world) error { _, _, _, err := tx.Tree(w.tree).Min(); must(t, err); return mark(tx, w) }, true},
		{"the least key and a new last one",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(10000), i(1)) },
			func(tx *Tx, w world) error { _, _, _, err := tx.Tree(w.tree).Min(); must(t, err); return mark(tx, w) }, false},
		{"the number of keys",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(25), i(1)) },
			func(tx *Tx, w world) error { _, err := tx.Tree(w.tree).Len(); must(t, err); return mark(tx, w) }, true},
		{"the number of keys when one changes",
			func(tx *Tx, w world) error { return tx.Tree(w.tree).Set(i(20), i(1)) },
			func(tx *Tx, w world) error { _, err := tx.Tree(w.tree).Len(); must(t, err); return mark(tx, w) }, false},
		{"different root names",
			func(tx *Tx, w world) error { return tx.SetName("x", w.oid) },
			func(tx *Tx, w world) error { return tx.SetName("y", w.oid) }, false},
		{"a root name that appears",
			func(tx *Tx, w world) error { return tx.SetName("x", w.oid) },
			func(tx *Tx, w world) error { _, _, err := tx.Name("x"); must(t, err); return mark(tx, w) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			im := open(t)
			var w world
			update(t, im, func(tx *Tx) (err error) {
				if w.parent, err = tx.Create(slots("inherited", i(1))); err != nil {
					return err
				}
				if w.oid, err = tx.Create(slots("a", i(1), "b", i(2), "n", object.Counter(0), "parent*", object.Ref(w.parent))); err != nil {
					return err
				}
				w.tree, err = tx.NewTree()
				for n := range int64(500) { // several pages
					must(t, tx.Tree(w.tree).Set(i(n*10), object.Str("some text that fills pages")))
				}
				return err
			})
			one, other := two(t, im)
			must(t, c.first(one, w), c.second(other, w))
			if _, err := one.Commit(t.Context()); err != nil {
				t.Fatalf("the first: %v", err)
			}
			_, err := other.Commit(t.Context())
			switch {
			case c.conflict:
				wantCode(t, err, batos.Conflict)
			case err != nil:
				t.Fatalf("the second: %v", err)
			}
		})
	}
}

func TestBothSidesOfAMergeAreThere(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("a", i(1), "n", object.Counter(10)))
	one, other := two(t, im)
	must(t, one.SetSlot(oid, "a", i(5)), one.SetSlot(oid, "x", i(6)), one.AddCounter(oid, "n", -1))
	must(t, other.SetSlot(oid, "b", i(7)), other.AddCounter(oid, "n", 5))
	for _, tx := range []*Tx{one, other} {
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	view(t, im, func(tx *Tx) error {
		s, err := tx.Load(oid)
		if err != nil {
			return err
		}
		if got, want := showState(oid, s), oid.String()+" open a=5 b=7 n=<counter 14> x=6"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		return nil
	})
}

// TestFullTreeOnBothSides makes two transactions that each split the same
// pages many times, so that the second is made again on pages it never saw.
func TestFullTreeOnBothSides(t *testing.T) {
	im := open(t)
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		tree, err = tx.NewTree()
		return err
	})
	one, other := two(t, im)
	for n := range int64(2000) {
		must(t, one.Tree(tree).Set(i(2*n), object.Str("even")), other.Tree(tree).Set(i(2*n+1), object.Str("odd")))
	}
	for _, tx := range []*Tx{one, other} {
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(tx *Tx) error {
		n := int64(0)
		for e, err := range tx.Tree(tree).Range(nil, nil) {
			if err != nil {
				return err
			}
			if k, _ := e.Key.(object.Int).Int64(); k != n {
				t.Fatalf("key %d where %d should be", k, n)
			}
			n++
		}
		if size, err := tx.Tree(tree).Len(); size != n || n != 4000 {
			t.Errorf("%d keys, counted %d, %v", n, size, err)
		}
		return nil
	}
	view(t, im, check)
	// What grew beyond its pages for lack of OIDs must split later.
	update(t, im, func(tx *Tx) error {
		for n := range int64(4000) {
			must(t, tx.Tree(tree).Set(i(n), i(n)))
		}
		return nil
	})
	view(t, im, check)
}
