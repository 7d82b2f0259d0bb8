package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// hosted: people look at it under a host name.
var hosted condition = func(w *Work) (bool, string) {
	return len(w.tenant.Hosts) > 0, "no host is given: nothing serves it"
}

func (w *Work) besideRef() checkpoint.Ref {
	of, _, _ := store.OfBeside(w.rollout.Tenant)
	return checkpoint.Ref{Environment: w.rollout.Environment, Tenant: of, ID: w.options.Checkpoint}
}

// admitBeside looks whether there is room for it, and nothing in its place. It touches nothing.
func admitBeside(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	m, err := w.rooms.Checkpoints.Load(ctx, w.besideRef())
	if err != nil {
		return "", failed("checkpoint %s cannot be read: %w", w.besideRef(), err)
	}
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	exists, err := w.place.Databases.Exists(ctx, w.tenant.Database)
	if err != nil {
		return "", err
	}
	if exists {
		return "", failed("a database %s exists already, and Waybill knows nothing of it. Choose another name with --as, or drop it", w.tenant.Database)
	}
	if there, err := w.filestore().Exists(ctx); err != nil {
		return "", err
	} else if there {
		return "", failed("files in %s exist already, and Waybill knows nothing of them. Choose another name with --as, or remove them", w.filestore())
	}
	if err := w.roomBeside(ctx, m); err != nil {
		return "", err
	}
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	return describePoint(m, r, w.options.Asked) + "; into database " + w.tenant.Database, nil
}

// describePoint says where a restore leads.
func describePoint(m *checkpoint.Manifest, r release.Release, asked time.Time) string {
	line := fmt.Sprintf("to %s, of release %s", m.RecoveryPoint.UTC().Format("2006-01-02 15:04:05 UTC"), r.Name)
	if !asked.IsZero() {
		line += fmt.Sprintf(", the newest one before %s: %s lie between", asked.UTC().Format("2006-01-02 15:04:05 UTC"), asked.Sub(m.RecoveryPoint).Round(time.Second))
	}
	return line
}

// roomBeside refuses what the disks have no room for: the dump on its way, the files, and the database where its server is on
// this machine.
func (w *Work) roomBeside(ctx context.Context, m *checkpoint.Manifest) error {
	var dump, files int64
	for _, o := range m.Dump {
		dump += o.Size
	}
	for _, f := range m.Files {
		files += f.Size
	}
	temporary := w.rooms.Checkpoints.TempDir
	if temporary == "" {
		temporary = os.TempDir()
	}
	uses := append([]use{{temporary, dump}}, useOf(w.filestore(), files)...)
	if strings.HasPrefix(w.place.Host, "/") {
		dir, err := w.place.Databases.DataDirectory(ctx)
		if err != nil {
			return err
		}
		bytes := 2 * dump
		if living, err := w.rooms.Store.Tenant(ctx, w.rollout.Environment, w.besideRef().Tenant); err == nil {
			if now, err := w.place.Databases.Size(ctx, living.Database); err == nil { // indexes are in no dump
				bytes = max(bytes, now)
			}
		}
		uses = append(uses, use{dir, bytes})
	}
	return roomOn(uses...)
}

// forgetBeside is the last of what is undone: nothing of it is left.
func forgetBeside(ctx context.Context, w *Work) (string, error) {
	of, name, _ := store.OfBeside(w.rollout.Tenant)
	return "", w.rooms.Store.ForgetBeside(ctx, w.lease, w.rollout.Environment, of, name)
}

// restoreBeside makes the database, which proves itself whole, and its filestore. Nobody may connect.
func restoreBeside(ctx context.Context, w *Work) (string, error) {
	owner := ownerRole(w.rollout.Environment, w.state.Group)
	if err := w.place.Databases.EnsureOwner(ctx, owner); err != nil {
		return "", err
	}
	if err := w.place.Runtime.EnsureDataDir(w.rollout.Environment, w.state.Group); err != nil {
		return "", err
	}
	w.fault("inside:restore")
	done, err := w.rooms.Checkpoints.Restore(ctx, w.besideRef(), checkpoint.Target{AdminURL: w.place.AdminURL("postgres"), Database: w.tenant.Database, Owner: owner, Filestore: w.filestore()}, w.progress(ctx))
	switch {
	case errors.Is(err, database.ErrExists), errors.Is(err, checkpoint.ErrNoSpace), errors.Is(err, checkpoint.ErrDamaged):
		return "", failed("%w", err)
	case err != nil:
		return "", err
	}
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s, %s and %s in %.1f s; every table has the rows that the manifest names",
		plural(done.Tables, "table"), plural(int(done.Rows), "row"), plural(done.FilesAdded+done.FilesKept, "file"), done.Duration.Seconds())
	if len(done.Missing) > 0 {
		detail += fmt.Sprintf("; the checkpoint itself lacks %s", plural(len(done.Missing), "file"))
	}
	return detail, nil
}

// dropRestoredBeside removes database and filestore of what stands, or was to stand, beside a tenant, and never anything else.
func dropRestoredBeside(ctx context.Context, w *Work) (string, error) {
	of, _, beside := store.OfBeside(w.rollout.Tenant)
	if !beside {
		return "", failed("%s stands beside nothing", w.rollout.Tenant)
	}
	living, err := w.rooms.Store.Tenant(ctx, w.rollout.Environment, of)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if living.Database == w.tenant.Database || !strings.Contains(w.tenant.Database, "__b") {
		return "", &NeedsPerson{Reason: fmt.Sprintf("database %s is not one that was made beside a tenant: it is not dropped", w.tenant.Database),
			Choices: []string{"look at it, then: waybill promotion resume " + w.promotion.ID}}
	}
	comment, err := w.place.Databases.Comment(ctx, w.tenant.Database)
	switch {
	case errors.Is(err, database.ErrNotFound):
	case err != nil:
		return "", err
	default:
		owner, err := w.place.Databases.Owner(ctx, w.tenant.Database)
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(comment, "waybill:restor") && (comment != "" || owner != ownerRole(w.rollout.Environment, w.state.Group)) {
			return "database " + w.tenant.Database + " is somebody else's and stays", nil
		}
		if err := w.place.Databases.Drop(ctx, w.tenant.Database); err != nil {
			return "", err
		}
	}
	if err := w.filestore().RemoveAll(ctx); err != nil {
		return "", fmt.Errorf("remove the filestore: %w", err)
	}
	return "database " + w.tenant.Database + " and its filestore are gone", nil
}

func (w *Work) neutraliser() string { return "neutralise-" + w.rollout.ID }
func (w *Work) neutraliserRole() string {
	return roleName(w.rollout.Environment, w.rollout.ID, "neutralise")
}

// neutralise switches off, by Odoo's own means in the release that the checkpoint belongs to, what a copy must not do: mail,
// crons, carriers, payments. Then it looks whether that has happened.
func neutralise(ctx context.Context, w *Work) (string, error) {
	r, err := w.rooms.Store.Release(ctx, w.memory.Release)
	if err != nil {
		return "", err
	}
	if _, err := w.place.Runtime.Job(ctx, w.rollout.Environment, w.neutraliser()); errors.Is(err, runtime.ErrNotFound) {
		if err := w.startNeutralise(ctx, r); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	w.fault("inside:neutralise")
	bounded, cancel := context.WithTimeoutCause(ctx, w.env.Environment.Deadline+time.Minute, errors.New("it did not end in time"))
	defer cancel()
	state, err := w.place.Runtime.WaitJob(bounded, w.rollout.Environment, w.neutraliser())
	if err != nil {
		return "", fmt.Errorf("wait for it to be neutralised: %w", err)
	}
	var result bridge.TryResult
	if data := state.Out[bridge.ResultFile]; data != nil {
		if err := json.Unmarshal(data, &result); err != nil {
			return "", failed("what became of it does not parse: %w", err)
		}
	}
	done := false
	err = w.inDatabase(ctx, func(db *pgx.Conn) (err error) {
		done, err = odoo.Neutralised(ctx, db)
		return err
	})
	if err != nil {
		return "", err
	}
	if !done || result.Error != "" || result.Neutralised == 0 {
		why := result.Error
		if why == "" {
			why = fmt.Sprintf("exit code %d: %s", state.ExitCode, lastLines(state.Log))
		}
		return "", failed("it could not be neutralised, so nobody is let in: %s", why)
	}
	if _, err := endNeutralise(ctx, w); err != nil {
		return "", err
	}
	return fmt.Sprintf("mail, crons, carriers and payments of %s are off", plural(result.Neutralised, "module")), nil
}

func (w *Work) startNeutralise(ctx context.Context, r release.Release) error {
	role := w.neutraliserRole()
	if err := w.place.Runtime.EnsureEnvironment(ctx, w.runtimeEnvironment()); err != nil {
		return err
	}
	if err := w.ensureLogin(ctx, w.place, w.rollout.Environment, w.state.Group, role, role); err != nil {
		return err
	}
	if _, err := w.place.Databases.SetAccess(ctx, w.tenant.Database, []string{role}); err != nil {
		return err
	}
	conf, err := w.odooConf(w.place, w.rollout.Environment, role, role, odoo.Conf{Update: true, AddonsPaths: r.Base.AddonsPaths, Settings: w.env.Environment.Settings}, r.Series)
	if err != nil {
		return failed("the settings of environment %s cannot be used: %w", w.rollout.Environment, err)
	}
	pool := bridge.PoolConfig{Protocol: bridge.Protocol, Generation: 1, Environment: w.rollout.Environment, Pool: w.neutraliser(), Release: r.Digest, KeepAssets: true,
		Tenants: []bridge.PoolTenant{{Name: w.rollout.Tenant, Database: w.tenant.Database, Hosts: []string{}, GCHold: true, Modules: map[string]string{}}}}
	job := bridge.TryJob{Protocol: bridge.Protocol, Database: w.tenant.Database, Neutralise: true, Views: []int64{}, Flows: []string{}, SkipFlows: true,
		Deadline: float64(time.Now().Add(w.env.Environment.Deadline).Unix())}
	if err := w.recordGiven(ctx, w.rollout.Environment, "job "+w.neutraliser(), "login "+role); err != nil {
		return err
	}
	return w.place.Runtime.StartJob(ctx, runtime.Job{Environment: w.rollout.Environment, Name: w.neutraliser(), Group: w.state.Group, Image: w.rooms.Image(r), Command: bridge.TryCommand(r.Base.AddonsPaths),
		Files: runtime.Files{bridge.OdooConfFile: conf, bridge.JobFile: encode(job), bridge.PoolFile: encode(pool)}})
}

// endNeutralise takes the job away, and its right to connect.
func endNeutralise(ctx context.Context, w *Work) (string, error) {
	if err := w.place.Runtime.RemoveJob(ctx, w.rollout.Environment, w.neutraliser()); err != nil {
		return "", err
	}
	if exists, err := w.place.Databases.Exists(ctx, w.tenant.Database); err != nil {
		return "", err
	} else if exists {
		if _, err := w.place.Databases.SetAccess(ctx, w.tenant.Database, nil); err != nil {
			return "", err
		}
	}
	return "", dropLogin(ctx, w.place.Databases, w.neutraliserRole())
}

// openBeside lets a pool of its release serve it, without cron, under its own host alone.
func openBeside(ctx context.Context, w *Work) (string, error) {
	pool := w.memory.NewPool
	if err := w.change(ctx, func(l *store.Live) { *l = store.Live{Stable: pool, Access: []string{pool}} }); err != nil {
		return "", err
	}
	ready, err := w.letIn(ctx, pool)
	if err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	return fmt.Sprintf("pool %s serves it under %s; registry open in %.1f s", pool, w.tenant.Hosts[0], ready.Seconds), nil
}

// closeBeside takes it off routes and pools, and ends who is in it. The pool goes where nobody else uses it.
func closeBeside(ctx context.Context, w *Work) (string, error) {
	if pool := w.state.Live.Stable; pool != "" && pool != w.memory.NewPool { // kept: once it is closed, nothing says which it was
		w.memory.NewPool = pool
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	err := w.change(ctx, func(l *store.Live) { *l = store.Live{} })
	if errors.Is(err, store.ErrNotFound) { // forgotten before a kill
		return "nothing is left of it", nil
	} else if err != nil {
		return "", err
	}
	if err := w.tellRouter(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if _, err := w.tellPools(ctx, w.place, w.rollout.Environment); err != nil {
		return "", err
	}
	if exists, err := w.place.Databases.Exists(ctx, w.tenant.Database); err != nil || !exists {
		return "", err
	}
	return "nobody is in it any more", w.grantAccess(ctx, w.place, w.state)
}

// recordBeside says that it stands.
func recordBeside(ctx context.Context, w *Work) (string, error) {
	of, name, _ := store.OfBeside(w.rollout.Tenant)
	if err := w.rooms.Store.BesideStands(ctx, w.lease, w.rollout.Environment, of, name); err != nil {
		return "", err
	}
	b, err := w.rooms.Store.Beside(ctx, w.rollout.Environment, of, name)
	if err != nil {
		return "", err
	}
	look := "look at it with SQL in database " + b.Database
	if b.Host != "" {
		look = "look at it under " + b.Host
	}
	return fmt.Sprintf("%s; it goes away by itself at %s", look, b.ExpiresAt.UTC().Format("2006-01-02 15:04:05 UTC")), nil
}

// dropBeside removes all of it.
func dropBeside(ctx context.Context, w *Work) (string, error) {
	if w.memory.NewPool != "" {
		if _, err := removeNewPool(ctx, w); err != nil {
			return "", err
		}
	}
	w.fault("inside:drop")
	detail, err := dropRestoredBeside(ctx, w)
	if err != nil {
		return "", err
	}
	_, err = forgetBeside(ctx, w)
	return detail, err
}
