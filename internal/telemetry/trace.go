package telemetry

import (
	"context"
	"crypto/sha256"
	"net/url"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"batos"
	"batos/internal/kernel"
)

// Traces makes spans of observations. Safe for concurrent use.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// EndpointEnv names the environment variable that OpenTelemetry's exporters
// read; without it nothing is exported. The exporter reads the others of the
// family (headers, time-outs, certificates) too.
const EndpointEnv = "OTEL_EXPORTER_OTLP_ENDPOINT"

// ServiceEnv names the environment variable that says what this service is
// called in traces; without it, batos.
const ServiceEnv = "OTEL_SERVICE_NAME"

// Export begins to send traces by OTLP over HTTP, as OTEL_EXPORTER_OTLP_*
// says.
func Export(ctx context.Context, release string) (*Traces, error) {
	if u, err := url.Parse(os.Getenv(EndpointEnv)); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, batos.Errorf(batos.Invalid, "%s=%.60s is no address; write http://127.0.0.1:4318", EndpointEnv, os.Getenv(EndpointEnv))
	}
	e, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "OpenTelemetry: %w", err)
	}
	return NewTraces(release, sdk.WithBatcher(e)), nil
}

// NewTraces makes traces with the given options of the SDK.
func NewTraces(release string, o ...sdk.TracerProviderOption) *Traces {
	name := "batos"
	if s := os.Getenv(ServiceEnv); s != "" {
		name = s
	}
	r := resource.NewSchemaless(attribute.String("service.name", name), attribute.String("service.version", release))
	p := sdk.NewTracerProvider(append([]sdk.TracerProviderOption{sdk.WithResource(r), sdk.WithIDGenerator(ids{})}, o...)...)
	return &Traces{provider: p, tracer: p.Tracer("batos")}
}

// Close sends what is left, until ctx ends.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Observe makes a span of an observation.
func (t *Traces) Observe(o kernel.Observation) {
	own, parent := place(o)
	ctx := context.WithValue(context.Background(), placeKey{}, ownID{traceOf(o.Lineage), own})
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: traceOf(o.Lineage), SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true,
		}))
	}
	attrs := []attribute.KeyValue{attribute.String("batos.message", string(o.Message))}
	if o.Mission != 0 {
		attrs = append(attrs, attribute.String("batos.mission", o.Mission.String()))
	}
	name := string(o.Kind) + " " + o.Name
	if o.State != "" {
		attrs = append(attrs, attribute.String("batos.state", o.State))
		if o.Kind == kernel.ObservedMessage {
			name = "state " + o.State
		}
	}
	kind := trace.SpanKindInternal
	switch o.Kind {
	case kernel.ObservedMessage:
		kind = trace.SpanKindServer
	case kernel.ObservedInference:
		// The names of OpenTelemetry's conventions for generative AI, 1.41.
		kind = trace.SpanKindClient
		attrs = append(attrs, attribute.String("gen_ai.operation.name", "text_completion"), attribute.String("gen_ai.request.model", o.Model),
			attribute.String("batos.persona", o.Name), attribute.String("batos.adapter", o.Adapter))
	}
	if o.Kind != kernel.ObservedMessage {
		attrs = append(attrs, attribute.Int("gen_ai.usage.input_tokens", o.PromptTokens), attribute.Int("gen_ai.usage.output_tokens", o.Tokens))
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(o.Start), trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	if o.Code != "" {
		span.SetStatus(codes.Error, string(o.Code))
		span.SetAttributes(attribute.String("error.type", string(o.Code)))
	}
	span.End(trace.WithTimestamp(o.End))
}

// place gives the span of an observation and the one above it; inferences have
// no identifier of their own.
func place(o kernel.Observation) (own, parent trace.SpanID) {
	message, mission := spanOf("message", string(o.Message)), spanOf("mission", o.Mission.String())
	switch {
	case o.Kind == kernel.ObservedInference:
		return trace.SpanID{}, message
	case o.Kind == kernel.ObservedMission:
		return mission, message
	case o.Mission != 0:
		return message, mission
	case o.Message != o.Lineage:
		return message, spanOf("message", string(o.Lineage))
	}
	return message, trace.SpanID{}
}

func traceOf(lineage batos.MessageID) (id trace.TraceID) {
	h := sha256.Sum256([]byte("trace/" + lineage))
	copy(id[:], h[:])
	return id
}

func spanOf(kind, name string) (id trace.SpanID) {
	h := sha256.Sum256([]byte(kind + "/" + name))
	copy(id[:], h[:])
	return id
}

// ids gives each span the identifier that Observe chose for it.
type ids struct{}

type placeKey struct{}

type ownID struct {
	trace trace.TraceID
	span  trace.SpanID
}

func (i ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	p, _ := ctx.Value(placeKey{}).(ownID)
	return p.trace, i.NewSpanID(ctx, p.trace)
}

func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	p, _ := ctx.Value(placeKey{}).(ownID)
	if p.span.IsValid() {
		return p.span
	}
	return spanOf("span", string(batos.NewMessageID()))
}
