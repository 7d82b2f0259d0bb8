package kube

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// scaledTo sets a count as an autoscaler of the cluster does.
func (s *apiServer) scaledTo(t *testing.T, path string, count int64) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.objects[path]
	require.NotNil(t, live)
	o := live.DeepCopy()
	require.NoError(t, unstructured.SetNestedField(o.Object, count, "spec", "replicas"))
	s.put(path, owning(kindDeployment, "scale").UpdateNoErrors(live.DeepCopy(), o, "kube-controller-manager").(*unstructured.Unstructured))
}

func (s *apiServer) object(path string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[path] == nil {
		return nil
	}
	return s.objects[path].DeepCopy()
}

// The count of pods is right when an autoscaler comes, works and goes: it falls back to none in between, is no conflict, and nothing of it
// is told as somebody else's change.
func TestCountIsHandedOver(t *testing.T) {
	s, r, told := watched(t)
	const at = "/apis/apps/v1/namespaces/waybill-production/deployments/pool-p1-web"
	const autoscaler = "/apis/autoscaling/v2/namespaces/waybill-production/horizontalpodautoscalers/pool-p1-web"
	m := r.render("production", sharedGroup)
	pool := runtime.Pool{Environment: "production", Name: "p1", Group: sharedGroup, Image: "r/i" + digest, CPUs: 2, Web: runtime.Scale{Min: 2}}
	count := func(want int64, applied bool) {
		t.Helper()
		o := s.object(at)
		got, _, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, applied, appliesReplicas(o, manager), "whether it is part of what Waybill applies")
	}
	scale := func(web runtime.Scale) {
		t.Helper()
		require.NoError(t, r.ScalePool(t.Context(), "production", "p1", web))
	}
	require.ErrorIs(t, r.ScalePool(t.Context(), "production", "p1", pool.Web), runtime.ErrNotFound)
	require.NoError(t, r.applyPool(t.Context(), m, pool))
	count(2, true)
	require.Nil(t, s.object(autoscaler))

	scale(runtime.Scale{Min: 2, Max: 8, CPU: 70})

	count(2, false)
	o := s.object(autoscaler)
	least, _, _ := unstructured.NestedInt64(o.Object, "spec", "minReplicas")
	most, _, _ := unstructured.NestedInt64(o.Object, "spec", "maxReplicas")
	require.Equal(t, []int64{2, 8}, []int64{least, most})

	s.scaledTo(t, at, 5)
	pool.Web = runtime.Scale{Min: 2, Max: 8, CPU: 70}
	require.NoError(t, r.applyPool(t.Context(), m, pool), "the pool is ensured while an autoscaler holds the count")
	count(5, false)

	scale(runtime.Scale{Min: 6, Max: 8, CPU: 70}) // a floor begins
	count(6, false)
	s.scaledTo(t, at, 7)
	scale(runtime.Scale{Min: 2, Max: 8, CPU: 70}) // and ends; the count is the autoscaler's to lower
	count(7, false)
	least, _, _ = unstructured.NestedInt64(s.object(autoscaler).Object, "spec", "minReplicas")
	require.EqualValues(t, 2, least)

	scale(runtime.Scale{Min: 3}) // the estate wants none any more
	count(3, true)
	require.Nil(t, s.object(autoscaler))
	scale(runtime.Scale{Min: 4})
	count(4, true)
	scale(runtime.Scale{Min: 2, Max: 8, CPU: 70})
	s.scaledTo(t, at, 8)
	pool.Web = runtime.Scale{Min: 1}
	require.NoError(t, r.applyPool(t.Context(), m, pool), "likewise, when the pool is ensured")
	count(1, true)

	s.by(t, "kubectl-edit", atQuota, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, "5000", "spec", "hard", "pods"))
	})
	open := await(t, told, drifted(kindQuota, "waybill", ".spec.hard.pods"))
	require.Len(t, open, 1, "only what somebody else has changed")

	// Somebody's own count of a fixed number is told, and is not overrun.
	s.by(t, "kubectl-edit", at, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, int64(9), "spec", "replicas"))
	})
	await(t, told, drifted(kindDeployment, "pool-p1-web", ".spec.replicas"))
	require.ErrorContains(t, r.ScalePool(t.Context(), "production", "p1", runtime.Scale{Min: 2}), "kubectl-edit")
	require.NoError(t, r.heal(t.Context(), objectOf(kindDeployment, m.namespace, "pool-p1-web")))
	count(1, true)

	// Beside an autoscaler it is the autoscaler's to correct, and healing leaves it alone.
	scale(runtime.Scale{Min: 2, Max: 8, CPU: 70})
	s.by(t, "kubectl-edit", at, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, int64(5), "spec", "replicas"))
	})
	s.by(t, "kubectl-edit", autoscaler, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, int64(50), "spec", "maxReplicas"))
	})
	open = await(t, told, drifted(kindAutoscaler, "pool-p1-web", ".spec.maxReplicas"))
	require.NotContains(t, open, objectOf(kindDeployment, m.namespace, "pool-p1-web"))
	require.NoError(t, r.heal(t.Context(), objectOf(kindDeployment, m.namespace, "pool-p1-web")))
	count(5, false)
	require.NoError(t, r.heal(t.Context(), objectOf(kindAutoscaler, m.namespace, "pool-p1-web")))
	await(t, told, func(open map[drift.Object]drift.Finding) bool { return len(open) == 1 }) // the quota
}

// Without knowing what a pod may use nobody can say how busy it is: then there are as many as there shall be at least.
func TestNoAutoscalerWithoutCPUs(t *testing.T) {
	m, _ := example(sharedGroup)
	for _, o := range m.pool(runtime.Pool{Environment: "production", Name: "p1", Image: "r/i" + digest, Web: runtime.Scale{Min: 3, Max: 8, CPU: 70}}) {
		require.NotEqual(t, kindAutoscaler, o.GetKind())
		if o.GetName() == "pool-p1-web" && o.GetKind() == kindDeployment {
			replicas, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			require.EqualValues(t, 3, replicas)
		}
	}
}
