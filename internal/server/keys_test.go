package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

func TestKeysAreCreatedBeforeAServer(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new", "waybill")
	offline, err := CreateKeys(data)
	require.NoError(t, err)
	require.Equal(t, offlineKeyFile(data), offline)
	require.NotEqual(t, KeyFolder(data), filepath.Dir(offline), "what becomes a Secret must not have it")
	first := contents(t, KeyFolder(data))
	require.Len(t, first, 6)

	again, err := CreateKeys(data)
	require.NoError(t, err)
	require.Equal(t, offline, again, "it is still here")
	require.NoError(t, os.Remove(offline))
	again, err = CreateKeys(data)
	require.NoError(t, err)
	require.Empty(t, again, "it was taken away")
	require.Equal(t, first, contents(t, KeyFolder(data)), "no key was replaced")
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(content)
	}
	return all
}

// Two servers on one database, each with a data folder of its own and the same keys in it: people find the same behind either.
func TestTwoServersWithTheSameKeys(t *testing.T) {
	long.Test(t)
	made := t.TempDir()
	_, err := CreateKeys(made)
	require.NoError(t, err)
	before := contents(t, KeyFolder(made))
	estate, database := declared(t), storetest.Database(t, cluster(t))
	people := "kind: Access\nusers: [{name: ann, roles: [{role: viewer}]}]\n"
	require.NoError(t, os.WriteFile(filepath.Join(estate, "access.yaml"), []byte(people), 0o644))
	var both [2]running
	for i := range both {
		data := folder(t)
		require.NoError(t, os.CopyFS(KeyFolder(data), os.DirFS(KeyFolder(made))))
		private(t, KeyFolder(data))
		both[i] = start(t, Config{Data: data, Estate: estate, Listen: "127.0.0.1:0", Version: "test", DatabaseURL: database})
		require.Equal(t, before, contents(t, KeyFolder(data)), "a server that has all keys makes none")
		require.NoFileExists(t, offlineKeyFile(data))
		code, _ := both[i].ask("GET", "/livez", "", nil)
		require.Equal(t, http.StatusOK, code)
	}
	for i, here := range both {
		there := both[1-i]
		code, content := there.ask("GET", "/api/v1/status", here.token(), nil)
		require.Equal(t, http.StatusOK, code, content)
		code, content = here.ask("POST", "/api/v1/tokens", here.token(), strings.NewReader(`{"user":"ann","seconds":3600}`))
		require.Less(t, code, 300, content)
		_, text, _ := strings.Cut(content, `"text":"`)
		text, _, _ = strings.Cut(text, `"`)
		require.NotEmpty(t, text, content)
		code, content = there.ask("GET", "/api/v1/whoami", text, nil)
		require.Equal(t, http.StatusOK, code, content)
		require.Contains(t, content, "ann")
	}
}

func private(t *testing.T, dir string) {
	t.Helper()
	for name := range contents(t, dir) {
		require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o600))
	}
}

func TestAFolderOfOneselfIsOpenedJustAsFarAsNeeded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, letThrough(dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o711), info.Mode().Perm())
}
