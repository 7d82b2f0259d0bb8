//go:build kube && odoo

package kube

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/rehearsal"
)

// TestRehearsals rehearses two of Acme's releases in pods, one that the old release works beside and one that it does not, and kills the
// server in the middle of a third rehearsal.
func TestRehearsals(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	a := open(ctx, t, "waybill-rehearse", "r1", "r2", "r5")
	a.ask(ctx, nil, "checkpoint", "create", stage.Tenant)

	for _, c := range []struct{ release, class, cause string }{
		{"r2", "compatible", ""},
		{"r5", "breaking", "loading_class"},
	} {
		began := time.Now()
		var r api.Rehearsal
		a.ask(ctx, &r, "rehearse", c.release, "--env", stage.Environment)
		require.NotNil(t, r.Report, r.Progress)
		report := r.Report
		t.Logf("%s in %.0f s: %s, %s; pause %s, %.1f s predicted; recovery %.1f s; the update's pod %.1f s, of which the update %.1f s", c.release, time.Since(began).Seconds(),
			report.Class, report.Cause, report.Pause, report.PredictedSeconds, report.RecoverySeconds, report.Update.JobSeconds, report.Update.Seconds)
		for _, s := range report.Steps {
			t.Logf("  %-16s %5.1f s", s.Name, s.Seconds)
		}
		assert.Equal(t, rehearsal.Proven, report.Outcome, report.Failure)
		assert.Equal(t, c.class, string(report.Class))
		assert.Contains(t, report.Cause, c.cause)
		assert.Positive(t, report.PredictedSeconds)
		assert.Positive(t, report.RecoverySeconds)
		assert.Positive(t, report.Restore.Rows)
		assert.Empty(t, report.Restore.MissingFiles)
		require.NotNil(t, report.WayBack)
		assert.Equal(t, c.class == "compatible", report.WayBack.Works)
		assert.Positive(t, report.WayBack.Views)
		require.NotNil(t, report.Timeline)
		assert.NotEmpty(t, report.Timeline.Locks, "the trace is read where the server runs")
		a.nothingOfRehearsals(ctx)
	}

	var asked api.Rehearsal
	a.ask(ctx, &asked, "rehearse", "r2", "--env", stage.Environment, "--detach")
	namespace := a.cluster.Prefix + "-0-rehearsal-" + asked.ID
	require.NoError(t, stage.Poll(ctx, 100*time.Millisecond, "the update's pod", func() (bool, error) {
		all, err := a.objects.Resource(pods).Namespace(namespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) > 0, err
	}))
	a.killServer(ctx)
	require.NoError(t, stage.Poll(ctx, 200*time.Millisecond, "the sweep", func() (bool, error) { return len(a.leftOfRehearsals(ctx)) == 0, nil }))
	a.nothingOfRehearsals(ctx)
	var list []api.Rehearsal
	a.ask(ctx, &list, "rehearsal", "list", "--limit", "1")
	assert.Equal(t, asked.ID, list[0].ID)
	assert.Equal(t, rehearsal.Unfinished, list[0].Outcome)
}

// leftOfRehearsals is what there is of any rehearsal: in the cluster, on the volume, in the data folder, and as a process of PostgreSQL.
func (a *acmeOnKube) leftOfRehearsals(ctx context.Context) (left []string) {
	a.t.Helper()
	for _, resource := range []string{"namespaces", "persistentvolumes"} {
		all, err := a.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).List(ctx, metav1.ListOptions{})
		require.NoError(a.t, err)
		for _, o := range all.Items {
			if strings.HasPrefix(o.GetName(), a.cluster.Prefix+"-0-rehearsal-") {
				left = append(left, resource+" "+o.GetName())
			}
		}
	}
	own := filepath.Join(a.cli.Data, "rehearsals")
	for _, pattern := range []string{filepath.Join(os.Getenv("WAYBILL_KUBE_VOLUME_FOLDER"), "environments", "0-*"), filepath.Join(own, "*")} {
		found, err := filepath.Glob(pattern)
		require.NoError(a.t, err)
		left = append(left, found...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(a.t, err)
	for _, p := range processes {
		if cwd, err := os.Readlink(p); err == nil && strings.HasPrefix(cwd, own) {
			left = append(left, p)
		}
	}
	return left
}

func (a *acmeOnKube) nothingOfRehearsals(ctx context.Context) {
	a.t.Helper()
	assert.Empty(a.t, a.leftOfRehearsals(ctx))
}
