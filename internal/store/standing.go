package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// WaitingRollout is a rollout that waits, for a time or for something else.
type WaitingRollout struct {
	Promotion   string     `db:"promotion"`
	Kind        string     `db:"kind"`
	ReleaseName string     `db:"release_name"`
	Environment string     `db:"environment"`
	Tenant      string     `db:"tenant"`
	WaitsFor    string     `db:"waits_for"`
	WakeAt      *time.Time `db:"wake_at"`
	RequestedBy string     `db:"requested_by"`
}

// WaitingRollouts lists them, the oldest promotion first.
func (s *Store) WaitingRollouts(ctx context.Context) ([]WaitingRollout, error) {
	return many[WaitingRollout](ctx, s.Pool, `select p.id as promotion, p.kind, p.release_name, r.environment, r.tenant, r.wake_at, p.requested_by,
		case when r.state = 'waiting' then r.reason else r.waits_for end as waits_for
		from rollouts r join promotions p on p.id = r.promotion_id
		where r.state = 'waiting' or r.state = 'running' and r.waits_for <> '' order by p.seq, r.tenant`)
}

// LastPromotion is the newest promotion of a tenant that has ended.
type LastPromotion struct {
	Environment string    `db:"environment" json:"-"`
	Tenant      string    `db:"tenant" json:"-"`
	ID          string    `db:"id" json:"id"`
	Kind        string    `db:"kind" json:"kind"`
	ReleaseName string    `db:"release_name" json:"release_name"`
	Outcome     string    `db:"outcome" json:"outcome" doc:"Of the tenant's part: promoted, rolled_back"`
	Reason      string    `db:"reason" json:"reason,omitempty"`
	Finished    time.Time `db:"finished_at" json:"finished"`
}

// LastPromotions are those of an environment's tenants by which releases came or went.
func (s *Store) LastPromotions(ctx context.Context, environment string) ([]LastPromotion, error) {
	return many[LastPromotion](ctx, s.Pool, `select t.environment, t.name as tenant, l.* from tenants t cross join lateral (
		select p.id, p.kind, p.release_name, r.outcome, r.reason, r.finished_at from rollouts r join promotions p on p.id = r.promotion_id
		where r.environment = t.environment and r.tenant = t.name and r.state = 'done' and r.finished_at is not null and p.kind in ('promote', 'rollback', 'restore', 'configuration', 'create')
		order by r.created_at desc limit 1) l where t.environment = $1`, environment)
}

// TenantPromotion is a tenant's part of a promotion.
type TenantPromotion struct {
	ID          string     `db:"id" json:"id"`
	Seq         int64      `db:"seq" json:"seq" doc:"Order of creation"`
	Kind        string     `db:"kind" json:"kind"`
	Release     string     `db:"release" json:"release" doc:"Digest"`
	ReleaseName string     `db:"release_name" json:"release_name"`
	Class       string     `db:"class" json:"class,omitempty"`
	RequestedBy string     `db:"requested_by" json:"requested_by"`
	State       string     `db:"state" json:"state" enum:"running,undoing,waiting,done"`
	Outcome     string     `db:"outcome" json:"outcome" doc:"promoted, rolled_back, waiting; empty while it runs"`
	Reason      string     `db:"reason" json:"reason,omitempty"`
	WaitsFor    string     `db:"waits_for" json:"waits_for,omitempty"`
	HeldSeconds float64    `db:"held_seconds" json:"held_seconds" doc:"How long its people waited"`
	Created     time.Time  `db:"created_at" json:"created"`
	Finished    *time.Time `db:"finished_at" json:"finished,omitempty"`
}

// TenantPromotions lists those of a tenant, the newest first; before: the number that the last one seen has, 0: from the start.
func (s *Store) TenantPromotions(ctx context.Context, environment, tenant string, before int64, limit int) ([]TenantPromotion, error) {
	return many[TenantPromotion](ctx, s.Pool, `select p.id, p.seq, p.kind, p.release, p.release_name, p.class, p.requested_by, r.state, r.outcome, r.reason, r.waits_for, r.held_seconds,
		p.created_at, r.finished_at from rollouts r join promotions p on p.id = r.promotion_id
		where r.environment = $1 and r.tenant = $2 and ($3 = 0 or p.seq < $3) order by p.seq desc limit $4`, environment, tenant, before, limit)
}

// OpenRollout is a rollout that has not ended.
type OpenRollout struct {
	Promotion   string `db:"promotion_id"`
	Environment string `db:"environment"`
	Tenant      string `db:"tenant"`
	State       string `db:"state"`
	Says        string `db:"says"` // what it waits for, or why
}

// OpenRollouts lists those of an environment.
func (s *Store) OpenRollouts(ctx context.Context, environment string) ([]OpenRollout, error) {
	return many[OpenRollout](ctx, s.Pool, `select promotion_id, environment, tenant, state, case when state = 'waiting' then reason else waits_for end as says
		from rollouts where environment = $1 and state <> 'done'`, environment)
}

// ReleaseNames are what people call releases, by digest.
func (s *Store) ReleaseNames(ctx context.Context, digests []string) (map[string]string, error) {
	rows, err := s.Pool.Query(ctx, "select digest, name from releases where digest = any($1)", digests)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	var digest, name string
	_, err = pgx.ForEachRow(rows, []any{&digest, &name}, func() error {
		names[digest] = name
		return nil
	})
	return names, err
}
