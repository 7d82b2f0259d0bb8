package promotion

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/store"
)

// gatesStep is the name of the step at which a promotion waits for people.
const gatesStep = "gates"

// Gates is the index of the step of a procedure at which it waits for people; below zero where it has none.
func (e *Engine) Gates(kind string) int {
	return slices.IndexFunc(procedures[kind], func(s Step) bool { return s.Name == gatesStep })
}

// ApprovalsOf are what the gates ask of people, and what there is, by the room where they decide.
func ApprovalsOf(room *approval.Room) func(ctx context.Context, promotion, tenant string) (*Approvals, error) {
	return func(ctx context.Context, promotion, tenant string) (*Approvals, error) {
		var tenants []string
		if tenant != "" {
			tenants = append(tenants, tenant)
		}
		state, err := room.State(ctx, promotion, tenants...)
		if err != nil || state.Needed == 0 && state.Rejected == nil {
			return nil, err
		}
		found := &Approvals{Needed: state.Needed, Have: state.Have, Missing: state.Why}
		if state.Rejected != nil { // it is being turned back; nothing goes on meanwhile
			found.Needed, found.Have = max(1, state.Needed), 0
		}
		for _, given := range state.Given {
			if given.Lapsed == "" && given.Decision == store.Approve {
				found.Given = append(found.Given, gate.Approval{By: given.By, Roles: given.Roles, At: given.At})
			}
		}
		return found, nil
	}
}

// Decided says, in the transaction that writes it down, that somebody has decided about a promotion.
func (e *Engine) Decided(ctx context.Context, tx pgx.Tx, promotion string) error {
	return e.Changed(ctx, tx, ApprovalTopic(promotion))
}
