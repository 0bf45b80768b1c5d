package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"batos"
	"batos/genesis"
	"batos/internal/door/access"
	"batos/internal/door/view"
	"batos/internal/kernel"
	"batos/internal/wire"
)

func (s *Server) status(r *http.Request) (any, error) {
	at, release, err := s.config.Kernel.Awakened(r.Context())
	if err != nil {
		return nil, err
	}
	stats := s.config.Image.Stats()
	out := wire.Status{
		Release: s.config.Release, Genesis: release, Awakened: at.AsTime(), Image: s.config.Dir, TID: s.config.Image.LastTID().String(),
		Objects: stats.Objects, LogBytes: stats.LogBytes, Blobs: stats.BlobBytes, Warnings: stats.Warnings(),
	}
	if release == "" {
		out.Genesis = genesis.Release
	}
	info, err := s.config.Kernel.Core()
	if err != nil {
		out.Core.Reason = err.Error()
	} else {
		out.Core = wire.Core{Online: true, Model: info.ModelID, Hash: info.Hash, Profile: info.Profile, Context: info.ContextTokens, Params: info.Params}
	}
	return out, nil
}

func (s *Server) inspect(r *http.Request) (any, error) {
	at, err := wire.ParseMoment(r.URL.Query().Get("at"))
	if err != nil {
		return nil, err
	}
	in, err := s.config.Kernel.Inspect(r.Context(), ref(r.PathValue("target")), at)
	if err != nil {
		return nil, err
	}
	return view.Object(in), nil
}

func (s *Server) missions(r *http.Request) (any, error) {
	limit, err := limitOf(r, missionsDefault, missionsMost)
	if err != nil {
		return nil, err
	}
	all, more, err := s.config.Kernel.NewestMissions(r.Context(), limit)
	if err != nil {
		return nil, err
	}
	out := wire.Missions{Missions: []wire.Mission{}, More: more}
	for _, m := range all {
		w := view.Mission(m)
		w.Data, w.Brief = nil, nil
		out.Missions = append(out.Missions, w)
	}
	return out, nil
}

func (s *Server) mission(r *http.Request) (any, error) {
	oid, err := batos.ParseOID(r.PathValue("oid"))
	if err != nil {
		return nil, err
	}
	m, err := s.config.Kernel.Mission(r.Context(), oid)
	if err != nil {
		return nil, err
	}
	return view.Mission(m), nil
}

func (s *Server) decide(r *http.Request) (any, error) {
	oid, err := batos.ParseOID(r.PathValue("oid"))
	if err != nil {
		return nil, err
	}
	var in wire.Decision
	if r.ContentLength != 0 {
		if err := read(r, &in); err != nil {
			return nil, err
		}
	}
	verbs := map[string]func(context.Context, kernel.Person, batos.OID) error{
		"cancel": s.config.Kernel.Cancel, "approve": s.config.Kernel.Approve, "reject": s.config.Kernel.Reject,
		"undo": func(ctx context.Context, p kernel.Person, oid batos.OID) error {
			_, err := s.config.Kernel.UndoMission(ctx, p, oid)
			return err
		},
	}
	do, ok := verbs[r.PathValue("verb")]
	if !ok {
		return nil, batos.Errorf(batos.NotFound, "a mission can be cancelled, approved, rejected or undone (undo), not %.40q", r.PathValue("verb"))
	}
	if in.On != "" {
		if r.PathValue("verb") != "approve" {
			return nil, batos.Errorf(batos.Invalid, "only approve takes \"on\"")
		}
		do = func(ctx context.Context, p kernel.Person, oid batos.OID) error {
			return s.config.Kernel.ApproveOn(ctx, p, oid, ref(in.On))
		}
	}
	if err := do(r.Context(), person(r), oid); err != nil {
		return nil, err
	}
	m, err := s.config.Kernel.Mission(r.Context(), oid)
	if err != nil {
		return nil, err
	}
	return view.Mission(m), nil
}

// events streams what happens as server-sent events, from ?after=SEQ on.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if err := caller(r).May(access.Read); err != nil {
		s.fail(w, r, err)
		return
	}
	after := s.config.Kernel.Events.Last()
	a := r.URL.Query().Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" { // a browser that comes back
		a = last
	}
	if a != "" {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil {
			s.fail(w, r, batos.Errorf(batos.Invalid, "after=%.20q is not a number", a))
			return
		}
		after = n
	}
	feed, stop := s.config.Kernel.Events.Subscribe(after)
	defer stop()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if out.Flush() != nil {
		return
	}
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			_, err = fmt.Fprint(w, ": alive\n\n")
		case e := <-feed:
			b, merr := json.Marshal(view.Event(e))
			if merr != nil {
				return
			}
			_, err = fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, b)
		}
		if err != nil || out.Flush() != nil {
			return
		}
	}
}

func sortedKeys(m map[string]wire.Value) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
