package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is left of a body that was too long is never read as the next request of its connection.
func TestTooLongABodyEndsItsConnection(t *testing.T) {
	server := httptest.NewUnstartedServer(Handler(Backend{Token: "secret"}))
	server.Config.MaxHeaderBytes = 64 << 10
	server.Start()
	t.Cleanup(server.Close)
	ask := func(body string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/v1/promotions", strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer secret")
		request.Header.Set("Content-Type", "application/json")
		answer, err := server.Client().Do(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	for range 50 {
		require.Equal(t, http.StatusRequestEntityTooLarge, ask(`{"release":"`+strings.Repeat("r", 2*maxBody)+`"}`))
		require.Equal(t, http.StatusBadRequest, ask("{"))
	}
}
