package promotion

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// gatesStep is the name of the step at which a promotion waits for people.
const gatesStep = "gates"

// Gates is the index of the step of a procedure at which it waits for people; below zero where it has none.
func (e *Engine) Gates(kind string) int {
	return slices.IndexFunc(procedures[kind], func(s Step) bool { return s.Name == gatesStep })
}

// Decided says, in the transaction that writes it down, that somebody has decided about a promotion.
func (e *Engine) Decided(ctx context.Context, tx pgx.Tx, promotion string) error {
	return e.Changed(ctx, tx, ApprovalTopic(promotion))
}
