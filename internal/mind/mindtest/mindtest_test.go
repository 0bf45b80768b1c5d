package mindtest

import (
	"context"
	"testing"

	"batos"
	"batos/internal/mind"
)

func TestScript(t *testing.T) {
	s := Say(Answer{Text: "one two", Logprob: -1}, Answer{Err: batos.Errorf(batos.Timeout, "late")})
	r, err := s.Generate(t.Context(), mind.Request{Text: "a b c"})
	if err != nil || r.Text != "one two" || len(r.Tokens) != 2 || r.Logprobs[1] != -1 || r.PromptTokens != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Generate(t.Context(), mind.Request{}); batos.CodeOf(err) != batos.Timeout {
		t.Errorf("%v", err)
	}
	if _, err := s.Generate(t.Context(), mind.Request{}); batos.CodeOf(err) != batos.Refused {
		t.Errorf("beyond the script: %v", err)
	}
	if len(s.Asked()) != 3 {
		t.Errorf("asked %d times", len(s.Asked()))
	}
	if i, err := s.Info(t.Context()); err != nil || i.ModelID != ModelID || i.Profile != mind.CovenantName {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestScriptWaits(t *testing.T) {
	gate := make(chan struct{})
	s := &Script{Reply: func(n int, _ mind.Request) Answer { return Answer{Text: "x", Wait: gate} }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Generate(ctx, mind.Request{}); batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("%v", err)
	}
	close(gate)
	if _, err := s.Generate(t.Context(), mind.Request{}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Generate(t.Context(), mind.Request{}); batos.CodeOf(err) != batos.Offline {
		t.Errorf("%v", err)
	}
}
