package promotion

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/vuln"
)

// admit decides whether the release may enter at all, and plans what has to be done. It touches nothing.
func admit(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	if promotion, reason, err := w.rooms.Store.Quarantined(ctx, w.rollout.Environment, r.Digest); err != nil {
		return "", err
	} else if promotion != "" {
		return "", failed("%s is in quarantine in %s: promotion %s took it back (%s). Mend it and build anew, or lift the quarantine: waybill quarantine lift %s %s",
			r.Name, w.rollout.Environment, promotion, reason, w.rollout.Environment, r.Name)
	}
	if err := w.admitTrust(ctx, r); err != nil {
		return "", err
	}
	if err := w.admitVulnerabilities(ctx, r); err != nil {
		return "", err
	}
	if err := w.admitOrder(ctx, r); err != nil {
		return "", err
	}
	facts, err := w.databaseFacts(ctx)
	if err != nil {
		return "", err
	}
	plan, err := w.plan(ctx, r, facts)
	if err != nil {
		return "", err
	}
	w.memory.Plan = plan
	w.rememberOld()
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	if w.memory.OldPool != "" && w.memory.OldRelease == r.Digest && len(plan.Update)+len(plan.Install) > 0 {
		return "", failed("%s serves %s already, but its database needs an update of %s: it was changed by hand; restore a checkpoint, or build a new release",
			r.Name, w.tenant.Name, strings.Join(append(plan.Update, plan.Install...), ", "))
	}
	if err := w.rooms.Store.SetClass(ctx, w.promotion.ID, string(plan.Class)); err != nil {
		return "", err
	}
	if err := w.knowKin(ctx, facts); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	return describePlan(plan), nil
}

func describePlan(p Plan) string {
	if len(p.Update)+len(p.Install) == 0 {
		return fmt.Sprintf("class %s (%s); no module has changed", p.Class, p.ClassReason)
	}
	var parts []string
	if len(p.Update) > 0 {
		parts = append(parts, "update "+strings.Join(p.Update, ", "))
	}
	if len(p.Install) > 0 {
		parts = append(parts, "install "+strings.Join(p.Install, ", "))
	}
	if !p.Transactional {
		parts = append(parts, "not in one transaction")
	}
	return fmt.Sprintf("class %s (%s); %s", p.Class, p.ClassReason, strings.Join(parts, "; "))
}

// rememberOld keeps what serves now: the way back leads there.
func (w *Work) rememberOld() {
	w.memory.OldRelease, w.memory.OldSchema, w.memory.OldPool = w.state.ServingRelease, w.state.SchemaRelease, w.state.Live.Stable
}

// admitRelease checks that the release is whole and that this Waybill can run it.
func (w *Work) admitRelease(ctx context.Context) (release.Release, error) {
	r, err := w.rooms.Store.Release(ctx, w.promotion.Release)
	if errors.Is(err, store.ErrNotFound) {
		return r, failed("release %s is not known here; build it first: waybill build", w.promotion.Release)
	} else if err != nil {
		return r, err
	}
	w.memory.Release = r.Digest
	if err := w.rooms.Present(ctx, r); err != nil {
		return r, fmt.Errorf("read release %s from the registry: %w", r.Name, err)
	}
	if _, err := odoo.Series(r.Series, w.env.Product.Experimental); err != nil {
		return r, failed("release %s: %w", r.Name, err)
	}
	if r.BridgeProtocol != bridge.Protocol {
		return r, failed("release %s carries bridge protocol %d, this server speaks %d; build it again with this version of waybill", r.Name, r.BridgeProtocol, bridge.Protocol)
	}
	return r, nil
}

// admitTrust refuses what is not signed, built and said of as the estate asks. It is for what enters;
// the way back is not barred by a key that has expired since.
func (w *Work) admitTrust(ctx context.Context, r release.Release) error {
	err := w.rooms.Trusted(ctx, r, w.env)
	var refused *attest.Refused
	if errors.As(err, &refused) {
		return failed("release %s is not trusted in %s: %w", r.Name, w.rollout.Environment, refused)
	}
	if err != nil {
		return fmt.Errorf("find out whether release %s is trusted: %w", r.Name, err)
	}
	return nil
}

// admitVulnerabilities refuses what is known to be vulnerable, by the estate's rules, and what cannot be
// compared with advisories that are new enough. The way back is not barred by what was found since.
func (w *Work) admitVulnerabilities(ctx context.Context, r release.Release) error {
	if w.env.Vulnerabilities == nil {
		return nil
	}
	err := w.rooms.Vulnerable(ctx, r, w.env)
	var refused *vuln.Refused
	switch {
	case errors.As(err, &refused):
		return failed("release %s is kept out of %s: %w. All of it: waybill release scan %s", r.Name, w.rollout.Environment, refused, r.Name)
	case errors.Is(err, vuln.ErrDatabase):
		return failed("release %s cannot be compared with known vulnerabilities: %w", r.Name, err)
	case err != nil:
		return fmt.Errorf("compare release %s with known vulnerabilities: %w", r.Name, err)
	}
	return nil
}

// admitOrder holds the order of the environments: what enters must have run in the one before.
func (w *Work) admitOrder(ctx context.Context, r release.Release) error {
	if w.env.Before == "" || w.options.Force || w.skips(estate.SkipOrder) {
		return nil
	}
	tenants, err := w.rooms.Store.Tenants(ctx, w.env.Before)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		if t.ServingRelease == r.Digest {
			return nil
		}
	}
	if was, err := w.rooms.Store.WasPromoted(ctx, w.env.Before, r.Digest); err != nil || was {
		return err
	}
	return failed("%s has not been promoted in %s, which comes before %s: waybill promote %s %s", r.Name, w.env.Before, w.rollout.Environment, r.Name, w.env.Before)
}

// databaseFacts reads what the tenant's database says of itself. A missing database is named: Odoo
// would silently make a new one.
func (w *Work) databaseFacts(ctx context.Context) (odoo.Facts, error) {
	exists, err := w.place.Databases.Exists(ctx, w.state.Database)
	if err != nil {
		return odoo.Facts{}, fmt.Errorf("ask PostgreSQL for database %s: %w", w.state.Database, err)
	}
	if !exists {
		return odoo.Facts{}, failed("database %s of tenant %s does not exist. Make it: waybill tenant create %s/%s --release RELEASE; or restore it: waybill restore %s/%s CHECKPOINT",
			w.state.Database, w.tenant.Name, w.rollout.Environment, w.tenant.Name, w.rollout.Environment, w.tenant.Name)
	}
	var facts odoo.Facts
	err = w.inDatabase(ctx, func(db *pgx.Conn) error {
		facts, err = odoo.ReadFacts(ctx, db)
		return err
	})
	if errors.Is(err, odoo.ErrNoOdoo) {
		return facts, failed("database %s holds no Odoo", w.state.Database)
	}
	return facts, err
}

// plan compares what the release holds with what the database has.
func (w *Work) plan(ctx context.Context, r release.Release, facts odoo.Facts) (Plan, error) {
	in := odoo.PlanInput{Release: r, Facts: facts, Install: w.tenant.Modules}
	if in.ByAnotherRule() {
		w.note(ctx, "its checksums are not Waybill's: reading the image by the rule of click-odoo-update")
		var err error
		if in.Also, err = w.rooms.Checksums(ctx, r, facts.Rule()); err != nil {
			return Plan{}, fmt.Errorf("compare release %s with %s, which click-odoo-update updated: %w", r.Name, w.state.Database, err)
		}
	}
	wanted, err := odoo.MakePlan(in)
	return w.planOf(r, wanted, err)
}

// planOf is what a promotion makes of what the release would change in the database.
func (w *Work) planOf(r release.Release, wanted odoo.Plan, err error) (Plan, error) {
	if err != nil {
		return Plan{}, failed("plan the update of %s to %s: %w", w.state.Database, r.Name, err)
	}
	if len(wanted.Missing) > 0 {
		return Plan{}, failed("release %s lacks modules that are installed in %s: %s. Uninstall them there first, or add them to the release",
			r.Name, w.state.Database, strings.Join(wanted.Missing, ", "))
	}
	if len(wanted.Older) > 0 {
		return Plan{}, failed("release %s is older than the database %s in %s: there are no scripts that way. Restore a checkpoint, or promote a newer release",
			r.Name, w.state.Database, strings.Join(wanted.Older, ", "))
	}
	plan := Plan{Update: wanted.Update, Install: wanted.Install, Checksums: wanted.Checksums, Reasons: wanted.Reason, Transactional: true}
	declared, ok := (&estate.Estate{Classifications: w.env.Classifications}).Classification(r.Digest, r.Commit, r.Name)
	switch {
	case len(plan.Update)+len(plan.Install) == 0:
		plan.Class, plan.ClassReason = estate.Swap, "nothing in the database changes"
	case ok && declared.Class != estate.Swap:
		plan.Class, plan.ClassReason, plan.Declared = declared.Class, "declared by the estate: "+declared.Reason, declared.Class
		plan.Transactional = declared.Transactional == nil || *declared.Transactional
	case ok:
		plan.Class, plan.ClassReason = estate.Breaking, "declared swap, but modules changed; so taken as breaking"
	default:
		plan.Class, plan.ClassReason = estate.Breaking, "nobody has rehearsed or classified it; so taken as breaking"
	}
	if plan.Class != estate.Swap {
		plan.Class = plan.Class.AtLeast(w.env.Environment.Class)
	}
	return plan, nil
}

// admitRollback plans the way of the route back to the release that served before.
func admitRollback(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	if _, err := w.databaseFacts(ctx); err != nil {
		return "", err
	}
	w.rememberOld()
	if w.state.ServingRelease == r.Digest {
		return "", failed("%s serves %s already", r.Name, w.tenant.Name)
	}
	w.memory.Plan = Plan{Class: estate.Swap, ClassReason: "the route goes back; the schema stays", Transactional: true}
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	return "route back to " + r.Name + "; the schema stays as it is", nil
}
