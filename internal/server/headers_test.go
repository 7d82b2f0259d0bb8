package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryAnswerIsSecured(t *testing.T) {
	handler := secured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Content-Security-Policy", "default-src 'none'")
		}
	}))
	plain, tls := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(tls.Close)
	get := func(client *http.Client, url string) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		answer, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.Header
	}
	h := get(plain.Client(), plain.URL)
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'self'")
	require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe")
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "same-origin", h.Get("Referrer-Policy"))
	require.Empty(t, h.Get("Strict-Transport-Security"), "whoever has no TLS is not locked out")
	require.NotEmpty(t, get(tls.Client(), tls.URL).Get("Strict-Transport-Security"))
	require.Equal(t, "default-src 'none'", get(plain.Client(), plain.URL+"/own").Get("Content-Security-Policy"))
}
