package promotion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// shops is an environment whose tenants have databases with Odoo's tables, as far as they are read.
type shops struct {
	*bench
	e        *Engine
	declared *estate.Estate
	old, new release.Release
}

const odooTables = `
	CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar NOT NULL, latest_version varchar, state varchar);
	CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL, value text);
	CREATE TABLE res_lang (id serial PRIMARY KEY, code varchar NOT NULL, active boolean);
	CREATE TABLE ir_model (id serial PRIMARY KEY, state varchar);
	CREATE TABLE ir_model_fields (id serial PRIMARY KEY, state varchar);
	CREATE TABLE ir_ui_view (id serial PRIMARY KEY, name varchar);
	CREATE TABLE ir_model_data (id serial PRIMARY KEY, model varchar, res_id integer);
	CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname varchar, file_size integer);
	INSERT INTO ir_attachment (store_fname, file_size) VALUES ('aa/a', 1000);
	INSERT INTO ir_module_module (name, latest_version, state) VALUES ('base', '19.0.1.3', 'installed'), ('acme', '19.0.1.0', 'installed'), ('acme_dock', '19.0.1.0', 'installed');
	INSERT INTO ir_config_parameter (key, value) VALUES ('module_auto_update.installed_checksums', '{"base": "b", "acme": "a1", "acme_dock": "d"}');`

func newShops(t *testing.T, tenants ...string) *shops {
	t.Helper()
	s := &shops{bench: setup(t)}
	s.kind = strings.ReplaceAll(s.kind, "-", "_")
	base := release.Base{Digest: "sha256:base", Modules: []release.Module{{Name: "base", Version: "19.0.1.3", Checksum: "b"}}}
	dock := release.Module{Name: "acme_dock", Version: "19.0.1.0", Checksum: "d", Depends: []string{"acme"}}
	s.old = release.Release{Digest: "sha256:old" + s.kind, Repository: "acme", Name: "r1", Series: "19.0", BridgeProtocol: 1, Base: base, Modules: []release.Module{{Name: "acme", Version: "19.0.1.0", Checksum: "a1", Depends: []string{"base"}}, dock}}
	s.new = release.Release{Digest: "sha256:new" + s.kind, Repository: "acme", Name: "r2", Series: "19.0", BridgeProtocol: 1, Base: base, Modules: []release.Module{{Name: "acme", Version: "19.0.2.0", Checksum: "a2", Depends: []string{"base"}}, dock}}
	require.NoError(t, s.store.PutRelease(t.Context(), s.old))
	require.NoError(t, s.store.PutRelease(t.Context(), s.new))
	servers, err := database.Open(t.Context(), cluster(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(servers.Close)
	require.NoError(t, servers.EnsureOwner(t.Context(), "wb_"+s.kind))
	bucket, err := checkpoint.Open(t.Context(), "file://"+t.TempDir(), nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bucket.Close()) })
	s.e, err = New(Rooms{Store: s.store, Checkpoints: bucket,
		Place: func(context.Context, estate.Environment) (Place, error) {
			return Place{Databases: servers, AdminURL: cluster(t).URL}, nil
		},
		Present: func(context.Context, release.Release) error { return nil },
		Trusted: func(context.Context, release.Release, Snapshot) error { return nil },
	}, "a", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	s.declared = &estate.Estate{Commit: "fedcba", Environments: []estate.Environment{{Name: s.kind, Rollout: estate.Rollout{Bake: time.Minute}}}}
	for _, name := range tenants {
		db := s.database(name)
		s.declared.Tenants = append(s.declared.Tenants, estate.Tenant{Name: name, Environment: s.kind, Database: db, Hosts: []string{name + ".example"}})
		require.NoError(t, servers.Create(t.Context(), db, "wb_"+s.kind))
		t.Cleanup(func() { require.NoError(t, servers.Drop(context.Background(), db)) })
		s.in(name, odooTables)
		require.NoError(t, s.store.PutTenant(t.Context(), store.Tenant{Environment: s.kind, Name: name, Database: db, Hosts: []string{name}, Group: "shared"}))
		s.has(name, s.old.Digest, s.old.Digest)
	}
	return s
}

func (s *shops) database(tenant string) string { return s.kind + "_" + tenant }

func (s *shops) has(tenant, serving, schema string) {
	s.t.Helper()
	_, err := s.store.ChangeTenant(s.t.Context(), s.kind, tenant, store.Lease{}, func(x *store.Tenant) {
		x.ServingRelease, x.SchemaRelease, x.Live = serving, schema, store.Live{Stable: "r-old", Mode: router.Open}
	})
	require.NoError(s.t, err)
}

func (s *shops) connect(tenant string) *pgx.Conn {
	s.t.Helper()
	db, err := pgx.Connect(s.t.Context(), cluster(s.t).URL(s.database(tenant)))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

// in changes something in a tenant's database.
func (s *shops) in(tenant, sql string) {
	s.t.Helper()
	db := s.connect(tenant)
	_, err := db.Exec(s.t.Context(), sql)
	require.NoError(s.t, err)
	require.NoError(s.t, db.Close(s.t.Context()))
}

// rehearsed keeps the report of a rehearsal of the new release.
func (s *shops) rehearsed(tenant string, change func(*rehearsal.Report)) string {
	s.t.Helper()
	id := newID()
	report := rehearsal.Report{ID: id, Tenant: tenant, Release: s.new.Digest, OldRelease: s.old.Digest, Schema: s.old.Digest, RecoveryPoint: time.Now(), Outcome: rehearsal.Proven, Class: estate.Compatible,
		Cause: "r1 works on the result", Transactional: true, PredictedSeconds: 12, ComputedSeconds: 12, RecoverySeconds: 40, Plan: rehearsal.Plan{Update: []string{"acme"}}}
	if change != nil {
		change(&report)
	}
	require.NoError(s.t, s.store.PutRehearsal(s.t.Context(), store.Rehearsal{ID: id, Environment: s.kind, Tenant: tenant, Release: s.new.Digest, ReleaseName: "r2", OldRelease: s.old.Digest}))
	require.NoError(s.t, s.store.EndRehearsal(s.t.Context(), "", id, report.Outcome, "", report))
	return id
}

func (s *shops) assess(tenants ...string) *impact.Assessment {
	s.t.Helper()
	a, err := s.e.Impact(s.t.Context(), s.declared, ImpactRequest{Release: "r2", Environment: s.kind, Tenants: tenants})
	require.NoError(s.t, err)
	return a
}

func rowOf(a *impact.Assessment, tenant string) impact.Tenant {
	for _, t := range a.Tenants {
		if t.Name == tenant {
			return t
		}
	}
	return impact.Tenant{}
}

func says(row impact.Tenant) (list []string) {
	for _, c := range row.Conflicts {
		list = append(list, fmt.Sprintf("%s %t: %s", c.Kind, c.Stops, c.Says))
	}
	return list
}

// Each tenant is told apart by what its own database says; one that cannot be asked hides no other.
func TestImpact(t *testing.T) {
	long.Test(t)
	s := newShops(t, "acme", "bolt", "cord", "dune", "echo", "fern")
	s.declared.Environments[0].Rings = []estate.Ring{{Name: "canary", AtOnce: 1, Soak: time.Hour}, {Name: "rest", After: []string{"canary"}, AtOnce: 2}}
	for i := range s.declared.Tenants {
		s.declared.Tenants[i].Ring = "rest"
	}
	s.declared.Tenants[0].Ring = "canary"
	s.declared.Tenants = append(s.declared.Tenants, estate.Tenant{Name: "gone", Environment: s.kind, Database: "gone_" + s.kind, Ring: "rest", Hosts: []string{"gone.example"}})
	s.declared.Environments[0].Approvals = &estate.Approvals{Required: 1, Breaking: 2, Roles: []estate.Role{estate.RoleApprover, estate.RoleAdmin}}
	id := s.rehearsed("acme", nil)
	s.in("acme", `CREATE TABLE pos_session (id serial, state varchar); INSERT INTO pos_session (state) VALUES ('opened'), ('closed')`)
	s.in("cord", `INSERT INTO ir_module_module (name, latest_version, state) VALUES ('cord_special', '19.0.1.0', 'installed')`)
	s.in("dune", `INSERT INTO ir_model_fields (state) VALUES ('manual'); DELETE FROM ir_module_module WHERE name = 'acme_dock'`)
	s.in("echo", `UPDATE ir_module_module SET latest_version = '19.0.0.9' WHERE name = 'acme'`)
	locked, err := s.connect("fern").Begin(t.Context())
	require.NoError(t, err)
	_, err = locked.Exec(t.Context(), "LOCK TABLE ir_module_module IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)

	a := s.assess()
	require.NoError(t, locked.Rollback(t.Context()))
	require.Len(t, a.Tenants, 7)
	require.Equal(t, []string{"fern", "gone"}, a.Summary.Unknown)
	require.False(t, a.Whole())
	require.Empty(t, a.Refusals)

	acme := rowOf(a, "acme")
	require.Equal(t, []impact.Module{{Name: "acme", Change: "changed", From: "19.0.1.0", To: "19.0.2.0", Reason: "version 19.0.1.0 → 19.0.2.0"}}, acme.Modules)
	require.Equal(t, []string{"update acme"}, acme.Plan)
	require.Equal(t, 2, acme.Touched, "acme_dock is loaded anew, for it depends on acme")
	require.Equal(t, estate.Compatible, acme.Class)
	require.Equal(t, impact.Rehearsed, acme.Source)
	require.Equal(t, impact.Known(12, "rehearsal "+id), acme.Pause)
	require.Equal(t, impact.Known(40, "rehearsal "+id), acme.Recovery)
	require.Equal(t, []string{"tills false: 1 session of the point of sale is open: what a till has not sent yet may not fit the new release"}, says(acme))
	require.Equal(t, []string{"1 approval of approver or admin"}, acme.Approvals)
	require.EqualValues(t, 1000, *acme.FileBytes)
	require.Greater(t, *acme.DatabaseBytes, int64(1<<20))
	require.True(t, acme.Window.Open)

	bolt := rowOf(a, "bolt")
	require.Equal(t, acme.Set, bolt.Set)
	require.Equal(t, "acme", bolt.RehearsedOn)
	require.Equal(t, impact.Known(12, "rehearsal "+id+" on acme, which has the same modules"), bolt.Pause)
	require.Empty(t, says(bolt), "it has no point of sale, so nothing is said of it")

	cord := rowOf(a, "cord")
	require.Equal(t, []string{"cord_special"}, cord.OnlyHere)
	require.True(t, cord.Stops())
	require.Contains(t, strings.Join(says(cord), "\n"), "release r2 lacks modules that are installed in "+s.database("cord")+": cord_special")
	require.Contains(t, cord.Modules, impact.Module{Name: "cord_special", Change: "removed", From: "19.0.1.0", Reason: "not in the release"})

	dune := rowOf(a, "dune")
	require.Equal(t, impact.Assumed, dune.Source)
	require.Equal(t, estate.Breaking, dune.Class)
	require.Equal(t, impact.NotKnown("not rehearsed"), dune.Pause)
	require.Equal(t, []string{"customised false: 1 field made by hand, which no release knows"}, says(dune))
	require.Equal(t, []string{"2 approvals of approver or admin, for its class is breaking"}, dune.Approvals)
	require.Equal(t, 1, dune.Touched)

	require.Equal(t, []string{"drifted false: the database is not as its release left it: acme is at 19.0.0.9, and r1 has 19.0.1.0"}, says(rowOf(a, "echo")))
	require.Contains(t, rowOf(a, "fern").Unknown, "lock timeout")
	require.Equal(t, "database gone_"+s.kind+" does not exist", rowOf(a, "gone").Unknown)

	require.Equal(t, map[estate.Class]int{estate.Compatible: 2, estate.Breaking: 2}, a.Summary.Classes)
	require.Equal(t, 2, a.Summary.Rings)
	require.True(t, a.Summary.Through.AtLeast)
	require.InDelta(t, 72, a.Summary.Through.Rings[0].Ends, 0.01, "the pause and the bake")
	require.InDelta(t, 72+3600, a.Summary.Through.Rings[1].Begins, 0.01)
	require.Len(t, a.Between, 1)
	require.Equal(t, 6, a.Between[0].Tenants)

	one := s.assess("bolt")
	require.Len(t, one.Tenants, 1)
	require.True(t, one.Whole())
	_, err = s.e.Impact(t.Context(), s.declared, ImpactRequest{Release: "r9", Environment: s.kind})
	require.ErrorIs(t, err, ErrBadRequest)
	_, err = s.e.Impact(t.Context(), s.declared, ImpactRequest{Release: "r2", Environment: s.kind, Tenants: []string{"nobody"}})
	require.ErrorIs(t, err, ErrBadRequest)
}

// What a rehearsal found counts as long as it speaks of what would be done now.
func TestImpactByEvidence(t *testing.T) {
	long.Test(t)
	s := newShops(t, "acme", "bolt")
	s.rehearsed("acme", func(r *rehearsal.Report) { r.RecoveryPoint = time.Now().Add(-8 * 24 * time.Hour) })
	a := s.assess()
	require.Equal(t, impact.Assumed, rowOf(a, "acme").Source, "its data are too old")
	require.Equal(t, "measured in rehearsal", rowOf(a, "acme").Recovery.From[:21], "how long the restore took was measured all the same")

	failed := s.rehearsed("acme", func(r *rehearsal.Report) {
		r.Outcome, r.Class, r.Failure = rehearsal.Fails, "", "the update fails in script x"
	})
	a = s.assess()
	require.Equal(t, []string{"fails false: rehearsal " + failed + " failed: the update fails in script x"}, says(rowOf(a, "acme")))
	require.Empty(t, says(rowOf(a, "bolt")), "it says nothing of others")
	require.Equal(t, impact.Assumed, rowOf(a, "bolt").Source)
	s.declared.Environments[0].Rehearsal = estate.RehearsalRequired
	require.Equal(t, []string{"acme"}, s.assess().Summary.Stopped)

	s.declared.Classifications = []estate.Classification{{Release: "r2", Class: estate.Compatible, Reason: "looked at by hand"}}
	bolt := rowOf(s.assess(), "bolt")
	require.Equal(t, impact.Declared, bolt.Source)
	require.Equal(t, estate.Compatible, bolt.Class)
}

// What was measured before stands in where nothing was rehearsed, and says that it does.
func TestImpactByMeasurement(t *testing.T) {
	long.Test(t)
	s := newShops(t, "acme", "bolt")
	_, err := s.store.Pool.Exec(t.Context(), `insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, finished_at, outcome)
		values ($1, 'promote', $1, 'x', 'r1', 'ann', '{}', '{}', '', now(), 'promoted')`, s.kind)
	require.NoError(t, err)
	_, err = s.store.Pool.Exec(t.Context(), `insert into rollouts (id, promotion_id, environment, tenant, state, outcome, held_seconds, finished_at) values ($1, $1, $1, 'acme', 'done', 'promoted', 7.5, now())`, s.kind)
	require.NoError(t, err)
	_, err = s.store.Pool.Exec(t.Context(), `insert into steps (rollout_id, name, undo, outcome, epoch, started_at, finished_at) values
		($1, 'admit', false, 'done', 1, now() - interval '1 day', now()), ($1, 'gates', false, 'done', 1, now() - interval '2 hours', now()), ($1, 'start pool', false, 'done', 1, now() - interval '90 seconds', now())`, s.kind)
	require.NoError(t, err)
	acme := rowOf(s.assess(), "acme")
	require.Equal(t, impact.Known(7.5, "measured in promotion "+s.kind+" of r1; this release is not rehearsed"), acme.Pause)
	require.InDelta(t, 90, *acme.Rollout.Seconds, 0.5, "what it waited for before its turn does not count")
	require.False(t, acme.Rollout.AtLeast)
	require.Nil(t, rowOf(s.assess(), "bolt").Pause.Seconds)

	s.has("acme", s.new.Digest, s.new.Digest)
	s.in("acme", `UPDATE ir_module_module SET latest_version = '19.0.2.0' WHERE name = 'acme'; UPDATE ir_config_parameter SET value = '{"base": "b", "acme": "a2", "acme_dock": "d"}'`)
	acme = rowOf(s.assess(), "acme")
	require.Equal(t, impact.Nothing, acme.Source)
	require.Equal(t, estate.Swap, acme.Class)
	require.Zero(t, *acme.Pause.Seconds)
	require.Empty(t, acme.Modules)
}

// Force passes over the order of environments, and over nothing else.
func TestImpactSaysWhatForceWouldDo(t *testing.T) {
	s := newShops(t, "acme")
	require.False(t, s.assess().Forceable, "nothing refuses it")
	s.declared.Environments = append([]estate.Environment{{Name: "before-" + s.kind}}, s.declared.Environments...)
	a := s.assess()
	require.Len(t, a.Refusals, 1)
	require.Contains(t, a.Refusals[0], "which comes before")
	require.True(t, a.Forceable)
	s.e.rooms.Trusted = func(context.Context, release.Release, Snapshot) error { return errors.New("the registry is away") }
	a = s.assess()
	require.Len(t, a.Refusals, 2)
	require.False(t, a.Forceable, "what is not trusted is not let in by force")
}

// A server that cannot be reached, and a release that would not be let in, are said and do not end the assessment.
func TestImpactSaysWhatIsInTheWay(t *testing.T) {
	s := newShops(t, "acme")
	s.e.rooms.Trusted = func(context.Context, release.Release, Snapshot) error { return errors.New("the registry is away") }
	a := s.assess()
	require.Len(t, a.Refusals, 1)
	require.Contains(t, a.Refusals[0], "the registry is away")
	require.True(t, a.Whole())
	assert.NotContains(t, a.Sentences(), "Nothing stands against it.")

	s.e.rooms.Place = func(context.Context, estate.Environment) (Place, error) {
		return Place{}, errors.New("no route to host")
	}
	a = s.assess()
	require.Equal(t, []string{"acme"}, a.Summary.Unknown)
	require.Equal(t, "the environment's database server: no route to host", a.Tenants[0].Unknown)
}
