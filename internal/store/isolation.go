package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// IsolationRun is one run of the probe that tries whether tenants are apart.
type IsolationRun struct {
	ID          int64           `db:"id"`
	Environment string          `db:"environment"`
	Turn        int             `db:"turn"`
	AskedBy     string          `db:"asked_by"` // empty: it was due
	StartedAt   time.Time       `db:"started_at"`
	FinishedAt  *time.Time      `db:"finished_at"`
	Verdict     string          `db:"verdict"` // PASS, FAIL, INCONCLUSIVE; empty: not known yet
	Says        string          `db:"says"`
	Report      json.RawMessage `db:"report"` // isolation.Examination; null: not known yet
}

// ErrIsolationRuns says that a run is under way.
var ErrIsolationRuns = errors.New("a probe of this environment is under way")

// isolationLost is when a run without an end counts as one whose server was killed.
const isolationLost = 30 * time.Minute

// isolationKept is how many runs of an environment are kept. Those that failed stay longer: a year.
const isolationKept = 500

const isolationColumns = "id, environment, turn, asked_by, started_at, finished_at, verdict, says, report"

// BeginIsolation begins a run, unless one is under way: then it is ErrIsolationRuns. Of those that are due (by nobody), one begins
// only where the last began at least every ago: begun is false otherwise. Several servers may ask.
func (s *Store) BeginIsolation(ctx context.Context, environment, by string, every time.Duration) (run IsolationRun, begun bool, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended('isolation ' || $1, 0))", environment); err != nil {
			return err
		}
		last, err := one[IsolationRun](ctx, tx, "select "+isolationColumns+" from isolation_runs where environment = $1 order by id desc limit 1", environment)
		var now time.Time
		if err == nil {
			err = tx.QueryRow(ctx, "select now()").Scan(&now)
		}
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case last.FinishedAt == nil && now.Sub(last.StartedAt) < isolationLost:
			if by == "" {
				return nil
			}
			return fmt.Errorf("%w since %s", ErrIsolationRuns, last.StartedAt.UTC().Format(time.DateTime))
		case by == "" && last.FinishedAt != nil && now.Sub(last.StartedAt) < every:
			return nil
		}
		run, err = one[IsolationRun](ctx, tx, `insert into isolation_runs (environment, turn, asked_by)
			values ($1, (select coalesce(max(turn), -1) + 1 from isolation_runs where environment = $1), $2) returning `+isolationColumns, environment, by)
		begun = err == nil
		return err
	})
	return run, begun, err
}

// EndIsolation writes down what a run found.
func (s *Store) EndIsolation(ctx context.Context, tx pgx.Tx, run IsolationRun) error {
	if _, err := tx.Exec(ctx, "update isolation_runs set finished_at = now(), verdict = $2, says = $3, report = $4 where id = $1", run.ID, run.Verdict, run.Says, run.Report); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `delete from isolation_runs where environment = $1 and id <= (select max(id) - $2 from isolation_runs where environment = $1)
		and (verdict <> 'FAIL' or started_at < now() - interval '1 year')`, run.Environment, isolationKept)
	return err
}

// IsolationRuns lists an environment's runs, newest first, without what they found one by one.
func (s *Store) IsolationRuns(ctx context.Context, environment string, limit int) ([]IsolationRun, error) {
	return many[IsolationRun](ctx, s.Pool, `select id, environment, turn, asked_by, started_at, finished_at, verdict, says, null::jsonb as report
		from isolation_runs where environment = $1 order by id desc limit $2`, environment, limit)
}

// IsolationRun reads one run of an environment; 0: the newest that has ended.
func (s *Store) IsolationRun(ctx context.Context, environment string, id int64) (IsolationRun, error) {
	return one[IsolationRun](ctx, s.Pool, "select "+isolationColumns+` from isolation_runs where environment = $1 and (id = $2 or $2 = 0 and finished_at is not null)
		order by id desc limit 1`, environment, id)
}

// IsolationState is what is known of an environment's isolation.
type IsolationState struct {
	Environment string     `db:"environment"`
	Verdict     string     `db:"verdict"`     // of the newest run that has ended
	Says        string     `db:"says"`        // likewise
	FinishedAt  time.Time  `db:"finished_at"` // likewise
	PassedAt    *time.Time `db:"passed_at"`   // when one last passed
	Broken      int64      `db:"broken"`      // the first run that failed since; 0: none did
	BrokenSays  string     `db:"broken_says"` // what the last one that failed said
}

// IsolationStates tells the state of each environment that was ever probed. Whatever was reached stays broken until a later run
// passes: one that proves nothing mends nothing.
func (s *Store) IsolationStates(ctx context.Context) ([]IsolationState, error) {
	return isolationStates(ctx, s.Pool)
}

func isolationStates(ctx context.Context, q querier) ([]IsolationState, error) {
	return many[IsolationState](ctx, q, `
		with passed as (select environment, max(id) as id, max(finished_at) as at from isolation_runs where verdict = 'PASS' group by 1)
		select distinct on (r.environment) r.environment, r.verdict, r.says, r.finished_at, p.at as passed_at,
			coalesce((select min(f.id) from isolation_runs f where f.environment = r.environment and f.verdict = 'FAIL' and f.id > coalesce(p.id, 0)), 0) as broken,
			coalesce((select f.says from isolation_runs f where f.environment = r.environment and f.verdict = 'FAIL' and f.id > coalesce(p.id, 0) order by f.id desc limit 1), '') as broken_says
		from isolation_runs r left join passed p using (environment)
		where r.finished_at is not null order by r.environment, r.id desc`)
}

// IsolationStateIn is the state of one environment within a transaction; ErrNotFound before its first run has ended.
func (s *Store) IsolationStateIn(ctx context.Context, tx pgx.Tx, environment string) (IsolationState, error) {
	all, err := isolationStates(ctx, tx)
	if err != nil {
		return IsolationState{}, err
	}
	for _, state := range all {
		if state.Environment == environment {
			return state, nil
		}
	}
	return IsolationState{}, ErrNotFound
}
