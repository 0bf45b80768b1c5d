package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"batos"
	"batos/image/store"
)

const forever = batos.TID(math.MaxUint64)

func testEmpty(t *testing.T, e *env) {
	if e.s.LastTID() != 0 {
		t.Fatalf("LastTID = %v", e.s.LastTID())
	}
	e.now(1, "")
	e.now(batos.DeriveOID("a", "b"), "")
	e.wantHistory(1)
	if got := e.log(0, forever); len(got) > 0 {
		t.Fatalf("log = %v", got)
	}
	p, err := e.s.SnapshotAt(e.ctx, 12345)
	e.must(err)
	if p.TID() != 0 {
		t.Fatalf("SnapshotAt = %v", p.TID())
	}
	if st := e.s.Stats(); st.Objects != 0 || st.Transactions != 0 || st.BlobBytes != 0 {
		t.Fatalf("Stats = %+v", st)
	}
	e.reopen()
	if e.s.LastTID() != 0 {
		t.Fatalf("LastTID after reopening = %v", e.s.LastTID())
	}
}

func testCommitLoad(t *testing.T, e *env) {
	a, b := e.oid(), batos.DeriveOID("space", "name")
	refs := []batos.OID{b, 7, b}
	tid := e.commit(
		store.Write{OID: a, Data: []byte("A"), Refs: refs},
		store.Write{OID: b, Data: nil},
	)
	for range 2 {
		if e.s.LastTID() != tid {
			t.Fatalf("LastTID = %v, want %v", e.s.LastTID(), tid)
		}
		e.now(a, "A")
		r, err := e.snapshot().Load(e.ctx, a)
		e.must(err)
		if !slices.Equal(r.Refs, refs) || r.TID != tid || len(r.Blobs) > 0 {
			t.Fatalf("Load = %+v", r)
		}
		r, err = e.snapshot().Load(e.ctx, b)
		e.must(err)
		if len(r.Data) > 0 || len(r.Refs) > 0 {
			t.Fatalf("Load = %+v", r)
		}
		if st := e.s.Stats(); st.Objects != 2 || st.Transactions != 1 {
			t.Fatalf("Stats = %+v", st)
		}
		e.reopen()
	}
}

func testOwnMemory(t *testing.T, e *env) {
	a := e.oid()
	data, meta, refs := []byte("mine"), []byte("meta"), []batos.OID{3}
	_, err := e.s.Commit(e.ctx, &store.Changes{Meta: meta, Writes: []store.Write{{OID: a, Data: data, Refs: refs}}})
	e.must(err)
	copy(data, "XXXX")
	copy(meta, "XXXX")
	refs[0] = 9
	e.now(a, "mine")
	r, err := e.snapshot().Load(e.ctx, a)
	e.must(err)
	if r.Refs[0] != 3 {
		t.Fatal("the store kept the caller's references")
	}
	if got := e.log(0, forever); !slices.Equal(got, []string{"meta: " + a.String() + "=mine"}) {
		t.Fatalf("log = %q", got)
	}
}

func testMeta(t *testing.T, e *env) {
	_, err := e.s.Commit(e.ctx, &store.Changes{Meta: []byte("only meta")})
	e.must(err)
	_, err = e.s.Commit(e.ctx, &store.Changes{})
	e.must(err)
	e.reopen()
	if got := e.log(0, forever); !slices.Equal(got, []string{"only meta:", ":"}) {
		t.Fatalf("log = %q", got)
	}
}

func testSnapshots(t *testing.T, e *env) {
	a, b := e.oid(), e.oid()
	before := e.snapshot()
	t1 := e.put(a, 0, "a1")
	first := e.snapshot()
	t2 := e.commit(store.Write{OID: a, Base: t1, Data: []byte("a2")}, store.Write{OID: b, Data: []byte("b2")})
	second := e.snapshot()
	t3 := e.commit(store.Write{OID: a, Base: t2, Delete: true})
	third := e.snapshot()
	for _, c := range []struct {
		p    store.Snapshot
		tid  batos.TID
		a, b string
	}{{before, 0, "", ""}, {first, t1, "a1", ""}, {second, t2, "a2", "b2"}, {third, t3, "", "b2"}} {
		if c.p.TID() != c.tid {
			t.Fatalf("snapshot of %v says %v", c.tid, c.p.TID())
		}
		e.want(c.p, a, c.a)
		e.want(c.p, b, c.b)
		e.must(c.p.Close())
	}
	if _, err := first.Load(e.ctx, a); err == nil {
		t.Fatal("a closed snapshot answers")
	}
}

func testSnapshotAt(t *testing.T, e *env) {
	a := e.oid()
	var tids []batos.TID
	base := batos.TID(0)
	for i := range 20 {
		base = e.put(a, base, fmt.Sprint("v", i))
		tids = append(tids, base)
	}
	for range 2 {
		for i, tid := range tids {
			for _, at := range []batos.TID{tid, tid + 1} {
				if at != tid && i+1 < len(tids) && tids[i+1] == at {
					continue
				}
				p, err := e.s.SnapshotAt(e.ctx, at)
				e.must(err)
				if p.TID() != tid {
					t.Fatalf("SnapshotAt(%v) = %v, want %v", at, p.TID(), tid)
				}
				e.want(p, a, fmt.Sprint("v", i))
			}
		}
		p, err := e.s.SnapshotAt(e.ctx, tids[0]-1)
		e.must(err)
		e.want(p, a, "")
		e.reopen()
	}
}

func testConflicts(t *testing.T, e *env) {
	a, b := e.oid(), e.oid()
	t1 := e.put(a, 0, "a1")
	t2 := e.put(a, t1, "a2")
	write := func(oid batos.OID, base batos.TID) *store.Changes {
		return &store.Changes{Writes: []store.Write{{OID: b, Data: []byte("b")}, {OID: oid, Base: base, Data: []byte("x")}}}
	}
	e.refused(write(a, 0), batos.Conflict)
	e.refused(write(a, t1), batos.Conflict)
	e.refused(write(a, t2+1), batos.Conflict)
	e.refused(write(e.oid(), t1), batos.Conflict)
	e.refused(&store.Changes{Writes: []store.Write{{OID: a, Base: t1, Delete: true}}}, batos.Conflict)
	e.now(a, "a2")
	e.now(b, "")
	_, err := e.s.Commit(e.ctx, write(a, t2))
	e.must(err)
	e.now(b, "b")
}

func testReads(t *testing.T, e *env) {
	a, b, none := e.oid(), e.oid(), e.oid()
	t1 := e.put(a, 0, "a1")
	base := batos.TID(0)
	try := func(reads ...store.Read) error {
		tid, err := e.s.Commit(e.ctx, &store.Changes{Reads: reads, Writes: []store.Write{{OID: b, Base: base, Data: []byte("b")}}})
		if err == nil {
			base = tid
		}
		return err
	}
	e.must(try(store.Read{OID: a, TID: t1}, store.Read{OID: none}))
	e.code(try(store.Read{OID: a}), batos.Conflict)
	t2 := e.put(a, t1, "a2")
	e.code(try(store.Read{OID: none}, store.Read{OID: a, TID: t1}), batos.Conflict)
	e.must(try(store.Read{OID: a, TID: t2}))
	e.commit(store.Write{OID: a, Base: t2, Delete: true})
	e.code(try(store.Read{OID: a, TID: t2}), batos.Conflict)
	e.must(try(store.Read{OID: a}))
}

func testDelete(t *testing.T, e *env) {
	a := e.oid()
	t1 := e.put(a, 0, "a1")
	t2 := e.commit(store.Write{OID: a, Base: t1, Delete: true})
	e.now(a, "")
	e.refused(&store.Changes{Writes: []store.Write{{OID: a, Base: t2, Delete: true}}}, batos.Invalid)
	e.refused(&store.Changes{Writes: []store.Write{{OID: a, Delete: true}}}, batos.Invalid)
	if st := e.s.Stats(); st.Objects != 0 || st.Transactions != 2 {
		t.Fatalf("Stats = %+v", st)
	}
	t3 := e.put(a, 0, "again") // what was deleted does not exist
	t4 := e.commit(store.Write{OID: a, Base: t3, Delete: true})
	e.put(a, t4, "undone") // and may be made again from its deletion
	e.reopen()
	e.now(a, "undone")
	e.wantHistory(a, "undone", "-", "again", "-", "a1")
	if st := e.s.Stats(); st.Objects != 1 || st.Transactions != 5 {
		t.Fatalf("Stats = %+v", st)
	}
}

func testInvalid(t *testing.T, e *env) {
	a := e.oid()
	for name, writes := range map[string][]store.Write{
		"no object":          {{Data: []byte("x")}},
		"twice":              {{OID: a}, {OID: a}},
		"deletion with data": {{OID: a, Delete: true, Data: []byte("x")}},
		"unknown blob":       {{OID: a, Blobs: []store.BlobHash{{1}}}},
	} {
		t.Run(name, func(*testing.T) { e.refused(&store.Changes{Writes: writes}, batos.Invalid) })
	}
	many := make([]store.Write, 100)
	for i := range many {
		many[i].OID = batos.OID(1000 + i%99)
	}
	e.refused(&store.Changes{Writes: many}, batos.Invalid)
	if _, err := e.s.NewOIDs(e.ctx, 0); batos.CodeOf(err) != batos.Invalid {
		t.Fatalf("NewOIDs(0): %v", err)
	}
}

func testRebase(t *testing.T, e *env) {
	a, b := e.oid(), e.oid()
	t1 := e.put(a, 0, "1")
	e.put(a, t1, "2")
	called := 0
	_, err := e.s.Commit(e.ctx, &store.Changes{
		Writes: []store.Write{{OID: a, Base: t1, Data: []byte("lost")}},
		Rebase: func(n store.Newest) ([]store.Write, error) {
			called++
			r, err := n.Load(a)
			if err != nil {
				return nil, err
			}
			if _, err := n.Load(b); batos.CodeOf(err) != batos.NotFound {
				return nil, fmt.Errorf("loading nothing answered: %w", errTest)
			}
			return []store.Write{
				{OID: a, Base: r.TID, Data: append(r.Data, "+3"...)},
				{OID: b, Data: []byte("new")},
			}, nil
		},
	})
	e.must(err)
	if called != 1 {
		t.Fatalf("Rebase was called %d times", called)
	}
	e.now(a, "2+3")
	e.now(b, "new")

	// A stale read calls it, too; a transaction that is not stale does not.
	tid, err := e.s.Commit(e.ctx, &store.Changes{
		Reads:  []store.Read{{OID: a, TID: t1}},
		Rebase: func(store.Newest) ([]store.Write, error) { called++; return nil, nil },
	})
	e.must(err)
	_, err = e.s.Commit(e.ctx, &store.Changes{
		Reads:  []store.Read{{OID: 999}},
		Rebase: func(store.Newest) ([]store.Write, error) { called++; return nil, errTest },
	})
	e.must(err)
	if called != 2 || tid == 0 {
		t.Fatalf("Rebase was called %d times", called)
	}

	// Changes that come late have their writes made; who asks learns the TID
	// when they are accepted, if at all, and before the next sees it.
	accepted := batos.TID(0)
	tid, err = e.s.Commit(e.ctx, &store.Changes{
		Late: true,
		Rebase: func(n store.Newest) ([]store.Write, error) {
			if r, err := n.Load(a); err != nil || n.TID(a) != r.TID || n.TID(999) != 0 {
				t.Errorf("%v is of %v, and 999 of %v, %v", r.TID, n.TID(a), n.TID(999), err)
			}
			return []store.Write{{OID: a, Base: n.TID(a), Delete: true}}, nil
		},
		Accepted: func(tid batos.TID) { accepted = tid },
	})
	e.must(err)
	if accepted != 0 && accepted != tid {
		t.Errorf("%v was accepted as %v", tid, accepted)
	}
	_, err = e.s.Commit(e.ctx, &store.Changes{
		Late: true,
		Rebase: func(n store.Newest) ([]store.Write, error) {
			if tid := n.TID(a); tid != 0 {
				t.Errorf("what is deleted has revision %v", tid)
			}
			return nil, nil
		},
	})
	e.must(err)
}

func testRebaseRefused(t *testing.T, e *env) {
	a, b := e.oid(), e.oid()
	t1 := e.put(a, 0, "1")
	e.put(a, t1, "2")
	with := func(writes []store.Write, err error) *store.Changes {
		return &store.Changes{
			Writes: []store.Write{{OID: a, Base: t1}, {OID: b, Data: []byte("b")}},
			Rebase: func(store.Newest) ([]store.Write, error) { return writes, err },
		}
	}
	if _, err := e.s.Commit(e.ctx, with(nil, errTest)); !errors.Is(err, errTest) {
		t.Fatalf("Commit = %v, want Rebase's own error", err)
	}
	e.refused(with([]store.Write{{OID: a, Base: t1}}, nil), batos.Conflict)
	e.refused(with([]store.Write{{OID: b}, {OID: b}}, nil), batos.Invalid)
	func() {
		defer func() { _ = recover() }()
		_, _ = e.s.Commit(e.ctx, &store.Changes{
			Reads:  []store.Read{{OID: a, TID: t1}},
			Rebase: func(store.Newest) ([]store.Write, error) { panic("rebase") },
		})
		t.Error("the panic was swallowed")
	}()
	e.now(a, "2")
	e.now(b, "")
	e.put(b, 0, "still alive")
}

func testHistory(t *testing.T, e *env) {
	a, other := e.oid(), e.oid()
	base, want := batos.TID(0), []string(nil)
	for i := range 30 {
		base = e.put(a, base, fmt.Sprint(i))
		want = append([]string{fmt.Sprint(i)}, want...)
		if i%3 == 0 {
			e.commit(store.Write{OID: other + batos.OID(i) + 1, Data: []byte("noise")})
		}
	}
	e.wantHistory(a, want...)
	e.reopen()
	e.put(a, base, "after")
	e.wantHistory(a, append([]string{"after"}, want...)...)
	for r, err := range e.s.History(e.ctx, a) {
		e.must(err)
		if string(r.Data) != "after" {
			t.Fatalf("newest is %q", r.Data)
		}
		break
	}
}

func testTransactions(t *testing.T, e *env) {
	var tids []batos.TID
	var lines []string
	for i := range 12 {
		oid := e.oid()
		tid, err := e.s.Commit(e.ctx, &store.Changes{Meta: fmt.Append(nil, "m", i), Writes: []store.Write{{OID: oid, Data: fmt.Append(nil, i)}}})
		e.must(err)
		tids = append(tids, tid)
		lines = append(lines, fmt.Sprintf("m%d: %v=%d", i, oid, i))
		if i == 5 {
			e.reopen()
		}
	}
	for from := range tids {
		for to := range tids {
			want := []string(nil)
			if from <= to {
				want = lines[from : to+1]
			}
			if got := e.log(tids[from], tids[to]); !slices.Equal(got, want) {
				t.Fatalf("log %d to %d = %q, want %q", from, to, got, want)
			}
		}
	}
	if got := e.log(0, forever); !slices.Equal(got, lines) {
		t.Fatalf("the whole log = %q", got)
	}
	if got := e.log(tids[11]+1, forever); len(got) > 0 {
		t.Fatalf("the log after its end = %q", got)
	}
}

func testOIDs(t *testing.T, e *env) {
	seen := map[batos.OID]bool{}
	var mu sync.Mutex
	take := func() {
		for n := 1; n <= 50; n++ {
			first, err := e.s.NewOIDs(e.ctx, n)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			for o := first; o < first+batos.OID(n); o++ {
				if o == 0 || o.Derived() || seen[o] {
					t.Errorf("oid %v was given twice, or is none", o)
				}
				seen[o] = true
			}
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(take)
	}
	wg.Wait()
	reserved := e.oids(3) // before a commit that writes something else
	for _, o := range reserved {
		seen[o] = true
	}
	e.put(batos.DeriveOID("x", "y"), 0, "x")
	e.reopen()
	take()

	high := e.oid() + 1_000_000 // chosen by the caller, not reserved
	e.put(high, 0, "high")
	if o := e.oid(); o <= high {
		t.Fatalf("oid %v was given out although %v is in use", o, high)
	}
}

func testTIDs(t *testing.T, e *env) {
	last := batos.TID(0)
	for range 50 {
		before := batos.TIDAt(time.Now())
		tid := e.commit()
		if tid <= last || tid < before {
			t.Fatalf("tid %v after %v, at %v", tid, last, before)
		}
		last = tid
	}
}

func testLarge(t *testing.T, e *env) {
	a, b := e.oid(), e.oid()
	big := strings.Repeat("0123456789abcdef", 3<<20/16)
	refs := make([]batos.OID, 5000)
	for i := range refs {
		refs[i] = batos.OID(i + 1)
	}
	e.commit(store.Write{OID: a, Data: []byte(big), Refs: refs}, store.Write{OID: b, Data: []byte(big[:100_000])})
	for range 2 {
		e.now(a, big)
		e.now(b, big[:100_000])
		r, err := e.snapshot().Load(e.ctx, a)
		e.must(err)
		if !slices.Equal(r.Refs, refs) {
			t.Fatal("the references changed")
		}
		e.reopen()
	}
}

func testMany(t *testing.T, e *env) {
	const n = 20_000
	first, err := e.s.NewOIDs(e.ctx, n)
	e.must(err)
	writes := make([]store.Write, n)
	for i := range writes {
		writes[i] = store.Write{OID: first + batos.OID(i), Data: fmt.Append(nil, "object ", i)}
	}
	e.commit(writes...)
	e.reopen()
	p := e.snapshot()
	for i := 0; i < n; i += 37 {
		e.want(p, first+batos.OID(i), fmt.Sprint("object ", i))
	}
	if st := e.s.Stats(); st.Objects != n {
		t.Fatalf("Stats = %+v", st)
	}
}

func testContext(t *testing.T, e *env) {
	a := e.oid()
	e.put(a, 0, "a")
	p := e.snapshot()
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	last := e.s.LastTID()
	calls := map[string]func() error{
		"Commit":     func() error { _, err := e.s.Commit(ctx, &store.Changes{}); return err },
		"Snapshot":   func() error { _, err := e.s.Snapshot(ctx); return err },
		"SnapshotAt": func() error { _, err := e.s.SnapshotAt(ctx, last); return err },
		"Load":       func() error { _, err := p.Load(ctx, a); return err },
		"NewOIDs":    func() error { _, err := e.s.NewOIDs(ctx, 1); return err },
		"NewBlob":    func() error { _, err := e.s.NewBlob(ctx); return err },
		"Wait":       func() error { _, err := e.s.Wait(ctx, last); return err },
		"History": func() error {
			for _, err := range e.s.History(ctx, a) {
				return err
			}
			return nil
		},
		"Transactions": func() error {
			for _, err := range e.s.Transactions(ctx, 0, last) {
				return err
			}
			return nil
		},
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	if e.s.LastTID() != last {
		t.Fatal("a cancelled commit is in the log")
	}
}

func testClosed(t *testing.T, e *env) {
	a := e.oid()
	e.put(a, 0, "a")
	s, p := e.s, e.snapshot()
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Wait(e.ctx, s.LastTID())
		waiting <- err
	}()
	e.must(s.Close())
	if err := <-waiting; err == nil {
		t.Error("Wait on a closed store answers")
	}
	for name, call := range map[string]func() error{
		"Commit":   func() error { _, err := s.Commit(e.ctx, &store.Changes{}); return err },
		"Load":     func() error { _, err := p.Load(e.ctx, a); return err },
		"Snapshot": func() error { _, err := s.Snapshot(e.ctx); return err },
		"NewOIDs":  func() error { _, err := s.NewOIDs(e.ctx, 1); return err },
		"NewBlob":  func() error { _, err := s.NewBlob(e.ctx); return err },
		"OpenBlob": func() error { _, err := s.OpenBlob(e.ctx, store.BlobHash{}); return err },
	} {
		if err := call(); batos.CodeOf(err) == "" {
			t.Errorf("%s on a closed store: %v", name, err)
		}
	}
	e.must(s.Close()) // again, for nothing
	e.s = nil
	e.reopen()
	e.now(a, "a")
}

func testWait(t *testing.T, e *env) {
	last := e.commit()
	if got, err := e.s.Wait(e.ctx, 0); err != nil || got != last {
		t.Fatalf("Wait = %v, %v", got, err)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			for at := last; at < last+1; {
				got, err := e.s.Wait(e.ctx, at)
				if err != nil || got <= at {
					t.Errorf("Wait(%v) = %v, %v", at, got, err)
					return
				}
				at = got
			}
		})
	}
	e.commit()
	wg.Wait()
}

// equalBytes keeps failures of large contents readable.
func equalBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes differ from the %d expected", len(got), len(want))
	}
}
