package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Secret says which version of a derived secret is in force. It holds no value.
type Secret struct {
	Environment string    `db:"environment" json:"environment"`
	Name        string    `db:"name" json:"name"`
	Version     int       `db:"version" json:"version"` // 0: it was never changed
	Overlap     bool      `db:"overlap" json:"overlap"` // the version before still opens
	Promotion   string    `db:"promotion" json:"promotion,omitempty"`
	ChangedAt   time.Time `db:"changed_at" json:"changed_at,omitzero"`
}

// Secret reads which version of a secret is in force.
func (s *Store) Secret(ctx context.Context, environment, name string) (Secret, error) {
	found, err := one[Secret](ctx, s.Pool, "select environment, name, version, overlap, promotion, changed_at from secrets where environment = $1 and name = $2", environment, name)
	if errors.Is(err, ErrNotFound) {
		return Secret{Environment: environment, Name: name}, nil
	}
	return found, err
}

// Secrets lists an environment's secrets that have been changed, by name.
func (s *Store) Secrets(ctx context.Context, environment string) ([]Secret, error) {
	return many[Secret](ctx, s.Pool, "select environment, name, version, overlap, promotion, changed_at from secrets where environment = $1 order by name", environment)
}

// NextSecret puts the next version in force for a promotion, once however often it asks.
func (s *Store) NextSecret(ctx context.Context, tx pgx.Tx, environment, name, promotion string) error {
	_, err := tx.Exec(ctx, `insert into secrets (environment, name, version, promotion) values ($1, $2, 1, $3)
		on conflict (environment, name) do update set version = secrets.version + 1, promotion = excluded.promotion, changed_at = now()
		where secrets.promotion <> excluded.promotion`, environment, name, promotion)
	return err
}

// OverlapSecret puts the next version in force beside the one before. While one overlap has not ended, there is no other:
// it reports false.
func (s *Store) OverlapSecret(ctx context.Context, tx pgx.Tx, environment, name string) (bool, error) {
	tag, err := tx.Exec(ctx, `insert into secrets (environment, name, version, overlap) values ($1, $2, 1, true)
		on conflict (environment, name) do update set version = secrets.version + 1, overlap = true, changed_at = now() where not secrets.overlap`, environment, name)
	return err == nil && tag.RowsAffected() > 0, err
}

// EndOverlap takes the version before out of force; it reports false where that was done, or another version came, meanwhile.
func (s *Store) EndOverlap(ctx context.Context, tx pgx.Tx, environment, name string, version int) (bool, error) {
	tag, err := tx.Exec(ctx, "update secrets set overlap = false where environment = $1 and name = $2 and version = $3 and overlap", environment, name, version)
	return err == nil && tag.RowsAffected() > 0, err
}
