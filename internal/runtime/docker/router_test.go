//go:build docker

package docker

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
	"github.com/waybill-dev/waybill/internal/selfimage"
)

// TestRealRouter runs the waybill binary itself as the router's image, in front of pools of a
// shared and of a dedicated group, and orders it about through its socket.
func TestRealRouter(t *testing.T) {
	requireEngine(t)
	binary := filepath.Join(t.TempDir(), "waybill")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/waybill-dev/waybill/cmd/waybill")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	reg := newRegistry(t)
	image, err := selfimage.PushBinary(ctx, binary, reg.host, nil, nil)
	require.NoError(t, err)
	forgetAfter(t, image)
	standin := reg.push(t, "standin", runtimetest.StandIn(t))
	r := setup(t, image).runtime
	env := runtime.Environment{Name: "production", HTTP: runtimetest.FreeAddress(t)}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		require.NoError(t, r.RemoveEnvironment(ctx, env.Name))
		left, err := r.Leftovers(ctx)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	require.NoError(t, r.EnsureEnvironment(ctx, env))
	control := r.Router(env.Name)
	started, err := control.Stats(ctx)
	require.NoError(t, err)

	table := router.Table{Environment: env.Name, Generation: 1}
	for _, group := range []string{"shared", "wholesale"} {
		state, err := r.EnsurePool(ctx, runtime.Pool{
			Environment: env.Name, Name: "p-" + group, Group: group, Image: standin, Workers: 2,
			Files: runtime.Files{"odoo.conf": []byte("[options]\n")},
		})
		require.NoError(t, err)
		table.Tenants = append(table.Tenants, router.Tenant{
			Name: group, Hosts: []string{group + ".example"}, Mode: router.Open, Stable: state.Upstream,
		})
	}
	require.NoError(t, control.Apply(ctx, table))
	for _, tenant := range table.Tenants {
		require.Equal(t, http.StatusOK, throughRouter(ctx, t, env.HTTP, tenant.Hosts[0]), tenant.Name)
	}
	require.NoError(t, r.EnsureEnvironment(ctx, env))
	stats, err := control.Stats(ctx)
	require.NoError(t, err)
	require.Equal(t, started.Started, stats.Started, "a running router was replaced")
	require.EqualValues(t, 1, stats.Generation)
	require.Len(t, stats.Tenants, 2)
	for _, tenant := range stats.Tenants {
		require.NotEmpty(t, tenant.Pools)
		require.EqualValues(t, 1, tenant.Pools[0].Requests, tenant.Name)
	}
}

func throughRouter(ctx context.Context, t *testing.T, at, host string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/web/health", nil)
	require.NoError(t, err)
	req.Host = host
	res, err := probeClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}
