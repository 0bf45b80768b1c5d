package image

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

// survivor runs one image through several lives, each ended by a power
// failure, and knows what has to be there afterwards.
type survivor struct {
	fsys   *vfs.Crash
	rng    *rand.Rand
	past   []version     // acknowledged
	asked  *world        // of the commit that was not answered, if any
	blobs  []object.Blob // acknowledged, each of its size in bytes 'b'
	object batos.OID
	tree   object.Tree
}

// found makes the first objects.
func (s *survivor) found(t *testing.T, im *Image) error {
	w := newWorld()
	s.asked = w
	tid, err := im.Update(t.Context(), func(tx *Tx) (err error) {
		state := slots("a", i(0), "n", object.Counter(0))
		if s.object, err = tx.Create(state); err != nil {
			return err
		}
		if s.tree, err = tx.NewTree(); err != nil {
			return err
		}
		w.objects[s.object], w.trees[batos.OID(s.tree)] = state, map[int64]string{}
		return tx.SetName("survivor", s.object)
	})
	if err == nil {
		s.past, s.asked = append(s.past, version{tid, w}), nil
	}
	return err
}

// work commits until the power fails or enough is done.
func (s *survivor) work(t *testing.T, im *Image, rounds int) error {
	if len(s.past) == 0 {
		if err := s.found(t, im); err != nil {
			return err
		}
	}
	for range rounds {
		w := s.past[len(s.past)-1].world.clone()
		tx, err := im.Begin(t.Context())
		if err != nil {
			return err
		}
		var ops []*op
		for range 1 + s.rng.IntN(6) {
			key := s.rng.Int64N(80)
			ops = append(ops,
				&op{kind: "put", oid: batos.OID(s.tree), n: key, text: strings.Repeat("x", s.rng.IntN(300))},
				&op{kind: "del", oid: batos.OID(s.tree), n: s.rng.Int64N(80)})
		}
		if s.rng.IntN(2) == 0 {
			ops = append(ops, &op{kind: "create", name: "a", value: i(s.rng.Int64N(1000))})
		}
		ops = append(ops, &op{kind: "set", oid: s.object, name: "a", value: i(s.rng.Int64N(1000))}, &op{kind: "add", oid: s.object, name: "n", n: 1})
		for _, o := range ops {
			if got, want := o.onImage(tx), o.onModel(w); got != want {
				tx.Abort()
				return fmt.Errorf("%s: %q, want %q", o, got, want)
			}
			if o.kind == "create" && s.durable(o.oid) {
				tx.Abort()
				return fmt.Errorf("%s was given out again", o.oid)
			}
		}
		var blob object.Blob
		if s.rng.IntN(4) == 0 {
			if blob, err = im.NewBlob(t.Context(), bytes.NewReader(bytes.Repeat([]byte("b"), 1+s.rng.IntN(9000)))); err != nil {
				tx.Abort()
				return err
			}
			if err := tx.Names().Set(object.Bytes(blob.Hash[:]), blob); err != nil {
				return err
			}
		}
		s.asked = w
		tid, err := tx.Commit(t.Context())
		if err != nil {
			return err
		}
		s.past, s.asked = append(s.past, version{tid, w}), nil
		if blob.Size > 0 {
			s.blobs = append(s.blobs, blob)
		}
	}
	return nil
}

// durable reports whether there ever was such an object.
func (s *survivor) durable(oid batos.OID) bool {
	return slices.ContainsFunc(s.past, func(v version) bool { return v.world.objects[oid] != nil || v.world.trees[oid] != nil })
}

// check demands that everything acknowledged is there, and of what was not
// answered all or nothing.
func (s *survivor) check(t *testing.T, im *Image) {
	t.Helper()
	acked := batos.TID(0)
	if len(s.past) > 0 {
		acked = s.past[len(s.past)-1].tid
	}
	switch last := im.LastTID(); {
	case last < acked:
		t.Fatalf("acknowledged up to %s, but after the crash the newest is %s", acked, last)
	case last > acked && s.asked == nil:
		t.Fatalf("%s is there, which nobody asked for", last)
	case last > acked:
		s.past = append(s.past, version{last, s.asked})
	}
	s.asked = nil
	for _, v := range s.past {
		tx, err := im.BeginAt(t.Context(), v.tid)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, tx, v.world)
		tx.Abort()
	}
	if len(s.past) > 0 {
		view(t, im, func(tx *Tx) error {
			if oid, ok, err := tx.Name("survivor"); !ok || oid != s.object || err != nil {
				t.Fatalf("the root name leads to %s, %v, %v", oid, ok, err)
			}
			return nil
		})
	}
	for _, p := range problems(t, im) {
		if IsDamage(p) {
			t.Fatalf("after the crash: %+v", p)
		}
	}
	for _, blob := range s.blobs {
		b, err := im.OpenBlob(t.Context(), blob)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || int64(len(got)) != blob.Size || strings.Trim(string(got), "b") != "" {
			t.Fatalf("a blob of %d bytes came back with %d, %v", blob.Size, len(got), err)
		}
		must(t, b.Close())
	}
}

// TestPowerFails stops the disk at 80 places spread over the work of three
// lives, and looks at what is left each time. BATOS_LONG=1 makes it 4,000.
func TestPowerFails(t *testing.T) {
	const lives, rounds = 3, 12
	points := 80
	if os.Getenv("BATOS_LONG") != "" {
		points = 4000
	}
	crashes := 0
	for point := range points {
		s := &survivor{fsys: vfs.NewCrash(uint64(point)), rng: rand.New(rand.NewPCG(uint64(point), 7))}
		for life := range lives {
			stop := s.fsys.Calls() + 1 + s.rng.IntN(60)
			s.fsys.StopAt(stop)
			im, err := Open(t.Context(), "/image", Options{FS: s.fsys})
			if err == nil {
				err = s.work(t, im, rounds)
				if err == nil && life == 1 {
					err = im.Close()
				}
			}
			if err != nil && !s.fsys.Stopped() {
				t.Fatalf("seed %d, life %d: %v", point, life, err)
			}
			if s.fsys.Stopped() {
				crashes++
			}
			s.fsys.Crash()
			s.fsys.StopAt(0)
			im, err = Open(t.Context(), "/image", Options{FS: s.fsys})
			if err != nil {
				t.Fatalf("seed %d, life %d, stopped at call %d: %v", point, life, stop, err)
			}
			s.check(t, im)
			must(t, im.Close())
		}
	}
	if crashes < 50 {
		t.Errorf("the power failed %d times in the middle of work; that proves too little", crashes)
	}
	t.Logf("%d crashes", crashes)
}
