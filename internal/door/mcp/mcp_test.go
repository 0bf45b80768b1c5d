package mcp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
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

func TestMain(m *testing.M) { doortest.Main(m) }

// bearer adds a token to what a client sends.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b != "" {
		r.Header.Set("Authorization", "Bearer "+string(b))
	}
	return http.DefaultTransport.RoundTrip(r)
}

func served(t *testing.T, w *doortest.World) string {
	t.Helper()
	s := httptest.NewServer(Handler(Config{Kernel: w.Kernel, Keys: w.Keys, Release: "test", Log: w.Log}))
	t.Cleanup(s.Close)
	return s.URL
}

// connected is the SDK's own client.
func connected(t *testing.T, url, token string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer(token)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func call(t *testing.T, s *mcp.ClientSession, name string, args map[string]any) (string, bool) {
	t.Helper()
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text := ""
	for _, c := range r.Content {
		if x, ok := c.(*mcp.TextContent); ok {
			text += x.Text
		}
	}
	return text, r.IsError
}

func TestToolsOfTheImage(t *testing.T) {
	w := doortest.Open(t, nil)
	s := connected(t, served(t, w), doortest.Token, nil)
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	// What has no docstring is not shown; what is, has one.
	if want := []string{"send", "inspect", "outcome", "counter-add", "counter-echo", "counter-boom"}; !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	add := list.Tools[3]
	b, err := json.Marshal(add.InputSchema)
	if err != nil || add.Description != "Adds n to the count." || !strings.Contains(string(b), `"required":["n"]`) {
		t.Errorf("%+v, %s, %v", add, b, err)
	}

	for _, c := range []struct {
		tool    string
		args    map[string]any
		want    string
		isError bool
	}{
		{"counter-add", map[string]any{"n": 4}, "7", false},
		{"send", map[string]any{"target": "counter", "selector": "add", "args": []any{1}}, "8", false},
		{"send", map[string]any{"target": "counter", "selector": "add", "kwargs": map[string]any{"n": 1}, "id": "mine"}, "9", false},
		{"send", map[string]any{"target": "counter", "selector": "add", "kwargs": map[string]any{"n": 1}, "id": "mine"}, "9", false},
		{"outcome", map[string]any{"id": "mine"}, "9", false},
		{"counter-echo", map[string]any{"n": "as it is"}, "as it is", false},
		{"counter-boom", nil, "raised: ", true},
		{"counter-add", nil, "arity: ", true},
		{"counter-fly", nil, "offline: ", true},
		{"nobody-fly", nil, "not_found: ", true},
		{"nonsense", nil, "not_found: there is no tool", true},
		{"send", map[string]any{"target": "counter"}, "invalid: ", true},
		{"send", map[string]any{"targett": "counter"}, "invalid: ", true},
		{"inspect", map[string]any{"target": "counter"}, `"count"`, false},
		{"inspect", map[string]any{"target": "nobody"}, "not_found: ", true},
		{"outcome", map[string]any{"id": "unknown"}, "not_found: ", true},
	} {
		if got, isError := call(t, s, c.tool, c.args); !strings.Contains(got, c.want) || isError != c.isError {
			t.Errorf("%s %v: %q, error %v; want %q, %v", c.tool, c.args, got, isError, c.want, c.isError)
		}
	}
}

func TestResourcesOfTheImage(t *testing.T) {
	w := doortest.Open(t, nil)
	s := connected(t, served(t, w), doortest.Token, nil)
	list, err := s.ListResources(t.Context(), nil)
	if err != nil || len(list.Resources) != 4 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := s.ListResourceTemplates(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for uri, want := range map[string]string{"batos://object/counter": `"count"`, "batos://object/counter/add": "def add(self, n):", "batos://object/genesis": "BAT OS"} {
		r, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil || len(r.Contents) != 1 || !strings.Contains(r.Contents[0].Text, want) {
			t.Errorf("%s: %+v, %v", uri, r, err)
		}
	}
	for _, uri := range []string{"batos://object/", "batos://object/nobody", "batos://object/counter/fly", "file:///etc/passwd"} {
		if _, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s was read", uri)
		}
	}
}

// A tool that nobody has becomes a mission, and the call waits for it; the
// client hears how far it is.
func TestUnknownToolIsWritten(t *testing.T) {
	w := doortest.Open(t, &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if len(r.Chat) > 0 && strings.Contains(r.Chat[0].Text, "JSON object") {
			return mindtest.Answer{Text: `{"purpose": "double", "reads": ["count"], "changes": ["count"], "steps": ["double"]}`}
		}
		return mindtest.Answer{Text: "def double(self):\n    \"\"\"Doubles the count.\"\"\"\n    self.count = self.count * 2\n    self._p_changed = True\n    return self.count\n"}
	}})
	var mu sync.Mutex
	var heard []string
	url := served(t, w)
	s := connected(t, url, doortest.Token, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, r.Params.Message)
	}})
	p := &mcp.CallToolParams{Name: "counter-double", Arguments: map[string]any{}}
	p.SetProgressToken("t")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := s.CallTool(ctx, p)
	if err != nil || r.IsError || r.Content[0].(*mcp.TextContent).Text != "6" {
		t.Fatalf("%+v, %v", r, err)
	}
	mu.Lock()
	if len(heard) == 0 || !strings.Contains(heard[0], "mission") {
		t.Errorf("heard %q", heard)
	}
	mu.Unlock()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(list.Tools, func(x *mcp.Tool) bool { return x.Name == "counter-double" }) {
		t.Errorf("the new tool is not listed: %v", err)
	}

	// Who may not have methods written gets an error, and no mission begins.
	agent := connected(t, url, w.Give(t, access.Read, access.Send), nil)
	if got, isError := call(t, agent, "counter-triple", nil); !isError || !strings.Contains(got, "does_not_understand: ") {
		t.Errorf("%q", got)
	}
	missions, err := w.Kernel.Missions(t.Context())
	if err != nil || len(missions) != 1 {
		t.Errorf("%d missions, %v", len(missions), err)
	}
}

// A request without a token, or with another one, is told nothing.
func TestStrangers(t *testing.T) {
	w := doortest.Open(t, nil)
	url := served(t, w)
	for _, token := range []string{"", "0000"} {
		c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		s, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer(token)}}, nil)
		if err != nil {
			continue // the guard of the HTTP door, which is not here, ends it so
		}
		if _, err := s.ListTools(t.Context(), nil); err == nil {
			t.Errorf("token %q lists tools", token)
		}
		if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "counter-add", Arguments: map[string]any{"n": 1}}); err == nil {
			t.Errorf("token %q calls", token)
		}
		if _, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "batos://object/counter"}); err == nil {
			t.Errorf("token %q reads", token)
		}
		_ = s.Close()
	}
}

// Clients of the older era say initialize first.
func TestBothEras(t *testing.T) {
	w := doortest.Open(t, nil)
	url := served(t, w)
	for _, version := range []string{"2024-11-05", "2025-06-18", "2025-11-25"} {
		body := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + version + `","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, err := (&http.Client{Transport: bearer(doortest.Token)}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := copyAll(&b, res); err != nil || res.StatusCode != 200 || !strings.Contains(b.String(), `"protocolVersion":"`+version+`"`) {
			t.Errorf("%s: %s, %s, %v", version, res.Status, b.String(), err)
		}
	}
	if s := connected(t, url, doortest.Token, nil); s.InitializeResult() != nil && s.InitializeResult().ServerInfo.Name != "batos" {
		t.Errorf("%+v", s.InitializeResult())
	}
}

func copyAll(b *strings.Builder, res *http.Response) (int64, error) {
	defer res.Body.Close()
	return io.Copy(b, res.Body)
}
