package api

import (
	"context"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

func (b Backend) approvalRoutes(api huma.API) {
	huma.Get(api, "/api/v1/promotions/{id}/approvals", func(ctx context.Context, in *IDInput) (*body[approval.State], error) {
		return ofPromotion(ctx, b, "approvals", in.ID, func(ctx context.Context, p store.Promotion) (approval.State, error) {
			return b.Approvals.State(ctx, p.ID)
		})
	}, does(identity.PromotionRead))
	type decision struct {
		IDInput
		Body struct {
			ID      string `json:"id" minLength:"16" maxLength:"64" doc:"Chosen at random by whoever decides: the same one again is the same decision"`
			Reason  string `json:"reason,omitempty" maxLength:"500" doc:"Needed to reject"`
			Binding string `json:"binding" maxLength:"100" doc:"Of the approvals that were looked at: another plan is refused"`
		}
	}
	decide := func(op identity.Operation, approve bool) func(context.Context, *decision) (*body[approval.State], error) {
		return func(ctx context.Context, in *decision) (*body[approval.State], error) {
			if _, err := b.mayWith(ctx, op, in.ID); err != nil {
				return nil, err
			}
			state, err := b.Approvals.Decide(ctx, personOf(ctx), in.ID, approval.Decision{ID: in.Body.ID, Approve: approve, Reason: in.Body.Reason, Binding: in.Body.Binding})
			return reply(state, undecidable(err))
		}
	}
	huma.Post(api, "/api/v1/promotions/{id}/approve", decide(identity.PromotionApprove, true), does(identity.PromotionApprove))
	huma.Post(api, "/api/v1/promotions/{id}/reject", decide(identity.PromotionReject, false), does(identity.PromotionReject))
}

// undecidable turns why a decision was not taken into the answer that it means.
func undecidable(err error) error {
	var denied *identity.Denied
	switch {
	case err == nil:
		return nil
	case errors.Is(err, approval.ErrBad):
		return huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), approval.ErrBad.Error()+": "))
	case errors.Is(err, approval.ErrRefused):
		return huma.Error409Conflict(strings.TrimPrefix(err.Error(), approval.ErrRefused.Error()+": "))
	case errors.As(err, &denied):
		return huma.Error403Forbidden(denied.Error())
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("nothing is known under this name or ID")
	}
	return err
}
