package store

import (
	"context"
	"errors"
	"time"
)

// Restored is how long one restore of a tenant took.
type Restored struct {
	ID      string    `db:"id"` // of the rehearsal or the promotion
	Kind    string    `db:"kind"`
	Seconds float64   `db:"seconds"`
	At      time.Time `db:"at"`
}

// LastRestored is the newest restore of a tenant that was measured, in a rehearsal or for good; nil: there was none.
func (s *Store) LastRestored(ctx context.Context, environment, tenant string) (*Restored, error) {
	r, err := one[Restored](ctx, s.Pool, `select id, kind, seconds, at from (
		select id, 'rehearsal' as kind, (report->>'recovery_seconds')::double precision as seconds, finished_at as at from rehearsals
			where environment = $1 and tenant = $2 and state = 'done' and jsonb_typeof(report) = 'object'
		union all
		select r.promotion_id, 'restore', extract(epoch from s.finished_at - s.started_at)::double precision, s.finished_at from steps s join rollouts r on r.id = s.rollout_id
			where r.environment = $1 and split_part(r.tenant, '@', 1) = $2 and s.name = 'restore' and not s.undo and s.outcome = 'done'
		) found where seconds > 0 order by at desc limit 1`, environment, tenant)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &r, err
}

// Brought is the newest promotion of a kind that brought a release to a tenant and was not taken back; ErrNotFound: none did.
func (s *Store) Brought(ctx context.Context, environment, tenant, release, kind string) (Promotion, error) {
	return one[Promotion](ctx, s.Pool, `select p.* from promotions p join rollouts r on r.promotion_id = p.id
		where r.environment = $1 and r.tenant = $2 and r.outcome = 'promoted' and p.kind = $4 and p.release = $3 order by p.seq desc limit 1`, environment, tenant, release, kind)
}
