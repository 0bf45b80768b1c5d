package http

import (
	"net/http"

	"batos/internal/wire"
)

// lessons answers the examples that the image has collected.
func (s *Server) lessons(r *http.Request) (any, error) {
	all, skipped, err := s.config.Kernel.Lessons(r.Context())
	if err != nil {
		return nil, err
	}
	out := wire.Lessons{Lessons: []wire.Lesson{}, Skipped: skipped}
	for _, l := range all {
		out.Lessons = append(out.Lessons, wire.Lesson{
			From: l.From, Mission: l.Mission.String(), System: l.System, Prompt: l.Prompt, Response: l.Response,
			PromptTokens: l.PromptTokens, ResponseTokens: l.ResponseTokens,
		})
	}
	return out, nil
}
