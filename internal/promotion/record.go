package promotion

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/store"
)

// record makes the new pool the tenant's own, and takes the old one away once no tenant needs it.
func record(ctx context.Context, w *Work) (string, error) {
	fresh, old := w.memory.NewPool, w.memory.OldPool
	if err := w.changeTenant(ctx, func(t *store.Tenant) {
		t.ServingRelease = w.memory.Release
		l := &t.Live
		l.Stable, l.Canary, l.Weight, l.Cron, l.Access = fresh, "", 0, fresh, poolsOf(fresh)
	}); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.place.Runtime.Router(w.rollout.Environment).CloseWebsockets(ctx, w.tenant.Name, fresh); err != nil {
		return "", err
	}
	left, err := w.awaitRequests(ctx, old)
	if err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s serves since %s", fresh, time.Now().UTC().Format(time.TimeOnly))
	if predicted := w.memory.Plan.PredictedSeconds; predicted > 0 && w.memory.HeldSeconds > 0 {
		detail += fmt.Sprintf("; people waited %.1f s, predicted were %.1f s", w.memory.HeldSeconds, predicted)
	}
	if left != "" {
		detail += "; " + left
	}
	if old != "" && old != fresh {
		removed, err := w.removePool(ctx, w.place, w.rollout.Environment, old)
		if err != nil {
			return "", err
		}
		if removed {
			detail += "; pool " + old + " removed"
		}
	}
	return detail, nil
}
