package runtimetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

func jobSucceeds(ctx context.Context, t *testing.T, b Bundle) {
	job := b.job("update-1", "ok")
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	state, err := b.Runtime.WaitJob(ctx, job.Environment, job.Name)
	require.NoError(t, err)
	require.False(t, state.Running)
	require.Zero(t, state.ExitCode, state.Log)
	require.False(t, state.OOM)
	require.Contains(t, state.Log, "job begins: ok")
	require.Equal(t, runtime.Files{
		"result.json": []byte(`{"promotion": "p1"}`),
		"role":        []byte("update"),
	}, state.Out, "regular files only, links not followed")

	// The same piece of work again: it is observed, not repeated.
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	again, err := b.Runtime.Job(ctx, job.Environment, job.Name)
	require.NoError(t, err)
	require.Equal(t, state, again)

	require.NoError(t, b.Runtime.RemoveJob(ctx, job.Environment, job.Name))
	require.NoError(t, b.Runtime.RemoveJob(ctx, job.Environment, job.Name), "a second time")
	_, err = b.Runtime.Job(ctx, job.Environment, job.Name)
	require.ErrorIs(t, err, runtime.ErrNotFound)

	// Another job of that name begins with nothing of the first.
	job.Command = []string{"odoo", "job", "nothing"}
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	state, err = b.Runtime.WaitJob(ctx, job.Environment, job.Name)
	require.NoError(t, err)
	require.Empty(t, state.Out)
}

func jobFails(ctx context.Context, t *testing.T, b Bundle) {
	job := b.job("update-1", "fail", "11")
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	state, err := b.Runtime.WaitJob(ctx, job.Environment, job.Name)
	require.NoError(t, err, "a job that fails is no error of the wait")
	require.Equal(t, 11, state.ExitCode)
	require.Contains(t, state.Log, "job fails as it was told")
	require.Empty(t, state.Out)

	missing := b.job("update-2")
	missing.Command = []string{"no-such-command"}
	require.NoError(t, b.Runtime.StartJob(ctx, missing))
	state, err = b.Runtime.WaitJob(ctx, missing.Environment, missing.Name)
	require.NoError(t, err)
	require.NotZero(t, state.ExitCode)
	require.Contains(t, state.Log, "no-such-command")
}

func jobOutputIsBounded(ctx context.Context, t *testing.T, b Bundle) {
	big, chatter := b.job("big", "big"), b.job("chatter", "chatter")
	for _, job := range []runtime.Job{big, chatter} {
		require.NoError(t, b.Runtime.StartJob(ctx, job))
	}
	state, err := b.Runtime.WaitJob(ctx, big.Environment, big.Name)
	require.NoError(t, err)
	require.Len(t, state.Out["big"], 1<<20)
	state, err = b.Runtime.WaitJob(ctx, chatter.Environment, chatter.Name)
	require.NoError(t, err)
	require.LessOrEqual(t, len(state.Log), 64<<10)
	require.Greater(t, len(state.Log), 32<<10)
	require.True(t, strings.HasPrefix(lastLine(state.Log), "4999 "), "the end of the log is missing: %q", lastLine(state.Log))
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

func jobRunsOutOfMemory(ctx context.Context, t *testing.T, b Bundle) {
	for try := 1; ; try++ {
		job := b.job(fmt.Sprintf("oom-%d", try), "oom")
		job.Memory = 64 << 20
		require.NoError(t, b.Runtime.StartJob(ctx, job))
		state, err := b.Runtime.WaitJob(ctx, job.Environment, job.Name)
		require.NoError(t, err)
		require.Equal(t, 128+int(syscall.SIGKILL), state.ExitCode)
		if state.OOM {
			return
		}
		require.Less(t, try, 5, "the engine sees none of them") // one by itself it may miss: runtime.JobState
	}
}

func hangingJobIsRemoved(ctx context.Context, t *testing.T, b Bundle) {
	job := b.job("hang", "hang")
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := b.Runtime.WaitJob(short, job.Environment, job.Name)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	state, err := b.Runtime.Job(ctx, job.Environment, job.Name)
	require.NoError(t, err)
	require.True(t, state.Running)
	require.NoError(t, b.Runtime.RemoveJob(ctx, job.Environment, job.Name))
	_, err = b.Runtime.Job(ctx, job.Environment, job.Name)
	require.ErrorIs(t, err, runtime.ErrNotFound)
}

func waitSurvivesALostConnection(ctx context.Context, t *testing.T, b Bundle) {
	job := b.job("long", "until", "go-on")
	require.NoError(t, b.Runtime.StartJob(ctx, job))
	type outcome struct {
		state runtime.JobState
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		state, err := b.Runtime.WaitJob(ctx, job.Environment, job.Name)
		done <- outcome{state, err}
	}()
	eventually(ctx, t, "the job runs", func() (bool, string) {
		state, err := b.Runtime.Job(ctx, job.Environment, job.Name)
		require.NoError(t, err)
		return state.Running && strings.Contains(state.Log, "job begins"), state.Log
	})
	reconnect := b.Disconnect()
	_, err := b.Runtime.Job(ctx, job.Environment, job.Name)
	require.ErrorIs(t, err, runtime.ErrUnavailable)
	require.NoError(t, os.WriteFile(filepath.Join(b.Runtime.DataDir(b.Environment.Name, "shared"), "go-on"), nil, 0o644))
	select {
	case o := <-done:
		require.FailNow(t, "the wait ended while nobody could see the job", "%+v", o)
	default:
	}
	reconnect()
	select {
	case o := <-done:
		require.NoError(t, o.err)
		require.Equal(t, "released", string(o.state.Out["result.json"]))
	case <-ctx.Done():
		require.FailNow(t, "the wait did not end after the connection came back")
	}
}

func awayIsUnavailable(ctx context.Context, t *testing.T, b Bundle) {
	_, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	reconnect := b.Disconnect()
	env := b.Environment.Name
	calls := map[string]func() error{
		"EnsureEnvironment": func() error { return b.Runtime.EnsureEnvironment(ctx, b.Environment) },
		"RemoveEnvironment": func() error { return b.Runtime.RemoveEnvironment(ctx, env) },
		"EnsurePool":        func() error { _, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0)); return err },
		"RemovePool":        func() error { return b.Runtime.RemovePool(ctx, env, "p1", 0) },
		"Pool":              func() error { _, err := b.Runtime.Pool(ctx, env, "p1"); return err },
		"Pools":             func() error { _, err := b.Runtime.Pools(ctx, env); return err },
		"StartJob":          func() error { return b.Runtime.StartJob(ctx, b.job("j", "ok")) },
		"Job":               func() error { _, err := b.Runtime.Job(ctx, env, "j"); return err },
		"RemoveJob":         func() error { return b.Runtime.RemoveJob(ctx, env, "j") },
	}
	for name, call := range calls {
		require.ErrorIs(t, call(), runtime.ErrUnavailable, name)
	}
	reconnect()
	state, err := b.Runtime.Pool(ctx, env, "p1")
	require.NoError(t, err)
	require.True(t, state.Running)
	require.Equal(t, 1, b.starts(t, "shared", "web"))
}
