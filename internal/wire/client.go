package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"batos"
)

// DefaultServer is where a client looks for batos up.
const DefaultServer = "http://127.0.0.1:8420"

// Client speaks to one server. Safe for concurrent use.
type Client struct {
	server string
	token  string
	http   *http.Client
}

// NewClient makes a client of the server at an http URL.
func NewClient(server, token string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, batos.Errorf(batos.Invalid, "%q is not a server: write %s", server, DefaultServer)
	}
	return &Client{server: strings.TrimRight(server, "/"), token: token, http: &http.Client{}}, nil
}

// ErrNoServer is wrapped by errors that mean that nobody answers: nobody
// listens, or the connection broke on the way ([ErrBroken]).
var ErrNoServer = errors.New("no server answers")

// ErrBroken is wrapped, beside ErrNoServer, when the connection broke after it
// was made: the request may have arrived.
var ErrBroken = errors.New("the connection broke")

// Do sends in as JSON and reads the answer into out; either may be nil. An
// answer that is no 2xx becomes its [*batos.Error].
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w at %s: %w: %w", ErrNoServer, c.server, ErrBroken, err)
	}
	if res.StatusCode/100 != 2 {
		return problem(res.Status, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		if cut := (*json.SyntaxError)(nil); errors.As(err, &cut) && cut.Offset >= int64(len(b)) { // it ends in the middle: the server went away
			return fmt.Errorf("%w at %s: %w: %w", ErrNoServer, c.server, ErrBroken, err)
		}
		return fmt.Errorf("%s answered something else than JSON: %w", c.server, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.server+"/api/v1"+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			if errors.Is(err, syscall.ECONNREFUSED) {
				return nil, fmt.Errorf("%w at %s; start one with: batos up", ErrNoServer, c.server)
			}
			return nil, fmt.Errorf("%w at %s: %w", ErrNoServer, c.server, dial.Err)
		}
		var u *url.Error // says again what was asked
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("%w at %s: %w: %w", ErrNoServer, c.server, ErrBroken, err)
	}
	return res, nil
}

// problem is the error that an answer of that status carries.
func problem(status string, b []byte) error {
	var p Problem
	if json.Unmarshal(b, &p) == nil && p.Error.Code != "" {
		return p.Error.Err()
	}
	return fmt.Errorf("the server answered %s", status)
}

// retryPause is the pause between attempts to reach a server that went away.
const retryPause = 150 * time.Millisecond

// answerWait is how long one request waits for an outcome, in seconds. Below
// the server's own bound, so that the client asks again first.
const answerWait = 25

// Send sends a message and waits for its outcome until ctx ends, through
// missions and through restarts of the server: the message's id makes
// submitting it again harmless. A server that was never there is an error at
// once. When ctx runs out the error has code timeout and names the id; when it
// is cancelled the error wraps [context.Canceled].
func (c *Client) Send(ctx context.Context, m Send) (*Outcome, error) {
	if m.ID == "" {
		m.ID = string(batos.NewMessageID())
	}
	m.Wait = answerWait
	var trouble error // what the newest attempt met; nil while the message waits at the server
	reached := false  // a server was there, so it will be again
	for {
		var o Outcome
		err := c.Do(ctx, http.MethodPost, "/send", m, &o)
		switch {
		case err == nil && batos.MessageState(o.State).Final():
			return &o, nil
		case err == nil && o.Error == nil:
			reached, trouble = true, nil
			continue
		case err == nil && o.Error.Code == batos.ApprovalPending:
			return &o, nil
		case err == nil: // the server stops, and told how far the message came
			trouble = nil
		case ctx.Err() != nil:
			return nil, gaveUp(ctx, m.ID, trouble)
		case errors.Is(err, ErrBroken), batos.CodeOf(err) == batos.Busy, errors.Is(err, ErrNoServer) && reached:
			trouble = err
		default:
			return nil, err
		}
		reached = true
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return nil, gaveUp(ctx, m.ID, trouble)
		}
	}
}

func gaveUp(ctx context.Context, id string, trouble error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("interrupted; if message %s arrived it lives on, ask again with --id %s: %w", id, id, ctx.Err())
	}
	if trouble != nil {
		return batos.Errorf(batos.Timeout, "no answer in time to message %s: %v; ask again with --id %s", id, trouble, id)
	}
	return batos.Errorf(batos.Timeout, "no answer in time; the message lives on as %s, ask again with --id %s", id, id)
}

// Events calls fn for each event after seq until ctx ends or fn errs.
func (c *Client) Events(ctx context.Context, after uint64, fn func(Event) error) error {
	res, err := c.request(ctx, http.MethodGet, fmt.Sprintf("/events?after=%d", after), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what could be read is what there is to tell
		return problem(res.Status, b)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}
