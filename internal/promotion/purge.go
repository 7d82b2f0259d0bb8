package promotion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// purgeArgs is the River job "purge the tenant that this promotion deleted, once its time has come".
type purgeArgs struct {
	Environment string `json:"environment" river:"unique"`
	Tenant      string `json:"tenant" river:"unique"`
	Promotion   string `json:"promotion" river:"unique"`
}

func (purgeArgs) Kind() string { return "purge" }

type purgeWorker struct {
	river.WorkerDefaults[purgeArgs]
	engine *Engine
}

// purgeLook is how soon it is looked again where a purge cannot begin; purgeAgain how soon one that began is asked for again,
// where it has failed. People are told of each.
var (
	purgeLook  = time.Hour
	purgeAgain = 24 * time.Hour
)

// Work asks for the purge, and stays until the tenant has gone or has come back.
func (w *purgeWorker) Work(ctx context.Context, job *river.Job[purgeArgs]) error {
	wait, err := w.engine.purgeDue(ctx, job.Args, time.Now())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // it must not be given up
		w.engine.log.Warn("a tenant that was deleted stays for now", "environment", job.Args.Environment, "tenant", job.Args.Tenant, "error", err)
		return river.JobSnooze(purgeLook)
	case wait > 0:
		return river.JobSnooze(wait)
	}
	return nil
}

// purgeDue starts the purge of a tenant whose time has come, and says when to look again; 0: there is nothing left to do.
func (e *Engine) purgeDue(ctx context.Context, a purgeArgs, now time.Time) (time.Duration, error) {
	t, err := e.rooms.Store.Tenant(ctx, a.Environment, a.Tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case t.Live.Leaving == nil || t.Live.Leaving.Promotion != a.Promotion: // it has come back, or another promotion has deleted it since
		return 0, nil
	case now.Before(t.Live.Leaving.Until):
		return t.Live.Leaving.Until.Sub(now), nil
	}
	if why, err := e.accompanied(ctx, a.Environment, a.Tenant); err != nil {
		return 0, err
	} else if why != "" {
		return 0, errors.New(why)
	}
	_, err = e.startAfter(ctx, a.Promotion, Request{Kind: KindPurge, Environment: a.Environment, Tenants: []string{a.Tenant}, By: "waybill", Options: Options{Checkpoint: t.Live.Leaving.Checkpoint}})
	if errors.Is(err, store.ErrTenantBusy) {
		return purgeLook, nil
	}
	return purgeAgain, err
}

// admitPurge reads the last checkpoint back once more, all of it: nothing is destroyed before what replaces it is proven.
func admitPurge(ctx context.Context, w *Work) (string, error) {
	l := w.state.Live.Leaving
	switch {
	case l == nil:
		return "", failed("%s was not deleted, or it has come back", w.tenant.Name)
	case time.Now().Before(l.Until):
		return "", failed("the data of %s is kept until %s", w.tenant.Name, instant(l.Until))
	}
	if why, err := w.accompanied(ctx, w.rollout.Environment, w.tenant.Name); err != nil {
		return "", err
	} else if why != "" {
		return "", failed("%s", why)
	}
	ref := checkpoint.Ref{Environment: w.rollout.Environment, Tenant: w.tenant.Name, ID: l.Checkpoint}
	m, err := w.rooms.Checkpoints.VerifyFully(ctx, ref, w.progress(ctx))
	switch {
	case errors.Is(err, checkpoint.ErrDamaged), errors.Is(err, checkpoint.ErrNotFound):
		return "", failed("the last checkpoint %s cannot be relied on, so the data stays: %w. Take another one, which then is the last: waybill checkpoint create %s/%s", ref, err, ref.Environment, ref.Tenant)
	case err != nil:
		return "", fmt.Errorf("read the last checkpoint %s back: %w", ref, err)
	case m.Database != w.state.Database:
		return "", failed("the last checkpoint %s is of database %s, and the data is in %s: it stays", ref, m.Database, w.state.Database)
	}
	w.fault("inside:admit")
	return fmt.Sprintf("its time of grace is over since %s; checkpoint %s was read back, %s", instant(l.Until), l.Checkpoint, plural(m.FileCount, "file")), nil
}

// purgeDocument takes the tenant out of the estate, where nobody has done so.
func purgeDocument(ctx context.Context, w *Work) (string, error) {
	if w.rooms.Declarations == nil {
		return "this server does not write the estate", nil
	}
	c := w.ofTenant()
	c.Remove = true
	commit, err := w.rooms.Declarations.Declare(ctx, c, w.saying("%s: tenant %s deleted", w.rollout.Environment, w.tenant.Name))
	w.fault("inside:undeclare")
	switch {
	case errors.Is(err, estate.ErrUndeclared):
		return "the estate does not have it", nil
	case err != nil:
		return "", fmt.Errorf("take the document of tenant %s out of the estate: %w", w.tenant.Name, err)
	}
	return "taken out of the estate; " + declared(commit), nil
}

// leftover ends the name of a database that a rollout of the tenant made on its way and was to drop again, see besides and unborn.
var leftover = regexp.MustCompile(`^__[rsfgn][a-z2-7]{10}$`)

// purgeData removes the tenant's database and its files, and never anything else. The checkpoints stay.
func purgeData(ctx context.Context, w *Work) (string, error) {
	if w.state.Live.Leaving == nil {
		return "", failed("%s was not deleted, or it has come back", w.tenant.Name)
	}
	if w.state.Database == "" || w.state.Group == "" { // the folder of nothing is that of everybody
		return "", failed("what is stored of %s names no database or no group; nothing was dropped", w.tenant.Name)
	}
	mine := ownerRole(w.rollout.Environment, w.state.Group)
	owners, err := w.place.Databases.Owners(ctx)
	if err != nil {
		return "", err
	}
	for name, owner := range owners {
		if end, ok := strings.CutPrefix(name, w.state.Database); ok && owner == mine && leftover.MatchString(end) {
			if err := w.place.Databases.Drop(ctx, name); err != nil {
				return "", err
			}
		}
	}
	w.fault("inside:drop")
	owner, err := w.place.Databases.Owner(ctx, w.state.Database)
	switch {
	case errors.Is(err, database.ErrNotFound): // before a kill, or by somebody else
	case err != nil:
		return "", err
	case owner != mine:
		return fmt.Sprintf("database %s belongs to role %s and not to %s, so it stays, with its files in %s", w.state.Database, owner, mine, w.filestore()), nil
	default:
		if err := w.place.Databases.Drop(ctx, w.state.Database); err != nil {
			return "", err
		}
	}
	w.fault("inside:files")
	if err := w.filestore().RemoveAll(ctx); err != nil {
		return "", fmt.Errorf("remove the filestore: %w", err)
	}
	detail := "database " + w.state.Database + " and its filestore are gone; its checkpoints stay"
	if w.state.Group == string(estate.Shared) {
		return detail, nil
	}
	more, err := w.purgeGroup(ctx, w.state.Group)
	return detail + more, err
}

// purgeGroup removes what a dedicated tenant had for itself alone: sessions, logins, and the role that owned its tables.
func (w *Work) purgeGroup(ctx context.Context, group string) (string, error) {
	owner := ownerRole(w.rollout.Environment, group)
	if dir := w.dataDir(group); dir != "" {
		if left, err := os.ReadDir(filepath.Join(dir, "filestore")); err == nil && len(left) > 0 {
			return fmt.Sprintf("; the folder of %s stays, where there are files of other databases", group), nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("remove the folder of %s: %w", group, err)
		}
	}
	_, _, pools, err := w.rooms.Store.Snapshot(ctx, w.rollout.Environment)
	if err != nil {
		return "", err
	}
	for _, p := range pools {
		if p.Group == group {
			if _, err := w.removePool(ctx, w.place, p.Environment, p.Name); err != nil {
				return "", err
			}
		}
	}
	logins, err := w.place.Databases.LoginsOf(ctx, owner)
	if err != nil {
		return "", err
	}
	for _, login := range logins {
		if strings.HasPrefix(login, roleName("")) {
			if err := dropLogin(ctx, w.place.Databases, login); err != nil {
				return "", err
			}
		}
	}
	gone, err := w.place.Databases.DropOwner(ctx, owner)
	if err != nil || gone {
		return "", err
	}
	return fmt.Sprintf("; role %s stays, which owns something else", owner), nil
}

// forgetLeaving is the last of it. What was done about the tenant stays written down.
func forgetLeaving(ctx context.Context, w *Work) (string, error) {
	gone, err := w.rooms.Store.ForgetLeaving(ctx, w.rollout.Environment, w.rollout.Tenant, w.lease)
	if err != nil {
		return "", err
	}
	if !gone {
		return "", failed("%s was not deleted, or it has come back", w.tenant.Name)
	}
	w.fault("inside:forget")
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	return "nothing is left of it but what was done about it, and its checkpoints", w.tellRouter(ctx, w.place, w.rollout.Environment)
}
