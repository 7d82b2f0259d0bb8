package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waybill-dev/waybill/internal/identity"
)

// Counter is told of requests, for metrics.
type Counter interface {
	// Request is told of one that was answered; waited says that it asked to wait for news.
	Request(operation string, code int, took time.Duration, waited bool)
	// InFlight is told of requests that begin (1) and end (-1).
	InFlight(change int)
}

// noOperation is that of requests which reached none.
const noOperation = "none"

// answered notes how a request was answered. It does what the writer beneath can, streams included.
type answered struct {
	http.ResponseWriter
	operation string
	code      int
	stream    bool
}

type answeredKey struct{}

func (a *answered) WriteHeader(code int) {
	if a.code == 0 || a.code < http.StatusOK {
		a.code, a.stream = code, strings.HasPrefix(a.Header().Get("Content-Type"), "text/event-stream")
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answered) Write(b []byte) (int, error) {
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which event streams ask for.
func (a *answered) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// watched tells the counter of every request, of those that are turned away too.
func (b Backend) watched(next http.Handler) http.Handler {
	if b.Counter == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		a := &answered{ResponseWriter: w, operation: noOperation}
		b.Counter.InFlight(1)
		whole := false
		defer func() {
			b.Counter.InFlight(-1)
			switch {
			case !whole: // it panicked; the server closes the connection
				a.code = http.StatusInternalServerError
			case a.code == 0:
				a.code = http.StatusOK
			}
			b.Counter.Request(a.operation, a.code, time.Since(began), a.stream || r.URL.Query().Get("wait") != "")
		}()
		next.ServeHTTP(a, r.WithContext(context.WithValue(r.Context(), answeredKey{}, a)))
		whole = true
	})
}

// countedAs tells under which name a request is counted: the operation's, never its path.
func countedAs(c huma.Context, next func(huma.Context)) {
	if a, ok := c.Context().Value(answeredKey{}).(*answered); ok {
		a.operation = c.Operation().OperationID
	}
	next(c)
}

func (b Backend) metricsRoute(api huma.API) {
	o := huma.Operation{Method: http.MethodGet, Path: "/metrics", OperationID: "getMetrics",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}}
	does(identity.MetricsRead)(&o)
	describe("Metrics for Prometheus", "In its text format; docs/metrics.md says what there is")(&o)
	huma.Register(api, o, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		if err := b.may(ctx, identity.MetricsRead, identity.Subject{}); err != nil {
			return nil, err
		}
		if b.Metrics == nil {
			return nil, huma.Error404NotFound("this server keeps no metrics")
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			b.Metrics.ServeHTTP(w, r)
		}}, nil
	})
}
