package promotion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// suspendedMessage is what people read where whoever suspends says nothing else.
const suspendedMessage = "This service is suspended. Your data is kept. Please ask whoever runs it for you."

// available leaves suspended tenants out of what is asked of a whole environment, and refuses what is asked of one by name:
// nothing of a release can be proven where nobody works.
func (e *Engine) available(ctx context.Context, q Request, s *Snapshot) error {
	switch q.Kind {
	case KindPromote, KindConfiguration, KindRollback, KindRestore, KindRotate, KindCreate, KindMove:
	default:
		return nil
	}
	known, err := e.rooms.Store.Tenants(ctx, q.Environment)
	if err != nil {
		return err
	}
	live := map[string]store.Live{}
	for _, t := range known {
		live[t.Name] = t.Live
	}
	var left []estate.Tenant
	for _, t := range s.Tenants {
		is := live[t.Name]
		named := len(q.Tenants) > 0 && q.Kind != KindRollback && q.Kind != KindRotate // those name all that a promotion or a login was of
		switch {
		case !is.Suspended, q.Kind == KindCreate && is.Leaving == nil: // one whose database was lost is made anew, suspended or not
			left = append(left, t)
		case named && is.Leaving != nil:
			return badRequest("%s", leavingLine(q.Environment, t.Name, *is.Leaving))
		case named:
			return badRequest("tenant %s is suspended: waybill tenant resume %s/%s", t.Name, q.Environment, t.Name)
		}
	}
	if len(left) == 0 {
		return badRequest("every tenant of %s that this is about is suspended", q.Environment)
	}
	s.Tenants = left
	return nil
}

func admitSuspend(ctx context.Context, w *Work) (string, error) {
	switch {
	case w.state.Live.Leaving != nil:
		return "", failed("%s", leavingLine(w.rollout.Environment, w.tenant.Name, *w.state.Live.Leaving))
	case w.state.Live.Stable == "":
		return "", failed("nothing serves %s; there is nothing to suspend", w.tenant.Name)
	case w.state.Live.Suspended:
		return "", failed("%s is suspended already; open it again: waybill tenant resume %s/%s", w.tenant.Name, w.rollout.Environment, w.tenant.Name)
	}
	w.rememberOld()
	w.memory.Release, w.memory.NewPool = w.state.ServingRelease, w.state.Live.Stable
	return "served by " + w.state.Live.Stable, nil
}

// suspend shows the tenant's people a page, lets what is in flight end, and fences the database: no request, no cron and no
// session reaches it. Its pool stays on the list of what must not go away, so that it can be back within seconds.
func suspend(ctx context.Context, w *Work) (string, error) {
	message := w.options.Message
	if message == "" {
		message = suspendedMessage
	}
	return w.shut(ctx, message)
}

// shut lets nobody through any more, and fences the database.
func (w *Work) shut(ctx context.Context, message string) (string, error) {
	if err := w.change(ctx, func(l *store.Live) {
		l.Suspended, l.Mode, l.HoldUntil, l.Message = true, router.Freeze, time.Time{}, message
	}); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", fmt.Errorf("tell the router to let nobody through: %w", err)
	}
	control := w.place.Runtime.Router(w.rollout.Environment)
	cut, err := control.Drain(ctx, w.tenant.Name, w.env.Environment.DrainLimit)
	if err != nil {
		return "", fmt.Errorf("wait for the requests in flight: %w", err)
	}
	if err := control.CloseWebsockets(ctx, w.tenant.Name, ""); err != nil {
		return "", err
	}
	if err := w.fenceSuspended(ctx); err != nil {
		return "", err
	}
	detail := "nobody is let through; no cron; database fenced, and kept"
	if cut > 0 {
		detail += fmt.Sprintf("; %s did not end within %s", plural(cut, "request"), w.env.Environment.DrainLimit)
	}
	return detail, nil
}

func (w *Work) fenceSuspended(ctx context.Context) error {
	if err := w.change(ctx, func(l *store.Live) { l.Cron, l.Access = "", nil }); err != nil {
		return err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return fmt.Errorf("fence database %s: %w", w.state.Database, err)
	}
	return nil
}

func admitResume(_ context.Context, w *Work) (string, error) {
	switch {
	case w.state.Live.Leaving != nil:
		return "", failed("%s", leavingLine(w.rollout.Environment, w.tenant.Name, *w.state.Live.Leaving))
	case !w.state.Live.Suspended:
		return "", failed("%s is not suspended", w.tenant.Name)
	}
	w.rememberOld()
	w.memory.Message = w.state.Live.Message
	w.memory.Release, w.memory.NewPool = w.state.ServingRelease, w.state.Live.Stable
	return "with the release that served it", nil
}

// wakePool starts the tenant's pool again, where it went away meanwhile.
func wakePool(ctx context.Context, w *Work) (string, error) {
	pool, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, w.memory.NewPool)
	if errors.Is(err, store.ErrNotFound) {
		return "", failed("pool %s, which served %s, is not known any more", w.memory.NewPool, w.tenant.Name)
	} else if err != nil {
		return "", err
	}
	if err := w.place.Runtime.EnsureEnvironment(ctx, w.runtimeEnvironment()); err != nil {
		return "", err
	}
	bounded, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	_, err = w.ensurePool(bounded, w.place, pool)
	return "pool " + pool.Name + " answers", err
}

// verifySuspended lets the pool alone into the database, and proves that the business works before anybody is let through.
func verifySuspended(ctx context.Context, w *Work) (string, error) {
	pool := w.memory.NewPool
	if err := w.change(ctx, func(l *store.Live) { l.Stable, l.Access = pool, poolsOf(pool) }); err != nil {
		return "", err
	}
	ready, err := w.letIn(ctx, pool)
	if err != nil {
		return "", err
	}
	flows, err := w.runFlows(ctx, pool, bridge.FlowsRequest{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("registry open in %.1f s; %s", ready.Seconds, flowLine(flows)), nil
}

// fenceAgain closes what was about to be opened. One that is leaving is on no pool's list then.
func fenceAgain(ctx context.Context, w *Work) (string, error) {
	if !w.state.Live.Suspended {
		return "", nil
	}
	if err := w.change(ctx, func(l *store.Live) {
		l.Mode, l.HoldUntil, l.Message = router.Freeze, time.Time{}, w.memory.Message
		if l.Leaving != nil {
			l.Stable = ""
		}
	}); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", fmt.Errorf("tell the router to let nobody through: %w", err)
	}
	return "nobody is let through, as before", w.fenceSuspended(ctx)
}

// openAgain is what a tenant that served before is brought back to.
func openAgain(ctx context.Context, w *Work) (string, error) {
	pool := w.memory.NewPool
	if pool == "" || !w.state.Live.Suspended {
		return "it is open", nil
	}
	if err := w.change(ctx, func(l *store.Live) {
		l.Access, l.Cron, l.Mode, l.HoldUntil, l.Message = poolsOf(pool), pool, router.Open, time.Time{}, ""
	}); err != nil {
		return "", err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", fmt.Errorf("tell the router to let people through: %w", err)
	}
	return "served by " + pool + " again", w.change(ctx, func(l *store.Live) { l.Suspended, l.Leaving = false, nil })
}
