package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Leaving is what a tenant was deleted with: its data is kept for a while, and it can come back.
type Leaving struct {
	Until      time.Time `json:"until"`      // then its data goes
	Checkpoint string    `json:"checkpoint"` // ID of the last one: nobody has written since
	Promotion  string    `json:"promotion"`  // that deleted it
}

// ForgetLeaving forgets a tenant that is leaving, and what was measured of it, provided that the rollout still holds its lease.
// One that is forgotten already is fine; any other stays, and it reports false. What was done about it, and the ledger, stay.
func (s *Store) ForgetLeaving(ctx context.Context, environment, name string, lease Lease) (gone bool, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if err := lease.check(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from tenants where environment = $1 and name = $2 and live ? 'leaving'", environment, name); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "select not exists (select from tenants where environment = $1 and name = $2)", environment, name).Scan(&gone); err != nil || !gone {
			return err
		}
		for _, table := range []string{"tenant_usage", "signal_hours"} { // another tenant of that name begins with nothing
			if _, err := tx.Exec(ctx, "delete from "+table+" where environment = $1 and tenant = $2", environment, name); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `insert into generations values ($1, 1) on conflict (environment) do update set generation = generations.generation + 1`, environment)
		return err
	})
	return gone, err
}
