package promotion

import (
	"context"
	"sync"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// flowState is what readiness and flows on the new pool have shown.
type flowState struct {
	rounds  int
	passed  int64 // flows, over all rounds
	ready   bool
	failure string
	err     error // the pool could not be asked
}

// flowRounds asks the new pool for readiness and flows again and again, beside the counting: flows
// take their time, and a verdict on real requests does not wait for them.
type flowRounds struct {
	ended chan struct{} // closed once nothing is asked any more
	mu    sync.Mutex
	state flowState
}

// watchFlows goes on until ctx is done, or the pool could not be asked. With a pool beside it, that one runs the same
// flows at the same time, so that both have the same work to do besides the traffic that is compared. What they find
// there is no matter of the new release.
func watchFlows(ctx context.Context, w *Work, beside string) *flowRounds {
	f := &flowRounds{ended: make(chan struct{})}
	pool, database := w.memory.NewPool, w.state.Database
	go func() {
		defer close(f.ended)
		for {
			round := f.state.rounds + 1
			var burden sync.WaitGroup
			if beside != "" {
				burden.Go(func() { _, _ = w.flowRound(ctx, beside, database, round) })
			}
			next, err := w.flowRound(ctx, pool, database, round)
			if ctx.Err() != nil {
				burden.Wait()
				return
			}
			f.mu.Lock()
			next.rounds, next.passed, next.err = f.state.rounds+1, f.state.passed+next.passed, err
			f.state = next
			f.mu.Unlock()
			burden.Wait() // a failure on the new pool is known by now, whatever the old one takes
			if err != nil || sleep(ctx, flowsEvery) != nil {
				return
			}
		}
	}()
	return f
}

func (f *flowRounds) latest() (flowState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.state.err
}

func (w *Work) flowRound(ctx context.Context, pool, database string, round int) (f flowState, err error) {
	client, err := w.bridge(ctx, pool)
	if err != nil {
		return f, err
	}
	defer client.Close()
	ready, err := client.Ready(ctx, database)
	if err != nil {
		return f, err
	}
	f.ready, f.failure = ready.Ready, ready.Reason
	if !ready.Ready {
		return f, nil
	}
	flows, err := w.runFlows(ctx, pool, bridge.FlowsRequest{Round: round})
	if err != nil && len(flows) == 0 {
		return f, err
	}
	f.failure = ""
	for _, flow := range flows {
		switch flow.Outcome {
		case bridge.FlowFailed:
			f.failure = describeFlow(flow)
		case bridge.FlowPassed:
			f.passed++
		}
	}
	return f, nil
}
