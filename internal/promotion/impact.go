package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// ImpactRequest asks what a release would do.
type ImpactRequest struct {
	Release     string
	Environment string
	Tenants     []string // empty: all of the environment
	// Look reads one tenant's database; nil: the database itself. A measurement with thousands of tenants that nobody made gives its own.
	Look func(ctx context.Context, adminURL string, t store.Tenant) (Sight, error)
}

// Sight is what a tenant's database says of itself.
type Sight struct {
	Facts odoo.Facts
	Use   odoo.Use
}

const (
	looksAtOnce = 8                // databases that are asked at the same time
	lookLimit   = 30 * time.Second // for one database
	longOpen    = 5 * time.Minute  // that a transaction is open which is worth naming
)

// beforeWork are the steps before a rollout's turn: what they wait for is not its own time.
var beforeWork = []string{"admit", rehearseStep, gatesStep}

// Impact says what a release would do to each tenant of an environment. It only reads, and a tenant that cannot be asked is a row
// that says so.
func (e *Engine) Impact(ctx context.Context, declared *estate.Estate, q ImpactRequest) (*impact.Assessment, error) {
	x, err := e.assessor(ctx, declared, q)
	if err != nil {
		return nil, err
	}
	x.look(ctx, q.Look)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x.spread()
	for i := range x.tenants {
		x.plan(ctx, &x.tenants[i])
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	refusals, forceable, err := x.refusals(ctx)
	if err != nil {
		return nil, err
	}
	a := impact.Assessment{Refusals: refusals, Forceable: forceable, Repository: x.release.Repository, Release: x.release.Digest, ReleaseName: x.release.Name, Environment: q.Environment,
		EstateCommit: declared.Commit, EstateDirty: declared.Dirty, At: x.now, Between: []impact.Between{}}
	for i := range x.tenants {
		row, err := x.row(ctx, &x.tenants[i])
		if err != nil {
			return nil, err
		}
		a.Tenants = append(a.Tenants, row)
	}
	x.rehearsals(a.Tenants)
	for _, digest := range slices.Sorted(maps.Keys(x.between)) {
		if b := x.between[digest]; b.Tenants > 0 {
			a.Between = append(a.Between, *b)
		}
	}
	return impact.New(a, Rings(x.env.Environment)), nil
}

// assessor finds out, once for all tenants, what concerns several of them.
type assessor struct {
	*Engine
	now      time.Time
	env      Snapshot
	release  release.Release
	place    Place
	placed   error // why the environment's database server cannot be reached
	tenants  []assessed
	calendar *calendar.Set

	known     map[string]store.Tenant
	active    map[string]store.Rollout
	measured  map[string]store.Measured
	recovered map[string]store.Recovered
	evidence  []*evidenceOf
	survey    map[string]database.Surveyed
	count     map[string]int // of tenants that have a module installed
	seen      int            // tenants whose database could be asked
	releases  map[string]*release.Release
	between   map[string]*impact.Between
	plans     map[string]planned
	checksums map[string]map[string]string // by the rule of another updater
}

// assessed is one tenant on the way to its row.
type assessed struct {
	tenant  estate.Tenant
	state   store.Tenant
	sight   Sight
	unknown string // why its database could not be asked
	young   bool

	wanted  odoo.Plan
	plan    Plan   // before any rehearsal is taken into account
	refused string // why there is no plan
	kin     Kin
}

type planned struct {
	wanted odoo.Plan
	err    error
}

type evidenceOf struct {
	store.Evidence
	report *rehearsal.Report
}

func (e *Engine) assessor(ctx context.Context, declared *estate.Estate, q ImpactRequest) (*assessor, error) {
	x := &assessor{Engine: e, now: time.Now(), known: map[string]store.Tenant{}, active: map[string]store.Rollout{}, measured: map[string]store.Measured{}, recovered: map[string]store.Recovered{},
		count: map[string]int{}, releases: map[string]*release.Release{}, between: map[string]*impact.Between{}, plans: map[string]planned{}, checksums: map[string]map[string]string{}}
	var err error
	if x.env, err = takeSnapshot(declared, Request{Kind: KindPromote, Environment: q.Environment, Tenants: q.Tenants}); err != nil {
		return nil, err
	}
	if x.release, err = e.rooms.Store.Release(ctx, q.Release); errors.Is(err, store.ErrNotFound) {
		return nil, badRequest("no release is known as %q; see: waybill release list", q.Release)
	} else if err != nil {
		return nil, err
	}
	if x.calendar, err = declared.Calendar(); err != nil {
		return nil, err
	}
	if err := x.remembered(ctx, q.Environment); err != nil {
		return nil, err
	}
	if x.place, x.placed = e.rooms.Place(ctx, x.env.Environment); x.placed == nil && x.place.Databases != nil {
		x.survey, x.placed = x.place.Databases.Survey(ctx, longOpen)
	}
	for _, t := range x.env.Tenants {
		state, ok := x.known[t.Name]
		if !ok {
			state = store.Tenant{Environment: q.Environment, Name: t.Name, Database: t.Database}
		}
		x.tenants = append(x.tenants, assessed{tenant: t, state: state})
	}
	return x, nil
}

// refusals are why the release itself would not be let in, whatever the tenants are; forceable: with Options.Force it would be.
func (x *assessor) refusals(ctx context.Context) (found []string, forceable bool, err error) {
	w := &Work{Engine: x.Engine, env: x.env, promotion: store.Promotion{Release: x.release.Digest, ReleaseName: x.release.Name}, rollout: store.Rollout{Environment: x.env.Environment.Name}}
	found = []string{}
	promotion, reason, err := x.rooms.Store.Quarantined(ctx, x.env.Environment.Name, x.release.Digest)
	if err != nil {
		return nil, false, err
	}
	if promotion != "" {
		found = append(found, fmt.Sprintf("%s is in quarantine: promotion %s took it back (%s)", x.release.Name, promotion, reason))
	}
	for _, ask := range []func() error{
		func() error { _, err := w.admitRelease(ctx); return err },
		func() error { return w.admitTrust(ctx, x.release) },
		func() error { return w.admitVulnerabilities(ctx, x.release) },
	} {
		if err := ask(); ctx.Err() != nil {
			return nil, false, ctx.Err()
		} else if err != nil {
			found = append(found, oneLine(err.Error()))
		}
	}
	if err := w.admitOrder(ctx, x.release); ctx.Err() != nil {
		return nil, false, ctx.Err()
	} else if err != nil {
		var refused *Failed
		forceable = len(found) == 0 && errors.As(err, &refused)
		found = append(found, oneLine(err.Error()))
	}
	return found, forceable, nil
}

// remembered reads what Waybill itself knows of the environment's tenants.
func (x *assessor) remembered(ctx context.Context, environment string) error {
	tenants, err := x.rooms.Store.Tenants(ctx, environment)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		x.known[t.Name] = t
	}
	active, err := x.rooms.Store.ActiveRollouts(ctx, environment)
	if err != nil {
		return err
	}
	for _, r := range active {
		x.active[r.Tenant] = r
	}
	measured, err := x.rooms.Store.LastMeasured(ctx, environment, beforeWork)
	if err != nil {
		return err
	}
	for _, m := range measured {
		x.measured[m.Tenant] = m
	}
	recovered, err := x.rooms.Store.LastRecovered(ctx, environment)
	if err != nil {
		return err
	}
	for _, r := range recovered {
		x.recovered[r.Tenant] = r
	}
	kept, err := x.rooms.Store.Evidence(ctx, environment, x.release.Digest)
	if err != nil {
		return err
	}
	for _, k := range kept {
		report := new(rehearsal.Report)
		if err := json.Unmarshal(k.Report, report); err != nil {
			return fmt.Errorf("the report of rehearsal %s does not parse: %w", k.ID, err)
		}
		x.evidence = append(x.evidence, &evidenceOf{k, report})
	}
	return nil
}

// look asks the tenants' databases, several at once. What goes wrong is written down with the tenant that it is about.
func (x *assessor) look(ctx context.Context, read func(context.Context, string, store.Tenant) (Sight, error)) {
	given := read != nil
	if !given {
		read = x.read
	}
	var wait sync.WaitGroup
	places := make(chan struct{}, looksAtOnce)
	for i := range x.tenants {
		t := &x.tenants[i]
		if x.placed != nil {
			t.unknown = "the environment's database server: " + oneLine(x.placed.Error())
			continue
		}
		if _, there := x.survey[t.state.Database]; x.place.Databases != nil && !there {
			t.unknown = "database " + t.state.Database + " does not exist"
			continue
		}
		url := ""
		switch {
		case x.place.AdminURL != nil:
			url = x.place.AdminURL(t.state.Database)
		case !given:
			t.unknown = "nobody says where its database is"
			continue
		}
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			bounded, cancel := context.WithTimeout(ctx, lookLimit)
			defer cancel()
			var err error
			if t.sight, err = read(bounded, url, t.state); err != nil {
				t.unknown = oneLine(err.Error())
				return
			}
			if x.env.Environment.Rehearsal.Wanted() && x.rooms.Checkpoints != nil {
				if t.young, err = x.rehearsable(bounded, t.state.Environment, t.state.Name, t.state.SchemaRelease); err != nil {
					t.unknown = oneLine(err.Error())
				}
			}
		})
	}
	wait.Wait()
}

// read asks the database itself. It waits for no lock: an update that holds one is something to tell, not to wait for.
func (x *assessor) read(ctx context.Context, adminURL string, t store.Tenant) (Sight, error) {
	var s Sight
	config, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return s, fmt.Errorf("the address of database %s does not parse", t.Database)
	}
	config.RuntimeParams["application_name"] = database.ApplicationName
	config.RuntimeParams["lock_timeout"], config.RuntimeParams["statement_timeout"] = "3s", "20s"
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return s, fmt.Errorf("connect to database %s: %w", t.Database, err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if s.Facts, err = odoo.ReadFacts(ctx, db); err != nil {
		return s, err
	}
	s.Use, err = odoo.ReadUse(ctx, db)
	return s, err
}

// spread counts what is installed where.
func (x *assessor) spread() {
	for _, t := range x.tenants {
		if t.unknown != "" {
			continue
		}
		x.seen++
		for _, m := range t.sight.Facts.Modules {
			if m.State != odoo.StateToInstall {
				x.count[m.Name]++
			}
		}
	}
}

// known release by its digest; nil: it is not known (any more).
func (x *assessor) releaseOf(ctx context.Context, digest string) (*release.Release, error) {
	if digest == "" {
		return nil, nil
	}
	if r, ok := x.releases[digest]; ok {
		return r, nil
	}
	found, err := x.rooms.Store.Release(ctx, digest)
	if errors.Is(err, store.ErrNotFound) {
		x.releases[digest] = nil
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	x.releases[digest] = &found
	return &found, nil
}

// differs is what lies between the release of a schema and this one, counted for one tenant more.
func (x *assessor) differs(from *release.Release) {
	if from == nil {
		return
	}
	b := x.between[from.Digest]
	if b == nil {
		b = &impact.Between{Release: from.Digest, ReleaseName: from.Name}
		var err error
		if b.Difference, err = odoo.Compare(*from, x.release); err != nil { // said in each row, by its plan
			x.log.Debug("compare releases", "from", from.Name, "to", x.release.Name, "error", err)
		}
		x.between[from.Digest] = b
	}
	b.Tenants++
}
