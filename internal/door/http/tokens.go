package http

import (
	"net/http"

	"batos/internal/door/access"
	"batos/internal/wire"
)

func (s *Server) tokens(*http.Request) (any, error) {
	out := wire.Tokens{Tokens: []wire.Token{}}
	for _, g := range s.config.Keys.Given() {
		out.Tokens = append(out.Tokens, tokenOf(g))
	}
	return out, nil
}

func (s *Server) giveToken(r *http.Request) (any, error) {
	var in wire.NewToken
	if err := read(r, &in); err != nil {
		return nil, err
	}
	scopes := make([]access.Scope, len(in.Scopes))
	for i, x := range in.Scopes {
		scopes[i] = access.Scope(x)
	}
	token, g, err := s.config.Keys.Give(in.Name, scopes, in.PerMinute)
	if err != nil {
		return nil, err
	}
	return wire.GivenToken{Token: tokenOf(g), Secret: token}, nil
}

func (s *Server) takeToken(r *http.Request) (any, error) {
	name := r.PathValue("name")
	if err := s.config.Keys.TakeBack(name); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}

func tokenOf(g access.Grant) wire.Token {
	out := wire.Token{Name: g.Name, Scopes: []string{}, PerMinute: g.PerMinute, Created: g.Created}
	for _, x := range g.Scopes {
		out.Scopes = append(out.Scopes, string(x))
	}
	return out
}

func (s *Server) names(r *http.Request) (any, error) {
	names, err := s.config.Kernel.Names(r.Context())
	return wire.Names{Names: names}, err
}
