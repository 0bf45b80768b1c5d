package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// failer is what *testing.T and *rapid.T have in common here.
type failer interface {
	Context() context.Context
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Logf(string, ...any)
}

// version is the model after one commit.
type version struct {
	tid   batos.TID
	world *world
}

// TestModel runs random transactions with savepoints, aborts, undos, looks
// into the past, differences, histories, packs, backups, restores to any moment
// and restarts, and compares everything with a plain model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys := vfs.NewMem()
		ctx := t.Context()
		im, err := Open(ctx, "/image", Options{FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { im.Close() }()
		w, tid := founded(t, im)
		past := []version{{0, newWorld()}, {tid, w}}
		now := func() *world { return past[len(past)-1].world }
		packed := batos.TID(0) // the oldest moment that stays whole
		var restored []string

		t.Repeat(map[string]func(*rapid.T){
			"transaction": func(t *rapid.T) {
				w := now().clone()
				tid := transact(t, im, w)
				if tid > past[len(past)-1].tid {
					past = append(past, version{tid, w})
				} else if tid != 0 && w.String() != now().String() {
					t.Fatalf("a transaction that changed something committed nothing\nwas %s\nis %s", now(), w)
				}
			},
			"look back": func(t *rapid.T) {
				v := rapid.SampledFrom(past).Draw(t, "when")
				tx, err := im.BeginAt(ctx, v.tid)
				if v.tid < packed && batos.CodeOf(err) == batos.Packed {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				if v.tid < packed {
					comparePacked(t, tx, v.world)
					return
				}
				compare(t, tx, v.world)
			},
			"diff": func(t *rapid.T) {
				from, to := rapid.SampledFrom(past).Draw(t, "from"), rapid.SampledFrom(past).Draw(t, "to")
				changes, err := im.Diff(ctx, from.tid, to.tid)
				if min(from.tid, to.tid) < packed && batos.CodeOf(err) == batos.Packed {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				w := from.world.clone()
				w.apply(t, changes)
				if w.String() != to.world.String() {
					t.Fatalf("the difference of %s and %s makes of the first\n%s\nnot\n%s", from.tid, to.tid, w, to.world)
				}
			},
			"log": func(t *rapid.T) { compareLog(t, im, past, packed) },
			"history": func(t *rapid.T) {
				oids := sorted(now().objects)
				if len(oids) > 0 {
					compareHistory(t, im, rapid.SampledFrom(oids).Draw(t, "whose"), past, packed)
				}
			},
			"restore": func(t *rapid.T) {
				if _, err := im.Backup(ctx, "/backup"); err != nil {
					t.Fatal(err)
				}
				v := rapid.SampledFrom(past[1:]).Draw(t, "when")
				to := fmt.Sprint("/restored", len(restored))
				_, err := Restore(ctx, "/backup", to, v.tid, Options{FS: fsys})
				if v.tid < packed && batos.CodeOf(err) == batos.Packed {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				restored = append(restored, to)
				again, err := Open(ctx, to, Options{FS: fsys})
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				tx, err := again.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				compare(t, tx, v.world)
			},
			"verify": func(t *rapid.T) {
				for p, err := range im.Verify(ctx, VerifyOptions{}, nil) {
					if err != nil || IsDamage(p) {
						t.Fatalf("%v: %+v", err, p)
					}
				}
			},
			"pack": func(t *rapid.T) {
				before := rapid.SampledFrom(past).Draw(t, "before").tid
				if _, err := im.Pack(ctx, PackOptions{Before: before}); err != nil {
					t.Fatal(err)
				}
				packed = max(packed, before)
			},
			"undo": func(t *rapid.T) {
				n := rapid.IntRange(1, len(past)-1).Draw(t, "which")
				want, clash := undone(past[n-1].world, past[n].world, now())
				tid, err := im.Undo(ctx, past[n].tid, Meta{Note: "undo"})
				switch {
				case past[n].tid <= packed && batos.CodeOf(err) == batos.Packed:
				case clash != "" && batos.CodeOf(err) != batos.Conflict:
					t.Fatalf("undo of %s should conflict on %s, but: %v", past[n].tid, clash, err)
				case clash == "" && err != nil:
					t.Fatalf("undo of %s: %v", past[n].tid, err)
				case clash == "" && tid > past[len(past)-1].tid:
					past = append(past, version{tid, want})
				}
			},
			"restart": func(t *rapid.T) {
				if err := im.Close(); err != nil {
					t.Fatal(err)
				}
				if im, err = Open(ctx, "/image", Options{FS: fsys}); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				tx, err := im.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				compare(t, tx, now())
			},
		})
	})
}

// transact runs one random transaction on the image and on w.
func transact(t *rapid.T, im *Image, w *world) batos.TID {
	tx, err := im.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	steps(t, tx, w)
	if _, err := tx.Changes(); err != nil {
		t.Fatal(err)
	}
	if rapid.IntRange(0, 5).Draw(t, "abort") == 0 {
		tx.Abort()
		return 0
	}
	tid, err := tx.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// steps takes random steps in a transaction and on w.
func steps(t *rapid.T, tx *Tx, w *world) {
	type mark struct {
		sp Savepoint
		w  *world
	}
	var marks []mark
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		switch rapid.IntRange(0, 12).Draw(t, "savepoint") {
		case 0:
			marks = append(marks, mark{tx.Savepoint(), w.clone()})
			continue
		case 1:
			if len(marks) == 0 {
				continue
			}
			n := rapid.IntRange(0, len(marks)-1).Draw(t, "back to")
			if err := tx.Rollback(marks[n].sp); err != nil {
				t.Fatal(err)
			}
			*w = *marks[n].w.clone()
			marks = marks[:n+1]
			continue
		}
		o := drawOp(t, w)
		got, want := o.onImage(tx), o.onModel(w)
		if got != want {
			t.Fatalf("%s: %q, the model says %q", o, got, want)
		}
	}
	compare(t, tx, w)
}

// compareLog demands that the log has every version after the moment that was
// packed to, with what was written, and of those before at most that.
func compareLog(t failer, im *Image, past []version, packed batos.TID) {
	t.Helper()
	n := 1
	for tx, err := range im.Log(t.Context(), 0, 1<<63) {
		if err != nil {
			t.Fatal(err)
		}
		for ; n < len(past) && past[n].tid < tx.TID; n++ {
			if past[n].tid > packed {
				t.Fatalf("the log has no transaction %s", past[n].tid)
			}
		}
		if n == len(past) || past[n].tid != tx.TID {
			t.Fatalf("the log has a transaction %s that nobody made", tx.TID)
		}
		var wrote []batos.OID
		was, is := past[n-1].world, past[n].world
		for _, oid := range sorted(union(was.objects, is.objects)) {
			if !object.Same(was.objects[oid], is.objects[oid]) {
				wrote = append(wrote, oid)
			}
		}
		if tx.TID > packed && !slices.Equal(wrote, tx.Objects) {
			t.Fatalf("transaction %s wrote %v, says the log; it wrote %v", tx.TID, tx.Objects, wrote)
		}
		for _, oid := range tx.Objects {
			if !slices.Contains(wrote, oid) {
				t.Fatalf("transaction %s wrote %s, says the log of a packed past; it wrote %v", tx.TID, oid, wrote)
			}
		}
		n++
	}
	if n < len(past) {
		t.Fatalf("the log ends before %s", past[n].tid)
	}
}

// compareHistory demands that an object's history is what the versions say: all
// of it after the moment that was packed to, and nothing else before.
func compareHistory(t failer, im *Image, oid batos.OID, past []version, packed batos.TID) {
	t.Helper()
	show := func(s *object.State) string {
		if s == nil {
			return "nothing"
		}
		return showState(oid, s)
	}
	want := map[batos.TID]string{}
	for n := 1; n < len(past); n++ {
		if is := show(past[n].world.objects[oid]); is != show(past[n-1].world.objects[oid]) {
			want[past[n].tid] = is
		}
	}
	for r, err := range im.History(t.Context(), oid) {
		if err != nil {
			t.Fatal(err)
		}
		if is := show(r.State); is != want[r.TID] {
			t.Fatalf("revision %s of %s is %s, want %s", r.TID, oid, is, want[r.TID])
		}
		delete(want, r.TID)
	}
	for tid, is := range want {
		if tid > packed {
			t.Fatalf("the history of %s has no revision %s: %s", oid, tid, is)
		}
	}
}

func compare(t failer, tx *Tx, w *world) {
	t.Helper()
	got, err := w.see(tx)
	if err != nil {
		t.Fatal(err)
	}
	if want := w.String(); got != want {
		t.Fatalf("the image has\n%s\nthe model\n%s", got, want)
	}
}

// comparePacked is compare for a moment in a past that was packed: each object
// and tree is as it was, or the answer has code packed.
func comparePacked(t failer, tx *Tx, w *world) {
	t.Helper()
	one := newWorld()
	look := func() {
		t.Helper()
		got, err := one.see(tx)
		if batos.CodeOf(err) != batos.Packed && (err != nil || got != one.String()) {
			t.Fatalf("a packed past has %v\n%s\nthe model\n%s", err, got, one)
		}
	}
	for oid, s := range w.objects {
		one.objects[oid] = s
		look()
		delete(one.objects, oid)
	}
	for id, tree := range w.trees {
		one.trees[id] = tree
		look()
		delete(one.trees, id)
	}
}

// undone gives now without what happened between was and is, or what clashes.
func undone(was, is, now *world) (*world, string) {
	out := now.clone()
	for _, oid := range sorted(union(was.objects, is.objects)) {
		a, b, n := was.objects[oid], is.objects[oid], now.objects[oid]
		if object.Same(a, b) {
			continue
		}
		if (b == nil) != (n == nil) {
			return nil, oid.String()
		}
		switch {
		case b == nil:
			out.objects[oid] = a
			continue
		case a == nil:
			if b.Protection != n.Protection || len(slotChanges(b, n)) > 0 {
				return nil, oid.String()
			}
			delete(out.objects, oid)
			continue
		}
		if a.Protection != b.Protection {
			if n.Protection != b.Protection {
				return nil, oid.String() + " protection"
			}
			n = n.Protect(a.Protection)
		}
		for _, name := range slotNames {
			x, _ := a.Slot(name)
			y, _ := b.Slot(name)
			z, _ := n.Slot(name)
			if object.Equal(x, y) {
				continue
			}
			cx, ok1 := x.(object.Counter)
			cy, ok2 := y.(object.Counter)
			cz, ok3 := z.(object.Counter)
			switch {
			case ok1 && ok2 && ok3:
				n = n.With(name, cz+cx-cy)
			case !object.Equal(y, z):
				return nil, oid.String() + " " + name
			case x == nil:
				n = n.Without(name)
			default:
				n = n.With(name, x)
			}
		}
		out.objects[oid] = n
	}
	for id := range is.trees {
		a, b, n := was.trees[id], is.trees[id], out.trees[id]
		for _, k := range slices.Sorted(maps.Keys(union(a, b))) {
			x, inA := a[k]
			y, inB := b[k]
			z, inN := n[k]
			switch {
			case inA == inB && x == y:
			case inB != inN || y != z:
				return nil, fmt.Sprintf("%s key %d", id, k)
			case inA:
				n[k] = x
			default:
				delete(n, k)
			}
		}
	}
	return out, ""
}

func union[K comparable, V any](a, b map[K]V) map[K]V {
	out := map[K]V{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// attempt is one transaction in a history of interleaved ones.
type attempt struct {
	tx      *Tx
	view    *world // what the model says it could know of: to draw steps from
	steps   []*op
	answers []string
}

// TestSerializable interleaves random transactions. Then it runs those that
// committed again, one after the other in the order of their TIDs, on a plain
// model: every step of each must learn there what it learned in the image.
func TestSerializable(t *testing.T) {
	var commits, conflicts int
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		im, err := Open(ctx, "/image", Options{FS: vfs.NewMem(), CacheBytes: rapid.SampledFrom([]int64{1, 1 << 20}).Draw(t, "cache")})
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		w, tid := founded(t, im)
		past := []version{{tid, w}}
		now := func() *world { return past[len(past)-1].world }
		open := map[int]*attempt{}

		t.Repeat(map[string]func(*rapid.T){
			"step": func(t *rapid.T) {
				n := rapid.IntRange(0, 3).Draw(t, "transaction")
				a := open[n]
				if a == nil {
					tx, err := im.Begin(ctx)
					if err != nil {
						t.Fatal(err)
					}
					a = &attempt{tx: tx, view: now().clone()}
					open[n] = a
				}
				for range rapid.IntRange(1, 4).Draw(t, "steps") {
					o := drawOp(t, a.view)
					answer := o.onImage(a.tx)
					if want := o.onModel(a.view); answer != want {
						t.Fatalf("%s: %q, its own snapshot says %q", o, answer, want)
					}
					a.steps, a.answers = append(a.steps, o), append(a.answers, answer)
				}
			},
			"commit": func(t *rapid.T) {
				n := rapid.IntRange(0, 3).Draw(t, "transaction")
				a := open[n]
				if a == nil {
					t.Skip("nothing to commit")
				}
				delete(open, n)
				tid, err := a.tx.Commit(ctx)
				if batos.CodeOf(err) == batos.Conflict {
					conflicts++
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				commits++
				base := len(past) - 1
				if tid <= past[base].tid { // it wrote nothing: it stands where its snapshot was taken
					base = slices.IndexFunc(past, func(v version) bool { return v.tid == tid })
				}
				w := past[base].world.clone()
				for i, o := range a.steps {
					if got := o.onModel(w); got != a.answers[i] {
						t.Fatalf("%s learned %q; run alone in commit order it would learn %q\nthe whole transaction:\n%s", o, a.answers[i], got, a)
					}
				}
				if tid > past[len(past)-1].tid {
					past = append(past, version{tid, w})
				}
			},
			"": func(t *rapid.T) {
				tx, err := im.Begin(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Abort()
				compare(t, tx, now())
			},
		})
		for _, a := range open {
			a.tx.Abort()
		}
	})
	t.Logf("%d commits, %d conflicts", commits, conflicts)
}

func (a *attempt) String() string {
	var b strings.Builder
	for i, o := range a.steps {
		fmt.Fprintf(&b, "%s → %s\n", o, a.answers[i])
	}
	return b.String()
}
