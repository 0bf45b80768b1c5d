package storetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"batos"
	"batos/image/store"
)

// modelObjects is how few objects the model test uses, so that they meet.
const modelObjects = 6

// model is what a store should be, as plainly as it can be written.
type model struct {
	tids    []batos.TID
	states  []map[batos.OID]modelRev // after each transaction
	history map[batos.OID][]modelRev // oldest first
	lines   []string
}

type modelRev struct {
	tid  batos.TID
	data string // "" is a deletion
}

func (m *model) last() (batos.TID, map[batos.OID]modelRev) {
	if len(m.tids) == 0 {
		return 0, nil
	}
	return m.tids[len(m.tids)-1], m.states[len(m.states)-1]
}

// testModel runs random operations on the store and on a model, and compares
// everything that can be seen.
func testModel(t *testing.T, e *env) {
	origin := e.oids(1)[0]
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		space := fmt.Sprint("model", round)
		oids := make([]batos.OID, modelObjects)
		for i := range oids {
			oids[i] = batos.DeriveOID(space, fmt.Sprint(i))
			if i%2 == 0 { // also OIDs of the common kind
				oids[i] = origin + batos.OID(round*modelObjects+i)
			}
		}
		m := &model{history: map[batos.OID][]modelRev{}}
		anOID := rapid.SampledFrom(oids)
		start := e.s.LastTID()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				c := &store.Changes{Meta: rapid.SliceOfN(rapid.ByteRange('a', 'z'), 0, 5).Draw(rt, "meta")}
				_, now := m.last()
				next := map[batos.OID]string{}
				stale := false
				for _, oid := range rapid.SliceOfNDistinct(anOID, 0, modelObjects, rapid.ID).Draw(rt, "oids") {
					w := store.Write{OID: oid, Base: now[oid].tid}
					exists := now[oid].data != ""
					if !exists && rapid.Bool().Draw(rt, "anew") {
						w.Base = 0
					}
					if exists && rapid.IntRange(0, 9).Draw(rt, "stale") == 0 {
						w.Base, stale = w.Base-1, true
					}
					if exists && rapid.IntRange(0, 4).Draw(rt, "delete") == 0 {
						w.Delete = true
					} else {
						w.Data = fmt.Appendf(nil, "%d.%s", len(m.tids), rapid.StringN(0, 40, 300).Draw(rt, "data"))
					}
					next[oid] = string(w.Data)
					c.Writes = append(c.Writes, w)
				}
				tid, err := e.s.Commit(e.ctx, c)
				if stale {
					if batos.CodeOf(err) != batos.Conflict {
						rt.Fatalf("a stale commit answered %v", err)
					}
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				state := maps.Clone(now)
				if state == nil {
					state = map[batos.OID]modelRev{}
				}
				line := string(c.Meta) + ":"
				for _, w := range c.Writes {
					r := modelRev{tid, next[w.OID]}
					state[w.OID] = r
					m.history[w.OID] = append(m.history[w.OID], r)
					if r.data == "" {
						r.data = "-"
					}
					line += fmt.Sprintf(" %v=%s", w.OID, r.data)
				}
				m.tids, m.states, m.lines = append(m.tids, tid), append(m.states, state), append(m.lines, line)
			},
			"reopen": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
					e.reopen()
				}
			},
			"look back": func(rt *rapid.T) {
				if len(m.tids) == 0 {
					rt.Skip("nothing to see")
				}
				i := rapid.IntRange(0, len(m.tids)-1).Draw(rt, "transaction")
				p, err := e.s.SnapshotAt(e.ctx, m.tids[i])
				if err != nil {
					rt.Fatal(err)
				}
				m.compare(rt, e, p, m.tids[i], m.states[i], oids)
			},
			"history": func(rt *rapid.T) {
				oid := anOID.Draw(rt, "oid")
				var want []string
				for _, r := range slices.Backward(m.history[oid]) {
					if r.data == "" {
						r.data = "-"
					}
					want = append(want, r.data)
				}
				if got := e.history(oid); !slices.Equal(got, want) {
					rt.Fatalf("history of %v = %q, want %q", oid, got, want)
				}
			},
			"log": func(rt *rapid.T) {
				if got := e.log(start+1, forever); !slices.Equal(got, m.lines) {
					rt.Fatalf("log = %q, want %q", got, m.lines)
				}
			},
			"": func(rt *rapid.T) {
				tid, state := m.last()
				p, err := e.s.Snapshot(e.ctx)
				if err != nil {
					rt.Fatal(err)
				}
				m.compare(rt, e, p, max(tid, start), state, oids)
			},
		})
	})
}

// compare checks a snapshot against a state of the model.
func (m *model) compare(rt *rapid.T, e *env, p store.Snapshot, tid batos.TID, want map[batos.OID]modelRev, oids []batos.OID) {
	if p.TID() != tid {
		rt.Fatalf("the snapshot is of %v, want %v", p.TID(), tid)
	}
	for _, oid := range oids {
		r, err := p.Load(e.ctx, oid)
		switch w := want[oid]; {
		case w.data == "":
			if batos.CodeOf(err) != batos.NotFound {
				rt.Fatalf("%v exists at %v: %q, %v", oid, tid, r.Data, err)
			}
		case err != nil || r.TID != w.tid || string(r.Data) != w.data:
			rt.Fatalf("%v at %v = %q of %v, %v; want %q of %v", oid, tid, r.Data, r.TID, err, w.data, w.tid)
		}
	}
	if err := p.Close(); err != nil {
		rt.Fatal(err)
	}
}
