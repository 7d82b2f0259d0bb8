package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/notify"
)

// expectNotice declares a freeze that begins soon and somebody to tell, and returns what waits for it to be told.
func expectNotice(t *testing.T, estate string) (wait func()) {
	t.Helper()
	told := make(chan notify.Message, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		_ = json.NewDecoder(r.Body).Decode(&m)
		told <- m
	}))
	t.Cleanup(hook.Close)
	soon := time.Now().UTC().Add(2 * time.Hour).Format("2006-01-02T15:04")
	for name, content := range map[string]string{
		"calendar.yaml":      fmt.Sprintf("kind: Calendar\nname: stop\ntimezone: UTC\nfreezes:\n  - {name: count, from: %s, duration: 1h, reason: all goods are counted}\n", soon),
		"notifications.yaml": "kind: Notifications\ntargets:\n  - {name: hook, url: \"file:hook\", environments: [production]}\n",
		"hook":               hook.URL + "\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(estate, name), []byte(content), 0o600))
	}
	return func() {
		t.Helper()
		select {
		case m := <-told:
			require.Equal(t, "freeze", m.Event)
			require.Equal(t, "production", m.Environment)
			require.Contains(t, m.Text, "all goods are counted")
		case <-time.After(30 * time.Second):
			t.Fatal("nobody was told of the freeze within 30 s")
		}
	}
}
