package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/neighbour"
)

// Neighbours is what each tenant of an environment took in the last minute.
type Neighbours struct {
	Environment string            `json:"environment"`
	At          time.Time         `json:"at" doc:"End of that minute; zero: nothing is known yet"`
	Shares      []neighbour.Share `json:"shares" doc:"The largest part of a pool first"`
}

func (b Backend) neighbourRoutes(api huma.API) {
	huma.Get(api, "/api/v1/neighbours/{environment}", func(ctx context.Context, in *struct {
		Environment string `path:"environment" maxLength:"100"`
	}) (*body[Neighbours], error) {
		if err := b.may(ctx, identity.StatusRead, identity.Subject{Environment: in.Environment, Name: in.Environment}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		if _, there := declared.Environment(in.Environment); !there {
			return nil, huma.Error404NotFound(fmt.Sprintf("the estate has no environment %q", in.Environment))
		}
		return reply(b.neighbours(in.Environment), nil)
	}, does(identity.StatusRead), describe("Who takes how much", "What each tenant took of its pool and of the database server in the last minute, and who is a noisy neighbour"))
}

func (b Backend) neighbours(environment string) Neighbours {
	if b.Neighbours != nil {
		if found, ok := b.Neighbours(environment); ok {
			return found
		}
	}
	return Neighbours{Environment: environment, Shares: []neighbour.Share{}}
}

// markNoisy names, in a status, tenants that leave too little to the others of their pool.
func (b Backend) markNoisy(s *Status) {
	for i := range s.Environments {
		env := &s.Environments[i]
		for _, share := range b.neighbours(env.Name).Shares {
			if share.Noisy && slices.ContainsFunc(env.Tenants, func(t Tenant) bool { return t.Name == share.Tenant }) {
				env.Problems = append(env.Problems, fmt.Sprintf("%s takes %.0f %% of what the tenants of pool %s take, which is nearly spent; the others wait behind it: waybill tenant top %s",
					share.Tenant, 100*share.OfUsed, share.Pool, env.Name))
			}
		}
	}
}
