package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// TenantUsage is how much storage a tenant takes that has a limit.
type TenantUsage struct {
	Environment   string    `db:"environment"`
	Tenant        string    `db:"tenant"`
	DatabaseBytes int64     `db:"database_bytes"`
	FilesBytes    int64     `db:"files_bytes"`
	LimitBytes    int64     `db:"limit_bytes"`
	Level         int       `db:"level"`       // 0: below what people are told of, 1: nearly all of it, 2: more
	Since         time.Time `db:"since"`       // when it came to this level
	MeasuredAt    time.Time `db:"measured_at"` // by the store's clock
}

// Share is the part of its limit that it takes; above 1: more.
func (u TenantUsage) Share() float64 {
	if u.LimitBytes <= 0 {
		return 0
	}
	return float64(u.DatabaseBytes+u.FilesBytes) / float64(u.LimitBytes)
}

// Usage lists what was measured, in an environment or for an empty name in all.
func (s *Store) Usage(ctx context.Context, environment string) ([]TenantUsage, error) {
	return many[TenantUsage](ctx, s.Pool, "select * from tenant_usage where $1 = '' or environment = $1 order by environment, tenant", environment)
}

// PutUsage writes down what a tenant takes, and says at which level it was before. now has the time at which it came to its level.
func (s *Store) PutUsage(ctx context.Context, tx pgx.Tx, u TenantUsage) (before int, now TenantUsage, err error) {
	last, err := one[TenantUsage](ctx, tx, "select * from tenant_usage where environment = $1 and tenant = $2 for update", u.Environment, u.Tenant)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, u, err
	}
	now, err = one[TenantUsage](ctx, tx, `insert into tenant_usage (environment, tenant, database_bytes, files_bytes, limit_bytes, level) values ($1, $2, $3, $4, $5, $6)
		on conflict (environment, tenant) do update set database_bytes = excluded.database_bytes, files_bytes = excluded.files_bytes, limit_bytes = excluded.limit_bytes,
			since = case when tenant_usage.level = excluded.level then tenant_usage.since else now() end, level = excluded.level, measured_at = now() returning *`,
		u.Environment, u.Tenant, u.DatabaseBytes, u.FilesBytes, u.LimitBytes, u.Level)
	return last.Level, now, err
}

// ForgetUsage drops what was measured of a tenant that has no limit any more.
func (s *Store) ForgetUsage(ctx context.Context, environment, tenant string) error {
	_, err := s.Pool.Exec(ctx, "delete from tenant_usage where environment = $1 and tenant = $2", environment, tenant)
	return err
}
