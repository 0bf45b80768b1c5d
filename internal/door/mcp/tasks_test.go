package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos/internal/door/access"
	"batos/internal/door/doortest"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
)

// heard keeps the newest answer that came over a connection: the SDK's client
// knows no tasks, so what it makes of one is not what was said.
type heard struct {
	bearer
	mu   sync.Mutex
	last []byte
}

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := h.bearer.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	h.mu.Lock()
	h.last = b
	h.mu.Unlock()
	return res, nil
}

// result is that of the newest answer.
func (h *heard) result(t *testing.T) (out task) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(string(h.last)) {
		line = strings.TrimPrefix(line, "data: ")
		var m struct{ Result *task }
		if json.Unmarshal([]byte(line), &m) == nil && m.Result != nil {
			return *m.Result
		}
	}
	t.Fatalf("no result in %s", h.last)
	return out
}

// tasker is the SDK's client with the extension declared.
func tasker(t *testing.T, url, token string) (*mcp.ClientSession, *heard) {
	t.Helper()
	can := &mcp.ClientCapabilities{}
	can.AddExtension(tasksExtension, map[string]any{})
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{Capabilities: can})
	for _, err := range []error{
		mcp.AddSendingCustomMethod[*taskParams, *task](c, methodTaskGet),
		mcp.AddSendingCustomMethod[*taskParams, *acknowledged](c, methodTaskUpdate),
		mcp.AddSendingCustomMethod[*taskParams, *acknowledged](c, methodTaskCancel),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h := &heard{bearer: bearer(token)}
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: h}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, h
}

func TestALongCallBecomesATask(t *testing.T) {
	open := make(chan struct{})
	w := doortest.Open(t, &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if len(r.Chat) > 0 && strings.Contains(r.Chat[0].Text, "JSON object") {
			return mindtest.Answer{Text: `{"purpose": "double", "reads": ["count"], "changes": ["count"], "steps": ["double"]}`}
		}
		return mindtest.Answer{Wait: open, Text: "def double(self):\n    \"\"\"Doubles the count.\"\"\"\n    self.count = self.count * 2\n    self._p_changed = True\n    return self.count\n"}
	}})
	server := httptest.NewServer(Handler(Config{Kernel: w.Kernel, Keys: w.Keys, Release: "test", Log: w.Log, TaskAfter: time.Millisecond}))
	t.Cleanup(server.Close)
	s, h := tasker(t, server.URL, doortest.Token)
	if init := s.InitializeResult(); init == nil || init.Capabilities.Extensions[tasksExtension] == nil {
		t.Errorf("the extension is not told: %+v", init)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	get := func(id string) *task {
		t.Helper()
		got, err := mcp.CallCustomMethod[*taskParams, *task](ctx, s, methodTaskGet, &taskParams{TaskID: id})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "counter-double", Arguments: map[string]any{}}); err != nil {
		t.Fatal(err)
	}
	made := h.result(t)
	if made.ResultType != resultTask || made.Status != taskWorking || made.TaskID == "" || made.CreatedAt.IsZero() || made.TTLMs <= 0 || made.PollIntervalMs <= 0 {
		t.Fatalf("the call's answer is %+v", made)
	}
	if now := get(made.TaskID); now.ResultType != resultComplete || now.Status != taskWorking || now.Result != nil {
		t.Errorf("the task is %+v", now)
	}
	if _, err := mcp.CallCustomMethod[*taskParams, *acknowledged](ctx, s, methodTaskUpdate, &taskParams{TaskID: made.TaskID}); err != nil {
		t.Error(err)
	}
	close(open)
	for now := get(made.TaskID); ; now = get(made.TaskID) {
		if now.Status == taskWorking {
			continue
		}
		if now.Status != taskCompleted || now.Result == nil || now.Result.IsError || now.Result.Content[0].(*mcp.TextContent).Text != "6" {
			t.Errorf("the task ended as %+v", now)
		}
		break
	}
	if _, err := mcp.CallCustomMethod[*taskParams, *task](ctx, s, methodTaskGet, &taskParams{TaskID: "unknown"}); err == nil || !strings.Contains(err.Error(), "no task") {
		t.Errorf("an unknown task: %v", err)
	}

	// Who has not the token's rights learns nothing, and a client that declares
	// no tasks gets none.
	stranger, _ := tasker(t, server.URL, w.Give(t, access.Send))
	if _, err := mcp.CallCustomMethod[*taskParams, *task](ctx, stranger, methodTaskGet, &taskParams{TaskID: made.TaskID}); err == nil {
		t.Error("a token without read sees a task")
	}
	if got, isError := call(t, connected(t, server.URL, doortest.Token, nil), "counter-double", nil); got != "12" || isError {
		t.Errorf("%q", got)
	}
}

func TestATaskIsCancelled(t *testing.T) {
	w := doortest.Open(t, &mindtest.Script{Reply: func(int, mind.Request) mindtest.Answer { return mindtest.Answer{Wait: make(chan struct{})} }})
	server := httptest.NewServer(Handler(Config{Kernel: w.Kernel, Keys: w.Keys, Release: "test", Log: w.Log, TaskAfter: time.Millisecond}))
	t.Cleanup(server.Close)
	s, h := tasker(t, server.URL, doortest.Token)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "counter-double", Arguments: map[string]any{}}); err != nil {
		t.Fatal(err)
	}
	id := h.result(t).TaskID
	for {
		now, err := mcp.CallCustomMethod[*taskParams, *task](ctx, s, methodTaskGet, &taskParams{TaskID: id})
		if err != nil {
			t.Fatal(err)
		}
		if now.Status == taskCancelled {
			return
		}
		if now.Status != taskWorking {
			t.Fatalf("the task ended as %+v", now)
		}
		if _, err := mcp.CallCustomMethod[*taskParams, *acknowledged](ctx, s, methodTaskCancel, &taskParams{TaskID: id}); err != nil {
			t.Fatal(err)
		}
	}
}
