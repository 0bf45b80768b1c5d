// Package mindtest holds the engines that stand in for a model in tests. They
// are deterministic, they name themselves as what they are (see [ModelID]),
// and nothing outside tests imports this package.
package mindtest

import (
	"context"
	"strings"
	"sync"

	"batos"
	"batos/internal/mind"
)

// ModelID is what a scripted engine calls itself, so that no record made with
// one can be taken for a model's work.
const ModelID = "scripted answers, not a model"

// Answer is one thing a [Script] says: Text, or Err instead.
type Answer struct {
	Text string
	// Logprob of every token; 0 is full certainty.
	Logprob float32
	Err     error
	// Wait, if not nil, holds the answer back until it is closed or the
	// request's context ends.
	Wait <-chan struct{}
}

// Script is an engine that gives prepared answers in order. Its tokens are
// the words of the text, numbered from 1. It is safe for concurrent use.
type Script struct {
	// Profile is what Info names; "" is the covenant profile.
	Profile string
	// Reply, if set, answers in place of the prepared list.
	Reply func(n int, r mind.Request) Answer

	mu      sync.Mutex
	answers []Answer
	asked   []mind.Request
	closed  bool
}

var _ mind.Engine = (*Script)(nil)

// Say makes a Script with these answers. When they are used up every further
// request is refused, which a test notices.
func Say(answers ...Answer) *Script { return &Script{answers: answers} }

// Texts makes a Script that says these texts.
func Texts(texts ...string) *Script {
	s := &Script{}
	for _, t := range texts {
		s.answers = append(s.answers, Answer{Text: t})
	}
	return s
}

// Asked gives the requests so far, in order of arrival.
func (s *Script) Asked() []mind.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mind.Request(nil), s.asked...)
}

// Info names the engine as a script.
func (s *Script) Info(context.Context) (mind.Info, error) {
	profile := s.Profile
	if profile == "" {
		profile = mind.CovenantName
	}
	return mind.Info{ModelID: ModelID, Hash: strings.Repeat("0", 64), Architecture: "script", ContextTokens: 1 << 16, Profile: profile}, nil
}

// Generate gives the next answer.
func (s *Script) Generate(ctx context.Context, r mind.Request) (*mind.Result, error) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, r)
	var a Answer
	switch {
	case s.closed:
		a.Err = batos.Errorf(batos.Offline, "the scripted engine is closed")
	case s.Reply != nil:
	case n < len(s.answers):
		a = s.answers[n]
	default:
		a.Err = batos.Errorf(batos.Refused, "the script has %d answers, and this is request %d", len(s.answers), n+1)
	}
	reply := s.Reply
	s.mu.Unlock()
	if reply != nil && a.Err == nil {
		a = reply(n, r)
	}
	if a.Wait != nil {
		select {
		case <-a.Wait:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, batos.Errorf(batos.Cancelled, "the scripted engine was told to stop: %w", err)
	}
	if a.Err != nil {
		return nil, a.Err
	}
	res := &mind.Result{Text: a.Text, Stop: mind.StopEnd, Model: strings.Repeat("0", 64), AdapterHash: r.Adapter, PromptTokens: words(r)}
	for i := range strings.Fields(a.Text) {
		res.Tokens = append(res.Tokens, int32(i+1))
		res.Logprobs = append(res.Logprobs, a.Logprob)
	}
	return res, nil
}

func words(r mind.Request) int {
	n := len(r.Tokens) + len(strings.Fields(r.Text))
	for _, t := range r.Chat {
		n += len(strings.Fields(t.Text))
	}
	return n
}

// CountTokens counts words.
func (s *Script) CountTokens(_ context.Context, text string) (int, error) {
	return len(strings.Fields(text)), nil
}

// Close makes later requests fail as offline.
func (s *Script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
