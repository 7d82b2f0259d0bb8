package database

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func TestCopyAndHandOver(t *testing.T) {
	long.Test(t)
	s, err := Open(t.Context(), cluster(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ctx := t.Context()
	const from, to = "copy_from_owner", "copy_to_owner"
	for _, role := range []string{from, to} {
		require.NoError(t, s.EnsureOwner(ctx, role))
	}
	for _, db := range []string{"copy_template", "copy_other"} {
		require.NoError(t, s.Create(ctx, db, from))
		t.Cleanup(func() { require.NoError(t, s.Drop(context.Background(), db)) })
	}
	fill(t, s, "copy_template", `SET role = copy_from_owner;
		CREATE TABLE orders (id serial, total numeric); CREATE SEQUENCE numbers; CREATE VIEW big AS SELECT * FROM orders; CREATE MATERIALIZED VIEW m AS SELECT * FROM orders;
		CREATE TYPE mood AS ENUM ('good'); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO orders (total) SELECT 1 FROM generate_series(1, 3);
		DO $$ BEGIN FOR i IN 1..250 LOOP EXECUTE format('CREATE TABLE t%s (id serial)', i); END LOOP; END $$; RESET role; CREATE EXTENSION IF NOT EXISTS plpgsql`)
	before, err := s.Logins(ctx, "copy_other")
	require.NoError(t, err)

	require.NoError(t, s.Copy(ctx, "copy_template", "copy_made", to))
	t.Cleanup(func() { require.NoError(t, s.Drop(context.Background(), "copy_made")) })
	logins, err := s.Logins(ctx, "copy_made")
	require.NoError(t, err)
	require.Empty(t, logins, "nobody may connect")
	require.Equal(t, 3, count(t, s, "copy_made", "SELECT count(*) FROM orders"))
	require.Zero(t, count(t, s, "copy_made", ownedBy, from), "nothing in it is the template's owner's")
	require.Greater(t, count(t, s, "copy_made", ownedBy, to), 500)
	for db, owner := range map[string]string{"copy_template": from, "copy_other": from, "copy_made": to} {
		has, err := s.Owner(ctx, db)
		require.NoError(t, err)
		require.Equal(t, owner, has, db)
	}
	after, err := s.Logins(ctx, "copy_other")
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.ErrorIs(t, s.Copy(ctx, "copy_template", "copy_made", to), ErrExists)
	require.ErrorIs(t, s.Copy(ctx, "copy_nothing", "copy_more", to), ErrNotFound)

	// And back: what was handed over half-way is handed over whole.
	fill(t, s, "copy_made", "ALTER TABLE orders OWNER TO "+from)
	require.NoError(t, s.HandOver(ctx, "copy_made", to, from))
	require.Zero(t, count(t, s, "copy_made", ownedBy, to))
	require.Greater(t, count(t, s, "copy_made", ownedBy, from), 500)

	require.NoError(t, s.Seal(ctx, "copy_template"))
	require.NoError(t, s.Copy(ctx, "copy_template", "copy_second", from), "what is sealed can be copied")
	t.Cleanup(func() { require.NoError(t, s.Drop(context.Background(), "copy_second")) })
	_, err = s.connect(ctx, "copy_template")
	require.Error(t, err)
	require.NoError(t, s.SetComment(ctx, "copy_second", "copied {}"))
	found, err := s.Commented(ctx, "copied ")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"copy_second": "copied {}"}, found)
}

// ownedBy counts what a role owns in a database, and the database itself.
const ownedBy = `SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
	AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) OR classid = 'pg_database'::regclass AND objid = (SELECT oid FROM pg_database WHERE datname = current_database()))`

func fill(t *testing.T, s *Server, db, sql string) {
	t.Helper()
	conn, err := s.connect(t.Context(), db)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func count(t *testing.T, s *Server, db, sql string, args ...any) (n int) {
	t.Helper()
	conn, err := s.connect(t.Context(), db)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(&n))
	require.NoError(t, conn.Close(t.Context()))
	return n
}
