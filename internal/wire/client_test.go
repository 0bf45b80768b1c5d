package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"batos"
	"batos/object"
)

// scene answers the n-th request (from 0) by itself.
func scene(t *testing.T, act func(n int64, w http.ResponseWriter, r *http.Request)) (*Client, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { act(n.Add(1)-1, w, r) }))
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	return c, &n
}

const doneSeven = `{"id": "x", "state": "done", "value": 7}`

func reply(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the test notices a client without an answer
}

func TestSendAsksAgainThroughTrouble(t *testing.T) {
	troubles := map[string]func(w http.ResponseWriter, r *http.Request){
		"broken before an answer": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"broken in the answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			reply(w, 200, doneSeven[:10])
			panic(http.ErrAbortHandler)
		},
		"busy": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 503, `{"error": {"code": "busy", "message": "full"}}`)
		},
		"not final": func(w http.ResponseWriter, _ *http.Request) { reply(w, 202, `{"id": "x", "state": "parked"}`) },
		"stopping": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 202, `{"id": "x", "state": "parked", "error": {"code": "busy", "message": "stopping"}}`)
		},
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			c, asked := scene(t, func(n int64, w http.ResponseWriter, r *http.Request) {
				if n < 2 {
					trouble(w, r)
					return
				}
				reply(w, 200, doneSeven)
			})
			o, err := c.Send(t.Context(), Send{ID: "x", Target: "a", Selector: "b"})
			if err != nil || !object.Equal(o.Value.Value, object.NewInt(7)) || asked.Load() != 3 {
				t.Errorf("%+v, %v after %d requests", o, err, asked.Load())
			}
		})
	}
}

func TestSendEndsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   batos.Code
	}{
		"an error":       {404, `{"error": {"code": "not_found", "message": "no"}}`, batos.NotFound},
		"a dead image":   {500, `{"error": {"code": "store_poisoned", "message": "full"}}`, batos.StorePoisoned},
		"no JSON":        {200, `<html>`, ""},
		"an odd status":  {418, `teapot`, ""},
		"a lost message": {422, `{"id": "x", "state": "failed", "error": {"code": "raised", "message": "boom"}}`, batos.Raised},
	} {
		t.Run(name, func(t *testing.T) {
			client, asked := scene(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { reply(w, c.status, c.body) })
			_, err := client.Send(t.Context(), Send{ID: "x"})
			if err == nil || batos.CodeOf(err) != c.want || asked.Load() != 1 {
				t.Errorf("%v after %d requests, want %q after 1", err, asked.Load(), c.want)
			}
		})
	}
}

func TestSendWithoutAServerIsAnErrorAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient("http://"+l.Addr().String(), "token")
	if cerr := l.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	if _, err := c.Send(t.Context(), Send{}); !errors.Is(err, ErrNoServer) || errors.Is(err, ErrBroken) {
		t.Errorf("%v", err)
	}
}

func TestSendThatEndsEarlyNamesTheMessage(t *testing.T) {
	hang := func(_ int64, _ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server notices that a client is gone once it has read all of it
		<-r.Context().Done()
	}
	c, _ := scene(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := c.Send(ctx, Send{ID: "mine"})
	if batos.CodeOf(err) != batos.Timeout || !strings.Contains(err.Error(), "mine") {
		t.Errorf("out of time: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = c.Send(ctx, Send{ID: "mine"})
	if !errors.Is(err, context.Canceled) || batos.CodeOf(err) != "" || !strings.Contains(err.Error(), "mine") {
		t.Errorf("cancelled: %v", err)
	}
}
