package router

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tenant is what the router remembers of a tenant from table to table.
type tenant struct {
	name string

	held        atomic.Int64
	heldTotal   atomic.Int64
	heldExpired atomic.Int64
	heldMax     atomic.Int64 // nanoseconds
	frozen      atomic.Int64

	mu      sync.Mutex
	pools   map[string]*pool
	flights map[*flight]struct{} // requests and WebSockets on their way
}

// pool counts the requests of one tenant to one pool.
type pool struct {
	name     string
	added    int64 // order of arrival, to forget the oldest first
	requests atomic.Int64
	failed   atomic.Int64
	classes  [6]atomic.Int64 // by status/100; 0: the client was gone
	latency  []atomic.Int64
	took     atomic.Int64 // nanoseconds
}

// keptPools is how many pools that are routed no more keep their counts.
const keptPools = 16

var classNames = [6]string{0: "gone", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

func newTenant(name string) *tenant {
	return &tenant{name: name, pools: map[string]*pool{}, flights: map[*flight]struct{}{}}
}

func (t *tenant) pool(name string) *pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[name]
	if p == nil {
		var last int64
		for _, other := range t.pools {
			last = max(last, other.added)
		}
		p = &pool{name: name, added: last + 1, latency: make([]atomic.Int64, len(LatencyBounds)+1)}
		t.pools[name] = p
	}
	return p
}

// forget drops the counts of the oldest pools that are neither in the table nor in use.
func (t *tenant) forget(r *route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := make([]*pool, 0, len(t.pools))
	busy := map[*pool]bool{r.stable: true, r.canary: true}
	for f := range t.flights {
		busy[f.pool] = true
	}
	for _, p := range t.pools {
		if !busy[p] {
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *pool) int { return int(b.added - a.added) })
	for i := keptPools; i < len(idle); i++ {
		delete(t.pools, idle[i].name)
	}
}

func (p *pool) count(status int, took time.Duration, failed bool) {
	p.requests.Add(1)
	class := status / 100
	if class < 0 || class > 5 {
		class = 5
	}
	p.classes[class].Add(1)
	if failed {
		p.failed.Add(1)
	}
	p.took.Add(int64(took))
	seconds := took.Seconds()
	i := 0
	for i < len(LatencyBounds) && seconds > LatencyBounds[i] {
		i++
	}
	p.latency[i].Add(1)
}

func (t *tenant) waited(d time.Duration) {
	for {
		old := t.heldMax.Load()
		if int64(d) <= old || t.heldMax.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func (t *tenant) stats() TenantStats {
	s := TenantStats{
		Name:        t.name,
		Held:        int(t.held.Load()),
		HeldTotal:   t.heldTotal.Load(),
		HeldExpired: t.heldExpired.Load(),
		HeldMax:     time.Duration(t.heldMax.Load()).Seconds(),
		Frozen:      t.frozen.Load(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	type inUse struct{ requests, websockets int }
	use := map[*pool]inUse{}
	for f := range t.flights {
		n := use[f.pool]
		if f.websocket {
			n.websockets++
		} else {
			n.requests++
			s.InFlight++
		}
		use[f.pool] = n
	}
	for _, p := range t.pools {
		ps := PoolStats{
			Pool: p.name, Requests: p.requests.Load(), Failed: p.failed.Load(), ByClass: map[string]int64{},
			InFlight: use[p].requests, Websockets: use[p].websockets, Latency: make([]int64, len(p.latency)),
			Seconds: time.Duration(p.took.Load()).Seconds(),
		}
		for i, name := range classNames {
			if n := p.classes[i].Load(); n > 0 && name != "" {
				ps.ByClass[name] = n
			}
		}
		for i := range p.latency {
			ps.Latency[i] = p.latency[i].Load()
		}
		s.Pools = append(s.Pools, ps)
	}
	slices.SortFunc(s.Pools, func(a, b PoolStats) int { return strings.Compare(a.Pool, b.Pool) })
	return s
}
