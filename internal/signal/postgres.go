package signal

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/judge"
)

// Querier is a connection, or a pool of them, to the tenant's PostgreSQL server, as a role that may see
// other roles' sessions (pg_read_all_stats, or a superuser).
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// FromPostgres reads the sessions of the pools' login roles in a tenant's database, and the server's
// replicas. A role may be empty, where there is no such pool.
func FromPostgres(server Querier, database, stableRole, canaryRole string) Source {
	return &fromPostgres{server, database, [2]string{judge.Stable: stableRole, judge.Canary: canaryRole}}
}

type fromPostgres struct {
	server   Querier
	database string
	roles    [2]string
}

func (f *fromPostgres) Name() string { return "PostgreSQL" }

// sessions sees what pools do now. Of sessions that it may not see, state and type are NULL. A session that waits for a client in a transaction is busy: it
// holds its locks.
const sessions = `
	SELECT r.role,
	       count(a.pid),
	       count(a.pid) FILTER (WHERE a.state <> 'idle'),
	       count(a.pid) FILTER (WHERE a.state <> 'idle' AND a.wait_event_type = 'Lock'),
	       coalesce(greatest(0, max(extract(epoch FROM clock_timestamp() - a.xact_start))), 0)::float8,
	       count(a.pid) = count(a.state)
	FROM unnest($2::text[]) AS r(role)
	LEFT JOIN pg_stat_activity a ON a.usename = r.role AND a.datname = $1 AND coalesce(a.backend_type, 'client backend') = 'client backend'
	GROUP BY r.role`

// replicas says how far they are behind, and how many connections of the server are in use.
const replicas = `
	SELECT (SELECT count(*) FROM pg_stat_replication),
	       (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication),
	       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
	       current_setting('max_connections')::int`

func (f *fromPostgres) Read(ctx context.Context) (Reading, error) {
	var r Reading
	rows, err := f.server.Query(ctx, sessions, f.database, f.named())
	if err != nil {
		return r, fmt.Errorf("read the sessions of database %s: %w", f.database, err)
	}
	var role string
	var connections, busy, waiting int64
	var longest float64
	var visible bool
	_, err = pgx.ForEachRow(rows, []any{&role, &connections, &busy, &waiting, &longest, &visible}, func() error {
		if !visible {
			r.Problems = append(r.Problems, fmt.Sprintf("sessions of role %s cannot be seen: give the server's role pg_read_all_stats", role))
			return nil
		}
		share := 0.0
		if busy > 0 {
			share = float64(waiting) / float64(busy)
		}
		for pool, name := range f.roles {
			if name == role {
				r.Observations = append(r.Observations,
					judge.Observation{Signal: PostgresWaiting, Pool: judge.Pool(pool), Value: share},
					judge.Observation{Signal: PostgresTransaction, Pool: judge.Pool(pool), Value: longest},
					judge.Observation{Signal: PostgresConnections, Pool: judge.Pool(pool), Value: float64(connections)})
			}
		}
		return nil
	})
	if err != nil {
		return r, fmt.Errorf("read the sessions of database %s: %w", f.database, err)
	}
	return f.whole(ctx, r)
}

// whole adds what belongs to the whole server.
func (f *fromPostgres) whole(ctx context.Context, r Reading) (Reading, error) {
	rows, err := f.server.Query(ctx, replicas)
	if err != nil {
		return r, fmt.Errorf("read the state of the server: %w", err)
	}
	var standbys, used, limit int64
	var lag float64
	if _, err := pgx.ForEachRow(rows, []any{&standbys, &lag, &used, &limit}, func() error { return nil }); err != nil {
		return r, fmt.Errorf("read the state of the server: %w", err)
	}
	if standbys > 0 {
		r.Gauges = append(r.Gauges, Gauge{"postgres.replication_lag", lag, "seconds", fmt.Sprintf("of %d replicas, the one furthest behind", standbys)})
	}
	if limit > 0 {
		r.Gauges = append(r.Gauges, Gauge{"postgres.connections_used", float64(used) / float64(limit), "share", fmt.Sprintf("%d of %d", used, limit)})
	}
	return r, nil
}

func (f *fromPostgres) named() []string {
	var roles []string
	for _, role := range f.roles {
		if role != "" {
			roles = append(roles, role)
		}
	}
	return roles
}
