package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/runbook"
)

func (b Backend) runbookRoutes(api huma.API) {
	huma.Get(api, "/api/v1/runbooks/{environment}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[runbook.Book], error) {
		if err := b.may(ctx, identity.RunbookRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		return reply(b.Runbook(ctx, in.Environment, ""))
	}, does(identity.RunbookRead), describe("What to do when all of an environment is lost", "Made anew from the estate, the store and the checkpoints each time; it holds no secret"))
	huma.Get(api, "/api/v1/runbooks/{environment}/{tenant}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Tenant      string `path:"tenant" maxLength:"100"`
	}) (*body[runbook.Book], error) {
		if err := b.may(ctx, identity.RunbookRead, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		return reply(b.Runbook(ctx, in.Environment, in.Tenant))
	}, does(identity.RunbookRead), describe("What to do when something breaks for a tenant", "Made anew from the estate, the store and the checkpoints each time; it holds no secret"))
}
