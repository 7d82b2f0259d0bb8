package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

// EnsurePool applies the pool's objects, and returns once its processes accept connections. Those made
// from something else (image, workers, limits) are replaced. On an error they stay, for a look;
// RemovePool takes them away.
func (r *Runtime) EnsurePool(ctx context.Context, pool runtime.Pool) (runtime.PoolState, error) {
	if pool.Group == "" {
		pool.Group = sharedGroup
	}
	if err := runtime.CheckPool(pool.Environment, pool.Name); err != nil {
		return runtime.PoolState{}, err
	}
	if err := runtime.CheckName("group", pool.Group); err != nil {
		return runtime.PoolState{}, err
	}
	if err := pool.Files.Check(); err != nil {
		return runtime.PoolState{}, err
	}
	if err := r.ensurePool(ctx, pool); err != nil {
		return runtime.PoolState{}, fmt.Errorf("pool %s of %s: %w", pool.Name, pool.Environment, err)
	}
	return r.Pool(ctx, pool.Environment, pool.Name)
}

func (r *Runtime) ensurePool(ctx context.Context, pool runtime.Pool) error {
	m, err := r.ensureGroup(ctx, pool.Environment, pool.Group)
	if err != nil {
		return err
	}
	wanted := processes(pool.Workers)
	if m.self, err = r.selfImage(ctx, m, poolObject(pool.Name, roleCron)); err != nil {
		return err
	}
	if m.files != nil {
		if pool.Files, err = r.withFiles(ctx, m, pool.Files); err != nil {
			return err
		}
	}
	own := labels{labelPool: pool.Name}
	if pool.Image, err = r.sameImage(ctx, m, own, pool.Image); err != nil {
		return err
	}
	if err := r.admit(ctx, m, m.poolSpec(pool, wanted[0]), pool.Image, m.self); err != nil {
		return err
	}
	if _, err := r.apply(ctx, m.secret(poolFiles(pool.Name), map[string]string{labelPool: pool.Name}, pool.Files)); err != nil {
		return err
	}
	if err := r.dropOtherRoles(ctx, m, pool.Name, wanted); err != nil {
		return err
	}
	restarted, err := r.freshen(ctx, m.namespace, own)
	if err != nil {
		return err
	}
	if err := r.applyPool(ctx, m, pool); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	errs := make([]error, len(wanted))
	for i, p := range wanted {
		g.Go(func() error {
			err := r.await(gctx, m.namespace, poolObject(pool.Name, p.role), labels{labelPool: pool.Name, labelRole: p.role}, restarted, p.port)
			if err != nil {
				errs[i] = fmt.Errorf("the %s process: %w", p.role, err)
			}
			return errs[i]
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil { // each was given up, and has its own reason
			return errors.Join(errs...)
		}
		return err
	}
	return r.arrived(ctx, m.namespace, pool.Name)
}

// sameImage is the reference that runs already where it has the same digest: a registry may be known by
// another name since, which is no reason to restart anything.
func (r *Runtime) sameImage(ctx context.Context, m render, own labels, image string) (string, error) {
	all, err := listAs[appsv1.Deployment](ctx, r, kindDeployment, m.namespace, own)
	if err != nil {
		return "", err
	}
	_, digest, ok := strings.Cut(image, "@")
	for _, d := range all {
		if have := d.Annotations[noteImage]; ok && strings.HasSuffix(have, "@"+digest) {
			return have, nil
		}
	}
	return image, nil
}

// dropOtherRoles removes a process that the pool had with another number of workers.
func (r *Runtime) dropOtherRoles(ctx context.Context, m render, pool string, wanted []process) error {
	all, err := r.list(ctx, kindDeployment, m.namespace, labels{labelPool: pool})
	if err != nil {
		return err
	}
	for _, d := range all {
		role := d.GetLabels()[labelRole]
		if slices.ContainsFunc(wanted, func(p process) bool { return p.role == role }) {
			continue
		}
		for _, kind := range []string{kindDeployment, kindService} {
			if err := r.remove(ctx, kind, m.namespace, d.GetName()); err != nil {
				return err
			}
		}
		own := labels{labelPool: pool, labelRole: role}
		if err := r.noReplicas(ctx, m.namespace, own); err != nil {
			return err
		}
		if err := r.endPods(ctx, m.namespace, own, grace*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// freshen takes away pods that have failed, so that what follows sees a start of its own and no long
// wait for the cluster's next try; of those that run it says how often they were restarted.
func (r *Runtime) freshen(ctx context.Context, namespace string, want labels) (map[string]int32, error) {
	pods, err := r.podsOf(ctx, namespace, want)
	if err != nil {
		return nil, err
	}
	restarted := map[string]int32{}
	for _, p := range pods {
		failed := p.Status.Phase == corev1.PodFailed
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			restarted[string(p.UID)+s.Name] = s.RestartCount
			// One that was begun again a moment ago may still end of what was wrong.
			again := s.RestartCount > 0 && s.State.Running != nil && (!s.Ready || time.Since(s.State.Running.StartedAt.Time) < 2*settles)
			failed = failed || again || s.State.Terminated != nil || s.State.Waiting != nil && (s.RestartCount > 0 || strings.Contains(s.State.Waiting.Reason, "Image"))
		}
		if !failed || p.DeletionTimestamp != nil {
			continue
		}
		if err := r.remove(ctx, kindPod, namespace, p.Name); err != nil {
			return nil, err
		}
		if err := r.gone(ctx, kindPod, namespace, p.Name); err != nil {
			return nil, err
		}
	}
	return restarted, nil
}

// ConfigurePool replaces the given files of a pool; files not given stay as they are. Processes are not
// restarted. It returns once every process of the pool sees the files.
func (r *Runtime) ConfigurePool(ctx context.Context, environment, pool string, files runtime.Files) error {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("configure pool %s of %s: %w", pool, environment, err) }
	if err := files.Check(); err != nil {
		return fail(err)
	}
	for {
		secrets, err := listAs[corev1.Secret](ctx, r, kindSecret, "", labels{labelEnvironment: environment, labelPool: pool})
		if err != nil {
			return fail(err)
		}
		if len(secrets) == 0 {
			return fail(fmt.Errorf("no such pool: %w", runtime.ErrNotFound))
		}
		s := secrets[0]
		all := runtime.Files{}
		for k, v := range s.Data {
			all[k] = v
		}
		for k, v := range files {
			all[k] = v
		}
		next := r.render(environment, s.Labels[labelGroup]).secret(s.Name, map[string]string{labelPool: pool}, all)
		next.SetResourceVersion(s.ResourceVersion) // another Waybill's files must not be lost
		if _, err := r.apply(ctx, next); err != nil {
			if apierrors.IsConflict(err) && len(ownerConflicts(err)) == 0 {
				continue
			}
			return fail(err)
		}
		if err := r.arrived(ctx, s.Namespace, pool); err != nil {
			return fail(err)
		}
		return nil
	}
}

// arrives is how long a changed file may take to come to a pod that runs: the kubelet looks at least
// every minute, and at once when it is told that the pod has changed.
const arrives = 90 * time.Second

// arrived returns once the witness in each running pod sees exactly what the pool's secret holds. That
// may be newer than what the caller wrote, and then is what counts.
func (r *Runtime) arrived(ctx context.Context, namespace, pool string) error {
	bounded, cancel := context.WithTimeout(ctx, arrives)
	defer cancel()
	pods, err := r.podsOf(ctx, namespace, labels{labelPool: pool})
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(bounded)
	for _, p := range pods {
		g.Go(func() error { return r.arrivedAt(gctx, p, pool) })
	}
	return g.Wait()
}

func (r *Runtime) arrivedAt(ctx context.Context, p corev1.Pod, pool string) error {
	told := time.Time{}
	return until(ctx, "pod "+p.Namespace+"/"+p.Name+" sees its files", func() (bool, error) {
		var s corev1.Secret
		if found, err := r.get(ctx, kindSecret, p.Namespace, poolFiles(pool), &s); err != nil || !found {
			return !found && err == nil, err // the pool is removed meanwhile
		}
		if p.Status.PodIP != "" && witnessed(ctx, p.Status.PodIP, s.Data) {
			return true, nil
		}
		var now corev1.Pod
		found, err := r.get(ctx, kindPod, p.Namespace, p.Name, &now)
		if err != nil {
			return false, err
		}
		// One that ends needs none.
		if !found || now.UID != p.UID || now.DeletionTimestamp != nil || now.Status.Phase == corev1.PodFailed {
			return true, nil
		}
		// One that has not begun gets the files with its start. It may have been given them already, while its image is fetched: then its
		// node looks at them again as soon as it has begun, and before it is ready.
		if now.Status.Phase != corev1.PodRunning || restarting(now) {
			return true, r.annotate(ctx, p.Namespace, p.Name, noteFiles, s.ResourceVersion)
		}
		p = now
		if time.Since(told) < 2*time.Second {
			return false, nil
		}
		told = time.Now()
		return false, r.annotate(ctx, p.Namespace, p.Name, noteFiles, s.ResourceVersion+"-"+strconv.FormatInt(told.Unix(), 36))
	})
}

func restarting(p corev1.Pod) bool {
	for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if s.State.Running == nil {
			return true
		}
	}
	return false
}

func witnessed(ctx context.Context, address string, want map[string][]byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address, strconv.Itoa(witness.Port))+"/", nil)
	if err != nil {
		return false
	}
	res, err := direct.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var seen map[string]string
	if res.StatusCode != http.StatusOK || json.NewDecoder(http.MaxBytesReader(nil, res.Body, 1<<20)).Decode(&seen) != nil || len(seen) != len(want) {
		return false
	}
	for name, content := range want {
		if seen[name] != witness.Hash(content) {
			return false
		}
	}
	return true
}

// RemovePool stops the pool's processes gracefully, up to grace, and removes them with their files.
// Absent is fine.
func (r *Runtime) RemovePool(ctx context.Context, environment, pool string, grace time.Duration) error {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("remove pool %s of %s: %w", pool, environment, err) }
	want := labels{labelEnvironment: environment, labelPool: pool}
	groups := map[string]bool{}
	for _, kind := range []string{kindAutoscaler, kindDeployment, kindService, kindDisruption, kindSecret} {
		all, err := r.list(ctx, kind, "", want)
		if err != nil {
			return fail(err)
		}
		for _, o := range all {
			groups[o.GetLabels()[labelGroup]] = true
			if kind == kindSecret { // last of all: until then another call finds its way here
				continue
			}
			of := metav1.DeletePropagationBackground
			if kind == kindDeployment { // its pods are ended below, each with the grace that was asked for
				of = metav1.DeletePropagationOrphan
			}
			if err := r.removeWith(ctx, kind, o.GetNamespace(), o.GetName(), of); err != nil {
				return fail(err)
			}
		}
	}
	for group := range groups {
		namespace := r.namespace(environment, group)
		if err := r.noReplicas(ctx, namespace, want); err != nil {
			return fail(err)
		}
		if err := r.endPods(ctx, namespace, want, grace); err != nil {
			return fail(err)
		}
		if err := r.remove(ctx, kindSecret, namespace, poolFiles(pool)); err != nil {
			return fail(err)
		}
		if err := r.dropGroup(ctx, environment, group); err != nil {
			return fail(err)
		}
	}
	return nil
}

// Pool observes a pool; runtime.ErrNotFound when no process of it is there.
func (r *Runtime) Pool(ctx context.Context, environment, pool string) (runtime.PoolState, error) {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return runtime.PoolState{}, err
	}
	all, err := r.poolStates(ctx, environment, labels{labelEnvironment: environment, labelPool: pool})
	if err != nil {
		return runtime.PoolState{}, fmt.Errorf("pool %s of %s: %w", pool, environment, err)
	}
	if len(all) == 0 {
		return runtime.PoolState{}, fmt.Errorf("pool %s of %s: %w", pool, environment, runtime.ErrNotFound)
	}
	return all[0], nil
}

// Pools observes every pool of an environment, sorted by name.
func (r *Runtime) Pools(ctx context.Context, environment string) ([]runtime.PoolState, error) {
	if err := runtime.CheckName("environment", environment); err != nil {
		return nil, err
	}
	all, err := r.poolStates(ctx, environment, labels{labelEnvironment: environment, labelPool: ""})
	if err != nil {
		return nil, fmt.Errorf("pools of %s: %w", environment, err)
	}
	return all, nil
}

func (r *Runtime) poolStates(ctx context.Context, environment string, want labels) ([]runtime.PoolState, error) {
	deployments, err := listAs[appsv1.Deployment](ctx, r, kindDeployment, "", want)
	if err != nil {
		return nil, err
	}
	services, err := listAs[corev1.Service](ctx, r, kindService, "", want)
	if err != nil {
		return nil, err
	}
	pods, err := listAs[corev1.Pod](ctx, r, kindPod, "", want)
	if err != nil {
		return nil, err
	}
	byPool := map[string]map[string]appsv1.Deployment{}
	for _, d := range deployments {
		if d.DeletionTimestamp != nil {
			continue
		}
		pool := d.Labels[labelPool]
		if byPool[pool] == nil {
			byPool[pool] = map[string]appsv1.Deployment{}
		}
		byPool[pool][d.Labels[labelRole]] = d
	}
	var states []runtime.PoolState
	for pool, of := range byPool {
		states = append(states, stateOf(pool, of, services, pods))
	}
	slices.SortFunc(states, func(a, b runtime.PoolState) int { return strings.Compare(a.Name, b.Name) })
	return states, nil
}

// stateOf looks at each process that the pool should have.
func stateOf(pool string, of map[string]appsv1.Deployment, services []corev1.Service, pods []corev1.Pod) runtime.PoolState {
	state := runtime.PoolState{Name: pool, Running: true, Upstream: router.Upstream{Pool: pool}}
	workers := 0
	for _, role := range []string{roleCron, roleWeb} { // the web process's counts: cron may not have been changed yet
		if d, ok := of[role]; ok {
			state.Image, state.Group = d.Annotations[noteImage], d.Labels[labelGroup]
			workers, _ = strconv.Atoi(d.Annotations[noteWorkers])
		}
	}
	down := func(role, why string) {
		state.Running = false
		state.Message = strings.TrimPrefix(state.Message+"; the "+role+" process "+why, "; ")
	}
	for _, p := range processes(workers) {
		d, found := of[p.role]
		switch {
		case !found:
			down(p.role, "is missing")
			continue
		case d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas == 0:
			down(p.role, whyDown(pool, p.role, pods))
		}
		for _, s := range services {
			if s.Name != d.Name || s.Namespace != d.Namespace || p.port == 0 {
				continue
			}
			at := net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(p.port))
			if p.role == roleWeb {
				state.Bridge, state.Upstream.Web = "http://"+at, at
				state.Bridges = serving(pool, p, pods)
				if workers == 0 {
					state.Upstream.Websocket = at
				}
			} else {
				state.Upstream.Websocket = at
			}
		}
	}
	return state
}

// serving are the addresses of a process's pods that are ready: a call to the service gets to one of them.
func serving(pool string, of process, pods []corev1.Pod) []string {
	var all []string
	for _, p := range pods {
		if p.Labels[labelPool] == pool && p.Labels[labelRole] == of.role && p.DeletionTimestamp == nil && p.Status.PodIP != "" && isReady(p) {
			all = append(all, "http://"+net.JoinHostPort(p.Status.PodIP, strconv.Itoa(of.port)))
		}
	}
	slices.Sort(all)
	return all
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func whyDown(pool, role string, pods []corev1.Pod) string {
	for _, p := range pods {
		if p.Labels[labelPool] != pool || p.Labels[labelRole] != role {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			switch {
			case s.State.Terminated != nil:
				return ending(s.State.Terminated)
			case s.State.Waiting != nil && s.LastTerminationState.Terminated != nil:
				return ending(s.LastTerminationState.Terminated)
			case s.State.Waiting != nil:
				return "is not made: " + s.State.Waiting.Reason + " " + s.State.Waiting.Message
			}
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return "has no node: " + c.Message
			}
		}
		return "is not ready"
	}
	return "has no pod"
}
