package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// The decisions.
const (
	Approve = "approve"
	Reject  = "reject"
)

// Approval is what somebody has decided about a promotion.
type Approval struct {
	ID          string            `db:"id"`
	Seq         int64             `db:"seq"`
	PromotionID string            `db:"promotion_id"`
	Decision    string            `db:"decision"`
	Person      string            `db:"person"`
	Token       string            `db:"token"`
	Roles       []string          `db:"roles"`
	Reason      string            `db:"reason"`
	Binding     string            `db:"binding"`
	Saw         map[string]string `db:"saw"` // tenant → hash of what was seen of it
	CreatedAt   time.Time         `db:"created_at"`
	ExpiresAt   time.Time         `db:"expires_at"`
}

// LockPromotion keeps others from deciding about a promotion until the transaction ends.
func (s *Store) LockPromotion(ctx context.Context, tx pgx.Tx, promotion string) error {
	tag, err := tx.Exec(ctx, "select from promotions where id = $1 for update", promotion)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// ErrExists is returned when there is one of that ID already.
var ErrExists = errors.New("it exists already")

// PutApproval keeps a decision. ErrExists where another one has its ID.
func (s *Store) PutApproval(ctx context.Context, tx pgx.Tx, a Approval) error {
	tag, err := tx.Exec(ctx, `insert into approvals (id, promotion_id, decision, person, token, roles, reason, binding, saw, created_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict do nothing`,
		a.ID, a.PromotionID, a.Decision, a.Person, a.Token, append([]string{}, a.Roles...), a.Reason, a.Binding, a.Saw, a.CreatedAt, a.ExpiresAt)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrExists
	}
	return err
}

// Approval reads one by its ID, whatever promotion it is of.
func (s *Store) Approval(ctx context.Context, id string) (Approval, error) {
	return one[Approval](ctx, s.Pool, "select * from approvals where id = $1", id)
}

// Approvals lists what was decided about a promotion, in that order.
func (s *Store) Approvals(ctx context.Context, promotion string) ([]Approval, error) {
	return many[Approval](ctx, s.Pool, "select * from approvals where promotion_id = $1 order by seq", promotion)
}

// TurnBack asks those rollouts of a promotion to go back that stand at a step, or before it, going forward. It says
// nothing against the release, which may be asked for again.
func (s *Store) TurnBack(ctx context.Context, tx pgx.Tx, promotion string, step int, reason string) error {
	_, err := tx.Exec(ctx, `update rollouts set abort = $3, wake_at = null, attempt = 0, outcome = '', state = 'running', revision = revision + 1,
		memory = jsonb_set(memory, '{not_admitted}', 'true') where promotion_id = $1 and step <= $2 and state in ('running', 'waiting') and not undo`, promotion, step, reason)
	return err
}
