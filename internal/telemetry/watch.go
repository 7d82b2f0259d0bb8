package telemetry

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// Watch tells metrics, traces and logs what rollouts do.
//
// A promotion is a trace, a rollout a span of it, and each try at a step a span of that. All IDs come from those of the
// store, so that a server which goes on after another was killed adds to the same trace. The spans of a promotion and of
// its rollouts are sent when they have ended, and so are those of tries that were cut off: who was killed sent nothing.
type Watch struct {
	metrics *Metrics
	tracing *tracing // nil: nobody collects traces
	store   *store.Store
	log     *slog.Logger
}

// NewWatch begins to watch; server names it among its replicas. Where the environment asks for traces in a way that is not
// known, the error is ErrNoTraces.
func NewWatch(ctx context.Context, m *Metrics, s *store.Store, version, server string, log *slog.Logger) (*Watch, error) {
	t, err := startTracing(ctx, version, server, onceAFault(log, m.traceErrors.Inc))
	if err != nil {
		return nil, err
	}
	return &Watch{metrics: m, tracing: t, store: s, log: log}, nil
}

// Stop sends what was not sent yet.
func (w *Watch) Stop(ctx context.Context) error { return w.tracing.stop(ctx) }

var _ promotion.Watch = (*Watch)(nil)

// Step implements promotion.Watch.
func (w *Watch) Step(ctx context.Context, t promotion.Turn) (context.Context, func(outcome, detail string)) {
	began := time.Now()
	about := ids{promotion: t.Promotion.ID, rollout: t.Rollout.ID, environment: t.Rollout.Environment, tenant: t.Rollout.Tenant, step: t.Step}
	var span trace.Span
	if w.tracing != nil {
		ctx, span = w.tracing.step(ctx, t.Promotion.ID, t.Rollout.ID, t.Sequence, t.Step, t.Undo, began)
		span.SetAttributes(attribute.Int("waybill.step.attempt", t.Rollout.Attempt), attribute.String("waybill.tenant", t.Rollout.Tenant))
		about.trace, about.span = span.SpanContext().TraceID().String(), span.SpanContext().SpanID().String()
	}
	ctx = withIDs(ctx, about)
	return ctx, func(outcome, detail string) {
		took := time.Since(began)
		w.metrics.steps.WithLabelValues(t.Step, way(t.Undo), outcome).Observe(took.Seconds())
		w.log.LogAttrs(ctx, slog.LevelInfo, "step", slog.String("kind", t.Promotion.Kind), slog.Bool("undo", t.Undo), slog.String("outcome", outcome),
			slog.Float64("seconds", took.Seconds()), slog.String("detail", detail))
		if span != nil && outcome != interrupted { // those are sent with the rollout
			ends(span, outcome, detail)
			span.End()
		}
	}
}

// interrupted is the outcome of a try that was cut off.
const interrupted = "interrupted"

func way(undo bool) string {
	if undo {
		return "back"
	}
	return "forward"
}

func (t *tracing) step(ctx context.Context, promotion, rollout string, sequence int64, name string, undo bool, began time.Time) (context.Context, trace.Span) {
	if undo {
		name = "undo " + name
	}
	return t.start(ctx, TraceID(promotion), spanID("rollout", rollout), spanID("step", rollout, strconv.FormatInt(sequence, 10)), name,
		trace.WithTimestamp(began), trace.WithAttributes(attribute.String("waybill.promotion", promotion), attribute.String("waybill.rollout", rollout), attribute.Int64("waybill.step.sequence", sequence)))
}

func ends(span trace.Span, outcome, detail string) {
	span.SetAttributes(attribute.String("waybill.outcome", outcome), attribute.String("waybill.detail", detail))
	switch outcome {
	case "failed", "retried", store.RolledBack, "halted", interrupted:
		span.SetStatus(codes.Error, detail)
	}
}

// Ended implements promotion.Watch.
func (w *Watch) Ended(ctx context.Context, r store.Rollout) {
	if r.HeldSeconds > 0 {
		w.metrics.held.WithLabelValues(r.Environment).Observe(r.HeldSeconds)
	}
	if w.tracing == nil {
		return
	}
	if err := w.send(ctx, r.ID); err != nil {
		w.metrics.traceErrors.Inc()
		w.log.Warn("trace the end of a rollout", "rollout", r.ID, "error", err)
	}
}

// send sends the spans of a rollout that has ended, and of its promotion if it was the last one.
func (w *Watch) send(ctx context.Context, rollout string) error {
	r, err := w.store.Rollout(ctx, rollout)
	if err != nil {
		return err
	}
	steps, err := w.store.Steps(ctx, rollout)
	if err != nil {
		return err
	}
	p, err := w.store.Promotion(ctx, r.PromotionID)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Outcome == interrupted && s.FinishedAt != nil {
			_, span := w.tracing.step(ctx, p.ID, r.ID, s.Seq, s.Name, s.Undo, s.StartedAt)
			ends(span, s.Outcome, s.Detail)
			span.End(trace.WithTimestamp(*s.FinishedAt))
		}
	}
	if r.FinishedAt != nil {
		_, span := w.tracing.start(ctx, TraceID(p.ID), spanID("promotion", p.ID), spanID("rollout", r.ID), "rollout", trace.WithTimestamp(r.CreatedAt), trace.WithAttributes(
			attribute.String("waybill.promotion", p.ID), attribute.String("waybill.rollout", r.ID), attribute.String("waybill.tenant", r.Tenant), attribute.Float64("waybill.held_seconds", r.HeldSeconds)))
		ends(span, r.Outcome, r.Reason)
		span.End(trace.WithTimestamp(*r.FinishedAt))
	}
	if p.FinishedAt != nil {
		_, span := w.tracing.start(ctx, TraceID(p.ID), trace.SpanID{}, spanID("promotion", p.ID), p.Kind, trace.WithTimestamp(p.CreatedAt), trace.WithAttributes(
			attribute.String("waybill.promotion", p.ID), attribute.String("waybill.environment", p.Environment), attribute.String("waybill.release", p.Release),
			attribute.String("waybill.release_name", p.ReleaseName), attribute.String("waybill.class", p.Class)))
		ends(span, p.Outcome, "")
		span.End(trace.WithTimestamp(*p.FinishedAt))
	}
	return nil
}
