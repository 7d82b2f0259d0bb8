package api

import (
	"context"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
)

// Secret is one that Waybill derives: never its value.
type Secret struct {
	Name      string     `json:"name" doc:"bridge, or database/ and whose pools log in with it: shared, or a dedicated tenant"`
	Version   int        `json:"version" doc:"How often it was changed"`
	Overlap   bool       `json:"overlap" doc:"The one before still opens, until every pool has the new one"`
	Promotion string     `json:"promotion,omitempty" doc:"That brings, or brought, the database login in"`
	ChangedAt *time.Time `json:"changed_at,omitempty" doc:"Absent: never"`
}

func (b Backend) secretRoutes(api huma.API) {
	huma.Get(api, "/api/v1/secrets/{environment}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[[]Secret], error) {
		if err := b.may(ctx, identity.SecretRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		return reply(b.secrets(ctx, in.Environment))
	}, does(identity.SecretRead), describe("The secrets of an environment", "Their names and when they were changed"))
	huma.Post(api, "/api/v1/secrets/{environment}/database", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
		Body        struct {
			Tenants []string `json:"tenants,omitempty" maxItems:"1000" doc:"All of a group that shares its pools; none: all of the environment"`
		}
	}) (*body[Asked], error) {
		if err := b.may(ctx, identity.SecretRotate, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		id, err := b.Engine.RotateLogins(ctx, declared, promotion.Request{Environment: in.Environment, Tenants: in.Body.Tenants, By: personOf(ctx).Name})
		return reply(Asked{Promotion: id}, err)
	}, does(identity.SecretRotate), describe("Change the database logins of an environment's pools", "A promotion brings in pools of the same release with other logins, and takes the old ones away with theirs"))
	huma.Post(api, "/api/v1/secrets/{environment}/bridge", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[[]Secret], error) {
		if err := b.may(ctx, identity.SecretRotate, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		environment, ok := declared.Environment(in.Environment)
		if !ok {
			return nil, huma.Error422UnprocessableEntity("the estate has no environment " + in.Environment)
		}
		if _, err := b.Engine.RotateBridgeKey(context.WithoutCancel(ctx), environment, personOf(ctx).Name); err != nil { // a client that leaves does not stop it halfway
			return nil, problem(err)
		}
		return reply(b.secrets(ctx, in.Environment))
	}, does(identity.SecretRotate), describe("Change the key that calls to an environment's bridges are signed with", "Pools go on as they are. It answers once none knows the old key any more"))
}

// secrets lists all there are, those that were never changed too.
func (b Backend) secrets(ctx context.Context, environment string) ([]Secret, error) {
	tenants, err := b.Store.Tenants(ctx, environment)
	if err != nil {
		return nil, err
	}
	names := []string{promotion.BridgeSecret}
	for _, t := range tenants {
		if name := promotion.LoginSecret(t.Group); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	list := []Secret{}
	for _, name := range names {
		s, err := b.Store.Secret(ctx, environment, name)
		if err != nil {
			return nil, err
		}
		secret := Secret{Name: s.Name, Version: s.Version, Overlap: s.Overlap, Promotion: s.Promotion}
		if s.Version > 0 {
			secret.ChangedAt = &s.ChangedAt
		}
		list = append(list, secret)
	}
	return list, nil
}
