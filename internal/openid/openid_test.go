//go:build openid

package openid

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/openid/openidtest"
)

const back = "http://127.0.0.1:9/api/v1/login/oidc/callback"

func provider(t *testing.T) (*Provider, *openidtest.Provider) {
	real := openidtest.Start(t, back,
		openidtest.Person{Username: "anna", Email: "anna@example.com", EmailVerified: true},
		openidtest.Person{Username: "unverified", Email: "admin@example.com"})
	return &Provider{Now: time.Now, Key: bytes.Repeat([]byte{7}, 32),
		Settings: Settings{Issuer: real.Issuer, ClientID: openidtest.ClientID, Secret: openidtest.Secret, Redirect: back}}, real
}

// Somebody logs in at a real provider and comes back; whatever is replayed, forged or swapped on the way lets nobody in.
func TestLoginAtARealProvider(t *testing.T) {
	p, real := provider(t)
	ctx := t.Context()
	address, sealed, err := p.Begin(ctx)
	require.NoError(t, err)
	asked, err := url.Parse(address)
	require.NoError(t, err)
	require.Equal(t, "S256", asked.Query().Get("code_challenge_method"))
	require.NotEmpty(t, asked.Query().Get("nonce"))
	require.NotContains(t, sealed, asked.Query().Get("state"))

	_, page := real.LogIn(address, "anna", "wrong")
	require.NotEmpty(t, page)
	to, _ := real.LogIn(address, "anna", openidtest.Password)
	require.True(t, strings.HasPrefix(to.String(), back), to)
	query := to.Query()

	refused := func(what, sealed string, query url.Values, want error) {
		t.Helper()
		name, err := p.Finish(ctx, sealed, query)
		require.ErrorIs(t, err, want, what)
		require.Empty(t, name, what)
	}
	with := func(name, value string) url.Values {
		v := url.Values{"code": query["code"], "state": query["state"]}
		v.Set(name, value)
		return v
	}
	_, other, err := p.Begin(ctx)
	require.NoError(t, err)
	refused("no cookie", "", query, ErrFlow)
	refused("a forged cookie", strings.Repeat("A", 80), query, ErrFlow)
	refused("a cookie of another login", other, query, ErrFlow)
	refused("another state", sealed, with("state", "forged"), ErrFlow)
	refused("no state", sealed, url.Values{"code": query["code"]}, ErrFlow)
	refused("another issuer", sealed, with("iss", "https://evil.example"), ErrFlow)
	refused("the person said no", sealed, url.Values{"state": query["state"], "error": {"access_denied"}}, ErrRefused)
	refused("a forged code", sealed, with("code", "forged"), ErrRefused)
	p.Now = func() time.Time { return time.Now().Add(FlowLife) }
	refused("too late", sealed, query, ErrFlow)
	p.Now = time.Now

	name, err := p.Finish(ctx, sealed, query)
	require.NoError(t, err)
	require.Equal(t, "anna@example.com", name)
	refused("replayed", sealed, query, ErrRefused)

	address, sealed, err = p.Begin(ctx)
	require.NoError(t, err)
	to, _ = real.LogIn(address, "unverified", openidtest.Password)
	refused("an address that nobody has verified", sealed, to.Query(), ErrRefused)
	p.Claim = "preferred_username"
	address, sealed, err = p.Begin(ctx)
	require.NoError(t, err)
	to, _ = real.LogIn(address, "unverified", openidtest.Password)
	name, err = p.Finish(ctx, sealed, to.Query())
	require.NoError(t, err)
	require.Equal(t, "unverified", name)
}

// A code that was caught on its way is worth nothing without the verifier of the login that asked for it.
func TestCodeOfAnotherLogin(t *testing.T) {
	p, real := provider(t)
	address, _, err := p.Begin(t.Context())
	require.NoError(t, err)
	caught, _ := real.LogIn(address, "anna", openidtest.Password)
	address, sealed, err := p.Begin(t.Context())
	require.NoError(t, err)
	own, err := url.Parse(address)
	require.NoError(t, err)
	_, err = p.Finish(t.Context(), sealed, url.Values{"state": {own.Query().Get("state")}, "code": caught.Query()["code"]})
	require.ErrorIs(t, err, ErrRefused)
}

// A provider that is away keeps nobody else out, and is asked again when it is back.
func TestProviderAway(t *testing.T) {
	p, real := provider(t)
	real.Stop()
	_, _, err := p.Begin(t.Context())
	require.ErrorIs(t, err, ErrDown)
	real.Run()
	address, sealed, err := p.Begin(t.Context())
	require.NoError(t, err)
	to, _ := real.LogIn(address, "anna", openidtest.Password)
	real.Stop()
	_, err = p.Finish(t.Context(), sealed, to.Query())
	require.ErrorIs(t, err, ErrDown)
}
