package router

import (
	"encoding/json"
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
