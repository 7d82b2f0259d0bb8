package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/store"
)

// evidenceAge is how old the data may be that a rehearsal's evidence comes from.
const evidenceAge = 7 * 24 * time.Hour

// rehearseStep is the name of the step that finds evidence.
const rehearseStep = "rehearse"

// Rehearsals are asked for evidence; *rehearsal.Queue is one.
type Rehearsals interface {
	Ask(ctx context.Context, request rehearsal.Request) (id string, err error)
	Cancel(ctx context.Context, id string) error
}

// rehearse takes the class from evidence, where the environment asks for it: from a rehearsal that is there already,
// or from one that is made now. What the estate declares can make the class more careful, never less.
func rehearse(ctx context.Context, w *Work) (string, error) {
	plan := &w.memory.Plan
	unrehearsed := func(why string) (string, error) {
		return why + "; class " + string(plan.Class) + ": " + plan.ClassReason, nil
	}
	mode := w.env.Environment.Rehearsal
	switch {
	case !mode.Wanted():
		return unrehearsed("not rehearsed")
	case len(plan.Update)+len(plan.Install) == 0:
		return unrehearsed("nothing to rehearse")
	case w.memory.OldRelease == "":
		return unrehearsed("no release serves yet, so there is nothing to go back to")
	}
	var evidence found
	var err error
	if w.skips(estate.SkipRehearsal) {
		evidence.report, err = w.proven(ctx)
	} else {
		evidence, err = w.evidenceOfKin(ctx)
	}
	if err != nil {
		return "", err
	}
	w.stand(evidence)
	report := evidence.report
	if report == nil && w.skips(estate.SkipRehearsal) {
		return unrehearsed("not rehearsed: an emergency does not wait for it")
	}
	if report == nil || report.Outcome == rehearsal.Unfinished {
		why := "there is no checkpoint since the database was last updated that is younger than " + evidenceAge.String()
		if report != nil {
			why = "rehearsal " + report.ID + " could not be finished: " + report.Failure
		}
		if mode == estate.RehearsalRequired {
			w.memory.NotAdmitted = true
			return "", failed("the environment requires a rehearsal, and %s. Take a checkpoint: waybill checkpoint create %s/%s", why, w.rollout.Environment, w.tenant.Name)
		}
		return unrehearsed(why)
	}
	if report.Outcome == rehearsal.Fails {
		return "", failed("rehearsal %s on checkpoint %s: %s", report.ID, report.Checkpoint, report.Failure)
	}
	learn(plan, report, w.tenant.Name, w.env.Environment.Class)
	if err := w.rooms.Store.SetClass(ctx, w.promotion.ID, string(plan.Class)); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("class %s (%s)", plan.Class, plan.ClassReason)
	if plan.PredictedSeconds > 0 {
		detail += fmt.Sprintf("; predicted %.1f s, recovery %.1f s", plan.PredictedSeconds, report.RecoverySeconds)
	}
	return detail, nil
}

// learn puts a proven report, of a tenant's own data or of its kin's, into its plan.
func learn(plan *Plan, report *rehearsal.Report, tenant string, least estate.Class) {
	plan.Rehearsal, plan.RehearsedOn = report.ID, ""
	if report.Tenant != tenant {
		plan.RehearsedOn = report.Tenant
	}
	plan.Class, plan.ClassReason = report.Class, "rehearsal "+report.ID+onWhom(report.Tenant, tenant)+": "+report.Cause
	for _, demand := range []struct {
		class estate.Class
		who   string
	}{{plan.Declared, "the estate's classification"}, {least, "the environment"}} {
		if demand.class != "" && demand.class.AtLeast(plan.Class) != plan.Class {
			plan.Class = demand.class
			plan.ClassReason = fmt.Sprintf("%s demands %s; %s", demand.who, demand.class, plan.ClassReason)
		}
	}
	if plan.Class == report.Class { // a more careful way takes longer than what was predicted
		plan.PredictedSeconds, plan.ComputedSeconds = report.PredictedSeconds, report.ComputedSeconds
	}
	plan.Transactional = plan.Transactional && report.Transactional
	plan.Freeze = report.Pause == rehearsal.PauseFreeze
	if plan.Class == estate.Swap { // the update was tried, and changes nothing
		plan.Update, plan.Install = nil, nil
	}
}

// evidence finds a fresh report about this very update, or has one made. nil: there is no checkpoint to make it on.
func (w *Work) evidence(ctx context.Context) (*rehearsal.Report, error) {
	if w.memory.Rehearsal == "" {
		if report, err := w.proven(ctx); err != nil || report != nil {
			return report, err
		}
		young := w.memory.Kin != nil && w.memory.Kin.Young
		if !young { // one may have been taken since it was planned
			var err error
			if young, err = w.rehearsable(ctx, w.rollout.Environment, w.tenant.Name, w.memory.OldSchema); err != nil || !young {
				return nil, err
			}
		}
		if err := w.askRehearsal(ctx); err != nil {
			return nil, err
		}
	}
	return w.awaitRehearsal(ctx)
}

// rehearsable says whether a tenant has a checkpoint of its schema that a rehearsal on would count.
func (e *Engine) rehearsable(ctx context.Context, environment, tenant, schema string) (bool, error) {
	list, err := e.rooms.Checkpoints.List(ctx, environment, tenant)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(i checkpoint.Info) bool {
		return i.Release == schema && time.Since(i.RecoveryPoint) <= evidenceAge
	}), nil
}

// proven is a fresh report about this very update that is there already; nil: there is none.
func (w *Work) proven(ctx context.Context) (*rehearsal.Report, error) {
	kept, err := w.rooms.Store.ProvenRehearsal(ctx, w.rollout.Environment, w.tenant.Name, w.memory.Release, w.memory.OldRelease)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	report, err := reportOf(kept)
	if err != nil || report == nil || !w.fits(report) {
		return nil, err
	}
	return report, nil
}

func (w *Work) askRehearsal(ctx context.Context) error {
	id, err := w.rooms.Rehearsals.Ask(ctx, rehearsal.Request{Environment: w.rollout.Environment, Tenant: w.tenant.Name, Release: w.memory.Release, By: "promotion " + w.promotion.ID})
	if errors.Is(err, rehearsal.ErrRequest) {
		return failed("ask for a rehearsal: %w", err)
	}
	if err != nil {
		return err
	}
	w.memory.Rehearsal = id
	return w.remember(ctx)
}

// awaitRehearsal follows the rehearsal to its end. One that a stopped server left is asked for anew, once for each turn.
func (w *Work) awaitRehearsal(ctx context.Context) (*rehearsal.Report, error) {
	again := false
	var kept store.Rehearsal
	told := ""
	err := poll(ctx, 500*time.Millisecond, func() (bool, error) {
		var err error
		if kept, err = w.rooms.Store.Rehearsal(ctx, w.memory.Rehearsal); err != nil {
			return false, err
		}
		if kept.State != store.Rehearsed {
			if now := "rehearsal " + kept.ID + ": " + kept.State + " " + kept.Progress; now != told {
				told = now
				w.note(ctx, "%s", now)
			}
			return false, nil
		}
		if len(kept.Report) == 0 && !again {
			again = true
			return false, w.askRehearsal(ctx)
		}
		return true, nil
	})
	if err != nil {
		if errors.Is(context.Cause(ctx), errAborted) {
			_ = w.rooms.Rehearsals.Cancel(context.WithoutCancel(ctx), w.memory.Rehearsal)
		}
		return nil, err
	}
	report, err := reportOf(kept)
	if err == nil && report == nil {
		report = &rehearsal.Report{ID: kept.ID, Outcome: rehearsal.Unfinished, Failure: kept.Progress}
	}
	return report, err
}

func reportOf(kept store.Rehearsal) (*rehearsal.Report, error) {
	if len(kept.Report) == 0 || string(kept.Report) == "null" {
		return nil, nil
	}
	report := new(rehearsal.Report)
	if err := json.Unmarshal(kept.Report, report); err != nil {
		return nil, fmt.Errorf("the report of rehearsal %s does not parse: %w", kept.ID, err)
	}
	return report, nil
}

// fits says whether a report speaks of what is about to be done, on data that is young enough.
func (w *Work) fits(r *rehearsal.Report) bool {
	same := func(a, b []string) bool {
		a, b = slices.Clone(a), slices.Clone(b)
		slices.Sort(a)
		slices.Sort(b)
		return slices.Equal(a, b)
	}
	return r.Age(time.Now()) <= evidenceAge && r.Schema == w.memory.OldSchema && same(r.Plan.Update, w.memory.Plan.Update) && same(r.Plan.Install, w.memory.Plan.Install)
}
