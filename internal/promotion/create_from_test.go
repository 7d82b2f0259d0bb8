package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// yard is works in which jobs run, files are kept, and the estate is written.
type yard struct {
	*works
	folder string
	jobs   atomic.Int64
	fails  atomic.Bool // jobs do
	book   *book
}

// book is an estate that remembers what it was told.
type book struct {
	declared *estate.Estate
	written  map[string]string // documents by tenant
	said     []string
	refuses  error
}

func (b *book) Try(_ context.Context, c estate.Change) (estate.Changed, error) {
	if b.refuses != nil {
		return estate.Changed{}, b.refuses
	}
	if c.Set != nil {
		return b.changed(c)
	}
	text, there := b.written[c.Tenant]
	switch {
	case c.Add == nil && !there:
		return estate.Changed{}, estate.ErrUndeclared
	case c.Add == nil:
		return estate.Changed{File: c.Tenant + ".yaml", Taken: []byte(text), Estate: b.declared}, nil
	case there && text != string(c.Add):
		return estate.Changed{}, estate.ErrDeclared
	}
	base := []byte("kind: Product\nname: acme\nseries: \"19.0\"\nenvironments: [rotation]\n---\nkind: Environment\nname: rotation\nruntime: {docker: {http: \"127.0.0.1:8069\"}}\n")
	read, err := estate.Parse(map[string][]byte{"estate.yaml": base, "tenant.yaml": c.Add})
	if err != nil {
		return estate.Changed{}, err
	}
	after := *b.declared
	after.Tenants = append(slices.Clone(after.Tenants), read.Tenants...)
	return estate.Changed{File: c.Tenant + ".yaml", Content: c.Add, Estate: &after}, nil
}

// changed is the estate with another hosting or other hosts of a tenant.
func (b *book) changed(c estate.Change) (estate.Changed, error) {
	at := slices.IndexFunc(b.declared.Tenants, func(t estate.Tenant) bool { return t.Name == c.Tenant })
	if at < 0 {
		return estate.Changed{}, estate.ErrUndeclared
	}
	after := *b.declared
	after.Tenants = slices.Clone(after.Tenants)
	if hosting, ok := c.Set["hosting"]; ok {
		after.Tenants[at].Hosting = estate.Hosting(hosting)
	}
	if hosts, ok := c.Set["hosts"]; ok {
		after.Tenants[at].Hosts = nil
		if err := json.Unmarshal([]byte(hosts), &after.Tenants[at].Hosts); err != nil {
			return estate.Changed{}, err
		}
	}
	return estate.Changed{File: "estate.yaml", Estate: &after}, nil
}

func (b *book) Declare(ctx context.Context, c estate.Change, s Saying) (string, error) {
	if _, err := b.Try(ctx, c); err != nil {
		return "", err
	}
	b.said = append(b.said, s.Subject)
	switch {
	case c.Remove:
		delete(b.written, c.Tenant)
	case c.Add != nil:
		b.written[c.Tenant] = string(c.Add)
	case c.Set != nil:
		for field, value := range c.Set {
			b.written[c.Tenant+" "+field] = value
		}
	}
	return "0123456789abcdef", nil
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{folder: t.TempDir(), book: &book{written: map[string]string{}}}
	y.works = newWorks(t, func(r *Rooms) {
		r.Declarations = y.book
		r.Trusted = func(context.Context, release.Release, Snapshot) error { return nil }
		r.Secret = func(_ context.Context, reference, _ string) (string, error) {
			if reference != "env:ADMIN" {
				return "", errors.New("no such secret")
			}
			return "open sesame", nil
		}
	})
	y.place.Runtime = y
	y.declared.Templates = []estate.TenantTemplate{
		{Name: "retail", Environments: []string{"rotation"}, Hosts: []string{"{name}.shops.example"}, Hosting: estate.Shared, Modules: []string{"sale"}, AdminPassword: "env:ADMIN"},
		{Name: "villa", Environments: []string{"rotation"}, Hosts: []string{"{name}.villas.example"}, Hosting: estate.Dedicated, Modules: []string{"sale"}, AdminPassword: "env:ADMIN"},
	}
	y.declared.Environments[0].Workers, y.declared.Environments[0].Settings = 3, map[string]string{"limit_time_cpu": "77"}
	y.book.declared = y.declared
	t.Cleanup(func() {
		for _, mark := range []string{preparedMark, madeMark} {
			found, err := y.place.Databases.Commented(context.Background(), mark)
			require.NoError(t, err)
			for name := range found {
				require.NoError(t, y.place.Databases.Drop(context.Background(), name))
			}
		}
	})
	return y
}

func (y *yard) DataDir(environment, group string) string {
	return filepath.Join(y.folder, environment, group)
}

func (y *yard) Filestore(environment, group, database string) filestore.Store {
	return filestore.Dir(filepath.Join(y.DataDir(environment, group), "filestore", database))
}

func (y *yard) EnsureDataDir(environment, group string) error {
	return os.MkdirAll(y.DataDir(environment, group), 0o755)
}

func (y *yard) Job(context.Context, string, string) (runtime.JobState, error) {
	return runtime.JobState{}, runtime.ErrNotFound
}
func (y *yard) RemoveJob(context.Context, string, string) error { return nil }

// StartJob does what Odoo does: with the job's own login, it makes tables, and files beside them.
func (y *yard) StartJob(ctx context.Context, asked runtime.Job) error {
	y.jobs.Add(1)
	if y.fails.Load() {
		return nil
	}
	var job bridge.Job
	if err := json.Unmarshal(asked.Files[bridge.JobFile], &job); err != nil {
		return err
	}
	config, err := pgx.ParseConfig(cluster(y.t).URL(job.Database))
	if err != nil {
		return err
	}
	for _, line := range confLine.FindAllStringSubmatch(string(asked.Files[bridge.OdooConfFile]), -1) {
		if line[1] == "db_user" {
			config.User = line[2]
		} else {
			config.Password = line[2]
		}
	}
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	_, err = db.Exec(ctx, `CREATE TABLE orders (id serial); CREATE TABLE ir_module_module (name varchar, latest_version varchar, state varchar);
		CREATE TABLE ir_config_parameter (key varchar, value text); CREATE TABLE res_lang (code varchar, active boolean); CREATE TABLE res_users (login varchar, password varchar);
		INSERT INTO ir_module_module VALUES ('base', '19.0.1.0', 'installed'); INSERT INTO res_users VALUES ('admin', 'admin');
		INSERT INTO ir_config_parameter VALUES ('database.secret', 'everybody''s'), ('database.uuid', 'everybody''s'), ('waybill.update', '`+
		string(encode(bridge.Marker{Promotion: job.Promotion, Release: job.Release, State: "done"}))+`')`)
	if err != nil {
		return err
	}
	file := filepath.Join(y.DataDir(asked.Environment, asked.Group), "filestore", job.Database, "ab", "abcd")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte("a picture"), 0o644)
}

func (y *yard) WaitJob(context.Context, string, string) (runtime.JobState, error) {
	if y.fails.Load() {
		return runtime.JobState{ExitCode: bridge.ExitFailed, Out: runtime.Files{bridge.ResultFile: []byte(`{"error": "no such module", "module": "sale"}`)}}, nil
	}
	return runtime.JobState{}, nil
}

func (y *yard) make(n NewTenant) store.Rollout {
	y.t.Helper()
	n.Environment, n.By = "rotation", "bob"
	id, err := y.engine.CreateFrom(y.t.Context(), y.declared, n)
	require.NoError(y.t, err)
	return y.ended(id)
}

func (y *yard) ended(promotion string) (r store.Rollout) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(y.t, poll(ctx, 20*time.Millisecond, func() (bool, error) {
		found, err := y.store.Rollouts(y.t.Context(), promotion)
		if err != nil {
			return false, err
		}
		r = found[0]
		return r.State == store.Done || r.State == store.Waiting, errors.New(r.Reason + r.WaitsFor)
	}))
	return r
}

func (y *yard) ask(database, sql string, into ...any) {
	y.t.Helper()
	db, err := pgx.Connect(y.t.Context(), cluster(y.t).URL(database))
	require.NoError(y.t, err)
	defer func() { _ = db.Close(context.Background()) }()
	require.NoError(y.t, db.QueryRow(y.t.Context(), sql).Scan(into...))
}

func TestTenantsFromATemplate(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	first := y.make(NewTenant{Name: "shop1", Template: "retail"})
	require.Equal(t, store.Promoted, first.Outcome, first.Reason)
	require.EqualValues(t, 1, y.jobs.Load())
	require.Contains(t, y.book.written["shop1"], "- shop1.shops.example")
	require.Equal(t, []string{"rotation: tenant shop1, from retail"}, y.book.said)

	second := y.make(NewTenant{Name: "shop2", Template: "retail", Hosts: []string{"second.example"}})
	require.Equal(t, store.Promoted, second.Outcome, second.Reason)
	require.EqualValues(t, 1, y.jobs.Load(), "the modules are installed once")

	secrets := map[string]bool{}
	for name, host := range map[string]string{"shop1": "shop1.shops.example", "shop2": "second.example"} {
		tenant, err := y.store.Tenant(t.Context(), "rotation", name)
		require.NoError(t, err)
		require.Equal(t, []string{host}, tenant.Hosts)
		require.Equal(t, "sha256:00112233445566", tenant.ServingRelease, "the release that the others run")
		require.Equal(t, "r-0011223344", tenant.Live.Stable, "in their pool")
		var secret, url, password string
		y.ask(tenant.Database, "select value from ir_config_parameter where key = 'database.secret'", &secret)
		y.ask(tenant.Database, "select value from ir_config_parameter where key = 'web.base.url'", &url)
		y.ask(tenant.Database, "select password from res_users where login = 'admin'", &password)
		require.Equal(t, "http://"+host, url)
		require.True(t, strings.HasPrefix(password, "$pbkdf2-sha512$"), "not Odoo's own")
		secrets[secret] = true
		logins, err := y.place.Databases.Logins(t.Context(), tenant.Database)
		require.NoError(t, err)
		require.Equal(t, []string{"wb_rotation_r-0011223344"}, logins, "the pool alone may connect")
		require.FileExists(t, filepath.Join(y.DataDir("rotation", "shared"), "filestore", tenant.Database, "ab", "abcd"))
	}
	require.Len(t, secrets, 2, "a session of one is worth nothing at the other")
	require.False(t, secrets["everybody's"])

	// A dedicated one has its own: the tables are its role's, and the files in its folder.
	villa := y.make(NewTenant{Name: "villa", Template: "villa"})
	require.Equal(t, store.Promoted, villa.Outcome, villa.Reason)
	var owner string
	y.ask("villa_rotation", "select tableowner from pg_tables where tablename = 'orders'", &owner)
	require.Equal(t, "wb_rotation_villa_owner", owner)
	require.FileExists(t, filepath.Join(y.DataDir("rotation", "villa"), "filestore", "villa_rotation", "ab", "abcd"))
	y.ask("shop1_rotation", "select tableowner from pg_tables where tablename = 'orders'", &owner)
	require.Equal(t, "wb_rotation_shared_owner", owner)
}

// Whatever fails, nothing half-made stays: no document, no database, no files, no tenant.
func TestATemplateThatFailsHalfWay(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	y.fails.Store(true)
	r := y.make(NewTenant{Name: "shop3", Template: "retail"})
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "no such module")
	y.gone("shop3")
	y.fails.Store(false)

	y.declared.Templates[0].AdminPassword = "env:NOBODY"
	r = y.make(NewTenant{Name: "shop3", Template: "retail"})
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "admin_password of TenantTemplate retail")
	y.gone("shop3")

	// Somebody else's database of that name is not touched.
	require.NoError(t, y.place.Databases.Create(t.Context(), "shop3_rotation", "wb_rotation_shared_owner"))
	t.Cleanup(func() { require.NoError(t, y.place.Databases.Drop(context.Background(), "shop3_rotation")) })
	y.declared.Templates[0].AdminPassword = "env:ADMIN"
	r = y.make(NewTenant{Name: "shop3", Template: "retail"})
	require.Contains(t, r.Reason, "exists already")
	there, err := y.place.Databases.Exists(t.Context(), "shop3_rotation")
	require.NoError(t, err)
	require.True(t, there)
	require.Empty(t, y.book.written)
}

// What cannot be recorded at the very end is taken back whole too.
func TestATemplateThatFailsAtTheEnd(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	steps := procedures[KindCreate]
	t.Cleanup(func() { procedures[KindCreate] = steps })
	changed := slices.Clone(steps)
	last := &changed[len(changed)-1]
	last.Do = func(ctx context.Context, w *Work) (string, error) {
		if _, err := record(ctx, w); err != nil {
			return "", err
		}
		if status, _ := y.answer("shop4.shops.example"); status != 200 {
			return "", failed("it does not serve: %d", status)
		}
		return "", failed("the lights went out")
	}
	procedures[KindCreate] = changed
	r := y.make(NewTenant{Name: "shop4", Template: "retail"})
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "the lights went out")
	y.gone("shop4")
	status, _ := y.answer("acme.example")
	require.Equal(t, 200, status, "its neighbours in the pool go on")
	require.NotNil(t, y.pool("r-0011223344"))
}

// A server that is killed when a step has done its work, and before that was written down, does the step again with what it had
// remembered: nothing is made twice.
func TestATenantIsMadeOnceHoweverOftenAServerDies(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	twice(t, KindCreate)
	for _, name := range []string{"shop5", "shop6"} { // one that prepares, one that copies
		r := y.make(NewTenant{Name: name, Template: "retail"})
		require.Equal(t, store.Promoted, r.Outcome, r.Reason)
		tenant, err := y.store.Tenant(t.Context(), "rotation", name)
		require.NoError(t, err)
		require.Equal(t, "r-0011223344", tenant.Live.Stable)
		require.Contains(t, y.book.written, name)
		require.FileExists(t, filepath.Join(y.DataDir("rotation", "shared"), "filestore", tenant.Database, "ab", "abcd"))
	}
	require.EqualValues(t, 1, y.jobs.Load())
	found, err := y.place.Databases.Commented(t.Context(), preparedMark)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

func (y *yard) gone(name string) {
	y.t.Helper()
	require.Empty(y.t, y.book.written)
	_, err := y.store.Tenant(y.t.Context(), "rotation", name)
	require.ErrorIs(y.t, err, store.ErrNotFound)
	there, err := y.place.Databases.Exists(y.t.Context(), name+"_rotation")
	require.NoError(y.t, err)
	require.False(y.t, there)
	require.NoDirExists(y.t, filepath.Join(y.DataDir("rotation", "shared"), "filestore", name+"_rotation"))
	made, err := y.place.Databases.Commented(y.t.Context(), madeMark)
	require.NoError(y.t, err)
	require.Empty(y.t, made)
}

func TestNewTenantsThatMakeNoSense(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	for name, c := range map[string]struct {
		NewTenant
		refuses error
		says    string
	}{
		"template":    {NewTenant: NewTenant{Name: "shop", Template: "retial"}, says: "it has retail, villa"},
		"environment": {NewTenant: NewTenant{Name: "shop", Template: "retail", Environment: "moon"}, says: "its environments are rotation"},
		"there":       {NewTenant: NewTenant{Name: "bolt", Template: "retail"}, says: "its data in database rotated_bolt"},
		"host":        {NewTenant: NewTenant{Name: "shop", Template: "retail"}, refuses: errors.New("tenants/shop.yaml: leads to another Tenant"), says: "leads to another Tenant"},
		"release":     {NewTenant: NewTenant{Name: "shop", Template: "retail", Release: "r99"}, says: "no release is known"},
	} {
		t.Run(name, func(t *testing.T) {
			y.book.refuses = c.refuses
			if c.Environment == "" {
				c.Environment = "rotation"
			}
			_, err := y.engine.CreateFrom(t.Context(), y.declared, c.NewTenant)
			require.ErrorIs(t, err, ErrBadRequest)
			require.ErrorContains(t, err, c.says)
			require.Empty(t, y.book.written)
		})
	}
}
