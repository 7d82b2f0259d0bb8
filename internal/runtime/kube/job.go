package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/folder"
	"github.com/waybill-dev/waybill/internal/runtime/kube/results"
)

// StartJob starts the job, or does nothing when one of that name was started before, whatever became of
// it. It returns once the job's container has begun; one that cannot begin is taken away again.
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
	if err := job.Files.Check(); err != nil {
		return err
	}
	if err := r.startJob(ctx, job); err != nil {
		return fmt.Errorf("job %s of %s: %w", job.Name, job.Environment, err)
	}
	return nil
}

func (r *Runtime) startJob(ctx context.Context, job runtime.Job) error {
	m := r.render(job.Environment, job.Group)
	var j batchv1.Job
	found, err := r.get(ctx, kindJob, m.namespace, jobObject(job.Name), &j)
	if err != nil {
		return err
	}
	if !found {
		if err := r.makeJob(ctx, job); err != nil {
			return err
		}
	}
	return r.jobBegins(ctx, m, job)
}

func (r *Runtime) makeJob(ctx context.Context, job runtime.Job) error {
	m, err := r.ensureGroup(ctx, job.Environment, job.Group)
	if err != nil {
		return err
	}
	images := []string{job.Image}
	if m.files != nil {
		if job.Files, err = r.withFiles(ctx, m, job.Files); err != nil {
			return err
		}
		if m.self == "" {
			if m.self, err = r.selfImage(ctx, r.render(job.Environment, sharedGroup), routerName); err != nil {
				return err
			}
		}
	} else if err := r.owner.Make(filepath.Join(r.opt.DataDir, outPath(job.Environment, job.Name)), 0o700); err != nil {
		return err
	}
	if m.self != "" {
		images = append(images, m.self)
	}
	o := m.job(job)
	if err := r.admit(ctx, m, podSpecOf(o), images...); err != nil {
		return err
	}
	if _, err := r.apply(ctx, m.secret(jobObject(job.Name), map[string]string{labelJob: job.Name}, job.Files)); err != nil {
		return err
	}
	// Made and never changed: a job of that name is the same piece of work.
	_, err = r.of(kindJob, m.namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	if err != nil && !isExisting(err) {
		return r.fault(err, "create %s", named(o))
	}
	return nil
}

// jobBegins waits until the job's container runs or has ended.
func (r *Runtime) jobBegins(ctx context.Context, m render, job runtime.Job) error {
	began := time.Now()
	var pending error
	err := until(ctx, "its pod begins", func() (bool, error) {
		var j batchv1.Job
		found, err := r.get(ctx, kindJob, m.namespace, jobObject(job.Name), &j)
		switch {
		case err != nil:
			return false, err
		case !found || j.DeletionTimestamp != nil:
			return false, errors.New("it was removed while it began")
		}
		p, found, err := r.podOfJob(ctx, m.namespace, job.Name)
		if err != nil {
			return false, err
		}
		if err := gateSays(p); err != nil {
			return false, err
		}
		if finished(j) {
			return true, nil
		}
		if !found {
			if time.Since(began) < 15*time.Second {
				return false, nil
			}
			return false, &unfit{fmt.Errorf("the cluster makes no pod for it: %s", r.lastEvent(ctx, m.namespace, jobObject(job.Name)))}
		}
		if begun(p) {
			return true, nil
		}
		pending = r.troubled(ctx, p, nil, began)
		return false, pending
	})
	if fatal := new(unfit); errors.As(err, &fatal) {
		// Nothing half-done stays; the next call begins afresh.
		if rerr := r.removeJob(context.WithoutCancel(ctx), job.Environment, job.Name); rerr != nil {
			return errors.Join(err, rerr)
		}
	}
	return err
}

// lastEvent is what the cluster said last of an object.
func (r *Runtime) lastEvent(ctx context.Context, namespace, name string) string {
	res, err := r.api.Resource(eventsResource).Namespace(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name + ",type=Warning"})
	if err != nil || len(res.Items) == 0 {
		return "and says nothing of why; see kubectl describe -n " + namespace + " " + name
	}
	var e corev1.Event
	if err := decode(&res.Items[len(res.Items)-1], &e); err != nil {
		return err.Error()
	}
	if why := explain(e.Message); why != "" {
		return why + ": " + e.Message
	}
	return e.Message
}

func finished(j batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func (r *Runtime) podOfJob(ctx context.Context, namespace, job string) (p corev1.Pod, found bool, err error) {
	pods, err := r.podsOf(ctx, namespace, labels{labelJob: job})
	if err != nil || len(pods) == 0 {
		return p, false, err
	}
	return pods[0], true, nil
}

func containerOf(p corev1.Pod) *corev1.ContainerStatus {
	for i, s := range p.Status.ContainerStatuses {
		if s.Name == containerApp {
			return &p.Status.ContainerStatuses[i]
		}
	}
	return nil
}

func begun(p corev1.Pod) bool {
	s := containerOf(p)
	return s != nil && (s.State.Running != nil || s.State.Terminated != nil) || p.Status.Phase == corev1.PodFailed
}

// Job observes a job. It is runtime.ErrNotFound where there is none.
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

func (r *Runtime) findJob(ctx context.Context, environment, name string) (j batchv1.Job, err error) {
	all, err := listAs[batchv1.Job](ctx, r, kindJob, "", labels{labelEnvironment: environment, labelJob: name})
	if err != nil {
		return j, err
	}
	if len(all) == 0 || all[0].DeletionTimestamp != nil {
		return j, runtime.ErrNotFound
	}
	return all[0], nil
}

func (r *Runtime) jobState(ctx context.Context, environment, name string) (runtime.JobState, error) {
	j, err := r.findJob(ctx, environment, name)
	if err != nil {
		return runtime.JobState{}, err
	}
	p, found, err := r.podOfJob(ctx, j.Namespace, name)
	if err != nil {
		return runtime.JobState{}, err
	}
	if !found {
		if !finished(j) {
			return runtime.JobState{Running: true}, nil
		}
		return runtime.JobState{ExitCode: killed, Log: "the pod of the job is gone, with its node or by somebody's hand; nothing is known of how it ended"}, nil
	}
	state := runtime.JobState{Running: true}
	if state.Log, err = r.tail(ctx, p.Namespace, p.Name, containerApp, false, 2000, runtime.MaxLogBytes); err != nil {
		return state, err
	}
	s := containerOf(p)
	switch {
	case s != nil && s.State.Terminated != nil:
		t := s.State.Terminated
		state.Running, state.ExitCode, state.OOM = false, int(t.ExitCode), t.Reason == "OOMKilled"
		if t.Message != "" { // of a container that could not be started
			state.Log = strings.TrimPrefix(state.Log+"\n"+t.Message, "\n")
		}
	case p.Status.Phase == corev1.PodFailed:
		state.Running, state.ExitCode = false, killed
		state.Log = strings.TrimPrefix(state.Log+"\n"+p.Status.Reason+": "+p.Status.Message, "\n")
	}
	switch {
	case state.Running:
	case r.opt.Filestores != nil:
		return r.printed(ctx, p, state)
	default:
		state.Out, err = folder.ReadOut(filepath.Join(r.opt.DataDir, outPath(environment, name)))
	}
	return state, err
}

// printed adds what the job has written, of which a container beside it tells once the job has ended.
func (r *Runtime) printed(ctx context.Context, p corev1.Pod, state runtime.JobState) (runtime.JobState, error) {
	for _, s := range p.Status.InitContainerStatuses {
		t := s.State.Terminated
		switch {
		case s.Name != containerOut:
			continue
		case t == nil && p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil:
			state.Running = true // a moment more
			return state, nil
		case t == nil || t.ExitCode != 0: // gone with its node, or evicted
			return state, nil
		}
		log, err := r.tail(ctx, p.Namespace, p.Name, containerOut, false, 0, results.MaxLog)
		if err != nil {
			return state, err
		}
		state.Out, err = results.Parse(log)
		return state, err
	}
	return state, nil
}

// killed is the exit code of what SIGKILL has ended.
const killed = 128 + 9

// WaitJob returns when the job has ended, or when ctx is done. While the cluster is away it goes on
// waiting: a job does not end because nobody can see it.
func (r *Runtime) WaitJob(ctx context.Context, environment, name string) (runtime.JobState, error) {
	delay := backoff{first: 100 * time.Millisecond, most: 2 * time.Second}
	for {
		state, err := r.Job(ctx, environment, name)
		switch {
		case err == nil && !state.Running:
			return state, nil
		case ctx.Err() != nil:
			return state, fmt.Errorf("wait for job %s of %s: %w", name, environment, context.Cause(ctx))
		case err != nil && !errors.Is(err, runtime.ErrUnavailable):
			return state, err
		case err != nil:
			r.log.WarnContext(ctx, "waiting for a job while the cluster is away", "environment", environment, "job", name, "error", err)
		}
		if err := wait(ctx, delay.next()); err != nil {
			return state, fmt.Errorf("wait for job %s of %s: %w", name, environment, err)
		}
	}
}

// RemoveJob kills and removes the job with its files. Absent is fine. The job itself goes last: where
// there is none, no output of an earlier one is left that could pass for another's result.
func (r *Runtime) RemoveJob(ctx context.Context, environment, name string) error {
	if err := runtime.CheckJob(environment, name); err != nil {
		return err
	}
	if err := r.removeJob(ctx, environment, name); err != nil {
		return fmt.Errorf("remove job %s of %s: %w", name, environment, err)
	}
	return nil
}

func (r *Runtime) removeJob(ctx context.Context, environment, name string) error {
	j, err := r.findJob(ctx, environment, name)
	absent := errors.Is(err, runtime.ErrNotFound)
	if err != nil && !absent {
		return err
	}
	if !absent {
		if err := r.endPods(ctx, j.Namespace, labels{labelJob: name}, 0); err != nil {
			return err
		}
	}
	if r.opt.Filestores == nil {
		if err := os.RemoveAll(filepath.Join(r.opt.DataDir, jobPath(environment, name))); err != nil {
			return err
		}
	}
	if absent {
		return nil
	}
	for _, kind := range []string{kindSecret, kindJob} {
		if err := r.remove(ctx, kind, j.Namespace, j.Name); err != nil {
			return err
		}
		if err := r.gone(ctx, kind, j.Namespace, j.Name); err != nil {
			return err
		}
	}
	return r.dropGroup(ctx, environment, j.Labels[labelGroup])
}
