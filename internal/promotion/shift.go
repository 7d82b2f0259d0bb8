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
	// Compared is the evidence of all weights so far, so that the chance of a false alarm is bounded for the
	// whole shift and not for each weight anew.
	Compared *judge.Comparison `json:"compared,omitempty"`
}

// next is what a weight leaves to the one after it: the evidence, and no counts.
func (b *baseline) next() *baseline {
	if b == nil || b.Compared == nil {
		return nil
	}
	b.Compared.Leave()
	return &baseline{Compared: b.Compared}
}

// begin starts counting, with the evidence and the deadline that there were.
func (b *baseline) begin(at, router time.Time, now bothPools) *baseline {
	next := &baseline{Since: at, RouterStarted: router, Old: now.Old, New: now.New, Compared: &judge.Comparison{}}
	if b != nil && !b.Since.IsZero() {
		next.Since = b.Since
	}
	if b != nil && b.Compared != nil {
		next.Compared = b.Compared
	}
	next.Compared.Leave()
	next.Compared.Read(at, judge.Pair{Canary: judge.Counts(now.New), Stable: judge.Counts(now.Old)})
	return next
}

// begun reports whether counting has begun at this weight, by the router that counts now.
func (b *baseline) begun(router time.Time) bool {
	return b != nil && b.Compared != nil && b.RouterStarted.Equal(router)
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

// judgeStep watches a weight until the evidence suffices.
func (w *Work) judgeStep(ctx context.Context, weight int) (string, error) {
	rollout := w.env.Environment.Rollout
	var flows flowWatch
	var slow slowness
	for rounds := 0; ; {
		if b := w.memory.Shift; b != nil && !b.Since.IsZero() { // the counts are read after the flows, which take their time
			if err := flows.look(ctx, w); err != nil {
				return "", err
			}
			if flows.rounds > rounds { // so that a server that takes over knows nearly all of the evidence
				if err := w.remember(ctx); err != nil {
					return "", err
				}
				rounds = flows.rounds
			}
		}
		now, started, err := w.read(ctx)
		if err != nil {
			return "", err
		}
		at := time.Now().UTC()
		if !w.memory.Shift.begun(started) { // a router that restarted counts from 0 again
			w.memory.Shift = w.memory.Shift.begin(at, started, now)
			if err := w.remember(ctx); err != nil {
				return "", err
			}
			continue
		}
		base := w.memory.Shift
		base.Compared.Read(at, judge.Pair{Canary: judge.Counts(now.New), Stable: judge.Counts(now.Old)})
		warning := slow.look(at, started, now)
		verdict := judge.Step(judge.StepInput{
			Stable:      judge.Counts(now.Old.minus(base.Old)),
			Canary:      judge.Counts(now.New.minus(base.New)),
			Ready:       flows.ready,
			FlowFailure: flows.failure,
			MinRequests: int64(rollout.Requests), Tolerance: rollout.MaxErrorRate,
			DeadlinePassed: time.Since(base.Since) > rollout.StepDeadline,
			Compared:       base.Compared,
		})
		w.note(ctx, "%d %%: %s%s", weight, verdict.Evidence, warning)
		switch verdict.Outcome {
		case judge.Pass:
			return verdict.Evidence + warning, nil
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

// slowness compares how long the pools take to answer. It only warns: the first requests of a pool
// that has just started are slow, and no estate says yet how much slower is too slow. So its evidence
// is that of one server at one weight, and is not kept.
type slowness struct{ judge *judge.Judge }

// slowerShare is how many more of the answers may be slower before it is worth a word.
const slowerShare = .05

func (s *slowness) look(at, routerStarted time.Time, now bothPools) (warning string) {
	if s.judge == nil {
		var err error
		if s.judge, err = judge.New(judge.Config{Alpha: judge.Alpha, Signals: []judge.Signal{{
			Name: "answers", Kind: judge.Latency, Role: judge.Warning, Tolerance: slowerShare, Bounds: router.LatencyBounds,
		}}}); err != nil {
			return "; how long answers take is not compared: " + err.Error()
		}
	}
	for pool, took := range [][]int64{judge.Stable: now.OldTook, judge.Canary: now.NewTook} {
		// What cannot be used is told by the verdict, and this one only warns.
		_ = s.judge.Observe(judge.Observation{Signal: "answers", Pool: judge.Pool(pool), At: at, Source: routerStarted.UnixNano(), Buckets: took})
	}
	if answers := s.judge.Verdict(at).Signals[0]; answers.Outcome == judge.Fail {
		return "; slower, which is recorded and no reason to go back: " + answers.Says
	}
	return ""
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
