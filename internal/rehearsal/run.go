package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// run is one rehearsal under way.
type run struct {
	*Rehearser
	subject  Subject
	progress func(string)
	report   *Report
	scratch  *scratch
	manifest *checkpoint.Manifest
	like     *likeness
	plan     odoo.Plan
	stop     context.CancelCauseFunc
	watching func() // ends the watch over the disk
	before   *load  // of production, where that can be asked for

	captureSeconds float64
}

// all goes through the steps. It stops where the class is decided, or nothing more can be found out.
func (r *run) all(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"look", r.look},
		{"scratch server", r.start},
		{"restore", r.restore},
		{"plan", r.makePlan},
		{"update", r.update},
		{"effect", r.effect},
		{"way back", r.wayBack},
	} {
		r.progress(step.name)
		began := time.Now()
		err := step.do(ctx)
		r.report.Steps = append(r.report.Steps, Timed{step.name, seconds(began)})
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if r.report.Outcome != "" {
			break
		}
	}
	r.lookAgain(ctx)
	classify(r.report, r.subject.Environment.HoldBudget, r.captureSeconds)
	return nil
}

func seconds(since time.Time) float64 { return time.Since(since).Seconds() }

// clear takes everything away.
func (r *run) clear(ctx context.Context) error {
	if r.watching != nil {
		r.watching()
	}
	if r.scratch != nil {
		r.scratch.close()
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := r.remove(ctx, r.subject.ID); err != nil {
		return fmt.Errorf("rehearsal %s: not all of it could be removed; it is tried again when the server starts: %w", r.subject.ID, err)
	}
	return nil
}

// look finds the checkpoint, the tenant's server, and whether the disk is large enough, before anything is made.
func (r *run) look(ctx context.Context) error {
	ref := r.subject.Checkpoint
	if ref.ID == "" {
		list, err := r.rooms.Checkpoints.List(ctx, ref.Environment, ref.Tenant)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(i checkpoint.Info) bool { return !sameSchema(i.Release, r.subject.Schema) })
		if len(list) == 0 {
			return fmt.Errorf("tenant %s/%s has no checkpoint since its database was last updated; take one: waybill checkpoint create %[1]s/%[2]s", ref.Environment, ref.Tenant)
		}
		ref = list[0].Ref()
	}
	r.report.Checkpoint = ref.String()
	var err error
	if r.manifest, err = r.rooms.Checkpoints.Load(ctx, ref); err != nil {
		return err
	}
	if !sameSchema(r.manifest.Config.Release, r.subject.Schema) {
		return fmt.Errorf("checkpoint %s is of another schema than the database has now: it was taken before the last update; take a new one: waybill checkpoint create %s/%s", ref, ref.Environment, ref.Tenant)
	}
	r.report.RecoveryPoint, r.captureSeconds = r.manifest.RecoveryPoint, r.manifest.Seconds
	if r.like, err = look(ctx, r.subject.ServerURL); err != nil {
		return err
	}
	if r.before, err = readLoad(ctx, r.subject.ServerURL, r.database()); err != nil {
		r.rooms.Log.WarnContext(ctx, "what the locks mean to production cannot be told", "rehearsal", r.subject.ID, "error", err)
	}
	if err := os.MkdirAll(r.dir, 0o711); err != nil {
		return err
	}
	return r.enoughDisk()
}

// sameSchema says whether data of one release's schema stands for the other's: what an update does to a database
// that has had it already proves nothing. Where one of the two is unknown, nothing speaks against it.
func sameSchema(checkpoint, tenant string) bool {
	return checkpoint == "" || tenant == "" || checkpoint == tenant
}

// start starts the scratch server and the watch over its disk.
func (r *run) start(ctx context.Context) (err error) {
	r.scratch, err = r.open(ctx, r.subject.ID, r.like, r.subject.Limits)
	if err != nil {
		return err
	}
	r.report.Restore.Server = r.scratch.cluster.Version
	r.watching = r.watchDisk(ctx)
	return nil
}

func (r *run) database() string { return r.subject.Tenant.Database }

func (r *run) filestore() filestore.Store {
	return r.scratch.jobs.Filestore(environment, group, r.database())
}

// restore brings the checkpoint in: each rehearsal is also the proof that it can be.
func (r *run) restore(ctx context.Context) error {
	if err := r.scratch.jobs.EnsureDataDir(environment, group); err != nil {
		return err
	}
	var stage atomic.Value
	stage.Store("begins")
	end := r.growing(func() string { return "restore: " + stage.Load().(string) })
	restored, err := r.rooms.Checkpoints.Restore(ctx, r.manifest.Ref(), checkpoint.Target{
		AdminURL: r.scratch.cluster.URL("postgres"), Database: pristine, Owner: ownerRole, Filestore: r.filestore(),
	}, func(p checkpoint.Progress) { stage.Store(fmt.Sprintf("%s, %d of %d", p.Stage, p.Done, p.Total)) })
	end()
	if err != nil {
		return err
	}
	bytes, err := r.scratch.server.Size(ctx, pristine)
	if err != nil {
		return err
	}
	r.report.Restore = Restore{Seconds: restored.Duration.Seconds(), Tables: restored.Tables, Rows: restored.Rows, Bytes: bytes,
		Files: restored.FilesAdded + restored.FilesKept, MissingFiles: restored.Missing, Warnings: restored.Warnings, Server: r.scratch.cluster.Version}
	r.report.RecoverySeconds = restored.Duration.Seconds()
	if r.subject.Untraced {
		return nil
	}
	return r.scratch.prepareTrace(ctx)
}

// makePlan decides, as a promotion does, what has to be updated.
func (r *run) makePlan(ctx context.Context) error {
	var facts odoo.Facts
	err := r.scratch.in(ctx, pristine, func(conn *pgx.Conn) (err error) {
		facts, err = odoo.ReadFacts(ctx, conn)
		return err
	})
	if err != nil {
		return err
	}
	r.plan, err = odoo.MakePlan(odoo.PlanInput{Release: r.subject.Release, Facts: facts, Install: r.subject.Tenant.Modules})
	if err != nil {
		r.report.fails(err.Error())
		return nil
	}
	r.report.Plan.Update, r.report.Plan.Reasons = append(r.report.Plan.Update, r.plan.Update...), r.plan.Reason
	r.report.Plan.Install = append(r.report.Plan.Install, r.plan.Install...)
	switch {
	case len(r.plan.Missing) > 0:
		r.report.fails(fmt.Sprintf("the release lacks modules that are installed in the database: %v", r.plan.Missing))
	case len(r.plan.Older) > 0:
		r.report.fails(fmt.Sprintf("the release is older than the database in %v", r.plan.Older))
	}
	return nil
}

// update runs the real update on a copy: in one transaction and, where a script commits by itself, once more without.
// A plan with nothing in it still has the new release prove that its registry loads and its flows pass.
func (r *run) update(ctx context.Context) error {
	if err := r.updateOnce(ctx, true); err != nil || r.report.Update.ExitCode != bridge.ExitOwnCommit {
		return err
	}
	r.report.Transactional, r.report.OwnCommit = false, r.report.Update.Error
	r.progress("update: once more, not in one transaction")
	return r.updateOnce(ctx, false)
}

func (r *run) updateOnce(ctx context.Context, transaction bool) error {
	db := r.database()
	if err := r.copy(ctx); err != nil {
		return err
	}
	var offset int64
	if info, err := os.Stat(r.scratch.logFile()); err == nil {
		offset = info.Size()
	}
	from, err := r.scratch.wal(ctx)
	if err != nil {
		return err
	}
	traced := &trace{stop: func() {}, done: closed}
	if !r.subject.Untraced {
		if traced, err = r.scratch.watch(ctx, db); err != nil {
			return err
		}
	}
	began := time.Now()
	state, waited, err := r.job(ctx, "update-"+map[bool]string{true: "one", false: "plain"}[transaction], r.subject.Release, bridge.UpdateCommand(r.subject.Release.Base.AddonsPaths),
		bridge.Job{Protocol: bridge.Protocol, Promotion: "rehearsal-" + r.subject.ID, Release: r.subject.Release.Digest, Database: db,
			Update: r.report.Plan.Update, Install: r.report.Plan.Install, Transaction: transaction, Checksums: r.plan.Checksums, Flows: []string{},
			Deadline: r.deadline(), Trace: !r.subject.Untraced})
	traced.end()
	if err != nil {
		return err
	}
	u := &Update{JobSeconds: seconds(began), CPUWaitSeconds: waited.between(began, time.Now()), ExitCode: state.ExitCode, Modules: []bridge.ModuleTime{}, Errors: []string{}, Warnings: []string{},
		Invariants: []bridge.Invariant{}, Flows: []bridge.Flow{}}
	r.report.Update = u
	var result bridge.JobResult
	if raw := state.Out[bridge.ResultFile]; raw == nil {
		if err := r.scratch.alive(ctx); err != nil {
			return err
		}
		if killed(state) {
			return fmt.Errorf("the update's container was killed from outside, or for lack of memory that the engine did not see (exit code %d): %s", state.ExitCode, tail(state.Log))
		}
		r.report.fails(fmt.Sprintf("the update left no result (exit code %d%s): %s", state.ExitCode, memory_(state), tail(state.Log)))
		return nil
	} else if err := json.Unmarshal(raw, &result); err != nil {
		return fmt.Errorf("the update's result does not parse: %w", err)
	}
	if strings.HasPrefix(result.Error, toldToStop) {
		return errors.New("the update's container was stopped from outside, as an engine does that is stopped itself")
	}
	u.Seconds, u.Error, u.Module, u.Script = result.Seconds, discreet(result.Error), result.Module, result.Script
	for _, lines := range [][]string{result.LogErrors, result.LogWarnings} {
		for i := range lines {
			lines[i] = discreet(lines[i])
		}
	}
	for i := range result.Flows {
		result.Flows[i].Error, result.Flows[i].Trace = discreet(result.Flows[i].Error), "" // a trace is for the update's own log
	}
	u.Modules, u.Invariants, u.Flows = append(u.Modules, result.Modules...), append(u.Invariants, result.Invariants...), append(u.Flows, result.Flows...)
	u.Errors, u.Warnings = append(u.Errors, result.LogErrors...), append(u.Warnings, result.LogWarnings...)
	if to, err := r.scratch.wal(ctx); err == nil {
		u.WALBytes = to - from
	}
	if !r.subject.Untraced {
		lines, err := readTimeline(r.scratch.logFile(), offset, db)
		if err != nil {
			return fmt.Errorf("read the trace: %w", err)
		}
		r.report.Timeline = traced.timeline(lines)
		r.report.Timeline.atFullPace(lines.since, waited)
	}
	switch {
	case state.ExitCode == bridge.ExitCommitted:
	case state.ExitCode == bridge.ExitOwnCommit && transaction:
	default:
		if err := r.scratch.alive(ctx); err != nil {
			return err
		}
		if state.ExitCode == bridge.ExitDeadline {
			u.WaitedFor = traced.waiting
		}
		r.report.fails(why(state.ExitCode, u) + memory_(state))
	}
	return nil
}

// toldToStop begins the error of an update that got SIGTERM (update/job.py).
const toldToStop = "told to stop (SIGTERM)"

// killed says whether somebody ended a container without a word: not its release, and not its memory limit. That
// says nothing of the release.
func killed(s runtime.JobState) bool {
	return !s.OOM && (s.ExitCode == 128+int(syscall.SIGKILL) || s.ExitCode == 128+int(syscall.SIGTERM))
}

// why tells, in one line, what the update failed at.
func why(code int, u *Update) string {
	at := ""
	switch {
	case u.Script != "":
		at = " in script " + u.Script
	case u.Module != "":
		at = " in module " + u.Module
	}
	switch code {
	case bridge.ExitFlowFailed:
		return "the update works, but the business does not: " + u.Error
	case bridge.ExitDeadline:
		return fmt.Sprintf("the update did not end in time%s; it waited for: %s", at, u.WaitedFor)
	}
	return "the update fails" + at + ": " + u.Error
}

func memory_(s runtime.JobState) string {
	if s.OOM {
		return "; it ran out of memory"
	}
	return ""
}

func (r *run) deadline() float64 {
	return float64(time.Now().Add(r.subject.Limits.Deadline).Unix())
}

func (r *run) parameters() map[string]string {
	all := map[string]string{}
	for _, p := range r.manifest.Parameters {
		all[p.Name] = p.Value
	}
	return all
}

// job runs a container on the copy to its end, and tells what it waited for meanwhile.
func (r *run) job(ctx context.Context, name string, of release.Release, command []string, job any) (runtime.JobState, *pace, error) {
	info, err := odoo.Series(of.Series, true) // admitted elsewhere
	if err != nil {
		return runtime.JobState{}, nil, err
	}
	options := r.scratch.conf()
	options.Series, options.AddonsPaths, options.Update, options.Settings = info, of.Base.AddonsPaths, true, r.subject.Environment.Settings
	conf, err := options.Render()
	if err != nil {
		return runtime.JobState{}, nil, err
	}
	content, err := json.Marshal(job)
	if err != nil {
		return runtime.JobState{}, nil, err
	}
	// So that a pool's rules hold: views are pruned of what the release does not know.
	pool, err := json.Marshal(bridge.PoolConfig{Protocol: bridge.Protocol, Generation: 1, Environment: environment, Pool: name, Release: of.Digest, KeepAssets: true,
		Tenants: []bridge.PoolTenant{{Name: r.subject.Tenant.Name, Database: r.database(), Hosts: []string{}, PruneViews: true, GCHold: true, Modules: map[string]string{}}}})
	if err != nil {
		return runtime.JobState{}, nil, err
	}
	err = r.scratch.jobs.StartJob(ctx, runtime.Job{Environment: environment, Name: name, Group: group, Image: r.rooms.Image(of), Command: command, Memory: r.subject.Limits.Memory,
		Files: runtime.Files{bridge.OdooConfFile: conf, bridge.JobFile: content, bridge.PoolFile: pool}})
	if err != nil {
		return runtime.JobState{}, nil, err
	}
	telling, told := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() { defer close(finished); r.tell(telling, name) }()
	paced := r.watchPace(ctx, name, command[len(command)-1])
	bounded, cancel := context.WithTimeoutCause(ctx, r.subject.Limits.Deadline+time.Minute, errors.New("the container did not end, long after its deadline"))
	defer cancel()
	state, err := r.scratch.jobs.WaitJob(bounded, environment, name)
	told()
	<-finished
	waited := paced()
	if err != nil {
		return state, waited, err
	}
	return state, waited, r.scratch.jobs.RemoveJob(ctx, environment, name)
}

// effect compares; where nothing that counts has changed, that decides the class already.
func (r *run) effect(ctx context.Context) (err error) {
	if r.report.Effect, err = r.scratch.effect(ctx, r.database()); err != nil {
		return err
	}
	if len(r.plan.Update)+len(r.plan.Install) == 0 || r.report.Effect.Empty() && r.report.Transactional {
		r.report.Outcome, r.report.Class = Proven, estate.Swap
	}
	return nil
}
