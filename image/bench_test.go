package image

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"batos"
	"batos/image/store/rawlog"
	"batos/internal/vfs"
	"batos/object"
)

// BenchmarkCommit measures durable commits of one small change, and beside
// them, in turn, the same bytes by the same number of writers on a raw log:
// "ratio". Writers have objects of their own, or share one object or tree.
func BenchmarkCommit(b *testing.B) {
	count := func(tx *Tx, oid batos.OID) error {
		n, err := intSlot(tx, oid, "count")
		if err != nil {
			return err
		}
		return tx.SetSlot(oid, "count", i(n+1))
	}
	type ground struct {
		own    []batos.OID
		shared batos.OID
		tree   object.Tree
	}
	for _, c := range []struct {
		name    string
		writers int
		change  func(tx *Tx, g *ground, writer, n int) error
	}{
		{"own object", 1, func(tx *Tx, g *ground, w, _ int) error { return count(tx, g.own[w]) }},
		{"own object", 16, func(tx *Tx, g *ground, w, _ int) error { return count(tx, g.own[w]) }},
		{"shared counter", 16, func(tx *Tx, g *ground, _, _ int) error { return tx.AddCounter(g.shared, "n", 1) }},
		{"shared tree", 16, func(tx *Tx, g *ground, w, n int) error { return tx.Tree(g.tree).Set(i(int64(n*16+w)), i(int64(n))) }},
		{"shared slot read and written", 16, func(tx *Tx, g *ground, _, _ int) error { return count(tx, g.shared) }},
	} {
		b.Run(fmt.Sprintf("%s/writers=%d", c.name, c.writers), func(b *testing.B) {
			const slice = 400 * time.Millisecond
			ctx := context.Background()
			im, err := Open(ctx, b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer im.Close()
			var g ground
			update(b, im, func(tx *Tx) (err error) {
				for range c.writers {
					oid, err := tx.Create(slots("count", i(0), "name", object.Str("an object like many"), "parent*", object.Ref(1), "list", list(i(1), i(2), i(3))))
					if err != nil {
						return err
					}
					g.own = append(g.own, oid)
				}
				if g.shared, err = tx.Create(slots("count", i(0), "n", object.Counter(0))); err != nil {
					return err
				}
				g.tree, err = tx.NewTree()
				return err
			})
			var mine, raw float64
			var rounds [16]int
			for range b.N {
				before := im.Stats()
				begin := time.Now()
				var wg sync.WaitGroup
				for w := range c.writers {
					wg.Go(func() {
						for ; time.Since(begin) < slice; rounds[w]++ {
							if _, err := im.Update(ctx, func(tx *Tx) error { return c.change(tx, &g, w, rounds[w]) }); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				took := time.Since(begin)
				after := im.Stats()
				n := after.Transactions - before.Transactions
				mine += float64(n) / took.Seconds()
				r, err := rawlog.Measure(b.TempDir(), rawlog.Load{Writers: c.writers, Bytes: int((after.LogBytes - before.LogBytes) / n), Duration: slice})
				if err != nil {
					b.Fatal(err)
				}
				raw += r.PerSecond()
			}
			b.ReportMetric(mine/float64(b.N), "commits/s")
			b.ReportMetric(raw/float64(b.N), "raw/s")
			b.ReportMetric(mine/raw, "ratio")
		})
	}
}

func benchImage(b *testing.B) *Image {
	im, err := Open(context.Background(), "/image", Options{FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { im.Close() })
	return im
}

func BenchmarkWarmSlot(b *testing.B) {
	im := benchImage(b)
	oid := create(b, im, slots("a", i(1), "b", i(2), "count", i(3), "parent*", object.Ref(1)))
	other := create(b, im, slots("count", i(3)))
	run := func(name string, readOnly bool, read func(tx *Tx, n int)) {
		b.Run(name, func(b *testing.B) {
			tx, err := im.Begin(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			defer tx.Abort()
			tx.readOnly = readOnly
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				read(tx, n)
				n++
			}
		})
	}
	run("view", true, func(tx *Tx, _ int) { _, _, _ = tx.Slot(oid, "count") })
	run("update", false, func(tx *Tx, _ int) { _, _, _ = tx.Slot(oid, "count") })
	run("in turns", false, func(tx *Tx, n int) {
		if n%2 == 0 {
			_, _, _ = tx.Slot(oid, "count")
		} else {
			_, _, _ = tx.Slot(other, "count")
		}
	})
	run("set", false, func(tx *Tx, _ int) { _ = tx.SetSlot(oid, "count", object.Bool(true)) })
}

func BenchmarkLookupThroughThreeParents(b *testing.B) {
	im := benchImage(b)
	oid := create(b, im, slots("x", i(1)))
	for range 3 {
		oid = create(b, im, slots("a", i(1), "parent*", object.Ref(oid)))
	}
	tx, err := im.Begin(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Abort()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok, err := tx.Lookup(oid, "x"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkShortView is a whole read-only transaction that reads one slot.
func BenchmarkShortView(b *testing.B) {
	im := benchImage(b)
	oid := create(b, im, slots("a", i(1)))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := im.View(ctx, func(tx *Tx) error {
			_, _, err := tx.Slot(oid, "a")
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTree(b *testing.B) {
	const keys = 100_000
	im := benchImage(b)
	var tree object.Tree
	b.Run("insert in one commit", func(b *testing.B) {
		for b.Loop() {
			update(b, im, func(tx *Tx) (err error) {
				if tree, err = tx.NewTree(); err != nil {
					return err
				}
				t := tx.Tree(tree)
				for n := range int64(keys) {
					if err := t.Set(i(n*7919%keys), i(n)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
	})
	b.Run("get", func(b *testing.B) {
		view(b, im, func(tx *Tx) error {
			t := tx.Tree(tree)
			n := int64(0)
			for b.Loop() {
				if _, ok, err := t.Get(i(n * 7919 % keys)); !ok || err != nil {
					b.Fatal(ok, err)
				}
				n++
			}
			return nil
		})
	})
	b.Run("range", func(b *testing.B) {
		view(b, im, func(tx *Tx) error {
			for b.Loop() {
				for _, err := range tx.Tree(tree).Range(nil, nil) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			return nil
		})
		b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
	})
	b.Run("insert in its own commit", func(b *testing.B) {
		n := int64(keys)
		for b.Loop() {
			n++
			update(b, im, func(tx *Tx) error { return tx.Tree(tree).Set(i(n*7919), i(n)) })
		}
	})
}
