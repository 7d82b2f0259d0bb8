package api

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/proxies"
)

// behind serves the same backend once more, behind proxies in these networks.
func (b *bench) behind(t *testing.T, networks ...string) {
	t.Helper()
	trusted, err := proxies.Parse(networks)
	require.NoError(t, err)
	server := httptest.NewServer(trusted.Handler(Handler(b.backend)))
	t.Cleanup(server.Close)
	b.url = server.URL
}

// What a client writes into the headers of proxies has no effect: not on its cookie, not on what is recorded of it.
func TestForgedHeadersOfProxies(t *testing.T) {
	for name, test := range map[string]struct {
		networks []string
		believed bool
	}{"no proxy is trusted": {}, "others are": {networks: []string{"10.0.0.0/8"}}, "this one is": {networks: []string{"127.0.0.0/8"}, believed: true}} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.declare(user("anna", estate.RoleViewer))
			b.behind(t, test.networks...)
			w := b.browser()
			w.headers["X-Forwarded-Proto"], w.headers["X-Forwarded-For"] = "https", "6.6.6.6, 203.0.113.9"
			said := w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"})
			require.Equal(t, 200, said.status, said.text)
			cookie, from := "waybill_session=", "127.0.0.1"
			if test.believed {
				cookie, from = "__Host-waybill_session=", "203.0.113.9"
			}
			require.Regexp(t, "^"+cookie, said.header.Get("Set-Cookie"))
			logins := b.recorded("login")
			require.Len(t, logins, 1)
			require.Equal(t, from, logins[0].Address)
		})
	}
}

// Each client behind a trusted proxy has its own limit, and a forged address is worth nothing.
func TestLimitsBehindAProxy(t *testing.T) {
	b := setup(t)
	b.behind(t, "127.0.0.1")
	wrong := func(clients string) int {
		w := b.browser()
		w.headers["X-Forwarded-For"] = clients
		w.headers["Authorization"] = "Bearer wbt_wrong"
		return w.ask("GET", "/api/v1/me", nil).status
	}
	for i := range wrongTokens {
		require.Equal(t, 401, wrong("198.51.100."+string(rune('1'+i%9))+", 203.0.113.9"), "whatever stands before what the proxy has written")
	}
	require.Equal(t, 429, wrong("198.51.100.200, 203.0.113.9"))
	require.Equal(t, 401, wrong("203.0.113.10"), "another client")
}

// A page without TLS has no say where there is TLS, also in a browser that tells no more than its origin.
func TestPagesWithoutTLS(t *testing.T) {
	b := setup(t)
	b.behind(t, "127.0.0.1")
	host := b.url[len("http://"):]
	for origin, status := range map[string]int{"http://" + host: 403, "https://" + host: 200, "https://evil.example": 403} {
		w := b.browser()
		delete(w.headers, "Sec-Fetch-Site")
		w.headers["Origin"], w.headers["X-Forwarded-Proto"] = origin, "https"
		said := w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"})
		require.Equal(t, status, said.status, said.text)
	}
}
