package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

func TestTokenLife(t *testing.T) {
	b := setup(t)
	b.declare(user("tara", estate.RoleOperator, "production"), user("adam", estate.RoleAdmin))
	var made Token
	b.ask("the-owner's", "POST", "/api/v1/tokens", map[string]any{"user": "tara", "label": "laptop", "seconds": 3600}).into(t, &made)
	require.Len(t, b.recorded("token.created"), 1)

	var me User
	b.ask(made.Text, "GET", "/api/v1/whoami", nil).into(t, &me)
	require.Equal(t, "tara", me.Name)
	require.Equal(t, made.ID, me.Token)
	require.WithinDuration(t, b.clock().Add(time.Hour), *me.Expires, time.Second)
	b.ask("the-owner's", "GET", "/api/v1/whoami", nil).into(t, &me)
	require.Equal(t, "local:root", me.Name)

	said := b.ask("the-owner's", "GET", "/api/v1/tokens?user=tara", nil)
	require.NotContains(t, said.text, made.Text)
	require.NotContains(t, said.text, strings.SplitN(made.Text, "_", 3)[2], "the text is nowhere after its creation")
	var listed []Token
	said.into(t, &listed)
	require.Equal(t, time.Now().UTC().Format(time.DateOnly), listed[0].Used, "the day and no more")
	var hash []byte
	require.NoError(t, b.state.Pool.QueryRow(t.Context(), "select hash from tokens where id = $1", made.ID).Scan(&hash))
	require.Len(t, hash, 32)

	refused := func(text, why string) {
		t.Helper()
		said := b.ask(text, "GET", "/api/v1/whoami", nil)
		require.Equal(t, http.StatusUnauthorized, said.status, said.text)
		require.Contains(t, said.text, why)
		found := b.recorded("token.refused")
		require.Len(t, found, 1, "a token that does not count is recorded")
		require.Contains(t, found[0].Reason, why)
		require.NotContains(t, found[0].Reason, text)
	}
	last := made.Text[len(made.Text)-1]
	other := byte('0')
	if last == other {
		other = '1'
	}
	refused(made.Text[:len(made.Text)-1]+string(other), "no token of this installation")
	refused("wbt_aaaaaaaaaa_"+strings.Repeat("0", 64), "no token of this installation")
	refused("whatever", "no token of this installation")

	b.declare(user("adam", estate.RoleAdmin))
	refused(made.Text, "the estate no longer has this user")
	b.declare(user("tara", estate.RoleViewer, "production"), user("adam", estate.RoleAdmin))
	require.Equal(t, 403, b.ask(made.Text, "POST", "/api/v1/checkpoints", map[string]any{"environment": "production", "tenant": "acme"}).status, "a role that was taken away is gone at once")

	b.later(time.Hour)
	refused(made.Text, "has expired")
	b.later(-time.Hour)
	require.Equal(t, 200, b.ask(made.Text, "GET", "/api/v1/whoami", nil).status)

	adam := b.token("adam")
	b.recorded("")
	var ended []string
	b.ask(adam, "DELETE", "/api/v1/tokens/"+made.ID, nil).into(t, &ended)
	require.Equal(t, []string{made.ID}, ended)
	require.Len(t, b.recorded("token.revoked"), 1)
	refused(made.Text, "was revoked")
	b.ask(adam, "DELETE", "/api/v1/tokens/"+made.ID, nil).into(t, &ended)
	require.Empty(t, ended, "again is no mistake")
}

// Whoever makes a token for themselves makes one that reaches no further and holds no longer than the one they show,
// and that ends with it.
func TestTokensOfTokens(t *testing.T) {
	b := setup(t)
	b.declare(estate.User{Name: "tove", Roles: []estate.Grant{{Role: estate.RoleOperator}, {Role: estate.RoleViewer}}}, user("adam", estate.RoleAdmin))
	var small, child, grandchild Token
	b.ask("the-owner's", "POST", "/api/v1/tokens", map[string]any{"user": "tove", "roles": []string{"viewer"}, "environments": []string{"test"}, "seconds": 7200}).into(t, &small)
	b.ask(small.Text, "POST", "/api/v1/tokens", map[string]any{"user": "tove"}).into(t, &child)
	require.Equal(t, []string{"viewer"}, child.Roles)
	require.Equal(t, []string{"test"}, child.Environments)
	require.WithinDuration(t, small.Expires, child.Expires, time.Second)
	var me User
	b.ask(child.Text, "GET", "/api/v1/whoami", nil).into(t, &me)
	require.Equal(t, []estate.Grant{{Role: estate.RoleViewer, Environments: []string{"test"}}}, me.Grants)

	for name, test := range map[string]struct {
		token string
		in    map[string]any
		code  int
		says  string
	}{
		"more roles":         {small.Text, map[string]any{"user": "tove", "roles": []string{"operator"}}, 422, "can never do more than its user"},
		"more places":        {small.Text, map[string]any{"user": "tove", "environments": []string{"production"}}, 422, "can never do more than its user"},
		"a role of nobody":   {"the-owner's", map[string]any{"user": "tove", "roles": []string{"boss"}}, 422, "there is no role boss"},
		"a role not had":     {"the-owner's", map[string]any{"user": "tove", "roles": []string{"admin"}}, 422, "tove has no role admin"},
		"for somebody else":  {small.Text, map[string]any{"user": "adam"}, 403, "takes the role admin in all environments"},
		"for nobody":         {"the-owner's", map[string]any{"user": "ghost"}, 422, "the estate has no user ghost"},
		"for the owner":      {"the-owner's", map[string]any{"user": "local:root"}, 422, "the estate has no user"},
		"for ever":           {"the-owner's", map[string]any{"user": "tove", "seconds": 400 * 24 * 3600}, 422, "3.16224e+07"},
		"for no time at all": {"the-owner's", map[string]any{"user": "tove", "seconds": 1}, 422, "1 minute"},
	} {
		said := b.ask(test.token, "POST", "/api/v1/tokens", test.in)
		require.Equal(t, test.code, said.status, "%s: %s", name, said.text)
		require.Contains(t, said.text, test.says, name)
	}

	b.ask(child.Text, "POST", "/api/v1/tokens", map[string]any{"user": "tove"}).into(t, &grandchild)
	var ended []string
	b.ask(child.Text, "DELETE", "/api/v1/tokens/"+small.ID, nil).into(t, &ended)
	require.ElementsMatch(t, []string{small.ID, child.ID, grandchild.ID}, ended, "a token that leaked takes along what was made with it")
	require.Equal(t, 401, b.ask(grandchild.Text, "GET", "/api/v1/whoami", nil).status)
}

// Wrong tokens are bounded in what they cost and record; they never keep a right one out.
func TestWrongTokens(t *testing.T) {
	b := setup(t)
	b.declare(user("tim", estate.RoleViewer))
	right := b.token("tim")
	codes := map[int]int{}
	var last answer
	for range 2 * wrongTokens {
		last = b.ask("wrong", "GET", "/api/v1/whoami", nil)
		codes[last.status]++
	}
	require.Equal(t, map[int]int{401: wrongTokens, 429: wrongTokens}, codes)
	require.NotEmpty(t, last.header.Get("Retry-After"))
	require.Equal(t, 200, b.ask(right, "GET", "/api/v1/whoami", nil).status)
	require.Equal(t, 200, b.ask("the-owner's", "GET", "/api/v1/whoami", nil).status)
	require.LessOrEqual(t, len(b.recorded("token.refused")), wrongTokens+1)
	said := b.ask("", "GET", "/api/v1/whoami", nil)
	require.Equal(t, 401, said.status, "no token at all is no guess")
	require.Contains(t, said.text, "WAYBILL_TOKEN")
}

// An estate that cannot be read lets nobody in but the owner, who can mend it.
func TestBrokenEstate(t *testing.T) {
	b := setup(t)
	b.declare(user("tom", estate.RoleAdmin))
	token := b.token("tom")
	b.breakEstate()
	said := b.ask(token, "GET", "/api/v1/whoami", nil)
	require.Equal(t, 503, said.status, said.text)
	require.Contains(t, said.text, "estate.yaml:1")
	require.Equal(t, 200, b.ask("the-owner's", "GET", "/api/v1/whoami", nil).status)
}
