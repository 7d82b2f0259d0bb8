package promotion

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// admitRestore checks that the checkpoint and the release that it belongs to are there.
func admitRestore(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	ref := checkpoint.Ref{Environment: w.rollout.Environment, Tenant: w.tenant.Name, ID: w.options.Checkpoint}
	m, err := w.rooms.Checkpoints.Load(ctx, ref)
	if err != nil {
		return "", failed("checkpoint %s of %s/%s cannot be read: %w. See: waybill checkpoint list %s/%s",
			ref.ID, ref.Environment, ref.Tenant, err, ref.Environment, ref.Tenant)
	}
	r, err := w.rooms.Store.Release(ctx, m.Config.Release)
	if err != nil {
		return "", failed("checkpoint %s belongs to release %s, which is not known here: %w", ref.ID, m.Config.Release, err)
	}
	if err := w.rooms.Present(ctx, r); err != nil {
		return "", fmt.Errorf("read release %s from the registry: %w", r.Name, err)
	}
	w.rememberOld()
	w.memory.Release = r.Digest
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	w.memory.Plan = Plan{Class: estate.Breaking, ClassReason: "a restore replaces the database", Transactional: false}
	w.memory.NotAdmitted = false
	return describePoint(m, r, w.options.Asked), nil
}

func restoreChosen(ctx context.Context, w *Work) (string, error) {
	w.memory.Restoring = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	return w.restoreTo(ctx, w.options.Checkpoint, w.memory.Release)
}

// undoRestore goes back to the checkpoint taken just before, if the restore had got as far as the database.
func undoRestore(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Restoring {
		return "nothing had happened to the database", nil
	}
	return w.restoreFence(ctx)
}

// restoreFence restores the checkpoint taken inside the fence.
func (w *Work) restoreFence(ctx context.Context) (string, error) {
	w.memory.Restoring = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	return w.restoreTo(ctx, w.memory.FenceCheckpoint, w.memory.OldSchema)
}

// restoreTo restores a checkpoint into a new database, which must prove itself whole, and only then
// swaps it for the living one by renaming both. The filestore is only ever added to. Pools need no
// restart: the bridge sees by the database's oid that it is another one, and opens its registry anew.
func (w *Work) restoreTo(ctx context.Context, id, schema string) (string, error) {
	live := w.state.Database
	aside, keep := besides(live, w.rollout.ID, id == w.memory.FenceCheckpoint)
	comment, err := w.place.Databases.Comment(ctx, live)
	if err != nil {
		return "", err
	}
	if !strings.Contains(comment, strconv.Quote(aside)) { // else the swap was done before a kill
		ref := checkpoint.Ref{Environment: w.rollout.Environment, Tenant: w.tenant.Name, ID: id}
		if err := w.place.Databases.Drop(ctx, aside); err != nil { // what a killed restore left
			return "", err
		}
		if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, w.state.Group); err != nil {
			return "", err
		}
		w.fault("inside:restore")
		_, err := w.rooms.Checkpoints.Restore(ctx, ref, checkpoint.Target{
			AdminURL: w.place.AdminURL("postgres"), Database: aside, Owner: ownerRole(w.rollout.Environment, w.state.Group), Filestore: w.filestore(),
		}, w.progress(ctx))
		if err != nil {
			return "", fmt.Errorf("restore checkpoint %s: %w", id, err)
		}
		if err := w.place.Databases.Drop(ctx, keep); err != nil {
			return "", err
		}
		if err := w.place.Databases.Swap(ctx, live, aside, keep); err != nil {
			return "", fmt.Errorf("put the restored database in place: %w", err)
		}
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = schema }); err != nil {
		return "", err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return "", err
	}
	if err := w.place.Databases.Drop(ctx, keep); err != nil { // proven: the restored one is in place and whole
		return "", err
	}
	return "restored " + id, nil
}

// besides names the database that is restored, and the one that it replaces, while both are there. A
// rollout may restore twice, to the chosen checkpoint and back to the one in the fence, so these
// have names of their own. They fit PostgreSQL's 63 bytes: an estate's databases have at most 50.
func besides(live, rollout string, fence bool) (restored, replaced string) {
	if fence {
		return live + "__f" + rollout, live + "__g" + rollout
	}
	return live + "__r" + rollout, live + "__s" + rollout
}
