//go:build odoo

package tenants

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
)

// templates has its data from the first tenant, whose users are then the new tenants' too.
const templates = `kind: TenantTemplate
name: branch
environments: [production]
hosts: ["{name}.branches.example"]
labels: {kind: depot}
data: production/acme
---
kind: TenantTemplate
name: outpost
environments: [production]
hosts: ["{name}.outposts.example"]
labels: {kind: depot}
hosting: dedicated
data: production/acme
`

// TestLife makes tenants from templates, shared and dedicated; suspends one and resumes it; renames one; deletes one and takes it
// back; and has two refused.
func TestLife(t *testing.T) {
	e := live(t, "r1")
	ctx := t.Context()
	require.NoError(t, os.WriteFile(filepath.Join(e.Folder, "estate", "templates.yaml"), []byte(templates), 0o644))
	_, err := e.Checkpoint(ctx)
	require.NoError(t, err)

	e.ask(0, "tenant", "create", "production/gale", "--from", "branch") // and what others are copied from
	began := time.Now()
	e.ask(0, "tenant", "create", "production/hull", "--from", "branch")
	took := time.Since(began)
	t.Logf("a tenant from a prepared template: %s", took.Round(100*time.Millisecond))
	require.Less(t, took, time.Minute)
	e.ask(0, "tenant", "create", "production/isle", "--from", "outpost")

	secrets := map[string]string{}
	for _, name := range []string{"acme", "gale", "hull", "isle"} {
		var secret, owner string
		e.row(name, "select value from ir_config_parameter where key = 'database.secret'", &secret)
		e.row(name, "select tableowner from pg_tables where tablename = 'sale_order'", &owner)
		require.NotContains(t, secrets, secret, "a session of one is worth nothing at another")
		secrets[secret] = name
		want := "wb_production_shared_owner"
		if name == "isle" {
			want = "wb_production_isle_owner"
		}
		require.Equal(t, want, owner, name)
	}
	for name, host := range map[string]string{"gale": "gale.branches.example", "hull": "hull.branches.example", "isle": "isle.outposts.example"} {
		require.Equal(t, http.StatusOK, e.login(host), name)
		require.FileExists(t, filepath.Join(e.Folder, "estate", "tenants", name+".yaml"))
		require.Equal(t, "r1 open", e.state(name))
	}

	e.ask(0, "tenant", "suspend", "production/gale", "--message", "The rent is due.")
	require.Equal(t, http.StatusServiceUnavailable, e.login("gale.branches.example"))
	require.Equal(t, http.StatusOK, e.login("hull.branches.example"), "its neighbour in the pool goes on")
	require.Equal(t, "r1 suspended", e.state("gale"))
	e.ask(0, "tenant", "resume", "production/gale")
	require.Equal(t, http.StatusOK, e.login("gale.branches.example"))

	e.ask(0, "tenant", "rename", "production/hull", "--host", "keel.branches.example")
	require.Equal(t, http.StatusOK, e.login("keel.branches.example"))
	require.NotEqual(t, http.StatusOK, e.login("hull.branches.example"))
	var url string
	e.row("hull", "select value from ir_config_parameter where key = 'web.base.url'", &url)
	require.Equal(t, "http://keel.branches.example", url)

	e.ask(0, "tenant", "delete", "production/isle", "--grace", "1h", "--message", "This outpost has moved.")
	require.Equal(t, http.StatusServiceUnavailable, e.login("isle.outposts.example"))
	require.Equal(t, " leaving", e.state("isle"))
	require.Equal(t, http.StatusOK, e.login("gale.branches.example"), "the others go on")
	e.ask(0, "tenant", "undelete", "production/isle")
	require.Equal(t, http.StatusOK, e.login("isle.outposts.example"))
	require.Equal(t, "r1 open", e.state("isle"))

	// A host that is another's is refused before anything is made, and a name that is taken.
	for _, args := range [][]string{{"production/jade", "--from", "branch", "--host", stage.Host}, {"production/gale", "--from", "branch"}} {
		require.Error(t, e.Ask(ctx, nil, append([]string{"tenant", "create"}, args...)...))
	}
	require.NoFileExists(t, filepath.Join(e.Folder, "estate", "tenants", "jade.yaml"))
}

func (e *estate) row(tenant, sql string, into ...any) {
	e.t.Helper()
	url, err := e.DatabaseURL(stage.TenantsServer, tenant+"_production")
	require.NoError(e.t, err)
	db, err := pgx.Connect(e.t.Context(), url)
	require.NoError(e.t, err)
	defer db.Close(context.WithoutCancel(e.t.Context()))
	require.NoError(e.t, db.QueryRow(e.t.Context(), sql).Scan(into...))
}

// login is how the login page of a host answers.
func (e *estate) login(host string) int {
	e.t.Helper()
	request, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "http://"+e.Site.Address+"/web/login", nil)
	require.NoError(e.t, err)
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	require.NoError(e.t, err)
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (e *estate) state(tenant string) string {
	e.t.Helper()
	var said api.Status
	require.NoError(e.t, e.Ask(e.t.Context(), &said, "status"))
	for _, t := range said.Environments[0].Tenants {
		if t.Name == tenant {
			return t.Serving + " " + t.Mode
		}
	}
	return "unknown"
}
