package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

// said runs the command line and returns what it said and its exit code.
func said(t *testing.T, args ...string) (out, err string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{out: &o, err: &e}
	code = a.run(t.Context(), args)
	return o.String(), e.String(), code
}

func TestMistakes(t *testing.T) {
	empty := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such verb":          {[]string{"prommote"}, exitUsage, "did you mean promote"},
		"no such sub-verb":      {[]string{"promotion", "lst"}, exitUsage, "list"},
		"no such flag":          {[]string{"status", "--colour"}, exitUsage, "--colour"},
		"too few arguments":     {[]string{"promote", "r1"}, exitUsage, "RELEASE ENVIRONMENT"},
		"no such format":        {[]string{"status", "-o", "yaml"}, exitUsage, "text or json"},
		"no such tenant form":   {[]string{"restore", "acme", "c1"}, exitUsage, "ENVIRONMENT/TENANT"},
		"create with a host":    {[]string{"tenant", "create", "test/acme", "--release", "r1", "--host", "a.example"}, exitUsage, "--from TEMPLATE"},
		"suspend needs a name":  {[]string{"tenant", "suspend", "test"}, exitUsage, "TENANT"},
		"delete needs a name":   {[]string{"tenant", "delete", "test"}, exitUsage, "TENANT"},
		"delete without grace":  {[]string{"tenant", "delete", "test/acme", "--grace", "30"}, exitUsage, "--grace"},
		"create needs release":  {[]string{"tenant", "create", "test/acme"}, exitUsage, "--release"},
		"prune needs a number":  {[]string{"checkpoint", "prune", "test/acme"}, exitUsage, "--last"},
		"serve needs a bucket":  {[]string{"serve"}, exitUsage, "waybill up"},
		"no such runtime":       {served("--runtime", "lxc"), exitUsage, "docker or kube"},
		"kube needs a volume":   {served("--runtime", "kube", "--volume", "filestore"), exitUsage, "--volume-folder"},
		"not with docker":       {served("--volume", "filestore"), exitUsage, "--volume: only with --runtime kube"},
		"all addresses":         {served("--runtime", "kube", "--volume", "v", "--volume-folder", "/v", "--rehearsal-address", "0.0.0.0"), exitUsage, "not all of them"},
		"traefik, but where":    {served("--runtime", "kube", "--volume", "v", "--volume-folder", "/v", "--traefik-issuer", "x"), exitUsage, "--traefik-namespace"},
		"recover needs a key":   {[]string{"recover", "test/acme"}, exitUsage, "--key"},
		"no server":             {[]string{"status", "--data", empty}, exitFailed, "waybill up --data"},
		"an estate that is bad": {[]string{"up", "--data", filepath.Join(empty, "d"), "--estate", mistaken(t)}, exitUsage, "product.yaml:"},
		"init over something":   {[]string{"init", mistaken(t)}, exitUsage, "nothing was written"},
	} {
		_, err, code := said(t, test.args...)
		require.Equal(t, test.code, code, "%s: %s", name, err)
		require.Contains(t, err, test.says, name)
	}
}

// served is the verb serve with what it always needs.
func served(args ...string) []string {
	return append([]string{"serve", "--database", "postgres://x", "--registry", "registry.example", "--bucket", "file:///x"}, args...)
}

// mistaken is an estate with a mistake.
func mistaken(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "product.yaml"), []byte("kind: Product\nnam: shop\n"), 0o644))
	return dir
}

func TestVerbsAreThereOnce(t *testing.T) {
	seen := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		require.False(t, seen[c.CommandPath()], "%s is there twice", c.CommandPath())
		seen[c.CommandPath()] = true
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
	require.True(t, seen["waybill promote"])
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	out, err, code := said(t, "init", dir)
	require.Equal(t, exitDone, code, err)
	require.Contains(t, out, "waybill up --estate")
	require.FileExists(t, filepath.Join(dir, "product.yaml"))
}

// fake answers as the server would; the real one is tested in package server.
func fake(t *testing.T, answer func(r *http.Request) (int, any)) (data string) {
	t.Helper()
	data = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(data, "keys"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(data, "keys", "token"), []byte("secret\n"), 0o600))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
		code, body := answer(r)
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(s.Close)
	content, err := json.Marshal(map[string]any{"url": s.URL, "pid": 1})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(data, "server.json"), content, 0o600))
	return data
}

// The exit code of a promotion tells how it ended; so scripts need not read.
func TestOutcomeIsTheExitCode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for outcome, code := range map[string]int{"promoted": exitDone, "rolled_back": exitFailed, "halted": exitFailed, "waiting": exitWaiting} {
		asked := 0
		data := fake(t, func(r *http.Request) (int, any) {
			if r.Method == "POST" {
				return 200, api.Asked{Promotion: "p1"}
			}
			p := api.Promotion{ID: "p1", Kind: "promote", Environment: "test", Revision: 1, Created: at, Rollouts: []api.Rollout{{
				Tenant: "acme", State: "running", Steps: []api.Step{{Name: "admit", Outcome: "running", Started: at}}}}}
			if asked++; asked > 1 {
				p.Revision, p.Outcome = 2, outcome
				p.Rollouts[0].Outcome, p.Rollouts[0].Reason, p.Rollouts[0].HeldSeconds = outcome, "because", 1.5
				p.Rollouts[0].Steps[0].Outcome, p.Rollouts[0].Steps[0].Finished = "done", &at
			}
			return 200, p
		})
		out, err, got := said(t, "promote", "r1", "test", "--data", data)
		require.Equal(t, code, got, "%s: %s", outcome, err)
		require.Contains(t, out, "admit")
		require.Contains(t, out, "held for 1.5 s")
		require.Contains(t, out, "because")

		out, _, got = said(t, "promote", "r1", "test", "--data", data, "-o", "json")
		require.Equal(t, code, got)
		var p api.Promotion
		require.NoError(t, json.Unmarshal([]byte(out), &p), "JSON and nothing else")
		require.Equal(t, outcome, p.Outcome)
	}
}

func TestRefusals(t *testing.T) {
	problem := map[string]any{"title": "Unprocessable Entity", "detail": "no release is known as \"r9\""}
	_, err, code := said(t, "promote", "r9", "test", "--data", fake(t, func(*http.Request) (int, any) { return 422, problem }))
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "r9")
	_, err, code = said(t, "promote", "r9", "test", "--data", fake(t, func(*http.Request) (int, any) { return 409, problem }))
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, "r9")
	_, err, code = said(t, "status", "--data", fake(t, func(*http.Request) (int, any) { return 502, "<html>" }))
	require.Equal(t, exitFailed, code)
	require.Contains(t, err, "502")
}
