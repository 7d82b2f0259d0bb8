package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Logins are the roles that hold the right to CONNECT to a database, sorted. A server's everybody shows as "PUBLIC".
func (s *Server) Logins(ctx context.Context, db string) ([]string, error) {
	if _, err := s.oid(ctx, db); err != nil {
		return nil, err
	}
	return grantees(ctx, s.pool, db)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func grantees(ctx context.Context, q querier, db string) ([]string, error) {
	rows, _ := q.Query(ctx, `
		SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
		  FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
		 WHERE d.datname = $1 AND a.privilege_type = 'CONNECT' ORDER BY 1`, db)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// SetAccess is the fence. When it returns without error, exactly these login roles may connect to
// db, nobody else is in it, and nothing that anybody else had begun can still commit. Superusers' sessions that
// carry ApplicationName stay; all other sessions of roles not named are ended, terminated counts them.
//
// It is declarative and idempotent: the same call again changes nothing and ends nobody. It waits as
// long as ctx allows; on error the rights are as asked for, but sessions may be left.
func (s *Server) SetAccess(ctx context.Context, db string, logins []string) (terminated int, err error) {
	if err := checkDatabase(db); err != nil {
		return 0, err
	}
	for _, role := range logins {
		if err := checkRole(role); err != nil {
			return 0, err
		}
	}
	oid, err := s.oid(ctx, db)
	if err == nil {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return setConnect(ctx, tx, db, logins) })
	}
	if err == nil {
		terminated, err = s.expel(ctx, oid, logins)
	}
	if err != nil {
		return terminated, fmt.Errorf("let only %s into database %q: %w", list(logins), db, err)
	}
	return terminated, nil
}

func list(logins []string) string {
	if len(logins) == 0 {
		return "nobody"
	}
	return strings.Join(logins, ", ")
}

// setConnect makes the right to CONNECT be exactly these roles', and proves it.
func setConnect(ctx context.Context, tx pgx.Tx, db string, logins []string) error {
	if err := lockRoles(ctx, tx); err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)", logins)
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, role := range logins {
		if !slices.Contains(known, role) {
			return fmt.Errorf("role %q %w", role, ErrNotFound)
		}
	}
	have, err := grantees(ctx, tx, db)
	if err != nil {
		return err
	}
	for _, role := range have {
		if slices.Contains(logins, role) {
			continue
		}
		from := "PUBLIC"
		if role != "PUBLIC" {
			from = quote(role)
		}
		// CASCADE: a right that was passed on goes as well.
		if _, err := tx.Exec(ctx, "REVOKE CONNECT ON DATABASE "+quote(db)+" FROM "+from+" CASCADE"); err != nil {
			return err
		}
	}
	for _, role := range logins {
		if slices.Contains(have, role) {
			continue
		}
		if _, err := tx.Exec(ctx, "GRANT CONNECT ON DATABASE "+quote(db)+" TO "+quote(role)); err != nil {
			return err
		}
	}
	// What counts is the effect: a right may also be inherited, or have been granted by somebody else.
	rows, _ = tx.Query(ctx, `SELECT rolname::text FROM pg_roles
		WHERE rolcanlogin AND NOT rolsuper AND rolname <> ALL($2) AND has_database_privilege(oid, $1::text, 'CONNECT') ORDER BY 1`, db, logins)
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("%s may still connect, by membership in another role or by somebody else's grant: take that away (REVOKE), then try again", strings.Join(others, ", "))
	}
	return nil
}

// expel ends the sessions of everybody else and proves that none is left or on its way in.
//
// A backend that is just starting holds a lock on the database object from before it checks the right to
// CONNECT until after it shows in pg_stat_activity (InitPostgres in src/backend/utils/init/postinit.c),
// and on getting that lock it takes notice of committed changes. So whoever takes the lock
// after our commit sees the new rights, and whoever held it before is in the first look at pg_locks below:
// once those have let go, every session that slipped through is visible.
func (s *Server) expel(ctx context.Context, oid uint32, logins []string) (int, error) {
	starting, err := s.startingIn(ctx, oid)
	if err != nil {
		return 0, err
	}
	ended := map[int32]bool{}
	clean := 0
	var left []string
	err = poll(ctx, func() (bool, error) {
		now, err := s.startingIn(ctx, oid)
		if err != nil {
			return false, err
		}
		for pid := range starting {
			if !now[pid] {
				delete(starting, pid)
			}
		}
		// A statement of its own after the look at the locks: pg_stat_activity is read afresh.
		rows, _ := s.pool.Query(ctx, `
			SELECT a.pid, coalesce(a.usename, '')::text, pg_terminate_backend(a.pid)
			  FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
			 WHERE a.datid = $1 AND a.usesysid IS NOT NULL AND a.backend_type <> 'walsender'
			   AND coalesce(a.usename <> ALL($2), true)
			   AND NOT (coalesce(r.rolsuper, false) AND (a.application_name = $3 OR a.backend_type <> 'client backend'))`,
			oid, logins, ApplicationName)
		left = left[:0]
		var pid int32
		var user string
		var ok bool
		_, err = pgx.ForEachRow(rows, []any{&pid, &user, &ok}, func() error {
			ended[pid] = true
			left = append(left, fmt.Sprintf("%s (process %d)", user, pid))
			return nil
		})
		if err != nil {
			return false, err
		}
		if len(left) > 0 || len(starting) > 0 {
			clean = 0
			return false, nil
		}
		clean++
		return clean >= 2, nil
	})
	if err != nil && len(left) > 0 {
		err = fmt.Errorf("still there: %s: %w", strings.Join(left, ", "), err)
	}
	return len(ended), err
}

// startingIn are the processes that hold or await a lock on the database object itself.
func (s *Server) startingIn(ctx context.Context, oid uint32) (map[int32]bool, error) {
	rows, _ := s.pool.Query(ctx, `SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'object' AND database = 0
		AND classid = 'pg_database'::regclass AND objid = $1 AND pid IS NOT NULL AND pid <> pg_backend_pid()`, oid)
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	found := make(map[int32]bool, len(pids))
	for _, pid := range pids {
		found[pid] = true
	}
	return found, err
}
