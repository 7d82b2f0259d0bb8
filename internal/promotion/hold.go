package promotion

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// hold makes the tenant's requests wait (or shows them a page, where that would take too long),
// lets those in flight finish, and fences the database: after it, nobody but Waybill can commit.
func hold(ctx context.Context, w *Work) (string, error) {
	mode, budget := w.pause()
	if w.memory.HoldSince.IsZero() {
		w.memory.HoldSince = time.Now().UTC()
		w.memory.HoldUntil = w.memory.HoldSince.Add(budget)
	}
	w.memory.Held = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	if err := w.engage(ctx, mode); err != nil {
		return "", err
	}
	cut, err := w.place.Runtime.Router(w.rollout.Environment).Drain(ctx, w.tenant.Name, w.env.Environment.DrainLimit)
	if err != nil && (w.memory.OldPool != "" || !errors.Is(err, router.ErrUnknownTenant)) { // one that nobody serves yet has no route
		return "", fmt.Errorf("wait for the requests in flight: %w", err)
	}
	w.fault("inside:hold")
	if err := w.change(ctx, func(l *store.Live) { l.Cron, l.Access, l.Updating = "", nil, false }); err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return "", fmt.Errorf("fence database %s: %w", w.state.Database, err)
	}
	word := "held"
	if mode == router.Freeze {
		word = "frozen"
	}
	detail := fmt.Sprintf("%s for at most %s; database fenced", word, budget)
	if cut > 0 {
		detail += fmt.Sprintf("; %d requests did not end within %s and were cut off", cut, w.env.Environment.DrainLimit)
	}
	return detail, nil
}

// pause says how people wait: held when the update is one transaction and no rehearsal found it too long for that, else
// behind the page. Once the new
// release has been let loose, a way back that restores the database takes longer than people would wait.
func (w *Work) pause() (router.Mode, time.Duration) {
	if w.promotion.Kind == KindMove { // no table is rewritten: owners change, and files that came meanwhile are copied
		return router.Hold, w.env.Environment.HoldBudget
	}
	quick := w.memory.ReleasedAt.IsZero() || w.memory.Plan.Class == estate.Compatible
	if w.promotion.Kind == KindPromote && w.memory.Plan.Transactional && !w.memory.Plan.Freeze && quick {
		return router.Hold, w.env.Environment.HoldBudget
	}
	return router.Freeze, w.env.Environment.Deadline
}

func (w *Work) engage(ctx context.Context, mode router.Mode) error {
	err := w.change(ctx, func(l *store.Live) {
		l.Mode, l.HoldUntil = mode, w.memory.HoldUntil
		l.Message = "We are bringing in a new release. Your data is safe; this page tries again by itself."
	})
	if err != nil {
		return err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return fmt.Errorf("tell the router to wait: %w", err)
	}
	return nil
}

// letGo opens the tenant to its old pool again. It is the way out of the hold when the old release
// works on the database as it now is: after a compatible update, or when nothing has happened.
func letGo(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Held {
		return "nothing was held", nil
	}
	old := w.memory.OldPool
	if err := w.change(ctx, func(l *store.Live) {
		l.Updating, l.Access, l.Cron, l.Mode, l.HoldUntil, l.Message = false, poolsOf(old), old, router.Open, time.Time{}, ""
		l.Stable, l.Canary, l.Weight = old, "", 0
	}); err != nil {
		return "", err
	}
	return w.endHold(ctx)
}

// releaseToNew opens the tenant to the new pool, which has all the traffic. From here on, going
// back to a checkpoint would lose what people write.
func releaseToNew(ctx context.Context, w *Work) (string, error) {
	if w.memory.ReleasedAt.IsZero() {
		w.memory.NoReturn = w.promotion.Kind == KindPromote && w.memory.OldPool != ""
		w.memory.ReleasedAt = time.Now().UTC()
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	fresh := w.memory.NewPool
	if err := w.change(ctx, func(l *store.Live) {
		l.Access, l.Cron, l.Mode, l.HoldUntil, l.Message = poolsOf(fresh), fresh, router.Open, time.Time{}, ""
	}); err != nil {
		return "", err
	}
	return w.endHold(ctx)
}

// endHold tells database, pools and router, in this order: whoever is let through finds an open door.
func (w *Work) endHold(ctx context.Context) (string, error) {
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", fmt.Errorf("tell the router to go on: %w", err)
	}
	if keep := w.state.Live.Stable; keep != "" {
		if w.state.Live.Weight == 100 {
			keep = w.state.Live.Canary
		}
		if err := w.place.Runtime.Router(w.rollout.Environment).CloseWebsockets(ctx, w.tenant.Name, keep); err != nil {
			return "", err
		}
	}
	held := time.Since(w.memory.HoldSince).Seconds()
	w.memory.Held, w.memory.HoldSince = false, time.Time{}
	w.memory.HeldSeconds += held
	return fmt.Sprintf("open again after %.1f s", held), nil
}

// holdAgain closes the tenant once more, on the way back from a release that has already served.
func holdAgain(ctx context.Context, w *Work) (string, error) {
	if w.memory.ReleasedAt.IsZero() {
		return "it was not released", nil
	}
	return hold(ctx, w)
}

func poolsOf(names ...string) []string {
	var pools []string
	for _, n := range names {
		if n != "" {
			pools = append(pools, n)
		}
	}
	return pools
}
