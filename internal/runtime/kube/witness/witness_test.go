package witness

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder as the kubelet lays it out: the files are links into a hidden folder that changes as a whole.
func TestHashesOfFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "..2026"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "..2026", "pool.json"), []byte("{}"), 0o600))
	require.NoError(t, os.Symlink("..2026", filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink("..data/pool.json", filepath.Join(dir, "pool.json")))
	w := httptest.NewRecorder()
	Handler(dir).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	var seen map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &seen))
	require.Equal(t, map[string]string{"pool.json": Hash([]byte("{}"))}, seen)
	require.NotContains(t, w.Body.String(), "{}")

	w = httptest.NewRecorder()
	Handler(filepath.Join(dir, "none")).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 500, w.Code)
}
