package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
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
	refusals, err := x.refusals(ctx)
	if err != nil {
		return nil, err
	}
	a := impact.Assessment{Refusals: refusals, Repository: x.release.Repository, Release: x.release.Digest, ReleaseName: x.release.Name, Environment: q.Environment,
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

// refusals are why the release itself would not be let in, whatever the tenants are.
func (x *assessor) refusals(ctx context.Context) ([]string, error) {
	w := &Work{Engine: x.Engine, env: x.env, promotion: store.Promotion{Release: x.release.Digest, ReleaseName: x.release.Name}, rollout: store.Rollout{Environment: x.env.Environment.Name}}
	found := []string{}
	promotion, reason, err := x.rooms.Store.Quarantined(ctx, x.env.Environment.Name, x.release.Digest)
	if err != nil {
		return nil, err
	}
	if promotion != "" {
		found = append(found, fmt.Sprintf("%s is in quarantine: promotion %s took it back (%s)", x.release.Name, promotion, reason))
	}
	for _, ask := range []func() error{
		func() error { _, err := w.admitRelease(ctx); return err },
		func() error { return w.admitTrust(ctx, x.release) },
		func() error { return w.admitVulnerabilities(ctx, x.release) },
		func() error { return w.admitOrder(ctx, x.release) },
	} {
		if err := ask(); ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil {
			found = append(found, oneLine(err.Error()))
		}
	}
	return found, nil
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

// row puts together what is known of one tenant.
func (x *assessor) row(ctx context.Context, t *assessed) (impact.Tenant, error) {
	row := impact.Tenant{Name: t.tenant.Name, Ring: x.env.Environment.RingOf(t.tenant), Hosting: t.tenant.Hosting, Database: t.state.Database, Unknown: t.unknown,
		Modules: []impact.Module{}, OnlyHere: []string{}, Conflicts: []impact.Conflict{}, Policies: []string{}, Approvals: []string{}}
	serving, err := x.releaseOf(ctx, t.state.ServingRelease)
	if err != nil {
		return row, err
	}
	schema, err := x.releaseOf(ctx, t.state.SchemaRelease)
	if err != nil {
		return row, err
	}
	row.Serving, row.Schema = nameOf(serving, t.state.ServingRelease), nameOf(schema, t.state.SchemaRelease)
	x.differs(schema)
	for _, p := range x.env.Policies {
		if p.Selects(x.env.Environment.Name, t.tenant) {
			row.Policies = append(row.Policies, p.Name)
		}
	}
	if s, ok := x.survey[t.state.Database]; ok {
		row.DatabaseBytes = &s.Bytes
	}
	x.standing(t, &row)
	if t.unknown != "" {
		why := "not known: " + t.unknown
		row.Pause, row.Recovery, row.Rollout = impact.NotKnown(why), x.recovery(row.Name), impact.NotKnown(why)
		row.Approvals = approval.Foreseen(x.env.Environment.Approvals, estate.Breaking, serving, x.release)
		x.window(t, &row)
		return row, nil
	}
	x.used(t, schema, &row)
	plan := x.class(t, &row)
	row.Approvals = approval.Foreseen(x.env.Environment.Approvals, row.Class, serving, x.release)
	x.times(&row, plan)
	x.window(t, &row)
	return row, nil
}

func nameOf(r *release.Release, digest string) string {
	if r != nil {
		return r.Name
	}
	return digest
}

func against(row *impact.Tenant, kind string, stops bool, format string, args ...any) {
	row.Conflicts = append(row.Conflicts, impact.Conflict{Kind: kind, Stops: stops, Says: fmt.Sprintf(format, args...)})
}

// standing is what Waybill itself knows to stand against a release at a tenant.
func (x *assessor) standing(t *assessed, row *impact.Tenant) {
	if t.unknown != "" { // a promotion cannot look at it either
		against(row, impact.Unreachable, true, "%s", t.unknown)
	}
	if r, ok := x.active[t.tenant.Name]; ok {
		against(row, impact.Busy, true, "promotion %s is under way, %s", r.PromotionID, r.State)
	}
	live := t.state.Live
	switch {
	case live.Stable == "":
		against(row, impact.NotServed, false, "nothing serves it yet, so there is no release to go back to")
	case live.Mode != "" && live.Mode != router.Open:
		against(row, impact.Held, false, "its requests are not let through now: %s", live.Mode)
	}
	if t.state.ServingRelease != "" && t.state.SchemaRelease != "" && t.state.ServingRelease != t.state.SchemaRelease {
		against(row, impact.Drifted, false, "%s serves on a database that was updated to %s: a route went back", row.Serving, row.Schema)
	}
	s := x.survey[t.state.Database]
	if s.Updating {
		against(row, impact.Updating, true, "an update is in progress")
	}
	if s.Long > 0 {
		against(row, impact.Long, false, "%s open for longer than %s, the oldest for %s", soMany(int64(s.Long), "transaction is", "transactions are"), longOpen, s.Oldest.Round(time.Second))
	}
}

// used is what the database itself tells to stand against it.
func (x *assessor) used(t *assessed, schema *release.Release, row *impact.Tenant) {
	use := t.sight.Use
	row.FileBytes, row.Customised = &use.FileBytes, use.Customised()
	for _, part := range []struct {
		n                     *int64
		kind, one, many, more string
	}{
		{use.Tills, impact.Tills, "session of the point of sale is open", "sessions of the point of sale are open", ": what a till has not sent yet may not fit the new release"},
		{use.Imports, impact.Imports, "import was begun or went on within the last hour", "imports were begun or went on within the last hour", ""},
		{use.Jobs, impact.Jobs, "job of the queue runs or is about to", "jobs of the queue run or are about to", ""},
	} {
		if part.n != nil && *part.n > 0 {
			against(row, part.kind, false, "%s%s", soMany(*part.n, part.one, part.many), part.more)
		}
	}
	if row.Customised != "" {
		against(row, impact.Customised, false, "%s, which no release knows", row.Customised)
	}
	var drifted []string
	for _, m := range t.sight.Facts.Modules {
		if m.State != odoo.StateInstalled {
			drifted = append(drifted, m.Name+" is "+m.State)
		}
		if x.seen > 1 && x.count[m.Name] == 1 {
			row.OnlyHere = append(row.OnlyHere, m.Name)
		}
		if schema == nil {
			continue
		}
		if had, there := schema.Find(m.Name); there && m.State == odoo.StateInstalled && had.Version != m.Version {
			drifted = append(drifted, fmt.Sprintf("%s is at %s, and %s has %s", m.Name, m.Version, schema.Name, had.Version))
		}
	}
	if t.sight.Facts.PartiallyUpdated {
		drifted = append(drifted, "an earlier update did not finish")
	}
	if len(drifted) > 0 {
		against(row, impact.Drifted, false, "the database is not as its release left it: %s", few(drifted))
	}
	if len(row.OnlyHere) > 0 {
		against(row, impact.Customised, false, "nobody else here has %s", few(row.OnlyHere))
	}
}

// plan decides what would be done in a tenant's database, as a promotion would, and who its kin are.
func (x *assessor) plan(ctx context.Context, t *assessed) {
	if t.unknown != "" {
		return
	}
	var err error
	t.wanted, err = x.wanted(ctx, t)
	if t.plan, err = x.work(t).planOf(x.release, t.wanted, err); err != nil {
		t.refused = oneLine(err.Error())
		return
	}
	t.kin = Kin{Set: setOf(t.sight.Facts, t.state.ServingRelease, t.state.SchemaRelease, t.plan), Own: t.sight.Use.Customised(), Young: t.young, Bytes: x.survey[t.state.Database].Bytes}
}

// work is a turn at a tenant that nobody has asked for: it decides as one would that somebody has.
func (x *assessor) work(t *assessed) *Work {
	w := &Work{Engine: x.Engine, place: x.place, env: x.env, tenant: t.tenant, state: t.state, promotion: store.Promotion{Release: x.release.Digest, ReleaseName: x.release.Name},
		rollout: store.Rollout{Environment: x.env.Environment.Name, Tenant: t.tenant.Name}}
	w.rememberOld()
	w.memory.Release, w.memory.Plan = x.release.Digest, t.plan
	return w
}

// class is by which class the release would roll at a tenant, and where that comes from.
func (x *assessor) class(t *assessed, row *impact.Tenant) Plan {
	plan := t.plan
	x.modules(t, t.wanted, row)
	if t.refused != "" {
		against(row, impact.Refused, true, "%s", t.refused)
		return plan
	}
	for _, m := range plan.Update {
		row.Plan = append(row.Plan, "update "+m)
	}
	for _, m := range plan.Install {
		row.Plan = append(row.Plan, "install "+m)
	}
	row.Set = t.kin.Set
	row.Class, row.Why, row.Source = plan.Class, plan.ClassReason, impact.Assumed
	switch {
	case len(plan.Update)+len(plan.Install) == 0:
		row.Source = impact.Nothing
	case plan.Declared != "":
		row.Source = impact.Declared
	}
	report := x.proof(t, row)
	if report == nil {
		return plan
	}
	row.Rehearsal, row.RehearsedOn = report.ID, report.Tenant
	if report.Outcome == rehearsal.Fails {
		against(row, impact.Fails, x.env.Environment.Rehearsal.Wanted(), "rehearsal %s failed: %s", report.ID, report.Failure)
		return plan
	}
	learn(&plan, report, row.Name, x.env.Environment.Class)
	row.Class, row.Why, row.Source = plan.Class, plan.ClassReason, impact.Rehearsed
	row.Recovery = impact.Known(report.RecoverySeconds, "rehearsal "+report.ID+onWhom(report.Tenant, row.Name))
	return plan
}

// wanted is what the release would change. Tenants with the same database have the same plan, which is then made once.
func (x *assessor) wanted(ctx context.Context, t *assessed) (odoo.Plan, error) {
	facts := t.sight.Facts
	key := string(encode([]any{facts.Modules, facts.Checksums, facts.PartiallyUpdated, facts.Exclude, facts.Languages, t.tenant.Modules}))
	if p, ok := x.plans[key]; ok {
		return p.wanted, p.err
	}
	in := odoo.PlanInput{Release: x.release, Facts: facts, Install: t.tenant.Modules}
	var p planned
	if in.ByAnotherRule() && x.rooms.Checksums != nil {
		in.Also, p.err = x.byRule(ctx, facts.Rule())
	}
	if p.err == nil {
		p.wanted, p.err = odoo.MakePlan(in)
	}
	x.plans[key] = p
	return p.wanted, p.err
}

func (x *assessor) byRule(ctx context.Context, rule odoo.ChecksumRule) (map[string]string, error) {
	key := string(encode(rule))
	if known, ok := x.checksums[key]; ok {
		return known, nil
	}
	found, err := x.rooms.Checksums(ctx, x.release, rule)
	if err == nil {
		x.checksums[key] = found
	}
	return found, err
}

// modules are those of this database that change.
func (x *assessor) modules(t *assessed, wanted odoo.Plan, row *impact.Tenant) {
	own := map[string]bool{}
	for _, m := range x.release.Modules {
		own[m.Name] = true
	}
	schema := x.releases[t.state.SchemaRelease]
	if schema != nil {
		for _, m := range schema.Modules {
			own[m.Name] = true
		}
	}
	has := map[string]string{}
	for _, m := range t.sight.Facts.Modules {
		if m.State != odoo.StateToInstall {
			has[m.Name] = m.Version
		}
	}
	row.Touched = len(wanted.Touched)
	for _, name := range slices.Sorted(maps.Keys(wanted.Reason)) {
		m := impact.Module{Name: name, Change: "changed", Reason: wanted.Reason[name], From: has[name]}
		if _, installed := has[name]; !installed {
			m.Change = "added"
		}
		if to, ok := x.release.Find(name); ok {
			m.To = to.Version
		}
		if own[name] {
			row.Modules = append(row.Modules, m)
		} else {
			row.Base++
		}
	}
	for _, name := range wanted.Missing {
		row.Modules = append(row.Modules, impact.Module{Name: name, Change: "removed", From: has[name], Reason: "not in the release"})
	}
}

// proof is the report that counts for a tenant: of its own data, or of one that has the same modules and the same update.
func (x *assessor) proof(t *assessed, row *impact.Tenant) *rehearsal.Report {
	w := x.work(t)
	if row.Source == impact.Nothing || w.memory.OldRelease == "" {
		return nil
	}
	var kin []relative
	reports := map[string]*rehearsal.Report{}
	for _, e := range x.evidence {
		if e.OldRelease != w.memory.OldRelease || !w.fits(e.report) {
			continue
		}
		if e.Tenant == row.Name {
			return e.report
		}
		i := slices.IndexFunc(x.tenants, func(o assessed) bool { return o.tenant.Name == e.Tenant && o.unknown == "" })
		if i < 0 || e.report.Outcome != rehearsal.Proven {
			continue
		}
		if other := x.tenants[i]; other.kin.Set == t.kin.Set {
			kin = append(kin, relative{e.Tenant, Kin{Set: t.kin.Set, Bytes: other.kin.Bytes}})
			reports[e.Tenant] = e.report
		}
	}
	if i := eldest(kin, t.kin.Set); i >= 0 && t.kin.Own == "" {
		return reports[kin[i].Tenant]
	}
	return nil
}

// onWhom names the tenant on whose data a rehearsal was, where that is another one.
func onWhom(rehearsed, tenant string) string {
	if rehearsed == tenant {
		return ""
	}
	return " on " + rehearsed + ", which has the same modules"
}

// times are how long people wait, how long a restore takes, and how long the whole.
func (x *assessor) times(row *impact.Tenant, plan Plan) {
	last, measured := x.measured[row.Name]
	of := ""
	if measured {
		of = fmt.Sprintf("promotion %s of %s", last.Promotion, last.ReleaseName)
	}
	switch {
	case row.Class == "":
		row.Pause = impact.NotKnown("not known: it cannot be planned")
	case row.Source == impact.Nothing || row.Class == estate.Swap:
		row.Pause = impact.Known(0, "nothing in the database changes")
	case plan.PredictedSeconds > 0:
		row.Pause = impact.Known(plan.PredictedSeconds, "rehearsal "+row.Rehearsal+onWhom(row.RehearsedOn, row.Name))
	case measured && last.Held > 0:
		row.Pause = impact.Known(last.Held, "measured in "+of+"; this release is not rehearsed")
	default:
		row.Pause = impact.NotKnown("not rehearsed")
	}
	if row.Recovery.From == "" {
		row.Recovery = x.recovery(row.Name)
	}
	bake := x.env.Environment.Rollout.Bake
	switch {
	case measured && last.Took > 0:
		row.Rollout = impact.Known(last.Took, of)
	case row.Pause.Seconds != nil:
		row.Rollout = impact.Known(*row.Pause.Seconds+bake.Seconds(), fmt.Sprintf("the pause, and %s at 100 %%; how long the traffic takes to move is not known", bake))
		row.Rollout.AtLeast = true
	default:
		row.Rollout = impact.Known(bake.Seconds(), fmt.Sprintf("%s at 100 %% alone; the rest is not known", bake))
		row.Rollout.AtLeast = true
	}
}

func (x *assessor) recovery(tenant string) impact.Estimate {
	if r, ok := x.recovered[tenant]; ok {
		return impact.Known(r.Seconds, "measured in rehearsal "+r.Rehearsal)
	}
	return impact.NotKnown("no restore of it has been measured")
}

// window is when it may go, for as long as it is predicted to take.
func (x *assessor) window(t *assessed, row *impact.Tenant) {
	if x.calendar.Empty() {
		row.Window = impact.Window{Open: true}
		return
	}
	need := time.Duration(0)
	if row.Pause.Seconds != nil {
		need = inSeconds(*row.Pause.Seconds)
	}
	a := x.calendar.Open(t.tenant.Subject(), x.now, need)
	row.Window = impact.Window{Open: a.Open, Why: a.Facts().Reason}
	if !a.Next.IsZero() {
		row.Window.Next = &a.Next
	}
	if !a.Until.IsZero() {
		row.Window.Until = &a.Until
	}
}

// rehearsals says whose rehearsal a promotion of these tenants would ask for.
func (x *assessor) rehearsals(rows []impact.Tenant) {
	if !x.env.Environment.Rehearsal.Wanted() {
		return
	}
	var kin []relative
	for _, t := range x.tenants {
		kin = append(kin, relative{t.tenant.Name, t.kin})
	}
	for i := range rows {
		row := &rows[i]
		if row.Class == "" || row.Source == impact.Nothing || row.Rehearsal != "" || row.Serving == "" {
			continue
		}
		who := kin[i]
		if e := eldest(kin, who.Set); who.Own == "" && e >= 0 {
			who = kin[e]
		}
		if who.Young {
			row.RehearsedBy = who.Tenant
		}
	}
}

func soMany(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// few names some of a list.
func few(list []string) string {
	if len(list) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:4], ", "), len(list)-4)
	}
	return strings.Join(list, ", ")
}
