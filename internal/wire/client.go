package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// ErrNoServer is wrapped by errors that mean that nobody listens (yet).
var ErrNoServer = errors.New("no server answers")

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
	if res.StatusCode/100 != 2 {
		return problem(res)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
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
		var reset bool = errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if errors.Is(err, syscall.ECONNREFUSED) || reset {
			return nil, fmt.Errorf("%w at %s; start one with: batos up", ErrNoServer, c.server)
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrNoServer, c.server, err)
	}
	return res, nil
}

func problem(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what could be read is what there is to tell
	var p Problem
	if json.Unmarshal(b, &p) == nil && p.Error.Code != "" {
		return p.Error.Err()
	}
	return fmt.Errorf("the server answered %s", res.Status)
}

// retryPause is the pause between attempts to reach a server that went away.
const retryPause = 150 * time.Millisecond

// Send sends a message and waits for its outcome until ctx ends, through
// missions and through restarts of the server: the message's id makes
// submitting it again harmless. Reconnects only after the server answered
// once, or accepted; a server that was never there is an error at once.
func (c *Client) Send(ctx context.Context, m Send) (*Outcome, error) {
	if m.ID == "" {
		m.ID = string(batos.NewMessageID())
	}
	reached := false
	for {
		if m.Wait = 25; ctx.Err() != nil {
			return nil, timedOut(m.ID)
		}
		var o Outcome
		err := c.Do(ctx, http.MethodPost, "/send", m, &o)
		switch {
		case err == nil && batos.MessageState(o.State).Final():
			return &o, nil
		case err == nil:
			reached = true
			if o.Error != nil && o.Error.Code == batos.ApprovalPending {
				return &o, nil
			}
		case ctx.Err() != nil:
			return nil, timedOut(m.ID)
		case errors.Is(err, ErrNoServer) && reached, batos.CodeOf(err) == batos.Busy && reached, errors.Is(err, io.ErrUnexpectedEOF):
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
				return nil, timedOut(m.ID)
			}
		case errors.Is(err, ErrNoServer):
			if !strings.Contains(err.Error(), "start one with") {
				reached = true // the connection broke under way: it was there
				continue
			}
			return nil, err
		default:
			return nil, err
		}
	}
}

func timedOut(id string) error {
	return batos.Errorf(batos.Timeout, "no answer in time; the message lives on as %s", id)
}

// Events calls fn for each event after seq until ctx ends or fn errs.
func (c *Client) Events(ctx context.Context, after uint64, fn func(Event) error) error {
	res, err := c.request(ctx, http.MethodGet, fmt.Sprintf("/events?after=%d", after), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return problem(res)
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
