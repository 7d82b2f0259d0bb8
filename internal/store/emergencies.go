package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Emergency is a promotion that somebody has broken the glass for.
type Emergency struct {
	Promotion   string     `db:"promotion_id" json:"promotion"`
	Environment string     `db:"environment" json:"environment"`
	AskedBy     string     `db:"asked_by" json:"asked_by"`
	Reason      string     `db:"reason" json:"reason"`
	Second      string     `db:"second" json:"second" doc:"Who is to confirm it"`
	Skipped     []string   `db:"skipped" json:"skipped" doc:"What is not asked of it"`
	AskedAt     time.Time  `db:"asked_at" json:"asked_at"`
	ConfirmBy   time.Time  `db:"confirm_by" json:"confirm_by"`
	ConfirmedAt *time.Time `db:"confirmed_at" json:"confirmed_at,omitempty"`
	LapsedAt    *time.Time `db:"lapsed_at" json:"lapsed_at,omitempty" doc:"Nobody had confirmed it in time, and it ended"`
	ReviewedAt  *time.Time `db:"reviewed_at" json:"reviewed_at,omitempty"`
	ReviewedBy  string     `db:"reviewed_by" json:"reviewed_by,omitempty"`
	Note        string     `db:"note" json:"note,omitempty" doc:"Of who closed the review"`
}

// Unreviewed says whether its review is still to be closed.
func (e Emergency) Unreviewed() bool { return e.ConfirmedAt != nil && e.ReviewedAt == nil }

// PutEmergency writes down that the glass was broken.
func (s *Store) PutEmergency(ctx context.Context, tx pgx.Tx, e Emergency) error {
	_, err := tx.Exec(ctx, "insert into emergencies (promotion_id, environment, asked_by, reason, second, skipped, confirm_by) values ($1, $2, $3, $4, $5, $6, $7)",
		e.Promotion, e.Environment, e.AskedBy, e.Reason, e.Second, append([]string{}, e.Skipped...), e.ConfirmBy)
	return err
}

// Emergency reads that of a promotion. ErrNotFound where it is none.
func (s *Store) Emergency(ctx context.Context, promotion string) (Emergency, error) {
	return one[Emergency](ctx, s.Pool, "select * from emergencies where promotion_id = $1", promotion)
}

// LockEmergency is Emergency, and nobody else changes it before the transaction ends.
func (s *Store) LockEmergency(ctx context.Context, tx pgx.Tx, promotion string) (Emergency, error) {
	return one[Emergency](ctx, tx, "select * from emergencies where promotion_id = $1 for update", promotion)
}

// Emergencies are those among some promotions.
func (s *Store) Emergencies(ctx context.Context, promotions ...string) ([]Emergency, error) {
	return many[Emergency](ctx, s.Pool, "select * from emergencies where promotion_id = any($1)", promotions)
}

// Reviews lists confirmed emergencies of an environment ("" for all), newest first: those whose review is open, or
// also those of which it is closed.
func (s *Store) Reviews(ctx context.Context, environment string, closed bool) ([]Emergency, error) {
	return many[Emergency](ctx, s.Pool, `select * from emergencies where confirmed_at is not null and ($1 = '' or environment = $1) and ($2 or reviewed_at is null)
		order by asked_at desc, promotion_id limit 1000`, environment, closed)
}

// Confirm writes down that the second person has confirmed.
func (s *Store) Confirm(ctx context.Context, tx pgx.Tx, promotion string, at time.Time) error {
	_, err := tx.Exec(ctx, "update emergencies set confirmed_at = $2 where promotion_id = $1", promotion, at)
	return err
}

// Lapse writes down that nobody has confirmed by then; it says whether that was not known before.
func (s *Store) Lapse(ctx context.Context, tx pgx.Tx, promotion string, at time.Time) (bool, error) {
	tag, err := tx.Exec(ctx, "update emergencies set lapsed_at = $2 where promotion_id = $1 and confirmed_at is null and lapsed_at is null and confirm_by <= $2", promotion, at)
	return tag.RowsAffected() > 0, err
}

// CloseReview writes down who has closed the review, and what they note.
func (s *Store) CloseReview(ctx context.Context, tx pgx.Tx, promotion, by, note string, at time.Time) error {
	_, err := tx.Exec(ctx, "update emergencies set reviewed_at = $4, reviewed_by = $2, note = $3 where promotion_id = $1", promotion, by, note, at)
	return err
}
