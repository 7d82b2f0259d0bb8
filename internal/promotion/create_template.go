package promotion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// preparedMark starts the comment on a database that tenants are copied from; a prepared follows.
const preparedMark = "waybill:template "

// prepared says what a database was prepared for.
type prepared struct {
	Environment string `json:"environment"`
	Template    string `json:"template"`
	Release     string `json:"release"`
	Data        string `json:"data,omitempty"` // checkpoint
}

func (w *Work) preparation() prepared {
	return prepared{w.rollout.Environment, w.env.Template.Name, w.memory.Release, w.options.Checkpoint}
}

// preparedName is the same for the same release, modules and data.
func (w *Work) preparedName() string {
	sum := sha256.Sum256([]byte(string(encode(w.preparation())) + strings.Join(w.tenant.Modules, " ")))
	return "waybill__t" + hex.EncodeToString(sum[:10])
}

// createFromTemplate makes the tenant's database as a copy of the prepared one. The first time there is none: then the tenant's
// own is filled as it would be, and what comes out, before anybody was let in, is kept as the prepared one.
func (w *Work) createFromTemplate(ctx context.Context, r release.Release) (string, error) {
	began := time.Now()
	name := w.preparedName()
	_, ours, err := w.made(ctx)
	if err != nil {
		return "", err
	}
	if !ours {
		if err := w.begetDatabase(ctx, name); err != nil {
			return "", err
		}
	}
	how := "copied from what TenantTemplate " + w.env.Template.Name + " has prepared"
	if w.memory.Prepared == "" {
		how = "made, and kept as what TenantTemplate " + w.env.Template.Name + " copies from now on"
		if err := w.prepare(ctx, r, name); err != nil {
			return "", err
		}
	} else if err := w.copyPrepared(ctx, w.memory.Prepared); err != nil {
		return "", err
	}
	w.fault("inside:create database")
	if err := w.renew(ctx); err != nil {
		return "", err
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s in %.1f s", w.state.Database, how, time.Since(began).Seconds()), w.grantAccess(ctx, w.place, w.state)
}

// copyPrepared brings the files along. They are removed after the prepared database: so if that is still there afterwards, all
// of them were.
func (w *Work) copyPrepared(ctx context.Context, name string) error {
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, w.state.Group); err != nil {
		return err
	}
	if err := filestore.Copy(ctx, w.preparedFiles(name), w.filestore()); err != nil {
		return fmt.Errorf("copy the files of the template: %w", err)
	}
	there, err := w.place.Databases.Exists(ctx, name)
	if err == nil && !there {
		err = failed("TenantTemplate %s was prepared anew meanwhile; ask again", w.env.Template.Name)
	}
	return err
}

// begetDatabase makes the tenant's database: from the prepared one where there is one, else empty or from the data.
func (w *Work) begetDatabase(ctx context.Context, name string) error {
	comment, err := w.place.Databases.Comment(ctx, name)
	if err != nil && !errors.Is(err, database.ErrNotFound) {
		return err
	}
	w.memory.Prepared = ""
	if strings.HasPrefix(comment, preparedMark) {
		w.memory.Prepared = name
	}
	if err := w.remember(ctx); err != nil {
		return err
	}
	return w.makeDatabase(ctx)
}

// prepare fills the tenant's database, and keeps a copy of it. What is killed in between is done again.
func (w *Work) prepare(ctx context.Context, r release.Release, name string) error {
	if w.options.Checkpoint == "" {
		if _, err := w.install(ctx, r); err != nil {
			return err
		}
		marker, err := w.marker(ctx)
		if err == nil && !w.committed(marker) {
			err = errors.New("the modules were not installed: another transaction was in the way")
		}
		if err != nil {
			return err
		}
	} else if err := w.bringUp(ctx, r); err != nil {
		return err
	}
	if err := w.endUpdate(ctx); err != nil { // nobody may connect from here on
		return err
	}
	files := w.preparedFiles(name)
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, string(estate.Shared)); err != nil {
		return err
	}
	if err := filestore.Copy(ctx, w.filestore(), files); err != nil {
		return fmt.Errorf("keep the files of the template: %w", err)
	}
	owner, aside := ownerRole(w.rollout.Environment, w.state.Group), name+"__n"+w.rollout.ID
	if err := w.place.Databases.Drop(ctx, aside); err != nil { // half of an earlier try
		return err
	}
	w.note(ctx, "keeps a copy to make others from")
	if err := w.place.Databases.Copy(ctx, w.state.Database, aside, owner); err != nil {
		return err
	}
	err := w.place.Databases.Rename(ctx, aside, name, preparedMark+string(encode(w.preparation())))
	if errors.Is(err, database.ErrExists) { // somebody else was quicker, or we were before a kill
		err = w.place.Databases.Drop(ctx, aside)
	}
	if err != nil {
		return err
	}
	if comment, err := w.place.Databases.Comment(ctx, name); err != nil || !strings.HasPrefix(comment, preparedMark) {
		return err // whoever has made that: it stays as it is
	}
	if err := w.place.Databases.Seal(ctx, name); err != nil {
		return err
	}
	return w.dropSuperseded(ctx, name)
}

// bringUp updates a copy of somebody's data to the release, and installs what the template names.
func (w *Work) bringUp(ctx context.Context, r release.Release) error {
	for range maxConflicts + 1 {
		facts, err := w.databaseFacts(ctx)
		if err != nil {
			return err
		}
		plan, err := w.plan(ctx, r, facts)
		if err != nil {
			return err
		}
		if len(plan.Update)+len(plan.Install) == 0 {
			return nil
		}
		if _, err := w.runUpdate(ctx, bridge.Job{Update: plan.Update, Install: plan.Install, Transaction: true, SkipFlows: true, Checksums: plan.Checksums}); err != nil {
			return err
		}
		w.memory.UpdateTry++
		if err := w.remember(ctx); err != nil {
			return err
		}
	}
	return failed("the data of TenantTemplate %s could not be brought to release %s", w.env.Template.Name, r.Name)
}

// dropSuperseded removes what the template had prepared for another release, other modules or older data.
func (w *Work) dropSuperseded(ctx context.Context, keep string) error {
	found, err := w.place.Databases.Commented(ctx, preparedMark)
	if err != nil {
		return err
	}
	for name, comment := range found {
		var was prepared
		if name == keep || json.Unmarshal([]byte(strings.TrimPrefix(comment, preparedMark)), &was) != nil ||
			was.Environment != w.rollout.Environment || was.Template != w.env.Template.Name {
			continue
		}
		if err := w.place.Databases.Drop(ctx, name); err != nil { // it is being copied: next time
			w.log.InfoContext(ctx, "a prepared template stays for now", "database", name, "error", err)
			continue
		}
		if err := w.preparedFiles(name).RemoveAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// renew makes the copy a tenant of its own: no session, link or key of another one is worth anything in it.
func (w *Work) renew(ctx context.Context) error {
	id := odoo.Identity{URL: w.address(w.state.Hosts)}
	if ref := w.env.Template.AdminPassword; ref != "" {
		var err error
		if id.AdminPassword, err = w.rooms.Secret(ctx, ref, fmt.Sprintf("the user admin of %s/%s", w.rollout.Environment, w.tenant.Name)); err != nil {
			return failed("admin_password of TenantTemplate %s: %w", w.env.Template.Name, err)
		}
	}
	err := w.inDatabase(ctx, func(db *pgx.Conn) error { return odoo.Renew(ctx, db, id) })
	if errors.Is(err, odoo.ErrNoAdmin) {
		return failed("the password of TenantTemplate %s cannot be set: %w. Leave admin_password out", w.env.Template.Name, err)
	}
	return err
}

// address is where people reach the tenant under the first of its hosts.
func (w *Work) address(hosts []string) string {
	scheme := "http"
	if d := w.env.Environment.Runtime.Docker; d != nil && d.HTTPS != "" {
		scheme = "https"
	}
	return scheme + "://" + hosts[0]
}

func (w *Work) preparedFiles(name string) filestore.Store {
	return w.place.Filestore(w.rollout.Environment, string(estate.Shared), name)
}
