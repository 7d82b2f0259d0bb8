package promotion

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	lookEvery  = 300 * time.Millisecond // at the router's counts
	flowsEvery = 5 * time.Second        // on the pool that is being judged
)

// baseline is where the counts stood when a weight came into force. It is kept, so that a server
// that takes over judges the same requests.
type baseline struct {
	Since         time.Time `json:"since"`
	RouterStarted time.Time `json:"router_started"`
	Old           counts    `json:"old"`
	New           counts    `json:"new"`
}

type counts struct {
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"`
}

func (c counts) minus(o counts) counts { return counts{c.Requests - o.Requests, c.Failed - o.Failed} }

// shift moves the traffic over in steps, each of which needs a verdict from real requests.
func shift(ctx context.Context, w *Work) (string, error) {
	weights := append(append([]int{}, w.env.Environment.Rollout.Steps...), 100)
	if w.memory.Held || w.memory.OldPool == "" || w.memory.OldPool == w.memory.NewPool || w.promotion.Kind != KindPromote {
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
		if err != nil {
			return "", err
		}
		detail += fmt.Sprintf("%d %%: %s; ", weight, verdict)
		w.memory.Shift = nil
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

// judgeStep watches a weight until the evidence suffices.
func (w *Work) judgeStep(ctx context.Context, weight int) (string, error) {
	rollout := w.env.Environment.Rollout
	var flows flowWatch
	for {
		if w.memory.Shift != nil { // the counts are read after the flows, which take their time
			if err := flows.look(ctx, w); err != nil {
				return "", err
			}
		}
		now, started, err := w.read(ctx)
		if err != nil {
			return "", err
		}
		base := w.memory.Shift
		if base == nil || !base.RouterStarted.Equal(started) { // a router that restarted counts from 0 again
			since := time.Now().UTC()
			if base != nil {
				since = base.Since
			}
			w.memory.Shift = &baseline{Since: since, RouterStarted: started, Old: now.Old, New: now.New}
			if err := w.remember(ctx); err != nil {
				return "", err
			}
			continue
		}
		verdict := judge.Step(judge.StepInput{
			Stable:      judge.Counts(now.Old.minus(base.Old)),
			Canary:      judge.Counts(now.New.minus(base.New)),
			Ready:       flows.ready,
			FlowFailure: flows.failure,
			MinRequests: int64(rollout.Requests), Tolerance: rollout.MaxErrorRate,
			DeadlinePassed: time.Since(base.Since) > rollout.StepDeadline,
		})
		w.note(ctx, "%d %%: %s", weight, verdict.Evidence)
		switch verdict.Outcome {
		case judge.Pass:
			return verdict.Evidence, nil
		case judge.Fail:
			return "", failed("at %d %% of the traffic: %s", weight, verdict.Evidence)
		}
		if time.Since(base.Since) > rollout.StepDeadline {
			return "", failed("at %d %% of the traffic no verdict within %s: %s. Without evidence nothing goes on", weight, rollout.StepDeadline, verdict.Evidence)
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return "", err
		}
	}
}

// bake watches the new pool with all the traffic, while the old one could still take over.
func bake(ctx context.Context, w *Work) (string, error) {
	rollout := w.env.Environment.Rollout
	if w.memory.BakeUntil.IsZero() {
		w.memory.BakeUntil = time.Now().UTC().Add(rollout.Bake)
		w.memory.Shift = nil
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	var flows flowWatch
	for {
		if w.memory.Shift != nil {
			if err := flows.look(ctx, w); err != nil {
				return "", err
			}
		}
		now, started, err := w.read(ctx)
		if err != nil {
			return "", err
		}
		if base := w.memory.Shift; base == nil || !base.RouterStarted.Equal(started) {
			w.memory.Shift = &baseline{Since: time.Now().UTC(), RouterStarted: started, Old: now.Old, New: now.New}
			if err := w.remember(ctx); err != nil {
				return "", err
			}
			continue
		}
		seen := now.New.minus(w.memory.Shift.New)
		verdict := judge.Step(judge.StepInput{Canary: judge.Counts(seen), Ready: flows.ready, FlowFailure: flows.failure, Tolerance: rollout.MaxErrorRate, Alone: true})
		if verdict.Outcome == judge.Fail {
			return "", failed("with all the traffic: %s", verdict.Evidence)
		}
		left := time.Until(w.memory.BakeUntil)
		if left <= 0 && flows.rounds > 0 {
			return fmt.Sprintf("%s watched: %s", rollout.Bake, verdict.Evidence), nil
		}
		w.note(ctx, "%s left: %s", left.Round(time.Second), verdict.Evidence)
		if err := sleep(ctx, min(lookEvery, max(left, 10*time.Millisecond))); err != nil {
			return "", err
		}
	}
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

type bothPools struct{ Old, New counts }

// read takes the tenant's counts from the router.
func (w *Work) read(ctx context.Context) (bothPools, time.Time, error) {
	var seen bothPools
	stats, err := w.place.Runtime.Router(w.rollout.Environment).Stats(ctx)
	if err != nil {
		return seen, time.Time{}, fmt.Errorf("read the router's counts: %w", err)
	}
	for _, t := range stats.Tenants {
		if t.Name == w.tenant.Name {
			seen.Old, seen.New = ofPool(t, w.memory.OldPool), ofPool(t, w.memory.NewPool)
		}
	}
	return seen, stats.Started, nil
}

func ofPool(t router.TenantStats, pool string) counts {
	for _, p := range t.Pools {
		if p.Pool == pool {
			return counts{p.Requests, p.Failed}
		}
	}
	return counts{}
}

// flowWatch asks the new pool for readiness and flows now and then.
type flowWatch struct {
	last    time.Time
	rounds  int
	ready   bool
	failure string
}

func (f *flowWatch) look(ctx context.Context, w *Work) error {
	if f.rounds > 0 && time.Since(f.last) < flowsEvery {
		return nil
	}
	f.last = time.Now()
	client, err := w.bridge(ctx, w.memory.NewPool)
	if err != nil {
		return err
	}
	ready, err := client.Ready(ctx, w.state.Database)
	if err != nil {
		return err
	}
	f.ready, f.failure = ready.Ready, ready.Reason
	if ready.Ready {
		flows, err := w.runFlows(ctx, w.memory.NewPool)
		if err != nil && len(flows) == 0 {
			return err
		}
		f.failure = ""
		for _, flow := range flows {
			if flow.Outcome == "failed" {
				f.failure = describeFlow(flow)
			}
		}
	}
	f.rounds++
	return nil
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
