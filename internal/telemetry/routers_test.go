package telemetry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/router"
)

func TestCountsOfRoutersNeverFall(t *testing.T) {
	began := time.Now()
	answer := func(started time.Time, tenants ...router.TenantStats) router.Stats {
		return router.Stats{Started: started, Tenants: tenants}
	}
	tenant := func(name, pool string, requests int64) router.TenantStats {
		return router.TenantStats{Name: name, HeldTotal: requests / 10, Pools: []router.PoolStats{{
			Pool: pool, Requests: requests, ByClass: map[string]int64{"2xx": requests}, Latency: []int64{requests}, Seconds: float64(requests) / 100, InFlight: 1}}}
	}
	var c routerCounts
	for _, step := range []struct {
		what  string
		stats router.Stats
		want  int64
	}{
		{"what was before the first look is not counted", answer(began, tenant("acme", "r-1", 1000), tenant("bolt", "r-1", 500)), 0},
		{"what is new is", answer(began, tenant("acme", "r-1", 1010), tenant("bolt", "r-1", 505)), 15},
		{"a tenant that went takes nothing along", answer(began, tenant("acme", "r-1", 1020)), 25},
		{"one that comes counts from 0", answer(began, tenant("acme", "r-1", 1020), tenant("corp", "r-1", 7)), 32},
		{"one that was forgotten and came back too", answer(began, tenant("acme", "r-1", 3), tenant("corp", "r-1", 7)), 35},
		{"a router that was started anew counts from 0", answer(began.Add(time.Second), tenant("acme", "r-1", 5)), 40},
	} {
		c.take(step.stats)
		require.Equal(t, step.want, c.pools["r-1"].requests["2xx"], step.what)
		require.Equal(t, uint64(step.want), c.pools["r-1"].latency[0], step.what)
	}
	c.take(answer(began.Add(time.Second), tenant("acme", "r-2", 5)))
	require.NotContains(t, c.pools, "r-1", "a pool that is gone has no series")
	require.Equal(t, int64(5), c.pools["r-2"].requests["2xx"])
	require.Equal(t, 1, c.pools["r-2"].inFlight)
}
