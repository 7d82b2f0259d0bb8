package rehearsal

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// traceFile is where the scratch server logs; the CSV form has csvFile's name.
const (
	traceFile = "trace.log"
	csvFile   = "trace.csv"
)

// slowStatement is how long a statement other than DDL must take to be in the timeline.
const slowStatement = 20 * time.Millisecond

//go:embed trace.sql
var traceSQL string

// sampleEvery is the pause between two looks at the locks; a look that takes long makes it longer.
const sampleEvery = 100 * time.Millisecond

// trace watches what the login role does in one database of a scratch server.
type trace struct {
	scratch *scratch
	db      string
	stop    context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	held    map[[2]string]*span // by table and mode
	waiting string              // what it waited for when last seen
}

type span struct{ first, last time.Time }

func (s *scratch) logFile() string { return filepath.Join(s.dir, "postgres", "data", "log", csvFile) }

// prepareTrace makes the login role's sessions tell, and puts the event triggers into the restored database, so that
// copies have them. It is called once.
func (s *scratch) prepareTrace(ctx context.Context) error {
	err := s.in(ctx, "postgres", func(conn *pgx.Conn) error {
		for _, set := range []string{"log_statement = 'ddl'", fmt.Sprintf("log_min_duration_statement = '%dms'", slowStatement.Milliseconds())} {
			if _, err := conn.Exec(ctx, "ALTER ROLE "+loginRole+" SET "+set); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.in(ctx, pristine, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, traceSQL)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("prepare the trace: %w", err)
	}
	return nil
}

// watch begins to look at the locks of the update, until end is called.
func (s *scratch) watch(ctx context.Context, db string) (*trace, error) {
	conn, err := s.connect(ctx, db)
	if err != nil {
		return nil, err
	}
	t := &trace{scratch: s, db: db, done: make(chan struct{}), held: map[[2]string]*span{}}
	ctx, t.stop = context.WithCancel(ctx)
	go func() {
		defer close(t.done)
		defer s.disconnect(ctx, conn)
		t.sample(ctx, conn)
	}()
	return t, nil
}

// closed is the end of a watch that never was.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (t *trace) end() {
	t.stop()
	<-t.done
}

const lockQuery = `SELECT n.nspname || '.' || c.relname, l.mode
	  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE l.locktype = 'relation' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	   AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
	   AND c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\_%'
	   AND l.pid IN (SELECT pid FROM pg_stat_activity WHERE usename = '` + loginRole + `')`

// waitQuery says what active sessions of the update do, and who is in their way.
const waitQuery = `SELECT coalesce(wait_event_type || ' ' || wait_event, 'running') || coalesce(' behind process ' || array_to_string(nullif(pg_blocking_pids(pid), '{}'), ', '), ''), left(query, 500)
	  FROM pg_stat_activity WHERE usename = '` + loginRole + `' AND state = 'active' AND datname = current_database() ORDER BY query_start LIMIT 1`

// sample looks again and again. What it cannot see now (the server is gone) it will not see later.
func (t *trace) sample(ctx context.Context, conn *pgx.Conn) {
	pause := sampleEvery
	for n := 0; ; n++ {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		began := time.Now()
		rows, err := conn.Query(ctx, lockQuery)
		if err != nil {
			return
		}
		var table, mode string
		_, err = pgx.ForEachRow(rows, []any{&table, &mode}, func() error {
			t.mu.Lock()
			defer t.mu.Unlock()
			key := [2]string{table, mode}
			if t.held[key] == nil {
				t.held[key] = &span{first: began}
			}
			t.held[key].last = time.Now()
			return nil
		})
		if err != nil {
			return
		}
		if n%10 == 0 {
			var wait, query string
			if conn.QueryRow(ctx, waitQuery).Scan(&wait, &query) == nil {
				t.mu.Lock()
				t.waiting = oneLine(wait + ": " + scrub(query))
				t.mu.Unlock()
			}
		}
		pause = max(sampleEvery, 20*time.Since(began)) // at most a twentieth of one core
	}
}

// shortMode is a mode as people write it.
func shortMode(mode string) string { return strings.TrimSuffix(mode, "Lock") }

// blocks says whom a lock keeps waiting.
func blocks(mode string) string {
	switch mode {
	case "AccessExclusiveLock":
		return "reads and writes"
	case "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock":
		return "writes"
	}
	return ""
}
