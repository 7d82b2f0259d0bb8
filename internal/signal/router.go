package signal

import (
	"context"

	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/router"
)

// Counter is the part of router.Control that is asked.
type Counter interface {
	Stats(ctx context.Context) (router.Stats, error)
}

// FromRouter reads a tenant's requests by pool. A pool without requests has counts of 0.
func FromRouter(control Counter, tenant, stable, canary string) Source {
	return &fromRouter{control, tenant, [2]string{judge.Stable: stable, judge.Canary: canary}}
}

type fromRouter struct {
	control Counter
	tenant  string
	pools   [2]string
}

func (f *fromRouter) Name() string { return "router" }

func (f *fromRouter) Read(ctx context.Context) (Reading, error) {
	stats, err := f.control.Stats(ctx)
	if err != nil {
		return Reading{}, err
	}
	seen := map[string]router.PoolStats{}
	for _, t := range stats.Tenants {
		if t.Name == f.tenant {
			for _, p := range t.Pools {
				seen[p.Pool] = p
			}
		}
	}
	var r Reading
	for _, pool := range []judge.Pool{judge.Canary, judge.Stable} {
		name := f.pools[pool]
		if name == "" {
			continue
		}
		p := seen[name]
		if p.Latency == nil {
			p.Latency = make([]int64, len(router.LatencyBounds)+1)
		}
		source := stats.Started.UnixNano()
		r.Observations = append(r.Observations,
			judge.Observation{Signal: RequestsFailed, Pool: pool, Source: source, Total: p.Requests, Bad: p.Failed},
			judge.Observation{Signal: RequestsSeconds, Pool: pool, Source: source, Buckets: p.Latency})
	}
	return r, nil
}
