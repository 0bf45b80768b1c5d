package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"batos"
)

// Bounds of what is read from a server, in bytes.
const (
	maxBody  = 64 << 20
	maxError = 64 << 10
)

// Tries of one exchange, and the first pause between them, which doubles.
const (
	maxTries   = 5
	firstPause = 250 * time.Millisecond
	maxPause   = 8 * time.Second
)

func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return batos.Errorf(batos.Timeout, "the remote mind had not answered in time")
	}
	return batos.Errorf(batos.Cancelled, "the remote mind was told to stop")
}

// failure is what an exchange ended with instead of an answer.
type failure struct {
	err   error
	again bool          // another try may help
	wait  time.Duration // what the server asks to wait before it
}

// exchange makes one request, tries again where that may help, and gives the
// open body of a success. body is encoded as JSON unless it is nil or an
// io.ReadSeeker. The errors are those of [mind.Engine].
func (e *Engine) exchange(ctx context.Context, method, url string, body any) (io.ReadCloser, error) {
	raw, seek := body.(io.ReadSeeker)
	if body != nil && !seek {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, batos.Errorf(batos.Invalid, "remote mind: %w", err)
		}
		raw = bytes.NewReader(b)
	}
	pause := firstPause
	for try := 1; ; try++ {
		if raw != nil {
			if _, err := raw.Seek(0, io.SeekStart); err != nil {
				return nil, batos.Errorf(batos.Invalid, "remote mind: %w", err)
			}
		}
		out, fail := e.once(ctx, method, url, raw, !seek)
		if fail == nil {
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		if !fail.again || try == maxTries {
			return nil, fail.err
		}
		// Half of the pause is random, so that many do not come back at once.
		wait := max(fail.wait, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			return nil, fail.err
		}
		if e.cfg.sleep(ctx, wait) != nil {
			return nil, ended(ctx)
		}
	}
}

func (e *Engine) once(ctx context.Context, method, url string, body io.ReadSeeker, isJSON bool) (io.ReadCloser, *failure) {
	var in io.Reader
	if body != nil {
		in = io.NopCloser(body) // kept open for another try
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return nil, &failure{err: batos.Errorf(batos.Invalid, "remote mind: %w", err)}
	}
	if body != nil {
		if req.ContentLength, err = body.Seek(0, io.SeekEnd); err == nil {
			_, err = body.Seek(0, io.SeekStart)
		}
		if err != nil {
			return nil, &failure{err: batos.Errorf(batos.Invalid, "remote mind: %w", err)}
		}
		if isJSON {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	if e.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+e.cfg.Key)
	}
	res, err := e.cfg.Client.Do(req)
	if err != nil {
		return nil, &failure{again: true, err: batos.Errorf(batos.Offline, "the remote mind at %s cannot be reached: %w", e.root, bare(err))}
	}
	if res.StatusCode/100 == 2 {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }() // what matters is read
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxError))
	return nil, e.refused(res, text)
}

// bare is an error of the client without method and URL, which the message
// names already.
func bare(err error) error {
	for {
		inner := errors.Unwrap(err)
		if _, ok := err.(interface{ Timeout() bool }); !ok || inner == nil {
			return err
		}
		err = inner
	}
}

// refused says what a status means.
func (e *Engine) refused(res *http.Response, body []byte) *failure {
	said, code := complaint(body)
	what := fmt.Sprintf("the remote mind at %s says %d", e.root, res.StatusCode)
	if said != "" {
		what += ": " + said
	}
	f := &failure{}
	switch s := res.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		f.err = batos.Errorf(batos.Denied, "%s; the key is taken from %s", what, KeyEnv)
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		f.err = batos.Errorf(batos.NotFound, "%s", what)
	case s == http.StatusTooManyRequests && strings.Contains(code, "quota"):
		f.err = batos.Errorf(batos.Limit, "%s", what)
	case s == http.StatusTooManyRequests:
		f.err, f.again = batos.Errorf(batos.Busy, "%s", what), true
	case s == http.StatusRequestTimeout || s == http.StatusTooEarly || s >= 500 && s != http.StatusNotImplemented:
		f.err, f.again = batos.Errorf(batos.Offline, "%s", what), true
	case s >= 400:
		f.err = batos.Errorf(batos.Invalid, "%s", what)
	default: // a redirection that was not followed
		f.err = batos.Errorf(batos.Offline, "%s and sends elsewhere; name the right address", what)
	}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n >= 0 {
		f.wait = time.Duration(min(n, 60)) * time.Second
	}
	return f
}

// complaint finds what an error's body says, in the forms that servers have.
func complaint(body []byte) (text, code string) {
	var forms struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
		Object  string          `json:"object"`
	}
	if json.Unmarshal(body, &forms) != nil {
		return "", ""
	}
	text = forms.Message
	for _, raw := range []json.RawMessage{forms.Detail, forms.Error} {
		var inner struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Code    any    `json:"code"`
		}
		var plain string
		switch {
		case len(raw) == 0 || string(raw) == "null":
		case json.Unmarshal(raw, &plain) == nil:
			text = plain
		case json.Unmarshal(raw, &inner) == nil && inner.Message != "":
			text, code = inner.Message, fmt.Sprint(inner.Type, " ", inner.Code)
		default:
			text = string(raw)
		}
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text, code
}

func (e *Engine) get(ctx context.Context, url string, out any) error {
	return e.read(ctx, http.MethodGet, url, nil, out)
}

func (e *Engine) post(ctx context.Context, url string, body, out any) error {
	return e.read(ctx, http.MethodPost, url, body, out)
}

// read makes an exchange and decodes its answer into out; nil passes it over.
// A body that says error is one, whatever the status.
func (e *Engine) read(ctx context.Context, method, url string, body, out any) error {
	in, err := e.exchange(ctx, method, url, body)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read to its end, or given up
	b, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case err != nil:
		return batos.Errorf(batos.Offline, "the remote mind at %s broke off: %w", e.root, err)
	case len(b) > maxBody:
		return batos.Errorf(batos.Offline, "the remote mind at %s answers more than %d MiB", e.root, maxBody>>20)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return batos.Errorf(batos.Offline, "what is at %s answers no JSON: %.60q", url, b)
	}
	return saysError(e.root, b)
}

func saysError(at string, body []byte) error {
	var claim struct {
		Error  json.RawMessage `json:"error"`
		Object string          `json:"object"`
	}
	if json.Unmarshal(body, &claim) != nil || claim.Object != "error" && (len(claim.Error) == 0 || string(claim.Error) == "null") {
		return nil
	}
	said, _ := complaint(body)
	return batos.Errorf(batos.Offline, "the remote mind at %s answers with an error: %s", at, said)
}
