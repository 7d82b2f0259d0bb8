package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/identity"
)

// mayPassword decides who may set a password: an admin anybody's, and whoever knows their own another one for themselves.
// A token that reaches less far than its user must not open the door to a session that reaches all the way, so to show
// one is not enough.
func (b Backend) mayPassword(ctx context.Context, name, current string) error {
	who := personOf(ctx)
	subject := identity.Subject{Name: name, Own: name == who.Name}
	if err := b.may(ctx, identity.PasswordSet, subject); err != nil || !subject.Own {
		return err
	}
	has, err := b.Passwords.Has(ctx, name)
	if err != nil {
		return problem(err)
	}
	switch {
	case !has && who.May(identity.PasswordSet, identity.Subject{Name: name}) == nil:
		return nil
	case !has:
		return huma.Error422UnprocessableEntity(name + " has no password yet; an admin gives the first one: waybill user password " + name)
	case current == "":
		return huma.Error422UnprocessableEntity("to change your own password, give the one that you have now")
	}
	if _, err := b.byPassword(ctx, name, current); err != nil {
		return b.loginRefused(ctx, identity.ByPassword, err)
	}
	return nil
}

func (b Backend) passwordRoutes(api huma.API) {
	huma.Put(api, "/api/v1/users/{name}/password", func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"100"`
		Body struct {
			Password string `json:"password" maxLength:"1000"`
			Current  string `json:"current,omitempty" maxLength:"1000" doc:"The one before, for one's own"`
		}
	}) (*struct{}, error) {
		if b.Passwords == nil {
			return nil, huma.Error404NotFound("this server has no passwords")
		}
		if err := b.mayPassword(ctx, in.Name, in.Body.Current); err != nil {
			return nil, err
		}
		who := personOf(ctx)
		err := b.Passwords.Set(ctx, who, in.Name, in.Body.Password)
		if errors.Is(err, identity.ErrBad) {
			return nil, huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), identity.ErrBad.Error()+": "))
		}
		if err != nil {
			return nil, problem(err)
		}
		b.record(ctx, identity.Entry{Kind: "password.set", Actor: who.Name, Token: who.Token, Operation: identity.PasswordSet, Subject: in.Name, Address: askingOf(ctx).address})
		return nil, nil
	}, does(identity.PasswordSet), describe("Set a password", "Of a user of the estate; all sessions of that user end"))
	huma.Delete(api, "/api/v1/users/{name}/password", func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"100"`
	}) (*body[map[string]bool], error) {
		if b.Passwords == nil {
			return nil, huma.Error404NotFound("this server has no passwords")
		}
		who := personOf(ctx)
		if err := b.may(ctx, identity.PasswordSet, identity.Subject{Name: in.Name, Own: in.Name == who.Name}); err != nil {
			return nil, err
		}
		gone, err := b.Store.RemovePassword(ctx, in.Name, b.now())
		if err != nil {
			return nil, problem(err)
		}
		if gone {
			b.record(ctx, identity.Entry{Kind: "password.removed", Actor: who.Name, Token: who.Token, Operation: identity.PasswordSet, Subject: in.Name, Address: askingOf(ctx).address})
		}
		return reply(map[string]bool{"removed": gone}, nil)
	}, does(identity.PasswordSet), describe("Remove a password", "Of a user, also of one who has left the estate; all sessions of that user end"), func(o *huma.Operation) { o.DefaultStatus = http.StatusOK })
}
