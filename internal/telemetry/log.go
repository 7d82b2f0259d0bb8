package telemetry

import (
	"context"
	"log/slog"
)

// ids say what a log line is about.
type ids struct {
	promotion, rollout, environment, tenant, step string
	trace, span                                   string // empty: nobody collects traces
}

type idsKey struct{}

func withIDs(ctx context.Context, i ids) context.Context { return context.WithValue(ctx, idsKey{}, i) }

// LogHandler adds to each line that is logged with a context of a step which promotion, rollout and step it belongs to, and
// its trace.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	i, ok := ctx.Value(idsKey{}).(ids)
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	r = r.Clone()
	for _, a := range [...]struct{ key, value string }{
		{"promotion", i.promotion}, {"rollout", i.rollout}, {"environment", i.environment}, {"tenant", i.tenant}, {"step", i.step},
		{"trace_id", i.trace}, {"span_id", i.span},
	} {
		if a.value != "" && !has(r, a.key) {
			r.AddAttrs(slog.String(a.key, a.value))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// has says whether whoever logs has said it already.
func has(r slog.Record, key string) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == key
		return !found
	})
	return found
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
