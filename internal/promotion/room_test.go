package promotion

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizeOfAFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "ab"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ab", "abcd"), make([]byte, 1234), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 66), 0o644))
	require.NoError(t, os.Symlink("/etc", filepath.Join(dir, "elsewhere")))
	size, err := BytesIn(t.Context(), dir)
	require.NoError(t, err)
	require.EqualValues(t, 1300, size)
	size, err = BytesIn(t.Context(), filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Zero(t, size)
}
