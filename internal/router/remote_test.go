package router

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func writeAdminPair(t *testing.T, dir string) (certificate, key []byte) {
	t.Helper()
	certificate, key, err := NewPair()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, PairCertificate), certificate, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, PairKey), key, 0o600))
	return certificate, key
}

func TestOrdersOverTheNetworkNeedThePair(t *testing.T) {
	dir, at := t.TempDir(), freeAddress(t)
	certificate, key := writeAdminPair(t, dir)
	r := newRig(t, func(c *Config) { c.AdminTLS, c.AdminPair = at, dir })
	control, err := DialRemote(at, certificate, key)
	require.NoError(t, err)
	require.NoError(t, control.Apply(t.Context(), Table{Environment: "e", Generation: 7}))
	stats, err := r.control.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, stats.Generation)
	_, err = control.Drain(t.Context(), "nobody", 0)
	require.ErrorIs(t, err, ErrUnknownTenant)

	other, otherKey, err := NewPair()
	require.NoError(t, err)
	stranger, err := DialRemote(at, other, otherKey)
	require.NoError(t, err)
	require.Error(t, stranger.Apply(t.Context(), Table{Environment: "e", Generation: 8}))
	stats, err = r.control.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 7, stats.Generation, "a stranger gave orders")

	require.NoError(t, r.stop())
	_, err = control.Stats(t.Context())
	require.ErrorIs(t, err, ErrNotRunning)
}

func TestTableOfAFileIsFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table.json")
	write := func(generation int64) {
		content, err := json.Marshal(Table{Environment: "e", Generation: generation})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file+".new", content, 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write(3)
	r := newRig(t, func(c *Config) { c.Table = file })
	inForce := func() int64 {
		stats, err := r.control.Stats(t.Context())
		require.NoError(t, err)
		return stats.Generation
	}
	require.EqualValues(t, 3, inForce(), "it begins with the file's")
	require.NoError(t, r.control.Apply(t.Context(), Table{Environment: "e", Generation: 9}))
	write(5) // overtaken
	write(10)
	require.Eventually(t, func() bool { return inForce() == 10 }, patience, 20*time.Millisecond)
}

func TestOnlyProxiesSayWhoTheClientIs(t *testing.T) {
	proxies, err := parseProxies([]string{"10.1.0.0/16"})
	require.NoError(t, err)
	ask := func(from string, headers ...string) (client string, secure bool) {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = from
		for i := 0; i < len(headers); i += 2 {
			req.Header.Add(headers[i], headers[i+1])
		}
		behind(proxies, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			client, secure = clientAddress(r), r.TLS != nil
		})).ServeHTTP(httptest.NewRecorder(), req)
		return client, secure
	}
	forged := []string{"X-Forwarded-For", "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto", "https"}
	client, secure := ask("10.1.2.3:4711", forged...)
	require.Equal(t, "203.0.113.9", client)
	require.True(t, secure)
	client, secure = ask("10.2.2.3:4711", forged...)
	require.Equal(t, "10.2.2.3", client)
	require.False(t, secure)
	client, secure = ask("10.1.2.3:4711", "X-Forwarded-For", "rubbish")
	require.Equal(t, "10.1.2.3", client)
	require.False(t, secure)
	_, err = parseProxies([]string{"10.1.0.0"})
	require.Error(t, err)
}
