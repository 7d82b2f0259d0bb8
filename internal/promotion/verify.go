package promotion

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// readyLimit is how long a new pool may take to open a tenant's registry.
const readyLimit = 2 * time.Minute

// verify puts the tenant on the new pool's list, without any traffic, and lets the new pool's own
// live worker prove that the business works: sell, pick, ship, receive.
func verify(ctx context.Context, w *Work) (string, error) {
	fresh := w.memory.NewPool
	if err := w.change(ctx, func(l *store.Live) {
		l.Canary, l.Weight = fresh, 0
		l.Access = poolsOf(fresh)
		if !w.memory.Held && l.Stable != fresh {
			l.Access = poolsOf(l.Stable, fresh)
		}
	}); err != nil {
		return "", err
	}
	ready, err := w.letIn(ctx, fresh)
	if err != nil {
		return "", err
	}
	flows, err := w.runFlows(ctx, fresh, bridge.FlowsRequest{Quick: w.memory.Held}) // while people wait, without those that take long
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("registry open in %.1f s; %s", ready.Seconds, flowLine(flows)), nil
}

// letIn lets those pools into the tenant's database that may connect, as was decided, and waits until one of them is ready to serve it.
func (w *Work) letIn(ctx context.Context, pool string) (bridge.Readiness, error) {
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return bridge.Readiness{}, err
	}
	generation, err := w.tellPools(ctx, w.place, w.rollout.Environment)
	if err != nil {
		return bridge.Readiness{}, err
	}
	return w.awaitReady(ctx, pool, generation)
}

// awaitReady waits until a pool has opened the tenant's registry and found the versions that belong there.
func (w *Work) awaitReady(ctx context.Context, pool string, generation int64) (bridge.Readiness, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, readyLimit, errors.New("not ready in time"))
	defer cancel()
	var ready bridge.Readiness
	err := poll(bounded, 100*time.Millisecond, func() (bool, error) {
		client, err := w.bridge(bounded, pool)
		if err != nil {
			return false, err
		}
		if ready, err = client.Ready(bounded, w.state.Database); err != nil {
			return false, err
		}
		if !ready.Ready {
			w.note(ctx, "not ready yet: %s", ready.Reason)
			return false, errors.New(ready.Reason)
		}
		return ready.Generation >= generation, nil
	})
	if err != nil && ctx.Err() == nil {
		return ready, failed("the pool of the release never became ready for %s: %w", w.tenant.Name, err)
	}
	return ready, err
}

// runFlows runs those flows that the request says on a pool; one that fails is the release's failure.
func (w *Work) runFlows(ctx context.Context, pool string, request bridge.FlowsRequest) ([]bridge.Flow, error) {
	client, err := w.bridge(ctx, pool)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	request.Database = w.state.Database
	flows, err := client.Flows(bounded, request)
	if err != nil {
		return nil, fmt.Errorf("run the flows on pool %s: %w", pool, err)
	}
	for _, f := range flows {
		if f.Outcome == bridge.FlowFailed {
			return flows, failed("on its own pool, before any traffic, %s", describeFlow(f))
		}
	}
	return flows, nil
}

func describeFlow(f bridge.Flow) string {
	at := ""
	if n := len(f.Stages); n > 0 {
		at = " at " + f.Stages[n-1].Name
	}
	return fmt.Sprintf("flow %s failed%s: %s", f.Name, at, oneLine(f.Error))
}

func flowLine(flows []bridge.Flow) string {
	var passed, absent []string
	for _, f := range flows {
		switch f.Outcome {
		case bridge.FlowPassed:
			passed = append(passed, fmt.Sprintf("%s %.1f s", f.Name, f.Seconds))
		case bridge.FlowNotApplicable:
			absent = append(absent, f.Name)
		}
	}
	line := "no flow applies"
	if len(passed) > 0 {
		line = "flows passed: " + strings.Join(passed, ", ")
	}
	if len(absent) > 0 {
		line += "; not applicable: " + strings.Join(absent, ", ")
	}
	return line
}

// forgetCanary takes the tenant off the new pool's list, and the pool's right to connect with it.
func forgetCanary(ctx context.Context, w *Work) (string, error) {
	if err := w.change(ctx, func(l *store.Live) {
		l.Canary, l.Weight = "", 0
		l.Access = nil
		if !w.memory.Held {
			l.Access = poolsOf(l.Stable)
			l.Cron = l.Stable
		}
	}); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	detail, err := w.awaitRequests(ctx, w.memory.NewPool)
	if err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	return detail, w.grantAccess(ctx, w.place, w.state)
}

// awaitRequests waits until the tenant's last request is through on a pool that gets no new ones. Whatever ends the pool's right to the
// database, or the pool, cuts off what still runs there. It says so where a request took so long that it had to be cut off.
func (w *Work) awaitRequests(ctx context.Context, pool string) (detail string, err error) {
	cut, err := w.place.Runtime.Router(w.rollout.Environment).Drain(ctx, w.tenant.Name, graceOfPool)
	if errors.Is(err, router.ErrUnknownTenant) { // it has no route at all, as while it is created
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("wait for the requests in flight on pool %s: %w", pool, err)
	}
	if cut > 0 {
		detail = fmt.Sprintf("%s on %s did not end within %s and had to be cut off", plural(cut, "request"), pool, graceOfPool)
	}
	return detail, nil
}
