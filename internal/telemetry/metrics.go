package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are what one server exports. They have a registry of their own: libraries that count in the default one add
// nothing to it.
type Metrics struct {
	registry *prometheus.Registry

	steps         *prometheus.HistogramVec
	held          *prometheus.HistogramVec
	rehearsals    *prometheus.HistogramVec
	notifications *prometheus.CounterVec
	gitTurns      *prometheus.CounterVec
	requests      *prometheus.CounterVec
	durations     *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	traceErrors   prometheus.Counter
}

// NewMetrics makes them; what comes from elsewhere is added with Read.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewPedanticRegistry()}
	build := newGauges(m, "waybill_build_info")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.steps, m.held, m.rehearsals = newHistograms(m, "waybill_step_duration_seconds"), newHistograms(m, "waybill_held_seconds"), newHistograms(m, "waybill_rehearsal_duration_seconds")
	m.notifications, m.gitTurns = newCounters(m, "waybill_notifications_total"), newCounters(m, "waybill_git_turns_total")
	m.requests, m.durations = newCounters(m, "waybill_api_requests_total"), newHistograms(m, "waybill_api_request_duration_seconds")
	m.inFlight = newGauges(m, "waybill_api_requests_in_flight").WithLabelValues()
	m.traceErrors = newCounters(m, "waybill_trace_errors_total").WithLabelValues()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func newCounters(m *Metrics, name string) *prometheus.CounterVec {
	d := find(name)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.name, Help: d.help}, d.labels)
	m.registry.MustRegister(vec)
	return vec
}

func newGauges(m *Metrics, name string) *prometheus.GaugeVec {
	d := find(name)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.name, Help: d.help}, d.labels)
	m.registry.MustRegister(vec)
	return vec
}

func newHistograms(m *Metrics, name string) *prometheus.HistogramVec {
	d := find(name)
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.name, Help: d.help, Buckets: bounds[name]}, d.labels)
	m.registry.MustRegister(vec)
	return vec
}

// Read adds what is looked up at each scrape.
func (m *Metrics) Read(from ...prometheus.Collector) { m.registry.MustRegister(from...) }

// Handler answers scrapes, at most a few at a time.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Request is told of one that the API has answered. waited: it was asked to wait for news, so its time says nothing.
func (m *Metrics) Request(operation string, code int, took time.Duration, waited bool) {
	m.requests.WithLabelValues(operation, strconv.Itoa(code)).Inc()
	if !waited {
		m.durations.WithLabelValues(operation).Observe(took.Seconds())
	}
}

// InFlight is told of requests to the API that begin (1) and end (-1).
func (m *Metrics) InFlight(change int) { m.inFlight.Add(float64(change)) }

// Rehearsed is told of a rehearsal that has ended.
func (m *Metrics) Rehearsed(environment, outcome string, took time.Duration) {
	m.rehearsals.WithLabelValues(environment, outcome).Observe(took.Seconds())
}

// Notified is told of each try to tell somebody.
func (m *Metrics) Notified(target, outcome string) {
	m.notifications.WithLabelValues(target, outcome).Inc()
}

// Followed is told of each look at the estate's repository.
func (m *Metrics) Followed(err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.gitTurns.WithLabelValues(outcome).Inc()
}
