package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/store"
)

// checkpointsEvery is how old what is shown of the bucket may be when somebody scrapes: to look is a few requests a tenant.
const checkpointsEvery = 5 * time.Minute

// checkpointsAtOnce is how many tenants are looked at side by side.
const checkpointsAtOnce = 4

// Checkpoints collects how old tenants' newest checkpoints are. The bucket is looked at beside a scrape, and not while
// nobody scrapes; so the first scrape shows nothing of it yet.
type Checkpoints struct {
	Tenants func(context.Context) ([]store.Tenant, error) // of all environments, and what stands beside them
	Newest  func(ctx context.Context, environment, tenant string) (checkpoint.Info, bool, error)
	Begin   func(func(context.Context)) // runs something that nobody waits for, until the server ends
	Log     *slog.Logger

	mu      sync.Mutex
	looking bool
	begun   time.Time
	seen    *seenCheckpoints // nil: not looked yet
}

type seenCheckpoints struct {
	at      time.Time
	newest  map[string]map[string]checkpoint.Info // by environment and tenant
	without map[string]int                        // tenants without one
}

// Describe implements prometheus.Collector.
func (c *Checkpoints) Describe(to chan<- *prometheus.Desc) {
	for _, m := range catalogue {
		if m.origin == fromBucket {
			to <- desc(m.name)
		}
	}
}

// Collect implements prometheus.Collector.
func (c *Checkpoints) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	seen := c.seen
	if !c.looking && time.Since(c.begun) >= checkpointsEvery {
		c.looking, c.begun = true, time.Now()
		c.Begin(c.look)
	}
	c.mu.Unlock()
	if seen == nil {
		return
	}
	to <- number("waybill_checkpoints_looked_timestamp_seconds", seconds(seen.at))
	for environment, without := range seen.without {
		newest := seen.newest[environment]
		to <- number("waybill_checkpoint_tenants", float64(len(newest)), environment, "yes")
		to <- number("waybill_checkpoint_tenants", float64(without), environment, "no")
		var oldest time.Time
		for tenant, info := range newest {
			if oldest.IsZero() || info.RecoveryPoint.Before(oldest) {
				oldest = info.RecoveryPoint
			}
			if len(newest)+without > TenantsShown {
				continue
			}
			to <- number("waybill_checkpoint_timestamp_seconds", seconds(info.RecoveryPoint), environment, tenant)
			to <- number("waybill_checkpoint_bytes", float64(info.Bytes), environment, tenant)
			to <- number("waybill_checkpoint_verified", truth(!info.Verified.IsZero()), environment, tenant)
		}
		if !oldest.IsZero() {
			to <- number("waybill_checkpoint_oldest_timestamp_seconds", seconds(oldest), environment)
		}
	}
}

// look goes through the tenants' checkpoints. What was seen before stays where one cannot be looked at: a part of the
// truth would look like tenants that have lost theirs.
func (c *Checkpoints) look(ctx context.Context) {
	seen, err := c.lookAt(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looking = false
	if err == nil {
		c.seen = seen
	} else if !errors.Is(err, context.Canceled) {
		c.Log.Warn("look at checkpoints for metrics", "error", err)
	}
}

func (c *Checkpoints) lookAt(ctx context.Context) (*seenCheckpoints, error) {
	tenants, err := c.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	seen := &seenCheckpoints{at: time.Now(), newest: map[string]map[string]checkpoint.Info{}, without: map[string]int{}}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkpointsAtOnce)
	for _, t := range tenants {
		if t.StandsBeside() || t.ServingRelease == "" {
			continue
		}
		group.Go(func() error {
			info, found, err := c.Newest(ctx, t.Environment, t.Name)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if seen.newest[t.Environment] == nil {
				seen.newest[t.Environment] = map[string]checkpoint.Info{}
				seen.without[t.Environment] += 0 // so that an environment in which all have one is there too
			}
			if found {
				seen.newest[t.Environment][t.Name] = info
			} else {
				seen.without[t.Environment]++
			}
			return nil
		})
	}
	return seen, group.Wait()
}
