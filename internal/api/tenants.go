package api

import (
	"context"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// createFrom starts making a tenant from a template. Whose data the template has decides who may take it along.
func (b Backend) createFrom(ctx context.Context, n promotion.NewTenant, from string) (*body[Asked], error) {
	if from != "" {
		return nil, huma.Error422UnprocessableEntity("a tenant is made from a template, or from a checkpoint; give one of template and from")
	}
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, problem(err)
	}
	if template, there := declared.Template(n.Template); there && template.Data != "" {
		environment, _, _ := strings.Cut(template.Data, "/")
		if err := b.may(ctx, identity.CheckpointCopy, identity.Subject{Environment: environment, Name: template.Data}); err != nil {
			return nil, err
		}
	}
	n.By = personOf(ctx).Name
	id, err := b.Engine.CreateFrom(ctx, declared, n)
	return reply(Asked{Promotion: id}, err)
}

// TenantPath names a tenant in a path.
type TenantPath struct {
	Environment string `path:"environment" maxLength:"100"`
	Tenant      string `path:"tenant" maxLength:"100"`
}

func (b Backend) tenantRoutes(api huma.API) {
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/suspend", func(ctx context.Context, in *struct {
		TenantPath
		Body struct {
			Message string `json:"message,omitempty" maxLength:"1000" doc:"What the tenant's people read"`
		}
	}) (*body[Asked], error) {
		return b.ofTenant(ctx, promotion.KindSuspend, identity.TenantSuspend, in.TenantPath, promotion.Options{Message: in.Body.Message})
	}, does(identity.TenantSuspend))
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/resume", func(ctx context.Context, in *struct{ TenantPath }) (*body[Asked], error) {
		return b.ofTenant(ctx, promotion.KindResume, identity.TenantSuspend, in.TenantPath, promotion.Options{})
	}, does(identity.TenantSuspend))
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/move", func(ctx context.Context, in *struct {
		TenantPath
		Body struct {
			To estate.Hosting `json:"to" enum:"shared,dedicated" doc:"The hosting that it moves to"`
		}
	}) (*body[Asked], error) {
		declared, by, err := b.aboutTenant(ctx, identity.TenantMove, in.TenantPath)
		if err != nil {
			return nil, err
		}
		id, err := b.Engine.MoveTenant(ctx, declared, in.Environment, in.Tenant, in.Body.To, by)
		return reply(Asked{Promotion: id}, err)
	}, does(identity.TenantMove))
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/rename", func(ctx context.Context, in *struct {
		TenantPath
		Body struct {
			Hosts []string `json:"hosts" minItems:"1" maxItems:"50" doc:"Host names, the one for links in mails first"`
		}
	}) (*body[Asked], error) {
		declared, by, err := b.aboutTenant(ctx, identity.TenantMove, in.TenantPath)
		if err != nil {
			return nil, err
		}
		id, err := b.Engine.RenameTenant(ctx, declared, in.Environment, in.Tenant, in.Body.Hosts, by)
		return reply(Asked{Promotion: id}, err)
	}, does(identity.TenantMove))
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/delete", func(ctx context.Context, in *struct {
		TenantPath
		Body struct {
			GraceHours int    `json:"grace_hours,omitempty" minimum:"0" maximum:"8760" doc:"Until its data goes; default 720"`
			Message    string `json:"message,omitempty" maxLength:"1000" doc:"What the tenant's people read"`
		}
	}) (*body[Asked], error) {
		declared, by, err := b.aboutTenant(ctx, identity.TenantDelete, in.TenantPath)
		if err != nil {
			return nil, err
		}
		id, err := b.Engine.Delete(ctx, declared, promotion.Deletion{Environment: in.Environment, Tenant: in.Tenant,
			Grace: time.Duration(in.Body.GraceHours) * time.Hour, Message: in.Body.Message, By: by})
		return reply(Asked{Promotion: id}, err)
	}, does(identity.TenantDelete), describe("Delete a tenant", "It is closed, a last checkpoint is taken and read back, and its data goes after a time of grace"))
	huma.Post(api, "/api/v1/tenants/{environment}/{tenant}/undelete", func(ctx context.Context, in *struct{ TenantPath }) (*body[Asked], error) {
		declared, by, err := b.aboutTenant(ctx, identity.TenantSuspend, in.TenantPath)
		if err != nil {
			return nil, err
		}
		id, err := b.Engine.Undelete(ctx, declared, in.Environment, in.Tenant, by)
		return reply(Asked{Promotion: id}, err)
	}, does(identity.TenantSuspend), describe("Take a tenant back that was deleted", "Within its time of grace"))
}

// aboutTenant is what an operation on one tenant begins with: whether the person may, who that is, and the estate.
func (b Backend) aboutTenant(ctx context.Context, op identity.Operation, t TenantPath) (declared *estate.Estate, by string, err error) {
	if err := b.may(ctx, op, identity.Subject{Environment: t.Environment, Name: t.Tenant}); err != nil {
		return nil, "", err
	}
	if declared, err = b.Estate(ctx); err != nil {
		return nil, "", problem(err)
	}
	return declared, personOf(ctx).Name, nil
}

// ofTenant starts a procedure about one tenant.
func (b Backend) ofTenant(ctx context.Context, kind string, op identity.Operation, t TenantPath, o promotion.Options) (*body[Asked], error) {
	if err := b.may(ctx, op, identity.Subject{Environment: t.Environment, Name: t.Tenant}); err != nil {
		return nil, err
	}
	return b.start(ctx, promotion.Request{Kind: kind, Environment: t.Environment, Tenants: []string{t.Tenant}, Options: o})
}
