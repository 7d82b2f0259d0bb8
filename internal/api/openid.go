package api

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/openid"
)

// A login at the provider under way. Lax, not Strict: the provider's page sends the browser back with it.
const (
	plainFlow  = "waybill_login"
	secureFlow = "__Host-waybill_login"
)

const (
	openIDPath   = "/api/v1/login/oidc"
	CallbackPath = "/api/v1/login/oidc/callback" // that a provider must know, after this server's URL
)

func flowCookie(secure bool, text string) *http.Cookie {
	c := &http.Cookie{Name: plainFlow, Value: text, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode, MaxAge: int(openid.FlowLife / time.Second)}
	if secure {
		c.Name = secureFlow
	}
	if text == "" {
		c.MaxAge = -1
	}
	return c
}

// byBrowser is an answer to a browser that goes from page to page, not to a client that reads JSON.
func byBrowser(answer func(w http.ResponseWriter, r *http.Request)) func(context.Context, *struct{}) (*huma.StreamResponse, error) {
	return func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			answer(w, r.WithContext(c.Context()))
		}}, nil
	}
}

func (b Backend) openIDRoutes(api huma.API) {
	pages := func(o *huma.Operation) {
		o.Responses = map[string]*huma.Response{"303": {Description: "Where the browser goes on"}}
		for status, says := range map[string]string{"400": "A page: this login was not begun here, is too old, or was used", "403": "A page: the provider or the estate does not let them in",
			"404": "A page: this server knows no provider", "503": "A page: the provider does not answer, or this server cannot find out who it is"} {
			o.Responses[status] = &huma.Response{Description: says, Content: map[string]*huma.MediaType{"text/html": {}}}
		}
	}
	huma.Get(api, openIDPath, byBrowser(b.beginOpenID), does(identity.LogIn), describe("Log in at the provider", "Sends the browser to the OpenID Connect provider"), pages)
	huma.Get(api, CallbackPath, byBrowser(b.finishOpenID), does(identity.LogIn), describe("Back from the provider", "Where the provider sends the browser back to: opens a session"), pages)
}

// hasOpenID says whether there is a provider.
func (b Backend) hasOpenID() bool {
	return b.OpenID != nil && b.OpenID.Issuer != "" && b.Sessions != nil
}

func (b Backend) beginOpenID(w http.ResponseWriter, r *http.Request) {
	if !b.hasOpenID() {
		failurePage(w, http.StatusNotFound, "This server knows no provider.")
		return
	}
	address, sealed, err := b.OpenID.Begin(r.Context())
	if err != nil {
		b.openIDRefused(w, r, err)
		return
	}
	http.SetCookie(w, flowCookie(askingOf(r.Context()).secure, sealed))
	http.Redirect(w, r, address, http.StatusSeeOther)
}

func (b Backend) finishOpenID(w http.ResponseWriter, r *http.Request) {
	if !b.hasOpenID() {
		failurePage(w, http.StatusNotFound, "This server knows no provider.")
		return
	}
	a := askingOf(r.Context())
	sealed := ""
	if c, err := r.Cookie(flowCookie(a.secure, "").Name); err == nil {
		sealed = c.Value
	}
	http.SetCookie(w, flowCookie(a.secure, "")) // whatever comes of it, it is used once
	name, err := b.OpenID.Finish(r.Context(), sealed, r.URL.Query())
	if err != nil {
		b.openIDRefused(w, r, err)
		return
	}
	access, err := b.Sessions.Access(r.Context())
	if err != nil {
		b.openIDRefused(w, r, err)
		return
	}
	person, ok := identity.PersonNamed(access, name)
	if !ok {
		b.openIDRefused(w, r, &identity.Unknown{Reason: "the provider vouches for " + name + ", and the estate has no such user"})
		return
	}
	in, err := b.logIn(r.Context(), person, identity.ByOIDC)
	if err != nil {
		b.openIDRefused(w, r, err)
		return
	}
	for _, c := range in.SetCookie {
		http.SetCookie(w, &c)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// openIDRefused says why nobody was logged in, without what is wrong inside; the record has it.
func (b Backend) openIDRefused(w http.ResponseWriter, r *http.Request, err error) {
	_ = b.wrongOne(r.Context(), identity.Entry{Kind: "login.refused", Operation: identity.LogIn, Address: askingOf(r.Context()).address, Reason: "by oidc: " + err.Error()})
	var unknown *identity.Unknown
	provider := b.OpenID.Title()
	switch {
	case errors.As(err, &unknown):
		failurePage(w, http.StatusForbidden, "Not let in: "+unknown.Reason+". Ask an admin to add you to the estate (kind: Access).")
	case errors.Is(err, openid.ErrDown):
		w.Header().Set("Retry-After", "30")
		failurePage(w, http.StatusServiceUnavailable, provider+" does not answer as it should. Try again in a while, or log in another way.")
	case errors.Is(err, openid.ErrFlow):
		failurePage(w, http.StatusBadRequest, "This login was not begun in this browser, or more than 10 minutes ago, or has been used. Begin again.")
	case errors.Is(err, openid.ErrRefused):
		failurePage(w, http.StatusForbidden, provider+" has not let you in. The ledger says why.")
	default:
		failurePage(w, http.StatusServiceUnavailable, "It could not be found out who logs in. The ledger says why.")
	}
}

var failure = template.Must(template.New("failure").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Not logged in · Waybill</title></head>
<body><main><h1>Not logged in</h1><p>{{.}}</p><p><a href="/">Back to Waybill</a></p></main></body>
</html>
`))

func failurePage(w http.ResponseWriter, status int, says string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = failure.Execute(w, says)
}
