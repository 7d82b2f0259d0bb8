//go:build kube

package kube

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// TestScale has a pool of several pods on a real cluster: its autoscaler is accepted and keeps what it shall, requests get to all
// pods and none fails when one goes, floors move the count, and nothing of that is drift. Nobody measures CPU here; see
// test/kube for a busy pool that grows by itself.
func TestScale(t *testing.T) {
	image := pushStandIn(t)
	r, _ := setup(t, image, func(o *Options) { o.Keeper = &memory{} })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	t.Cleanup(func() { require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "production")) })
	pool := runtime.Pool{Environment: "production", Name: "p1", Group: sharedGroup, Image: image, Workers: 2, CPUs: .5,
		Files: runtime.Files{"odoo.conf": []byte("[options]\n"), "pool.json": []byte(`{"generation": 1}`)},
		Web:   runtime.Scale{Min: 2, Max: 4, CPU: 70}}
	began := time.Now()
	state, err := r.EnsurePool(ctx, pool)
	require.NoError(t, err)
	t.Logf("two pods after %s", time.Since(began))
	require.True(t, state.Running, state.Message)
	require.Len(t, state.Bridges, 2)
	told := newNoted()
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer func() { stop(); require.NoError(t, <-ended) }()
	go func() { ended <- r.WatchDrift(watching, told) }()

	m := r.render("production", sharedGroup)
	web := poolObject("p1", roleWeb)
	look := func(kind string) *unstructured.Unstructured {
		t.Helper()
		o, err := r.of(kind, m.namespace).Get(ctx, web, metav1.GetOptions{})
		require.NoError(t, err)
		return o
	}
	number := func(o *unstructured.Unstructured, path ...string) int64 {
		n, _, err := unstructured.NestedInt64(o.Object, path...)
		require.NoError(t, err)
		return n
	}
	require.EqualValues(t, 2, number(look(kindAutoscaler), "spec", "minReplicas"))
	require.EqualValues(t, 4, number(look(kindAutoscaler), "spec", "maxReplicas"))
	require.False(t, appliesReplicas(look(kindDeployment), manager))

	// Requests to the address that the router has, each over a connection of its own, as the router does.
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, state.Bridge+"/look", nil)
		if err != nil {
			return "", err
		}
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return "", err
		}
		var seen struct{ Env []string }
		if err := json.Unmarshal(body, &seen); err != nil {
			return "", err
		}
		at := slices.IndexFunc(seen.Env, func(v string) bool { return strings.HasPrefix(v, "HOSTNAME=") })
		return strings.TrimPrefix(seen.Env[max(at, 0)], "HOSTNAME="), nil
	}
	by := map[string]int{}
	for range 100 {
		name, err := ask()
		require.NoError(t, err)
		by[name]++
	}
	t.Logf("100 requests: %v", by)
	require.Len(t, by, 2, "all requests got to one pod")

	// One goes, as when a node is emptied: nobody's request fails, and the pool is up all the while.
	var gone string
	for name := range by {
		gone = name
	}
	require.NoError(t, r.of(kindPod, m.namespace).Delete(ctx, gone, metav1.DeleteOptions{}))
	asked := 0
	require.NoError(t, until(ctx, "another pod stands for it", func() (bool, error) {
		for range 10 {
			if _, err := ask(); err != nil {
				return false, err
			}
			asked++
		}
		state, err := r.Pool(ctx, "production", "p1")
		if err != nil {
			return false, err
		}
		require.True(t, state.Running, state.Message)
		_, err = r.of(kindPod, m.namespace).Get(ctx, gone, metav1.GetOptions{})
		return apierrors.IsNotFound(err) && len(state.Bridges) == 2, nil
	}))
	t.Logf("%d requests while a pod was replaced, none failed", asked)

	// A floor begins: at once, and not when the autoscaler looks next.
	require.NoError(t, r.ScalePool(ctx, "production", "p1", runtime.Scale{Min: 3, Max: 4, CPU: 70}))
	require.EqualValues(t, 3, number(look(kindAutoscaler), "spec", "minReplicas"))
	require.EqualValues(t, 3, number(look(kindDeployment), "spec", "replicas"))
	require.NoError(t, until(ctx, "three pods serve", func() (bool, error) {
		state, err := r.Pool(ctx, "production", "p1")
		return err == nil && len(state.Bridges) == 3, err
	}))
	// The autoscaler itself keeps to it, whatever it can measure: somebody who takes pods away meets it.
	somebody, err := dynamic.NewForConfig(cluster(t))
	require.NoError(t, err)
	_, err = somebody.Resource(resourceOf(kindDeployment)).Namespace(m.namespace).Patch(ctx, web, "application/merge-patch+json", []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{FieldManager: "kubectl"}, "scale")
	require.NoError(t, err)
	began = time.Now()
	require.NoError(t, until(ctx, "the autoscaler raises the count", func() (bool, error) { return number(look(kindDeployment), "spec", "replicas") == 3, nil }))
	t.Logf("the autoscaler raised it after %s", time.Since(began))
	require.True(t, drift.Scaled(look(kindDeployment)))

	// The pool is ensured again while the autoscaler holds the count, and the floor ends.
	pool.Web.Min = 3
	_, err = r.EnsurePool(ctx, pool)
	require.NoError(t, err)
	require.EqualValues(t, 3, number(look(kindDeployment), "spec", "replicas"))
	require.NoError(t, r.ScalePool(ctx, "production", "p1", runtime.Scale{Min: 2, Max: 4, CPU: 70}))
	require.EqualValues(t, 2, number(look(kindAutoscaler), "spec", "minReplicas"))

	// The estate wants no autoscaler any more, and wants it back.
	require.NoError(t, r.ScalePool(ctx, "production", "p1", runtime.Scale{Min: 2}))
	_, err = r.of(kindAutoscaler, m.namespace).Get(ctx, web, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.EqualValues(t, 2, number(look(kindDeployment), "spec", "replicas"))
	require.True(t, appliesReplicas(look(kindDeployment), manager))
	require.NoError(t, r.ScalePool(ctx, "production", "p1", runtime.Scale{Min: 2, Max: 4, CPU: 70}))
	require.EqualValues(t, 2, number(look(kindDeployment), "spec", "replicas"), "it fell back when it was left out")

	// None of this was drift. The watch tells what is.
	people, err := r.of(kindQuota, m.namespace).Patch(ctx, quotaName, "application/merge-patch+json", []byte(`{"spec":{"hard":{"pods":"499"}}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	require.NoError(t, err)
	bounded, cancelTold := context.WithTimeout(ctx, 30*time.Second)
	defer cancelTold()
	quota := drift.Of(people)
	open, ok := told.until(bounded, func(open map[drift.Object]drift.Finding) bool { return open[quota].Drifts() })
	require.True(t, ok, "nothing is told")
	require.Len(t, open, 1, "told: %v", open)
}
