package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/odoo"
)

// maxOrphans bounds how many values of selections are counted.
const maxOrphans = 50

// effect compares the migrated copy with the restored database.
func (s *scratch) effect(ctx context.Context, db string) (*Effect, error) {
	before, err := s.connect(ctx, pristine)
	if err != nil {
		return nil, err
	}
	defer s.disconnect(ctx, before)
	after, err := s.connect(ctx, db)
	if err != nil {
		return nil, err
	}
	defer s.disconnect(ctx, after)

	was, err := readSchema(ctx, before)
	if err != nil {
		return nil, err
	}
	is, err := readSchema(ctx, after)
	if err != nil {
		return nil, err
	}
	e := &Effect{Schema: compareSchemas(was, is), Orphans: []Orphan{}}
	had, err := odoo.ReadContent(ctx, before)
	if err != nil {
		return nil, err
	}
	has, err := odoo.ReadContent(ctx, after)
	if err != nil {
		return nil, err
	}
	e.Views = named("view", had.Views, has.Views)
	e.Crons = named("cron", had.Crons, has.Crons)
	e.Parameters = named("parameter", had.Parameters, has.Parameters)
	e.Modules = named("module", had.Modules, has.Modules)
	if e.Tables, err = compareData(ctx, before, after); err != nil {
		return nil, err
	}
	e.Orphans, err = orphans(ctx, before, after)
	return e, err
}

func named(kind string, before, after map[string]string) []Change {
	keyed := func(from map[string]string) map[[2]string]string {
		to := make(map[[2]string]string, len(from))
		for name, text := range from {
			to[[2]string{kind, name}] = text
		}
		return to
	}
	return differences(keyed(before), keyed(after))
}

// written are the tables that were written to, by the server's own counters: the copy began with none.
const written = `SELECT s.schemaname, s.relname, s.n_tup_ins, s.n_tup_upd, s.n_tup_del, pg_total_relation_size(s.relid)
	  FROM pg_stat_user_tables s
	 WHERE s.schemaname <> 'waybill_trace' AND s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0 ORDER BY 1, 2`

// compareData looks at the tables that were written to.
func compareData(ctx context.Context, before, after *pgx.Conn) ([]TableData, error) {
	if err := settled(ctx, after); err != nil {
		return nil, err
	}
	rows, err := after.Query(ctx, written)
	if err != nil {
		return nil, fmt.Errorf("ask which tables were written to: %w", err)
	}
	type relation struct{ schema, name string }
	var relations []relation
	tables := []TableData{}
	var r relation
	var t TableData
	if _, err := pgx.ForEachRow(rows, []any{&r.schema, &r.name, &t.Inserted, &t.Updated, &t.Deleted, &t.BytesAfter}, func() error {
		relations, tables = append(relations, r), append(tables, t)
		return nil
	}); err != nil {
		return nil, err
	}
	for i, r := range relations {
		t := &tables[i]
		t.Table = strings.TrimPrefix(r.schema+"."+r.name, "public.")
		name := pgx.Identifier{r.schema, r.name}.Sanitize()
		if err := after.QueryRow(ctx, "SELECT count(*) FROM ONLY "+name).Scan(&t.RowsAfter); err != nil {
			return nil, fmt.Errorf("count the rows of %s: %w", t.Table, err)
		}
		columns, err := common(ctx, before, after, name)
		if err != nil {
			return nil, err
		}
		if columns == nil { // it is new: the schema's difference tells
			continue
		}
		if err := before.QueryRow(ctx, "SELECT count(*), pg_total_relation_size($1::text::regclass) FROM ONLY "+name, name).Scan(&t.RowsBefore, &t.BytesBefore); err != nil {
			return nil, fmt.Errorf("count the rows of %s before the update: %w", t.Table, err)
		}
		if len(columns) == 0 {
			continue
		}
		condition := odoo.Bookkeeping(r.name)
		was, err := digest(ctx, before, name, columns, condition)
		if err != nil {
			return nil, err
		}
		is, err := digest(ctx, after, name, columns, condition)
		if err != nil {
			return nil, err
		}
		t.Changed = was != is
	}
	slices.SortStableFunc(tables, func(a, b TableData) int {
		return cmp.Or(-cmp.Compare(a.Inserted+a.Updated+a.Deleted, b.Inserted+b.Updated+b.Deleted), strings.Compare(a.Table, b.Table))
	})
	return tables, nil
}

// settled waits until the counters of the sessions that have ended are in: two looks see the same.
func settled(ctx context.Context, conn *pgx.Conn) error {
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(600 * time.Millisecond) // older servers pass counters on every half second
	defer tick.Stop()
	last := int64(-1)
	for {
		var now int64
		if _, err := conn.Exec(ctx, "SELECT pg_stat_clear_snapshot()"); err != nil {
			return err
		}
		if err := conn.QueryRow(ctx, "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables").Scan(&now); err != nil {
			return err
		}
		if now == last && now > 0 {
			return nil
		}
		last = now
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return nil
		case <-tick.C:
		}
	}
}

// common are the columns that a table has in both, but for stamps; nil where it is new.
func common(ctx context.Context, before, after *pgx.Conn, table string) ([]string, error) {
	const query = `SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
	read := func(conn *pgx.Conn) ([]string, error) {
		rows, err := conn.Query(ctx, query, table)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	was, err := read(before)
	if err != nil || len(was) == 0 {
		return nil, err
	}
	is, err := read(after)
	both := []string{}
	for _, column := range was {
		if slices.Contains(is, column) && !slices.Contains(odoo.Stamps, column) {
			both = append(both, column)
		}
	}
	return both, err
}

// digest is a sum over rows: their order does not matter.
func digest(ctx context.Context, conn *pgx.Conn, table string, columns []string, without string) (string, error) {
	var list []string
	for _, c := range columns {
		list = append(list, "t."+pgx.Identifier{c}.Sanitize()+"::text")
	}
	var text string
	err := conn.QueryRow(ctx, "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(ROW("+strings.Join(list, ", ")+")::text, 0)::numeric), 0) FROM ONLY "+
		table+" t WHERE ("+without+") IS NOT TRUE").Scan(&text)
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", table, err)
	}
	return text, nil
}

// orphans are values of selections that the code has given up and rows still have.
func orphans(ctx context.Context, before, after *pgx.Conn) ([]Orphan, error) {
	was, err := odoo.ReadSelections(ctx, before)
	if err != nil {
		return nil, err
	}
	is, err := odoo.ReadSelections(ctx, after)
	if err != nil {
		return nil, err
	}
	found, looked := []Orphan{}, 0
	for v := range was {
		if is[v] || looked == maxOrphans {
			continue
		}
		looked++
		n, err := odoo.CountSelection(ctx, after, v)
		if err != nil {
			return nil, fmt.Errorf("count the rows with %s.%s = %q: %w", v.Model, v.Field, v.Value, err)
		}
		if n > 0 {
			found = append(found, Orphan{Field: v.Model + "." + v.Field, Value: v.Value, Rows: n})
		}
	}
	slices.SortFunc(found, func(a, b Orphan) int { return strings.Compare(a.Field+a.Value, b.Field+b.Value) })
	return found, nil
}
