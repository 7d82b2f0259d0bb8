package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gitops"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store"
)

// Git is the estate's repository, where there is one.
type Git interface {
	Target(ctx context.Context, t estate.Target, by gitops.Author, branch bool) (gitops.Proposal, error)
	Turn(ctx context.Context) (again time.Duration, err error)
	Key() string
}

// Estate is what the API tells of the estate's repository.
type Estate struct {
	store.Head
	Targets        []store.Target             `json:"targets" doc:"What Git wanted of each environment when it was last acted on"`
	Reversals      []store.Reversal           `json:"reversals" doc:"What went back and has still to be written to Git"`
	Configurations []EnvironmentConfiguration `json:"configurations" doc:"What Git wanted of each environment's configuration when it was last acted on"`
	Key            string                     `json:"key" doc:"Public SSH key that the server signs its own commits with"`
}

// EnvironmentConfiguration is what is known of an environment's configuration.
type EnvironmentConfiguration struct {
	store.Configuration
	Differs []string `json:"differs,omitempty" doc:"Settings that the serving pools were not started with; names alone"`
}

var errNoGit = as(noRepository, "the estate is a folder, not a Git repository; see docs/gitops.md (kind: Repository)")

func (b Backend) estateRoutes(api huma.API) {
	huma.Get(api, "/api/v1/estate", func(ctx context.Context, _ *struct{}) (*body[Estate], error) {
		if b.Git == nil {
			return nil, errNoGit
		}
		return reply(b.estate(ctx))
	}, does(identity.EstateRead), answers(http.StatusConflict))
	huma.Post(api, "/api/v1/estate/refresh", func(ctx context.Context, _ *struct{}) (*body[Estate], error) {
		if b.Git == nil {
			return nil, errNoGit
		}
		return reply(b.turn(ctx))
	}, does(identity.EstateRefresh), answers(http.StatusBadGateway))
	huma.Post(api, "/api/v1/estate/accept", func(ctx context.Context, in *struct {
		Body struct {
			Commit string `json:"commit" pattern:"^([0-9a-f]{40}|[0-9a-f]{64})$" doc:"The branch's newest, in full"`
		}
	}) (*body[Estate], error) {
		if err := b.may(ctx, identity.EstateAccept, identity.Subject{}); err != nil {
			return nil, err
		}
		if b.Git == nil {
			return nil, errNoGit
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.EstateAccepted, Payload: map[string]any{"commit": in.Body.Commit}}); err != nil {
			return nil, problem(err)
		}
		if err := b.Store.AcceptEstate(ctx, in.Body.Commit); err != nil {
			return nil, problem(err)
		}
		return reply(b.turn(ctx))
	}, does(identity.EstateAccept))
}

func (b Backend) estate(ctx context.Context) (e Estate, err error) {
	if e.Head, err = b.Store.EstateHead(ctx); err != nil {
		return e, err
	}
	if e.Targets, err = b.Store.Targets(ctx); err != nil {
		return e, err
	}
	e.Key = b.Git.Key()
	if e.Configurations, err = b.configurations(ctx); err != nil {
		return e, err
	}
	e.Reversals, err = b.Store.Reversals(ctx)
	return e, err
}

// configurations are those of the environments that something is known of, with what differs now.
func (b Backend) configurations(ctx context.Context) ([]EnvironmentConfiguration, error) {
	known, err := b.Store.Configurations(ctx)
	if err != nil || len(known) == 0 {
		return []EnvironmentConfiguration{}, err
	}
	declared, err := b.Estate(ctx)
	if err != nil {
		return []EnvironmentConfiguration{}, nil //nolint:nilerr // no commit is in force, which the problem says
	}
	list := []EnvironmentConfiguration{}
	for _, c := range known {
		now := EnvironmentConfiguration{Configuration: c}
		if env, there := declared.Environment(c.Environment); there {
			if now.Differs, err = b.Engine.Differs(ctx, env); err != nil {
				return list, err
			}
		}
		list = append(list, now)
	}
	return list, nil
}

// turn has the follower look; what it could not do is told by the state.
func (b Backend) turn(ctx context.Context) (Estate, error) {
	if _, err := b.Git.Turn(ctx); err != nil && !errors.Is(err, gitops.ErrUnreachable) {
		return Estate{}, err
	}
	return b.estate(ctx)
}

// target writes a promotion down in Git, which then is what starts it.
func (b Backend) target(ctx context.Context, environment, release string, tenants []string, force, branch bool) (Asked, error) {
	switch {
	case len(tenants) > 0:
		return Asked{}, huma.Error422UnprocessableEntity("the estate is kept in Git, where a target is one of a whole environment; single tenants cannot be promoted")
	case force:
		return Asked{}, huma.Error422UnprocessableEntity("the estate is kept in Git, which says nothing of force; let the environment before have the release first")
	}
	declared, err := b.Estate(ctx)
	if err != nil {
		return Asked{}, err
	}
	if _, there := declared.Environment(environment); !there {
		return Asked{}, huma.Error422UnprocessableEntity("the estate has no environment " + environment)
	}
	r, err := b.Store.Release(ctx, release)
	if errors.Is(err, store.ErrNotFound) {
		return Asked{}, huma.Error422UnprocessableEntity("no release is known as " + release + "; see: waybill release list")
	}
	if err != nil {
		return Asked{}, err
	}
	proposal, err := b.Git.Target(ctx, estate.Target{Environment: environment, Release: r.Digest, Name: r.Name}, b.author(ctx, declared), branch)
	if errors.Is(err, gitops.ErrProtected) {
		return Asked{}, huma.Error403Forbidden(err.Error())
	} else if err != nil {
		return Asked{}, huma.NewError(http.StatusBadGateway, err.Error())
	}
	asked := Asked{Commit: proposal.Commit, Branch: proposal.Branch, Link: proposal.Link}
	if proposal.Branch != "" {
		return asked, nil
	}
	if _, err := b.Git.Turn(ctx); err != nil {
		return asked, huma.NewError(http.StatusBadGateway, "commit "+proposal.Commit+" asks for it, and it starts as soon as the estate's repository is followed again: "+err.Error())
	}
	list, err := b.Store.Targets(ctx)
	for _, t := range list {
		switch {
		case t.Environment != environment:
		case t.Problem != "":
			return asked, huma.Error409Conflict("commit " + proposal.Commit + " asks for it, and it has not begun: " + t.Problem)
		case t.Release == r.Digest:
			asked.Promotion = t.Promotion
		}
	}
	if err == nil && asked.Promotion == "" {
		head, _ := b.Store.EstateHead(ctx)
		return asked, huma.Error409Conflict("commit " + proposal.Commit + " asks for it, and it has not begun: " + head.Problem)
	}
	return asked, err
}

// author is the person who asks, with the address that the estate knows.
func (b Backend) author(ctx context.Context, declared *estate.Estate) gitops.Author {
	by := gitops.Author{Name: personOf(ctx).Name, Email: "waybill@localhost"}
	for _, u := range declared.Access.Users {
		if u.Name == by.Name && len(u.Emails) > 0 {
			by.Email = u.Emails[0]
		}
	}
	return by
}
