package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/database"
)

// load is what a tenant's production has done to its tables so far, by PostgreSQL's own counters.
type load struct {
	at     time.Time
	tables map[string]uses
	calls  map[int64]int64   // of statements, by their id; nil where the server does not count them
	texts  map[int64]touched // of those statements that name a table
}

// touched are the tables that a statement uses, and those that it changes rows of.
type touched struct{ used, written []string }

// uses of one table. One statement may count more than once: a join that looks up row after row, an insert of many rows.
type uses struct {
	scans, inserted, written int64
}

// readLoad looks at the counters of a tenant's database. It only reads, and waits for nothing.
func readLoad(ctx context.Context, url, db string) (*load, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the tenant's database server does not parse")
	}
	maintenance := cfg.Database
	cfg.Database = db
	for k, v := range map[string]string{"application_name": database.ApplicationName, "default_transaction_read_only": "on", "statement_timeout": "10s", "lock_timeout": "1s"} {
		cfg.RuntimeParams[k] = v
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("ask the tenant's database for its tables' counters: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	found := &load{tables: map[string]uses{}}
	rows, _ := conn.Query(ctx, `SELECT schemaname || '.' || relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables`)
	var table string
	var u uses
	_, err = pgx.ForEachRow(rows, []any{&table, &u.scans, &u.inserted, &u.written}, func() error {
		found.tables[table] = u
		return nil
	})
	found.at = time.Now()
	if err != nil {
		return nil, fmt.Errorf("read the counters of the tenant's tables: %w", err)
	}
	cfg.Database = maintenance
	if err := found.readCalls(ctx, conn, cfg, db); err != nil {
		return nil, fmt.Errorf("read how often the tenant's statements ran: %w", err)
	}
	return found, nil
}

// readCalls adds how often each statement ran, from the tenant's own database or the one that url led to, wherever the
// extension is. That it is nowhere is no error: the tables' counters stand.
func (l *load) readCalls(ctx context.Context, conn *pgx.Conn, cfg *pgx.ConnConfig, db string) error {
	full := map[string]string{}
	for table := range l.tables {
		schema, name, _ := strings.Cut(table, ".")
		if full[name] == "" || schema == "public" {
			full[name] = table
		}
	}
	known := func(name string) bool { return full[name] != "" }
	qualified := func(names []string) []string {
		for i, name := range names {
			names[i] = full[name]
		}
		return names
	}
	read := func(conn *pgx.Conn) error {
		calls, texts := map[int64]int64{}, map[int64]touched{}
		err := readStatements(ctx, conn, db, func(id, n int64, query string) {
			calls[id] = n
			if used, written := tablesOf(query, known); len(used) > 0 {
				texts[id] = touched{qualified(used), qualified(written)}
			}
		})
		if err == nil {
			l.calls, l.texts = calls, texts
		}
		return err
	}
	err := read(conn)
	if errors.Is(err, errNoStatements) {
		elsewhere, e := pgx.ConnectConfig(ctx, cfg)
		if e != nil {
			return nil // the tables' counters are enough
		}
		defer func() { _ = elsewhere.Close(context.WithoutCancel(ctx)) }()
		err = read(elsewhere)
	}
	if errors.Is(err, errNoStatements) {
		return nil
	}
	return err
}

// until makes rates of two looks, the later one given: by statements where both looks could count them, else by the
// tables' own counters. nil where nothing can be said.
func (l *load) until(later *load) *Traffic {
	seconds := later.at.Sub(l.at).Seconds()
	if seconds <= 0 {
		return nil
	}
	t := &Traffic{Source: TableCounters, Seconds: seconds, Tables: map[string]Rate{}}
	if l.calls != nil && later.calls != nil {
		t.Source = StatementCounters
		for id, what := range later.texts {
			n := later.calls[id] - l.calls[id]
			if n < 0 { // counted anew in between
				n = later.calls[id]
			}
			for _, table := range what.used {
				rate := t.Tables[table]
				rate.Any += float64(n) / seconds
				if slices.Contains(what.written, table) {
					rate.Writes += float64(n) / seconds
				}
				t.Tables[table] = rate
			}
		}
		return t
	}
	for table, now := range later.tables {
		then := l.tables[table]
		reads, inserts, writes := now.scans-then.scans, now.inserted-then.inserted, now.written-then.written
		if reads < 0 || inserts < 0 || writes < 0 { // the counters were reset in between
			reads, inserts, writes = now.scans, now.inserted, now.written
		}
		if reads+inserts+writes > 0 { // changing and deleting begin with a scan, inserting does not
			t.Tables[table] = Rate{Any: float64(reads+inserts) / seconds, Writes: float64(writes) / seconds}
		}
	}
	return t
}

// Unit is what the rates count, in the plural.
func (t *Traffic) Unit() string {
	if t != nil && t.Source == StatementCounters {
		return "statements"
	}
	return "uses of the table"
}

// impact says, of each lock, how many of production's statements would run into it if nothing held them back, and how
// long they would wait together. One that comes while the lock is held waits until it is let go; they come evenly,
// so that they wait half of it in the middle. There is no queue in front of the lock: an update starts once all
// requests have ended.
func (t *Timeline) impact(traffic *Traffic) {
	t.Traffic = traffic
	if traffic == nil {
		return
	}
	for i := range t.Locks {
		l := &t.Locks[i]
		rate := traffic.Tables[l.Table].Writes
		if strings.Contains(l.Blocks, "reads") {
			rate = traffic.Tables[l.Table].Any
		}
		l.Blocked, l.BlockedSeconds = rate*l.HeldSeconds, rate*l.HeldSeconds*l.HeldSeconds/2
	}
	for table := range traffic.Tables { // only those that matter here are kept
		if !t.locks(table) {
			delete(traffic.Tables, table)
		}
	}
}

func (t *Timeline) locks(table string) bool {
	for _, l := range t.Locks {
		if l.Table == table {
			return true
		}
	}
	return false
}

// lookAgain takes the second look at production's counters, and what follows. That it cannot proves nothing and stops nothing.
func (r *run) lookAgain(ctx context.Context) {
	if r.before == nil || r.report.Timeline == nil || r.report.Outcome == Unfinished {
		return
	}
	after, err := readLoad(ctx, r.subject.ServerURL, r.database())
	if err != nil {
		r.rooms.Log.WarnContext(ctx, "what the locks mean to production is not known", "rehearsal", r.subject.ID, "error", err)
		return
	}
	r.report.Timeline.impact(r.before.until(after))
}
