package secret

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"pg": "hunter2\n", "empty": "\n", "two": "a\nb\n", "long": strings.Repeat("x", limit+1)} {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o600))
	}
	t.Setenv("WAYBILL_TEST_SECRET", "from env")
	for reference, want := range map[string]string{
		"file:pg": "hunter2", "file:" + root + "/pg": "hunter2", "env:WAYBILL_TEST_SECRET": "from env",
	} {
		got, err := Read(t.Context(), root, reference)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for reference, want := range map[string]string{
		"hunter2":                 "this is no reference to a secret; env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY expected",
		"kubernetes:erp/pg":       "this is no reference to a secret; env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY expected",
		"kubernetes:../pg/x":      "this is no reference to a secret; env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY expected",
		"env:WAYBILL_TEST_ABSENT": "read secret env:WAYBILL_TEST_ABSENT: the variable is not set; set it where the server is started",
		"file:empty":              "read secret file:empty: one line with the secret expected",
		"file:two":                "read secret file:two: one line with the secret expected",
		"file:long":               "read secret file:long: it is longer than 4096 bytes",
		"file:.":                  "read secret file:.: it is no regular file",
	} {
		_, err := Read(t.Context(), root, reference)
		require.EqualError(t, err, want)
	}
	_, err := Read(t.Context(), root, "file:gone")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestNoCluster(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := Read(t.Context(), "", "kubernetes:erp/pg/password")
	require.ErrorContains(t, err, "neither runs in a cluster nor has a kubeconfig")

	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte("clusters: ["), 0o600))
	t.Setenv("KUBECONFIG", file)
	_, err = Read(t.Context(), "", "kubernetes:erp/pg/password")
	require.ErrorContains(t, err, "the kubeconfig: ")
}
