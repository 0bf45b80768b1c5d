package http

import (
	"net/http"
	"strconv"

	"batos"
	"batos/image"
	"batos/internal/kernel"
	"batos/internal/wire"
)

// Bounds of one answer.
const (
	logDefault = 20
	logMost    = 1000
	diffMost   = 1000

	missionsDefault = 100
	missionsMost    = 10_000
)

// limitOf reads the parameter limit.
func limitOf(r *http.Request, usual, most int) (int, error) {
	l := r.URL.Query().Get("limit")
	if l == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(l)
	if err != nil || n < 1 || n > most {
		return 0, batos.Errorf(batos.Invalid, "limit=%.20q is not a number from 1 to %d", l, most)
	}
	return n, nil
}

func (s *Server) log(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, err := limitOf(r, logDefault, logMost)
	if err != nil {
		return nil, err
	}
	before, err := wire.ParseMoment(q.Get("before"))
	if err != nil {
		return nil, err
	}
	var target batos.Ref
	if t := q.Get("target"); t != "" {
		target = ref(t)
	}
	entries, err := s.config.Kernel.Log(r.Context(), target, before, limit)
	if err != nil {
		return nil, err
	}
	out := wire.Log{Entries: []wire.LogEntry{}}
	for i := range entries {
		out.Entries = append(out.Entries, logEntry(&entries[i]))
	}
	return out, nil
}

func logEntry(e *kernel.LogEntry) wire.LogEntry {
	out := wire.LogEntry{
		TID: e.TID.String(), Time: e.TID.Time().UTC(), Author: e.Meta.Author.String(), AuthorName: e.Meta.AuthorName,
		Message: string(e.Meta.Message), Note: e.Meta.Note, Objects: []wire.Named{}, Trees: []string{}, Slots: e.Slots, Deleted: e.Deleted,
	}
	if e.Meta.Undoes != 0 {
		out.Undoes = e.Meta.Undoes.String()
	}
	for _, o := range e.Objects {
		out.Objects = append(out.Objects, named(o.OID, o.Name))
	}
	for _, t := range e.Trees {
		out.Trees = append(out.Trees, t.String())
	}
	return out
}

func named(oid batos.OID, name string) wire.Named {
	if name == oid.String() {
		name = ""
	}
	return wire.Named{OID: oid.String(), Name: name}
}

func (s *Server) diff(r *http.Request) (any, error) {
	q := r.URL.Query()
	if q.Get("from") == "" {
		return nil, batos.Errorf(batos.Invalid, "from is missing: give a tid or a time")
	}
	from, err := wire.ParseMoment(q.Get("from"))
	if err != nil {
		return nil, err
	}
	to, err := wire.ParseMoment(q.Get("to"))
	if err != nil {
		return nil, err
	}
	d, err := s.config.Kernel.Diff(r.Context(), from, to)
	if err != nil {
		return nil, err
	}
	out := wire.Diff{From: d.From.String(), To: d.To.String(), Changes: []wire.Change{}}
	for i := range d.Changes {
		if i == diffMost {
			out.More = len(d.Changes) - i
			break
		}
		out.Changes = append(out.Changes, change(&d.Changes[i], d.Names[d.Changes[i].OID]))
	}
	return out, nil
}

func change(c *image.Change, name string) wire.Change {
	out := wire.Change{Named: named(c.OID, name), Tree: c.Tree, New: c.New, Deleted: c.Deleted, Deltas: []wire.Delta{}}
	if c.Protection != nil {
		out.Protection = c.Protection.String()
	}
	for _, s := range c.Slots {
		out.Deltas = append(out.Deltas, wire.Delta{Slot: s.Name, Before: wire.SideOf(s.Before), After: wire.SideOf(s.After)})
	}
	for _, k := range c.Keys {
		out.Deltas = append(out.Deltas, wire.Delta{Key: &wire.Value{Value: k.Key}, Before: wire.SideOf(k.Before), After: wire.SideOf(k.After)})
	}
	return out
}

func (s *Server) undo(r *http.Request) (any, error) {
	var in wire.Undo
	if err := read(r, &in); err != nil {
		return nil, err
	}
	tid, err := batos.ParseTID(in.TID)
	if err != nil {
		return nil, err
	}
	done, err := s.config.Kernel.Undo(r.Context(), person(r), tid)
	if err != nil {
		return nil, err
	}
	return wire.Changed{TID: done.String()}, nil
}
