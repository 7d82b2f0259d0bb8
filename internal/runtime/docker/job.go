package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/folder"
)

// StartJob starts the job, or does nothing when one of that name was started before, whatever
// became of it. The container stays after its end, so that a server that was away can observe it.
func (r *Runtime) StartJob(ctx context.Context, job runtime.Job) error {
	if job.Group == "" {
		job.Group = sharedGroup
	}
	if err := runtime.CheckJob(job.Environment, job.Name); err != nil {
		return err
	}
	if err := runtime.CheckName("group", job.Group); err != nil {
		return err
	}
	if len(job.Command) == 0 {
		return fmt.Errorf("job %s of %s: the command is empty", job.Name, job.Environment)
	}
	if err := r.startJob(ctx, job); err != nil {
		return fmt.Errorf("job %s of %s: %w", job.Name, job.Environment, err)
	}
	return nil
}

func (r *Runtime) startJob(ctx context.Context, job runtime.Job) error {
	name := r.name(job.Environment, jobContainer(job.Name))
	c, found, err := r.inspect(ctx, name)
	if err != nil {
		return err
	}
	if found && started(c.State) {
		return nil
	}
	dir := r.jobDir(job.Environment, job.Name)
	out := filepath.Join(dir, "out")
	if err := r.owner.Make(out, 0o700); err != nil {
		return err
	}
	if err := r.EnsureDataDir(job.Environment, job.Group); err != nil {
		return err
	}
	if err := r.owner.Write(filepath.Join(dir, "etc"), job.Files, true); err != nil {
		return err
	}
	mounts := r.odooMounts(filepath.Join(dir, "etc"), job.Environment, job.Group)
	return r.runOnce(ctx, process{
		Environment: job.Environment, Group: job.Group, What: jobContainer(job.Name),
		Labels: map[string]string{labelJob: job.Name, labelRole: roleUpdate},
		Image:  job.Image, Command: job.Command, Env: odooEnv(roleUpdate),
		Mounts: append(mounts, bind(out, bridge.OutDir, false)),
		Pids:   2048, Memory: job.Memory, User: r.user(),
	})
}

// runOnce makes and starts a container that is never started a second time.
func (r *Runtime) runOnce(ctx context.Context, p process) error {
	name := r.name(p.Environment, p.What)
	spec, err := p.hash()
	if err != nil {
		return err
	}
	delay := backoff{first: 20 * time.Millisecond, most: time.Second}
	for range 20 {
		c, found, err := r.inspect(ctx, name)
		switch {
		case err != nil:
			return err
		case !found:
			err = r.create(ctx, name, spec, p)
			if err == nil {
				return nil
			}
		case c.Config.Labels[labelEnvironment] != p.Environment:
			return fmt.Errorf("container %s belongs to environment %s: rename one of the environments", name, c.Config.Labels[labelEnvironment])
		case started(c.State):
			return nil
		case c.State.Status == container.StateRemoving, c.State.Dead:
			err = errAgain
		case c.Config.Labels[labelSpec] != spec:
			// Made for other work and never started.
			err = r.remove(ctx, c.ID, name)
		default:
			if err = r.start(ctx, c.ID, name, p); err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, errAgain) {
			return err
		}
		if err := wait(ctx, delay.next()); err != nil {
			return fmt.Errorf("start container %s: %w", name, err)
		}
	}
	return fmt.Errorf("start container %s: it does not stay as it was made; somebody else stops or removes it", name)
}

// started tells whether a container was ever started and is not about to go away.
func started(s *container.State) bool {
	return s.Running || s.Status == container.StateExited
}

// Job observes a job. It is runtime.ErrNotFound where there is none, also where one was made and
// its start was cut short: StartJob starts that one.
func (r *Runtime) Job(ctx context.Context, environment, name string) (runtime.JobState, error) {
	if err := runtime.CheckJob(environment, name); err != nil {
		return runtime.JobState{}, err
	}
	state, err := r.jobState(ctx, environment, name)
	if err != nil {
		return runtime.JobState{}, fmt.Errorf("job %s of %s: %w", name, environment, err)
	}
	return state, nil
}

func (r *Runtime) jobState(ctx context.Context, environment, job string) (runtime.JobState, error) {
	name := r.name(environment, jobContainer(job))
	c, found, err := r.inspect(ctx, name)
	if err != nil {
		return runtime.JobState{}, err
	}
	if !found || !started(c.State) || c.Config.Labels[labelEnvironment] != environment {
		return runtime.JobState{}, runtime.ErrNotFound
	}
	state := runtime.JobState{Running: c.State.Running, PID: c.State.Pid, ExitCode: c.State.ExitCode, OOM: c.State.OOMKilled}
	if state.Log, err = r.tail(ctx, name, "2000", runtime.MaxLogBytes); err != nil {
		return state, err
	}
	if state.Running {
		state.ExitCode = 0
		return state, nil
	}
	state.Out, err = folder.ReadOut(filepath.Join(r.jobDir(environment, job), "out"))
	return state, err
}

// killed is the exit code of what SIGKILL has ended.
const killed = 128 + 9

// WaitJob returns when the job has ended, or when ctx is done. While the engine is away it goes on
// waiting: a job does not end because nobody can see it.
func (r *Runtime) WaitJob(ctx context.Context, environment, name string) (runtime.JobState, error) {
	delay := backoff{first: 100 * time.Millisecond, most: 2 * time.Second}
	late := 10
	for {
		state, err := r.Job(ctx, environment, name)
		if err == nil {
			delay.now = 0
			if !state.Running {
				// The engine hears of a lack of memory apart from the end, and may write it down a moment later.
				if late--; state.ExitCode == killed && !state.OOM && late > 0 && wait(ctx, 100*time.Millisecond) == nil {
					continue
				}
				return state, nil
			}
			err = r.waitExit(ctx, r.name(environment, jobContainer(name)))
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return state, fmt.Errorf("wait for job %s of %s: %w", name, environment, context.Cause(ctx))
		}
		if !errors.Is(err, runtime.ErrUnavailable) {
			return state, err
		}
		r.log.WarnContext(ctx, "waiting for a job while the engine is away", "environment", environment, "job", name, "error", err)
		if err := wait(ctx, delay.next()); err != nil {
			return state, fmt.Errorf("wait for job %s of %s: %w", name, environment, err)
		}
	}
}

// waitExit returns nil once the container is not running.
func (r *Runtime) waitExit(ctx context.Context, name string) error {
	res := r.api.ContainerWait(ctx, name, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case <-res.Result:
		return nil
	case err := <-res.Error:
		if err = r.fault(err, "wait for container %s", name); err != nil && ctx.Err() == nil && !errors.Is(err, runtime.ErrUnavailable) {
			// Whatever cut the wait short, the job's own state tells what is the matter.
			err = fmt.Errorf("%w: %w", err, runtime.ErrUnavailable)
		}
		return err
	case <-ctx.Done():
		go func() { // the client's own goroutine wants to hand over one of the two
			select {
			case <-res.Result:
			case <-res.Error:
			}
		}()
		return context.Cause(ctx)
	}
}

// RemoveJob kills and removes the job with its files. Absent is fine. The container goes last: where
// there is none, no output of an earlier job is left that could pass for another's result.
func (r *Runtime) RemoveJob(ctx context.Context, environment, name string) error {
	if err := runtime.CheckJob(environment, name); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("remove job %s of %s: %w", name, environment, err) }
	all, err := r.list(ctx, labels{labelEnvironment: environment, labelJob: name})
	if err != nil {
		return fail(err)
	}
	zero := 0
	for _, c := range all {
		_, err := r.api.ContainerStop(ctx, c.ID, client.ContainerStopOptions{Timeout: &zero})
		if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			return fail(r.fault(err, "kill it"))
		}
	}
	if err := os.RemoveAll(r.jobDir(environment, name)); err != nil {
		return fail(err)
	}
	for _, c := range all {
		if err := r.remove(ctx, c.ID, r.name(environment, jobContainer(name))); err != nil {
			return fail(err)
		}
		if err := r.dropGroup(ctx, environment, c.Labels[labelGroup]); err != nil {
			return fail(err)
		}
	}
	return nil
}
