package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testKey = []byte("0123456789abcdef0123456789abcdef\n")

func TestClientErrors(t *testing.T) {
	jsonType := "application/json"
	cases := []struct {
		name, kind, body string
		status           int
		want             error
		says             string
	}{
		{"no such thing", "text/plain", "Not Found", 404, ErrRefused, "key"},
		{"not on the list", jsonType, `{"error":"database x is not on the list"}`, 403, ErrRefused, "database x is not on the list"},
		{"unknown call", jsonType, `{"error":"no call"}`, 400, ErrRefused, "no call"},
		{"exception", jsonType, `{"error":"boom"}`, 500, ErrBadAnswer, "boom"},
		{"a page", "text/html", "<html>", 200, ErrBadAnswer, "text/html"},
		{"broken JSON", jsonType, "{", 200, ErrBadAnswer, ""},
		{"redirect", "text/html", "", 303, ErrBadAnswer, "303"},
		{"endless", jsonType, string(bytes.Repeat([]byte(" "), maxAnswer+2)), 200, ErrBadAnswer, "more than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Regexp(t, `^v1:\d+:[A-Za-z0-9_-]{24}:[0-9a-f]{64}$`, r.Header.Get(SignatureHeader))
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			client := NewClient(server.URL+"/", testKey)
			defer client.Close()
			_, err := client.Ready(t.Context(), "x")
			require.ErrorIs(t, err, c.want)
			assert.Contains(t, err.Error(), c.says)
			assert.NotContains(t, err.Error(), "0123456789abcdef", "the key must not be shown")
		})
	}
}

func TestClientUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	_, err := NewClient(url, testKey).Status(t.Context())
	require.ErrorIs(t, err, ErrUnreachable)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = NewClient(url, testKey).Status(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestClientRefusesShortKey(t *testing.T) {
	_, err := NewClient("http://127.0.0.1:1", []byte("short")).Status(t.Context())
	require.ErrorIs(t, err, ErrRefused)
}

func TestClientRefusesNoFlows(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	}))
	defer server.Close()
	_, err := NewClient(server.URL, testKey).Flows(t.Context(), FlowsRequest{Database: "x"})
	require.ErrorIs(t, err, ErrBadAnswer)
}

// TestClientAsksForTheRest: one request has only so much time, and a bridge that never comes to an end is no bridge.
func TestClientAsksForTheRest(t *testing.T) {
	var asked [][]string
	endless := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request FlowsRequest
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&request))
		asked = append(asked, request.Flows)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case endless || len(asked) == 1:
			_, _ = w.Write([]byte(`{"flows": [{"name": "count", "outcome": "passed"}], "left": ["ship", "pos"]}`))
		default:
			_, _ = w.Write([]byte(`{"flows": [{"name": "ship", "outcome": "passed"}, {"name": "pos", "outcome": "failed"}], "left": []}`))
		}
	}))
	defer server.Close()
	client := NewClient(server.URL, testKey)
	flows, err := client.Flows(t.Context(), FlowsRequest{Database: "x", Quick: true})
	require.NoError(t, err)
	assert.Len(t, flows, 3)
	assert.Equal(t, [][]string{nil, {"ship", "pos"}}, asked)

	endless = true
	_, err = client.Flows(t.Context(), FlowsRequest{Database: "x"})
	require.ErrorIs(t, err, ErrBadAnswer)
	assert.Contains(t, err.Error(), "no end")
}

// TestClientAsksOnceMore: a worker was lost with the flow that it ran; the one in its place says which.
func TestClientAsksOnceMore(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) != 2 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"flows": [{"name": "ship", "outcome": "failed", "error": "not run: process 12 was lost"}]}`))
	}))
	defer server.Close()
	client := NewClient(server.URL, testKey)
	flows, err := client.Flows(t.Context(), FlowsRequest{Database: "x"})
	require.NoError(t, err)
	assert.Equal(t, FlowFailed, flows[0].Outcome)
	_, err = client.Flows(t.Context(), FlowsRequest{Database: "x", Flows: []string{"ship"}})
	require.ErrorIs(t, err, ErrUnreachable)
	assert.Contains(t, err.Error(), "flows ship")
	assert.EqualValues(t, 4, asked.Load())
}
