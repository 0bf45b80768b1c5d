package http

import (
	"net/http"

	"batos/internal/kernel"
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

// jobs lists the trainings.
func (s *Server) jobs(r *http.Request) (any, error) {
	all, err := s.config.Kernel.Jobs(r.Context())
	if err != nil {
		return nil, err
	}
	out := wire.Jobs{Jobs: []wire.Job{}}
	for _, j := range all {
		out.Jobs = append(out.Jobs, job(j))
	}
	return out, nil
}

// train begins one.
func (s *Server) train(r *http.Request) (any, error) {
	var in wire.Train
	if err := read(r, &in); err != nil {
		return nil, err
	}
	j, err := s.config.Kernel.Train(r.Context(), person(r), kernel.TrainRequest{Persona: in.Persona, Name: in.Name, Promote: in.Promote})
	if err != nil {
		return nil, err
	}
	return job(j), nil
}

func job(j kernel.Job) wire.Job {
	out := wire.Job{
		OID: j.OID.String(), Persona: j.Persona, Adapter: j.Name, Status: j.Status, By: j.By, Lessons: j.Lessons, Step: j.Step, Steps: j.Steps,
		Loss: j.Loss, Before: j.Before, After: j.After, Promote: j.Promote, Error: j.Error, Began: j.Began.AsTime(),
	}
	if j.Result != 0 {
		out.Result = j.Result.String()
	}
	return out
}
