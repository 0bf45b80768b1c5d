package http

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"batos"
	"batos/internal/door/access"
)

// guard lets a request in that names this host, comes from no foreign page,
// and carries the token. The order is that of what a stranger could probe:
// nothing is said about the token before the host is right.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !s.ownHost(r.Host) {
			s.fail(w, r, batos.Errorf(batos.Denied, "this server is %s; a request for host %.60q is refused", s.host, r.Host))
			return
		}
		if o := r.Header.Get("Origin"); o != "" {
			u, err := url.Parse(o)
			if err != nil || !s.ownHost(u.Host) {
				s.fail(w, r, batos.Errorf(batos.Denied, "requests from pages of %.60q are refused", o))
				return
			}
		}
		who, err := s.config.Keys.Caller(access.Token(r.Header))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

// ownHost reports whether a Host or Origin means this server: the literal
// that was bound, or localhost with its port.
func (s *Server) ownHost(host string) bool {
	if host == s.host {
		return true
	}
	_, port, err := net.SplitHostPort(s.host)
	return err == nil && host == net.JoinHostPort("localhost", port)
}
