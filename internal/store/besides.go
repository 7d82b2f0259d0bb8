package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Beside is a checkpoint that was restored beside the tenant that it is of.
type Beside struct {
	Environment   string     `db:"environment" json:"environment"`
	Tenant        string     `db:"tenant" json:"tenant"`
	Name          string     `db:"name" json:"name"`
	Database      string     `db:"database" json:"database"`
	Host          string     `db:"host" json:"host,omitempty"` // empty: nothing serves it
	Checkpoint    string     `db:"checkpoint" json:"checkpoint"`
	RecoveryPoint time.Time  `db:"recovery_point" json:"recovery_point"`
	Release       string     `db:"release" json:"release"` // digest
	Promotion     string     `db:"promotion" json:"promotion"`
	ReadyAt       *time.Time `db:"ready_at" json:"ready_at,omitempty"` // nil: it is being made
	ExpiresAt     time.Time  `db:"expires_at" json:"expires_at"`
}

// besideMark is between a tenant's name and that of what stands beside it. No estate can declare such a name.
const besideMark = "@"

// BesideName is the name under which tenants hold what stands beside one of them.
func BesideName(tenant, name string) string { return tenant + besideMark + name }

// OfBeside takes such a name apart; ok is false for a tenant that the estate declares.
func OfBeside(tenant string) (of, name string, ok bool) { return strings.Cut(tenant, besideMark) }

// StandsBeside says whether it is no tenant of the estate, but what was restored beside one.
func (t Tenant) StandsBeside() bool { return strings.Contains(t.Name, besideMark) }

// ErrTaken is returned for a name or a host that something else beside a tenant has.
var ErrTaken = errors.New("it is taken by something else that stands beside a tenant")

// PutBeside writes down that something is going to stand beside a tenant.
func (s *Store) PutBeside(ctx context.Context, tx pgx.Tx, b Beside) error {
	_, err := tx.Exec(ctx, "insert into besides (environment, tenant, name, database, host, checkpoint, recovery_point, release, promotion, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		b.Environment, b.Tenant, b.Name, b.Database, b.Host, b.Checkpoint, b.RecoveryPoint, b.Release, b.Promotion, b.ExpiresAt)
	var violation *pgconn.PgError
	if errors.As(err, &violation) && violation.Code == "23505" {
		return ErrTaken
	}
	return err
}

// Besides lists what stands, or is being made to stand, beside tenants; empty arguments stand for any.
func (s *Store) Besides(ctx context.Context, environment, tenant string) ([]Beside, error) {
	return many[Beside](ctx, s.Pool, "select * from besides where $1 in ('', environment) and $2 in ('', tenant) order by environment, tenant, name", environment, tenant)
}

// Beside reads one.
func (s *Store) Beside(ctx context.Context, environment, tenant, name string) (Beside, error) {
	return one[Beside](ctx, s.Pool, "select * from besides where environment = $1 and tenant = $2 and name = $3", environment, tenant, name)
}

// BesideStands writes down, under the lease, that it has been made.
func (s *Store) BesideStands(ctx context.Context, l Lease, environment, tenant, name string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update besides set ready_at = coalesce(ready_at, now()) where environment = $1 and tenant = $2 and name = $3", environment, tenant, name)
		return err
	})
}

// ForgetBeside removes it, and the tenant that it is to pools and routes, under the lease.
func (s *Store) ForgetBeside(ctx context.Context, l Lease, environment, tenant, name string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from tenants where environment = $1 and name = $2", environment, BesideName(tenant, name)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "insert into generations values ($1, 1) on conflict (environment) do update set generation = generations.generation + 1", environment); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from besides where environment = $1 and tenant = $2 and name = $3", environment, tenant, name)
		return err
	})
}
