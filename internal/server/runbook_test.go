package server

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/runbook"
)

// A runbook is of the installation as it is, and holds no secret of it.
func TestRunbook(t *testing.T) {
	long.Test(t)
	config := Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", Version: "test"}
	r := start(t, config)
	book := func(path string) runbook.Book {
		t.Helper()
		code, content := r.ask("GET", "/api/v1/runbooks/"+path, r.token(), nil)
		require.Equal(t, http.StatusOK, code, content)
		var b runbook.Book
		require.NoError(t, json.Unmarshal([]byte(content), &b))
		return b
	}
	said := book("production/shop").Markdown()
	t.Log(said)
	require.Contains(t, said, "# Runbook of tenant production/shop")
	require.Contains(t, said, "export WAYBILL_DATA="+config.Data)
	require.Contains(t, said, "waybill up --data "+config.Data+" --estate "+config.Estate)
	require.Contains(t, said, "**There is none.**")
	require.Contains(t, said, "OFFLINE-KEY-take-me-off-this-machine.txt")
	require.Contains(t, said, "The bucket is a folder of this machine")
	require.Contains(t, book("production").Markdown(), "waybill checkpoint create production/shop")
	for _, name := range []string{"master.key", "token", "identity.txt"} {
		secret, err := os.ReadFile(filepath.Join(config.Data, "keys", name))
		require.NoError(t, err)
		require.NotContains(t, said, string(secret[:min(len(secret), 40)]))
	}
	for _, path := range []string{"production/nobody", "moon"} {
		code, content := r.ask("GET", "/api/v1/runbooks/"+path, r.token(), nil)
		require.Equal(t, http.StatusUnprocessableEntity, code, content)
	}
}

func TestRedacted(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://admin:pw@db/postgres": "postgres://admin@db/postgres",
		"postgres://admin@db/postgres":    "postgres://admin@db/postgres",
		"git@example.com:acme/estate.git": "git@example.com:acme/estate.git",
		"file:///var/objects":             "file:///var/objects",
		"https://x:token@forge/estate":    "https://x@forge/estate",
	} {
		require.Equal(t, want, redacted(given))
	}
}
