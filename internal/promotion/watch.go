package promotion

import (
	"context"

	"github.com/waybill-dev/waybill/internal/store"
)

// Turn is one try at one step of a rollout.
type Turn struct {
	Promotion store.Promotion
	Rollout   store.Rollout
	Sequence  int64 // of the step, see store.Step
	Step      string
	Undo      bool
	Server    string // that takes it
}

// Watch is told what rollouts do, for metrics, traces and logs. It decides nothing, and nobody waits for it.
type Watch interface {
	// Step gives the context in which a step is done, and what is called with its outcome once that is written down.
	// Of a step whose server dies, or loses its lease, no outcome is told.
	Step(ctx context.Context, t Turn) (_ context.Context, ended func(outcome, detail string))
	// Ended is called once the end of a rollout is written down.
	Ended(ctx context.Context, r store.Rollout)
}

// watched begins the watch of the step that is being done.
func (w *Work) watched(ctx context.Context) context.Context {
	if w.rooms.Watch == nil {
		return ctx
	}
	ctx, w.ended = w.rooms.Watch.Step(ctx, Turn{Promotion: w.promotion, Rollout: w.rollout, Sequence: w.seq, Step: w.doing, Undo: w.undoing, Server: w.holder})
	return ctx
}

// tellWatch says what was written down.
func (w *Work) tellWatch(ctx context.Context, outcome, detail string, next store.Rollout) {
	if w.ended != nil {
		w.ended(outcome, detail)
	}
	if next.State == store.Done && w.rooms.Watch != nil {
		w.rooms.Watch.Ended(ctx, next)
	}
}
