package promotion

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// madeMark starts the comment on a database that a create has made; the rollout's ID follows.
const madeMark = "waybill:made "

// admitCreate refuses to touch a database that exists already.
func admitCreate(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	if err := w.admitTrust(ctx, r); err != nil {
		return "", err
	}
	if err := w.admitVulnerabilities(ctx, r); err != nil {
		return "", err
	}
	exists, err := w.place.Databases.Exists(ctx, w.state.Database)
	if err != nil {
		return "", err
	}
	if exists {
		return "", w.notOurs()
	}
	if err := w.place.Runtime.EnsureEnvironment(ctx, w.runtimeEnvironment()); err != nil {
		return "", err
	}
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	w.memory.Plan.Transactional = true
	if w.env.Template != nil {
		return fmt.Sprintf("database %s from TenantTemplate %s, release %s", w.state.Database, w.env.Template.Name, r.Name), nil
	}
	return fmt.Sprintf("database %s with %s, release %s", w.state.Database, strings.Join(w.tenant.Modules, ", "), r.Name), nil
}

func (w *Work) notOurs() error {
	return failed("database %s exists already; Waybill does not touch what it has not made. Promote to it, or name another database in the estate", w.state.Database)
}

// made says whether the tenant's database is there and this rollout has made it.
func (w *Work) made(ctx context.Context) (exists, ours bool, err error) {
	comment, err := w.place.Databases.Comment(ctx, w.state.Database)
	if errors.Is(err, database.ErrNotFound) {
		return false, false, nil
	}
	return err == nil, comment == madeMark+w.rollout.ID, err
}

// createDatabase makes an empty database and lets the release's Odoo fill it, or copies another
// tenant's checkpoint.
func createDatabase(ctx context.Context, w *Work) (string, error) {
	r, err := w.rooms.Store.Release(ctx, w.memory.Release)
	if err != nil {
		return "", err
	}
	if w.env.Template != nil {
		return w.createFromTemplate(ctx, r)
	}
	if err := w.makeDatabase(ctx); err != nil {
		return "", err
	}
	if w.options.Checkpoint != "" {
		if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
			return "", err
		}
		if err := w.renewCopy(ctx); err != nil {
			return "", err
		}
		return "copied from " + w.options.Checkpoint, w.grantAccess(ctx, w.place, w.state)
	}
	result, err := w.install(ctx, r)
	if err != nil {
		return "", err
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s made in %.0f s", w.state.Database, result.Seconds), w.endUpdate(ctx)
}

// install lets the release's Odoo fill the empty database with the modules that the estate names.
func (w *Work) install(ctx context.Context, r release.Release) (bridge.JobResult, error) {
	marker, err := w.marker(ctx)
	if err != nil || w.committed(marker) {
		return bridge.JobResult{}, err
	}
	checksums := map[string]string{}
	for _, m := range append(r.Base.Modules, r.Modules...) {
		checksums[m.Name] = m.Checksum
	}
	return w.runUpdate(ctx, bridge.Job{Create: true, Install: w.tenant.Modules, Transaction: true, SkipFlows: true, Checksums: checksums})
}

// renewCopy gives what was copied from another tenant an identity of its own. A tenant that comes back from its own checkpoint is
// the one that it was.
func (w *Work) renewCopy(ctx context.Context) error {
	ref, err := checkpoint.ParseRef(w.options.Checkpoint)
	if err != nil {
		return failed("%w", err)
	}
	if ref.Environment == w.rollout.Environment && ref.Tenant == w.rollout.Tenant {
		return nil
	}
	return w.inDatabase(ctx, func(db *pgx.Conn) error { return odoo.Renew(ctx, db, odoo.Identity{URL: w.address(w.state.Hosts)}) })
}

// makeDatabase makes the tenant's database, empty or from a checkpoint "environment/tenant/id". It is made
// under a name that only this rollout uses and gets its own together with a mark, so that one that somebody
// else makes meanwhile is never taken for ours, nor dropped.
func (w *Work) makeDatabase(ctx context.Context) error {
	exists, ours, err := w.made(ctx)
	if err != nil || ours {
		return err
	}
	if exists {
		return w.notOurs()
	}
	owner, aside := ownerRole(w.rollout.Environment, w.state.Group), unborn(w.state.Database, w.rollout.ID)
	if err := w.place.Databases.EnsureOwner(ctx, owner); err != nil {
		return err
	}
	if err := w.place.Databases.Drop(ctx, aside); err != nil { // half of an earlier try
		return err
	}
	switch {
	case w.memory.Prepared != "":
		err = w.place.Databases.Copy(ctx, w.memory.Prepared, aside, owner)
	case w.options.Checkpoint == "":
		err = w.place.Databases.Create(ctx, aside, owner)
	default:
		err = w.copyFrom(ctx, aside, owner)
	}
	if err != nil {
		return err
	}
	err = w.place.Databases.Rename(ctx, aside, w.state.Database, madeMark+w.rollout.ID)
	if errors.Is(err, database.ErrExists) {
		return w.notOurs()
	}
	return err
}

func (w *Work) copyFrom(ctx context.Context, aside, owner string) error {
	ref, err := checkpoint.ParseRef(w.options.Checkpoint)
	if err != nil {
		return failed("%w", err)
	}
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, w.state.Group); err != nil {
		return err
	}
	_, err = w.rooms.Checkpoints.Restore(ctx, ref, checkpoint.Target{
		AdminURL: w.place.AdminURL("postgres"), Database: aside, Owner: owner, Filestore: w.filestore(),
	}, w.progress(ctx))
	return err
}

// dropCreated removes a database that this rollout has made and could not finish, and no other.
func dropCreated(ctx context.Context, w *Work) (string, error) {
	if err := w.place.Databases.Drop(ctx, unborn(w.state.Database, w.rollout.ID)); err != nil {
		return "", err
	}
	_, ours, err := w.made(ctx)
	if err != nil {
		return "", err
	}
	if !ours {
		return "nothing was made", nil
	}
	if err := w.endUpdate(ctx); err != nil {
		return "", err
	}
	if w.env.Template != nil { // its files came with it
		if err := w.filestore().RemoveAll(ctx); err != nil {
			return "", err
		}
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = "" }); err != nil {
		return "", err
	}
	return "database " + w.state.Database + " removed", w.place.Databases.Drop(ctx, w.state.Database)
}

// unborn names a database until it is made; see besides for the length.
func unborn(database, rollout string) string { return database + "__n" + rollout }
