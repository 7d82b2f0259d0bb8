//go:build odoo && docker

package docker

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
)

// TestOdooPool starts the processes of a pool from a real Odoo image, without any database: this
// says that commands, user, mounts and probes are right for Odoo.
func TestOdooPool(t *testing.T) {
	requireEngine(t)
	image := os.Getenv("WAYBILL_TEST_BASE")
	require.NotEmpty(t, image, "this test needs WAYBILL_TEST_BASE, the reference of an Odoo image that the engine has or can pull (make base makes one)")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	standin := newRegistry(t).push(t, "standin", runtimetest.StandIn(t))
	r := setup(t, standin).runtime
	env := runtime.Environment{Name: "production", HTTP: runtimetest.FreeAddress(t)}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		require.NoError(t, r.RemoveEnvironment(ctx, env.Name))
		left, err := r.Leftovers(ctx)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	require.NoError(t, r.EnsureEnvironment(ctx, env))

	conf := []byte(`[options]
data_dir = /var/lib/odoo
db_host = 127.0.0.1
db_port = 1
db_user = nobody
list_db = False
http_port = 8069
gevent_port = 8072
`)
	for name, workers := range map[string]int{"threaded": 0, "workers": 2} {
		pool := runtime.Pool{Environment: env.Name, Name: name, Image: image, Workers: workers, Files: runtime.Files{"odoo.conf": conf}}
		state, err := r.EnsurePool(ctx, pool)
		require.NoError(t, err, name)
		require.True(t, state.Running, state.Message)
		for _, upstream := range []string{state.Upstream.Web, state.Upstream.Websocket} {
			requireStatus(ctx, t, "http://"+env.HTTP+"/dial/"+upstream, http.StatusOK)
		}
		requireStatus(ctx, t, state.Bridge+"/web/health", http.StatusOK)
		require.DirExists(t, filepath.Join(r.DataDir(env.Name, "shared"), "sessions"), "Odoo does not keep its data in the mounted folder")
		began := time.Now()
		require.NoError(t, r.RemovePool(ctx, env.Name, name, time.Minute))
		require.Less(t, time.Since(began), 50*time.Second, "Odoo did not stop by itself")
	}

	job := runtime.Job{Environment: env.Name, Name: "version", Image: image, Command: []string{"odoo", "--version"}}
	require.NoError(t, r.StartJob(ctx, job))
	ended, err := r.WaitJob(ctx, env.Name, job.Name)
	require.NoError(t, err)
	require.Zero(t, ended.ExitCode, ended.Log)
	require.Contains(t, ended.Log, "Odoo")
}

func requireStatus(ctx context.Context, t *testing.T, url string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := probeClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, status, res.StatusCode, url)
}
