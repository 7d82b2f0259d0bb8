package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Verdict is what was decided about a stage of a rollout: a weight of its shift, or its bake.
type Verdict struct {
	RolloutID string          `db:"rollout_id"`
	Stage     string          `db:"stage"`
	Outcome   string          `db:"outcome"`
	Says      string          `db:"says"`
	Evidence  json.RawMessage `db:"evidence"`
	DecidedAt time.Time       `db:"decided_at"`
}

// PutVerdict writes a verdict down, in place of an earlier one on the same stage. It is only written
// while the lease is held.
func (s *Store) PutVerdict(ctx context.Context, l Lease, stage, outcome, says string, evidence any) error {
	data, err := json.Marshal(evidence)
	if err != nil {
		return err
	}
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into verdicts (rollout_id, stage, outcome, says, evidence) values ($1, $2, $3, $4, $5)
			on conflict (rollout_id, stage) do update set outcome = excluded.outcome, says = excluded.says, evidence = excluded.evidence, decided_at = now()`,
			l.Rollout, stage, outcome, says, json.RawMessage(data))
		return err
	})
}

// Verdicts lists the verdicts on rollouts in the order of time.
func (s *Store) Verdicts(ctx context.Context, rollouts ...string) ([]Verdict, error) {
	return many[Verdict](ctx, s.Pool, "select * from verdicts where rollout_id = any($1) order by rollout_id, decided_at", rollouts)
}
