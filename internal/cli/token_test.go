package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

// The token is that of --token-file, else of WAYBILL_TOKEN, else of the data folder; never an argument.
func TestWhichToken(t *testing.T) {
	data := fake(t, func(*http.Request) (int, any) { return 200, api.User{Name: "anna"} })
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	require.NoError(t, os.WriteFile(filepath.Join(data, "keys", "token"), []byte("the owner's\n"), 0o600))
	t.Setenv(tokenVariable, "secret")
	out, problem, code := said(t, "whoami", "--data", data)
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "anna")
	t.Setenv(tokenVariable, "another")
	_, problem, code = said(t, "whoami", "--data", data, "--token-file", file("secret\n"))
	require.Equal(t, exitDone, code, problem)
	for name, path := range map[string]string{"empty": file(""), "two lines": file("secret\nsecret\n"), "missing": filepath.Join(t.TempDir(), "none")} {
		_, problem, code = said(t, "whoami", "--data", data, "--token-file", path)
		require.Equal(t, exitUsage, code, name)
		require.Contains(t, problem, "token", name)
		require.NotContains(t, problem, "secret\n", name)
	}
}

func TestTokenLives(t *testing.T) {
	for text, hours := range map[string]float64{"90d": 2160, "8h": 8, "30m": 0.5} {
		d, err := days(text)
		require.NoError(t, err)
		require.Equal(t, hours, d.Hours(), text)
	}
	for _, text := range []string{"", "d", "-1d", "0d", "90", "1000000d", "-3h", "soon"} {
		_, err := days(text)
		require.Error(t, err, text)
	}
}
