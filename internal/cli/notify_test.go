package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/notify"
)

// A target is told without a server; what is wrong is said without the secret.
func TestNotify(t *testing.T) {
	var got notify.Message
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&got)
		if r.URL.Path != "/hooks/T0KEN-T0KEN" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer hook.Close()
	dir := estateWith(t, "notifications.yaml", "kind: Notifications\ntargets:\n  - {name: hook, url: \"env:NOTIFY_TEST_HOOK\", events: [waiting]}\n")
	t.Setenv("NOTIFY_TEST_HOOK", hook.URL+"/hooks/T0KEN-T0KEN")
	out, errs, code := said(t, "notify", "test", "hook", "--estate", dir)
	require.Equal(t, exitDone, code, errs)
	require.Contains(t, out, "✓ hook took the message in ")
	require.Equal(t, "Waybill: a test", got.Title)
	require.Contains(t, got.Text, "This is a test of target hook, sent by ")

	t.Setenv("NOTIFY_TEST_HOOK", hook.URL+"/hooks/S3CRET-S3CRET")
	_, errs, code = said(t, "notify", "test", "hook", "--estate", dir)
	require.Equal(t, exitFailed, code)
	require.Equal(t, "waybill: notify: tell hook by http: it answers 404 Not Found\n", errs)
	t.Setenv("NOTIFY_TEST_HOOK", "")
	_, errs, _ = said(t, "notify", "test", "hook", "--estate", dir)
	require.Contains(t, errs, "env:NOTIFY_TEST_HOOK: the variable is not set")

	out, _, _ = said(t, "notify", "list", "--estate", dir)
	require.Equal(t, "hook: waiting, in all environments\n", out)
	_, errs, code = said(t, "notify", "test", "hok", "--estate", dir)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `no target "hok"; it has hook`)
	_, errs, code = said(t, "notify", "test", "hook", "--estate", estateWith(t, "notes.txt", ""))
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "the estate has no targets")
}
