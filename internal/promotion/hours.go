package promotion

import (
	"context"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/signal"
	"github.com/waybill-dev/waybill/internal/store"
)

const (
	usualWeeks = 4 // that say what is usual at an hour of the week
	// KeepHours is how long hours are kept.
	KeepHours = (usualWeeks + 1) * 7 * 24 * time.Hour
)

// Hours counts what the tenants' business calls do, hour by hour, while one release serves alone. It is
// what the next release is held against when nothing else is left. It is not safe for concurrent use.
type Hours struct {
	engine *Engine
	of     map[string]*counted // by environment, tenant and pool
}

type counted struct {
	collector *signal.Collector
	asker     *asker
	tally     signal.Tally
	used      bool
}

// NewHours begins to count.
func (e *Engine) NewHours() *Hours { return &Hours{engine: e, of: map[string]*counted{}} }

// Count takes a reading of every tenant of an environment and adds it to the hours. A tenant that
// cannot be read is left out. Between two readings of a pool as much counts as came; what came before the first is
// not known.
func (h *Hours) Count(ctx context.Context, place Place, environment string) error {
	_, tenants, _, err := h.engine.rooms.Store.Snapshot(ctx, environment)
	if err != nil {
		return err
	}
	prefix := environment + " "
	for key, c := range h.of {
		if strings.HasPrefix(key, prefix) {
			c.used = false
		}
	}
	var rows []store.SignalHour
	for _, t := range tenants {
		alone := !t.StandsBeside() && t.Live.Stable != "" && t.Live.Weight == 0 && (t.Live.Mode == "" || t.Live.Mode == router.Open)
		if !alone {
			continue
		}
		for _, hour := range h.read(ctx, place, t, prefix+t.Name+" "+t.Live.Stable) {
			if strings.HasSuffix(hour.Signal, signal.CallFailed) {
				rows = append(rows, store.SignalHour{Environment: environment, Tenant: t.Name, Signal: hour.Signal, Start: hour.Start, Total: hour.Total, Bad: hour.Bad})
			}
		}
	}
	for key, c := range h.of {
		if strings.HasPrefix(key, prefix) && !c.used {
			c.close()
			delete(h.of, key)
		}
	}
	return h.engine.rooms.Store.AddSignalHours(ctx, rows, time.Now().Add(-KeepHours))
}

// Close gives the connections back.
func (h *Hours) Close() {
	for _, c := range h.of {
		c.close()
	}
}

func (h *Hours) read(ctx context.Context, place Place, t store.Tenant, key string) []signal.Hour {
	c := h.of[key]
	if c == nil {
		a := &asker{}
		c = &counted{asker: a, collector: signal.NewCollector(nil, signal.FromBridge(t.Database, a, nil))}
		h.of[key] = c
	}
	c.used = true
	if c.asker.client == nil {
		pool, err := place.Runtime.Pool(ctx, t.Environment, t.Live.Stable)
		if err != nil || !pool.Running {
			return nil
		}
		c.asker.client = h.engine.bridgeClient(place.Runtime, pool, t.Environment)
	}
	seen := c.collector.Collect(ctx, 0)
	if c.asker.err != nil { // it may have been started anew, at another address
		c.close()
	}
	return c.tally.Add(t.Name, seen.Observations)
}

func (c *counted) close() {
	if c.asker.client != nil {
		c.asker.client.Close()
		c.asker.client = nil
	}
}

// usualHours are the same hours of the last weeks.
func (w *Work) usualHours(ctx context.Context) ([]signal.Hour, error) {
	rows, err := w.rooms.Store.SignalHours(ctx, w.rollout.Environment, w.rollout.Tenant)
	if err != nil {
		return nil, err
	}
	hours := make([]signal.Hour, len(rows))
	for i, r := range rows {
		hours[i] = signal.Hour{Tenant: r.Tenant, Signal: r.Signal, Start: r.Start.UTC(), Total: r.Total, Bad: r.Bad}
	}
	return signal.SameHours(hours, time.Now(), usualWeeks, time.UTC), nil
}
