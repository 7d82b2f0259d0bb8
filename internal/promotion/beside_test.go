package promotion

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// jobs let folders be neutralised: a job logs in to the database that job.json names with what odoo.conf says, as Odoo does.
type jobs struct {
	*folders
	lazy  bool // does nothing, and says that it has
	ended map[string]runtime.JobState
}

func (j *jobs) Job(_ context.Context, _, name string) (runtime.JobState, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s, ok := j.ended[name]; ok {
		return s, nil
	}
	return runtime.JobState{}, runtime.ErrNotFound
}

func (j *jobs) StartJob(ctx context.Context, asked runtime.Job) error {
	var job bridge.TryJob
	if err := json.Unmarshal(asked.Files[bridge.JobFile], &job); err != nil {
		return err
	}
	config, err := pgx.ParseConfig(cluster(j.t).URL(job.Database))
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
	if !j.lazy && job.Neutralise {
		_, err = db.Exec(ctx, "update ir_cron set active = false; insert into ir_config_parameter values ('database.is_neutralized', 'true')")
	}
	_ = db.Close(context.WithoutCancel(ctx))
	state := runtime.JobState{Out: runtime.Files{bridge.ResultFile: []byte(`{"outcome": "passed", "neutralised": 3}`)}}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended[asked.Name] = state
	return err
}

func (j *jobs) WaitJob(ctx context.Context, environment, name string) (runtime.JobState, error) {
	return j.Job(ctx, environment, name)
}

func (j *jobs) RemoveJob(_ context.Context, _, name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.ended, name)
	return nil
}

func (j *jobs) EnsureEnvironment(context.Context, runtime.Environment) error { return nil }

// lookout is a depot whose tenant acme has a checkpoint with one order in it, and has had more since.
type lookout struct {
	*depot
	jobs       *jobs
	checkpoint string
}

func newLookout(t *testing.T) *lookout {
	l := &lookout{depot: newDepot(t)}
	l.jobs = &jobs{folders: l.folders, ended: map[string]runtime.JobState{}}
	l.place.Runtime = l.jobs
	env := &l.declared.Environments[0]
	env.Deadline, env.Workers, env.Settings = time.Minute, 3, map[string]string{"limit_time_cpu": "77"} // as the pools were started
	t.Cleanup(func() {                                                                                  // of a test that failed
		for _, name := range l.trace() {
			if database, ok := strings.CutPrefix(name, "database "); ok {
				require.NoError(t, l.place.Databases.Drop(context.Background(), database))
			}
		}
	})
	l.odoo("acme")
	l.sql("rotated", ownerRole("rotation", "shared"), "create table ir_config_parameter (key varchar, value varchar)")
	require.NoError(t, l.order(t.Context()))
	l.checkpoint = l.capture("acme")
	require.NoError(t, l.order(t.Context()))
	return l
}

func (l *lookout) beside(q BesideRequest) (string, error) {
	q.Environment, q.Tenant, q.By = "rotation", "acme", "ann"
	if q.Checkpoint == "" {
		q.Checkpoint = l.checkpoint
	}
	return l.engine.RestoreBeside(l.t.Context(), l.declared, q)
}

// trace is everything that could be left of what stood beside a tenant.
func (l *lookout) trace() (left []string) {
	l.t.Helper()
	ctx := context.WithoutCancel(l.t.Context()) // also after the test
	rows, err := l.store.Pool.Query(ctx, "select 'row ' || name from besides union all select 'tenant ' || name from tenants where name like '%@%'")
	require.NoError(l.t, err)
	left, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(l.t, err)
	db, err := pgx.Connect(ctx, cluster(l.t).URL("postgres"))
	require.NoError(l.t, err)
	defer func() { require.NoError(l.t, db.Close(ctx)) }()
	rows, err = db.Query(ctx, `select 'database ' || datname from pg_database where datname like 'rotated\_\_b%' union all select 'role ' || rolname from pg_roles where rolname like '%neutralise%'`)
	require.NoError(l.t, err)
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(l.t, err)
	left = append(left, there...)
	folders, err := filepath.Glob(filepath.Join(l.folders.dir, "*", "filestore", "*__b*"))
	require.NoError(l.t, err)
	return append(left, folders...)
}

// get asks the router under a host.
func (l *lookout) get(host string) (status int, said string) {
	l.t.Helper()
	request, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+"/order", nil)
	require.NoError(l.t, err)
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	require.NoError(l.t, err)
	defer func() { require.NoError(l.t, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	require.NoError(l.t, err)
	return response.StatusCode, string(text)
}

// The living tenant serves all the time, while its checkpoint is restored beside it, served, looked at and taken away.
func TestRestoreBeside(t *testing.T) {
	long.Test(t)
	l := newLookout(t)
	living := l.tenant("acme")
	people := l.busy(1, l.order)
	id, err := l.beside(BesideRequest{Name: "look", Host: "look.example", Asked: time.Now()})
	require.NoError(t, err)
	r := l.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, living, l.tenant("acme"), "nothing about the living one has changed")
	require.Equal(t, 1, l.count("rotated__b_look", "orders"), "as it was then")
	require.Equal(t, 0, l.count("rotated__b_look", "ir_cron where active"))
	require.Equal(t, 1, l.count("rotated", "ir_cron where active"), "the living one is not neutralised")
	require.FileExists(t, filepath.Join(l.place.Filestore("rotation", "shared", "rotated__b_look").String(), file))
	status, said := l.get("look.example")
	require.Equal(t, http.StatusOK, status, said)
	require.Equal(t, 2, l.count("rotated__b_look", "orders"), "who looks is in this one")
	beside := l.tenant("acme@look")
	require.Equal(t, "r-0011223344", beside.Live.Stable, "the pool of its release is there already")
	require.Empty(t, beside.Live.Cron)
	var config bridge.PoolConfig
	require.NoError(t, json.Unmarshal(l.pool("r-0011223344").files[bridge.PoolFile], &config))
	for _, tenant := range config.Tenants {
		if tenant.Database == "rotated__b_look" {
			require.False(t, tenant.Cron)
			require.Equal(t, []string{"look.example"}, tenant.Hosts)
		}
	}
	row, err := l.store.Beside(t.Context(), "rotation", "acme", "look")
	require.NoError(t, err)
	require.NotNil(t, row.ReadyAt)
	took, err := l.store.LastRestored(t.Context(), "rotation", "acme")
	require.NoError(t, err)
	require.NotNil(t, took, "the runbook knows how long a restore takes")

	_, err = l.engine.RotateLogins(t.Context(), l.declared, Request{Environment: "rotation"})
	require.ErrorContains(t, err, "waybill restore drop rotation/acme look", "its pool would stay, with the login that is to go")

	id, err = l.engine.DropBeside(t.Context(), "rotation", "acme", "look", "ann")
	require.NoError(t, err)
	r = l.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Empty(t, l.trace())
	status, _ = l.get("look.example")
	require.NotEqual(t, http.StatusOK, status)
	require.NotNil(t, l.pool("r-0011223344"), "others use it")
	require.Equal(t, living, l.tenant("acme"))
	count, err := people()
	require.NoError(t, err, "of %d requests", count)
	require.Positive(t, count)
	_, err = l.engine.DropBeside(t.Context(), "rotation", "acme", "look", "ann")
	require.ErrorIs(t, err, ErrBadRequest)
}

// What cannot be is refused before anything is written down.
func TestRestoreBesideIsRefused(t *testing.T) {
	long.Test(t)
	l := newLookout(t)
	other := l.capture("bolt")
	for says, q := range map[string]BesideRequest{
		"is no name":                   {Name: "Look Here"},
		"is no host name":              {Name: "x", Host: "look:8069"},
		"is that of tenant bolt":       {Name: "x", Host: "bolt.example"},
		"cannot be kept for 9000h0m0s": {Name: "x", Keep: 9000 * time.Hour},
		"cannot be kept for 1m0s":      {Keep: time.Minute},
		"cannot be read":               {Checkpoint: other},
	} {
		_, err := l.beside(q)
		require.ErrorIs(t, err, ErrBadRequest, says)
		require.ErrorContains(t, err, says)
	}
	require.Empty(t, l.trace())

	id, err := l.beside(BesideRequest{Name: "twice"})
	require.NoError(t, err)
	_, err = l.beside(BesideRequest{Name: "twice"})
	require.ErrorContains(t, err, "stands beside acme already")
	require.Equal(t, store.Promoted, l.ends(id).Outcome)
	require.Empty(t, l.tenant("acme@twice").Live.Stable, "nothing serves it")

	before := diskReserve
	diskReserve = 1 << 60
	t.Cleanup(func() { diskReserve = before })
	id, err = l.beside(BesideRequest{Name: "large"})
	require.NoError(t, err)
	r := l.ends(id)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "no space left")
	diskReserve = before

	require.NoError(t, l.place.Databases.EnsureOwner(t.Context(), "somebody_else"))
	require.NoError(t, l.place.Databases.Create(t.Context(), "rotated__b_mine", "somebody_else"))
	t.Cleanup(func() { require.NoError(t, l.place.Databases.Drop(context.Background(), "rotated__b_mine")) })
	id, err = l.beside(BesideRequest{Name: "mine"})
	require.NoError(t, err)
	r = l.ends(id)
	require.Contains(t, r.Reason, "exists already")
	left := l.trace()
	require.Contains(t, left, "database rotated__b_mine", "what Waybill has not made stays")
	for _, what := range left {
		require.False(t, strings.Contains(what, "large") || strings.Contains(what, "@mine"), left)
	}
	id, err = l.engine.DropBeside(t.Context(), "rotation", "acme", "twice", "ann")
	require.NoError(t, err)
	require.Equal(t, store.Promoted, l.ends(id).Outcome)
}

// One that is not neutralised is shown to nobody: nothing of it is left.
func TestBesideMustBeNeutral(t *testing.T) {
	long.Test(t)
	l := newLookout(t)
	l.jobs.lazy = true
	id, err := l.beside(BesideRequest{Name: "loud", Host: "loud.example"})
	require.NoError(t, err)
	r := l.ends(id)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "could not be neutralised")
	require.Empty(t, l.trace())
	require.NoError(t, l.order(t.Context()))
}

// What has had its time goes away by itself, and one whose time has not come stays.
func TestBesideGoesAway(t *testing.T) {
	long.Test(t)
	l := newLookout(t)
	again := expireAgain
	expireAgain = time.Second
	t.Cleanup(func() { expireAgain = again })
	for _, name := range []string{"old", "young"} {
		id, err := l.beside(BesideRequest{Name: name})
		require.NoError(t, err)
		require.Equal(t, store.Promoted, l.ends(id).Outcome)
	}
	_, err := l.store.Pool.Exec(t.Context(), "update besides set expires_at = now() - interval '1 second' where name = 'old'")
	require.NoError(t, err)
	_, err = l.store.Pool.Exec(t.Context(), "update river_job set scheduled_at = now() where kind = 'beside'")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, poll(ctx, 50*time.Millisecond, func() (bool, error) {
		list, err := l.store.Besides(ctx, "rotation", "acme")
		return err == nil && len(list) == 1 && list[0].Name == "young", fmt.Errorf("%v %w", list, err)
	}))
	require.NotContains(t, l.trace(), "database rotated__b_old")
	id, err := l.engine.DropBeside(t.Context(), "rotation", "acme", "young", "ann")
	require.NoError(t, err)
	require.Equal(t, store.Promoted, l.ends(id).Outcome)
}

// Steps that were done and not written down are done again, and a server is killed in the middle of what makes it and of what takes it away.
func TestBesideHoweverOftenAServerDies(t *testing.T) {
	long.Test(t)
	l := newLookout(t)
	twice(t, KindBeside, KindDropBeside)
	killed := kills(t, l.engine, "inside:restore", "inside:neutralise", "inside:drop")
	living := l.tenant("acme")
	id, err := l.beside(BesideRequest{Name: "look", Host: "look.example"})
	require.NoError(t, err)
	r := l.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, 1, l.count("rotated__b_look", "orders"))
	require.Equal(t, 0, l.count("rotated__b_look", "ir_cron where active"))
	status, said := l.get("look.example")
	require.Equal(t, http.StatusOK, status, said)
	id, err = l.engine.DropBeside(t.Context(), "rotation", "acme", "look", "ann")
	require.NoError(t, err)
	r = l.ends(id)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Empty(t, l.trace())
	require.Empty(t, killed(), "not killed there")
	require.Equal(t, living, l.tenant("acme"))
}

// A tenant of the estate that comes to claim the host gets it; the routes of all others go on.
func TestBesideYields(t *testing.T) {
	living := store.Tenant{Name: "bolt", Hosts: []string{"look.example"}}
	beside := store.Tenant{Name: "acme@look", Hosts: []string{"look.example"}}
	other := store.Tenant{Name: "acme@then", Hosts: []string{"then.example"}}
	require.Equal(t, []store.Tenant{living, other}, yielding([]store.Tenant{beside, living, other}))
	require.Equal(t, []store.Tenant{beside, other}, yielding([]store.Tenant{beside, other}))
}

func TestBesideNames(t *testing.T) {
	require.Equal(t, "acme_production__b_before_import", besideDatabase("acme_production", "before-import"))
	long := strings.Repeat("d", 50)
	require.Len(t, besideDatabase(long, strings.Repeat("n", 30)), 63)
	require.NotEqual(t, besideDatabase(long, strings.Repeat("n", 30)), besideDatabase(long, strings.Repeat("n", 29)+"m"))
	of, name, ok := store.OfBeside(store.BesideName("acme", "look"))
	require.True(t, ok)
	require.Equal(t, "acme look", of+" "+name)
	_, _, ok = store.OfBeside("acme")
	require.False(t, ok)
	require.Equal(t, "/", existing("/no/such/folder/anywhere"))
	_, err := os.Stat(existing(t.TempDir()))
	require.NoError(t, err)
}
