package promotion

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/judge"
)

// bake watches the new pool with all the traffic, while the old one could still take over.
func bake(ctx context.Context, w *Work) (string, error) {
	rollout := w.env.Environment.Rollout
	if w.memory.BakeUntil.IsZero() {
		w.memory.BakeUntil = time.Now().UTC().Add(rollout.Bake)
		weeks, err := w.usualHours(ctx)
		if err != nil {
			return "", err
		}
		var shift map[string]judge.Counts
		if before := w.memory.Shift; before != nil && before.Watch != nil {
			shift = before.Watch.Usual
		}
		w.memory.Shift = nil
		if a := newAfter(rollout, weeks, shift); a != nil {
			w.memory.Shift = &baseline{After: a}
		}
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	inner, stop := context.WithCancel(ctx)
	rounds, cron := watchFlows(inner, w, ""), newCronWatch(w)
	defer func() {
		stop()
		<-rounds.ended
		cron.close()
	}()
	for {
		now, started, err := w.read(ctx)
		if err != nil {
			return "", err
		}
		if base := w.memory.Shift; base == nil || !base.RouterStarted.Equal(started) {
			next := &baseline{Since: time.Now().UTC(), RouterStarted: started, Old: now.Old, New: now.New}
			if base != nil {
				next.Cron, next.After = base.Cron, base.After
				if !base.Since.IsZero() {
					next.Since = base.Since
				}
			}
			w.memory.Shift = next
			if err := w.remember(ctx); err != nil {
				return "", err
			}
		}
		flows, err := rounds.latest()
		if err != nil {
			return "", err
		}
		if err := cron.look(ctx); err != nil {
			return "", err
		}
		seen := judge.Counts(now.New.minus(w.memory.Shift.New))
		verdict := judge.Step(judge.StepInput{Canary: seen, Ready: flows.ready || flows.rounds == 0, FlowFailure: flows.failure, Tolerance: rollout.MaxErrorRate, Alone: true})
		conclude := func(outcome judge.Outcome, says string) error {
			v := Verdict{Stage: "bake", Weight: 100, Outcome: outcome, Says: says, Since: w.memory.Shift.Since, At: time.Now().UTC(),
				Requests: judge.Pair{Canary: seen}, Lower: verdict.Lower, Upper: verdict.Upper, Flows: flows.passed, Signals: []SignalVerdict{}}
			return w.rooms.Store.PutVerdict(ctx, w.lease, v.Stage, string(outcome), oneLine(says), v)
		}
		failure := verdict.Evidence
		if verdict.Outcome != judge.Fail {
			failure = cron.failure()
		}
		if failure != "" {
			if err := conclude(judge.Fail, failure); err != nil {
				return "", err
			}
			return "", failed("with all the traffic: %s", failure)
		}
		left := time.Until(w.memory.BakeUntil)
		if left <= 0 && flows.rounds > 0 {
			says := verdict.Evidence + cron.says()
			return fmt.Sprintf("%s watched: %s", rollout.Bake, says), conclude(judge.Pass, says)
		}
		w.note(ctx, "%s left: %s%s", left.Round(time.Second), verdict.Evidence, cron.says())
		if err := sleep(ctx, min(lookEvery, max(left, 10*time.Millisecond))); err != nil {
			return "", err
		}
	}
}
