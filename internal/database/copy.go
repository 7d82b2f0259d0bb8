package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Copy makes a database that holds what another one does, belongs to owner with all that is in it, and that nobody may connect
// to. Nobody may be connected to the one that is copied; it waits a while for those who are about to leave. ErrExists: db is
// there, whoever made it. On error what was made is dropped again.
func (s *Server) Copy(ctx context.Context, from, db, owner string) (err error) {
	if err := errors.Join(checkDatabase(from), checkDatabase(db), checkRole(owner)); err != nil {
		return err
	}
	belongs, err := s.Owner(ctx, from)
	if err != nil {
		return fmt.Errorf("copy database %q to %q: %w", from, db, err)
	}
	wait := 100 * time.Millisecond
	for deadline := time.Now().Add(30 * time.Second); ; {
		// Closed to everybody from its first moment: a right to connect is PUBLIC's until it is taken away.
		_, err = s.pool.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s ALLOW_CONNECTIONS false", quote(db), quote(from), quote(owner)))
		if state(err) != "55006" || time.Now().After(deadline) { // in use
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		}
	}
	switch {
	case state(err) == "42P04":
		return fmt.Errorf("copy database %q to %q: it %w", from, db, ErrExists)
	case err != nil:
		return fmt.Errorf("copy database %q to %q: %w", from, db, err)
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(fmt.Errorf("copy database %q to %q: %w", from, db, err), s.Drop(ctx, db))
		}
	}()
	if _, err = s.pool.Exec(ctx, fmt.Sprintf("REVOKE CONNECT ON DATABASE %s FROM PUBLIC, %s", quote(db), quote(owner))); err != nil {
		return err
	}
	if _, err = s.pool.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS true", quote(db))); err != nil {
		return err
	}
	if belongs == owner {
		return nil
	}
	return s.HandOver(ctx, db, belongs, owner)
}

// Seal closes a database to every session, Waybill's own too: what is in it can be copied, and stays as it is.
func (s *Server) Seal(ctx context.Context, db string) error {
	if err := checkDatabase(db); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", quote(db)))
	return err
}

// Commented lists the databases whose comment begins so: their comments by name.
func (s *Server) Commented(ctx context.Context, prefix string) (map[string]string, error) {
	rows, _ := s.pool.Query(ctx, "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE starts_with(shobj_description(oid, 'pg_database'), $1)", prefix)
	found := map[string]string{}
	var name, comment string
	_, err := pgx.ForEachRow(rows, []any{&name, &comment}, func() error {
		found[name] = comment
		return nil
	})
	return found, err
}

// handOverAtOnce bounds how many tables change hands in one transaction: each takes a lock, and a server has room for some
// thousand of them (max_locks_per_transaction).
const handOverAtOnce = 100

// HandOver gives a database, and everything in it that one role owns, to another role. It is for a database that nobody but
// Waybill is connected to. What was killed half-way is done by the same call; other databases of that role stay its own.
func (s *Server) HandOver(ctx context.Context, db, from, to string) error {
	if err := errors.Join(checkDatabase(db), checkRole(from), checkRole(to)); err != nil {
		return err
	}
	if from == to {
		return nil
	}
	if err := s.handOver(ctx, db, from, to); err != nil {
		return fmt.Errorf("hand database %q over from %q to %q: %w", db, from, to, err)
	}
	return nil
}

func (s *Server) handOver(ctx context.Context, db, from, to string) error {
	conn, err := s.connect(ctx, db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		// A sequence that belongs to a column goes with its table.
		rows, _ := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relowner = (SELECT oid FROM pg_roles WHERE rolname = $1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
			  AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass))
			ORDER BY c.oid LIMIT $2`, from, handOverAtOnce)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		var all strings.Builder
		for _, name := range names {
			all.WriteString("ALTER TABLE " + name + " OWNER TO " + quote(to) + ";")
		}
		if _, err := conn.Exec(ctx, "BEGIN;"+all.String()+"COMMIT", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	// The rest at once: types, functions, extensions … REASSIGN OWNED takes the role's other databases along, so these are given
	// back in the same transaction. The lock is the one that SetAccess takes, in the database where it takes it.
	return pgx.BeginFunc(ctx, s.pool, func(guard pgx.Tx) error {
		if err := lockRoles(ctx, guard); err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			rows, _ := tx.Query(ctx, "SELECT datname::text FROM pg_database WHERE pg_get_userbyid(datdba) = $1 AND datname <> $2", from, db)
			others, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			all := []string{"REASSIGN OWNED BY " + quote(from) + " TO " + quote(to), "ALTER DATABASE " + quote(db) + " OWNER TO " + quote(to)}
			for _, other := range others {
				all = append(all, "ALTER DATABASE "+quote(other)+" OWNER TO "+quote(from))
			}
			for _, sql := range all {
				if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
