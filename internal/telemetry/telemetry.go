// Package telemetry shows what a running image does: Prometheus metrics and
// OpenTelemetry traces, made of the observations of package kernel.
//
// Traces follow a request at a door through everything it led to: message →
// mission → the messages of its states → inferences. Identifiers are derived
// from those of the image, so that a message that is parked, survives a
// restart and ends next week still stands in its trace.
package telemetry

import (
	"context"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"batos/image"
	"batos/internal/kernel"
)

// Metrics counts observations. Safe for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	messages   *prometheus.HistogramVec
	missions   *prometheus.HistogramVec
	inferences *prometheus.HistogramVec
	tokens     *prometheus.CounterVec
}

// NewMetrics makes empty metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		messages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "batos_message_seconds", Help: "Time from a message's arrival to its outcome, by the code of the outcome (ok if it ended well) and whether it was a step of a mission.",
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100},
		}, []string{"code", "mission"}),
		missions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "batos_mission_seconds", Help: "Time that a mission took, by the code of its end.",
			Buckets: []float64{.03, .1, .3, 1, 3, 10, 30, 100, 300, 1000},
		}, []string{"code"}),
		inferences: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "batos_inference_seconds", Help: "Time that an inference took, waiting for the engine included, by persona and code.",
			Buckets: []float64{.003, .01, .03, .1, .3, 1, 3, 10, 30, 100, 300},
		}, []string{"persona", "code"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "batos_tokens_total", Help: "Tokens that the model read (kind prompt) and wrote (kind answer), by persona.",
		}, []string{"persona", "kind"}),
	}
	m.registry.MustRegister(m.messages, m.missions, m.inferences, m.tokens, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts one observation.
func (m *Metrics) Observe(o kernel.Observation) {
	code := string(o.Code)
	if code == "" {
		code = "ok"
	}
	took := o.End.Sub(o.Start).Seconds()
	switch o.Kind {
	case kernel.ObservedMessage:
		m.messages.WithLabelValues(code, strconv.FormatBool(o.Mission != 0)).Observe(took)
	case kernel.ObservedMission:
		m.missions.WithLabelValues(code).Observe(took)
	case kernel.ObservedInference:
		persona := o.Name
		if persona == "" {
			persona = "base"
		}
		m.inferences.WithLabelValues(persona, code).Observe(took)
		m.tokens.WithLabelValues(persona, "prompt").Add(float64(o.PromptTokens))
		m.tokens.WithLabelValues(persona, "answer").Add(float64(o.Tokens))
	}
}

// Watch adds what a running kernel and its image hold to the metrics. Call it
// once.
func (m *Metrics) Watch(k *kernel.Kernel, im *image.Image) {
	m.registry.MustRegister(&gauges{k: k, im: im})
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// gauges are read when a scrape asks for them.
type gauges struct {
	k  *kernel.Kernel
	im *image.Image
}

func describe(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

var (
	inFlight = describe("batos_messages_in_flight", "Messages that have no outcome yet.")
	parked   = describe("batos_messages_parked", "Messages that wait for a mission.")
	waiting  = describe("batos_messages_waiting", "Messages that wait for an inference or another effect.")
	online   = describe("batos_core_online", "1 if the cognitive core is online.")
	objects  = describe("batos_image_objects", "Objects in the image.")
	logBytes = describe("batos_image_log_bytes", "Size of the log.")
	blobs    = describe("batos_image_blob_bytes", "Size of all blobs.")
	cached   = describe("batos_image_cache_bytes", "Memory of the objects that the image's cache keeps.")
)

func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{inFlight, parked, waiting, online, objects, logBytes, blobs, cached} {
		to <- d
	}
}

func (g *gauges) Collect(to chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	l := g.k.Load(context.Background())
	put(inFlight, float64(l.InFlight))
	put(parked, float64(l.Parked))
	put(waiting, float64(l.Waiting))
	up := 1.0
	if l.Offline {
		up = 0
	}
	put(online, up)
	s := g.im.Stats()
	put(objects, float64(s.Objects))
	put(logBytes, float64(s.LogBytes))
	put(blobs, float64(s.BlobBytes))
	put(cached, float64(s.CacheBytes))
}
