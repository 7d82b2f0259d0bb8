package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/report"
)

// reportRollouts reads the rollouts of promotions that ended in a period, with the moments that their steps tell. What went
// back is known by its own steps, or by a later rollback or restore of the promotion; the first time that a tenant came to a
// release is looked for in all of history.
const reportRollouts = `
with arrived as (
	select r.environment, r.tenant, p.release, min(p.finished_at) as first
	from rollouts r join promotions p on p.id = r.promotion_id
	where p.kind = 'promote' and p.finished_at is not null and r.outcome = 'promoted' and ($3 = '' or p.environment = $3)
	group by 1, 2, 3
), reversed as (
	select p.options->>'of' as promotion, r.tenant, min(p.created_at) as asked, min(r.finished_at) as done
	from promotions p join rollouts r on r.promotion_id = p.id
	where p.kind in ('rollback', 'restore') and p.options->>'of' <> '' and r.outcome = 'promoted'
	group by 1, 2
), told as (
	select rollout_id, min(started_at) filter (where name = 'gates' and not undo) as asked,
		max(finished_at) filter (where name = 'gates' and not undo and outcome = 'done') as let_in,
		min(started_at) filter (where name = 'shift' and not undo and outcome <> 'skipped') as served,
		max(finished_at) filter (where not undo and outcome = 'failed') as failed,
		min(started_at) filter (where undo) as back,
		max(finished_at) filter (where undo and outcome = 'done' and name = 'shift') as routed,
		max(finished_at) filter (where undo and outcome = 'done' and name = 'hold') as let_go,
		count(*) filter (where not undo and outcome = 'done' and name in ('checkpoint', 'checkpoint in fence', 'last checkpoint')) as checkpoints,
		count(*) filter (where not undo and outcome = 'failed' and name in ('checkpoint', 'checkpoint in fence', 'last checkpoint')) as checkpoints_failed
	from steps where rollout_id in (select r.id from promotions p join rollouts r on r.promotion_id = p.id where p.finished_at >= $1 and p.finished_at < $2 and ($3 = '' or p.environment = $3))
	group by rollout_id
)
select p.id, p.kind, p.environment, r.tenant, r.ring, p.release, p.release_name,
	r.outcome = 'promoted', coalesce((r.memory->>'not_admitted')::boolean, false), coalesce(a.first = p.finished_at, false),
	p.finished_at, coalesce(r.finished_at, p.finished_at),
	case when (l.data->>'created')::timestamptz > 'epoch' and not coalesce((l.data->>'dirty')::boolean, false) then (l.data->>'created')::timestamptz else l.created_at end,
	s.asked, s.let_in, (select max(v.created_at) from approvals v where v.promotion_id = p.id and v.decision = 'approve' and v.created_at <= s.let_in),
	s.served,
	case when r.outcome = 'rolled_back' then coalesce(s.failed, s.back, r.finished_at) else b.asked end,
	case when r.outcome <> 'rolled_back' then b.done when r.memory->'plan'->>'class' in ('swap', 'compatible') then coalesce(s.routed, r.finished_at) else coalesce(s.let_go, s.routed, r.finished_at) end,
	coalesce((r.memory->'plan'->>'predicted_seconds')::double precision, 0), r.held_seconds, coalesce(s.checkpoints, 0), coalesce(s.checkpoints_failed, 0)
from promotions p join rollouts r on r.promotion_id = p.id
left join releases l on l.digest = p.release
left join arrived a on a.environment = r.environment and a.tenant = r.tenant and a.release = p.release and p.kind = 'promote'
left join reversed b on b.promotion = p.id and b.tenant = r.tenant
left join told s on s.rollout_id = r.id
where p.finished_at >= $1 and p.finished_at < $2 and ($3 = '' or p.environment = $3)
order by p.finished_at, p.seq, r.tenant`

// reportDrifts reads the drifts that were found in a period, from the ledger: what is told again of an object before it is as
// applied again is the same drift.
const reportDrifts = `
with told as (
	select environment, payload::jsonb->>'object' as object, kind, at,
		count(*) filter (where kind = 'drift.mended') over (partition by environment, payload::jsonb->>'object' order by seq rows between unbounded preceding and 1 preceding) as before
	from ledger where kind in ('drift.found', 'drift.mended') and ($3 = '' or environment = $3)
), drifted as (
	select environment, object, min(at) filter (where kind = 'drift.found') as found, max(at) filter (where kind = 'drift.mended') as ended
	from told group by environment, object, coalesce(before, 0)
)
select environment, found, ended from drifted where found >= $1 and found < $2 order by found, object`

// Report reads what ended in a period, of one environment or, for an empty name, of all. One look: what ends meanwhile is in
// all of it or in nothing.
func (s *Store) Report(ctx context.Context, from, to time.Time, environment string) (report.Data, error) {
	var d report.Data
	tx, err := s.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return d, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rows, err := tx.Query(ctx, reportRollouts, from, to, environment)
	if err != nil {
		return d, err
	}
	if d.Rollouts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r report.Rollout, err error) {
		var committed, asked, letIn, approved, served, failed, back *time.Time
		err = row.Scan(&r.Promotion, &r.Kind, &r.Environment, &r.Tenant, &r.Ring, &r.Release, &r.ReleaseName, &r.Promoted, &r.Refused, &r.First,
			&r.PromotionEnded, &r.Ended, &committed, &asked, &letIn, &approved, &served, &failed, &back, &r.Predicted, &r.Held, &r.Checkpoints, &r.CheckpointsFailed)
		for to, from := range map[*time.Time]*time.Time{&r.Committed: committed, &r.AskedAt: asked, &r.LetInAt: letIn, &r.ApprovedAt: approved, &r.ServedAt: served, &r.FailedAt: failed, &r.BackAt: back} {
			if from != nil {
				*to = *from
			}
		}
		return r, err
	}); err != nil {
		return d, err
	}
	rows, err = tx.Query(ctx, `select environment, tenant, outcome, finished_at from rehearsals
		where state = 'done' and finished_at >= $1 and finished_at < $2 and ($3 = '' or environment = $3) order by finished_at, seq`, from, to, environment)
	if err != nil {
		return d, err
	}
	if d.Rehearsals, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r report.Rehearsal, err error) {
		return r, row.Scan(&r.Environment, &r.Tenant, &r.Outcome, &r.Ended)
	}); err != nil {
		return d, err
	}
	if rows, err = tx.Query(ctx, reportDrifts, from, to, environment); err != nil {
		return d, err
	}
	d.Drifts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x report.Drift, err error) {
		var ended *time.Time
		if err = row.Scan(&x.Environment, &x.Found, &ended); ended != nil {
			x.Ended = *ended
		}
		return x, err
	})
	return d, err
}
