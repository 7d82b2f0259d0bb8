package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// site is a server that answers as Odoo does, for the answers that a sound Odoo does not give.
func site(t *testing.T, answer http.HandlerFunc) Site {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return Site{Address: server.Listener.Addr().String(), Host: "erp.acme.example", Database: "acme", Patience: 5 * time.Second}
}

func TestWhatCountsAsAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		answer            http.HandlerFunc
		failed, loggedOut int
		collided          int
		says              string
	}{
		"fine": {answer: reply(`{"result": 7}`)},
		"exception": {
			answer: reply(`{"error": {"code": 0, "data": {"name": "odoo.exceptions.UserError", "message": "no"}}}`),
			failed: 1, says: "odoo.exceptions.UserError: no",
		},
		"session expired": {
			answer: reply(`{"error": {"code": 100, "data": {"name": "odoo.http.SessionExpiredException", "message": "Session expired"}}}`),
			failed: 1, loggedOut: 1, says: ErrLoggedOut.Error(),
		},
		"login page": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/web/login?redirect=x", http.StatusSeeOther)
			},
			failed: 1, loggedOut: 1, says: ErrLoggedOut.Error(),
		},
		"frozen": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "back soon", http.StatusServiceUnavailable)
			},
			failed: 1, says: "status 503: back soon",
		},
		"not JSON": {answer: reply(`<html>`), failed: 1, says: "not JSON-RPC"},
		"cut off": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				connection, _, _ := w.(http.Hijacker).Hijack()
				connection.Close()
			},
			failed: 1, says: "EOF",
		},
		"another was faster, each time": {
			answer:   reply(`{"error": {"data": {"name": "psycopg2.errors.SerializationFailure", "message": "could not serialize"}}}`),
			collided: 4, says: "could not serialize",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := NewTally()
			person, err := site(t, c.answer).Person("clerk", "secret", 42, tally)
			require.NoError(t, err)
			defer person.Close()
			var id int
			err = person.Call(t.Context(), "sale.order", "create", nil, nil, &id)
			count := tally.Since(0)
			require.Equal(t, c.failed, count.Failed, "%v", err)
			require.Equal(t, c.loggedOut, count.LoggedOut)
			require.Equal(t, c.collided, count.Collided)
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, 7, id)
			} else {
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "secret")
			}
		})
	}
}

func TestImpatience(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := site(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	s.Patience = 50 * time.Millisecond
	tally := NewTally()
	person, err := s.Person("clerk", "", -1, tally)
	require.NoError(t, err)
	require.Error(t, person.Call(t.Context(), "sale.order", "create", nil, nil, nil))
	require.Equal(t, 1, tally.Since(0).Failed, "an answer that does not come in time is a failure")

	// Whoever is sent home in the middle of a request has not been failed by the server.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, person.Call(ctx, "sale.order", "create", nil, nil, nil))
	require.Equal(t, 1, tally.Since(0).Failed)
}

func TestCookiesAndHost(t *testing.T) {
	var asked atomic.Value
	s := site(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Host + " " + r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "session_id", Value: "abc", Path: "/", HttpOnly: true})
		fmt.Fprint(w, `{"result": {"uid": 7}}`)
	})
	person, err := s.Person("clerk", "", 35, nil)
	require.NoError(t, err)
	require.NoError(t, person.Login(t.Context()))
	require.NoError(t, person.Login(t.Context()))
	said, _ := asked.Load().(string)
	require.True(t, strings.HasPrefix(said, "erp.acme.example:"), said)
	require.Contains(t, said, "waybill_bucket=35")
	require.Contains(t, said, "session_id=abc")
}

func TestMarks(t *testing.T) {
	tally := NewTally()
	tally.add(Request{Took: time.Second, Err: ErrLoggedOut})
	mark := tally.Mark()
	tally.add(Request{Took: 3 * time.Second})
	count := tally.Since(mark)
	require.Equal(t, 1, count.Requests)
	require.Zero(t, count.Failed)
	require.Equal(t, 3*time.Second, count.Slowest)
	require.Equal(t, 1, tally.Since(0).LoggedOut)
}

func TestLedgerIsReadAgain(t *testing.T) {
	path := t.TempDir() + "/orders.jsonl"
	ledger, err := OpenLedger(path)
	require.NoError(t, err)
	require.NoError(t, ledger.Acknowledge("A-1", 1, Placed))
	require.NoError(t, ledger.Acknowledge("A-1", 1, Shipped))
	require.NoError(t, ledger.Acknowledge("A-2", 2, Placed))
	require.NoError(t, ledger.Close())
	ledger, err = OpenLedger(path)
	require.NoError(t, err)
	defer ledger.Close()
	states := map[string]State{}
	for _, e := range ledger.Entries() {
		states[e.Reference] = e.State
	}
	require.Equal(t, map[string]State{"A-1": Shipped, "A-2": Placed}, states)
}

func reply(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !json.Valid([]byte(body)) {
			w.Header().Set("Content-Type", "text/html")
		}
		fmt.Fprint(w, body)
	}
}

// TestComesBack: who is told to come back later does so, and that is no failure.
func TestComesBack(t *testing.T) {
	var asked atomic.Int32
	s := site(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "back soon", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"result": 7}`)
	})
	s.ComesBack = true
	tally := NewTally()
	person, err := s.Person("clerk", "pw", 0, tally)
	require.NoError(t, err)
	defer person.Close()
	var answer int
	require.NoError(t, person.Call(t.Context(), "sale.order", "create", nil, nil, &answer))
	require.Equal(t, 7, answer)
	count := tally.Since(0)
	require.Equal(t, [3]int{2, 0, 1}, [3]int{count.Requests, count.Failed, count.TurnedAway})
}
