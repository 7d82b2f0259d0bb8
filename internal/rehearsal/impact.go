package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/database"
)

// load is what a tenant's production has done to its tables so far, by PostgreSQL's own counters.
type load struct {
	at     time.Time
	tables map[string]uses
}

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
	return found, nil
}

// until makes rates of two looks, the later one given. nil where nothing can be said.
func (l *load) until(later *load) *Traffic {
	seconds := later.at.Sub(l.at).Seconds()
	if seconds <= 0 {
		return nil
	}
	t := &Traffic{Seconds: seconds, Tables: map[string]Rate{}}
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
		held := max(0, l.To-l.From)
		l.Blocked, l.BlockedSeconds = rate*held, rate*held*held/2
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
