//go:build docker

package docker

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSocketOfALongFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.Greater(t, len(filepath.Join(dir, adminSocket)), longestSocket)
	var s socketFolders
	defer func() { require.NoError(t, s.close()) }()
	for range 2 { // the second time in a folder that was made anew
		path := s.path(dir)
		require.LessOrEqual(t, len(path), longestSocket)
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		require.NoError(t, dials(t.Context(), "unix", s.path(dir)))
		require.NoError(t, l.Close())
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
}

func TestPortOwnerIsNamed(t *testing.T) {
	r := setup(t, "").runtime
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	owner := r.portOwner(t.Context(), uint16(l.Addr().(*net.TCPAddr).Port))
	require.Contains(t, owner, strings.TrimSpace(string(comm)))
}
