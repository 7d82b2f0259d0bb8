package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/internal/router"
)

// routersFor is how long an answer of the routers is good for, and routersLimit how long they may take for it.
const (
	routersFor   = 2 * time.Second
	routersLimit = 3 * time.Second
)

// Routers collects what routers count. A router counts by tenant and forgets those that are gone; added up over tenants as
// they are, its counts would fall, and a counter that falls looks like a restart. So what is new is added up here: by
// pool, from the moment at which this server first asked.
type Routers struct {
	Environments func() []string // that have a router
	Stats        func(ctx context.Context, environment string) (router.Stats, error)

	mu     sync.Mutex
	at     time.Time
	counts map[string]*routerCounts // by environment
}

// routerCounts is what was counted in one environment.
type routerCounts struct {
	up      bool
	started time.Time
	last    map[string]router.TenantStats // by tenant, as of the last answer

	held, expired, frozen int64
	heldNow               int
	pools                 map[string]*poolCounts
}

type poolCounts struct {
	requests   map[string]int64 // by class
	failed     int64
	latency    []uint64 // by bucket
	seconds    float64
	inFlight   int
	websockets int
	there      bool // in the last answer
}

// Describe implements prometheus.Collector.
func (r *Routers) Describe(to chan<- *prometheus.Desc) {
	for _, m := range catalogue {
		if m.origin == fromRouter {
			to <- desc(m.name)
		}
	}
}

// Collect implements prometheus.Collector.
func (r *Routers) Collect(to chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= routersFor {
		r.ask()
		r.at = time.Now()
	}
	for environment, c := range r.counts {
		to <- number("waybill_router_up", truth(c.up), environment)
		if !c.up {
			continue
		}
		to <- number("waybill_router_requests_held", float64(c.heldNow), environment)
		to <- number("waybill_router_requests_held_total", float64(c.held), environment)
		to <- number("waybill_router_holds_expired_total", float64(c.expired), environment)
		to <- number("waybill_router_requests_frozen_total", float64(c.frozen), environment)
		for pool, p := range c.pools {
			for class, n := range p.requests {
				to <- number("waybill_router_requests_total", float64(n), environment, pool, class)
			}
			to <- number("waybill_router_requests_failed_total", float64(p.failed), environment, pool)
			to <- number("waybill_router_requests_in_flight", float64(p.inFlight), environment, pool)
			to <- number("waybill_router_websockets", float64(p.websockets), environment, pool)
			buckets, sum := map[float64]uint64{}, uint64(0)
			for i, bound := range router.LatencyBounds {
				sum += p.latency[i]
				buckets[bound] = sum
			}
			sum += p.latency[len(router.LatencyBounds)]
			to <- prometheus.MustNewConstHistogram(desc("waybill_router_request_duration_seconds"), sum, p.seconds, buckets, environment, pool)
		}
	}
}

// ask asks all routers, side by side: one that hangs keeps no other from being shown.
func (r *Routers) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), routersLimit)
	defer cancel()
	names := r.Environments()
	answers, failures := make([]router.Stats, len(names)), make([]error, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { answers[i], failures[i] = r.Stats(ctx, name) })
	}
	asking.Wait()
	before := r.counts
	r.counts = map[string]*routerCounts{}
	for i, name := range names {
		c := before[name]
		if c == nil {
			c = &routerCounts{}
		}
		r.counts[name] = c
		if c.up = failures[i] == nil; c.up {
			c.take(answers[i])
		}
	}
}

// take adds what is new in an answer.
func (c *routerCounts) take(s router.Stats) {
	first := c.last == nil
	if !c.started.Equal(s.Started) {
		c.last = nil // it has begun to count anew
	}
	last := c.last
	c.started, c.last, c.heldNow = s.Started, map[string]router.TenantStats{}, 0
	if c.pools == nil {
		c.pools = map[string]*poolCounts{}
	}
	for _, p := range c.pools {
		p.there, p.inFlight, p.websockets = false, 0, 0
	}
	for _, t := range s.Tenants {
		c.last[t.Name] = t
		c.heldNow += t.Held
		before := last[t.Name]
		if !first {
			c.held += since(before.HeldTotal, t.HeldTotal)
			c.expired += since(before.HeldExpired, t.HeldExpired)
			c.frozen += since(before.Frozen, t.Frozen)
		}
		was := map[string]router.PoolStats{}
		for _, p := range before.Pools {
			was[p.Pool] = p
		}
		for _, p := range t.Pools {
			into := c.pools[p.Pool]
			if into == nil {
				into = &poolCounts{requests: map[string]int64{"2xx": 0, "5xx": 0}, latency: make([]uint64, len(router.LatencyBounds)+1)}
				c.pools[p.Pool] = into
			}
			into.there = true
			into.inFlight += p.InFlight
			into.websockets += p.Websockets
			if !first {
				into.add(was[p.Pool], p)
			}
		}
	}
	for name, p := range c.pools {
		if !p.there {
			delete(c.pools, name)
		}
	}
}

// add adds what a tenant's requests to a pool have come to since the answer before.
func (p *poolCounts) add(before, now router.PoolStats) {
	if now.Requests < before.Requests { // forgotten meanwhile, and begun anew
		before = router.PoolStats{}
	}
	for class, n := range now.ByClass {
		p.requests[class] += since(before.ByClass[class], n)
	}
	p.failed += since(before.Failed, now.Failed)
	p.seconds += max(now.Seconds-before.Seconds, 0)
	for i := range min(len(p.latency), len(now.Latency)) {
		var old int64
		if i < len(before.Latency) {
			old = before.Latency[i]
		}
		p.latency[i] += uint64(since(old, now.Latency[i]))
	}
}

func since(before, now int64) int64 { return max(now-before, 0) }
