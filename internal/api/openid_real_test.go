//go:build openid

package api

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/openid"
	"github.com/waybill-dev/waybill/internal/openid/openidtest"
)

// Somebody comes in by a real provider, and is who the estate says has that address; nobody else comes in, nor anybody
// twice with what the provider said once.
func TestLoginByARealProvider(t *testing.T) {
	b := setup(t)
	anna := user("anna", estate.RoleOperator, "production")
	anna.Emails = []string{"Anna@example.com"}
	b.declare(anna)
	redirect := b.url + CallbackPath
	real := openidtest.Start(t, redirect,
		openidtest.Person{Username: "a.n.na", Email: "anna@example.com", EmailVerified: true},
		openidtest.Person{Username: "stranger", Email: "stranger@example.com", EmailVerified: true})
	b.openID.Settings = openid.Settings{Issuer: real.Issuer, ClientID: openidtest.ClientID, Secret: openidtest.Secret, Redirect: redirect}

	come := func(username string) (*browser, *url.URL) {
		w := b.browser()
		w.headers = map[string]string{"Sec-Fetch-Site": "cross-site"} // as browsers say of one that the provider sends back
		said := w.ask("GET", "/api/v1/login/oidc", nil)
		require.Equal(t, 303, said.status, said.text)
		require.Contains(t, said.header.Get("Set-Cookie"), "SameSite=Lax")
		back, page := real.LogIn(said.header.Get("Location"), username, openidtest.Password)
		require.NotNil(t, back, page)
		return w, back
	}
	w, back := come("a.n.na")
	other := b.browser()
	require.Equal(t, 400, other.ask("GET", back.RequestURI(), nil).status, "in a browser that has not asked")
	said := w.ask("GET", back.RequestURI(), nil)
	require.Equal(t, 303, said.status, said.text)
	require.Equal(t, "/", said.header.Get("Location"))
	w.headers = map[string]string{"Sec-Fetch-Site": "same-origin"}
	var me Me
	w.ask("GET", "/api/v1/me", nil).into(t, &me)
	require.Equal(t, "anna", me.Name)
	require.Equal(t, "oidc", me.Method)
	require.Len(t, b.recorded("login"), 1)
	require.Equal(t, 400, w.ask("GET", back.RequestURI(), nil).status, "what the provider said counts once")

	b.recorded("")
	w, back = come("stranger")
	said = w.ask("GET", back.RequestURI(), nil)
	require.Equal(t, 403, said.status, said.text)
	require.Contains(t, said.text, "the estate has no such user")
	require.Empty(t, w.cookie())
	require.Len(t, b.recorded("login.refused"), 1)
}
