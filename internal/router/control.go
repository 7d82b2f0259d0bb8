package router

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// control is the Control of this process; the admin socket offers it to others.
type control struct {
	proxy   *proxy
	state   string // folder
	log     *slog.Logger
	started time.Time

	mu      sync.Mutex // one table after the other
	tenants map[string]*tenant
}

var _ Control = (*control)(nil)

func newControl(p *proxy, state string, log *slog.Logger) *control {
	return &control{proxy: p, state: state, log: log, started: time.Now(), tenants: map[string]*tenant{}}
}

// Apply implements Control.
func (c *control) Apply(_ context.Context, table Table) error {
	if err := table.Validate(); err != nil {
		return err
	}
	encoded, err := json.Marshal(&table)
	if err != nil {
		return fmt.Errorf("encode routing table of generation %d: %w", table.Generation, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.proxy.routes.Load()
	if old.table.Generation > 0 {
		switch {
		case table.Environment != old.table.Environment:
			return &TableError{table.Generation, []string{fmt.Sprintf("it is for environment %s, and this router serves %s", table.Environment, old.table.Environment)}}
		case table.Generation == old.table.Generation && old.same(encoded):
			return nil
		case table.Generation <= old.table.Generation:
			return &StaleError{Generation: table.Generation, InForce: old.table.Generation}
		}
	}
	// First on disk: a router that is killed now starts with what its server asked for last.
	if err := saveTable(c.state, encoded); err != nil {
		return err
	}
	c.putInForce(&table, encoded)
	return nil
}

// restore puts the table in force that was so when the router stopped.
func (c *control) restore() error {
	table, err := loadTable(c.state)
	if table == nil || err != nil {
		return err
	}
	encoded, err := json.Marshal(table)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putInForce(table, encoded)
	return nil
}

func (c *control) putInForce(table *Table, encoded []byte) {
	old := c.proxy.routes.Load()
	next := &routes{table: *table, encoded: encoded, hosts: map[string]*route{}, names: map[string]*route{}, changed: make(chan struct{})}
	for i := range table.Tenants {
		t := cloneTenant(&table.Tenants[i])
		state := c.tenants[t.Name]
		if state == nil {
			state = newTenant(t.Name)
			c.tenants[t.Name] = state
		}
		rt := &route{Tenant: t, tenant: state}
		if t.Stable.Pool != "" {
			rt.stable = state.pool(t.Stable.Pool)
		}
		if t.Canary != nil {
			rt.canary = state.pool(t.Canary.Pool)
		}
		for _, host := range t.Hosts {
			key, _ := hostKey(host) // Validate has seen it
			next.hosts[key] = rt
		}
		next.names[t.Name] = rt
	}
	c.proxy.routes.Store(next)
	close(old.changed)
	for name, t := range c.tenants {
		if rt := next.names[name]; rt != nil {
			t.forget(rt)
		} else if len(t.flying(func(*flight) bool { return true })) == 0 {
			delete(c.tenants, name)
		}
	}
	c.log.Info("routing table in force", "environment", table.Environment, "generation", table.Generation, "tenants", len(table.Tenants))
}

func cloneTenant(t *Tenant) Tenant {
	c := *t
	c.Hosts = slices.Clone(t.Hosts)
	if t.Canary != nil {
		canary := *t.Canary
		c.Canary = &canary
	}
	return c
}

func (c *control) route(tenant string) (*route, error) {
	rt := c.proxy.routes.Load().names[tenant]
	if rt == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownTenant, tenant)
	}
	return rt, nil
}

// Drain implements Control.
func (c *control) Drain(ctx context.Context, tenant string, limit time.Duration) (int, error) {
	rt, err := c.route(tenant)
	if err != nil {
		return 0, err
	}
	n, err := rt.tenant.drain(ctx, limit, func(f *flight) bool { return !f.websocket && !rt.routed(f.pool) })
	if n > 0 {
		c.log.Warn("requests cut off by a drain", "tenant", tenant, "cut", n, "limit", limit)
	}
	return n, err
}

// CloseWebsockets implements Control.
func (c *control) CloseWebsockets(_ context.Context, tenant, keep string) error {
	rt, err := c.route(tenant)
	if err != nil {
		return err
	}
	for _, f := range rt.tenant.flying(func(f *flight) bool { return f.websocket && (keep == "" || f.pool.name != keep) }) {
		f.cancel(errClosed)
	}
	return nil
}

// Stats implements Control.
func (c *control) Stats(context.Context) (Stats, error) {
	s := Stats{Started: c.started, Generation: c.proxy.routes.Load().table.Generation}
	c.mu.Lock()
	for _, t := range c.tenants {
		s.Tenants = append(s.Tenants, t.stats())
	}
	c.mu.Unlock()
	slices.SortFunc(s.Tenants, func(a, b TenantStats) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// stopAll ends every flight of every tenant; the process is about to end.
func (c *control) stopAll() {
	c.mu.Lock()
	var all []*flight
	for _, t := range c.tenants {
		all = append(all, t.flying(func(*flight) bool { return true })...)
	}
	c.mu.Unlock()
	cut(all)
}
