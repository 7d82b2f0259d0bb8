package runtimetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// seen is what the stand-in's page /look tells.
type seen struct {
	Args        []string `json:"args"`
	Env         []string `json:"env"`
	UID         int      `json:"uid"`
	PID         int      `json:"pid"`
	Status      string   `json:"status"`
	ConfigWrite bool     `json:"config_write"`
	DataWrite   bool     `json:"data_write"`
	TmpWrite    bool     `json:"tmp_write"`
}

func poolComesUp(ctx context.Context, t *testing.T, b Bundle) {
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	state, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 2))
	require.NoError(t, err)
	require.True(t, state.Running, state.Message)
	require.Equal(t, "p1", state.Name)
	require.Equal(t, "p1", state.Upstream.Pool)
	require.Equal(t, b.Image, state.Image)
	require.Equal(t, "shared", state.Group)
	require.NotEqual(t, state.Upstream.Web, state.Upstream.Websocket)
	for _, upstream := range []string{state.Upstream.Web, state.Upstream.Websocket} {
		page(ctx, t, "http://"+b.Environment.HTTP+"/dial/"+upstream)
	}

	var web seen
	require.NoError(t, json.Unmarshal([]byte(page(ctx, t, state.Bridge+"/look")), &web))
	require.Contains(t, web.Args, "--workers=2")
	require.Contains(t, web.Args, "--max-cron-threads=0")
	require.Contains(t, web.Env, "WAYBILL_ROLE=web")
	require.Contains(t, web.Env, "HOME=/var/lib/odoo")
	require.Equal(t, b.UID, web.UID)
	require.NotEqual(t, 1, web.PID, "the process is the first of all, and would have to reap what others leave behind")
	page(ctx, t, state.Bridge+"/orphan")
	require.False(t, web.ConfigWrite, "/etc/waybill can be written to")
	require.True(t, web.DataWrite)
	require.True(t, web.TmpWrite)
	require.Regexp(t, `CapEff:\s+0000000000000000`, web.Status)
	require.Regexp(t, `CapBnd:\s+0000000000000000`, web.Status)
	require.Regexp(t, `NoNewPrivs:\s+1`, web.Status)
	for _, role := range []string{"web", "websocket", "cron"} {
		require.Equal(t, 1, b.starts(t, "shared", role), role)
	}
}

func poolIsObserved(ctx context.Context, t *testing.T, b Bundle) {
	first, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0)) // before the environment: order does not matter
	require.NoError(t, err)
	require.Equal(t, first.Upstream.Web, first.Upstream.Websocket, "without workers the web process serves WebSockets")
	again, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, b.starts(t, "shared", "web"), "the same pool was started twice")

	_, err = b.Runtime.EnsurePool(ctx, b.pool("p0", 0))
	require.NoError(t, err)
	one, err := b.Runtime.Pool(ctx, b.Environment.Name, "p1")
	require.NoError(t, err)
	require.Equal(t, first, one)
	all, err := b.Runtime.Pools(ctx, b.Environment.Name)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "p0", all[0].Name)
	require.Equal(t, first, all[1])
}

func poolIsReplacedWhenItsSpecChanges(ctx context.Context, t *testing.T, b Bundle) {
	_, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 2))
	require.NoError(t, err)
	state, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	require.True(t, state.Running, state.Message)
	require.Equal(t, state.Upstream.Web, state.Upstream.Websocket)
	var web seen
	require.NoError(t, json.Unmarshal([]byte(page(ctx, t, state.Bridge+"/look")), &web))
	require.Contains(t, web.Args, "--workers=0")
	require.Equal(t, 2, b.starts(t, "shared", "web"))
	require.Equal(t, 1, b.starts(t, "shared", "cron"), "what does not depend on the change was replaced too")
	left, err := b.Leftovers(ctx)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(left, " "), "websocket")
}

func concurrentEnsuresAgree(ctx context.Context, t *testing.T, b Bundle) {
	states, errs := make([]runtime.PoolState, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range states {
		wg.Go(func() { states[i], errs[i] = b.Runtime.EnsurePool(ctx, b.pool("p1", 0)) })
	}
	wg.Wait()
	for i := range states {
		require.NoError(t, errs[i])
		require.Equal(t, states[0], states[i])
	}
	require.Equal(t, 1, b.starts(t, "shared", "web"))
}

func configurationIsReplacedInPlace(ctx context.Context, t *testing.T, b Bundle) {
	state, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	require.JSONEq(t, `{"generation": 1}`, page(ctx, t, state.Bridge+"/config/pool.json"))
	require.NoError(t, b.Runtime.ConfigurePool(ctx, b.Environment.Name, "p1", runtime.Files{
		"pool.json": []byte(`{"generation": 2}`), "bridge.key": []byte("secret"),
	}))
	require.JSONEq(t, `{"generation": 2}`, page(ctx, t, state.Bridge+"/config/pool.json"))
	require.Equal(t, "secret", page(ctx, t, state.Bridge+"/config/bridge.key"))
	require.Equal(t, "[options]\n", page(ctx, t, state.Bridge+"/config/odoo.conf"), "a file that was not given is gone")
	require.Equal(t, 1, b.starts(t, "shared", "web"))

	_, err = b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	status, _ := get(ctx, t, state.Bridge+"/config/bridge.key")
	require.Equal(t, http.StatusNotFound, status, "EnsurePool leaves exactly the pool's files")
	require.Equal(t, 1, b.starts(t, "shared", "web"))
}

func poolIsRemovedGracefully(ctx context.Context, t *testing.T, b Bundle) {
	_, err := b.Runtime.EnsurePool(ctx, b.pool("p1", 0))
	require.NoError(t, err)
	require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p1", time.Minute))
	for _, role := range []string{"web", "cron"} {
		require.FileExists(t, filepath.Join(b.Runtime.DataDir(b.Environment.Name, "shared"), "graceful-"+role))
	}
	_, err = b.Runtime.Pool(ctx, b.Environment.Name, "p1")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p1", time.Minute), "a second time")
}

func busyPoolIsRemovedAfterItsGrace(ctx context.Context, t *testing.T, b Bundle) {
	pool := b.pool("p1", 0)
	pool.Files["standin.json"] = misbehave(t, map[string]any{"ignore_term": true})
	_, err := b.Runtime.EnsurePool(ctx, pool)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p1", 2*time.Second))
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "killed before its grace was over")
	require.NoFileExists(t, filepath.Join(b.Runtime.DataDir(b.Environment.Name, "shared"), "graceful-web"))
}

func poolThatEndsIsAnError(ctx context.Context, t *testing.T, b Bundle) {
	for code, role := range map[int]string{3: "web", 5: "cron"} {
		pool := b.pool("ends-"+role, 0)
		pool.Files["standin.json"] = misbehave(t, map[string]any{"exit": map[string]int{role: code}})
		_, err := b.Runtime.EnsurePool(ctx, pool)
		require.ErrorContains(t, err, fmt.Sprintf("exit code %d", code))
		require.ErrorContains(t, err, "standin of role "+role+" was told to end")
		state, err := b.Runtime.Pool(ctx, b.Environment.Name, pool.Name)
		require.NoError(t, err)
		require.False(t, state.Running)
		require.Contains(t, state.Message, role)

		delete(pool.Files, "standin.json")
		state, err = b.Runtime.EnsurePool(ctx, pool)
		require.NoError(t, err, "the same pool once its cause is gone")
		require.True(t, state.Running, state.Message)
	}
}

func deafPoolIsGivenUp(ctx context.Context, t *testing.T, b Bundle) {
	pool := b.pool("deaf", 0)
	pool.Files["standin.json"] = misbehave(t, map[string]any{"deaf": true})
	short, cancel := context.WithTimeout(ctx, max(8*time.Second, b.Begins))
	defer cancel()
	_, err := b.Runtime.EnsurePool(short, pool)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "deaf")
	require.ErrorContains(t, err, "connection refused")
}

func dedicatedGroupIsApart(ctx context.Context, t *testing.T, b Bundle) {
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	dedicated := b.pool("p1", 0)
	dedicated.Group = "wholesale"
	alone, err := b.Runtime.EnsurePool(ctx, dedicated)
	require.NoError(t, err)
	shared, err := b.Runtime.EnsurePool(ctx, b.pool("p2", 0))
	require.NoError(t, err)
	require.Equal(t, 1, b.starts(t, "wholesale", "web"))
	require.Equal(t, 1, b.starts(t, "shared", "web"))
	for _, s := range []runtime.PoolState{alone, shared} {
		page(ctx, t, "http://"+b.Environment.HTTP+"/dial/"+s.Upstream.Web)
	}
	inner := strings.TrimPrefix(alone.Bridge, "http://")
	page(ctx, t, alone.Bridge+"/dial/"+inner) // so that the next one can fail
	status, _ := get(ctx, t, shared.Bridge+"/dial/"+inner)
	require.Equal(t, http.StatusBadGateway, status, "a shared pool reaches a dedicated one")

	require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p1", time.Second))
	left, err := b.Leftovers(ctx)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(left, " "), "wholesale")
}

func missingImageIsNamed(ctx context.Context, t *testing.T, b Bundle) {
	pool := b.pool("p1", 0)
	pool.Image = b.Missing
	_, err := b.Runtime.EnsurePool(ctx, pool)
	require.ErrorContains(t, err, b.Missing)
	require.ErrorContains(t, err, "no such image")
	require.NotErrorIs(t, err, runtime.ErrUnavailable)
}

func absentIsNotFound(ctx context.Context, t *testing.T, b Bundle) {
	env := b.Environment.Name
	_, err := b.Runtime.Pool(ctx, env, "none")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.ErrorIs(t, b.Runtime.ConfigurePool(ctx, env, "none", runtime.Files{"a": nil}), runtime.ErrNotFound)
	_, err = b.Runtime.Job(ctx, env, "none")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	_, err = b.Runtime.WaitJob(ctx, env, "none")
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.NoError(t, b.Runtime.RemovePool(ctx, env, "none", 0))
	require.NoError(t, b.Runtime.RemoveJob(ctx, env, "none"))
	all, err := b.Runtime.Pools(ctx, env)
	require.NoError(t, err)
	require.Empty(t, all)
}

func badInputIsRefused(ctx context.Context, t *testing.T, b Bundle) {
	for _, name := range []string{"", "../up", "UPPER", "a_b", "-a", strings.Repeat("a", 64)} {
		pool := b.pool(name, 0)
		_, err := b.Runtime.EnsurePool(ctx, pool)
		require.Error(t, err, "pool %q", name)
		require.Error(t, b.Runtime.StartJob(ctx, b.job(name, "ok")), "job %q", name)
		require.Error(t, b.Runtime.RemoveEnvironment(ctx, name), "environment %q", name)
	}
	for _, file := range []string{"", "../x", "a/b", ".hidden"} {
		pool := b.pool("p1", 0)
		pool.Files[file] = []byte("x")
		_, err := b.Runtime.EnsurePool(ctx, pool)
		require.Error(t, err, "file %q", file)
	}
	_, err := os.Stat(b.Runtime.DataDir(b.Environment.Name, "shared"))
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

// Groups with pools of their own come and go, whatever they are called, and whoever asks the router meanwhile gets an answer, also
// who keeps a connection open.
func dedicatedGroupsDisturbNobody(ctx context.Context, t *testing.T, b Bundle) {
	require.NoError(t, b.Runtime.EnsureEnvironment(ctx, b.Environment))
	_, err := b.Runtime.EnsurePool(ctx, b.pool("p0", 0))
	require.NoError(t, err)
	ask := func(client *http.Client) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.Environment.HTTP+"/", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	stop := make(chan struct{})
	var asking errgroup.Group
	var asked atomic.Int64
	for _, keep := range []bool{true, false} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keep}, Timeout: 10 * time.Second}
		asking.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				case <-time.After(5 * time.Millisecond):
				}
				if err := ask(client); err != nil {
					return err
				}
				asked.Add(1)
			}
		})
	}
	for _, group := range []string{"aaa", "wholesale", "zzz"} {
		pool := b.pool("p-"+group, 0)
		pool.Group = group
		_, err := b.Runtime.EnsurePool(ctx, pool)
		require.NoError(t, err)
	}
	for _, group := range []string{"aaa", "zzz", "wholesale"} {
		require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p-"+group, time.Second))
	}
	close(stop)
	require.NoError(t, asking.Wait())
	require.Greater(t, asked.Load(), int64(10))
}
