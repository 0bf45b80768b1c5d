package storetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"batos"
	"batos/image/store"
)

// testDistinct: committers of different objects never disturb each other.
func testDistinct(t *testing.T, e *env) {
	const writers, each = 16, 25
	oids := e.oids(writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			base := batos.TID(0)
			for i := range each {
				tid, err := e.s.Commit(e.ctx, &store.Changes{Writes: []store.Write{{OID: oids[w], Base: base, Data: fmt.Append(nil, i)}}})
				if err != nil || tid <= base {
					t.Errorf("writer %d: tid %v after %v, %v", w, tid, base, err)
					return
				}
				if last := e.s.LastTID(); last < tid {
					t.Errorf("%v was acknowledged but the newest is %v", tid, last)
				}
				base = tid
			}
		})
	}
	wg.Wait()
	e.reopen()
	for _, oid := range oids {
		e.now(oid, fmt.Sprint(each-1))
		if n := len(e.history(oid)); n != each {
			t.Fatalf("%v has %d revisions, want %d", oid, n, each)
		}
	}
	if n := len(e.log(0, forever)); n != writers*each {
		t.Fatalf("the log has %d transactions", n)
	}
}

// testHotObject: additions to one counter, rebased, are never lost.
func testHotObject(t *testing.T, e *env) {
	const writers, each = 16, 25
	hot := e.oid()
	first := e.commit(store.Write{OID: hot, Data: number(0)})
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := e.s.Commit(e.ctx, &store.Changes{
					Writes: []store.Write{{OID: hot, Base: first, Data: number(1)}},
					Rebase: func(n store.Newest) ([]store.Write, error) {
						r, err := n.Load(hot)
						if err != nil {
							return nil, err
						}
						return []store.Write{{OID: hot, Base: r.TID, Data: number(toNumber(r.Data) + 1)}}, nil
					},
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	e.reopen()
	e.now(hot, string(number(writers*each)))
}

func number(n uint64) []byte   { return binary.BigEndian.AppendUint64(nil, n) }
func toNumber(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// testInvariant: transfers between accounts, validated by what they read and
// tried again after a conflict, keep the sum in every snapshot.
func testInvariant(t *testing.T, e *env) {
	const accounts, writers, each, start = 5, 6, 30, 100
	oids := e.oids(accounts)
	writes := make([]store.Write, accounts)
	for i := range writes {
		writes[i] = store.Write{OID: oids[i], Data: number(start)}
	}
	e.commit(writes...)
	sum := func(p store.Snapshot) (n uint64) {
		for _, oid := range oids {
			r, err := p.Load(e.ctx, oid)
			if err != nil {
				t.Error(err)
				return 0
			}
			n += toNumber(r.Data)
		}
		return n
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for done := 0; done < each; {
				p, err := e.s.Snapshot(e.ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if n := sum(p); n != accounts*start {
					t.Errorf("the sum is %d at %v", n, p.TID())
					return
				}
				i := rng.IntN(accounts)
				j := (i + 1 + rng.IntN(accounts-1)) % accounts
				a, errA := p.Load(e.ctx, oids[i])
				b, errB := p.Load(e.ctx, oids[j])
				if errA != nil || errB != nil {
					t.Error(errA, errB)
					return
				}
				have := toNumber(a.Data)
				take := rng.Uint64N(have + 1)
				_, err = e.s.Commit(e.ctx, &store.Changes{Writes: []store.Write{
					{OID: oids[i], Base: a.TID, Data: number(have - take)},
					{OID: oids[j], Base: b.TID, Data: number(toNumber(b.Data) + take)},
				}})
				switch batos.CodeOf(err) {
				case batos.Conflict:
				case "":
					if err != nil {
						t.Error(err)
						return
					}
					done++
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	e.reopen()
	if n := sum(e.snapshot()); n != accounts*start {
		t.Fatalf("the sum is %d in the end", n)
	}
}
