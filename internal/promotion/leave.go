package promotion

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// A tenant that is deleted is leaving for a while: nobody is let through, no pool serves it, and its data is there. Its document
// stays in the estate, so that nobody else takes its name, its hosts or its database. Then it is purged.

// Deletion asks for a tenant to be deleted.
type Deletion struct {
	Environment, Tenant string
	Grace               time.Duration // until its data goes; 0: DefaultGrace
	Message             string        // that its people read
	By                  string
}

// The bounds of the time of grace.
const (
	DefaultGrace = 30 * 24 * time.Hour
	minGrace     = time.Hour
	maxGrace     = 365 * 24 * time.Hour
)

// leavingMessage is what people read where whoever deletes says nothing else.
const leavingMessage = "This service has been closed. Please ask whoever ran it for you."

// leavingLine says that a tenant is leaving, and what to do about it.
func leavingLine(environment, tenant string, l store.Leaving) string {
	return fmt.Sprintf("%s is leaving: it was deleted, and its data goes after %s; take it back: waybill tenant undelete %s/%s", tenant, instant(l.Until), environment, tenant)
}

// Delete starts it. Everything that can be known to be wrong is an error now: then nothing was begun.
func (e *Engine) Delete(ctx context.Context, declared *estate.Estate, d Deletion) (string, error) {
	if d.Grace == 0 {
		d.Grace = DefaultGrace
	}
	if d.Grace < minGrace || d.Grace > maxGrace {
		return "", badRequest("the data of %s cannot be kept for %s: from 1h to %dd", d.Tenant, d.Grace, int(maxGrace.Hours()/24))
	}
	known, err := e.rooms.Store.Tenant(ctx, d.Environment, d.Tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", badRequest("Waybill knows no tenant %s in %s that has data; see: waybill status", d.Tenant, d.Environment)
	case err != nil:
		return "", err
	case known.StandsBeside():
		of, name, _ := store.OfBeside(d.Tenant)
		return "", badRequest("%s is no tenant: it stands beside %s. Drop it: waybill restore drop %s/%s %s", d.Tenant, of, d.Environment, of, name)
	}
	if why, err := e.keeps(ctx, known); err != nil {
		return "", err
	} else if why != "" {
		return "", badRequest("%s", why)
	}
	after, err := e.removable(ctx, declared, known)
	if err != nil {
		return "", err
	}
	return e.Start(ctx, after, Request{Kind: KindDelete, Environment: d.Environment, Tenants: []string{d.Tenant}, By: d.By,
		Options: Options{Message: d.Message, GraceHours: int(d.Grace.Hours())}})
}

// keeps says why a tenant cannot be deleted; empty: it can.
func (e *Engine) keeps(ctx context.Context, t store.Tenant) (why string, err error) {
	switch {
	case t.Live.Leaving != nil:
		return leavingLine(t.Environment, t.Name, *t.Live.Leaving), nil
	case t.ServingRelease == "" && t.SchemaRelease == "":
		return fmt.Sprintf("tenant %s has no data in %s, so there is nothing to delete; take its document out of the estate", t.Name, t.Environment), nil
	}
	return e.accompanied(ctx, t.Environment, t.Name)
}

// accompanied says what stands beside a tenant; empty: nothing.
func (e *Engine) accompanied(ctx context.Context, environment, tenant string) (string, error) {
	besides, err := e.rooms.Store.Besides(ctx, environment, tenant)
	if err != nil || len(besides) == 0 {
		return "", err
	}
	var names []string
	for _, b := range besides {
		names = append(names, b.Name)
	}
	return fmt.Sprintf("%s stands beside %s; drop it first: waybill restore drop %s/%s %s. See: waybill restore list %s/%s",
		strings.Join(names, ", "), tenant, environment, tenant, names[0], environment, tenant), nil
}

// removable is the estate to delete a tenant under, which this server must be able to take the tenant's document out of when its
// time has come. Where the estate has none any more it is what the store knows.
func (e *Engine) removable(ctx context.Context, declared *estate.Estate, t store.Tenant) (*estate.Estate, error) {
	for _, d := range declared.TenantsOf(t.Environment) {
		if d.Name != t.Name {
			continue
		}
		if e.rooms.Declarations == nil {
			return nil, badRequest("this server cannot write the estate, which has Tenant %s in %s; take the document out by hand, and ask again", t.Name, d.File())
		}
		_, err := e.rooms.Declarations.Try(ctx, estate.Change{Environment: t.Environment, Tenant: t.Name, Remove: true})
		if err != nil && !errors.Is(err, estate.ErrUndeclared) {
			return nil, badRequest("the document of tenant %s/%s could not be taken out of the estate when its time has come, so nothing was begun: %w. Take it out first, by a pull request, and ask again",
				t.Environment, t.Name, err)
		}
		return declared, nil
	}
	only := *declared
	only.Tenants = []estate.Tenant{{Name: t.Name, Environment: t.Environment, Database: t.Database, Hosts: t.Hosts, Hosting: hostingOf(t.Group)}}
	return &only, nil
}

// admitDelete looks once more whether it may go: something may have come to stand beside it. It touches nothing.
func admitDelete(ctx context.Context, w *Work) (string, error) {
	if why, err := w.keeps(ctx, w.state); err != nil {
		return "", err
	} else if why != "" {
		return "", failed("%s", why)
	}
	exists, err := w.place.Databases.Exists(ctx, w.state.Database)
	if err != nil {
		return "", err
	}
	if !exists {
		return "", failed("database %s of tenant %s does not exist, so no last checkpoint of it can be taken. Restore it first: waybill checkpoint list %s/%s",
			w.state.Database, w.tenant.Name, w.rollout.Environment, w.tenant.Name)
	}
	live := w.state.Live
	w.rememberOld()
	w.memory.Suspended, w.memory.Message = live.Suspended, live.Message
	w.memory.Release, w.memory.NewPool = w.state.ServingRelease, live.Stable
	if live.Stable == "" {
		return "nothing serves it; its data is in database " + w.state.Database, nil
	}
	pool, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, live.Stable)
	if err != nil {
		return "", fmt.Errorf("look up pool %s, which serves %s: %w", live.Stable, w.tenant.Name, err)
	}
	was := configurationOf(pool)
	w.memory.OldConfiguration = &was
	return "served by " + live.Stable, nil
}

// closeForGood closes the tenant to its people, as a suspension does.
func closeForGood(ctx context.Context, w *Work) (string, error) {
	message := w.options.Message
	switch {
	case message == "" && w.memory.Suspended: // they know more already
		message = w.memory.Message
	case message == "":
		message = leavingMessage
	}
	return w.shut(ctx, message)
}

// openAfterAll opens what this rollout has closed, and nothing that was closed before.
func openAfterAll(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Suspended {
		return comeBack(ctx, w)
	}
	if err := w.change(ctx, func(l *store.Live) { l.Message = w.memory.Message }); err != nil {
		return "", err
	}
	return "it stays suspended", w.tellRouter(ctx, w.place, w.rollout.Environment)
}

// comeBack opens the tenant. One that nothing served is as it was.
func comeBack(ctx context.Context, w *Work) (string, error) {
	if w.memory.NewPool != "" {
		return openAgain(ctx, w)
	}
	if err := w.change(ctx, func(l *store.Live) {
		l.Suspended, l.Leaving, l.Mode, l.HoldUntil, l.Message = false, nil, "", time.Time{}, ""
	}); err != nil {
		return "", err
	}
	return "nothing serves it, as before", w.tellRouter(ctx, w.place, w.rollout.Environment)
}

// leave decides that the tenant is leaving, together with the job that purges it, and lets its pool go: that would take memory
// for as long.
func leave(ctx context.Context, w *Work) (string, error) {
	leaving := store.Leaving{Until: time.Now().Add(time.Duration(w.options.GraceHours) * time.Hour).UTC().Truncate(time.Second), Checkpoint: w.memory.FenceCheckpoint, Promotion: w.promotion.ID}
	if l := w.state.Live.Leaving; l != nil { // decided before a kill
		leaving = *l
	}
	state, err := w.rooms.Store.ChangeTenantWith(ctx, w.rollout.Environment, w.rollout.Tenant, w.lease, func(t *store.Tenant) {
		l := &t.Live
		l.Leaving, l.Suspended = &leaving, true
		l.Stable, l.Canary, l.Weight, l.Cron, l.Access = "", "", 0, "", nil
	}, func(tx pgx.Tx) error {
		_, err := w.river.InsertTx(ctx, tx, purgeArgs{w.rollout.Environment, w.rollout.Tenant, w.promotion.ID},
			&river.InsertOpts{ScheduledAt: leaving.Until, UniqueOpts: river.UniqueOpts{ByArgs: true}})
		return err
	})
	if err != nil {
		return "", err
	}
	w.state = state
	w.fault("inside:leave")
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("its data is kept until %s, and its checkpoint %s for longer; to take it back: waybill tenant undelete %s/%s", instant(leaving.Until), leaving.Checkpoint, w.rollout.Environment, w.tenant.Name)
	if old := w.memory.OldPool; old != "" {
		removed, err := w.removePool(ctx, w.place, w.rollout.Environment, old)
		if err != nil {
			return "", fmt.Errorf("let pool %s go: %w", old, err)
		}
		if removed {
			detail += "; pool " + old + " removed"
		}
	}
	return detail, nil
}

// stay takes that back: the tenant is suspended, with its pool, which is started anew where it has gone.
func stay(ctx context.Context, w *Work) (string, error) {
	old := w.memory.OldPool
	if err := w.change(ctx, func(l *store.Live) { l.Leaving, l.Stable = nil, old }); err != nil {
		return "", err
	}
	if old == "" {
		return "it stays", nil
	}
	r, err := w.rooms.Store.Release(ctx, w.memory.OldRelease)
	if err != nil {
		return "", fmt.Errorf("look up release %s, which served %s: %w", w.memory.OldRelease, w.tenant.Name, err)
	}
	pool := w.memory.OldConfiguration.started(store.Pool{Environment: w.rollout.Environment, Name: old, Release: r.Digest, Image: w.rooms.Image(r), Group: w.state.Group})
	if err := w.rooms.Store.PutPool(ctx, pool); err != nil {
		return "", err
	}
	bounded, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := w.ensurePool(bounded, w.place, pool); err != nil {
		return "", err
	}
	return "it stays, with pool " + old, w.tellRouter(ctx, w.place, w.rollout.Environment)
}

// Undelete starts to take a tenant back that is leaving.
func (e *Engine) Undelete(ctx context.Context, declared *estate.Estate, environment, tenant, by string) (string, error) {
	known, err := e.rooms.Store.Tenant(ctx, environment, tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", badRequest("Waybill knows no tenant %s in %s. One that was purged is made anew from its last checkpoint: waybill checkpoint list %s/%s", tenant, environment, environment, tenant)
	case err != nil:
		return "", err
	case known.Live.Leaving == nil:
		return "", badRequest("%s was not deleted", tenant)
	}
	there := false
	for _, t := range declared.TenantsOf(environment) {
		there = there || t.Name == tenant
	}
	if !there {
		return "", badRequest("the estate has no Tenant %s in %s any more: put its document back, with database %s and %s hosting, and ask again", tenant, environment, known.Database, hostingOf(known.Group))
	}
	return e.Start(ctx, declared, Request{Kind: KindUndelete, Environment: environment, Tenants: []string{tenant}, By: by})
}

// servedBefore: a pool served the tenant before it was deleted.
var servedBefore condition = func(w *Work) (bool, string) {
	return w.memory.NewPool != "", "nothing served it before"
}

// admitUndelete names the pool that is to serve it again: of the release that did, as the environment's pools are started now.
func admitUndelete(ctx context.Context, w *Work) (string, error) {
	if w.state.Live.Leaving == nil {
		return "", failed("%s was not deleted", w.tenant.Name)
	}
	exists, err := w.place.Databases.Exists(ctx, w.state.Database)
	if err != nil {
		return "", err
	}
	if !exists {
		return "", failed("database %s of %s is gone: it was being purged. Once that has ended, make the tenant anew from checkpoint %s/%s/%s",
			w.state.Database, w.tenant.Name, w.rollout.Environment, w.tenant.Name, w.state.Live.Leaving.Checkpoint)
	}
	w.rememberOld()
	w.memory.Message = w.state.Live.Message
	if w.state.ServingRelease == "" {
		return "nothing served it before", nil
	}
	r, err := w.rooms.Store.Release(ctx, w.state.ServingRelease)
	if err != nil {
		return "", fmt.Errorf("look up release %s, which served %s: %w", w.state.ServingRelease, w.tenant.Name, err)
	}
	if err := w.rooms.Present(ctx, r); err != nil {
		return "", fmt.Errorf("read release %s from the registry: %w", r.Name, err)
	}
	w.memory.Release = r.Digest
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	return fmt.Sprintf("with release %s, which served it, on pool %s", r.Name, w.memory.NewPool), nil
}
