package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// settles is how long a process that listens nowhere is watched before it counts as up: one that cannot
// run ends at once.
const settles = 3 * time.Second

// await returns once the deployment's pods are the ones of now and accept connections. A pod that ends,
// cannot be made, has no image or no room is an error with its cause; restarted counts those restarts
// that belong to the past.
func (r *Runtime) await(ctx context.Context, namespace, deployment string, want labels, restarted map[string]int32, port int) error {
	last := errors.New("its pod has not been made yet")
	began, up := time.Now(), map[string]time.Time{}
	delay := backoff{first: 100 * time.Millisecond, most: 700 * time.Millisecond}
	for {
		done, err := r.look(ctx, namespace, deployment, want, restarted, port, began, up)
		if done {
			return nil
		}
		if fatal := new(unfit); errors.As(err, &fatal) || errors.Is(err, runtime.ErrUnavailable) || errors.Is(err, runtime.ErrNotFound) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if err := wait(ctx, delay.next()); err != nil {
			said := ""
			if pods, perr := r.podsOf(context.WithoutCancel(ctx), namespace, want); perr == nil && len(pods) > 0 {
				slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(readyLast(a), readyLast(b)) })
				said = "; it said last:\n" + r.lastWords(ctx, pods[0], false)
			}
			return fmt.Errorf("wait for deployment %s/%s to accept connections: %w; it was not ready because: %v%s", namespace, deployment, err, last, said)
		}
	}
}

// readyLast sorts pods by whose words are worth hearing.
func readyLast(p corev1.Pod) int {
	if isReady(p) {
		return 1
	}
	return 0
}

// unfit is an error that no waiting mends.
type unfit struct{ err error }

func (u *unfit) Error() string { return u.err.Error() }
func (u *unfit) Unwrap() error { return u.err }

func (r *Runtime) podsOf(ctx context.Context, namespace string, want labels) ([]corev1.Pod, error) {
	return listAs[corev1.Pod](ctx, r, kindPod, namespace, want)
}

// look says why the deployment is not up yet; nothing and no error: it is only a matter of time.
func (r *Runtime) look(ctx context.Context, namespace, deployment string, want labels, restarted map[string]int32, port int, began time.Time, up map[string]time.Time) (bool, error) {
	var d appsv1.Deployment
	found, err := r.get(ctx, kindDeployment, namespace, deployment, &d)
	switch {
	case err != nil:
		return false, err
	case !found:
		return false, fmt.Errorf("wait for deployment %s/%s: it was removed: %w", namespace, deployment, runtime.ErrNotFound)
	case d.Status.ObservedGeneration < d.Generation:
		return false, errors.New("the cluster has not taken it up yet")
	}
	short := ""
	for _, c := range d.Status.Conditions {
		if c.Type != appsv1.DeploymentReplicaFailure || c.Status != corev1.ConditionTrue {
			continue
		}
		if d.Status.UpdatedReplicas == 0 {
			return false, &unfit{fmt.Errorf("deployment %s/%s gets no pod: %s: %s", namespace, deployment, explain(c.Message), c.Message)}
		}
		short = "; it gets no more: " + explain(c.Message) + ": " + c.Message
	}
	pods, err := r.podsOf(ctx, namespace, want)
	if err != nil {
		return false, err
	}
	// One that its node has put out stays in the books for long; another stands for it already.
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	for _, p := range pods {
		if p.DeletionTimestamp == nil {
			if err := r.troubled(ctx, p, restarted, began); err != nil {
				return false, err
			}
		}
	}
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	if d.Status.UpdatedReplicas < wanted || d.Status.ReadyReplicas < wanted || int32(len(pods)) > wanted {
		for _, p := range pods {
			if port != 0 && p.Status.PodIP != "" && p.DeletionTimestamp == nil {
				if err := answersHTTP(ctx, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port))); err != nil {
					return false, err
				}
			}
		}
		return false, fmt.Errorf("%d of %d pods are ready, %d are there%s", d.Status.ReadyReplicas, wanted, len(pods), short)
	}
	if port == 0 { // it listens nowhere: it must last
		for _, p := range pods {
			if up[p.Name].IsZero() {
				up[p.Name] = time.Now()
			}
			if time.Since(up[p.Name]) < settles {
				return false, errors.New("it has only just begun")
			}
		}
		return true, nil
	}
	address, err := r.serviceAddress(ctx, namespace, deployment, port)
	if err != nil {
		return false, err
	}
	if err := dials(ctx, address); err != nil {
		return false, fmt.Errorf("its pod is ready, and the service does not answer at %s, which Waybill must reach: run it in the cluster or on a node: %w", address, err)
	}
	return true, nil
}

// troubled says what keeps a pod from running, if something does that waiting does not mend.
func (r *Runtime) troubled(ctx context.Context, p corev1.Pod, restarted map[string]int32, began time.Time) error {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable && time.Since(began) > r.opt.Patience {
			return &unfit{fmt.Errorf("no node has room for pod %s/%s for %s: %s: add a node, lower what the environment asks for, or remove pools that nobody needs", p.Namespace, p.Name, r.opt.Patience, c.Message)}
		}
	}
	if p.Status.Phase == corev1.PodFailed && p.Status.Reason != "" { // evicted, for example
		return &unfit{fmt.Errorf("pod %s/%s was ended by its node (%s): %s", p.Namespace, p.Name, p.Status.Reason, p.Status.Message)}
	}
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		if err := r.waiting(p, s); err != nil {
			return err
		}
		ended := s.State.Terminated
		if ended != nil && ended.ExitCode == 0 && s.Name == containerGate {
			continue // it has let the others begin
		}
		if ended == nil {
			ended = s.LastTerminationState.Terminated
		}
		if ended != nil && (s.State.Terminated != nil || s.RestartCount > restarted[string(p.UID)+s.Name]) {
			return &unfit{fmt.Errorf("pod %s/%s of image %s %s; it said last:\n%s", p.Namespace, p.Name, s.Image, ending(ended), r.lastWords(ctx, p, s.State.Terminated == nil))}
		}
	}
	return nil
}

// waiting names the cause for which a container is not made.
func (r *Runtime) waiting(p corev1.Pod, s corev1.ContainerStatus) error {
	w := s.State.Waiting
	if w == nil {
		return nil
	}
	image := s.Image
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if c.Name == s.Name {
			image = c.Image
		}
	}
	msg := strings.ToLower(w.Message)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(msg, part) {
				return true
			}
		}
		return false
	}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed":
		switch {
		case has("not found", "manifest unknown", "name unknown"):
			return &unfit{fmt.Errorf("pull image %s: the registry has no such image: was it built and pushed there, or cleaned up since?: %s", image, w.Message)}
		case has("unauthorized", "denied", "forbidden", "401", "403"):
			return &unfit{fmt.Errorf("pull image %s: the registry refuses: check the credentials that Waybill hands to the nodes: %s", image, w.Message)}
		case has("x509", "http response to https"):
			return &unfit{fmt.Errorf("pull image %s: the nodes do not trust the registry: give its CA, or that it speaks plain HTTP, to their container runtime: %s", image, w.Message)}
		case has("connection refused", "no such host", "timeout", "connection reset", "unreachable", "eof", "bad gateway", "unavailable", "deadline exceeded"):
			return &unfit{fmt.Errorf("pull image %s: the registry does not answer the node: %s: %w", image, w.Message, runtime.ErrUnavailable)}
		case w.Reason == "ErrImagePull" || w.Reason == "InvalidImageName" || w.Reason == "ErrImageNeverPull" || w.Reason == "SignatureValidationFailed":
			return &unfit{fmt.Errorf("pull image %s: %s", image, w.Message)}
		}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		if strings.Contains(w.Message, "executable file not found") || strings.Contains(w.Message, "no such file or directory") {
			return &unfit{fmt.Errorf("start pod %s/%s: image %s does not have its command: is it an Odoo image?: %s", p.Namespace, p.Name, image, w.Message)}
		}
		if w.Reason != "CreateContainerConfigError" || !has("not found", "sync") { // a secret of a moment ago
			return &unfit{fmt.Errorf("start pod %s/%s: %s: %s", p.Namespace, p.Name, w.Reason, w.Message)}
		}
	}
	return nil
}

// ending says in words how a container ended.
func ending(t *corev1.ContainerStateTerminated) string {
	out := "ended with exit code " + strconv.Itoa(int(t.ExitCode))
	if t.Reason == "OOMKilled" {
		out += " (killed because it ran out of memory)"
	}
	if t.Message != "" {
		out += " (" + t.Message + ")"
	}
	return out
}

// lastWords are the last lines of a pod's process, for an error; it works after ctx is done.
func (r *Runtime) lastWords(ctx context.Context, p corev1.Pod, previous bool) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	text, err := r.tail(ctx, p.Namespace, p.Name, containerApp, previous, 25, 4<<10)
	if err != nil {
		return "(its log cannot be read: " + err.Error() + ")"
	}
	if strings.TrimSpace(text) == "" {
		return "(nothing)"
	}
	return strings.TrimRight(text, "\n")
}

func isExisting(err error) bool { return apierrors.IsAlreadyExists(err) }

// serviceAddress is where the service of that name listens, inside the cluster.
func (r *Runtime) serviceAddress(ctx context.Context, namespace, name string, port int) (string, error) {
	var s corev1.Service
	found, err := r.get(ctx, kindService, namespace, name, &s)
	if err != nil {
		return "", err
	}
	if !found || s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return "", fmt.Errorf("service %s/%s has no address", namespace, name)
	}
	return net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(port)), nil
}

// direct asks pods themselves: no proxy, no connection kept.
var direct = &http.Client{
	Timeout:       5 * time.Second,
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answersHTTP is content with any answer but a server's error.
func answersHTTP(ctx context.Context, at string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/web/health", nil)
	if err != nil {
		return err
	}
	res, err := direct.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("GET http://%s/web/health: %s", at, res.Status)
	}
	return nil
}

func dials(ctx context.Context, at string) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	return conn.Close()
}

// endPods ends pods gracefully, up to grace, and returns once none is left. Whatever would make them
// anew must be gone or told to make none.
func (r *Runtime) endPods(ctx context.Context, namespace string, want labels, grace time.Duration) error {
	// Zero would take the pod from the cluster's books while its process still runs.
	seconds := max(int64((grace+time.Second-1)/time.Second), 1)
	told := map[string]bool{}
	return until(ctx, "the pods of "+namespace+" have ended", func() (bool, error) {
		pods, err := r.podsOf(ctx, namespace, want)
		if err != nil || len(pods) == 0 {
			return err == nil, err
		}
		for _, p := range pods {
			if told[p.Name] {
				continue
			}
			uid := p.UID
			err := r.of(kindPod, namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &seconds, Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return false, r.fault(err, "end pod %s/%s", namespace, p.Name)
			}
			told[p.Name] = true
		}
		return false, nil
	})
}

// noReplicas returns once nothing is left that would make the pods anew, where their deployments are being removed. The pods stay: left
// to the cluster, they would get the grace of their manifest, which nobody can shorten afterwards.
func (r *Runtime) noReplicas(ctx context.Context, namespace string, want labels) error {
	if err := until(ctx, "the deployments of "+namespace+" are gone", func() (bool, error) {
		left, err := r.list(ctx, kindDeployment, namespace, want)
		return err == nil && len(left) == 0, err
	}); err != nil {
		return err
	}
	told := map[string]bool{}
	return until(ctx, "the deployments of "+namespace+" make no more pods", func() (bool, error) {
		left, err := r.list(ctx, kindReplicaSet, namespace, want)
		for _, o := range left {
			if told[o.GetName()] {
				continue
			}
			if err := r.removeWith(ctx, kindReplicaSet, namespace, o.GetName(), metav1.DeletePropagationOrphan); err != nil {
				return false, err
			}
			told[o.GetName()] = true
		}
		return err == nil && len(left) == 0, err
	})
}
