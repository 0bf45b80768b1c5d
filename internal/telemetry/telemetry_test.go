package telemetry

import (
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"batos"
	"batos/internal/door/doortest"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
)

func TestMain(m *testing.M) { doortest.Main(m) }

const double = "def double(self):\n    self.count = self.count * 2\n    self._p_changed = True\n    return self.count\n"

// A message that needs a mission, seen as metrics and as one trace.
func TestMissionIsSeen(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	traces := NewTraces("test", sdk.WithSyncer(spans))
	metrics := NewMetrics()
	var mu sync.Mutex
	w := doortest.OpenWith(t, &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if len(r.Chat) > 0 && strings.Contains(r.Chat[0].Text, "JSON object") {
			return mindtest.Answer{Text: `{"purpose": "double", "reads": ["count"], "changes": ["count"], "steps": ["double"]}`}
		}
		return mindtest.Answer{Text: double}
	}}, func(c *kernel.Config) {
		c.Observe = func(o kernel.Observation) {
			mu.Lock()
			defer mu.Unlock()
			metrics.Observe(o)
			traces.Observe(o)
		}
	})
	metrics.Watch(w.Kernel, w.Image)
	r := kernel.Request{ID: "ask", Target: batos.Ref{Name: "counter"}, Selector: "double", Sender: "tester", Synthesis: true, Authority: batos.Person}
	if o, err := w.Kernel.Send(t.Context(), r); err != nil || o.Err != nil {
		t.Fatal(o, err)
	}
	if o, err := w.Kernel.Send(t.Context(), kernel.Request{Target: batos.Ref{Name: "counter"}, Selector: "boom", Sender: "tester", Authority: batos.Person}); err != nil || o.Err == nil {
		t.Fatal(o, err)
	}
	mu.Lock()
	defer mu.Unlock()

	rec := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`batos_message_seconds_count{code="ok",mission="false"} 1`, `batos_message_seconds_count{code="raised",mission="false"} 1`,
		`batos_mission_seconds_count{code="ok"} 1`, `batos_inference_seconds_count{code="ok",persona="BRICK"}`,
		"batos_messages_in_flight ", "batos_core_online 1", "batos_image_objects ", "go_goroutines ",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}

	byID := map[trace.SpanID]tracetest.SpanStub{}
	var inference tracetest.SpanStub
	for _, s := range spans.GetSpans() {
		byID[s.SpanContext.SpanID()] = s
		if strings.HasPrefix(s.Name, "inference BRICK") {
			inference = s
		}
	}
	if !inference.SpanContext.IsValid() || inference.SpanContext.TraceID() != traceOf("ask") {
		t.Fatalf("no inference in the trace of the request: %+v", inference)
	}
	var path []string
	for s, ok := inference, true; ok; s, ok = byID[s.Parent.SpanID()] {
		path = append(path, s.Name)
	}
	if got := strings.Join(path, " < "); got != "inference BRICK < state SYNTHESIZING < mission double < message double" {
		t.Errorf("the path up from the inference is %s", got)
	}
}

func TestAnAddressThatIsNone(t *testing.T) {
	for _, bad := range []string{"nonsense", "127.0.0.1:4318", "ftp://127.0.0.1", "http://"} {
		t.Setenv(EndpointEnv, bad)
		if _, err := Export(t.Context(), "test"); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
