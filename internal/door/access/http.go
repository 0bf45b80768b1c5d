package access

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"batos"
)

// MaxBody bounds the body of a request over HTTP, in bytes.
const MaxBody = 16 << 20

// ErrTooLarge is the error of a request with a larger body.
var ErrTooLarge = batos.Errorf(batos.Limit, "the request is larger than %d MiB; large data belongs in a blob", MaxBody>>20)

// errUnknown is wrapped by the error of a token that nobody was given.
var errUnknown = errors.New("the token is missing or wrong")

// quotaError is a limit that is over after some time.
type quotaError struct {
	error
	after time.Duration
}

func (e *quotaError) Unwrap() error { return e.error }

// Token is the token that a request over HTTP carries, or "".
func Token(h http.Header) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// Status is the HTTP status of an error at a door, with the headers that it
// calls for: it is that of the error's code, except that who is not known at
// all gets 401 and a body that is too large 413, as every client of HTTP
// expects.
func Status(h http.Header, err error) int {
	var quota *quotaError
	switch {
	case errors.Is(err, errUnknown):
		h.Set("WWW-Authenticate", "Bearer")
		return http.StatusUnauthorized
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &quota):
		h.Set("Retry-After", fmt.Sprint(math.Ceil(quota.after.Seconds())))
	}
	return batos.CodeOf(err).HTTP()
}
