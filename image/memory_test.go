package image

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"batos"
	"batos/object"
)

// held are kinds of content, each the n-th of very many different ones.
var held = []struct {
	name string
	make func(n int) []object.Slot
}{
	{"small ints", func(n int) []object.Slot {
		return []object.Slot{{Name: "count", Value: object.NewInt(int64(n % 100))}, {Name: "step", Value: object.NewInt(1)}}
	}},
	{"large ints", func(n int) []object.Slot {
		return []object.Slot{{Name: "count", Value: object.NewInt(int64(n) * 1e9)}, {Name: "step", Value: object.NewInt(1e6)}}
	}},
	{"floats and times", func(n int) []object.Slot {
		return []object.Slot{{Name: "x", Value: object.Float(float64(n) / 3)}, {Name: "y", Value: object.Float(n)}, {Name: "at", Value: object.Time(1e15 + n)}}
	}},
	{"short text", func(n int) []object.Slot {
		return []object.Slot{{Name: "name", Value: object.Str(fmt.Sprintf("item %d", n))}, {Name: "kind", Value: object.Str("item")}}
	}},
	{"long text", func(n int) []object.Slot {
		return []object.Slot{{Name: "text", Value: object.Str(strings.Repeat(fmt.Sprintf("line %d. ", n), 200))}}
	}},
	{"a list of ints", func(n int) []object.Slot {
		l := &object.List{}
		for i := range 40 {
			l.Items = append(l.Items, object.NewInt(int64(n*i)))
		}
		return []object.Slot{{Name: "items", Value: l}}
	}},
	{"a short list", func(n int) []object.Slot {
		return []object.Slot{{Name: "items", Value: &object.List{Items: []object.Value{object.Str(fmt.Sprintf("a part of %d", n)), object.NewInt(1)}}}}
	}},
	{"a dict of text", func(n int) []object.Slot {
		d := &object.Dict{}
		for i := range 12 {
			d.Entries = append(d.Entries, object.Entry{Key: object.Str(fmt.Sprintf("key number %d", i)), Value: object.Str(fmt.Sprintf("value %d of %d", i, n))})
		}
		return []object.Slot{{Name: "fields", Value: d}}
	}},
	{"a method", func(n int) []object.Slot {
		source := fmt.Sprintf("def add_%d(self, n):\n    \"\"\"Adds n.\"\"\"\n    self.count = self.count + n\n    self._p_changed = True\n    return self.count\n", n)
		return []object.Slot{{Name: "add", Value: &object.Method{Selector: "add", Source: source, Author: batos.Person, AuthorName: "tester", Version: 1}}}
	}},
	{"many slots", func(n int) []object.Slot {
		var s []object.Slot
		for i, name := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
			s = append(s, object.Slot{Name: name, Value: object.NewInt(int64(n + i*1000))})
		}
		return s
	}},
	{"a message's record", func(n int) []object.Slot {
		id := fmt.Sprintf("m%030d", n)
		return []object.Slot{
			{Name: "kind", Value: object.Str("message")}, {Name: "id", Value: object.Str(id)}, {Name: "lineage", Value: object.Str(strings.Clone(id))},
			{Name: "sender", Value: object.Str(fmt.Sprintf("client %d", n%9))}, {Name: "target", Value: object.Ref(300)}, {Name: "selector", Value: object.Str("add")},
			{Name: "args", Value: object.Bytes("\x92\x91\x01\x80")}, {Name: "authority", Value: object.NewInt(int64(n % 4))}, {Name: "hop", Value: object.NewInt(int64(n % 2))},
			{Name: "state", Value: object.Str("done")}, {Name: "received", Value: object.Time(1e15 + n)}, {Name: "finished", Value: object.Time(1e15 + n)},
			{Name: "left", Value: &object.Tuple{Items: []object.Value{object.NewInt(int64(8 - n%2)), object.NewInt(int64(16000 - n%2)), object.NewInt(int64(1000 - n%2)), object.NewInt(int64(32 - n%2)), object.NewInt(int64(4 - n%2)), object.NewInt(int64(10000 - n%2)), object.NewInt(int64(64<<20 - n%2))}}},
			{Name: "value", Value: object.NewInt(int64(n))},
		}
	}},
}

// TestTheCacheKnowsWhatItHolds: the account of what the cache holds is what the
// heap grew by, whatever the objects are, and whether they were read or written.
func TestTheCacheKnowsWhatItHolds(t *testing.T) {
	const objects, each = 2000, 100
	for _, kind := range held {
		im := onDisk(t)
		var oids []batos.OID
		write := func() {
			update(t, im, func(tx *Tx) error {
				for range each {
					oid, err := tx.Create(object.NewState(object.Open, batos.Person, kind.make(len(oids))...))
					if err != nil {
						return err
					}
					oids = append(oids, oid)
				}
				return nil
			})
		}
		oids = make([]batos.OID, 0, objects+each)
		write() // what commits need is there
		weigh(t, kind.name+", written", im, func() {
			for len(oids) < cap(oids) {
				write()
			}
		})
		weigh(t, kind.name+", read", im, func() {
			view(t, im, func(tx *Tx) error {
				for _, oid := range oids {
					if _, err := tx.Load(oid); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// onDisk is an image whose log is no part of the heap.
func onDisk(t *testing.T) *Image {
	t.Helper()
	im, err := Open(context.Background(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	return im
}

// TestTheCacheKnowsPages is the same for trees.
func TestTheCacheKnowsPages(t *testing.T) {
	im := onDisk(t)
	var tree object.Tree
	update(t, im, func(tx *Tx) (err error) {
		if tree, err = tx.NewTree(); err != nil {
			return err
		}
		for i := range 20_000 {
			if err := tx.Tree(tree).Set(object.Str(fmt.Sprintf("key %06d", i)), object.NewInt(int64(i)*1e6)); err != nil {
				return err
			}
		}
		return nil
	})
	weigh(t, "pages, read", im, func() {
		view(t, im, func(tx *Tx) error {
			for _, err := range tx.Tree(tree).Range(nil, nil) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// weigh empties the cache, fills it by work and compares its account with the
// heap.
func weigh(t *testing.T, name string, im *Image, work func()) {
	t.Helper()
	im.cache = newCache(1<<30, im.LastTID())
	before := heapNow()
	work()
	grew := heapNow() - before
	account, _, _ := im.cache.stats()
	ratio := float64(account) / float64(grew)
	t.Logf("%-28s account %8d, heap %8d: %.3f", name, account, grew, ratio)
	within := 0.1
	if underRace {
		within = 0.2
	}
	if math.Abs(ratio-1) > within {
		t.Errorf("%s: the account of %d bytes is %.2f of the %d that the heap grew by", name, account, ratio, grew)
	}
}

// heapNow is the bytes of the heap that are in use.
func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
