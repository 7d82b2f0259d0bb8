package runtimetest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// podAt is which pod answers at an address, by the name that its processes see.
func podAt(ctx context.Context, t *testing.T, base string) string {
	t.Helper()
	var is seen
	require.NoError(t, json.Unmarshal([]byte(page(ctx, t, base+"/look")), &is))
	at := slices.IndexFunc(is.Env, func(v string) bool { return strings.HasPrefix(v, "HOSTNAME=") })
	require.GreaterOrEqual(t, at, 0, "the process has no name")
	return is.Env[at]
}

// A pool of two web pods is one pool: it is up when both are, both see its files, and its address leads to both. A runtime that cannot have
// two says nothing of it, and has one.
func poolServesFromTwoPods(ctx context.Context, t *testing.T, b Bundle) {
	pool := b.pool("p1", 2)
	pool.Web.Min = 2
	state, err := b.Runtime.EnsurePool(ctx, pool)
	require.NoError(t, err)
	require.True(t, state.Running, state.Message)
	again, err := b.Runtime.EnsurePool(ctx, pool)
	require.NoError(t, err)
	require.Equal(t, state, again)
	require.Equal(t, 1, b.starts(t, "shared", "websocket"))
	require.Equal(t, 1, b.starts(t, "shared", "cron"))
	if !b.Scales {
		require.Empty(t, state.Bridges)
		require.Equal(t, 1, b.starts(t, "shared", "web"))
		return
	}
	require.Len(t, state.Bridges, 2)
	require.Equal(t, 2, b.starts(t, "shared", "web"))
	names := map[string]bool{}
	for _, at := range state.Bridges {
		names[podAt(ctx, t, at)] = true
	}
	require.Len(t, names, 2)
	eventually(ctx, t, "the pool's address leads to both", func() (bool, string) {
		delete(names, podAt(ctx, t, state.Bridge))
		return len(names) == 0, ""
	})

	require.NoError(t, b.Runtime.ConfigurePool(ctx, b.Environment.Name, "p1", runtime.Files{"pool.json": []byte(`{"generation": 2}`)}))
	for _, at := range state.Bridges {
		require.JSONEq(t, `{"generation": 2}`, page(ctx, t, at+"/config/pool.json"), at)
	}

	// With fewer, none is restarted, and the pool is what it was.
	pool.Web.Min = 1
	pool.Files["pool.json"] = []byte(`{"generation": 3}`)
	state, err = b.Runtime.EnsurePool(ctx, pool)
	require.NoError(t, err)
	require.True(t, state.Running, state.Message)
	require.Len(t, state.Bridges, 1)
	require.Equal(t, 2, b.starts(t, "shared", "web"))
	require.NoError(t, b.Runtime.RemovePool(ctx, b.Environment.Name, "p1", time.Minute))
}
