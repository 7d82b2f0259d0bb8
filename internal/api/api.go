package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// Backend is what the API speaks for.
type Backend struct {
	Store       *store.Store
	Engine      *promotion.Engine
	Checkpoints *checkpoint.Store
	Rehearsals  *rehearsal.Queue
	Estate      func(context.Context) (*estate.Estate, error)
	ReadRelease func(ctx context.Context, ref string) (release.Release, error)
	Doctor      func(context.Context) []Finding
	Rescan      func(context.Context) error // compares what runs with the vulnerability databases, now
	Token       string
	Version     string
}

// Finding is one thing that the doctor looked at.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// maxBody bounds what a client may send.
const maxBody = 1 << 20

// Handler serves /api/v1 and its OpenAPI document.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Waybill", b.Version)
	config.OpenAPIPath = "/api/v1/openapi"
	config.DocsPath = ""
	config.SchemasPath = "/api/v1/schemas"
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	api := humago.New(mux, config)
	b.routes(api)
	return b.guard(mux)
}

// guard lets only holders of the token in. The comparison takes the same time wherever it fails.
//
// The body is limited on a copy of the request. The server looks at the body of its own one to see whether a handler
// left some of it unread: with that replaced, it would take the rest for the next request of the connection.
func (b Backend) guard(next http.Handler) http.Handler {
	limited := http.MaxBytesHandler(next, maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(b.Token)) != 1 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]any{"title": "Unauthorized", "status": 401,
				"detail": "This API wants the token of the data folder (keys/token) as a bearer token."})
			return
		}
		limited.ServeHTTP(w, r)
	})
}

type body[T any] struct{ Body T }

func reply[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, problem(err)
	}
	return &body[T]{v}, nil
}

// problem turns an error into the answer that it means.
func problem(err error) error {
	switch {
	case errors.Is(err, promotion.ErrBadRequest), len(estate.Problems(err)) > 0:
		return huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), promotion.ErrBadRequest.Error()+": "))
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("nothing is known under this name or ID")
	case errors.Is(err, store.ErrTenantBusy):
		return huma.Error409Conflict(err.Error())
	}
	return huma.Error500InternalServerError(err.Error())
}

// IDInput is the path parameter of whatever is named by one.
type IDInput struct {
	ID string `path:"id"`
}

// Asked is the answer to everything that starts a procedure.
type Asked struct {
	Promotion string `json:"promotion" doc:"ID to watch"`
}

func (b Backend) routes(api huma.API) {
	huma.Get(api, "/api/v1/status", func(ctx context.Context, _ *struct{}) (*body[Status], error) {
		return reply(b.status(ctx))
	})
	huma.Get(api, "/api/v1/doctor", func(ctx context.Context, _ *struct{}) (*body[[]Finding], error) {
		return reply(b.Doctor(ctx), nil)
	})
	huma.Get(api, "/api/v1/releases", func(ctx context.Context, in *struct {
		Limit int `query:"limit" default:"50" minimum:"1" maximum:"500"`
	}) (*body[[]release.Release], error) {
		releases, err := b.Store.Releases(ctx, in.Limit)
		return reply(summaries(releases), err)
	})
	huma.Get(api, "/api/v1/releases/{id}", func(ctx context.Context, in *IDInput) (*body[release.Release], error) {
		return reply(b.Store.Release(ctx, in.ID))
	})
	huma.Post(api, "/api/v1/releases", func(ctx context.Context, in *struct {
		Body struct {
			Ref string `json:"ref" doc:"repository@digest in the registry" maxLength:"500"`
		}
	}) (*body[release.Release], error) {
		r, err := b.ReadRelease(ctx, in.Body.Ref)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("the registry holds no release " + in.Body.Ref + ": " + err.Error())
		}
		return reply(r, b.Store.PutRelease(ctx, r))
	})
	b.promotionRoutes(api)
	b.checkpointRoutes(api)
	b.rehearsalRoutes(api)
	b.vulnerabilityRoutes(api)
}

// summaries leaves out the long lists of the base's modules.
func summaries(releases []release.Release) []release.Release {
	for i := range releases {
		releases[i].Base.Modules = nil
	}
	return releases
}

func (b Backend) start(ctx context.Context, q promotion.Request) (*body[Asked], error) {
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, problem(err)
	}
	q.By = "operator" // the holder of the one token; people and roles come with governance
	id, err := b.Engine.Start(ctx, declared, q)
	return reply(Asked{id}, err)
}

func (b Backend) promotionRoutes(api huma.API) {
	huma.Get(api, "/api/v1/promotions", func(ctx context.Context, in *struct {
		Environment string `query:"environment"`
		Before      int64  `query:"before" doc:"seq of the last one seen"`
		Limit       int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
	}) (*body[[]Promotion], error) {
		return reply(b.list(ctx, in.Environment, in.Before, in.Limit))
	})
	huma.Get(api, "/api/v1/promotions/{id}", func(ctx context.Context, in *struct {
		IDInput
		After int64 `query:"after" doc:"Answer only once the revision is above this, or after wait seconds"`
		Wait  int   `query:"wait" minimum:"0" maximum:"30"`
	}) (*body[Promotion], error) {
		return reply(b.await(ctx, in.ID, in.After, time.Duration(in.Wait)*time.Second))
	})
	huma.Post(api, "/api/v1/promotions", func(ctx context.Context, in *struct {
		Body struct {
			Release     string   `json:"release" maxLength:"100"`
			Environment string   `json:"environment" maxLength:"100"`
			Tenants     []string `json:"tenants,omitempty" maxItems:"1000"`
			Force       bool     `json:"force,omitempty" doc:"Although the environment before has not had it"`
		}
	}) (*body[Asked], error) {
		return b.start(ctx, promotion.Request{Kind: promotion.KindPromote, Environment: in.Body.Environment, Tenants: in.Body.Tenants,
			Release: in.Body.Release, Options: promotion.Options{Force: in.Body.Force}})
	})
	huma.Post(api, "/api/v1/promotions/{id}/rollback", func(ctx context.Context, in *struct {
		IDInput
		Body struct {
			Reason     string `json:"reason" maxLength:"500"`
			AcceptLoss bool   `json:"accept_loss,omitempty" doc:"What was written since the checkpoint may be lost"`
		}
	}) (*body[Asked], error) {
		return b.rollback(ctx, in.ID, in.Body.Reason, in.Body.AcceptLoss)
	})
	huma.Post(api, "/api/v1/promotions/{id}/resume", func(ctx context.Context, in *IDInput) (*body[Asked], error) {
		rollouts, err := b.Store.Rollouts(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		resumed := false
		for _, r := range rollouts {
			if r.State == store.Waiting {
				if err := b.Store.Resume(ctx, r.ID); err != nil {
					return nil, problem(err)
				}
				resumed = true
			}
		}
		if !resumed {
			return nil, huma.Error409Conflict("promotion " + in.ID + " waits for nobody")
		}
		return reply(Asked{in.ID}, nil)
	})
	huma.Delete(api, "/api/v1/quarantine/{environment}/{id}", func(ctx context.Context, in *struct {
		IDInput
		Environment string `path:"environment"`
	}) (*struct{}, error) {
		r, err := b.Store.Release(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		return nil, b.Store.LiftQuarantine(ctx, in.Environment, r.Digest)
	})
}

// TenantBody names a tenant.
type TenantBody struct {
	Environment string `json:"environment" maxLength:"100"`
	Tenant      string `json:"tenant" maxLength:"100"`
}

func (b Backend) checkpointRoutes(api huma.API) {
	huma.Get(api, "/api/v1/checkpoints/{environment}/{tenant}", func(ctx context.Context, in *struct {
		Environment string `path:"environment"`
		Tenant      string `path:"tenant"`
	}) (*body[[]checkpoint.Info], error) {
		return reply(b.Checkpoints.List(ctx, in.Environment, in.Tenant))
	})
	huma.Post(api, "/api/v1/checkpoints/{environment}/{tenant}/prune", func(ctx context.Context, in *struct {
		Environment string `path:"environment"`
		Tenant      string `path:"tenant"`
		Body        struct {
			Last int `json:"last" minimum:"1" maximum:"10000" doc:"Keep so many newest ones"`
			Days int `json:"days,omitempty" minimum:"0" maximum:"3650" doc:"and all that are not older"`
		}
	}) (*body[[]string], error) {
		gone, err := b.Checkpoints.Retain(ctx, in.Environment, in.Tenant, checkpoint.Policy{Last: in.Body.Last, Days: in.Body.Days})
		ids := []string{}
		for _, ref := range gone {
			ids = append(ids, ref.ID)
		}
		return reply(ids, err)
	})
	huma.Post(api, "/api/v1/checkpoints", func(ctx context.Context, in *struct{ Body TenantBody }) (*body[Asked], error) {
		return b.start(ctx, promotion.Request{Kind: promotion.KindCheckpoint, Environment: in.Body.Environment, Tenants: []string{in.Body.Tenant}})
	})
	huma.Post(api, "/api/v1/restores", func(ctx context.Context, in *struct {
		Body struct {
			TenantBody
			Checkpoint string `json:"checkpoint" maxLength:"200"`
		}
	}) (*body[Asked], error) {
		return b.start(ctx, promotion.Request{Kind: promotion.KindRestore, Environment: in.Body.Environment, Tenants: []string{in.Body.Tenant},
			Options: promotion.Options{Checkpoint: in.Body.Checkpoint}})
	})
	huma.Post(api, "/api/v1/tenants", func(ctx context.Context, in *struct {
		Body struct {
			TenantBody
			Release string `json:"release" maxLength:"100"`
			From    string `json:"from,omitempty" maxLength:"300" doc:"environment/tenant/checkpoint to copy"`
		}
	}) (*body[Asked], error) {
		return b.start(ctx, promotion.Request{Kind: promotion.KindCreate, Environment: in.Body.Environment, Tenants: []string{in.Body.Tenant},
			Release: in.Body.Release, Options: promotion.Options{Checkpoint: in.Body.From}})
	})
}
