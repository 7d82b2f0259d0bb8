package promotion

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// depot is works with a bucket, and folders for filestores.
type depot struct {
	*works
	folders *folders
}

// folders is a plant with folders.
type folders struct {
	*plant
	dir string
}

func (y *folders) DataDir(_, group string) string { return filepath.Join(y.dir, group) }

func (y *folders) Filestore(environment, group, database string) filestore.Store {
	return filestore.Dir(filepath.Join(y.DataDir(environment, group), "filestore", database))
}

func (y *folders) EnsureDataDir(environment, group string) error {
	return os.MkdirAll(y.DataDir(environment, group), 0o755)
}

// file is the one that each tenant's filestore has: its name is the SHA-1 of "hello".
const file = "aa/aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"

func newDepot(t *testing.T) *depot {
	t.Helper()
	d := &depot{works: newWorks(t)}
	d.folders = &folders{plant: d.plant, dir: t.TempDir()}
	d.place.Runtime = d.folders
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	bucket, err := checkpoint.Open(t.Context(), "file://"+filepath.Join(t.TempDir(), "bucket"), []age.Recipient{key.Recipient(), other.Recipient()}, []age.Identity{key})
	require.NoError(t, err)
	bucket.TempDir = t.TempDir()
	t.Cleanup(func() { require.NoError(t, bucket.Close()) })
	d.engine.rooms.Checkpoints = bucket
	d.engine.rooms.Trusted = func(context.Context, release.Release, Snapshot) error { return nil }
	for _, tenant := range d.declared.Tenants {
		path := filepath.Join(d.folder(tenant.Name), file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("hello"), 0o644))
	}
	return d
}

func (d *depot) tenant(name string) store.Tenant {
	d.t.Helper()
	found, err := d.store.Tenant(d.t.Context(), "rotation", name)
	require.NoError(d.t, err)
	return found
}

func (d *depot) folder(tenant string) string {
	t := d.tenant(tenant)
	return d.place.Filestore("rotation", t.Group, t.Database).String()
}

// sql runs statements in a database, as its owner.
func (d *depot) sql(database, owner, statements string) {
	t := d.t
	t.Helper()
	db, err := pgx.Connect(t.Context(), cluster(t).URL(database))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(context.WithoutCancel(t.Context()))) }()
	_, err = db.Exec(t.Context(), "set role "+pgx.Identifier{owner}.Sanitize()+"; "+statements)
	require.NoError(t, err)
}

// count are the rows of a table.
func (d *depot) count(database, table string) (n int) {
	t := d.t
	t.Helper()
	db, err := pgx.Connect(t.Context(), cluster(t).URL(database))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(context.WithoutCancel(t.Context()))) }()
	require.NoError(t, db.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n))
	return n
}

// capture takes a checkpoint of a tenant and returns its ID.
func (d *depot) capture(name string) string {
	t := d.t
	t.Helper()
	x := d.tenant(name)
	m, err := d.engine.rooms.Checkpoints.Capture(t.Context(), checkpoint.Subject{Environment: "rotation", Tenant: name, Database: x.Database, AdminURL: cluster(t).URL(x.Database),
		Filestore: d.place.Filestore("rotation", x.Group, x.Database), Config: checkpoint.Config{Release: x.SchemaRelease, Serving: x.ServingRelease, Owner: ownerRole("rotation", x.Group)}}, nil)
	require.NoError(t, err)
	return m.ID
}

// odoo makes a database of a tenant look as much like Odoo's as is asked of it here.
func (d *depot) odoo(name string) {
	x := d.tenant(name)
	d.sql(x.Database, ownerRole("rotation", x.Group), `create table if not exists orders (id serial); create table ir_attachment (id serial, store_fname varchar);
		insert into ir_attachment (store_fname) values ('`+file+`'); create table ir_cron (id serial, active boolean); insert into ir_cron (active) values (true)`)
}

// ends waits for a promotion's only rollout to end.
func (d *depot) ends(id string) store.Rollout {
	t := d.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var r store.Rollout
	require.NoError(t, poll(ctx, 20*time.Millisecond, func() (bool, error) {
		found, err := d.store.Rollouts(t.Context(), id)
		if err != nil {
			return false, err
		}
		r = found[0]
		return r.State == store.Done, nil
	}), "%s: %s", r.State, r.Reason)
	return r
}

// A database server that was lost, and replaced by an empty one, is one that knows neither the databases nor the logins of the
// pools that go on running. They come back as the runbook says: Waybill is started again, and the database is made from its checkpoint.
func TestLostDatabaseServer(t *testing.T) {
	long.Test(t)
	d := newDepot(t)
	d.odoo("acme")
	require.NoError(t, d.order(t.Context()))
	id := d.capture("acme")
	before := d.tenant("acme")
	pool := before.Live.Stable
	require.NoError(t, d.place.Databases.Drop(t.Context(), "rotated"))
	require.NoError(t, d.place.Databases.Drop(t.Context(), "rotated_bolt"))
	require.NoError(t, d.place.Databases.DropLogin(t.Context(), poolRole("rotation", pool)))
	require.Error(t, d.order(t.Context()))

	require.NoError(t, d.engine.Converge(t.Context(), d.place, "rotation"))
	promotion, err := d.engine.Start(t.Context(), d.declared, Request{Kind: KindCreate, Environment: "rotation", Tenants: []string{"acme"}, Release: "r1", By: "ann",
		Options: Options{Checkpoint: "rotation/acme/" + id}})
	require.NoError(t, err)
	r := d.ends(promotion)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, 1, d.count("rotated", "orders"))
	require.NoError(t, d.order(t.Context()), "the pool that was there all the time serves it again")
	require.Equal(t, before.Live, d.tenant("acme").Live)
}
