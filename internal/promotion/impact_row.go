package promotion

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

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
