package router

import (
	"context"
	"time"
)

// Mode says what the router does with a tenant's requests.
type Mode string

// The modes of a tenant's route.
const (
	Open   Mode = "open"   // forwarded
	Hold   Mode = "hold"   // they wait, until the mode changes or HoldUntil passes; then as Freeze
	Freeze Mode = "freeze" // a page with Retry-After for people, 503 for machines
)

// Table is everything a router needs to know; it replaces the one before it as a whole.
type Table struct {
	Environment string   `json:"environment"`
	Generation  int64    `json:"generation"` // grows; an older one than the one in force is refused
	Tenants     []Tenant `json:"tenants"`
}

// Tenant is one tenant's route.
type Tenant struct {
	Name      string    `json:"name"`
	Hosts     []string  `json:"hosts"` // host names without port
	Mode      Mode      `json:"mode"`
	HoldUntil time.Time `json:"hold_until,omitzero"`
	Message   string    `json:"message,omitempty"` // shown on the freeze page
	Stable    Upstream  `json:"stable"`            // gets the buckets from Weight up
	Canary    *Upstream `json:"canary,omitempty"`  // gets the buckets 0 … Weight-1
	Weight    int       `json:"weight"`            // 0–100
}

// Upstream is where a pool listens.
type Upstream struct {
	Pool      string `json:"pool"`
	Web       string `json:"web"`       // host:port of HTTP
	Websocket string `json:"websocket"` // host:port of /websocket
}

// Control is what the server asks of a router that runs as its own process.
type Control interface {
	// Apply puts the table in force and returns once every new request follows it. A *TableError says
	// what is wrong with it, a *StaleError that a newer one is in force; the table in force then stays.
	Apply(ctx context.Context, table Table) error
	// Drain waits until no request of the tenant is in flight (WebSockets do not count), at most for
	// limit; it then cuts the rest off and returns how many those were. Use it on a held or frozen tenant.
	// On an open tenant it drains the pools that get no new requests any more, and leaves the others alone.
	// ErrUnknownTenant when the table in force does not name the tenant.
	Drain(ctx context.Context, tenant string, limit time.Duration) (cut int, err error)
	// CloseWebsockets closes the tenant's WebSockets to pools other than keep (all when keep is empty),
	// so that browsers reconnect. ErrUnknownTenant as for Drain.
	CloseWebsockets(ctx context.Context, tenant, keep string) error
	Stats(ctx context.Context) (Stats, error)
}

// Stats are counts since the router started. Started tells a restart (counts begin again at 0).
type Stats struct {
	Started    time.Time     `json:"started"`
	Generation int64         `json:"generation"` // of the table in force
	Tenants    []TenantStats `json:"tenants"`
}

// TenantStats are one tenant's counts.
type TenantStats struct {
	Name        string      `json:"name"`
	InFlight    int         `json:"in_flight"`
	Held        int         `json:"held"`         // requests that wait now
	HeldTotal   int64       `json:"held_total"`   // requests that ever waited
	HeldExpired int64       `json:"held_expired"` // of those, how many got 503 because the hold outlived HoldUntil
	HeldMax     float64     `json:"held_max_seconds"`
	Frozen      int64       `json:"frozen"` // requests answered by the freeze page
	Pools       []PoolStats `json:"pools"`
}

// PoolStats are the counts of the requests that a pool answered for a tenant. A WebSocket that was
// opened is no request; one that the pool refused is.
type PoolStats struct {
	Pool       string           `json:"pool"`
	Requests   int64            `json:"requests"`
	ByClass    map[string]int64 `json:"by_class"` // "2xx", "3xx", "4xx", "5xx"; "gone": the client left before the answer
	Failed     int64            `json:"failed"`   // 5xx, and no answer at all; not clients that went away
	InFlight   int              `json:"in_flight"`
	Websockets int              `json:"websockets"`
	// Latency counts requests by upper bound in seconds of LatencyBounds, the last one beyond them all.
	// It is the time from when the pool was asked (a hold before that does not count) to the head of its
	// answer, so that a client on a slow line does not look like a slow pool.
	Latency []int64 `json:"latency"`
	Seconds float64 `json:"seconds"` // those times added up; 0 from a router of an earlier Waybill
}

// LatencyBounds are the upper bounds, in seconds, of the buckets of PoolStats.Latency.
var LatencyBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
