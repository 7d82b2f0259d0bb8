package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Kin is a rollout among those of its promotion whose databases have the same modules.
type Kin struct {
	RolloutID   string `db:"rollout_id"`
	PromotionID string `db:"promotion_id"`
	Tenant      string `db:"tenant"`
	Set         string `db:"module_set"`
	Young       bool   `db:"young"`
	Bytes       int64  `db:"bytes"`
	Stands      string `db:"stands"`
	Rehearsal   string `db:"rehearsal"`
}

// What the rehearsal of one of them came to.
const (
	KinProven = "proven" // it stands for the others
	KinFails  = "fails"  // on its data; so each of the others is rehearsed by itself
	KinNone   = "none"   // there is none, and there will be none: another one is rehearsed
)

// PutKin notes a rollout among its kin. Nothing is known of its rehearsal yet.
func (s *Store) PutKin(ctx context.Context, l Lease, k Kin) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into kin (rollout_id, promotion_id, tenant, module_set, young, bytes) values ($1, $2, $3, $4, $5, $6)
			on conflict (rollout_id) do update set module_set = excluded.module_set, young = excluded.young, bytes = excluded.bytes, stands = '', rehearsal = ''`,
			l.Rollout, k.PromotionID, k.Tenant, k.Set, k.Young, k.Bytes)
		return err
	})
}

// DropKin takes a rollout out again that has none.
func (s *Store) DropKin(ctx context.Context, l Lease) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from kin where rollout_id = $1", l.Rollout)
		return err
	})
}

// StandForKin writes down, in the transaction that ends its step or its rollout, what the rehearsal of one came to.
func (s *Store) StandForKin(ctx context.Context, tx pgx.Tx, rollout, stands, rehearsal string) error {
	_, err := tx.Exec(ctx, "update kin set stands = $2, rehearsal = $3 where rollout_id = $1", rollout, stands, rehearsal)
	return err
}

// AllPlanned says whether every rollout of a promotion has its plan, or has ended.
func (s *Store) AllPlanned(ctx context.Context, promotion string) (bool, error) {
	var planned bool
	err := s.Pool.QueryRow(ctx, "select not exists (select from rollouts where promotion_id = $1 and step = 0 and state = 'running')", promotion).Scan(&planned)
	return planned, err
}

// FirstOfKin is the one of a set whose rehearsal counts: of those that can be rehearsed, the largest; those that came to nothing are
// left out. failed says that one of the set failed. ErrNotFound where nobody is left.
func (s *Store) FirstOfKin(ctx context.Context, promotion, set string) (k Kin, failed bool, err error) {
	if err := s.Pool.QueryRow(ctx, "select exists (select from kin where promotion_id = $1 and module_set = $2 and stands = $3)", promotion, set, KinFails).Scan(&failed); err != nil {
		return k, false, err
	}
	k, err = one[Kin](ctx, s.Pool, `select k.* from kin k join rollouts r on r.id = k.rollout_id where k.promotion_id = $1 and k.module_set = $2
		and (k.stands = 'proven' or k.stands = '' and r.state = 'running') order by k.young desc, k.bytes desc, k.tenant limit 1`, promotion, set)
	return k, failed, err
}

// WaitingKin lists the rollouts of a promotion that stand at a step; with a set, only those of it.
func (s *Store) WaitingKin(ctx context.Context, promotion, set string, step int) ([]string, error) {
	rows, err := s.Pool.Query(ctx, `select r.id from rollouts r join kin k on k.rollout_id = r.id
		where r.promotion_id = $1 and r.step = $3 and r.state = 'running' and $2 in ('', k.module_set)`, promotion, set, step)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
