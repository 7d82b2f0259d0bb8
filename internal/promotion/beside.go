package promotion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// A checkpoint may be restored beside the tenant that it is of: into a database of its own, with its own copy of the filestore,
// neutralised, so that people can look at what was. To pools, routes and rights it is one more tenant, TENANT@NAME, without cron;
// the living one goes on and is not touched. It goes away by itself.

// BesideRequest asks for that.
type BesideRequest struct {
	Environment, Tenant string
	Checkpoint          string        // ID
	Asked               time.Time     // that it was chosen for; zero: it was named
	Name                string        // empty: after its recovery point
	Host                string        // that people look at it under; empty: nothing serves it
	Keep                time.Duration // until it goes away
	By                  string
}

// The bounds of how long something may stand beside a tenant.
const (
	DefaultKeep = 7 * 24 * time.Hour
	maxKeep     = 365 * 24 * time.Hour
)

var (
	besideName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)
	hostName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// besideDatabase names the database of what stands beside a tenant: it can be told by its name, where that fits PostgreSQL's 63
// bytes. An estate's databases have at most 50.
func besideDatabase(live, name string) string {
	if full := live + "__b_" + strings.ReplaceAll(name, "-", "_"); len(full) <= 63 {
		return full
	}
	sum := sha256.Sum256([]byte(name))
	return live + "__b" + hex.EncodeToString(sum[:5])
}

// RestoreBeside starts it. Everything that can be found out beforehand is: then nothing has been written down.
func (e *Engine) RestoreBeside(ctx context.Context, declared *estate.Estate, q BesideRequest) (string, error) {
	snapshot, err := takeSnapshot(declared, Request{Environment: q.Environment, Tenants: []string{q.Tenant}})
	if err != nil {
		return "", err
	}
	living, err := e.rooms.Store.Tenant(ctx, q.Environment, q.Tenant)
	if errors.Is(err, store.ErrNotFound) {
		return "", badRequest("tenant %s of %s has no database that Waybill knows; see: waybill status", q.Tenant, q.Environment)
	} else if err != nil {
		return "", err
	}
	ref := checkpoint.Ref{Environment: q.Environment, Tenant: q.Tenant, ID: q.Checkpoint}
	m, err := e.rooms.Checkpoints.Load(ctx, ref)
	if err != nil {
		return "", badRequest("checkpoint %s of %s/%s cannot be read: %w. See: waybill checkpoint list %s/%s", q.Checkpoint, q.Environment, q.Tenant, err, q.Environment, q.Tenant)
	}
	if q.Name == "" {
		q.Name = m.RecoveryPoint.UTC().Format("20060102-150405")
	}
	if q.Keep == 0 {
		q.Keep = DefaultKeep
	}
	if err := e.checkBeside(ctx, declared, q, living); err != nil {
		return "", err
	}
	r, err := e.rooms.Store.Release(ctx, m.Config.Release)
	if errors.Is(err, store.ErrNotFound) {
		return "", badRequest("checkpoint %s belongs to release %s, which is not known here. Build it again: waybill build", q.Checkpoint, m.Config.Release)
	} else if err != nil {
		return "", err
	}
	beside := estate.Tenant{Name: store.BesideName(q.Tenant, q.Name), Environment: q.Environment, Database: besideDatabase(living.Database, q.Name),
		Hosts: []string{}, Hosting: estate.Shared, Modules: snapshot.Tenants[0].Modules}
	if q.Host != "" {
		beside.Hosts = []string{q.Host}
	}
	if living.Group != string(estate.Shared) {
		beside.Hosting = estate.Dedicated
	}
	only := *declared
	only.Tenants = []estate.Tenant{beside}
	row := store.Beside{Environment: q.Environment, Tenant: q.Tenant, Name: q.Name, Database: beside.Database, Host: q.Host, Checkpoint: q.Checkpoint,
		RecoveryPoint: m.RecoveryPoint, Release: r.Digest, ExpiresAt: time.Now().Add(q.Keep)}
	id, err := e.StartWith(ctx, &only, Request{Kind: KindBeside, Environment: q.Environment, Release: r.Digest, By: q.By, Options: Options{Checkpoint: q.Checkpoint, Asked: q.Asked}},
		func(tx pgx.Tx, id string) error {
			row.Promotion = id
			if err := e.rooms.Store.PutBeside(ctx, tx, row); err != nil {
				return err
			}
			_, err := e.river.InsertTx(ctx, tx, besideArgs{q.Environment, q.Tenant, q.Name}, &river.InsertOpts{ScheduledAt: row.ExpiresAt})
			return err
		})
	if errors.Is(err, store.ErrTaken) {
		return "", badRequest("%s or host %q %w; see: waybill restore list %s/%s", q.Name, q.Host, err, q.Environment, q.Tenant)
	}
	return id, err
}

// checkBeside looks whether there is room for it: for its name, its host, its database.
func (e *Engine) checkBeside(ctx context.Context, declared *estate.Estate, q BesideRequest, living store.Tenant) error {
	list := fmt.Sprintf("waybill restore list %s/%s", q.Environment, q.Tenant)
	switch {
	case !besideName.MatchString(q.Name):
		return badRequest("%q is no name for what stands beside a tenant: small letters, digits and dashes, at most 30; give another with --as", q.Name)
	case q.Keep < time.Hour || q.Keep > maxKeep:
		return badRequest("it cannot be kept for %s: from 1h to %dd", q.Keep, int(maxKeep.Hours()/24))
	case q.Host != "" && (len(q.Host) > 253 || !hostName.MatchString(q.Host) || net.ParseIP(q.Host) != nil):
		return badRequest("%q is no host name without port, in small letters: for example look.%s", q.Host, first(living.Hosts, "example.com"))
	}
	for _, t := range declared.TenantsOf(q.Environment) {
		if q.Host != "" && slices.Contains(t.Hosts, q.Host) {
			return badRequest("host %s is that of tenant %s: give what is restored beside another one", q.Host, t.Name)
		}
		if t.Database == besideDatabase(living.Database, q.Name) {
			return badRequest("database %s is that of tenant %s: choose another name with --as", t.Database, t.Name)
		}
	}
	others, err := e.rooms.Store.Besides(ctx, q.Environment, "")
	if err != nil {
		return err
	}
	for _, b := range others {
		if b.Tenant == q.Tenant && b.Name == q.Name {
			return badRequest("%s stands beside %s already, of checkpoint %s: choose another name with --as, or drop it: waybill restore drop %s/%s %s. See: %s",
				q.Name, q.Tenant, b.Checkpoint, q.Environment, q.Tenant, q.Name, list)
		}
		if q.Host != "" && b.Host == q.Host {
			return badRequest("host %s is that of %s beside %s: give another one", q.Host, b.Name, b.Tenant)
		}
	}
	known, err := e.rooms.Store.Tenants(ctx, q.Environment)
	if err != nil {
		return err
	}
	for _, t := range known { // one that the estate no longer declares may serve still
		if q.Host != "" && slices.Contains(t.Hosts, q.Host) {
			return badRequest("host %s is that of tenant %s: give what is restored beside another one", q.Host, t.Name)
		}
	}
	return nil
}

func first(list []string, otherwise string) string {
	if len(list) == 0 {
		return otherwise
	}
	return list[0]
}

// DropBeside starts to take away what stands beside a tenant. It works from what the estate said when that was made: its
// database is where it was made.
func (e *Engine) DropBeside(ctx context.Context, environment, tenant, name, by string) (string, error) {
	b, err := e.rooms.Store.Beside(ctx, environment, tenant, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", badRequest("nothing called %q stands beside %s/%s; see: waybill restore list %s/%s", name, environment, tenant, environment, tenant)
	} else if err != nil {
		return "", err
	}
	return e.startAfter(ctx, b.Promotion, Request{Kind: KindDropBeside, Environment: environment, Tenants: []string{store.BesideName(tenant, name)}, By: by, Options: Options{Checkpoint: b.Checkpoint}})
}

// startAfter starts a procedure about the one tenant of an earlier promotion. It works from what the estate said when that was
// asked for, whatever it says now.
func (e *Engine) startAfter(ctx context.Context, earlier string, q Request) (string, error) {
	made, err := e.rooms.Store.Promotion(ctx, earlier)
	if err != nil {
		return "", err
	}
	var snapshot Snapshot
	if err := json.Unmarshal(made.Estate, &snapshot); err != nil {
		return "", fmt.Errorf("what is stored of promotion %s does not parse: %w", made.ID, err)
	}
	rollouts, err := e.rooms.Store.Rollouts(ctx, made.ID)
	if err != nil {
		return "", err
	}
	var declared estate.Tenant
	if err := json.Unmarshal(rollouts[0].Declared, &declared); err != nil {
		return "", fmt.Errorf("what is stored of promotion %s does not parse: %w", made.ID, err)
	}
	snapshot.Tenants = []estate.Tenant{declared}
	p := store.Promotion{ID: newID(), Kind: q.Kind, Environment: q.Environment, Release: made.Release, ReleaseName: made.ReleaseName, RequestedBy: q.By, Options: encode(q.Options),
		Estate: made.Estate, EstateCommit: made.EstateCommit}
	r := store.Rollout{ID: newID(), Tenant: q.Tenants[0], Memory: encode(Memory{}), Declared: rollouts[0].Declared}
	err = e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		if err := e.rooms.Store.CreatePromotion(ctx, tx, p, []store.Rollout{r}); err != nil {
			return err
		}
		if err := recordAsked(ctx, tx, p, q, snapshot); err != nil {
			return err
		}
		return e.enqueue(ctx, tx, r.ID, 0)
	})
	if errors.Is(err, store.ErrTenantBusy) {
		return "", e.busy(ctx, q.Environment, snapshot, err)
	}
	return p.ID, err
}

// besideArgs is the River job "take away what stands beside a tenant, once its time has come".
type besideArgs struct {
	Environment string `json:"environment"`
	Tenant      string `json:"tenant"`
	Name        string `json:"name"`
}

func (besideArgs) Kind() string { return "beside" }

type besideWorker struct {
	river.WorkerDefaults[besideArgs]
	engine *Engine
}

// expireAgain is how soon it is looked again whether what was to go has gone.
var expireAgain = 10 * time.Minute

// Work asks for it to be dropped, and stays until it has gone.
func (w *besideWorker) Work(ctx context.Context, job *river.Job[besideArgs]) error {
	e, a := w.engine, job.Args
	b, err := e.rooms.Store.Beside(ctx, a.Environment, a.Tenant, a.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case time.Until(b.ExpiresAt) > 0: // another one of that name
		return river.JobSnooze(time.Until(b.ExpiresAt))
	}
	if _, err := e.DropBeside(ctx, a.Environment, a.Tenant, a.Name, "waybill"); err != nil && !errors.Is(err, store.ErrTenantBusy) {
		return err
	}
	return river.JobSnooze(expireAgain)
}
