package api

import (
	"context"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// EmergencyBody is what somebody says who breaks the glass.
type EmergencyBody struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500"`
	Second string `json:"second" minLength:"1" maxLength:"100" doc:"The user who confirms it in time"`
}

func (b Backend) emergencyRoutes(api huma.API) {
	huma.Post(api, "/api/v1/promotions/{id}/confirm", func(ctx context.Context, in *IDInput) (*body[store.Emergency], error) {
		if _, err := b.mayWith(ctx, identity.PromotionConfirm, in.ID); err != nil {
			return nil, err
		}
		if err := b.Engine.Confirm(ctx, in.ID, personOf(ctx).Name); err != nil {
			return nil, b.refusal(ctx, identity.PromotionConfirm, in.ID, err)
		}
		return reply(b.Store.Emergency(ctx, in.ID))
	}, does(identity.PromotionConfirm))
	huma.Get(api, "/api/v1/reviews", func(ctx context.Context, in *struct {
		Environment string `query:"environment"`
		Closed      bool   `query:"closed" doc:"Also those that are closed"`
		LongPageInput
	}) (*page[store.Emergency], error) {
		sees := b.sees(ctx, identity.ReviewRead)
		found, err := b.Store.Reviews(ctx, in.Environment, in.Closed)
		visible := []store.Emergency{}
		for _, x := range found {
			if sees(x.Environment) {
				visible = append(visible, x)
			}
		}
		if err != nil {
			return nil, problem(err)
		}
		return cut(ctx, "reviews", visible, in.Cursor, in.Limit, func(x store.Emergency) string { return x.Promotion })
	}, does(identity.ReviewRead))
	huma.Post(api, "/api/v1/reviews/{id}/close", func(ctx context.Context, in *struct {
		IDInput
		Body struct {
			Note string `json:"note" minLength:"1" maxLength:"500" doc:"What was found, and what follows from it"`
		}
	}) (*body[store.Emergency], error) {
		if _, err := b.mayWith(ctx, identity.ReviewClose, in.ID); err != nil {
			return nil, err
		}
		if err := b.Engine.CloseReview(ctx, in.ID, personOf(ctx).Name, in.Body.Note); err != nil {
			return nil, b.refusal(ctx, identity.ReviewClose, in.ID, err)
		}
		return reply(b.Store.Emergency(ctx, in.ID))
	}, does(identity.ReviewClose))
}

// refusal turns why something about an emergency may not be into the answer that it means, and has it recorded.
func (b Backend) refusal(ctx context.Context, op identity.Operation, id string, err error) error {
	if !errors.Is(err, promotion.ErrRefused) {
		return problem(err)
	}
	said := strings.TrimPrefix(err.Error(), promotion.ErrRefused.Error()+": ")
	a := askingOf(ctx)
	e := identity.Entry{Kind: "emergency.refused", Actor: a.person.Name, Token: a.person.Token, Operation: op, Subject: id, Reason: said, Address: a.address}
	if p, lookup := b.Store.Promotion(ctx, id); lookup == nil {
		e.Environment = p.Environment
	}
	b.record(ctx, e)
	return huma.Error409Conflict(said)
}

// second says whether whom somebody names may confirm their emergency.
func (b Backend) second(declared *estate.Estate, makers store.Makers, environment, by, name string) error {
	person, ok := identity.PersonOf(&declared.Access, name)
	switch {
	case name == by:
		return huma.Error422UnprocessableEntity("the second person of an emergency is somebody else than who asks for it")
	case !ok:
		return huma.Error422UnprocessableEntity("the estate has no user " + name + ", who could confirm the emergency")
	}
	if err := person.May(identity.PromotionConfirm, identity.Subject{Environment: environment, Own: person.Made(makers)}); err != nil {
		return huma.Error422UnprocessableEntity("name somebody else to confirm the emergency: " + err.Error())
	}
	return nil
}

// emergency starts a promotion that takes the emergency path. Where the estate is kept in Git, it acts first, and Git is
// told afterwards.
func (b Backend) emergency(ctx context.Context, q promotion.Request) (*body[Asked], error) {
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, problem(err)
	}
	r, err := b.Store.Release(ctx, q.Release)
	if errors.Is(err, store.ErrNotFound) {
		return nil, huma.Error422UnprocessableEntity("no release is known as " + q.Release + "; see: waybill release list")
	} else if err != nil {
		return nil, problem(err)
	}
	makers, err := b.Store.MakersOf(ctx, r.Digest)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, problem(err)
	}
	if err := b.second(declared, makers, q.Environment, personOf(ctx).Name, q.Options.Emergency.Second); err != nil {
		return nil, err
	}
	return b.start(ctx, q)
}
