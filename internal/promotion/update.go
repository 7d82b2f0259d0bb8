package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// maxConflicts is how often an update is tried again that met a serialisation failure.
const maxConflicts = 3

// update runs the release's update on the tenant's database, as a job that is started or observed.
// What became of it is read from the database itself, never guessed from the job.
func update(ctx context.Context, w *Work) (string, error) {
	marker, err := w.marker(ctx)
	if err != nil {
		return "", err
	}
	result := bridge.JobResult{}
	for !w.committed(marker) {
		if result, err = w.runUpdate(ctx, bridge.Job{
			Update: w.memory.Plan.Update, Install: w.memory.Plan.Install,
			Transaction: w.memory.Plan.Transactional, Checksums: w.memory.Plan.Checksums,
			Deadline: w.updateDeadline(),
		}); err != nil {
			return "", err
		}
		if marker, err = w.marker(ctx); err != nil {
			return "", err
		}
		if w.committed(marker) {
			break
		}
		if w.memory.UpdateTry++; w.memory.UpdateTry > maxConflicts {
			return "", failed("the update conflicted with other transactions %d times: %s", maxConflicts, result.Error)
		}
		if err := w.remember(ctx); err != nil {
			return "", err
		}
	}
	return w.afterUpdate(ctx, result)
}

// updateDeadline leaves, while requests wait, time for what must follow before they may go on.
func (w *Work) updateDeadline() float64 {
	until := w.memory.HoldUntil
	reserve := time.Second
	if w.memory.Plan.Class.Breaks() {
		reserve = until.Sub(w.memory.HoldSince) / 5
	}
	return float64(until.Add(-reserve).UnixMilli()) / 1000
}

func (w *Work) committed(m bridge.Marker) bool {
	return m.Promotion == w.rollout.ID && m.State == "done"
}

func (w *Work) marker(ctx context.Context) (bridge.Marker, error) {
	var facts odoo.Facts
	err := w.inDatabase(ctx, func(db *pgx.Conn) (err error) {
		facts, err = odoo.ReadFacts(ctx, db)
		return err
	})
	if errors.Is(err, odoo.ErrNoOdoo) { // a database that is being made
		return bridge.Marker{}, nil
	}
	if err != nil {
		return bridge.Marker{}, fmt.Errorf("read from database %s what became of the update: %w", w.state.Database, err)
	}
	if facts.Marker == nil {
		return bridge.Marker{}, nil
	}
	return *facts.Marker, nil
}

// runUpdate lets nobody but the update connect, and waits for the job's end. A nil error means it
// has committed or may be tried again; a Failed, that nothing (or, without a transaction, a part) was done.
func (w *Work) runUpdate(ctx context.Context, job bridge.Job) (bridge.JobResult, error) {
	name := fmt.Sprintf("update-%s-%d", w.rollout.ID, w.memory.UpdateTry)
	job.Protocol, job.Promotion, job.Release, job.Database = bridge.Protocol, w.rollout.ID, w.memory.Release, w.state.Database
	if _, err := w.place.Runtime.Job(ctx, w.rollout.Environment, name); errors.Is(err, runtime.ErrNotFound) {
		if err := w.startUpdate(ctx, name, job); err != nil {
			return bridge.JobResult{}, err
		}
	} else if err != nil {
		return bridge.JobResult{}, err
	}
	w.fault("inside:update")
	telling, told := context.WithCancel(ctx)
	go w.tellProgress(telling, name)
	state, err := w.place.Runtime.WaitJob(ctx, w.rollout.Environment, name)
	told()
	if err != nil {
		return bridge.JobResult{}, fmt.Errorf("wait for the update: %w", err)
	}
	var result bridge.JobResult
	if data := state.Out[bridge.ResultFile]; data != nil {
		if err := json.Unmarshal(data, &result); err != nil {
			return result, fmt.Errorf("the update's result does not parse: %w", err)
		}
	}
	switch state.ExitCode {
	case bridge.ExitCommitted, bridge.ExitConflict:
		return result, nil
	case bridge.ExitBusy:
		return result, failed("another update runs on database %s already", w.state.Database)
	case bridge.ExitDeadline:
		return result, failed("the update did not end in time and was rolled back%s. Raise hold_budget in the estate, or make the update lighter", where(result))
	case bridge.ExitFlowFailed:
		return result, failed("the update worked, but the business does not: %s; rolled back", brokenFlows(result))
	case bridge.ExitOwnCommit:
		return result, failed("it cannot be one transaction%s: %s; rolled back. Classify the release with transactional: false to go through a frozen window", where(result), result.Error)
	case bridge.ExitFailed, bridge.ExitNoDatabase, bridge.ExitNotAnOdooBase:
		return result, failed("the update failed%s: %s", where(result), result.Error)
	}
	if marker, err := w.marker(ctx); err == nil && w.committed(marker) {
		return result, nil // killed after its commit
	}
	w.memory.UpdateTry++ // an engine that went away takes the job with it: another one may be started
	if err := w.remember(ctx); err != nil {
		return result, err
	}
	if state.OOM {
		return result, failed("the update ran out of memory")
	}
	if w.memory.UpdateTry > maxConflicts {
		return result, failed("the update was killed %d times (exit code %d), from outside or for lack of memory: %s", w.memory.UpdateTry, state.ExitCode, lastLines(state.Log))
	}
	return result, fmt.Errorf("the update was killed (exit code %d): %s", state.ExitCode, lastLines(state.Log))
}

// tellProgress notes which module the update is at, as long as it runs.
func (w *Work) tellProgress(ctx context.Context, name string) {
	last := ""
	_ = poll(ctx, 2*time.Second, func() (bool, error) {
		state, err := w.place.Runtime.Job(ctx, w.rollout.Environment, name)
		if err != nil || !state.Running {
			return err == nil, err
		}
		lines := strings.Split(state.Log, "\n")
		for i := len(lines) - 1; i >= 0; i-- {
			var event struct {
				Event string `json:"event"`
				Name  string `json:"name"`
				Index int    `json:"index"`
				Count int    `json:"count"`
			}
			if !strings.HasPrefix(lines[i], "{") || json.Unmarshal([]byte(lines[i]), &event) != nil || event.Event != "module" {
				continue
			}
			if now := fmt.Sprintf("module %s, %d of %d", event.Name, event.Index, event.Count); now != last {
				last = now
				w.note(ctx, "%s", now)
			}
			break
		}
		return false, nil
	})
}

func (w *Work) startUpdate(ctx context.Context, name string, job bridge.Job) error {
	role := updateRole(w.rollout.Environment, w.tenant.Name)
	login := role + "/" + w.rollout.ID // each update has a password of its own
	if err := w.ensureLogin(ctx, w.place, w.rollout.Environment, w.state.Group, role, login); err != nil {
		return err
	}
	if err := w.change(ctx, func(l *store.Live) { l.Updating, l.Access = true, nil }); err != nil {
		return err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return err
	}
	r, err := w.rooms.Store.Release(ctx, w.memory.Release)
	if err != nil {
		return err
	}
	conf, err := w.odooConf(w.place, w.rollout.Environment, role, login, odoo.Conf{Update: true, AddonsPaths: r.Base.AddonsPaths, Settings: w.env.Environment.Settings}, r.Series)
	if err != nil {
		return failed("the settings of environment %s cannot be used: %w", w.rollout.Environment, err)
	}
	if err := w.recordGiven(ctx, w.rollout.Environment, "job "+name, "login "+role); err != nil {
		return err
	}
	return w.place.Runtime.StartJob(ctx, runtime.Job{
		Environment: w.rollout.Environment, Name: name, Group: w.state.Group, Image: w.rooms.Image(r),
		Command: bridge.UpdateCommand(r.Base.AddonsPaths),
		Files:   runtime.Files{bridge.OdooConfFile: conf, bridge.JobFile: encode(job)},
	})
}

// afterUpdate writes down what the database now is, and takes the job and its role away.
func (w *Work) afterUpdate(ctx context.Context, result bridge.JobResult) (string, error) {
	w.fault("inside:update committed")
	w.memory.Updated = true
	if err := w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release }); err != nil {
		return "", err
	}
	if err := w.endUpdate(ctx); err != nil {
		return "", err
	}
	detail := fmt.Sprintf("committed: %s", plural(len(w.memory.Plan.Update)+len(w.memory.Plan.Install), "module"))
	if result.Seconds > 0 {
		detail += fmt.Sprintf(" in %.1f s", result.Seconds)
	}
	if result.DeferredCommits > 0 {
		detail += fmt.Sprintf(", one transaction instead of %d", result.DeferredCommits)
	}
	if len(result.Flows) > 0 {
		detail += "; before the commit: " + flowLine(result.Flows)
	}
	return detail, nil
}

// endUpdate removes the job and takes its role's access, so that nothing of it can still commit.
func (w *Work) endUpdate(ctx context.Context) error {
	for try := 0; try <= w.memory.UpdateTry; try++ {
		if err := w.place.Runtime.RemoveJob(ctx, w.rollout.Environment, fmt.Sprintf("update-%s-%d", w.rollout.ID, try)); err != nil {
			return err
		}
	}
	if err := w.change(ctx, func(l *store.Live) { l.Updating = false }); err != nil {
		return err
	}
	if err := w.grantAccess(ctx, w.place, w.state); err != nil {
		return err
	}
	return dropLogin(ctx, w.place.Databases, updateRole(w.rollout.Environment, w.tenant.Name))
}

// undoUpdate brings the database back where the new release left something that the old one cannot
// work on. Inside the fence nothing is lost by it.
func undoUpdate(ctx context.Context, w *Work) (string, error) {
	if err := w.endUpdate(ctx); err != nil {
		return "", err
	}
	if w.memory.Restoring { // a restore takes the marker away with it
		return w.restoreFence(ctx)
	}
	marker, err := w.marker(ctx)
	if err != nil {
		return "", err
	}
	done, started := w.committed(marker), marker.Promotion == w.rollout.ID
	switch {
	case !started:
		return "nothing had happened to the database", w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.OldSchema })
	case done && !w.memory.Plan.Class.Breaks():
		return "the update stays: the old release works on it", w.changeTenant(ctx, func(t *store.Tenant) { t.SchemaRelease = w.memory.Release })
	case w.memory.FenceCheckpoint == "":
		return "", &NeedsPerson{Reason: "the database was updated in part and no checkpoint was taken inside the fence",
			Choices: []string{"waybill checkpoint list " + w.rollout.Environment + "/" + w.tenant.Name}}
	}
	return w.restoreFence(ctx)
}

func where(r bridge.JobResult) string {
	switch {
	case r.Script != "":
		return " in " + r.Module + ", script " + r.Script
	case r.Module != "":
		return " in module " + r.Module
	}
	return ""
}

func brokenFlows(r bridge.JobResult) string {
	var broken []string
	for _, f := range r.Flows {
		if f.Outcome == bridge.FlowFailed {
			broken = append(broken, describeFlow(f))
		}
	}
	for _, i := range r.Invariants {
		if !i.Held {
			broken = append(broken, fmt.Sprintf("%s was %s and is %s", i.Name, i.Before, i.After))
		}
	}
	if len(broken) == 0 {
		return r.Error
	}
	return strings.Join(broken, "; ")
}

func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return oneLine(strings.Join(lines[max(0, len(lines)-3):], " / "))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
