package database

import (
	"context"
	"fmt"
)

// LimitConnections lets at most so many sessions into a database at a time; 0: as many as the server takes. Superusers do not count.
// It is idempotent, and says whether it changed anything. Sessions that are there stay.
func (s *Server) LimitConnections(ctx context.Context, db string, most int) (changed bool, err error) {
	if err := checkDatabase(db); err != nil {
		return false, err
	}
	if most <= 0 {
		most = -1 // PostgreSQL's word for no limit
	}
	var now int
	err = s.pool.QueryRow(ctx, "SELECT datconnlimit FROM pg_database WHERE datname = $1", db).Scan(&now)
	if err := s.lookup(err, db); err != nil || now == most {
		return false, err
	}
	if _, err := s.pool.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", quote(db), most)); err != nil {
		return false, fmt.Errorf("limit the connections to database %q: %w", db, err)
	}
	return true, nil
}
