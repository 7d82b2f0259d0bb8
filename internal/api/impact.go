package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// ImpactInput says what is to be assessed.
type ImpactInput struct {
	Release     string   `query:"release" required:"true" maxLength:"100" doc:"Digest, the beginning of one, or name"`
	Environment string   `query:"environment" required:"true" maxLength:"100"`
	Tenants     []string `query:"tenant" maxItems:"1000" doc:"Names, with commas between them; default: all of the environment"`
}

func (b Backend) impactRoutes(api huma.API) {
	huma.Get(api, "/api/v1/impact", func(ctx context.Context, in *ImpactInput) (*body[*impact.Assessment], error) {
		return reply(b.assess(ctx, in))
	}, does(identity.ImpactRead), describe("What a release would do to each tenant", "Nothing is changed. A tenant whose database cannot be asked is a row that says so"))
	huma.Get(api, "/api/v1/impact/statement", func(ctx context.Context, in *ImpactInput) (*huma.StreamResponse, error) {
		a, err := b.assess(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		a.By = personOf(ctx).Name
		bundle, err := b.SignImpact(ctx, a)
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/vnd.dev.sigstore.bundle.v0.3+json")
			_, _ = c.BodyWriter().Write(bundle)
		}}, nil
	}, does(identity.ImpactRead), describe("The same, signed with the installation's key", "A Sigstore bundle with an in-toto statement about the release's image"))
}

func (b Backend) assess(ctx context.Context, in *ImpactInput) (*impact.Assessment, error) {
	if err := b.may(ctx, identity.ImpactRead, identity.Subject{Environment: in.Environment, Name: in.Release}); err != nil {
		return nil, err
	}
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, err
	}
	a, err := b.Engine.Impact(ctx, declared, promotion.ImpactRequest{Release: in.Release, Environment: in.Environment, Tenants: in.Tenants})
	if err == nil && b.Git != nil {
		a.Forceable = false // a commit says nothing of force
	}
	return a, err
}
