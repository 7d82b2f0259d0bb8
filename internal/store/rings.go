package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/ring"
)

// RingCounts tells how far the tenants of each ring of a promotion are, by the ring's name.
func (s *Store) RingCounts(ctx context.Context, promotion string) (ring.Counts, error) {
	return ringCounts(ctx, s.Pool, promotion)
}

func ringCounts(ctx context.Context, q querier, promotion string) (ring.Counts, error) {
	rows, err := q.Query(ctx, `select ring, count(*), count(*) filter (where turn_at is not null and state <> 'done'),
			count(*) filter (where outcome = 'promoted'), count(*) filter (where state = 'done' and outcome <> 'promoted'),
			coalesce(max(finished_at), '0001-01-01 00:00:00+00') from rollouts where promotion_id = $1 and ring <> '' group by ring`, promotion)
	if err != nil {
		return nil, err
	}
	counts := ring.Counts{}
	var name string
	var c ring.Count
	_, err = pgx.ForEachRow(rows, []any{&name, &c.Total, &c.Turn, &c.Promoted, &c.Failed, &c.LastEnded}, func() error {
		counts[name] = c
		return nil
	})
	return counts, err
}

// TakeTurn gives a rollout its turn where goes says that its ring has room, and notes else that it waits for that. Only one rollout of
// a promotion is asked about at a time.
func (s *Store) TakeTurn(ctx context.Context, l Lease, promotion string, goes func(ring.Counts) bool) (has bool, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select from promotions where id = $1 for no key update", promotion); err != nil {
			return err
		}
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		counts, err := ringCounts(ctx, tx, promotion)
		if err != nil {
			return err
		}
		has = goes(counts)
		_, err = tx.Exec(ctx, "update rollouts set turn_at = case when $2 then now() end, turn_waits = not $2 where id = $1", l.Rollout, has)
		return err
	})
	return has, err
}

// LoseTurn notes that something else than its ring keeps a rollout by now. It reports whether it had its turn or waited for it before.
func (s *Store) LoseTurn(ctx context.Context, l Lease) (waited bool, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, "update rollouts set turn_waits = false, turn_at = null where id = $1 and (turn_waits or turn_at is not null)", l.Rollout)
		waited = tag.RowsAffected() > 0
		return err
	})
	return waited, err
}

// Next lists those to wake of the first n rollouts of a ring that wait for their turn, by tenant. One that is awake already will see
// for itself.
func (s *Store) Next(ctx context.Context, promotion, ring string, n int) (ids []string, err error) {
	rows, err := s.Pool.Query(ctx, `select id from (select id, lease_until, wake_at from rollouts where promotion_id = $1 and ring = $2 and turn_waits and state = 'running'
			order by tenant limit $3) r where lease_until is not null or wake_at is not null`, promotion, ring, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// WaitInRing says anew what those of a ring wait for that sleep until their turn, and has the first n of them look again at a time
// (zero: none does). Those that are about to go to sleep look again at once: they may not know yet.
func (s *Store) WaitInRing(ctx context.Context, promotion, ring, why string, until time.Time, n int) error {
	_, err := s.Pool.Exec(ctx, `update rollouts r set revision = revision + 1,
			wakes = case when r.lease_until is null then r.wakes else r.wakes + 1 end,
			waits_for = case when r.lease_until is null then $3 else r.waits_for end,
			wake_at = case when r.lease_until is null and w.place <= $5 and $4::timestamptz is not null then $4 else r.wake_at end
		from (select id, row_number() over (order by tenant) as place from rollouts where promotion_id = $1 and ring = $2 and turn_waits and state = 'running') w
		where r.id = w.id and r.abort = '' and (r.lease_until is not null or r.wake_at is not null and (r.waits_for <> $3 or w.place <= $5 and $4::timestamptz is not null and r.wake_at <> $4))`, promotion, ring, why, nullTime(until), n)
	return err
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Reopen lets the rollouts of a promotion that went back begin anew, and returns them. None where the promotion has ended.
func (s *Store) Reopen(ctx context.Context, tx pgx.Tx, promotion string) ([]Rollout, error) {
	if _, err := tx.Exec(ctx, "select from promotions where id = $1 for no key update", promotion); err != nil {
		return nil, err
	}
	return many[Rollout](ctx, tx, `update rollouts set state = 'running', undo = false, step = 0, attempt = 0, memory = '{}', outcome = '', reason = '', held_seconds = 0,
			abort = '', accept_loss = false, wake_at = null, waits_for = '', turn_at = null, turn_waits = false, finished_at = null, epoch = epoch + 1, revision = revision + 1
		where promotion_id = $1 and ring <> '' and state = 'done' and outcome = 'rolled_back'
			and exists (select from promotions where id = $1 and finished_at is null) returning *`, promotion)
}

// ResumeAll lets the rollouts of a promotion go on that wait for a person, and returns them.
func (s *Store) ResumeAll(ctx context.Context, tx pgx.Tx, promotion string) ([]Rollout, error) {
	return many[Rollout](ctx, tx, `update rollouts set state = case when undo then 'undoing' else 'running' end, outcome = '', reason = '', attempt = 0,
		wake_at = null, revision = revision + 1 where promotion_id = $1 and state = 'waiting' returning *`, promotion)
}

// AbortUnturned has the rollouts of a promotion go back that have not had their turn in their ring, and returns them.
func (s *Store) AbortUnturned(ctx context.Context, tx pgx.Tx, promotion, reason string) ([]Rollout, error) {
	return many[Rollout](ctx, tx, `update rollouts set abort = $2, wake_at = null, state = 'running', attempt = 0, outcome = '', revision = revision + 1
		where promotion_id = $1 and ring <> '' and turn_at is null and state in ('running', 'waiting') and not undo returning *`, promotion, reason)
}

// LiftQuarantineOf lets a release in again that this promotion has shut out.
func (s *Store) LiftQuarantineOf(ctx context.Context, tx pgx.Tx, promotion string) (bool, error) {
	tag, err := tx.Exec(ctx, "delete from quarantine where promotion_id = $1", promotion)
	return tag.RowsAffected() > 0, err
}
