package promotion

import (
	"context"
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/store"
)

// admitCreate refuses to touch a database that exists already.
func admitCreate(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	exists, err := w.place.Databases.Exists(ctx, w.state.Database)
	if err != nil {
		return "", err
	}
	if exists && !w.memory.Created {
		return "", failed("database %s exists already; Waybill does not touch what it has not made. Promote to it, or name another database in the estate", w.state.Database)
	}
	if err := w.place.Runtime.EnsureEnvironment(ctx, w.runtimeEnvironment()); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	w.memory.Created = true // from here on, a database of that name is ours
	w.memory.Plan.Transactional = true
	return fmt.Sprintf("database %s with %s, release %s", w.state.Database, strings.Join(w.tenant.Modules, ", "), r.Name), nil
}

// createDatabase makes an empty database and lets the release's Odoo fill it, or copies another
// tenant's checkpoint.
func createDatabase(ctx context.Context, w *Work) (string, error) {
	r, err := w.rooms.Store.Release(ctx, w.memory.Release)
	if err != nil {
		return "", err
	}
	owner := ownerRole(w.rollout.Environment, w.state.Group)
	if err := w.place.Databases.EnsureOwner(ctx, owner); err != nil {
		return "", err
	}
	if w.options.Checkpoint != "" {
		return w.copyFrom(ctx, owner)
	}
	if err := w.place.Databases.Create(ctx, w.state.Database, owner); err != nil {
		return "", err
	}
	marker, err := w.marker(ctx)
	if err != nil {
		return "", err
	}
	var result bridge.JobResult
	if !w.committed(marker) {
		checksums := map[string]string{}
		for _, m := range append(r.Base.Modules, r.Modules...) {
			checksums[m.Name] = m.Checksum
		}
		result, err = w.runUpdate(ctx, bridge.Job{Create: true, Install: w.tenant.Modules, Transaction: true, SkipFlows: true, Checksums: checksums})
		if err != nil {
			return "", err
		}
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s made in %.0f s", w.state.Database, result.Seconds), w.endUpdate(ctx)
}

// copyFrom fills the new database from a checkpoint "environment/tenant/id".
func (w *Work) copyFrom(ctx context.Context, owner string) (string, error) {
	ref, err := checkpoint.ParseRef(w.options.Checkpoint)
	if err != nil {
		return "", failed("%w", err)
	}
	if err := w.place.Databases.Drop(ctx, w.state.Database); err != nil { // half of an earlier try
		return "", err
	}
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, w.state.Group); err != nil {
		return "", err
	}
	if _, err := w.rooms.Checkpoints.Restore(ctx, ref, checkpoint.Target{
		AdminURL: w.place.AdminURL("postgres"), Database: w.state.Database, Owner: owner, Filestore: w.filestore(),
	}, w.progress(ctx)); err != nil {
		return "", err
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	return "copied from " + w.options.Checkpoint, w.grantAccess(ctx, w.place, w.state)
}

// dropCreated removes a database that this procedure has made and could not finish.
func dropCreated(ctx context.Context, w *Work) (string, error) {
	if !w.memory.Created {
		return "nothing was made", nil
	}
	if err := w.endUpdate(ctx); err != nil {
		return "", err
	}
	return "database " + w.state.Database + " removed", w.place.Databases.Drop(ctx, w.state.Database)
}
