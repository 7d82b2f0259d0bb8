package gitops

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

func sumOf(secret, body string) string {
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(body))
	return hex.EncodeToString(sum.Sum(nil))
}

func TestTheWebhookLetsForgesIn(t *testing.T) {
	const body = `{"ref":"refs/heads/main"}`
	good, bad := sumOf("let-me-in", body), sumOf("guess", body)
	o := newOffice(t)
	o.Hook = func() (string, error) { return "let-me-in", nil }
	server := httptest.NewServer(o.Webhook())
	t.Cleanup(server.Close)
	call := func(headers map[string]string, body io.Reader) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		require.NoError(t, err)
		for name, value := range headers {
			request.Header.Set(name, value)
		}
		answer, err := server.Client().Do(request)
		require.NoError(t, err)
		said, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.NotContains(t, string(said), "let-me-in")
		return answer.StatusCode
	}
	woken := func() bool {
		select {
		case <-o.wakes():
			return true
		default:
			return false
		}
	}
	for name, c := range map[string]struct {
		headers map[string]string
		status  int
	}{
		"GitHub":                      {map[string]string{"X-Hub-Signature-256": "sha256=" + good}, http.StatusAccepted},
		"Gitea":                       {map[string]string{"X-Gitea-Signature": good, "X-Hub-Signature-256": "sha256=" + good}, http.StatusAccepted},
		"Forgejo":                     {map[string]string{"X-Forgejo-Signature": good}, http.StatusAccepted},
		"GitLab":                      {map[string]string{"X-Gitlab-Token": "let-me-in"}, http.StatusAccepted},
		"nothing":                     {nil, http.StatusUnauthorized},
		"another secret":              {map[string]string{"X-Hub-Signature-256": "sha256=" + bad}, http.StatusUnauthorized},
		"another token":               {map[string]string{"X-Gitlab-Token": "guess"}, http.StatusUnauthorized},
		"one of two":                  {map[string]string{"X-Gitea-Signature": good, "X-Hub-Signature-256": "sha256=" + bad}, http.StatusUnauthorized},
		"no sum":                      {map[string]string{"X-Hub-Signature-256": "sha256=zz"}, http.StatusUnauthorized},
		"half a sum":                  {map[string]string{"X-Hub-Signature-256": "sha256=" + good[:32]}, http.StatusUnauthorized},
		"SHA-1, which does not count": {map[string]string{"X-Hub-Signature": "sha1=" + good[:40]}, http.StatusUnauthorized},
	} {
		require.Equal(t, c.status, call(c.headers, strings.NewReader(body)), name)
		require.Equal(t, c.status == http.StatusAccepted, woken(), name)
	}
	require.Equal(t, http.StatusUnauthorized, call(map[string]string{"X-Hub-Signature-256": "sha256=" + good}, strings.NewReader(body+" ")), "another body")
	require.Equal(t, http.StatusRequestEntityTooLarge, call(map[string]string{"X-Gitlab-Token": "let-me-in"}, strings.NewReader(strings.Repeat("x", maxHook+1))))
	o.Hook = func() (string, error) { return "", errors.New("no such file") }
	require.Equal(t, http.StatusServiceUnavailable, call(map[string]string{"X-Gitlab-Token": ""}, strings.NewReader(body)))
	require.False(t, woken())
}

// With no polling at all, a push comes into force when the forge calls; the same call again changes nothing.
func TestAPushThatTheForgeTellsOf(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.Hook = func() (string, error) { return "let-me-in", nil }
	hook := o.Webhook()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-ended) })
	commit := o.forge.push(t, to("r2"))
	for range 3 {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/estate", strings.NewReader("{}"))
		request.Header.Set("X-Hub-Signature-256", "sha256="+sumOf("let-me-in", "{}"))
		answer := httptest.NewRecorder()
		hook.ServeHTTP(answer, request)
		require.Equal(t, http.StatusAccepted, answer.Code)
	}
	require.Eventually(t, func() bool {
		head, err := o.store.EstateHead(t.Context())
		return err == nil && head.Commit == commit && len(o.promotions()) > 0
	}, time.Minute, 50*time.Millisecond)
	require.Len(t, o.promotions(), 1)
}
