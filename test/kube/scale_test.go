//go:build kube && odoo

package kube

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// TestBusyPoolGrows has more people come than one pod was made for: the cluster's autoscaler adds one, which takes its share, and takes one
// away when they have gone home. Nobody's request fails. It takes a metrics server, and seven minutes, of which the autoscaler
// waits five before it believes that people are gone.
func TestBusyPoolGrows(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	a := openOn(ctx, t, "waybill-busy", func(folder string) {
		file := filepath.Join(folder, "production.yaml")
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		before := "workers: 2\n"
		require.Equal(t, 1, strings.Count(string(content), before))
		content = []byte(strings.Replace(string(content), before, before+"resources: {cpus: 1, memory_gib: 2}\nscale:\n  web: {min: 1, max: 2, cpu: 50}\n", 1))
		require.NoError(t, os.WriteFile(file, content, 0o644))
		git := exec.CommandContext(ctx, "git", "-C", folder, "-c", "user.name=Acme IT", "-c", "user.email=it@acme.example", "commit", "-q", "--no-gpg-sign", "-am", "As many pods as people need")
		out, err := git.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}, "r1")
	require.Len(t, a.webPods(ctx), 1)
	ledger, err := client.OpenLedger(filepath.Join(t.TempDir(), "orders.jsonl"))
	require.NoError(t, err)
	defer ledger.Close()
	crew := func(people int, pace time.Duration, prefix string) *client.Crew {
		c := &client.Crew{Site: a.site, Login: stage.Clerk, Password: a.initial.Clerk, People: people, Pace: pace, Goods: a.initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: prefix}
		require.NoError(t, c.Start(t.Context()))
		t.Cleanup(func() { _ = c.Stop() })
		return c
	}
	night := crew(1, 10*time.Second, "NIGHT") // somebody is always there
	// What is measured of the start itself must not be what makes it grow.
	require.NoError(t, stage.Poll(ctx, time.Second, "the autoscaler to find one pod enough", func() (bool, error) {
		used, known := a.uses(ctx)
		return known && used < 200, nil
	}))
	require.Len(t, a.webPods(ctx), 1)
	day := crew(10, 3*time.Second, "DAY")
	began := time.Now()
	first := a.webPods(ctx)
	count := func(want int, what string) (now map[string]bool) {
		t.Helper()
		err := stage.Poll(ctx, time.Second, what, func() (bool, error) {
			now = a.webPods(ctx)
			return len(now) == want, nil
		})
		require.NoError(t, err, a.autoscaler(t.Context()))
		used, _ := a.uses(ctx)
		t.Logf("%s after %.0f s; one uses %d thousandths of a processor of the 500 that are meant; the autoscaler: %s", what, time.Since(began).Seconds(), used, a.autoscaler(ctx))
		return now
	}
	grown := count(2, "two pods")
	var second string
	for name := range grown {
		if !first[name] {
			second = name
		}
	}
	require.NotEmpty(t, second)
	config, err := clientcmd.BuildConfigFromFlags("", a.cluster.Kubeconfig)
	require.NoError(t, err)
	logs, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	require.NoError(t, stage.Poll(ctx, time.Second, "people's requests in the second pod", func() (bool, error) {
		said, err := logs.CoreV1().Pods(a.namespace()).GetLogs(second, &corev1.PodLogOptions{Container: "app"}).DoRaw(ctx)
		return err == nil && strings.Count(string(said), "/web/dataset/call_kw") >= 20, nil
	}))
	t.Logf("the second pod has its share after %.0f s", time.Since(began).Seconds())

	require.NoError(t, day.Stop())
	began = time.Now()
	count(1, "one pod again")
	_, before := night.Orders()
	require.NoError(t, stage.Poll(ctx, time.Second, "who stayed to ship", func() (bool, error) {
		_, shipped := night.Orders()
		return shipped >= before+3, nil
	}))
	require.NoError(t, night.Stop())
	found, err := ledger.Audit(ctx, a.cluster.DatabaseURL(a.site.Database))
	require.NoError(t, err)
	require.NoError(t, found.Err())
	busy, quiet := day.Tally.Since(0), night.Tally.Since(0)
	t.Logf("%d orders looked for, %d lost; by day %d requests, %d failed; by night %d, %d failed", found.Checked, found.Missing(), busy.Requests, busy.Failed, quiet.Requests, quiet.Failed)
	assert.Zero(t, busy.Failed)
	assert.Zero(t, quiet.Failed)
}

// webPods are the pods that take people's requests and are not about to end.
func (a *acmeOnKube) webPods(ctx context.Context) map[string]bool {
	a.t.Helper()
	all, err := a.objects.Resource(pods).Namespace(a.namespace()).List(ctx, metav1.ListOptions{LabelSelector: poolLabel + "," + roleLabel + "=web"})
	require.NoError(a.t, err)
	names := map[string]bool{}
	for _, p := range all.Items {
		if p.GetDeletionTimestamp() == nil {
			names[p.GetName()] = true
		}
	}
	return names
}

// autoscalers are the cluster's, of production.
func (a *acmeOnKube) autoscalers(ctx context.Context) []autoscalingv2.HorizontalPodAutoscaler {
	a.t.Helper()
	all, err := a.objects.Resource(autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers")).Namespace(a.namespace()).List(ctx, metav1.ListOptions{})
	require.NoError(a.t, err)
	typed := make([]autoscalingv2.HorizontalPodAutoscaler, len(all.Items))
	for i, o := range all.Items {
		require.NoError(a.t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed[i]))
	}
	return typed
}

// uses is what one of the pool's pods uses by the autoscaler's last measurement, in thousandths of a processor.
func (a *acmeOnKube) uses(ctx context.Context) (milli int64, known bool) {
	a.t.Helper()
	for _, h := range a.autoscalers(ctx) {
		for _, m := range h.Status.CurrentMetrics {
			if c := m.ContainerResource; c != nil && c.Current.AverageValue != nil {
				return c.Current.AverageValue.MilliValue(), true
			}
		}
	}
	return 0, false
}

// autoscaler is what it says of itself, for readers.
func (a *acmeOnKube) autoscaler(ctx context.Context) string {
	a.t.Helper()
	var said []string
	for _, h := range a.autoscalers(ctx) {
		for _, c := range h.Status.Conditions {
			said = append(said, c.Message)
		}
	}
	return strings.Join(said, "; ")
}
