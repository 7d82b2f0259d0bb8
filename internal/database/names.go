package database

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Owners are the roles that databases belong to, by the databases' names, without those of the server itself and without templates.
func (s *Server) Owners(ctx context.Context) (map[string]string, error) {
	rows, _ := s.pool.Query(ctx, "SELECT datname::text, pg_get_userbyid(datdba)::text FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres'")
	owners := map[string]string{}
	var name, owner string
	_, err := pgx.ForEachRow(rows, []any{&name, &owner}, func() error {
		owners[name] = owner
		return nil
	})
	return owners, err
}
