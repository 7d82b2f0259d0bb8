//go:build engine && docker

package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
)

// The engine of the whole machine is restarted: the test has a tag of its own, and runs alone, on
// an engine that hack/setup.sh started.
func TestEngineRestart(t *testing.T) {
	requireEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	reg := newRegistry(t)
	image := reg.push(t, "standin", runtimetest.StandIn(t))
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
	pool := runtime.Pool{Environment: env.Name, Name: "p1", Group: "wholesale", Image: image, Workers: 2,
		Files: runtime.Files{"odoo.conf": []byte("[options]\n")}}
	before, err := r.EnsurePool(ctx, pool)
	require.NoError(t, err)
	job := runtime.Job{Environment: env.Name, Name: "long", Image: image, Command: []string{"odoo", "job", "until", "never"}}
	require.NoError(t, r.StartJob(ctx, job))
	done := make(chan error, 1)
	var ended runtime.JobState
	go func() {
		var err error
		ended, err = r.WaitJob(ctx, env.Name, job.Name)
		done <- err
	}()

	reg.server.Close() // nothing of this needs the registry
	restart := exec.CommandContext(ctx, filepath.Join("..", "..", "..", "hack", "setup.sh"), "restart")
	restart.Stderr = t.Output()
	require.NoError(t, restart.Run(), "this test needs an engine started by: hack/setup.sh docker")

	require.NoError(t, <-done, "the wait ended with the engine")
	require.NotZero(t, ended.ExitCode, "a job that the engine's end killed succeeded")
	require.NoError(t, r.EnsureEnvironment(ctx, env))
	after, err := r.EnsurePool(ctx, pool)
	require.NoError(t, err)
	require.True(t, after.Running, after.Message)
	require.Equal(t, before.Upstream, after.Upstream, "the router's addresses of the pool changed")
	starts, err := os.ReadFile(filepath.Join(r.DataDir(env.Name, "wholesale"), "starts-web"))
	require.NoError(t, err)
	require.Equal(t, 2, countLines(starts), "the pool came back by itself, once")

	require.NoError(t, r.StartJob(ctx, job), "a job that has ended is not started again")
	state, err := r.Job(ctx, env.Name, job.Name)
	require.NoError(t, err)
	require.False(t, state.Running)
}

func countLines(content []byte) int {
	n := 0
	for _, c := range content {
		if c == '\n' {
			n++
		}
	}
	return n
}
