package main

import (
	nethttp "net/http"
	"net/http/pprof"
	"strings"

	"batos"
	"batos/internal/door/access"
)

// profiles answers what Go's tools ask of a running server: where its memory
// is (/debug/pprof/heap, goroutine, allocs …) and what it does (profile,
// trace). Only a token of admin scope may ask: profiles show names of the
// program's own code, nothing of the image, but taking one costs time.
func profiles(keys *access.Keyring) nethttp.Handler {
	m := nethttp.NewServeMux()
	m.HandleFunc("GET /debug/pprof/", pprof.Index) // and the named ones
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		who, err := keys.Caller(token)
		if err == nil {
			err = who.May(access.Admin)
		}
		if err != nil {
			nethttp.Error(w, err.Error(), batos.CodeOf(err).HTTP())
			return
		}
		m.ServeHTTP(w, r)
	})
}
