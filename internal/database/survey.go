package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// Surveyed is what the server itself tells of one database.
type Surveyed struct {
	Bytes    int64         // on disk
	Updating bool          // an update holds its advisory lock in it
	Long     int           // client transactions that have been open for longer than was asked about, Waybill's own aside
	Oldest   time.Duration // how long the oldest of them has been open
}

// Survey looks at all databases of the server in one query. A transaction is long that has been open for longer than long.
func (s *Server) Survey(ctx context.Context, long time.Duration) (map[string]Surveyed, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT d.datname, coalesce(pg_database_size(d.oid), 0), u.database IS NOT NULL, coalesce(a.n, 0), coalesce(a.oldest, 0)::double precision
		  FROM pg_database d
		  LEFT JOIN (SELECT DISTINCT database FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = $1 AND objid = $2 AND objsubid = 2) u ON u.database = d.oid
		  LEFT JOIN (SELECT datid, count(*) AS n, max(extract(epoch FROM clock_timestamp() - xact_start)) AS oldest FROM pg_stat_activity
		              WHERE backend_type = 'client backend' AND NOT (application_name = $3 AND usesysid IN (SELECT oid FROM pg_roles WHERE rolsuper)) AND clock_timestamp() - xact_start > $4::interval GROUP BY datid) a ON a.datid = d.oid
		 WHERE NOT d.datistemplate`, uint32(bridge.LockClass), uint32(bridge.LockKey), ApplicationName, long)
	if err != nil {
		return nil, fmt.Errorf("look at the databases of the server: %w", err)
	}
	all := map[string]Surveyed{}
	var name string
	var found Surveyed
	var oldest float64
	_, err = pgx.ForEachRow(rows, []any{&name, &found.Bytes, &found.Updating, &found.Long, &oldest}, func() error {
		found.Oldest = time.Duration(oldest * float64(time.Second))
		all[name] = found
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at the databases of the server: %w", err)
	}
	return all, nil
}

// Worked is for how long all sessions of each database have worked together, statement by statement, since the server's counts
// began. Before PostgreSQL 14 nobody counts that: then none is told.
func (s *Server) Worked(ctx context.Context) (map[string]time.Duration, error) {
	rows, err := s.pool.Query(ctx, "SELECT datname::text, (to_jsonb(d) ->> 'active_time')::double precision FROM pg_stat_database d WHERE datname IS NOT NULL")
	if err != nil {
		return nil, fmt.Errorf("ask how long databases were worked in: %w", err)
	}
	all := map[string]time.Duration{}
	var name string
	var milliseconds *float64
	_, err = pgx.ForEachRow(rows, []any{&name, &milliseconds}, func() error {
		if milliseconds != nil {
			all[name] = time.Duration(*milliseconds * float64(time.Millisecond))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask how long databases were worked in: %w", err)
	}
	return all, nil
}
