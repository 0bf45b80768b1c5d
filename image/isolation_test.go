package image

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// What follows checks isolation as Elle does (Kingsbury and Alvaro, 2020): many
// transactions at once read lists and append to them things that nobody else
// appends. From what they saw follows who must have come before whom:
//
//   - who appended something before who appended what stands after it (ww)
//   - who appended the last thing somebody saw before who saw it (wr)
//   - who saw a list before who appended the first thing it did not see (rw)
//   - who had ended before another began before that one (real time)
//
// If all ran as if one after the other, these ways have no circle.

// sight is one list as one transaction saw it.
type sight struct {
	key  int
	list []int
}

// witness is one transaction that committed, or that only read.
type witness struct {
	name       string
	saw        []sight
	added      map[int][]int // by key
	began, end int64         // ticks
}

func (d *witness) String() string { return fmt.Sprintf("%s: saw %v, added %v", d.name, d.saw, d.added) }

// circle gives witnesses that would each have to come before the next and the last
// before the first, with the reasons, or what no order explains; nil if all is
// well. final is every list in the end.
func circle(witnesses []*witness, final map[int][]int) []string {
	author := map[int]int{} // thing -> witness
	for i, d := range witnesses {
		for _, list := range d.added {
			for _, x := range list {
				author[x] = i
			}
		}
	}
	ways := make([]map[int]string, len(witnesses))
	way := func(from, to int, why string) {
		if from == to {
			return
		}
		if ways[from] == nil {
			ways[from] = map[int]string{}
		}
		if ways[from][to] == "" {
			ways[from][to] = why
		}
	}
	for key, list := range final {
		for i := 1; i < len(list); i++ {
			way(author[list[i-1]], author[list[i]], fmt.Sprintf("ww of list %d", key))
		}
	}
	for i, d := range witnesses {
		for _, s := range d.saw {
			list := final[s.key]
			if len(s.list) > len(list) || !slices.Equal(s.list, list[:len(s.list)]) {
				return []string{fmt.Sprintf("%v: list %d never was %v; in the end it is %v", d, s.key, s.list, list)}
			}
			if n := len(s.list); n > 0 {
				way(author[list[n-1]], i, fmt.Sprintf("wr of list %d", s.key))
			}
			if n := len(s.list); n < len(list) {
				way(i, author[list[n]], fmt.Sprintf("rw of list %d", s.key))
			}
		}
		for key, added := range d.added {
			at := slices.Index(final[key], added[0])
			if at < 0 || at+len(added) > len(final[key]) || !slices.Equal(final[key][at:at+len(added)], added) {
				return []string{fmt.Sprintf("%v: what it added to list %d is not there as it was added: %v", d, key, final[key])}
			}
		}
		for j, e := range witnesses {
			if d.end < e.began {
				way(i, j, "real time")
			}
		}
	}
	state := make([]int, len(witnesses)) // 1: on the path, 2: done
	var path []int
	var walk func(i int) []string
	walk = func(i int) []string {
		state[i] = 1
		path = append(path, i)
		for j := range ways[i] {
			if state[j] == 1 {
				var out []string
				round := append(path[slices.Index(path, j):len(path):len(path)], j)
				for n := 1; n < len(round); n++ {
					out = append(out, fmt.Sprintf("%v\n  before, by %s,", witnesses[round[n-1]], ways[round[n-1]][round[n]]))
				}
				return append(out, witnesses[j].String())
			}
			if state[j] == 0 {
				if out := walk(j); out != nil {
					return out
				}
			}
		}
		path = path[:len(path)-1]
		state[i] = 2
		return nil
	}
	for i := range witnesses {
		if state[i] == 0 {
			if out := walk(i); out != nil {
				return out
			}
		}
	}
	return nil
}

// TestCircle: the checker finds what it is there for.
func TestCircle(t *testing.T) {
	skew := []*witness{
		{name: "a", saw: []sight{{1, nil}, {2, nil}}, added: map[int][]int{1: {10}}, began: 1, end: 4},
		{name: "b", saw: []sight{{1, nil}, {2, nil}}, added: map[int][]int{2: {20}}, began: 2, end: 5},
	}
	stale := []*witness{
		{name: "a", added: map[int][]int{1: {10}}, began: 1, end: 2},
		{name: "b", saw: []sight{{1, nil}}, began: 3, end: 4},
	}
	lost := []*witness{{name: "a", added: map[int][]int{1: {10}}}, {name: "b", saw: []sight{{1, []int{10}}}}}
	fine := []*witness{
		{name: "a", added: map[int][]int{1: {10, 11}}, began: 1, end: 5},
		{name: "b", saw: []sight{{1, nil}, {1, nil}}, began: 2, end: 3},
		{name: "c", saw: []sight{{1, []int{10, 11}}}, added: map[int][]int{1: {12}}, began: 4, end: 6},
	}
	for name, c := range map[string]struct {
		witnesses []*witness
		final     map[int][]int
		bad       bool
	}{
		"write skew":  {skew, map[int][]int{1: {10}, 2: {20}}, true},
		"stale read":  {stale, map[int][]int{1: {10}}, true},
		"lost update": {lost, map[int][]int{1: {}}, true},
		"torn read":   {fine, map[int][]int{1: {10, 12, 11}}, true},
		"fine":        {fine, map[int][]int{1: {10, 11, 12}}, false},
	} {
		if out := circle(c.witnesses, c.final); (out != nil) != c.bad {
			t.Errorf("%s: %v", name, out)
		}
	}
}

// lists are where the transactions of [TestIsolation] read and append: slots of
// few objects, so that transactions meet in one object and in different slots
// of it, and keys of one tree, so that they meet in its pages.
type lists struct {
	objects []batos.OID
	tree    object.Tree
	keys    int
}

const slotsEach = 3

func (l *lists) read(tx *Tx, key int) ([]int, error) {
	var v object.Value
	var err error
	if n := len(l.objects) * slotsEach; key < n {
		v, _, err = tx.Slot(l.objects[key/slotsEach], fmt.Sprint("s", key%slotsEach))
	} else {
		v, _, err = tx.Tree(l.tree).Get(object.NewInt(int64(key)))
	}
	if err != nil || v == nil {
		return nil, err
	}
	return numbers(v), nil
}

func numbers(list object.Value) []int {
	var out []int
	for _, it := range list.(*object.List).Items {
		n, _ := it.(object.Int).Int64()
		out = append(out, int(n))
	}
	return out
}

func (l *lists) write(tx *Tx, key int, list []int) error {
	v := &object.List{}
	for _, n := range list {
		v.Items = append(v.Items, object.NewInt(int64(n)))
	}
	if n := len(l.objects) * slotsEach; key < n {
		return tx.SetSlot(l.objects[key/slotsEach], fmt.Sprint("s", key%slotsEach), v)
	}
	return tx.Tree(l.tree).Set(object.NewInt(int64(key)), v)
}

// sweep sees all lists of a stretch of the tree's keys at once, also those that
// are not there.
func (l *lists) sweep(tx *Tx, from, to int) ([]sight, error) {
	var out []sight
	next := from
	for e, err := range tx.Tree(l.tree).Range(object.NewInt(int64(from)), object.NewInt(int64(to))) {
		if err != nil {
			return nil, err
		}
		key, _ := e.Key.(object.Int).Int64()
		for ; next < int(key); next++ {
			out = append(out, sight{next, nil})
		}
		out = append(out, sight{next, numbers(e.Value)})
		next++
	}
	for ; next < to; next++ {
		out = append(out, sight{next, nil})
	}
	return out, nil
}

// TestIsolation runs transactions from many goroutines at once, those that only
// read too, and looks for a circle. There are many keys, most of which are not
// there in the beginning: so transactions meet in the number of keys and in
// pages that split, and stretches are looked at in which keys come to be.
func TestIsolation(t *testing.T) {
	rounds, each := 3, 30
	if os.Getenv("BATOS_LONG") != "" {
		rounds, each = 40, 120
	}
	for round := range rounds {
		seed := uint64(round + 1)
		im := open(t)
		l := &lists{keys: 3*slotsEach + 8 + round%2*150}
		for range 3 {
			l.objects = append(l.objects, create(t, im, slots()))
		}
		update(t, im, func(tx *Tx) (err error) {
			l.tree, err = tx.NewTree()
			return err
		})
		var clock, thing atomic.Int64
		var mu sync.Mutex
		var witnesses []*witness
		together(t, 8, func(worker int) error {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for n := range each {
				steps := 1 + rng.IntN(4)
				draw := rng.Uint64()
				var d *witness
				began := clock.Add(1) // before its snapshot is taken
				act := func(tx *Tx) error {
					own := rand.New(rand.NewPCG(draw, 0)) // the same each time it runs
					d = &witness{name: fmt.Sprintf("%d.%d", worker, n), added: map[int][]int{}, began: began}
					defer runtime.Gosched()
					for range steps {
						key := own.IntN(l.keys)
						runtime.Gosched() // others in between
						if first := len(l.objects) * slotsEach; key >= first && own.IntN(3) == 0 {
							seen, err := l.sweep(tx, key, min(key+20, l.keys))
							if err != nil {
								return err
							}
							for _, s := range seen {
								s.list = s.list[:len(s.list)-len(d.added[s.key])]
								d.saw = append(d.saw, s)
							}
							continue
						}
						list, err := l.read(tx, key)
						if err != nil {
							return err
						}
						d.saw = append(d.saw, sight{key, list[:len(list)-len(d.added[key])]})
						if own.IntN(2) == 0 {
							x := int(thing.Add(1))
							d.added[key] = append(d.added[key], x)
							if err := l.write(tx, key, append(slices.Clone(list), x)); err != nil {
								return err
							}
						}
					}
					return nil
				}
				var err error
				if rng.IntN(4) == 0 {
					err = im.View(t.Context(), func(tx *Tx) error {
						d = &witness{name: fmt.Sprintf("view %d.%d", worker, n), began: began}
						for range 4 {
							key := rng.IntN(l.keys)
							list, err := l.read(tx, key)
							if err != nil {
								return err
							}
							d.saw = append(d.saw, sight{key, list})
						}
						return nil
					})
				} else {
					_, err = im.Update(t.Context(), act)
				}
				if batos.CodeOf(err) == batos.Conflict {
					continue // it gave up, and did nothing
				}
				if err != nil {
					return err
				}
				d.end = clock.Add(1)
				mu.Lock()
				witnesses = append(witnesses, d)
				mu.Unlock()
			}
			return nil
		})
		final := map[int][]int{}
		view(t, im, func(tx *Tx) error {
			for key := range l.keys {
				list, err := l.read(tx, key)
				if err != nil {
					return err
				}
				final[key] = list
			}
			return nil
		})
		if out := circle(witnesses, final); out != nil {
			t.Fatalf("seed %d: no order explains\n%s", seed, strings.Join(out, "\n"))
		}
	}
}

// TestRaces holds an invariant over several objects and a tree while
// everything goes on at once: writers set all of them to one number in each
// transaction; whoever looks, now, in the past, in another process, or on a
// branch, while a pack and a verification run, sees one number everywhere.
func TestRaces(t *testing.T) {
	rounds := 40
	if os.Getenv("BATOS_LONG") != "" {
		rounds = 2000
	}
	disk := vfs.NewMem()
	im, err := Open(t.Context(), "/image", Options{FS: disk})
	must(t, err)
	defer im.Close()
	const objects = 5
	var oids []batos.OID
	for range objects {
		oids = append(oids, create(t, im, slots("n", i(0))))
	}
	var tree object.Tree
	set := func(tx *Tx, n int64) error {
		for _, oid := range oids {
			if err := tx.SetSlot(oid, "n", i(n)); err != nil {
				return err
			}
		}
		for k := range int64(objects) {
			if err := tx.Tree(tree).Set(i(k*100), i(n)); err != nil {
				return err
			}
		}
		return nil
	}
	update(t, im, func(tx *Tx) (err error) {
		if tree, err = tx.NewTree(); err != nil {
			return err
		}
		for k := range int64(objects * 100) { // several pages
			if err := tx.Tree(tree).Set(i(k), i(0)); err != nil {
				return err
			}
		}
		return set(tx, 0)
	})
	first := im.LastTID()
	same := func(tx *Tx) error {
		want, err := intSlot(tx, oids[0], "n")
		if err != nil {
			return err
		}
		for _, oid := range oids[1:] {
			if got, err := intSlot(tx, oid, "n"); err != nil || got != want {
				return fmt.Errorf("as of %v: object %v has %d, the first %d: %w", tx.Snapshot(), oid, got, want, err)
			}
		}
		for k := range int64(objects) {
			if got, _, err := tx.Tree(tree).Get(i(k * 100)); err != nil || !object.Equal(got, i(want)) {
				return fmt.Errorf("as of %v: key %d has %v, the objects %d: %w", tx.Snapshot(), k*100, got, want, err)
			}
		}
		return nil
	}
	other, err := Open(t.Context(), "/image", Options{FS: disk, ReadOnly: true})
	must(t, err)
	defer other.Close()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var watchers sync.WaitGroup
	watch := func(what string, look func() error) {
		watchers.Go(func() {
			for ctx.Err() == nil {
				if err := look(); err != nil && batos.CodeOf(err) != batos.Packed && ctx.Err() == nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	watch("now", func() error { return im.View(ctx, same) })
	watch("another process", func() error { return other.View(ctx, same) })
	watch("the past", func() error {
		last := im.LastTID()
		tx, err := im.BeginAt(ctx, first+batos.TID(rand.Uint64N(uint64(last-first)+1)))
		if err != nil {
			return err
		}
		defer tx.Abort()
		return same(tx)
	})
	watch("a branch", func() error {
		b, err := im.Branch(ctx, 0)
		if err != nil {
			return err
		}
		defer b.Discard()
		if err := b.Update(func(tx *Tx) error { return set(tx, -1) }); err != nil {
			return err
		}
		return b.View(same)
	})
	watch("pack", func() error {
		_, err := im.Pack(ctx, PackOptions{Before: im.LastTID()})
		return err
	})
	verify := func(im *Image) func() error {
		return func() error {
			var report VerifyReport
			for p, err := range im.Verify(ctx, VerifyOptions{}, &report) {
				if err != nil {
					return err
				}
				if IsDamage(p) {
					return fmt.Errorf("%s", p.Text)
				}
			}
			return nil
		}
	}
	watch("verify", verify(im))
	watch("verify in another process", verify(other))
	watch("backup", func() error {
		_, err := im.Backup(ctx, "/backup")
		return err
	})
	watch("survey", func() error {
		_, err := im.Survey(ctx, 3)
		return err
	})
	var number atomic.Int64
	together(t, 4, func(int) error {
		for range rounds {
			n := number.Add(1)
			_, err := im.Update(t.Context(), func(tx *Tx) error { return cmp.Or(same(tx), set(tx, n)) })
			if err != nil && batos.CodeOf(err) != batos.Conflict {
				return err
			}
		}
		return nil
	})
	stop()
	watchers.Wait()
	_, err = im.Backup(t.Context(), "/backup")
	must(t, err)
	_, err = Restore(t.Context(), "/backup", "/restored", 0, Options{FS: disk})
	must(t, err)
	restored, err := Open(t.Context(), "/restored", Options{FS: disk, ReadOnly: true})
	must(t, err)
	view(t, restored, same)
	must(t, restored.Close())
}
