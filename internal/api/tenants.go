package api

import (
	"context"
	"strings"

	"github.com/danielgtaylor/huma/v2"

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
