package http

import (
	"net/http"

	"batos"
	"batos/internal/wire"
)

// maxCodexName bounds the name that errors give a codex.
const maxCodexName = 200

func (s *Server) codex(r *http.Request) (any, error) {
	c, err := s.config.Kernel.Codex(r.Context())
	if err != nil {
		return nil, err
	}
	out := wire.Codex{Source: c.Source, By: c.By, Workflows: c.Workflows, Edited: c.Edited}
	if c.Loaded != 0 {
		t := c.Loaded.AsTime()
		out.Loaded = &t
	}
	return out, nil
}

func (s *Server) loadCodex(r *http.Request) (any, error) {
	var in wire.Codex
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.File == "" {
		in.File = "persona_codex.md"
	}
	if len(in.File) > maxCodexName {
		return nil, batos.Errorf(batos.Invalid, "the file's name has more than %d bytes", maxCodexName)
	}
	tid, err := s.config.Kernel.LoadCodex(r.Context(), person(r), in.File, in.Source)
	if err != nil {
		return nil, err
	}
	out, err := s.codex(r)
	if c, ok := out.(wire.Codex); ok {
		c.TID = tid.String()
		return c, err
	}
	return out, err
}
