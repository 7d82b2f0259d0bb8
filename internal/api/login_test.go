package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/long"
)

// browser keeps cookies, and says where its requests come from.
type browser struct {
	*bench
	jar     http.CookieJar
	headers map[string]string
	form    string // content type, where it is not JSON
}

func (b *bench) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	return &browser{bench: b, jar: jar, headers: map[string]string{"Sec-Fetch-Site": "same-origin"}}
}

func (w *browser) ask(method, path string, in any) answer {
	w.t.Helper()
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		require.NoError(w.t, err)
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, body)
	require.NoError(w.t, err)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if w.form != "" {
		request.Header.Set("Content-Type", w.form)
	}
	for name, value := range w.headers {
		request.Header.Set(name, value)
	}
	client := &http.Client{Jar: w.jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	require.NoError(w.t, err)
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return answer{response.StatusCode, response.Header, string(content)}
}

func (w *browser) cookie() string {
	at, err := url.Parse(w.url)
	require.NoError(w.t, err)
	for _, c := range w.jar.Cookies(at) {
		if c.Name == plainCookie {
			return c.Value
		}
	}
	return ""
}

// steal gives another browser the same cookie.
func (w *browser) steal() *browser {
	thief := w.browser()
	at, err := url.Parse(w.url)
	require.NoError(w.t, err)
	thief.jar.SetCookies(at, []*http.Cookie{{Name: plainCookie, Value: w.cookie(), Path: "/"}})
	return thief
}

const password = "correct horse battery"

func (b *bench) setPassword(name string) {
	b.t.Helper()
	said := b.ask("the-owner's", "PUT", "/api/v1/users/"+name+"/password", map[string]any{"password": password})
	require.Equal(b.t, 204, said.status, said.text)
}

func (b *bench) loggedIn(name string) *browser {
	b.t.Helper()
	w := b.browser()
	said := w.ask("POST", "/api/v1/login", map[string]any{"name": name, "password": password})
	require.Equal(b.t, 200, said.status, said.text)
	return w
}

func TestLogin(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleOperator, "production"))
	w := b.browser()
	said := w.ask("GET", "/api/v1/me", nil)
	require.Equal(t, 401, said.status)
	require.Contains(t, said.text, "POST /api/v1/login")

	var ways []LoginMethod
	w.ask("GET", "/api/v1/login", nil).into(t, &ways)
	require.Equal(t, []LoginMethod{{Method: "token", Name: "Token"}}, ways, "nobody has a password yet")

	said = w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"})
	var me Me
	said.into(t, &me)
	require.Equal(t, "local:root", me.Name)
	require.True(t, me.Owner)
	require.Equal(t, "token", me.Method)
	require.Equal(t, []identity.Role{identity.Admin}, me.Environments["production"])
	set := said.header.Get("Set-Cookie")
	for _, word := range []string{"waybill_session=wbs_", "Path=/", "HttpOnly", "SameSite=Strict"} {
		require.Contains(t, set, word)
	}
	require.NotContains(t, said.text, w.cookie())
	require.Equal(t, "no-store", said.header.Get("Cache-Control"))
	require.Len(t, b.recorded("login"), 1)
	kept, err := b.state.Session(t.Context(), strings.Split(w.cookie(), "_")[1])
	require.NoError(t, err)
	require.Len(t, kept.Hash, 32)
	require.NotContains(t, string(kept.Hash), strings.Split(w.cookie(), "_")[2])

	b.setPassword("anna")
	require.Len(t, b.recorded("password.set"), 1)
	w.ask("GET", "/api/v1/login", nil).into(t, &ways)
	require.Len(t, ways, 2)
	w = b.loggedIn("anna")
	me = Me{}
	w.ask("GET", "/api/v1/me", nil).into(t, &me)
	require.Equal(t, "anna", me.Name)
	require.Equal(t, "password", me.Method)
	require.Contains(t, me.Operations["production"], identity.RestoreStart)
	require.NotContains(t, me.Operations["test"], identity.RestoreStart)
	require.WithinDuration(t, b.clock().Add(identity.SessionIdle), me.Session.Idle, time.Second)
	require.WithinDuration(t, b.clock().Add(identity.SessionLife), me.Session.Expires, time.Second)
	require.Equal(t, 403, w.ask("POST", "/api/v1/checkpoints", map[string]any{"environment": "test", "tenant": "acme"}).status, "a session may what its user may")

	b.recorded("")
	thief := w.steal()
	require.Equal(t, 200, thief.ask("GET", "/api/v1/me", nil).status)
	said = w.ask("POST", "/api/v1/logout", nil)
	require.Equal(t, 200, said.status, said.text)
	require.Contains(t, said.header.Get("Set-Cookie"), "Max-Age=0")
	require.Empty(t, w.cookie())
	require.Len(t, b.recorded("logout"), 1)
	said = thief.ask("GET", "/api/v1/me", nil)
	require.Equal(t, 401, said.status, "a cookie that is replayed after logout")
	require.Contains(t, said.text, "has logged out")
	require.Equal(t, 200, w.ask("POST", "/api/v1/logout", nil).status, "again is no mistake")
}

// Each login has a cookie of its own, and none from before it counts.
func TestLoginRotates(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer))
	b.setPassword("anna")
	w := b.loggedIn("anna")
	first, thief := w.cookie(), w.steal()
	require.Equal(t, 200, w.ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": password}).status)
	require.NotEqual(t, first, w.cookie())
	require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status)
	require.Equal(t, 401, thief.ask("GET", "/api/v1/me", nil).status)
}

func TestSessionsEnd(t *testing.T) {
	long.Test(t)
	anna := user("anna", estate.RoleOperator, "production")
	for name, test := range map[string]struct {
		does func(b *bench)
		says string
		back func(b *bench) // puts everything as it was: the session stays over
	}{
		"idle":               {func(b *bench) { b.later(identity.SessionIdle) }, "nothing was asked for 8 hours", nil},
		"taken out":          {func(b *bench) { b.declare(user("adam", estate.RoleAdmin)) }, "the estate has no user anna", func(b *bench) { b.declare(anna) }},
		"other roles":        {func(b *bench) { b.declare(user("anna", estate.RoleAdmin)) }, "what the estate says about anna has changed", func(b *bench) { b.declare(anna) }},
		"other password":     {func(b *bench) { b.setPassword("anna") }, "the password was changed", nil},
		"password taken off": {func(b *bench) { b.ask("the-owner's", "DELETE", "/api/v1/users/anna/password", nil) }, "the password was removed", func(b *bench) { b.setPassword("anna") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.declare(anna)
			b.setPassword("anna")
			w := b.loggedIn("anna")
			b.recorded("")
			test.does(b)
			thief := w.steal()
			said := w.ask("GET", "/api/v1/status", nil)
			require.Equal(t, 401, said.status, said.text)
			require.Contains(t, said.text, test.says)
			require.Empty(t, w.cookie(), "the cookie is taken away")
			require.Empty(t, b.recorded("session.refused"), "a session that is over is no attack")
			if test.back != nil {
				test.back(b)
				require.Equal(t, 401, thief.ask("GET", "/api/v1/status", nil).status)
			}
		})
	}
	t.Run("after a day, whatever is asked for", func(t *testing.T) {
		b := setup(t)
		b.declare(anna)
		b.setPassword("anna")
		w := b.loggedIn("anna")
		for range 5 {
			b.later(4 * time.Hour)
			require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status)
		}
		b.later(4 * time.Hour)
		said := w.steal().ask("GET", "/api/v1/me", nil)
		require.Equal(t, 401, said.status)
		require.Contains(t, said.text, "24 hours at most")
	})
}

// A session that a token has opened reaches no further than the token, and ends with it.
func TestSessionsOfTokens(t *testing.T) {
	b := setup(t)
	b.declare(estate.User{Name: "tove", Roles: []estate.Grant{{Role: estate.RoleOperator}, {Role: estate.RoleViewer}}})
	var small Token
	b.ask("the-owner's", "POST", "/api/v1/tokens", map[string]any{"user": "tove", "roles": []string{"viewer"}, "environments": []string{"test"}, "seconds": 3600}).into(t, &small)
	w := b.browser()
	var me Me
	w.ask("POST", "/api/v1/login", map[string]any{"token": small.Text}).into(t, &me)
	require.Equal(t, small.ID, me.Token)
	require.WithinDuration(t, small.Expires, me.Session.Expires, time.Second)
	w.ask("GET", "/api/v1/me", nil).into(t, &me)
	require.Equal(t, []estate.Grant{{Role: estate.RoleViewer, Environments: []string{"test"}}}, me.Grants)
	said := w.ask("PUT", "/api/v1/users/tove/password", map[string]any{"password": password})
	require.Equal(t, 422, said.status, "what reaches less far than its user gives itself no password")
	require.Contains(t, said.text, "an admin gives the first one")

	var child Token
	w.ask("POST", "/api/v1/tokens", map[string]any{"user": "tove"}).into(t, &child)
	require.Equal(t, []string{"viewer"}, child.Roles)
	require.Equal(t, 200, b.ask("the-owner's", "DELETE", "/api/v1/tokens/"+small.ID, nil).status)
	said = w.ask("GET", "/api/v1/me", nil)
	require.Equal(t, 401, said.status)
	require.Contains(t, said.text, "was revoked")
	require.Equal(t, 401, b.ask(child.Text, "GET", "/api/v1/whoami", nil).status)
}

// Whatever is wrong with a name or a password, the answer is the same; too many are not compared any more, and a token
// still opens.
func TestWrongPasswords(t *testing.T) {
	long.Test(t)
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer), user("bert", estate.RoleViewer))
	b.setPassword("anna")
	var texts []string
	for _, in := range []map[string]any{
		{"name": "anna", "password": "wrong"},
		{"name": "bert", "password": "wrong"},   // has none
		{"name": "nobody", "password": "wrong"}, // is not there
		{"name": "anna", "password": strings.ToUpper(password)},
	} {
		said := b.browser().ask("POST", "/api/v1/login", in)
		require.Equal(t, 401, said.status, said.text)
		require.Empty(t, said.header.Get("Set-Cookie"))
		texts = append(texts, said.text)
	}
	for _, text := range texts[1:] {
		require.Equal(t, texts[0], text)
	}
	var actors []string
	for _, e := range b.recorded("login.refused") {
		actors = append(actors, e.Actor)
		require.NotContains(t, e.Reason, "nobody", "what was typed as a name may be a password")
	}
	require.Equal(t, []string{"anna", "bert", "", "anna"}, actors)

	last := answer{}
	for range 10 {
		last = b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": "wrong"})
	}
	require.Equal(t, 429, last.status, last.text)
	require.NotEmpty(t, last.header.Get("Retry-After"))
	require.Contains(t, last.text, "Wait 10 minutes")
	require.Equal(t, 429, b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": password}).status, "a right one is not compared either")
	require.Equal(t, 200, b.browser().ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"}).status)
	b.later(11 * time.Minute)
	b.loggedIn("anna")

	for range 10 { // from where she has worked before, others keep her out no longer
		last = b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": "wrong"})
		require.Equal(t, 401, last.status)
	}
	b.loggedIn("anna")
	for range 20 {
		last = b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "whoever", "password": "wrong"})
	}
	require.Equal(t, 429, last.status)
	require.Equal(t, 429, b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": password}).status, "but an address has an end")
}

func TestPasswordsAreSet(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer), user("adam", estate.RoleAdmin), user("aron", estate.RoleAdmin, "test"))
	adam := b.token("adam")
	for in, says := range map[string]string{"short": "takes 12", strings.Repeat("x", 20): "again and again", strings.Repeat("long ", 50): "200 are possible", "annaannaanna": "more than the name"} {
		said := b.ask(adam, "PUT", "/api/v1/users/anna/password", map[string]any{"password": in})
		require.Equal(t, 422, said.status, said.text)
		require.Contains(t, said.text, says)
		require.NotContains(t, said.text, in)
	}
	require.Equal(t, 422, b.ask(adam, "PUT", "/api/v1/users/ghost/password", map[string]any{"password": password}).status)
	require.Equal(t, 403, b.ask(b.token("aron"), "PUT", "/api/v1/users/anna/password", map[string]any{"password": password}).status)
	require.Equal(t, 204, b.ask(adam, "PUT", "/api/v1/users/anna/password", map[string]any{"password": password}).status)
	kept, err := b.state.Password(t.Context(), "anna")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(kept.Hash, "$argon2id$v=19$m=32768,t=3,p=1$"), kept.Hash)
	require.Equal(t, "adam", kept.SetBy)

	w := b.loggedIn("anna")
	const other = "another horse battery"
	require.Equal(t, 422, w.ask("PUT", "/api/v1/users/anna/password", map[string]any{"password": other}).status, "not without the one before")
	require.Equal(t, 401, w.ask("PUT", "/api/v1/users/anna/password", map[string]any{"password": other, "current": "wrong"}).status)
	require.Equal(t, 403, w.ask("PUT", "/api/v1/users/adam/password", map[string]any{"password": other}).status)
	require.Equal(t, 204, w.ask("PUT", "/api/v1/users/anna/password", map[string]any{"password": other, "current": password}).status)
	require.Equal(t, 401, w.ask("GET", "/api/v1/me", nil).status)
	require.Equal(t, 200, b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": other}).status)

	b.declare(user("adam", estate.RoleAdmin))
	require.Equal(t, 401, b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": other}).status, "who is not in the estate has no way in")
	require.Equal(t, 200, b.ask(adam, "DELETE", "/api/v1/users/anna/password", nil).status)
	has, err := b.state.AnyPassword(t.Context())
	require.NoError(t, err)
	require.False(t, has)
}

// No page of another site can act with somebody's cookie, nor log somebody in.
func TestOtherSites(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleOperator))
	b.setPassword("anna")
	w := b.loggedIn("anna")
	host := strings.TrimPrefix(b.url, "http://")
	for name, test := range map[string]struct {
		headers map[string]string
		form    string
		status  int
	}{
		"another site":            {map[string]string{"Sec-Fetch-Site": "cross-site"}, "", 403},
		"a neighbouring host":     {map[string]string{"Sec-Fetch-Site": "same-site"}, "", 403},
		"another origin":          {map[string]string{"Origin": "https://evil.example"}, "", 403},
		"no origin at all":        {map[string]string{"Origin": "null"}, "", 403},
		"another port":            {map[string]string{"Origin": "http://127.0.0.1:1"}, "", 403},
		"a form":                  {map[string]string{"Origin": "http://" + host}, "application/x-www-form-urlencoded", 415},
		"text that looks like it": {map[string]string{"Origin": "http://" + host}, "text/plain", 415},
	} {
		b.recorded("")
		w.headers, w.form = test.headers, test.form
		said := w.ask("POST", "/api/v1/checkpoints", map[string]any{"environment": "production", "tenant": "acme"})
		require.Equal(t, test.status, said.status, "%s: %s", name, said.text)
		refused := b.recorded("session.refused")
		require.Len(t, refused, 1, name)
		require.Equal(t, "anna", refused[0].Actor)
		said = w.ask("POST", "/api/v1/logout", map[string]any{})
		require.Equal(t, test.status, said.status, "%s: %s", name, said.text)
		fresh := b.browser()
		fresh.headers, fresh.form = test.headers, test.form
		said = fresh.ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": password})
		require.Equal(t, test.status, said.status, "%s logs nobody in: %s", name, said.text)
		require.Empty(t, said.header.Get("Set-Cookie"))
	}
	w.headers, w.form = map[string]string{"Origin": "http://" + host}, ""
	require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status, "she is still logged in")
	require.NotContains(t, []int{401, 403, 415}, w.ask("POST", "/api/v1/checkpoints", map[string]any{"environment": "production", "tenant": "acme"}).status, "and this site's own page may")
	require.Empty(t, w.ask("GET", "/api/v1/me", nil).header.Get("Access-Control-Allow-Origin"))
}

func TestForgedCookies(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer))
	b.setPassword("anna")
	w := b.loggedIn("anna")
	id := strings.Split(w.cookie(), "_")[1]
	b.recorded("")
	at, err := url.Parse(b.url)
	require.NoError(t, err)
	var last answer
	for i := range 2 * wrongTokens {
		forged := b.browser()
		text := []string{"wbs_" + id + "_" + strings.Repeat("0", 64), "wbs_aaaaaaaaaa_" + strings.Repeat("0", 64), "wbs_' or 1=1", "the-owner's"}[i%4]
		forged.jar.SetCookies(at, []*http.Cookie{{Name: plainCookie, Value: text, Path: "/"}})
		last = forged.ask("GET", "/api/v1/me", nil)
		if i < wrongTokens {
			require.Equal(t, 401, last.status, last.text)
		}
		require.NotContains(t, last.text, text)
	}
	require.Equal(t, 429, last.status)
	require.LessOrEqual(t, len(b.recorded("session.refused")), wrongTokens+1)
	require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status, "the right one is let in all the same")
}

// With TLS the cookie is one that no neighbouring host can plant, and the plain one does not count.
func TestCookieWithTLS(t *testing.T) {
	b := setup(t)
	b.behind(t, "127.0.0.1")
	w := b.browser()
	w.headers["X-Forwarded-Proto"] = "https"
	said := w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"})
	require.Equal(t, 200, said.status)
	set := said.header.Get("Set-Cookie")
	require.Contains(t, set, "__Host-waybill_session=wbs_")
	require.Contains(t, set, "Secure")
	require.Contains(t, set, "Path=/")
	require.NotContains(t, set, "Domain")
	text := strings.TrimPrefix(strings.Split(set, ";")[0], secureCookie+"=")
	w = b.browser()
	w.headers["X-Forwarded-Proto"] = "https"
	w.headers["Cookie"] = plainCookie + "=" + text
	require.Equal(t, 401, w.ask("GET", "/api/v1/me", nil).status)
	w.headers["Cookie"] = secureCookie + "=" + text
	require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status)
}

// With an estate that cannot be read, the data folder's owner still gets in to mend it; to others nothing of it is told.
func TestLoginWithABrokenEstate(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer))
	b.setPassword("anna")
	b.breakEstate()
	said := b.browser().ask("POST", "/api/v1/login", map[string]any{"name": "anna", "password": password})
	require.Equal(t, 503, said.status)
	require.NotContains(t, said.text, "estate.yaml")
	w := b.browser()
	require.Equal(t, 200, w.ask("POST", "/api/v1/login", map[string]any{"token": "the-owner's"}).status)
	require.Equal(t, 200, w.ask("GET", "/api/v1/me", nil).status)
}
