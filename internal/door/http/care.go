package http

import (
	"encoding/json"
	"net/http"
	"sync"

	"batos"
	"batos/internal/door/access"
	"batos/internal/door/care"
	"batos/internal/wire"
)

// care looks after the image while it is in use, and answers with lines of
// JSON as the work goes on. The status is that of what is known before the
// first line; what goes wrong later is the last line.
func (s *Server) care(w http.ResponseWriter, r *http.Request) {
	var in wire.Care
	err := caller(r).May(access.Admin)
	if err == nil {
		err = read(r, &in)
	}
	if verb := r.PathValue("verb"); err == nil && in.Verb != verb {
		if in.Verb != "" {
			err = batos.Errorf(batos.Invalid, "the request says %.60q and its address %.60q", in.Verb, verb)
		}
		in.Verb = verb
	}
	if err == nil {
		err = care.Check(in)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := &eventLines{w: w, control: http.NewResponseController(w)}
	result, err := care.Run(r.Context(), s.config.Image, in, out.write)
	if err != nil && s.ctx.Err() != nil {
		err = batos.Errorf(batos.Busy, "the server stops; what was done until now is good, and the next %s goes on from there", in.Verb)
	}
	switch {
	case err == nil:
		out.write(wire.CareEvent{Result: result})
	case !out.began:
		s.fail(w, r, err)
	case r.Context().Err() == nil || batos.CodeOf(err) == batos.Busy:
		code := batos.CodeOf(err)
		if code == "" {
			s.config.Log.Error("care for the image failed", "verb", in.Verb, "error", err)
			code = "internal"
		}
		out.write(wire.CareEvent{Error: &wire.Error{Code: code, Message: err.Error()}})
	}
}

// eventLines are the lines of an answer. Who went away is not told any more.
type eventLines struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	began   bool
}

func (l *eventLines) write(e wire.CareEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.began {
		l.began = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.WriteHeader(http.StatusOK)
	}
	_ = json.NewEncoder(l.w).Encode(e)
	_ = l.control.Flush()
}
