package http

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"batos/internal/door/doortest"
)

func TestMain(m *testing.M) { doortest.Main(m) }

// The document names every route, and no other.
func TestOpenAPINamesAllRoutes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	registered := regexp.MustCompile(`(?:handle|HandleFunc)\("([A-Z]+ /api/v1[^"]*)"`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range registered.FindAllStringSubmatch(string(b), -1) {
			routes = append(routes, m[1])
		}
	}
	var described []string
	for _, o := range operations {
		described = append(described, o.pattern)
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("routes:\n%s\ndescribed:\n%s", strings.Join(routes, "\n"), strings.Join(described, "\n"))
	}
}

// serve opens the door of a world.
func serve(t *testing.T, w *doortest.World) *Server {
	t.Helper()
	s, err := Listen("127.0.0.1:0", Config{Kernel: w.Kernel, Image: w.Image, Dir: t.TempDir(), Keys: w.Keys, Release: "test", Log: w.Log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenAPIIsServed(t *testing.T) {
	s := serve(t, doortest.Open(t, nil))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v1/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+doortest.Token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res.Status, err)
	}
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Paths["/api/v1/send"]["post"].OperationID != "postSend" {
		t.Errorf("%+v", doc.Paths["/api/v1/send"])
	}
	seen := map[string]bool{}
	for path, ops := range doc.Paths {
		for _, op := range ops {
			if seen[op.OperationID] {
				t.Errorf("%s: the name %s is taken twice", path, op.OperationID)
			}
			seen[op.OperationID] = true
		}
	}
	for _, m := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(b), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("the schema %s is missing", m[1])
		}
	}
}
