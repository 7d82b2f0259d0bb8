package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Figures are counts over the whole store, for metrics. They are cheap: each is one pass over an index or a small table.
type Figures struct {
	Promotions []PromotionCount
	Rollouts   []StateCount // that have not ended, by state
	Gates      []StateCount // rollouts that wait at a gate; no state
	Jobs       []StateCount // of River, that have not ended; Environment holds their kind
	Work       WorkFigures
	Ledger     LedgerFigures
	Notices    NoticeFigures
	Estate     EstateFigures
	Quarantine []StateCount // releases that are kept out; no state
	Reviews    []StateCount // emergencies whose review is open; no state
	Advisories []StateCount // what is known to be vulnerable of what runs; State holds the level
	Tenants    []StateCount // that Waybill knows; no state
	Isolation  []StateCount // newest verdict of an environment; State holds it, Count is 1
	Drifts     []StateCount // objects that are not as they were applied; State is found or fought
	Usage      []TenantUsage
}

// PromotionCount is how many promotions came to an outcome; without one they have not ended.
type PromotionCount struct {
	Kind        string `db:"kind"`
	Environment string `db:"environment"`
	Outcome     string `db:"outcome"`
	Count       int64  `db:"count"`
}

// StateCount is how many of something are in a state.
type StateCount struct {
	Environment string `db:"environment"`
	State       string `db:"state"`
	Count       int64  `db:"count"`
}

// WorkFigures say whether the work gets done.
type WorkFigures struct {
	Leases         int64   `db:"leases"`         // held by some server
	Lapsed         int64   `db:"lapsed"`         // their server did not renew them
	Due            int64   `db:"due"`            // rollouts that nobody works on although their time has come
	DueSeconds     float64 `db:"due_seconds"`    // of the one that is due longest
	QueueSeconds   float64 `db:"queue_seconds"`  // that the oldest job has been ready to run
	Rehearsals     int64   `db:"rehearsals"`     // asked for and not ended
	PersonSeconds  float64 `db:"person_seconds"` // since the rollout was asked for that waits for a person longest
	DatabaseBytes  int64   `db:"database_bytes"` // of the store
	WaitingPersons int64   `db:"waiting_persons"`
}

// LedgerFigures say how far the ledger is behind.
type LedgerFigures struct {
	Entries    int64      `db:"entries"`     // in the chain
	Unchained  int64      `db:"unchained"`   // written down and not yet chained
	LagSeconds float64    `db:"lag_seconds"` // of the oldest of those
	Uncovered  int64      `db:"uncovered"`   // entries that no signed head covers
	HeadAt     *time.Time `db:"head_at"`     // when the newest head was signed
}

// NoticeFigures say whether people are told.
type NoticeFigures struct {
	Pending    int64   `db:"pending"`    // deliveries to be made, or made again
	LateBy     float64 `db:"late_by"`    // seconds since the longest pending one was announced
	GivenUp    int64   `db:"given_up"`   // within the last day
	Unanswered int64   `db:"unanswered"` // pending ones that have failed at least once
}

// EstateFigures say how the estate's repository is followed.
type EstateFigures struct {
	Commit    string     `db:"commit"` // in force; empty: the estate is a folder, or nothing is in force yet
	Problem   bool       `db:"problem"`
	At        *time.Time `db:"at"`
	Reversals int64      `db:"reversals"` // that Git has still to be told
	Blocked   int64      `db:"blocked"`   // targets and configurations that were not started
}

// Figures reads them, all at one point in time.
func (s *Store) Figures(ctx context.Context) (f Figures, err error) {
	tx, err := s.Pool.BeginTx(ctx, readOnly)
	if err != nil {
		return f, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if f.Promotions, err = many[PromotionCount](ctx, tx, `select kind, environment, case when finished_at is null then '' else outcome end as outcome, count(*) as count
		from promotions group by 1, 2, 3 order by 1, 2, 3`); err != nil {
		return f, err
	}
	for _, q := range []struct {
		to  *[]StateCount
		sql string
	}{
		{&f.Rollouts, "select environment, state, count(*) as count from rollouts where state <> 'done' group by 1, 2 order by 1, 2"},
		{&f.Gates, `select r.environment, '' as state, count(*) as count from rollouts r join gates g on g.rollout_id = r.id
			where r.state = 'running' and cardinality(g.topics) > 0 and r.lease_until is null group by 1 order by 1`},
		{&f.Jobs, `select kind as environment, state::text as state, count(*) as count from river_job
			where state in ('available', 'pending', 'retryable', 'running', 'scheduled') group by 1, 2 order by 1, 2`},
		{&f.Quarantine, "select environment, '' as state, count(*) as count from quarantine group by 1 order by 1"},
		{&f.Reviews, "select environment, '' as state, count(*) as count from emergencies where confirmed_at is not null and reviewed_at is null group by 1 order by 1"},
		{&f.Advisories, "select environment, level as state, count(*) as count from vulnerabilities group by 1, 2 order by 1, 2"},
		{&f.Tenants, "select environment, '' as state, count(*) as count from tenants group by 1 order by 1"},
		{&f.Isolation, `select distinct on (environment) environment, verdict as state, 1::bigint as count from isolation_runs
			where finished_at is not null and verdict <> '' order by environment, id desc`},
		{&f.Drifts, "select environment, case when fought then 'fought' else 'found' end as state, count(*) as count from drifts where mended_at is null group by 1, 2 order by 1, 2"},
	} {
		if *q.to, err = many[StateCount](ctx, tx, q.sql); err != nil {
			return f, err
		}
	}
	if f.Usage, err = many[TenantUsage](ctx, tx, "select * from tenant_usage order by environment, tenant"); err != nil {
		return f, err
	}
	if f.Work, err = one[WorkFigures](ctx, tx, `select count(*) filter (where lease_until >= now()) as leases, count(*) filter (where lease_until < now()) as lapsed,
			count(*) filter (where due) as due, coalesce(extract(epoch from max(now() - greatest(coalesce(wake_at, created_at), coalesce(lease_until, created_at))) filter (where due)), 0)::float8 as due_seconds,
			count(*) filter (where state = 'waiting') as waiting_persons, coalesce(extract(epoch from max(now() - created_at) filter (where state = 'waiting')), 0)::float8 as person_seconds,
			(select count(*) from rehearsals where state <> 'done') as rehearsals, pg_database_size(current_database()) as database_bytes,
			(select coalesce(extract(epoch from now() - min(scheduled_at)), 0)::float8 from river_job where state = 'available') as queue_seconds
		from (select *, state in ('running', 'undoing') and (wake_at is null or wake_at <= now()) and (lease_until is null or lease_until < now()) as due from rollouts where state <> 'done') r`); err != nil {
		return f, err
	}
	if f.Ledger, err = one[LedgerFigures](ctx, tx, `select e.entries, o.unchained, o.lag_seconds, e.entries - coalesce(h.seq, 0) as uncovered, h.at as head_at
		from (select coalesce(max(seq), 0) as entries from ledger) e
		cross join (select count(*) as unchained, coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 as lag_seconds from ledger_outbox) o
		left join lateral (select seq, at from ledger_heads order by seq desc limit 1) h on true`); err != nil {
		return f, err
	}
	if f.Notices, err = one[NoticeFigures](ctx, tx, `select count(*) filter (where open) as pending, count(*) filter (where open and attempts > 0 and last_error <> '') as unanswered,
			coalesce(extract(epoch from max(now() - n.created_at) filter (where open)), 0)::float8 as late_by, count(*) filter (where gave_up_at > now() - interval '1 day') as given_up
		from (select *, delivered_at is null and gave_up_at is null as open from deliveries) d join notices n on n.id = d.notice`); err != nil {
		return f, err
	}
	f.Estate, err = one[EstateFigures](ctx, tx, `select commit, problem <> '' as problem, at, (select count(*) from reversals where done_at is null) as reversals,
		(select count(*) from targets where problem <> '') + (select count(*) from configurations where problem <> '') as blocked from estate_head`)
	return f, err
}

var readOnly = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
