package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
)

// wayBack lets the old release work on the migrated copy. What it cannot do there is held against what it could
// do before the update.
func (r *run) wayBack(ctx context.Context) error {
	old := r.subject.Old
	result, waited, err := r.try(ctx, "way-back", bridge.TryJob{CheckViews: true})
	if err != nil {
		return err
	}
	w := &WayBack{Error: result.Error, Seconds: result.Seconds, RegistrySeconds: result.RegistrySeconds, CPUWaitSeconds: waited, Neutralised: result.Neutralised, Models: result.Models, Views: result.Views,
		Problems: append([]bridge.Problem{}, result.Problems...), Already: []bridge.Problem{}, Flows: append([]bridge.Flow{}, result.Flows...)}
	r.report.WayBack = w
	if result.Error == "" && len(w.Problems) > 0 || flowFailed(w.Flows) {
		r.progress("way back: " + old.Name + " on the copy as it was before the update, to compare")
		if err := r.copy(ctx); err != nil {
			return err
		}
		before, _, err := r.try(ctx, "before", again(w))
		if err != nil {
			return err
		}
		w.FlowsBefore = before.Flows
		w.Problems = slices.DeleteFunc(w.Problems, func(p bridge.Problem) bool {
			known := slices.ContainsFunc(before.Problems, func(b bridge.Problem) bool {
				return b.Kind == p.Kind && b.Model == p.Model && b.Name == p.Name && b.Error == p.Error
			})
			if known {
				w.Already = append(w.Already, p)
			}
			return known
		})
	}
	w.Works = w.Error == "" && len(w.Problems) == 0 && !flowFailed(w.Flows)
	r.report.Outcome, r.report.Class = Proven, estate.Breaking
	if w.Works {
		r.report.Class = estate.Compatible
	}
	return nil
}

// again is what a trial of the database as it was looks at: the views and flows that failed on the migrated one, and no others. Models
// are looked at in any case.
func again(w *WayBack) (job bridge.TryJob) {
	for _, p := range w.Problems {
		if p.Kind == bridge.ProblemView && p.ID != 0 {
			job.CheckViews, job.Views = true, append(job.Views, p.ID)
		}
	}
	for _, f := range w.Flows {
		if f.Outcome == bridge.FlowFailed {
			job.Flows = append(job.Flows, f.Name)
		}
	}
	job.SkipFlows = len(job.Flows) == 0
	return job
}

// try has the old release work on the copy, in what the job names, and tells how many seconds of that it waited for a CPU.
func (r *run) try(ctx context.Context, name string, job bridge.TryJob) (bridge.TryResult, float64, error) {
	var result bridge.TryResult
	old := r.subject.Old
	job.Protocol, job.Database, job.Neutralise, job.Deadline = bridge.Protocol, r.database(), true, r.deadline()
	job.Views, job.Flows = append([]int64{}, job.Views...), append([]string{}, job.Flows...) // lists, if they are empty
	began := time.Now()
	state, waited, err := r.job(ctx, name, old, bridge.TryCommand(old.Base.AddonsPaths), job)
	if err != nil {
		return result, 0, err
	}
	lost := waited.between(began, time.Now())
	if state.ExitCode != bridge.ExitCommitted {
		if err := r.scratch.alive(ctx); err != nil {
			return result, lost, err
		}
	}
	raw := state.Out[bridge.ResultFile]
	if raw == nil && killed(state) {
		return result, lost, fmt.Errorf("the container in which %s was tried was killed from outside, or for lack of memory that the engine did not see (exit code %d): %s", old.Name, state.ExitCode, tail(state.Log))
	}
	if raw == nil {
		result.Error = fmt.Sprintf("%s could not be tried (exit code %d%s): %s. A release that an earlier Waybill built lacks the command; build it again", old.Name, state.ExitCode, memory_(state), tail(state.Log))
		return result, lost, nil
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return result, lost, fmt.Errorf("the trial's result does not parse: %w", err)
	}
	result.Error = discreet(result.Error)
	for i := range result.Flows {
		result.Flows[i].Error, result.Flows[i].Trace = discreet(result.Flows[i].Error), ""
	}
	for i := range result.Problems {
		result.Problems[i].Error = discreet(result.Problems[i].Error)
	}
	return result, lost, nil
}

func flowFailed(flows []bridge.Flow) bool {
	return slices.ContainsFunc(flows, func(f bridge.Flow) bool { return f.Outcome == bridge.FlowFailed })
}
