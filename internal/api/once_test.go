package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

func TestTheSameRequestHasOneEffect(t *testing.T) {
	b := setup(t)
	b.declare(user("vera", estate.RoleViewer), user("olga", estate.RoleOperator))
	var effects atomic.Int64
	hold := make(chan struct{})
	backend := b.backend
	backend.CheckIsolation = func(context.Context, string, string) (int64, error) {
		<-hold
		return effects.Add(1), nil
	}
	server := httptest.NewServer(Handler(backend))
	t.Cleanup(server.Close)
	ask := func(token, method, path, key, content string) answer {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(content))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set(onceHeader, key)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return answer{response.StatusCode, response.Header, string(text)}
	}
	const check = "/api/v1/isolation/production/check"
	said := make([]answer, 8)
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() { said[i] = ask("the-owner's", "POST", check, "one", "") })
	}
	close(hold)
	all.Wait()
	replayed := 0
	for _, a := range said {
		require.Equal(t, http.StatusOK, a.status, a.text)
		require.JSONEq(t, said[0].text, a.text)
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	require.EqualValues(t, 1, effects.Load(), "eight came at the same time")
	require.Equal(t, 7, replayed)

	other := ask("the-owner's", "POST", "/api/v1/isolation/test/check", "one", "")
	require.Equal(t, http.StatusUnprocessableEntity, other.status)
	require.Contains(t, other.text, keyReused)
	require.Equal(t, http.StatusOK, ask(b.token("olga"), "POST", check, "one", "").status, "a key is of one person")
	require.EqualValues(t, 2, effects.Load())
	require.Equal(t, http.StatusOK, ask("the-owner's", "POST", check, "two", "").status)
	require.EqualValues(t, 3, effects.Load())

	// What was refused did nothing: the key is free again.
	require.Equal(t, http.StatusForbidden, ask(b.token("vera"), "POST", check, "three", "").status)
	require.Equal(t, http.StatusForbidden, ask(b.token("vera"), "POST", check, "three", "").status)
	require.Equal(t, http.StatusUnprocessableEntity, ask("the-owner's", "POST", "/api/v1/tokens", "four", `{"user":"nobody"}`).status)

	// A secret is shown once, and kept nowhere.
	made := ask("the-owner's", "POST", "/api/v1/tokens", "five", `{"user":"vera"}`)
	var token Token
	made.into(t, &token)
	again := ask("the-owner's", "POST", "/api/v1/tokens", "five", `{"user":"vera"}`)
	require.Equal(t, http.StatusConflict, again.status)
	require.Contains(t, again.text, answerNotKept)
	var kept int
	require.NoError(t, b.state.Pool.QueryRow(t.Context(), "select count(*) from onces where position($1::bytea in body) > 0", []byte(token.Text)).Scan(&kept))
	require.Zero(t, kept)

	// A server that was killed at it.
	_, mine, err := b.state.BeginOnce(t.Context(), "local:root", "six", requestSum("POST", check, "application/json", ""))
	require.NoError(t, err)
	require.True(t, mine)
	_, err = b.state.Pool.Exec(t.Context(), "update onces set beat_at = now() - interval '1 minute' where key = 'six'")
	require.NoError(t, err)
	lost := ask("the-owner's", "POST", check, "six", "")
	require.Equal(t, http.StatusConflict, lost.status)
	require.Contains(t, lost.text, outcomeUnknown)
	_, err = b.state.Pool.Exec(t.Context(), "update onces set created_at = now() - interval '25 hours' where key = 'six'")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, ask("the-owner's", "POST", check, "six", "").status, "a day later it is another request")

	require.Equal(t, http.StatusUnprocessableEntity, ask("the-owner's", "POST", check, "ü", "").status)
	require.Equal(t, http.StatusUnprocessableEntity, ask("the-owner's", "POST", check, strings.Repeat("k", 129), "").status)
	require.Equal(t, http.StatusRequestEntityTooLarge, ask("the-owner's", "POST", "/api/v1/promotions", "seven", strings.Repeat(" ", maxBody+1)).status)
}

// Every list is read whole by following the cursor, however short its parts are.
func TestListsArePaged(t *testing.T) {
	b := setup(t)
	b.declare(user("anna", estate.RoleViewer), user("bert", estate.RoleViewer), user("cora", estate.RoleViewer))
	for _, key := range []string{"page1", "page2", "page3"} {
		b.made("anna", key)
	}
	for _, name := range []string{"anna", "bert", "cora"} {
		b.token(name)
	}
	for _, list := range []string{"promotions", "releases", "rehearsals", "tokens", "users", "ledger"} {
		whole, parts := b.everything("/api/v1/"+list+"?limit=500"), b.everything("/api/v1/"+list+"?limit=2")
		if list != "ledger" {
			require.GreaterOrEqual(t, len(whole), 3, list)
		}
		require.Equal(t, whole, parts, list)
	}
	first := b.ask("the-owner's", "GET", "/api/v1/promotions?limit=1", nil)
	require.Contains(t, first.header.Get("Link"), `</api/v1/promotions?cursor=`)
	cursor := first.header.Get("Next-Cursor")
	for _, path := range []string{"/api/v1/rehearsals?cursor=" + cursor, "/api/v1/promotions?cursor=nonsense", "/api/v1/users?cursor=" + cursor, "/api/v1/promotions?cursor=e30"} {
		said := b.ask("the-owner's", "GET", path, nil)
		require.Equal(t, http.StatusUnprocessableEntity, said.status, path)
		require.Contains(t, said.text, staleCursor, path)
	}
}

// everything follows a list's links to its end.
func (b *bench) everything(path string) (all []string) {
	b.t.Helper()
	for range 1000 {
		said := b.ask("the-owner's", "GET", path, nil)
		var part []json.RawMessage
		said.into(b.t, &part)
		for _, item := range part {
			all = append(all, string(item))
		}
		link := said.header.Get("Link")
		if link == "" || !strings.Contains(link, `rel="next"`) {
			return all
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	require.Fail(b.t, "the list has no end")
	return nil
}

func TestReferencePage(t *testing.T) {
	b := setup(t)
	for _, path := range []string{"/api", "/api/", "/api/reference.css", "/api/openapi.json"} {
		said := b.ask("", "GET", path, nil)
		require.Equal(t, http.StatusOK, said.status, path)
		require.NotContains(t, said.header.Get("Content-Security-Policy"), "unsafe")
	}
	page := b.ask("", "GET", "/api", nil).text
	for _, o := range b.document().operations {
		require.Contains(t, page, `id="`+o.OperationID+`"`)
	}
	for _, k := range problemKinds {
		require.Contains(t, page, `id="problem-`+k.Name+`"`)
	}
	for _, banned := range []string{"<script", "style=", "http://", "https://"} {
		require.NotContains(t, page, banned)
	}
	require.Equal(t, http.StatusUnauthorized, b.ask("", "GET", "/api/v1/status", nil).status)
}
