package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// gatherer finds out facts. What concerns several rollouts is asked for once.
type gatherer struct {
	*Engine
	ctx       context.Context
	before    map[[2]string]previous   // by environment and digest
	approvals map[[2]string]*Approvals // by promotion and tenant
	many      bool                     // several rollouts of a promotion may be asked about
	sets      map[string]*gate.Set     // by the policies' JSON
	confirmBy time.Time                // until when the emergency asked about is to be confirmed; zero: it need not be
}

type previous struct {
	facts   gate.Previous
	missing map[string]string // facts that are not known, and why
}

func (e *Engine) gatherer(ctx context.Context) *gatherer {
	return &gatherer{Engine: e, ctx: ctx, before: map[[2]string]previous{}, approvals: map[[2]string]*Approvals{}, sets: map[string]*gate.Set{}}
}

// subject are the facts that decide which rules are asked, and which exceptions count. They do not change.
func (g *gatherer) subject(w *Work) (*gate.Facts, error) {
	f := &gate.Facts{
		Now:         time.Now().UTC(),
		Promotion:   gate.Promotion{ID: w.promotion.ID, Author: w.promotion.RequestedBy, Class: string(w.memory.Plan.Class), Emergency: w.options.Emergency != nil},
		Environment: gate.Environment{Name: w.rollout.Environment},
		Tenant:      gate.Tenant{Name: w.tenant.Name, Ring: w.tenant.Ring, Labels: w.tenant.Labels},
		Unknown:     map[string]string{}, Final: map[string]bool{},
	}
	return f, g.release(w, f)
}

// policies are those of the estate that hold for the rollout, and what the environment itself asks.
func (g *gatherer) policies(w *Work, f *gate.Facts) ([]estate.Policy, error) {
	var policies []estate.Policy
	for _, p := range w.env.Policies {
		if !p.Selects(w.rollout.Environment, w.tenant) {
			continue
		}
		if w.promotion.Kind == KindConfiguration {
			var err error
			if p.Rules, err = aboutMore(p); err != nil {
				return nil, failed("the estate's policies cannot be read: %w. Mend them, and ask for the promotion again", err)
			}
		}
		if len(p.Rules) > 0 {
			policies = append(policies, p)
		}
	}
	approvals, err := g.approvalsOf(w.promotion.ID, w.tenant.Name)
	if err != nil {
		return nil, err
	}
	own := estate.Policy{Name: "environment"}
	if approvals != nil && approvals.Needed > 0 {
		own.Rules = append(own.Rules, estate.PolicyRule{ID: "approvals", Expr: "approval.granted", Why: "the environment asks for approvals"})
	}
	calendar, err := g.calendar(w, f.Now)
	if err != nil {
		return nil, err
	}
	if calendar != nil {
		window := estate.PolicyRule{ID: "window", Expr: "calendar.open", Why: "a calendar is about this tenant"}
		if w.env.Environment.Emergency.Skip(estate.SkipWindow) {
			window.Emergency = "skip"
		}
		own.Rules = append(own.Rules, window)
	}
	switch {
	case w.options.Emergency != nil:
		own.Rules = append(own.Rules, estate.PolicyRule{ID: "second", Expr: "emergency.confirmed", Why: "nobody breaks the glass alone"})
	case w.env.Environment.Emergency != nil || w.env.Reviews:
		own.Rules = append(own.Rules, estate.PolicyRule{ID: "review", Expr: "emergency.reviewed", Why: "what was let in by an emergency is looked at before anything else comes"})
	}
	if len(own.Rules) > 0 {
		policies = append(policies, own)
	}
	return policies, nil
}

// gather finds out what is read: names of facts. What is not asked for stays unknown.
func (g *gatherer) gather(w *Work, f *gate.Facts, reads []string) error {
	for _, part := range []struct {
		of   []string // groups and names of facts
		find func(*Work, *gate.Facts) error
	}{
		{[]string{"release.signed", "release.signed_by", "checks", "vulnerabilities"}, g.evidence},
		{[]string{"rehearsal", "checkpoint.recovery"}, g.rehearsal},
		{[]string{"checkpoint"}, g.checkpoint},
		{[]string{"previous"}, func(w *Work, f *gate.Facts) error { return g.previous(w.env.Before, w.memory.Release, f) }},
		{[]string{"approval", "approvals"}, func(w *Work, f *gate.Facts) error { return g.approval(w.promotion.ID, w.tenant.Name, f) }},
		{[]string{"calendar"}, g.window},
		{[]string{"emergency"}, g.emergencyFacts},
	} {
		asked := slices.ContainsFunc(reads, func(name string) bool {
			return slices.Contains(part.of, name) || slices.Contains(part.of, groupOf(name))
		})
		if !asked {
			for _, name := range part.of {
				f.Unknown[name] = "no rule asked for it"
			}
			continue
		}
		for _, name := range part.of {
			delete(f.Unknown, name)
		}
		if err := part.find(w, f); err != nil {
			return err
		}
	}
	return nil
}

// groupOf is the group of a fact: its name up to the dot.
func groupOf(name string) string {
	group, _, _ := strings.Cut(name, ".")
	return group
}

func (g *gatherer) release(w *Work, f *gate.Facts) error {
	r, err := g.rooms.Store.Release(g.ctx, w.memory.Release)
	if err != nil {
		return fmt.Errorf("look up release %s: %w", w.memory.Release, err)
	}
	plan := w.memory.Plan
	f.Release = gate.Release{Digest: r.Digest, Name: r.Name, Commit: r.Commit, Dirty: r.Dirty, Built: r.Created, Age: f.Now.Sub(r.Created),
		Modules: slices.Sorted(slices.Values(append(slices.Clone(plan.Update), plan.Install...)))}
	f.Promotion.Change = "application"
	switch old, err := g.rooms.Store.Release(g.ctx, w.memory.OldRelease); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	case old.Digest == r.Digest, old.Base.Digest != r.Base.Digest && slices.EqualFunc(old.Modules, r.Modules, sameModule):
		f.Promotion.Change = "infrastructure"
	}
	if f.Promotion.Emergency {
		f.Promotion.Change = "emergency"
	}
	if g.rooms.Gates.Authors == nil {
		f.Unknown["release.authors"] = "nobody tells who made it"
		return nil
	}
	f.Release.Authors, err = g.rooms.Gates.Authors(g.ctx, r.Digest)
	return err
}

func sameModule(a, b release.Module) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Checksum == b.Checksum
}

// evidence are what was said of the release, and what is known to be vulnerable in it.
func (g *gatherer) evidence(w *Work, f *gate.Facts) error {
	found := Evidence{Why: map[string]string{}}
	if ask := g.rooms.Gates.Evidence; ask != nil {
		r, err := g.rooms.Store.Release(g.ctx, w.memory.Release)
		if err != nil {
			return fmt.Errorf("look up release %s: %w", w.memory.Release, err)
		}
		if found, err = ask(g.ctx, r, w.env); err != nil {
			return fmt.Errorf("find out what was said of release %s: %w", r.Name, err)
		}
	}
	if found.Signatures != nil {
		f.Release.Signed, f.Release.SignedBy = len(found.Signatures.By) > 0, found.Signatures.By
	} else {
		f.Unknown["release.signed"], f.Unknown["release.signed_by"] = found.Why["release.signed"], found.Why["release.signed"]
	}
	if found.Checks != nil {
		f.Checks = *found.Checks
	} else {
		f.Unknown["checks"] = found.Why["checks"]
	}
	if found.Vulnerabilities != nil {
		f.Vulnerabilities = *found.Vulnerabilities
	} else {
		f.Unknown["vulnerabilities"] = found.Why["vulnerabilities"]
	}
	return nil
}

// rehearsal is the newest that proved something about this release beside the one that serves.
func (g *gatherer) rehearsal(w *Work, f *gate.Facts) error {
	how := fmt.Sprintf("waybill rehearse %s --env %s --tenant %s", w.promotion.ReleaseName, w.rollout.Environment, w.tenant.Name)
	kept, err := g.rooms.Store.ProvenRehearsal(g.ctx, w.rollout.Environment, w.tenant.Name, w.memory.Release, w.memory.OldRelease)
	if errors.Is(err, store.ErrNotFound) && w.memory.Plan.RehearsedOn != "" {
		kept, err = g.rooms.Store.Rehearsal(g.ctx, w.memory.Plan.Rehearsal)
	}
	if errors.Is(err, store.ErrNotFound) {
		f.Unknown["rehearsal"] = "this release has not been rehearsed on this tenant's data: " + how
		return nil
	} else if err != nil {
		return err
	}
	report, err := reportOf(kept)
	if err != nil {
		return err
	}
	if report == nil || report.Class == "" {
		f.Unknown["rehearsal"] = "rehearsal " + kept.ID + " proved no class: " + how
		return nil
	}
	f.Rehearsal = gate.Rehearsal{ID: report.ID, Class: string(report.Class), Subject: report.Release, Age: report.Age(f.Now),
		Predicted: inSeconds(report.PredictedSeconds), Recovery: inSeconds(report.RecoverySeconds)}
	return nil
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// checkpoint is the newest one of the tenant. Its recovery time is the one that the rehearsal measured.
func (g *gatherer) checkpoint(w *Work, f *gate.Facts) error {
	if g.rooms.Checkpoints == nil {
		f.Unknown["checkpoint"] = "this server keeps no checkpoints"
		return nil
	}
	list, err := g.rooms.Checkpoints.List(g.ctx, w.rollout.Environment, w.tenant.Name)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		f.Unknown["checkpoint"] = fmt.Sprintf("there is none: waybill checkpoint create %s/%s", w.rollout.Environment, w.tenant.Name)
		return nil
	}
	newest := list[0]
	f.Checkpoint = gate.Checkpoint{ID: newest.ID, Age: f.Now.Sub(newest.RecoveryPoint), Verified: !newest.Verified.IsZero(), Recovery: f.Rehearsal.Recovery}
	if why, unknown := f.Unknown["rehearsal"]; unknown {
		f.Unknown["checkpoint.recovery"] = "no restore has been measured; " + why
	}
	return nil
}

// previous is how the release does in the environment before.
func (g *gatherer) previous(before, digest string, f *gate.Facts) error {
	if before == "" {
		f.Unknown["previous"] = "no environment comes before " + f.Environment.Name
		f.Final["previous"] = true
		return nil
	}
	found, err := g.previousOf(before, digest)
	if err != nil {
		return err
	}
	f.Previous = found.facts
	if f.Previous.Soaked == 0 && !f.Previous.PromotedAt.IsZero() {
		f.Previous.Soaked = f.Now.Sub(f.Previous.PromotedAt)
	}
	for name := range f.Unknown {
		if len(name) > len("previous") && name[:len("previous")] == "previous" {
			delete(f.Unknown, name)
		}
	}
	delete(f.Unknown, "previous")
	for name, why := range found.missing {
		f.Unknown[name] = why
	}
	return nil
}

func (g *gatherer) previousOf(before, digest string) (previous, error) {
	key := [2]string{before, digest}
	if found, ok := g.before[key]; ok {
		return found, nil
	}
	tenants, err := g.rooms.Store.Tenants(g.ctx, before)
	if err != nil {
		return previous{}, err
	}
	p := previous{facts: gate.Previous{Environment: before, Same: len(tenants) > 0}, missing: map[string]string{}}
	serving := 0
	for _, t := range tenants {
		if t.ServingRelease == digest {
			serving++
		}
		p.facts.Same = p.facts.Same && t.ServingRelease == digest
		if p.facts.Digest == "" || t.ServingRelease != digest { // what stands in the way is what is shown
			p.facts.Digest = t.ServingRelease
		}
	}
	if p.facts.Digest == "" {
		p.missing["previous.digest"] = "nothing serves in " + before
	}
	last, err := g.rooms.Store.LastPromotionOf(g.ctx, before, digest)
	switch {
	case errors.Is(err, store.ErrNotFound):
		why := "the release has not been promoted in " + before
		p.missing["previous.outcome"], p.missing["previous.promoted_at"], p.missing["previous.soaked"] = why, why, why
	case err != nil:
		return p, err
	default:
		p.facts.Outcome, p.facts.PromotedAt = last.Outcome, *last.FinishedAt
		if serving == 0 {
			p.missing["previous.soaked"] = before + " does not serve the release any more"
		}
	}
	g.before[key] = p
	return p, nil
}

func (g *gatherer) approvalsOf(promotion, tenant string) (*Approvals, error) {
	if g.rooms.Gates.Approvals == nil {
		return nil, nil
	}
	if g.many && tenant != "" { // what suffices for all of them suffices for each
		if all, err := g.approvalsOf(promotion, ""); err != nil || all == nil || all.Have >= all.Needed {
			return all, err
		}
	}
	key := [2]string{promotion, tenant}
	if found, ok := g.approvals[key]; ok {
		return found, nil
	}
	found, err := g.rooms.Gates.Approvals(g.ctx, promotion, tenant)
	if err != nil {
		return nil, fmt.Errorf("look up the approvals of promotion %s: %w", promotion, err)
	}
	g.approvals[key] = found
	return found, nil
}

func (g *gatherer) approval(promotion, tenant string, f *gate.Facts) error {
	found, err := g.approvalsOf(promotion, tenant)
	if err != nil {
		return err
	}
	if found == nil { // nobody is asked, so nobody's approval is there
		f.Approval, f.Approvals = gate.ApprovalState{Granted: true}, []gate.Approval{}
		return nil
	}
	f.Approval = gate.ApprovalState{Granted: found.Have >= found.Needed, Needed: found.Needed, Have: found.Have, Missing: found.Missing}
	f.Approvals = append([]gate.Approval{}, found.Given...)
	return nil
}

func (g *gatherer) calendar(w *Work, at time.Time) (*gate.Calendar, error) {
	if g.rooms.Gates.Calendar == nil {
		return nil, nil
	}
	found, err := g.rooms.Gates.Calendar(g.ctx, w.rollout.Environment, w.tenant, at, inSeconds(w.memory.Plan.PredictedSeconds))
	if err != nil {
		return nil, fmt.Errorf("look at the calendar of %s/%s: %w", w.rollout.Environment, w.tenant.Name, err)
	}
	return found, nil
}

func (g *gatherer) window(w *Work, f *gate.Facts) error {
	found, err := g.calendar(w, f.Now)
	if err != nil {
		return err
	}
	if found == nil {
		f.Calendar = gate.Calendar{Open: true, Reason: "no calendar is about this tenant"}
		return nil
	}
	f.Calendar = *found
	return nil
}
