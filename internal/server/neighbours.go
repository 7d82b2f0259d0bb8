package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/neighbour"
	"github.com/waybill-dev/waybill/internal/notify"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// neighboursEvery is how often routers and database servers are asked what each tenant took.
const neighboursEvery = time.Minute

// neighbours is what this server has seen of who takes how much, by environment.
type neighbours struct {
	mu   sync.Mutex
	seen map[string]api.Neighbours
}

func (n *neighbours) of(environment string) (api.Neighbours, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, ok := n.seen[environment]
	return found, ok
}

// watchNeighbours names those that leave too little to the others of their pool, until ctx is done.
func (s *server) watchNeighbours(ctx context.Context) error {
	tick := time.NewTicker(neighboursEvery)
	defer tick.Stop()
	watches, noisy := map[string]*neighbour.Watch{}, map[string]bool{}
	for {
		if declared, err := s.declared(ctx); err == nil {
			for _, env := range declared.Environments {
				if watches[env.Name] == nil {
					watches[env.Name] = &neighbour.Watch{}
				}
				if err := s.lookAtNeighbours(ctx, env, watches[env.Name], noisy); err != nil && ctx.Err() == nil {
					s.log.Debug("ask what each tenant takes", "environment", env.Name, "error", err) // an engine that is down is told elsewhere
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *server) lookAtNeighbours(ctx context.Context, env estate.Environment, watch *neighbour.Watch, noisy map[string]bool) error {
	_, tenants, pools, err := s.store.Snapshot(ctx, env.Name)
	if err != nil || len(pools) == 0 {
		return err
	}
	place, err := s.place(ctx, env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, neighboursEvery/2)
	defer cancel()
	stats, err := place.Runtime.Router(env.Name).Stats(ctx)
	if err != nil {
		return err
	}
	worked, err := place.Databases.Worked(ctx)
	if err != nil {
		return err
	}
	database, stable := map[string]string{}, map[string]string{}
	for _, t := range tenants {
		database[t.Name], stable[t.Name] = t.Database, t.Live.Stable
	}
	var uses []neighbour.Use
	for _, t := range stats.Tenants {
		for _, p := range t.Pools {
			use := neighbour.Use{Tenant: t.Name, Pool: p.Pool, Seconds: p.Seconds}
			if p.Pool == stable[t.Name] { // a database does not say by whose pool
				use.Queries = worked[database[t.Name]].Seconds()
			}
			uses = append(uses, use)
		}
	}
	running, err := place.Runtime.Pools(ctx, env.Name)
	if err != nil {
		return err
	}
	room := roomOf(pools, running)
	now := time.Now()
	shares := watch.Read(now, uses, room)
	if shares == nil {
		return nil
	}
	s.neighbours.mu.Lock()
	if s.neighbours.seen == nil {
		s.neighbours.seen = map[string]api.Neighbours{}
	}
	s.neighbours.seen[env.Name] = api.Neighbours{Environment: env.Name, At: now.UTC(), Shares: shares}
	s.neighbours.mu.Unlock()
	return s.tellNoisy(ctx, env.Name, shares, noisy, now)
}

// roomOf is what the pools can do at once: the workers of all pods of each.
func roomOf(pools []store.Pool, running []runtime.PoolState) []neighbour.Pool {
	var room []neighbour.Pool
	for _, p := range pools {
		workers := max(p.Workers, 1)
		if at := slices.IndexFunc(running, func(s runtime.PoolState) bool { return s.Name == p.Name }); at >= 0 {
			workers *= max(len(running[at].Bridges), 1)
		}
		room = append(room, neighbour.Pool{Name: p.Name, Workers: workers})
	}
	return room
}

// tellNoisy tells people once of each that begins to be too much.
func (s *server) tellNoisy(ctx context.Context, environment string, shares []neighbour.Share, noisy map[string]bool, now time.Time) error {
	for _, share := range shares {
		key := environment + "/" + share.Tenant + "/" + share.Pool
		if share.Noisy == noisy[key] {
			continue
		}
		if !share.Noisy {
			delete(noisy, key)
			continue
		}
		notice, err := notify.Message{Key: "noisy/" + key + "/" + now.UTC().Format("2006-01-02T15"), // two servers see the same
			Event: estate.EventNoisy, Environment: environment, Tenant: share.Tenant, Title: fmt.Sprintf("%s/%s: takes most of what its pool can do", environment, share.Tenant),
			Text:   fmt.Sprintf("For %d minutes it took %.0f %% of what the tenants of pool %s took together, and the pool is nearly spent: the others wait behind it.", neighbour.Lasting, 100*share.OfUsed, share.Pool),
			Needed: fmt.Sprintf("somebody looks at what it does, or moves it to pools of its own: waybill runbook tenant %s/%s", environment, share.Tenant), At: now}.Notice()
		if err != nil {
			return err
		}
		if err := s.store.In(ctx, func(tx pgx.Tx) error { return s.store.Announce(ctx, tx, notice) }); err != nil {
			return err
		}
		noisy[key] = true
	}
	return nil
}
