package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8s "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// The kinds of objects that are made or looked at.
const (
	kindNamespace    = "Namespace"
	kindNode         = "Node"
	kindVolume       = "PersistentVolume"
	kindClaim        = "PersistentVolumeClaim"
	kindDeployment   = "Deployment"
	kindReplicaSet   = "ReplicaSet"
	kindJob          = "Job"
	kindPod          = "Pod"
	kindService      = "Service"
	kindSecret       = "Secret"
	kindConfigMap    = "ConfigMap"
	kindAccount      = "ServiceAccount"
	kindQuota        = "ResourceQuota"
	kindLimits       = "LimitRange"
	kindPolicy       = "NetworkPolicy"
	kindDisruption   = "PodDisruptionBudget"
	kindAutoscaler   = "HorizontalPodAutoscaler"
	kindAdmission    = "ValidatingAdmissionPolicy"
	kindBinding      = "ValidatingAdmissionPolicyBinding"
	kindIngressRoute = "IngressRoute"
	kindMiddleware   = "Middleware"
	kindCertificate  = "Certificate"
)

type kindInfo struct {
	group, version, plural string
	cluster                bool // not in a namespace
}

var resources = map[string]kindInfo{
	kindNamespace:    {"", "v1", "namespaces", true},
	kindNode:         {"", "v1", "nodes", true},
	kindVolume:       {"", "v1", "persistentvolumes", true},
	kindClaim:        {"", "v1", "persistentvolumeclaims", false},
	kindDeployment:   {"apps", "v1", "deployments", false},
	kindReplicaSet:   {"apps", "v1", "replicasets", false},
	kindJob:          {"batch", "v1", "jobs", false},
	kindPod:          {"", "v1", "pods", false},
	kindService:      {"", "v1", "services", false},
	kindSecret:       {"", "v1", "secrets", false},
	kindConfigMap:    {"", "v1", "configmaps", false},
	kindAccount:      {"", "v1", "serviceaccounts", false},
	kindQuota:        {"", "v1", "resourcequotas", false},
	kindLimits:       {"", "v1", "limitranges", false},
	kindPolicy:       {"networking.k8s.io", "v1", "networkpolicies", false},
	kindDisruption:   {"policy", "v1", "poddisruptionbudgets", false},
	kindAutoscaler:   {"autoscaling", "v2", "horizontalpodautoscalers", false},
	kindAdmission:    {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", true},
	kindBinding:      {"admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", true},
	kindIngressRoute: {"traefik.io", "v1alpha1", "ingressroutes", false},
	kindMiddleware:   {"traefik.io", "v1alpha1", "middlewares", false},
	kindCertificate:  {"cert-manager.io", "v1", "certificates", false},
}

func (r *Runtime) of(kind, namespace string) dynamic.ResourceInterface {
	res := resources[kind]
	all := r.api.Resource(schema.GroupVersionResource{Group: res.group, Version: res.version, Resource: res.plural})
	if res.cluster || namespace == "" {
		return all
	}
	return all.Namespace(namespace)
}

// object turns a typed object into what is applied: without a status, and without empty times.
func object(typed any) *unstructured.Unstructured {
	content, err := k8s.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		panic(fmt.Sprintf("an object of our own making cannot be converted: %v", err))
	}
	delete(content, "status")
	prune(content)
	return &unstructured.Unstructured{Object: content}
}

// prune takes out nulls, which would claim a field for nobody's benefit.
func prune(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e == nil {
				delete(v, k)
				continue
			}
			prune(e)
		}
	case []any:
		for _, e := range v {
			prune(e)
		}
	}
}

func named(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// apply makes the fields of the object as they are given, and leaves those of others alone. A field
// that another manager has set to something else is an error: nobody's decision is overrun.
func (r *Runtime) apply(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	defer r.hands.put(drift.Of(o))()
	for try := 0; ; try++ {
		applied, err := r.of(o.GetKind(), o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager})
		if err != nil && try < 5 && apierrors.IsConflict(err) && len(ownerConflicts(err)) == 0 && o.GetResourceVersion() == "" {
			continue // two of us at once
		}
		if err != nil {
			return nil, r.fault(err, "apply %s", named(o))
		}
		return applied, r.keep(ctx, o, applied)
	}
}

func (r *Runtime) applyAll(ctx context.Context, all ...*unstructured.Unstructured) error {
	for _, o := range all {
		if _, err := r.apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// get returns the object, or found false.
func (r *Runtime) get(ctx context.Context, kind, namespace, name string, into any) (found bool, err error) {
	o, err := r.of(kind, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, r.fault(err, "look up %s %s/%s", kind, namespace, name)
	}
	return true, decode(o, into)
}

func decode(o *unstructured.Unstructured, into any) error {
	if u, ok := into.(*unstructured.Unstructured); ok {
		*u = *o
		return nil
	}
	if err := k8s.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		return fmt.Errorf("read %s: %w", named(o), err)
	}
	return nil
}

var eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}

// list returns the objects of this Waybill that carry the labels, in one namespace or, with "", in all
// of its own: it asks for nothing of other people's.
func (r *Runtime) list(ctx context.Context, kind, namespace string, want labels) ([]unstructured.Unstructured, error) {
	if namespace == "" && !resources[kind].cluster {
		own := labels{}
		if environment := want[labelEnvironment]; environment != "" {
			own[labelEnvironment] = environment
		}
		namespaces, err := r.list(ctx, kindNamespace, "", own)
		if err != nil {
			return nil, err
		}
		var all []unstructured.Unstructured
		for _, n := range namespaces {
			some, err := r.list(ctx, kind, n.GetName(), want)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		return all, nil
	}
	res, err := r.of(kind, namespace).List(ctx, metav1.ListOptions{LabelSelector: want.selector(r.opt.Prefix)})
	if err != nil {
		return nil, r.fault(err, "list %s", resources[kind].plural)
	}
	slices.SortFunc(res.Items, func(a, b unstructured.Unstructured) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return res.Items, nil
}

func listAs[T any](ctx context.Context, r *Runtime, kind, namespace string, want labels) ([]T, error) {
	all, err := r.list(ctx, kind, namespace, want)
	if err != nil {
		return nil, err
	}
	typed := make([]T, len(all))
	for i := range all {
		if err := decode(&all[i], &typed[i]); err != nil {
			return nil, err
		}
	}
	return typed, nil
}

// remove deletes the object and what it owns. Absent is fine. It does not wait.
func (r *Runtime) remove(ctx context.Context, kind, namespace, name string) error {
	return r.removeWith(ctx, kind, namespace, name, metav1.DeletePropagationBackground)
}

// removeWith also says what becomes of what the object has made.
func (r *Runtime) removeWith(ctx context.Context, kind, namespace, name string, of metav1.DeletionPropagation) error {
	if err := r.forget(ctx, kind, namespace, name); err != nil {
		return err
	}
	err := r.of(kind, namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &of})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return r.fault(err, "delete %s %s/%s", kind, namespace, name)
}

// annotate sets an annotation of a pod; the kubelet then looks at the pod at once.
func (r *Runtime) annotate(ctx context.Context, namespace, pod, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return err
	}
	_, err = r.of(kindPod, namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return r.fault(err, "annotate pod %s/%s", namespace, pod)
}

// tail returns the end of what a pod's container said, at most so many bytes. Nothing said, or no
// container yet, is empty.
func (r *Runtime) tail(ctx context.Context, namespace, pod, container string, previous bool, lines, most int) (string, error) {
	at, err := url.Parse(r.opt.Config.Host)
	if err != nil || at.Host == "" {
		if at, err = url.Parse("https://" + r.opt.Config.Host); err != nil {
			return "", err
		}
	}
	at = at.JoinPath("api/v1/namespaces", namespace, "pods", pod, "log")
	query := url.Values{"container": {container}, "previous": {fmt.Sprint(previous)}}
	if lines > 0 {
		query.Set("tailLines", fmt.Sprint(lines))
	}
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", err
	}
	res, err := r.plain.Do(req)
	if err != nil {
		return "", r.fault(err, "read the log of pod %s/%s", namespace, pod)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		switch res.StatusCode {
		case http.StatusNotFound, http.StatusBadRequest: // no such pod any more; its container is still being made
			return "", nil
		case http.StatusForbidden:
			status := &metav1.Status{}
			if json.Unmarshal(body, status) == nil {
				return "", r.fault(&apierrors.StatusError{ErrStatus: *status}, "read the log of pod %s/%s", namespace, pod)
			}
		}
		return "", fmt.Errorf("read the log of pod %s/%s: %s: %s", namespace, pod, res.Status, bytes.TrimSpace(body))
	}
	end := &runtime.Tail{Most: most}
	if _, err := io.Copy(end, res.Body); err != nil {
		return "", r.fault(err, "read the log of pod %s/%s", namespace, pod)
	}
	return strings.ToValidUTF8(string(end.Bytes()), "\uFFFD"), nil
}

// wait waits d or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// backoff is a delay that doubles from first to most.
type backoff struct{ first, most, now time.Duration }

func (b *backoff) next() time.Duration {
	if b.now == 0 {
		b.now = b.first
	} else {
		b.now = min(2*b.now, b.most)
	}
	return b.now
}

// until asks again and again, ever less often, until done; with ctx it ends, telling what it waited for.
func until(ctx context.Context, what string, ask func() (done bool, err error)) error {
	delay := backoff{first: 50 * time.Millisecond, most: time.Second}
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		if err := wait(ctx, delay.next()); err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}
