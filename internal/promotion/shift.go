package promotion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	lookEvery     = 300 * time.Millisecond // at the router's counts
	flowsEvery    = 10 * time.Second       // on the pool that is being judged: they take workers from its users
	rememberEvery = 5 * time.Second        // so that a server that takes over knows nearly all of the evidence
)

// shift moves the traffic over in steps, each of which needs a verdict from real requests.
func shift(ctx context.Context, w *Work) (string, error) {
	weights := append(append([]int{}, w.env.Environment.Rollout.Steps...), 100)
	if w.memory.Held || w.memory.OldPool == "" || w.memory.OldPool == w.memory.NewPool || w.promotion.Kind != KindPromote && w.promotion.Kind != KindConfiguration {
		weights = []int{100} // nobody to compare with, or everybody waits
	}
	var detail string
	for ; w.memory.ShiftStep < len(weights); w.memory.ShiftStep++ {
		weight := weights[w.memory.ShiftStep]
		if err := w.setWeight(ctx, weight); err != nil {
			return "", err
		}
		w.fault(fmt.Sprintf("inside:shift %d", weight))
		if weight == 100 {
			break
		}
		verdict, err := w.judgeStep(ctx, weight)
		var person *NeedsPerson
		if errors.As(err, &person) { // while somebody thinks, nobody watches: so the old release serves
			if err := w.setWeight(ctx, 0); err != nil {
				return "", err
			}
		}
		if err != nil {
			return "", err
		}
		detail += fmt.Sprintf("%d %%: %s; ", weight, verdict)
		w.memory.Shift = w.memory.Shift.next()
	}
	return detail + "100 % on " + w.memory.NewPool, nil
}

// setWeight decides and tells a weight. With all traffic, cron moves too.
func (w *Work) setWeight(ctx context.Context, weight int) error {
	if err := w.change(ctx, func(l *store.Live) {
		l.Canary, l.Weight = w.memory.NewPool, weight
		switch {
		case w.memory.Held:
			l.Cron = ""
		case weight == 100:
			l.Cron = w.memory.NewPool
		default:
			l.Cron = l.Stable
		}
	}); err != nil {
		return err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return fmt.Errorf("tell the router a weight of %d %%: %w", weight, err)
	}
	return nil
}

// shiftBack sends all traffic to the old pool again.
func shiftBack(ctx context.Context, w *Work) (string, error) {
	w.memory.ShiftStep, w.memory.Shift, w.memory.BakeUntil = 0, nil, time.Time{}
	if w.state.Live.Canary == "" {
		return "no traffic had moved", nil
	}
	if err := w.change(ctx, func(l *store.Live) {
		l.Weight = 0
		l.Cron = l.Stable
		if w.memory.Held {
			l.Cron = ""
		}
	}); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if old := w.memory.OldPool; old != "" {
		if err := w.place.Runtime.Router(w.rollout.Environment).CloseWebsockets(ctx, w.tenant.Name, old); err != nil {
			return "", err
		}
	}
	_, err := w.tellPools(ctx, w.place, w.rollout.Environment)
	return "all traffic on " + w.memory.OldPool, err
}

type bothPools struct {
	Old, New         counts
	OldTook, NewTook []int64 // how many, by router.LatencyBounds
}

// read takes the tenant's counts from the router.
func (w *Work) read(ctx context.Context) (bothPools, time.Time, error) {
	var seen bothPools
	stats, err := w.place.Runtime.Router(w.rollout.Environment).Stats(ctx)
	if err != nil {
		return seen, time.Time{}, fmt.Errorf("read the router's counts: %w", err)
	}
	for _, t := range stats.Tenants {
		if t.Name == w.tenant.Name {
			seen.Old, seen.OldTook = ofPool(t, w.memory.OldPool)
			seen.New, seen.NewTook = ofPool(t, w.memory.NewPool)
		}
	}
	return seen, stats.Started, nil
}

func ofPool(t router.TenantStats, pool string) (counts, []int64) {
	for _, p := range t.Pools {
		if p.Pool == pool {
			return counts{p.Requests, p.Failed}, p.Latency
		}
	}
	return counts{}, make([]int64, len(router.LatencyBounds)+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
