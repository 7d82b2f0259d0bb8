package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Gate is what a rollout was asked before it touched anything, and the answer.
type Gate struct {
	RolloutID   string          `db:"rollout_id"`
	Topics      []string        `db:"topics"` // what an event must be about to concern it
	Policies    json.RawMessage `db:"policies"`
	Facts       json.RawMessage `db:"facts"`
	Result      json.RawMessage `db:"result"`
	EvaluatedAt time.Time       `db:"evaluated_at"`

	PromotionID string     `db:"promotion_id"`
	Epoch       int64      `db:"epoch"`     // of the rollout when it was touched
	Asleep      bool       `db:"asleep"`    // nobody works on the rollout
	WaitsFor    string     `db:"waits_for"` // for SleepOn
	WakeAt      *time.Time `db:"wake_at"`   // for SleepOn
}

// WatchGate notes what concerns a rollout before its facts are gathered, so that no event falls in between.
func (s *Store) WatchGate(ctx context.Context, l Lease, topics []string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into gates (rollout_id, topics) values ($1, $2)
			on conflict (rollout_id) do update set topics = excluded.topics`, l.Rollout, append([]string{}, topics...))
		return err
	})
}

// KeepGate writes an answer down.
func (s *Store) KeepGate(ctx context.Context, l Lease, g Gate) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update gates set topics = $2, policies = $3, facts = $4, result = $5, evaluated_at = clock_timestamp() where rollout_id = $1`,
			l.Rollout, append([]string{}, g.Topics...), g.Policies, g.Facts, g.Result)
		return err
	})
}

// GateOf reads the gate of a rollout. ErrNotFound where it never stood at one.
func (s *Store) GateOf(ctx context.Context, rollout string) (Gate, error) {
	return one[Gate](ctx, s.Pool, "select * from gates where rollout_id = $1", rollout)
}

// TouchGates finds the gates that an event concerns (nil: all that are pending). It counts a wake for each of
// their rollouts, so that a step that is evaluating one right now does so again.
func (s *Store) TouchGates(ctx context.Context, topics []string) ([]Gate, error) {
	return many[Gate](ctx, s.Pool, `update rollouts r set wakes = wakes + 1 from gates g
		where g.rollout_id = r.id and r.state = 'running' and cardinality(g.topics) > 0 and ($1::text[] is null or g.topics && $1)
		returning g.*, r.promotion_id, r.epoch, r.lease_until is null as asleep`, topics)
}

// SleepOn writes new answers of gates down whose rollouts go on waiting, and returns which. Left alone are those that
// somebody works on by now, and those whose answer another event has renewed since they were read: this one was not
// given with what that one brought.
func (s *Store) SleepOn(ctx context.Context, gates []Gate) (slept []string, err error) {
	if len(gates) == 0 {
		return nil, nil
	}
	var ids, waits []string
	var facts, results []string
	var epochs []int64
	var wakes []*time.Time
	var read []time.Time
	for _, g := range gates {
		ids, waits, epochs, wakes = append(ids, g.RolloutID), append(waits, g.WaitsFor), append(epochs, g.Epoch), append(wakes, g.WakeAt)
		facts, results, read = append(facts, string(g.Facts)), append(results, string(g.Result)), append(read, g.EvaluatedAt)
	}
	rows, err := s.Pool.Query(ctx, `with new as (select * from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::timestamptz[])
			as n (id, waits_for, epoch, wake_at, facts, result, read)),
		slept as (update rollouts r set waits_for = n.waits_for, wake_at = n.wake_at, revision = r.revision + 1 from new n
			where r.id = n.id and r.epoch = n.epoch and r.lease_until is null and r.state = 'running' and r.abort = '' returning r.id)
		update gates g set facts = n.facts::jsonb, result = n.result::jsonb, evaluated_at = clock_timestamp() from new n join slept on slept.id = n.id
			where g.rollout_id = n.id and g.evaluated_at = n.read returning g.rollout_id`,
		ids, waits, epochs, wakes, facts, results, read)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Wake makes rollouts that wait for a time go on now, and returns what their next jobs are about.
func (s *Store) Wake(ctx context.Context, tx pgx.Tx, rollouts []string) ([]Lease, error) {
	return many[Lease](ctx, tx, `update rollouts set wake_at = null, wakes = wakes + 1, revision = revision + 1
		where id = any($1) and state = 'running' returning id as rollout, epoch`, rollouts)
}

// LastPromotionOf is the newest promotion of a release into an environment that has ended. ErrNotFound where
// there was none.
func (s *Store) LastPromotionOf(ctx context.Context, environment, digest string) (Promotion, error) {
	return one[Promotion](ctx, s.Pool, `select * from promotions where environment = $1 and release = $2 and kind = 'promote' and finished_at is not null
		order by seq desc limit 1`, environment, digest)
}
