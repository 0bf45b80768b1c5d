// Package storetest is the conformance suite of [store.Store]. A store is one
// when [Run] passes; what only one implementation promises is tested beside
// that implementation.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"batos"
	"batos/image/store"
)

// Opener opens the store kept in one place, again and again: what was
// committed before Close is there after the next call.
type Opener func() (store.Store, error)

// Run tests the stores that a place gives. Each call of place makes a new,
// empty one that lasts as long as the test it is given.
func Run(t *testing.T, place func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"Empty", testEmpty},
		{"CommitLoad", testCommitLoad},
		{"OwnMemory", testOwnMemory},
		{"Meta", testMeta},
		{"Snapshots", testSnapshots},
		{"SnapshotAt", testSnapshotAt},
		{"Conflicts", testConflicts},
		{"Reads", testReads},
		{"Delete", testDelete},
		{"Invalid", testInvalid},
		{"Rebase", testRebase},
		{"RebaseRefused", testRebaseRefused},
		{"History", testHistory},
		{"Transactions", testTransactions},
		{"OIDs", testOIDs},
		{"TIDs", testTIDs},
		{"Large", testLarge},
		{"Many", testMany},
		{"Context", testContext},
		{"Closed", testClosed},
		{"Wait", testWait},
		{"Blobs", testBlobs},
		{"BlobRanges", testBlobRanges},
		{"BlobsUnused", testBlobsUnused},
		{"Distinct", testDistinct},
		{"HotObject", testHotObject},
		{"Invariant", testInvariant},
		{"Model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newEnv(t, place(t))) })
	}
}

// env is one store under test.
type env struct {
	t    *testing.T
	ctx  context.Context
	open Opener
	s    store.Store
}

func newEnv(t *testing.T, open Opener) *env {
	e := &env{t: t, ctx: t.Context(), open: open}
	e.reopen()
	t.Cleanup(func() { e.must(e.s.Close()) })
	return e
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// reopen closes the store and opens it again.
func (e *env) reopen() {
	e.t.Helper()
	if e.s != nil {
		e.must(e.s.Close())
	}
	s, err := e.open()
	e.must(err)
	e.s = s
}

// oids reserves n OIDs.
func (e *env) oids(n int) []batos.OID {
	e.t.Helper()
	first, err := e.s.NewOIDs(e.ctx, n)
	e.must(err)
	out := make([]batos.OID, n)
	for i := range out {
		out[i] = first + batos.OID(i)
	}
	return out
}

func (e *env) oid() batos.OID {
	e.t.Helper()
	return e.oids(1)[0]
}

// commit makes one transaction of writes.
func (e *env) commit(writes ...store.Write) batos.TID {
	e.t.Helper()
	tid, err := e.s.Commit(e.ctx, &store.Changes{Writes: writes})
	e.must(err)
	return tid
}

// put writes a revision of an object.
func (e *env) put(oid batos.OID, base batos.TID, data string) batos.TID {
	e.t.Helper()
	return e.commit(store.Write{OID: oid, Base: base, Data: []byte(data)})
}

func (e *env) snapshot() store.Snapshot {
	e.t.Helper()
	p, err := e.s.Snapshot(e.ctx)
	e.must(err)
	return p
}

// want checks the data of an object in a snapshot; "" means that it does not
// exist.
func (e *env) want(p store.Snapshot, oid batos.OID, data string) {
	e.t.Helper()
	r, err := p.Load(e.ctx, oid)
	switch {
	case data == "":
		e.code(err, batos.NotFound)
	case err != nil:
		e.t.Fatalf("Load(%v) at %v: %v", oid, p.TID(), err)
	case string(r.Data) != data || r.OID != oid || r.Delete || r.TID == 0 || r.TID > p.TID():
		e.t.Fatalf("Load(%v) at %v = %q of %v at %v, want %q", oid, p.TID(), r.Data, r.OID, r.TID, data)
	}
}

// now checks an object in the newest state.
func (e *env) now(oid batos.OID, data string) {
	e.t.Helper()
	p := e.snapshot()
	e.want(p, oid, data)
	e.must(p.Close())
}

// code checks that err has a code and says something in one line.
func (e *env) code(err error, want batos.Code) {
	e.t.Helper()
	if batos.CodeOf(err) != want {
		e.t.Fatalf("error %v has code %q, want %q", err, batos.CodeOf(err), want)
	}
	if text := err.Error(); text == "" || bytes.ContainsRune([]byte(text), '\n') {
		e.t.Fatalf("the error %q is not one line", text)
	}
}

// refused checks that a commit fails and changes nothing.
func (e *env) refused(c *store.Changes, want batos.Code) {
	e.t.Helper()
	last := e.s.LastTID()
	_, err := e.s.Commit(e.ctx, c)
	e.code(err, want)
	if e.s.LastTID() != last {
		e.t.Fatal("a refused commit is in the log")
	}
}

// history gives what an object was, newest first: "-" for a deletion.
func (e *env) history(oid batos.OID) []string {
	e.t.Helper()
	var out []string
	last := batos.TID(1<<64 - 1)
	for r, err := range e.s.History(e.ctx, oid) {
		e.must(err)
		if r.OID != oid || r.TID >= last {
			e.t.Fatalf("history of %v yields %v at %v after %v", oid, r.OID, r.TID, last)
		}
		last = r.TID
		what := string(r.Data)
		if r.Delete {
			what = "-"
		}
		if r.Gap {
			what += " gap"
		}
		out = append(out, what)
	}
	return out
}

func (e *env) wantHistory(oid batos.OID, want ...string) {
	e.t.Helper()
	if got := e.history(oid); !slices.Equal(got, want) {
		e.t.Fatalf("history of %v is %q, want %q", oid, got, want)
	}
}

// log gives the transactions between two TIDs as text.
func (e *env) log(from, to batos.TID) []string {
	e.t.Helper()
	var out []string
	last := batos.TID(0)
	for tx, err := range e.s.Transactions(e.ctx, from, to) {
		e.must(err)
		if tx.TID <= last || tx.TID < from || tx.TID > to {
			e.t.Fatalf("transaction %v out of order after %v", tx.TID, last)
		}
		last = tx.TID
		line := string(tx.Meta) + ":"
		for _, r := range tx.Revisions {
			if r.TID != tx.TID {
				e.t.Fatalf("transaction %v holds a revision of %v", tx.TID, r.TID)
			}
			data := string(r.Data)
			if r.Delete {
				data = "-"
			}
			line += fmt.Sprintf(" %v=%s", r.OID, data)
		}
		if tx.Packed > 0 {
			line += fmt.Sprintf(" packed=%d", tx.Packed)
		}
		out = append(out, line)
	}
	return out
}

var errTest = errors.New("the test says no")
