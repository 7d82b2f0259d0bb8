package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/store"
)

// User is somebody who may do something.
type User struct {
	Name    string         `json:"name"`
	Emails  []string       `json:"emails,omitempty"`
	Groups  []string       `json:"groups,omitempty"`
	Grants  []estate.Grant `json:"roles" doc:"Those of the groups included; without environments: in all of them"`
	Token   string         `json:"token,omitempty" doc:"ID of the token that was shown; only in whoami"`
	Expires *time.Time     `json:"expires,omitempty" doc:"When that token ends; only in whoami"`
}

// Token is what is known of a token; its text is shown once, by whoever makes it.
type Token struct {
	ID           string     `json:"id"`
	User         string     `json:"user"`
	Label        string     `json:"label"`
	Roles        []string   `json:"roles,omitempty" doc:"No more than these; none: all that the user has"`
	Environments []string   `json:"environments,omitempty" doc:"Only there; none: wherever the user's roles hold"`
	State        string     `json:"state" enum:"valid,expired,revoked"`
	CreatedBy    string     `json:"created_by"`
	Created      time.Time  `json:"created"`
	Expires      time.Time  `json:"expires"`
	Revoked      *time.Time `json:"revoked,omitempty"`
	RevokedBy    string     `json:"revoked_by,omitempty"`
	Used         string     `json:"used,omitempty" doc:"The day of its last use (UTC)"`
	Text         string     `json:"text,omitempty" doc:"What to show as bearer token; only in the answer to its creation"`
}

func tokenView(t store.Token) Token {
	v := Token{ID: t.ID, User: t.User, Label: t.Label, Roles: t.Roles, Environments: t.Environments, State: "valid",
		CreatedBy: t.CreatedBy, Created: t.CreatedAt, Expires: t.ExpiresAt, Revoked: t.RevokedAt, RevokedBy: t.RevokedBy}
	if t.UsedOn != nil {
		v.Used = t.UsedOn.Format(time.DateOnly)
	}
	switch {
	case t.RevokedAt != nil:
		v.State = "revoked"
	case !time.Now().Before(t.ExpiresAt):
		v.State = "expired"
	}
	return v
}

func userView(p identity.Person) User {
	v := User{Name: p.Name, Emails: p.Emails, Groups: p.Groups, Grants: p.Grants, Token: p.Token}
	if v.Grants == nil {
		v.Grants = []estate.Grant{}
	}
	if !p.Expires.IsZero() {
		v.Expires = &p.Expires
	}
	return v
}

func (b Backend) peopleRoutes(api huma.API) {
	huma.Get(api, "/api/v1/whoami", func(ctx context.Context, _ *struct{}) (*body[User], error) {
		return reply(userView(personOf(ctx)), nil)
	}, does(identity.WhoAmI))
	huma.Get(api, "/api/v1/users", func(ctx context.Context, in *LongPageInput) (*page[User], error) {
		if err := b.may(ctx, identity.UserRead, identity.Subject{}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		users := []User{}
		for _, u := range declared.Access.Users {
			person, _ := identity.PersonOf(&declared.Access, u.Name)
			users = append(users, userView(person))
		}
		slices.SortFunc(users, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
		return cut(ctx, "users", users, in.Cursor, in.Limit, func(u User) string { return u.Name })
	}, does(identity.UserRead))
	huma.Get(api, "/api/v1/users/{name}", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (*body[User], error) {
		if err := b.may(ctx, identity.UserRead, identity.Subject{Name: in.Name, Own: in.Name == personOf(ctx).Name}); err != nil {
			return nil, err
		}
		declared, err := b.Estate(ctx)
		if err != nil {
			return nil, problem(err)
		}
		person, ok := identity.PersonOf(&declared.Access, in.Name)
		if !ok {
			return nil, huma.Error404NotFound("the estate has no user " + in.Name)
		}
		return reply(userView(person), nil)
	}, does(identity.UserRead))
	b.passwordRoutes(api)
	b.tokenRoutes(api)
}

func (b Backend) tokenRoutes(api huma.API) {
	huma.Get(api, "/api/v1/tokens", func(ctx context.Context, in *struct {
		User string `query:"user" doc:"Whose; empty: everybody's"`
		LongPageInput
	}) (*page[Token], error) {
		if err := b.may(ctx, identity.TokenRead, identity.Subject{Name: in.User, Own: in.User == personOf(ctx).Name}); err != nil {
			return nil, err
		}
		at, id, err := behindTime("tokens", in.Cursor)
		if err != nil {
			return nil, err
		}
		rows, err := b.Store.Tokens(ctx, in.User, at, id, in.Limit)
		if err != nil {
			return nil, problem(err)
		}
		views := make([]Token, 0, len(rows))
		for _, t := range rows {
			views = append(views, tokenView(t))
		}
		return paged(ctx, "tokens", views, in.Limit, func(t Token) []string { return []string{t.Created.UTC().Format(time.RFC3339Nano), t.ID} }), nil
	}, does(identity.TokenRead))
	huma.Post(api, "/api/v1/tokens", func(ctx context.Context, in *struct {
		Body struct {
			User         string   `json:"user" maxLength:"100"`
			Label        string   `json:"label,omitempty" maxLength:"100" doc:"What people call it"`
			Roles        []string `json:"roles,omitempty" maxItems:"20" doc:"No more than these"`
			Environments []string `json:"environments,omitempty" maxItems:"1000" doc:"Only there"`
			Seconds      int64    `json:"seconds,omitempty" minimum:"0" maximum:"31622400" doc:"How long it holds; default: 90 days"`
		}
	}) (*body[Token], error) {
		who := personOf(ctx)
		if err := b.may(ctx, identity.TokenCreate, identity.Subject{Name: in.Body.User, Own: in.Body.User == who.Name}); err != nil {
			return nil, err
		}
		wish := identity.Wish{User: in.Body.User, Label: in.Body.Label, Environments: in.Body.Environments, Life: time.Duration(in.Body.Seconds) * time.Second}
		for _, role := range in.Body.Roles {
			wish.Roles = append(wish.Roles, identity.Role(role))
		}
		kept, text, err := b.Tokens.Create(ctx, who, wish)
		if errors.Is(err, identity.ErrBad) {
			return nil, huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), identity.ErrBad.Error()+": "))
		}
		if err != nil {
			return nil, problem(err)
		}
		b.record(ctx, identity.Entry{Kind: "token.created", Actor: who.Name, Token: who.Token, Operation: identity.TokenCreate, Subject: kept.ID,
			Reason: "for " + kept.User + ", until " + kept.ExpiresAt.UTC().Format(time.RFC3339), Address: askingOf(ctx).address})
		view := tokenView(kept)
		view.Text = text
		return reply(view, nil)
	}, does(identity.TokenCreate))
	huma.Delete(api, "/api/v1/tokens/{id}", func(ctx context.Context, in *IDInput) (*body[[]string], error) {
		kept, err := b.Store.Token(ctx, in.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, problem(err)
		}
		who := personOf(ctx)
		if err := b.may(ctx, identity.TokenRevoke, identity.Subject{Name: in.ID, Own: err == nil && kept.User == who.Name}); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, huma.Error404NotFound("no token has the ID " + in.ID + "; see: waybill token list")
		}
		ended, err := b.Store.RevokeToken(ctx, in.ID, who.Name)
		if err != nil {
			return nil, problem(err)
		}
		for _, id := range ended {
			b.record(ctx, identity.Entry{Kind: "token.revoked", Actor: who.Name, Token: who.Token, Operation: identity.TokenRevoke, Subject: id,
				Reason: "of " + kept.User, Address: askingOf(ctx).address})
		}
		return reply(ended, nil)
	}, does(identity.TokenRevoke), func(o *huma.Operation) { o.DefaultStatus = http.StatusOK })
}
