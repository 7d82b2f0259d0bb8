package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// ErrNoTraces is returned where the environment asks for traces in a way that Waybill does not know.
var ErrNoTraces = errors.New("traces cannot be sent")

// tracing sends spans to a collector.
type tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// startTracing begins to send traces where OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, names a
// collector, and else returns nil. The exporter reads the other OTEL_ variables itself: headers, certificates, time-outs.
func startTracing(ctx context.Context, version, server string, failed func(error)) (*tracing, error) {
	if !tracesAsked(os.Getenv) {
		return nil, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return nil, fmt.Errorf("%w: %s is %s, and Waybill speaks http/protobuf; collectors take that on port 4318", ErrNoTraces, name, protocol)
		} else if protocol != "" {
			break
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTraces, err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", "waybill"),
		attribute.String("service.version", version), attribute.String("service.instance.id", server)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTraces, err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(failed)) // the SDK has one for the whole process
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithIDGenerator(derivedIDs{}))
	return &tracing{provider, provider.Tracer("github.com/waybill-dev/waybill")}, nil
}

func tracesAsked(env func(string) string) bool {
	if disabled, _ := strconv.ParseBool(env("OTEL_SDK_DISABLED")); disabled || strings.EqualFold(env("OTEL_TRACES_EXPORTER"), "none") {
		return false
	}
	return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// TraceID is that of a promotion's trace: any server that goes on with the promotion knows it, and so does whoever has
// the promotion's ID from a waybill.
func TraceID(promotion string) trace.TraceID {
	sum := sha256.Sum256([]byte("waybill trace v1\n" + promotion))
	return trace.TraceID(sum[:16])
}

// spanID is that of a span which has a name of its own: the same whoever sends it, and when.
func spanID(parts ...string) trace.SpanID {
	sum := sha256.Sum256([]byte("waybill span v1\n" + strings.Join(parts, "\n")))
	return trace.SpanID(sum[:8])
}

// derivedIDs gives a span the ID that its context says, and any other one by chance.
type derivedIDs struct{}

type spanIDKey struct{}

// NewIDs implements sdk.IDGenerator.
func (derivedIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	_, _ = rand.Read(id[:])
	return id, derivedIDs{}.NewSpanID(ctx, id)
}

// NewSpanID implements sdk.IDGenerator.
func (derivedIDs) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if given, ok := ctx.Value(spanIDKey{}).(trace.SpanID); ok {
		return given
	}
	_, _ = rand.Read(id[:])
	return id
}

// start begins a span under a parent whose ID is known, which may be sent later, or by another server.
func (t *tracing) start(ctx context.Context, id trace.TraceID, parent, span trace.SpanID, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true}))
	began, s := t.tracer.Start(context.WithValue(ctx, spanIDKey{}, span), name, options...)
	return context.WithValue(began, spanIDKey{}, nil), s // spans within have IDs by chance
}

func (t *tracing) stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// onceAFault logs a failure to send when it first appears, and counts every one.
func onceAFault(log *slog.Logger, count func()) func(error) {
	var mu sync.Mutex
	last := ""
	return func(err error) {
		count()
		mu.Lock()
		defer mu.Unlock()
		if err.Error() != last {
			last = err.Error()
			log.Warn("send traces to the collector", "error", err)
		}
	}
}
