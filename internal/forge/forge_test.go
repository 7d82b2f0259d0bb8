package forge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlace(t *testing.T) {
	for remote, want := range map[string][2]string{
		"https://waybill@git.example.com/acme/estate.git": {"https://git.example.com", "acme/estate"},
		"https://git.example.com:8443/acme/group/estate":  {"https://git.example.com:8443", "acme/group/estate"},
		"ssh://git@git.example.com:2222/acme/estate.git":  {"https://git.example.com", "acme/estate"},
		"git@github.com:acme/estate.git":                  {"https://github.com", "acme/estate"},
		"http://127.0.0.1:3000/acme/estate.git":           {"http://127.0.0.1:3000", "acme/estate"},
		"/srv/estate.git":                                 {},
		"../estate":                                       {},
		"file:///srv/estate.git":                          {},
		"https://git.example.com/estate.git":              {},
		"git.example.com:/srv/git/estate.git":             {},
	} {
		base, project, ok := Place(remote)
		require.Equal(t, want, [2]string{base, project}, remote)
		require.Equal(t, want[0] != "", ok, remote)
	}
}

// away is a forge at which something is wrong: it answers everything alike.
func away(t *testing.T, kind Kind, answer http.HandlerFunc) *Forge {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return &Forge{Kind: kind, Base: server.URL, Project: "acme/estate", Token: func() (string, error) { return "s3cret-token", nil }}
}

func TestAForgeThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		want    string
		refused bool
	}{
		"its own fault": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>oops</h1>", http.StatusBadGateway) }, "answers 502 Bad Gateway", false},
		"too often":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "answers 429", false},
		"scope":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "has not the scope for it", true},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusMovedPermanently)
		}, "give the address that it sends to in forge.url", true},
		"words in lines": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "{\"message\": [\"no\\u001b[31m\\nsuch branch\"]}")
		}, "such branch", true},
		"no address": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"html_url": "javascript:alert(1)"}`)
		}, "does not say where", false},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(endless{}, maxAnswer+10))
		}, "more than 4 MiB", false},
		"gone in the middle": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "ask http://127.0.0.1", false},
	} {
		for _, kind := range Kinds {
			_, err := away(t, kind, c.answer).Open(t.Context(), Request{Branch: "waybill/production-1", Into: "main", Title: "production: release r2"})
			require.ErrorContains(t, err, c.want, "%s at %s", name, kind)
			require.Equal(t, c.refused, errors.Is(err, ErrRefused), "%s at %s", name, kind)
			require.NotContains(t, err.Error(), "s3cret-token")
			require.False(t, strings.ContainsAny(err.Error(), "\n\x1b"), "one line, and nothing that a terminal obeys: %q", err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestTokenThatCannotBeRead(t *testing.T) {
	f := away(t, Gitea, func(http.ResponseWriter, *http.Request) { t.Error("nothing is sent without a token") })
	f.Token = func() (string, error) { return "", errors.New("the environment has no FORGE_TOKEN") }
	_, err := f.Open(t.Context(), Request{Branch: "b", Into: "main"})
	require.ErrorContains(t, err, "has no FORGE_TOKEN")
}

// What the forges that no test can start are sent, and read from, as their references have it: docs.github.com/rest/pulls and
// docs.gitlab.com/api/merge_requests. Gitea is met for real in internal/gitops.
func TestOpenedBefore(t *testing.T) {
	for kind, c := range map[Kind]struct {
		post, exists, find, found, header, token string
		status                                   int
	}{
		GitHub: {
			post: "/api/v3/repos/acme/estate/pulls", status: 422,
			exists: `{"message": "Validation Failed", "errors": [{"message": "A pull request already exists for acme:waybill/production-1."}]}`,
			find:   "/api/v3/repos/acme/estate/pulls?base=main&head=acme%3Awaybill%2Fproduction-1&state=open",
			found:  `[{"html_url": "https://git.example.com/acme/estate/pull/7", "state": "open"}]`,
			header: "Authorization", token: "Bearer s3cret-token",
		},
		GitLab: {
			post: "/api/v4/projects/acme%2Festate/merge_requests", status: 409,
			exists: `{"message": ["Another open merge request already exists for this source branch: !7"]}`,
			find:   "/api/v4/projects/acme%2Festate/merge_requests?source_branch=waybill%2Fproduction-1&state=opened&target_branch=main",
			found:  `[{"web_url": "https://git.example.com/acme/estate/-/merge_requests/7", "state": "opened"}]`,
			header: "Private-Token", token: "s3cret-token",
		},
	} {
		var asked []string
		answers := map[string]string{"POST " + c.post: c.exists, "GET " + c.find: c.found}
		f := away(t, kind, func(w http.ResponseWriter, r *http.Request) {
			what := r.Method + " " + r.RequestURI
			asked = append(asked, what)
			if r.Header.Get(c.header) != c.token {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method == http.MethodPost {
				w.WriteHeader(c.status)
			}
			_, _ = io.WriteString(w, answers[what])
		})
		request := Request{Branch: "waybill/production-1", Into: "main", Title: "production: release r2"}
		link, err := f.Open(t.Context(), request)
		require.NoError(t, err, "%s was asked %v", kind, asked)
		require.Contains(t, link, "https://git.example.com/acme/estate/")

		answers["GET "+c.find] = "[]" // merged or closed in between: what it said first stands
		_, err = f.Open(t.Context(), request)
		require.ErrorIs(t, err, ErrRefused)
		require.Contains(t, asked, "GET "+c.find)
	}
}
