package promotion_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
	"github.com/waybill-dev/waybill/internal/telemetry"
)

// receiver takes spans as a collector does: OTLP over HTTP, in protobuf.
type receiver struct {
	mu    sync.Mutex
	spans map[string]*tracepb.Span // by ID
	from  map[string]string        // the server that sent it, likewise
	twice []string                 // names of spans that came again
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(q.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	content, err := io.ReadAll(body)
	var in collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(content, &in)
	}
	if err != nil || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range in.ResourceSpans {
		server := ""
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.instance.id" {
				server = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				id := hex.EncodeToString(s.SpanId)
				if r.spans[id] != nil {
					r.twice = append(r.twice, s.Name)
				}
				r.spans[id], r.from[id] = s, server
			}
		}
	}
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func (r *receiver) one(t *testing.T, name, server string) *tracepb.Span {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*tracepb.Span
	for id, s := range r.spans {
		if s.Name == name && (server == "" || r.from[id] == server) {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1, "spans %s of %s", name, server)
	return found[0]
}

// watching runs an engine with a watch; stop ends it as a server ends, traces last.
func watching(t *testing.T, s *store.Store, holder string, log *slog.Logger) (e *promotion.Engine, stop func()) {
	t.Helper()
	watch, err := telemetry.NewWatch(t.Context(), telemetry.NewMetrics("test"), s, "test", holder, log)
	require.NoError(t, err)
	e, err = promotion.New(promotion.Rooms{Store: s, Watch: watch, Place: func(context.Context, estate.Environment) (promotion.Place, error) { return promotion.Place{}, nil }},
		holder, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, watch.Stop(context.WithoutCancel(t.Context())))
	})
	t.Cleanup(stop)
	return e, stop
}

// A promotion whose server dies in the middle of a step is one trace: what the next server does is added to it.
func TestTraceGoesOnAfterAKill(t *testing.T) {
	long.Test(t)
	traces := &receiver{spans: map[string]*tracepb.Span{}, from: map[string]string{}}
	collecting := httptest.NewServer(traces)
	defer collecting.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collecting.URL)

	var lines bytes.Buffer
	var mu sync.Mutex
	log := slog.New(telemetry.LogHandler(slog.NewJSONHandler(writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); lines.Write(b) }), nil)))
	const kind = "traced"
	promotion.Define(t, kind,
		promotion.Step{Name: "one", Do: func(context.Context, *promotion.Work) (string, error) { return "done it", nil }},
		promotion.Step{Name: "two", Do: func(ctx context.Context, _ *promotion.Work) (string, error) {
			log.InfoContext(ctx, "in the middle of two")
			return "", nil
		}, Undo: func(context.Context, *promotion.Work) (string, error) { return "", nil }},
		promotion.Step{Name: "three", Do: func(context.Context, *promotion.Work) (string, error) {
			return "", promotion.Fails("picking is broken")
		}})
	s := storetest.Open(t, promotion.SharedCluster(t))
	first, stopFirst := watching(t, s, "first", log)
	promotion.Kills(t, first, "before:two")
	id, err := first.Start(t.Context(), &estate.Estate{Environments: []estate.Environment{{Name: kind}}, Tenants: []estate.Tenant{{Name: "acme", Environment: kind, Database: kind, Hosts: []string{"acme.example"}}}},
		promotion.Request{Kind: kind, Environment: kind, By: "somebody"})
	require.NoError(t, err)
	rollout := func() store.Rollout {
		found, err := s.Rollouts(t.Context(), id)
		require.NoError(t, err)
		return found[0]
	}
	require.Eventually(t, func() bool {
		steps, err := s.Steps(t.Context(), rollout().ID)
		return err == nil && len(steps) == 2
	}, time.Minute, 10*time.Millisecond, "the first server begins step two, and dies")
	stopFirst()
	_, stopSecond := watching(t, s, "second", log)
	require.Eventually(t, func() bool { return rollout().State == store.Done }, time.Minute, 10*time.Millisecond)
	stopSecond()

	trace := telemetry.TraceID(id)
	root := traces.one(t, kind, "")
	part := traces.one(t, "rollout", "")
	require.Empty(t, traces.twice, "no span is sent twice")
	require.Empty(t, root.ParentSpanId)
	require.Equal(t, root.SpanId, part.ParentSpanId)
	require.Equal(t, tracepb.Status_STATUS_CODE_ERROR, root.Status.Code, "it was rolled back")
	require.Len(t, traces.spans, 7, "promotion, rollout, one, two as it was cut off, two, three, undo two")
	for _, span := range traces.spans {
		require.Equal(t, trace[:], span.TraceId, "%s belongs to the promotion's trace", span.Name)
		require.NotZero(t, span.StartTimeUnixNano)
		require.GreaterOrEqual(t, span.EndTimeUnixNano, span.StartTimeUnixNano, span.Name)
		if span != root && span != part {
			require.Equal(t, part.SpanId, span.ParentSpanId, span.Name)
		}
	}
	traces.one(t, "one", "first")
	traces.one(t, "three", "second")

	mu.Lock()
	defer mu.Unlock()
	joined := 0
	for line := range strings.Lines(lines.String()) {
		var said map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &said))
		if said["msg"] != "in the middle of two" {
			continue
		}
		joined++
		require.Equal(t, id, said["promotion"])
		require.Equal(t, rollout().ID, said["rollout"])
		require.Equal(t, "two", said["step"])
		require.Equal(t, trace.String(), said["trace_id"])
		require.NotNil(t, traces.spans[said["span_id"].(string)], "the log's span is one that was sent")
	}
	require.Equal(t, 1, joined)
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
