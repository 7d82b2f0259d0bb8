package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// snapshot is one consistent view of a database, held open and exported, so that dump, counts and
// the list of files all see the same.
type snapshot struct {
	adminURL, db string
	conn         *pgx.Conn
	id           string // for SET TRANSACTION SNAPSHOT and pg_dump --snapshot
	at           time.Time
	lsn          string
	version      string
	major        int
	tables       []table
	bytes        int64 // of the tables, without indexes
}

type table struct {
	name  string // schema.table, quoted where needed
	bytes int64
}

// userTables are the tables whose rows a dump holds: ordinary ones and partitions, without those of extensions.
const userTables = `
	SELECT format('%I.%I', n.nspname, c.relname), pg_table_size(c.oid)
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
	   AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
	   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	 ORDER BY 2 DESC, 1`

// takeSnapshot opens one; release ends it.
func takeSnapshot(ctx context.Context, adminURL, db string) (*snapshot, error) {
	conn, err := connect(ctx, adminURL, db)
	if err != nil {
		return nil, err
	}
	s := &snapshot{adminURL: adminURL, db: db, conn: conn}
	err = func() error {
		if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return err
		}
		var num int
		err := conn.QueryRow(ctx, `SELECT pg_export_snapshot(), now(), current_setting('server_version'), current_setting('server_version_num')::int,
			(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text`).
			Scan(&s.id, &s.at, &s.version, &num, &s.lsn)
		if err != nil {
			return err
		}
		s.at, s.major = s.at.UTC(), num/10000
		rows, _ := conn.Query(ctx, userTables)
		var t table
		_, err = pgx.ForEachRow(rows, []any{&t.name, &t.bytes}, func() error {
			s.tables = append(s.tables, t)
			s.bytes += t.bytes
			return nil
		})
		return err
	}()
	if err != nil {
		s.release(ctx)
		return nil, fmt.Errorf("take a snapshot of database %q: %w", db, err)
	}
	return s, nil
}

func (s *snapshot) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // ends the transaction, which has nothing to commit
}

// count counts the rows of every table, in a session of its own on the same snapshot.
func (s *snapshot) count(ctx context.Context, counted func()) (map[string]int64, error) {
	conn, err := connect(ctx, s.adminURL, s.db)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET TRANSACTION SNAPSHOT '" + s.id + "'", "SET LOCAL row_security = off"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("join the snapshot of database %q: %w", s.db, err)
		}
	}
	return countRows(ctx, conn, s.tables, counted)
}

func countRows(ctx context.Context, conn *pgx.Conn, tables []table, counted func()) (map[string]int64, error) {
	rows := make(map[string]int64, len(tables))
	for _, t := range tables {
		var n int64
		// ONLY: the rows of children are counted with the children.
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM ONLY "+t.name, pgx.QueryExecModeExec).Scan(&n); err != nil {
			return nil, fmt.Errorf("count the rows of %s: %w", t.name, err)
		}
		rows[t.name] = n
		counted()
	}
	return rows, nil
}

// describe reads what a dump leaves out: locale, settings and extensions of the database.
func (s *snapshot) describe(ctx context.Context, m *Manifest) error {
	err := s.conn.QueryRow(ctx, "SELECT datcollate::text, datctype::text FROM pg_database WHERE datname = current_database()").Scan(&m.Locale.Collate, &m.Locale.Ctype)
	if err != nil {
		return err
	}
	rows, _ := s.conn.Query(ctx, `SELECT split_part(x, '=', 1), substr(x, strpos(x, '=') + 1)
		FROM pg_db_role_setting r, unnest(r.setconfig) x
		WHERE r.setrole = 0 AND r.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1`)
	if m.Parameters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Parameter]); err != nil {
		return err
	}
	rows, _ = s.conn.Query(ctx, "SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
	m.Extensions, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

// attachments are the names of filestore files that the database refers to in this snapshot, sorted. A
// database without Odoo's table has none.
func (s *snapshot) attachments(ctx context.Context) ([]string, error) {
	var has bool
	err := s.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.ir_attachment')
		AND attname = 'store_fname' AND NOT attisdropped)`).Scan(&has)
	if err != nil || !has {
		return nil, err
	}
	rows, _ := s.conn.Query(ctx, `SELECT DISTINCT store_fname COLLATE "C" FROM public.ir_attachment WHERE store_fname <> '' ORDER BY 1`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the names of the filestore's files: %w", err)
	}
	return names, nil
}
