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
	metas   []string
	writes  [][]batos.OID
	horizon batos.TID // of the last pack
}

type modelRev struct {
	tid  batos.TID
	data string // "" is a deletion
	gone bool   // packed away
}

// keeps is which old revisions a pack of the model test wants to stay.
func keeps(data string) bool { return len(data)%3 == 0 }

// pack does to the model what a pack of the store should do.
func (m *model) pack(before batos.TID, keep bool) {
	m.horizon = max(m.horizon, before)
	for _, revs := range m.history {
		at := -1
		for i := range revs {
			if revs[i].tid <= before {
				at = i
			}
		}
		old := false
		for i := range revs[:max(at, 0)] {
			r := &revs[i]
			r.gone = r.gone || r.data == "" || !keep || !keeps(r.data)
			old = old || !r.gone
		}
		if at >= 0 && revs[at].data == "" && !old {
			revs[at].gone = true
		}
	}
}

// find gives the revision of an object that a transaction made.
func (m *model) find(oid batos.OID, tid batos.TID) modelRev {
	for _, r := range m.history[oid] {
		if r.tid == tid {
			return r
		}
	}
	return modelRev{}
}

// lines gives the log as [env.log] prints it; what pack emptied may be missing
// and is marked.
func (m *model) lines() (lines []string, optional []bool) {
	for i, oids := range m.writes {
		line, gone := m.metas[i]+":", 0
		for _, oid := range oids {
			switch r := m.find(oid, m.tids[i]); {
			case r.gone:
				gone++
			case r.data == "":
				line += fmt.Sprintf(" %v=-", oid)
			default:
				line += fmt.Sprintf(" %v=%s", oid, r.data)
			}
		}
		if gone > 0 {
			line += fmt.Sprintf(" packed=%d", gone)
		}
		lines, optional = append(lines, line), append(optional, len(oids) > 0 && gone == len(oids))
	}
	return lines, optional
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
					if !exists && (w.Base <= m.horizon || rapid.Bool().Draw(rt, "anew")) {
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
				var wrote []batos.OID
				for _, w := range c.Writes {
					r := modelRev{tid: tid, data: next[w.OID]}
					state[w.OID] = r
					m.history[w.OID] = append(m.history[w.OID], r)
					wrote = append(wrote, w.OID)
				}
				m.tids, m.states = append(m.tids, tid), append(m.states, state)
				m.metas, m.writes = append(m.metas, string(c.Meta)), append(m.writes, wrote)
			},
			"pack": func(rt *rapid.T) {
				packer, ok := e.s.(store.Packer)
				if !ok || len(m.tids) == 0 || rapid.IntRange(0, 2).Draw(rt, "really") > 0 {
					rt.Skip("no pack")
				}
				o := store.PackOptions{Before: rapid.SampledFrom(m.tids).Draw(rt, "before")}
				keep := rapid.Bool().Draw(rt, "keep")
				if keep {
					o.Keep = func(_ []byte, r *store.Revision) bool { return keeps(string(r.Data)) }
				}
				report, err := packer.Pack(e.ctx, o)
				if err != nil || report.Before != o.Before {
					rt.Fatalf("Pack(%v) = %+v, %v", o.Before, report, err)
				}
				m.pack(o.Before, keep)
				m.verify(rt, e)
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
				if m.tids[i] < m.horizon {
					m.comparePast(rt, e, p, m.tids[i], m.states[i], oids)
				} else {
					m.compare(rt, e, p, m.tids[i], m.states[i], oids)
				}
			},
			"history": func(rt *rapid.T) {
				oid := anOID.Draw(rt, "oid")
				var want []string
				forgotten := false // of what ended and went altogether, a store need not know
				for i, r := range slices.Backward(m.history[oid]) {
					if r.gone {
						continue
					}
					if r.data == "" {
						r.data = "-"
					}
					if past := m.history[oid][:i]; len(past) > 0 && past[i-1].gone {
						r.data += " gap"
						forgotten = past[i-1].data == "" && !slices.ContainsFunc(past, func(r modelRev) bool { return !r.gone })
					}
					want = append(want, r.data)
				}
				got := e.history(oid)
				if n := len(got); forgotten && n == len(want) && got[n-1]+" gap" == want[n-1] {
					got[n-1] = want[n-1]
				}
				if !slices.Equal(got, want) {
					rt.Fatalf("history of %v = %q, want %q", oid, got, want)
				}
			},
			"log": func(rt *rapid.T) {
				got := e.log(start+1, forever)
				want, optional := m.lines()
				left := got
				for i, line := range want {
					if len(left) > 0 && left[0] == line {
						left = left[1:]
					} else if !optional[i] {
						left = []string{line}
						break
					}
				}
				if len(left) > 0 {
					rt.Fatalf("log = %q, want %q", got, want)
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

// comparePast checks a snapshot of a past that was packed: it answers what was
// or code packed, and what has to stay it answers.
func (m *model) comparePast(rt *rapid.T, e *env, p store.Snapshot, tid batos.TID, want map[batos.OID]modelRev, oids []batos.OID) {
	for _, oid := range oids {
		r, err := p.Load(e.ctx, oid)
		w := want[oid]
		code := batos.CodeOf(err)
		stays := w.data != "" && !m.find(oid, w.tid).gone
		switch {
		case err == nil && w.data != "" && r.TID == w.tid && string(r.Data) == w.data:
		case code == batos.NotFound && w.data == "":
		case code == batos.Packed && !stays:
		default:
			rt.Fatalf("%v at the packed %v = %q of %v, %v; want %q of %v, which stays: %v", oid, tid, r.Data, r.TID, err, w.data, w.tid, stays)
		}
	}
	if err := p.Close(); err != nil {
		rt.Fatal(err)
	}
}

// verify lets the store look for damage, of which there is none.
func (m *model) verify(rt *rapid.T, e *env) {
	v, ok := e.s.(store.Verifier)
	if !ok {
		return
	}
	for problem, err := range v.Verify(e.ctx, store.VerifyOptions{}) {
		if err != nil {
			rt.Fatal(err)
		}
		rt.Fatalf("a sound store has a problem: %+v", problem)
	}
}
