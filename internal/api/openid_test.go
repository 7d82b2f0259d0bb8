package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
)

// With no provider that answers there is a page that says so, and the other ways in are open.
func TestProviderDown(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer))
	b.openID.Issuer = "http://127.0.0.1:1/"
	w := b.browser()
	said := w.ask("GET", "/api/v1/login/oidc", nil)
	require.Equal(t, http.StatusServiceUnavailable, said.status, said.text)
	require.Contains(t, said.text, "does not answer")
	require.Contains(t, said.header.Get("Content-Type"), "text/html")
	require.NotContains(t, said.text, "refused", "nothing of what is wrong inside")
	require.Len(t, b.recorded("login.refused"), 1)
	for path, status := range map[string]int{"": 400, "?state=x&code=y": 400, "?error=<script>": 400} {
		said = w.ask("GET", "/api/v1/login/oidc/callback"+path, nil)
		require.Equal(t, status, said.status, said.text)
		require.NotContains(t, said.text, "<script")
		require.NotContains(t, said.header.Get("Set-Cookie"), "waybill_session")
	}
	require.Equal(t, 200, w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"}).status)
}

func TestWhoTheProviderMeans(t *testing.T) {
	access := &estate.Access{Users: []estate.User{{Name: "anna", Emails: []string{"Anna@Example.com"}}, {Name: "bert"}}}
	for name, want := range map[string]string{"anna@example.com": "anna", "anna": "anna", "bert": "bert", "bert@example.com": "", "": "", "example.com": ""} {
		person, ok := identity.PersonNamed(access, name)
		require.Equal(t, want, person.Name, name)
		require.Equal(t, want != "", ok, name)
	}
}
