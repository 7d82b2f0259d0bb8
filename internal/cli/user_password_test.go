package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A password comes from standard input, and goes nowhere but into the body of one request.
func TestUserPassword(t *testing.T) {
	var asked []string
	var got map[string]string
	data := fake(t, func(r *http.Request) (int, any) {
		asked = append(asked, r.Method+" "+r.URL.String())
		if r.Method == http.MethodDelete {
			return 200, map[string]bool{"removed": true}
		}
		got = nil
		require.NoError(t, json.NewDecoder(r.Body).Decode(&got))
		return 204, nil
	})
	given := func(text string, args ...string) (string, string, int) {
		path := filepath.Join(t.TempDir(), "stdin")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := os.Open(path)
		require.NoError(t, err)
		before := os.Stdin
		os.Stdin = f
		defer func() { os.Stdin = before; _ = f.Close() }()
		return said(t, append([]string{"user", "password", "--data", data}, args...)...)
	}
	out, problem, code := given("correct horse battery\r\n", "anna")
	require.Equal(t, exitDone, code, problem)
	require.Equal(t, map[string]string{"password": "correct horse battery"}, got)
	require.NotContains(t, out+problem, "horse")
	_, problem, code = given("old one\nnew horse battery", "anna", "--own")
	require.Equal(t, exitDone, code, problem)
	require.Equal(t, map[string]string{"current": "old one", "password": "new horse battery"}, got)
	_, problem, code = given("", "anna")
	require.Equal(t, exitUsage, code)
	require.Contains(t, problem, "one line expected")
	_, _, code = given("", "anna", "correct horse battery")
	require.Equal(t, exitUsage, code, "never an argument")
	out, problem, code = given("", "anna", "--remove")
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "no password any more")
	require.Equal(t, []string{"PUT /api/v1/users/anna/password", "PUT /api/v1/users/anna/password", "DELETE /api/v1/users/anna/password"}, asked)
}
