package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// The count of a process's pods is Waybill's where it is fixed, and stands in what is applied. Where an autoscaler moves it, it does
// not: it would be a conflict each time. Whoever leaves out a field that nobody else has applied sets it back to its default, so the count
// is handed over to another manager first, and taken back from the autoscaler once that is gone.

// autoscaled says whether an autoscaler counts the pods of a pool's web process. It needs to know what one may use.
func autoscaled(web runtime.Scale, cpus float64) bool { return web.Max > 0 && cpus > 0 }

func least(web runtime.Scale) int32 { return int32(max(web.Min, 1)) }

// replicas is the count that is applied; nil: it is an autoscaler's. The others have one: a process for WebSockets holds thousands of
// people, and more than one that takes scheduled actions would only be more of them at a time, since each takes what the others leave.
func replicas(pool runtime.Pool, role string) *int32 {
	switch {
	case role != roleWeb:
		return ptr(int32(1))
	case autoscaled(pool.Web, pool.CPUs):
		return nil
	}
	return ptr(least(pool.Web))
}

// autoscaler keeps the pods of a pool's web process busy, and not too busy. It counts what the process itself uses, of what it may: its
// request is a quarter of that.
func (m render) autoscaler(pool string, web runtime.Scale, cpus float64) *unstructured.Unstructured {
	name := poolObject(pool, roleWeb)
	h := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: kindAutoscaler}, ObjectMeta: m.meta(name, map[string]string{labelPool: pool, labelRole: roleWeb}),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kindDeployment, Name: name},
			MinReplicas:    ptr(least(web)), MaxReplicas: max(int32(web.Max), least(web)),
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
				Name: corev1.ResourceCPU, Container: containerApp,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(max(int64(cpus*float64(web.CPU)*10), 1), resource.DecimalSI)},
			}}},
		},
	}
	return object(h)
}

// applyPool applies a pool's objects, with the count of its web process right throughout.
func (r *Runtime) applyPool(ctx context.Context, m render, pool runtime.Pool) error {
	name := poolObject(pool.Name, roleWeb)
	auto := autoscaled(pool.Web, pool.CPUs)
	if err := r.handOver(ctx, m.namespace, name, auto, least(pool.Web)); err != nil {
		return err
	}
	if err := r.applyAll(ctx, m.pool(pool)...); err != nil || !auto {
		return err
	}
	return r.atLeast(ctx, m.namespace, name, least(pool.Web))
}

// ScalePool makes the count of the pool's web pods what it shall be from now on. Nothing is restarted, and nothing else is changed: a pool
// that runs stays as it was made, also by an earlier Waybill. It does not wait for pods.
func (r *Runtime) ScalePool(ctx context.Context, environment, pool string, web runtime.Scale) error {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return err
	}
	if err := r.scalePool(ctx, environment, pool, web); err != nil {
		return fmt.Errorf("scale pool %s of %s: %w", pool, environment, err)
	}
	return nil
}

func (r *Runtime) scalePool(ctx context.Context, environment, pool string, web runtime.Scale) error {
	found, err := r.list(ctx, kindDeployment, "", labels{labelEnvironment: environment, labelPool: pool, labelRole: roleWeb})
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].GetDeletionTimestamp() != nil {
		return fmt.Errorf("no such pool: %w", runtime.ErrNotFound)
	}
	live := &found[0]
	var d appsv1.Deployment
	if err := decode(live, &d); err != nil {
		return err
	}
	cpus := cpusOf(d)
	auto, fixed := autoscaled(web, cpus), appliesReplicas(live, manager)
	if auto == fixed || !auto && *d.Spec.Replicas != least(web) {
		if err := r.handOver(ctx, d.Namespace, d.Name, auto, least(web)); err != nil {
			return err
		}
		if err := r.redeclare(ctx, drift.Of(live), func(manifest *unstructured.Unstructured) {
			unstructured.RemoveNestedField(manifest.Object, "spec", "replicas")
			if !auto {
				_ = unstructured.SetNestedField(manifest.Object, int64(least(web)), "spec", "replicas")
			}
		}); err != nil || !auto {
			return err
		}
	}
	if !auto {
		return nil
	}
	m := r.render(environment, d.Labels[labelGroup])
	if _, err := r.apply(ctx, m.autoscaler(pool, web, cpus)); err != nil {
		return err
	}
	return r.atLeast(ctx, d.Namespace, d.Name, least(web))
}

func cpusOf(d appsv1.Deployment) float64 {
	for _, c := range d.Spec.Template.Spec.Containers {
		if limit, bounded := c.Resources.Limits[corev1.ResourceCPU]; bounded && c.Name == containerApp {
			return float64(limit.MilliValue()) / 1000
		}
	}
	return 0
}

// redeclare applies what was declared of an object with a change of it. What is there is not asked: it may be as somebody else has left it.
func (r *Runtime) redeclare(ctx context.Context, o drift.Object, change func(*unstructured.Unstructured)) error {
	if r.opt.Keeper == nil {
		return errors.New("nothing keeps what was declared")
	}
	scope, err := r.scope(ctx)
	if err != nil {
		return err
	}
	declared, kept, err := r.opt.Keeper.KeptOne(ctx, scope, o)
	if err != nil {
		return err
	}
	if !kept {
		return fmt.Errorf("%s was made by a Waybill that did not keep what it declared; the pool of the next promotion can be scaled", o)
	}
	manifest := &unstructured.Unstructured{}
	if err := json.Unmarshal(declared.Manifest, &manifest.Object); err != nil {
		return fmt.Errorf("what was declared of %s does not parse: %w", o, err)
	}
	change(manifest)
	_, err = r.apply(ctx, manifest)
	return err
}

// handOver prepares a deployment that is there for a manifest with or without the count: nobody's count falls back to one, and that of an
// autoscaler, which goes, is no conflict.
func (r *Runtime) handOver(ctx context.Context, namespace, name string, auto bool, count int32) error {
	if !auto {
		if err := r.remove(ctx, kindAutoscaler, namespace, name); err != nil {
			return err
		}
	}
	var live unstructured.Unstructured
	found, err := r.get(ctx, kindDeployment, namespace, name, &live)
	if err != nil || !found {
		return err
	}
	now, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	switch {
	case auto && appliesReplicas(&live, manager):
		return r.setReplicas(ctx, namespace, name, now)
	case !auto && now != int64(count) && (holdsReplicas(&live, "kube-controller-manager", "scale") || appliesReplicas(&live, counter)):
		return r.setReplicas(ctx, namespace, name, int64(count))
	}
	return nil
}

// atLeast raises the count at once: the autoscaler looks now and then only.
func (r *Runtime) atLeast(ctx context.Context, namespace, name string, count int32) error {
	var live unstructured.Unstructured
	found, err := r.get(ctx, kindDeployment, namespace, name, &live)
	if err != nil || !found {
		return err
	}
	if now, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); now >= int64(count) {
		return nil
	}
	return r.setReplicas(ctx, namespace, name, int64(count))
}

// setReplicas sets a count, which an autoscaler moves as it likes, and keeps it where whoever applied it so far leaves it out.
func (r *Runtime) setReplicas(ctx context.Context, namespace, name string, count int64) error {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": kindDeployment,
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": map[string]any{"replicas": count}}}
	defer r.hands.put(drift.Of(o))()
	_, err := r.of(kindDeployment, namespace).Apply(ctx, name, o, metav1.ApplyOptions{FieldManager: counter, Force: true})
	return r.fault(err, "set how many pods %s has", named(o))
}

// appliesReplicas says whether a manager has applied a deployment's count of replicas, and still holds it.
func appliesReplicas(o *unstructured.Unstructured, by string) bool {
	return holdsReplicas(o, by, "")
}

// holdsReplicas says whether a manager holds it: of the object itself by an apply, of a subresource by whatever it does.
func holdsReplicas(o *unstructured.Unstructured, by, subresource string) bool {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != by || entry.Subresource != subresource || subresource == "" && entry.Operation != metav1.ManagedFieldsOperationApply || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) == nil && fields.Spec["f:replicas"] != nil {
			return true
		}
	}
	return false
}
