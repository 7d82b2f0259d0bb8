package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
)

// LoginMethod is one way in.
type LoginMethod struct {
	Method string `json:"method" enum:"password,token,oidc"`
	Name   string `json:"name" doc:"What to call it"`
	URL    string `json:"url,omitempty" doc:"Where to send the browser, for a provider"`
}

// Me is who somebody is, and what they may.
type Me struct {
	Name    string         `json:"name"`
	Emails  []string       `json:"emails,omitempty"`
	Groups  []string       `json:"groups,omitempty"`
	Grants  []estate.Grant `json:"roles" doc:"Those of the groups included; without environments: in all of them"`
	Owner   bool           `json:"owner,omitempty" doc:"Whoever holds the data folder's own token"`
	Method  string         `json:"method" enum:"password,token,oidc,bearer" doc:"How they came in; bearer: with a token at each request"`
	Token   string         `json:"token,omitempty" doc:"ID of the token that they came in with"`
	Session *Session       `json:"session,omitempty" doc:"None with a token at each request"`
	Expires *time.Time     `json:"expires,omitempty" doc:"When they must come in again, whatever they do"`

	Environments map[string][]identity.Role      `json:"environments" doc:"Roles by environment"`
	Operations   map[string][]identity.Operation `json:"operations" doc:"What they may by environment, with their own or with what is another's; under the empty name what is about none. The server decides again at each request"`
	Methods      []LoginMethod                   `json:"methods" doc:"Ways in that there are"`
}

// Session is a browser's.
type Session struct {
	Since   time.Time `json:"since"`
	Idle    time.Time `json:"idle" doc:"When it ends if nothing is asked for"`
	Expires time.Time `json:"expires" doc:"When it ends whatever is asked for"`
}

// loginTitles are what people call the ways in.
var loginTitles = map[string]string{identity.ByPassword: "Name and password", identity.ByToken: "Token"}

func (b Backend) loginMethods(ctx context.Context) ([]LoginMethod, error) {
	methods := []LoginMethod{}
	if b.Sessions == nil {
		return methods, nil
	}
	if b.Passwords != nil {
		any, err := b.Store.AnyPassword(ctx)
		if err != nil {
			return nil, err
		}
		if any {
			methods = append(methods, LoginMethod{Method: identity.ByPassword, Name: loginTitles[identity.ByPassword]})
		}
	}
	methods = append(methods, LoginMethod{Method: identity.ByToken, Name: loginTitles[identity.ByToken]})
	if b.hasOpenID() {
		methods = append(methods, LoginMethod{Method: identity.ByOIDC, Name: b.OpenID.Title(), URL: openIDPath})
	}
	return methods, nil
}

// me is who asks. An estate that cannot be read has no environments; whoever may mend it must still see who they are.
func (b Backend) me(ctx context.Context, a *asking) (Me, error) {
	p := a.person
	m := Me{Name: p.Name, Emails: p.Emails, Groups: p.Groups, Grants: p.Grants, Owner: p.IsLocal(), Method: "bearer", Token: p.Token,
		Environments: map[string][]identity.Role{}, Operations: map[string][]identity.Operation{}}
	if m.Grants == nil {
		m.Grants = []estate.Grant{}
	}
	if !a.until.IsZero() {
		m.Expires = &a.until
	}
	if s := a.session; s != nil {
		m.Method = s.Method
		m.Session = &Session{Since: s.CreatedAt, Expires: s.ExpiresAt, Idle: b.now().Add(identity.SessionIdle)}
		if m.Session.Idle.After(s.ExpiresAt) {
			m.Session.Idle = s.ExpiresAt
		}
	}
	var environments []string
	if declared, err := b.Estate(ctx); err == nil {
		for _, e := range declared.Environments {
			environments = append(environments, e.Name)
			m.Environments[e.Name] = append([]identity.Role{}, p.Roles(e.Name)...)
		}
	}
	for _, rule := range identity.Rules() {
		where := environments
		if rule.Reach != identity.Here {
			where = []string{""}
		}
		for _, env := range where {
			if rule.Reach == identity.Open || p.May(rule.Operation, identity.Subject{Environment: env}) == nil || p.May(rule.Operation, identity.Subject{Environment: env, Own: true}) == nil {
				m.Operations[env] = append(m.Operations[env], rule.Operation)
			}
		}
	}
	for _, list := range m.Operations {
		slices.Sort(list)
	}
	var err error
	m.Methods, err = b.loginMethods(ctx)
	return m, err
}

// withCookie is an answer that gives a cookie or takes it away.
type withCookie[T any] struct {
	SetCookie []http.Cookie `header:"Set-Cookie"`
	Body      T
}

func (b Backend) loginRoutes(api huma.API) {
	huma.Get(api, "/api/v1/login", func(ctx context.Context, _ *struct{}) (*body[[]LoginMethod], error) {
		return reply(b.loginMethods(ctx))
	}, does(identity.LogIn), describe("Ways in", "Which ways to log in there are"))
	huma.Post(api, "/api/v1/login", func(ctx context.Context, in *struct {
		Body struct {
			Name     string `json:"name,omitempty" maxLength:"100"`
			Password string `json:"password,omitempty" maxLength:"1000"`
			Token    string `json:"token,omitempty" maxLength:"1000" doc:"Instead of name and password: a user's, or the data folder's own"`
		}
	}) (*withCookie[Me], error) {
		if b.Sessions == nil {
			return nil, huma.Error404NotFound("this server has no sessions")
		}
		var person identity.Person
		var err error
		method := identity.ByPassword
		switch x := in.Body; {
		case x.Token != "" && (x.Name != "" || x.Password != ""), x.Token == "" && (x.Name == "" || x.Password == ""):
			return nil, huma.Error422UnprocessableEntity("give name and password, or a token")
		case x.Token != "":
			method = identity.ByToken
			person, err = b.recognise(ctx, strings.TrimSpace(x.Token))
		default:
			person, err = b.byPassword(ctx, x.Name, x.Password)
		}
		if err != nil {
			return nil, b.loginRefused(ctx, method, err)
		}
		return b.logIn(ctx, person, method)
	}, does(identity.LogIn), describe("Log in", "With name and password, or a token; answers with a session's cookie"))
	huma.Post(api, "/api/v1/logout", func(ctx context.Context, _ *struct{}) (*withCookie[struct{}], error) {
		a := askingOf(ctx)
		out := &withCookie[struct{}]{SetCookie: []http.Cookie{sessionCookie(a.secure, "", time.Time{})}}
		if a.session == nil {
			return out, nil
		}
		open, err := b.Sessions.End(ctx, a.session.ID, a.person.Name+" has logged out")
		if err != nil {
			return nil, problem(err)
		}
		if open {
			b.record(ctx, identity.Entry{Kind: "logout", Actor: a.person.Name, Token: a.person.Token, Operation: identity.LogOut, Subject: a.session.ID, Address: a.address})
		}
		return out, nil
	}, does(identity.LogOut), describe("Log out", "Ends the session; without one nothing happens"), func(o *huma.Operation) { o.DefaultStatus = http.StatusOK })
	b.openIDRoutes(api)
	huma.Get(api, "/api/v1/me", func(ctx context.Context, _ *struct{}) (*body[Me], error) {
		return reply(b.me(ctx, askingOf(ctx)))
	}, does(identity.WhoAmI), describe("Who I am", "Who asks, how they came in, until when, and what they may"))
}

func (b Backend) byPassword(ctx context.Context, name, password string) (identity.Person, error) {
	if b.Passwords == nil {
		return identity.Person{}, &identity.Unknown{Reason: identity.WrongPassword}
	}
	return b.Passwords.Check(ctx, name, password, askingOf(ctx).address)
}

// logIn opens a session, and ends the one that the browser had: no cookie from before a login counts after it.
func (b Backend) logIn(ctx context.Context, person identity.Person, method string) (*withCookie[Me], error) {
	a := askingOf(ctx)
	kept, text, err := b.Sessions.Open(ctx, person, method, a.address)
	if err != nil {
		return nil, b.loginRefused(ctx, method, err)
	}
	if a.session != nil {
		if _, err := b.Sessions.End(ctx, a.session.ID, "somebody has logged in again"); err != nil {
			return nil, problem(err)
		}
	}
	b.record(ctx, identity.Entry{Kind: "login", Actor: person.Name, Token: person.Token, Operation: identity.LogIn, Subject: kept.ID, Reason: "by " + method, Address: a.address})
	me, err := b.me(ctx, &asking{person: person, session: &kept, until: kept.ExpiresAt})
	if err != nil {
		return nil, problem(err)
	}
	return &withCookie[Me]{SetCookie: []http.Cookie{sessionCookie(a.secure, text, kept.ExpiresAt)}, Body: me}, nil
}

// loginRefused records a login that was refused, and makes the answer. The name is recorded only where the estate has it:
// people type passwords into the field above. What goes wrong inside is nothing for somebody who has shown nothing yet.
func (b Backend) loginRefused(ctx context.Context, method string, err error) error {
	e := identity.Entry{Kind: "login.refused", Operation: identity.LogIn, Address: askingOf(ctx).address, Reason: "by " + method + ": " + err.Error()}
	var unknown *identity.Unknown
	var tooMany *identity.Held
	switch {
	case errors.As(err, &unknown):
		e.Actor, e.Token = unknown.User, unknown.Token
		if method != identity.ByToken { // these are bounded where they are compared
			b.record(ctx, e)
		} else if wait := b.wrongOne(ctx, e); wait > 0 {
			return later(huma.Error429TooManyRequests(manyWrong), wait)
		}
		return huma.Error401Unauthorized("Not logged in: " + unknown.Reason + ".")
	case errors.As(err, &tooMany):
		if tooMany.Over%recordsEvery == 0 {
			b.record(ctx, e)
		}
		wait := max(tooMany.Until.Sub(b.now()), time.Second)
		return later(huma.Error429TooManyRequests("Too many wrong passwords came from this address or for this name. Wait "+
			strconv.Itoa(int((wait+time.Minute-1)/time.Minute))+" minutes, or log in with a token."), wait)
	case errors.Is(err, identity.ErrBusy):
		return later(huma.Error503ServiceUnavailable("Too many people are logging in at once. Try again."), 5*time.Second)
	}
	b.record(ctx, e)
	return huma.Error503ServiceUnavailable("It could not be found out who logs in. The ledger says why; waybill doctor may too.")
}

func later(err error, wait time.Duration) error {
	return huma.ErrorWithHeaders(err, http.Header{"Retry-After": {seconds(wait)}})
}
