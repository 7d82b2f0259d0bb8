package promotion

import (
	"context"
	"slices"
	"sync"
	"testing"
)

// twice makes each step of a procedure be done a second time, by a server that knows what was remembered, as after a kill when it
// had done its work and before that was written down.
func twice(t *testing.T, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		steps := procedures[kind]
		t.Cleanup(func() { procedures[kind] = steps })
		changed := slices.Clone(steps)
		for i, step := range steps {
			changed[i].Do = func(ctx context.Context, w *Work) (string, error) {
				if _, err := step.Do(ctx, w); err != nil {
					return "", err
				}
				kept, err := w.rooms.Store.Rollouts(ctx, w.promotion.ID)
				if err != nil {
					return "", err
				}
				again, err := w.newWork(ctx, kept[0], w.lease)
				if err != nil {
					return "", err
				}
				again.seq, again.doing = w.seq, w.doing
				*w = *again
				return step.Do(ctx, w)
			}
		}
		procedures[kind] = changed
	}
}

// kills lets the server die once at each of those points; what is returned says at which it did not. The lease of a rollout whose
// server died runs out, and whoever looks for it goes on.
func kills(t *testing.T, e *Engine, points ...string) func() []string {
	t.Helper()
	var mu sync.Mutex
	e.fault = func(point string) {
		mu.Lock()
		at := slices.Index(points, point)
		if at >= 0 {
			points = slices.Delete(points, at, at+1)
		}
		mu.Unlock()
		if at >= 0 {
			panic("killed at " + point)
		}
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(points)
	}
}
