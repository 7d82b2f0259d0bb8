//go:build odoo

package tenants

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/runbook"
)

const (
	besideOf     = "bolt"
	besideMarker = "waybill.test.beside"
)

// besides: what a tenant was is restored beside it and looked at, of the release that serves and of an older one, while the
// tenant goes on. It is for the end, when all serve r3, and leaves the estate as it found it.
func (e *estate) besides() {
	e.t.Helper()
	ref := stage.Environment + "/" + besideOf
	e.besideSQL(besideOf+"_production", "insert into ir_config_parameter (key, value) values ('"+besideMarker+"', 'then')")
	defer e.besideSQL(besideOf+"_production", "delete from ir_config_parameter where key = '"+besideMarker+"'")
	e.ask(0, "checkpoint", "create", ref)
	at := time.Now().Format(time.RFC3339Nano)
	e.besideSQL(besideOf+"_production", "update ir_config_parameter set value = 'now' where key = '"+besideMarker+"'")
	before := e.besideStatus()

	e.ask(2, "restore", ref, "--to-time", time.Now().Add(time.Hour).Format(time.RFC3339), "--beside")
	e.ask(2, "restore", ref, e.first, "--beside") // another tenant's
	e.ask(2, "restore", ref, "--to-time", at, "--beside", "--host", "cord.example")
	e.ask(0, "restore", ref, "--to-time", at, "--beside", "--as", "look", "--host", "look.bolt.example", "--keep", "1h")
	look := e.beside(besideOf)
	assert.Equal(e.t, "stands", look.State)
	assert.Equal(e.t, "r3", look.ReleaseName)
	assert.Equal(e.t, "then", e.besideValue(look.Database, "select value from ir_config_parameter where key = '"+besideMarker+"'"))
	assert.Equal(e.t, "now", e.besideValue(besideOf+"_production", "select value from ir_config_parameter where key = '"+besideMarker+"'"))
	assert.Equal(e.t, "0", e.besideValue(look.Database, "select count(*)::text from ir_cron c where active and not exists (select from ir_model_data d where d.model = 'ir.cron' and d.res_id = c.id and d.name = 'autovacuum_job')"), "no cron but Odoo's own cleaning")
	assert.NotEqual(e.t, "0", e.besideValue(besideOf+"_production", "select count(*)::text from ir_cron where active"), "the living one is not neutralised")
	e.besideLook("look.bolt.example", look.Database)
	var book runbook.Book
	require.NoError(e.t, e.Ask(e.t.Context(), &book, "runbook", "tenant", ref))
	assert.Contains(e.t, book.Markdown(), "measured by restore "+look.Promotion)
	e.ask(0, "restore", "drop", ref, "look")
	e.besideGone(besideOf, look.Database)

	// A checkpoint of r1 is served by a pool of r1, which comes for it and goes with it.
	e.ask(0, "restore", stage.Environment+"/acme", e.first, "--beside", "--as", "first", "--host", "first.acme.example")
	first := e.beside("acme")
	assert.Equal(e.t, "r1", first.ReleaseName)
	e.besideLook("first.acme.example", first.Database)
	e.ask(0, "restore", "drop", stage.Environment+"/acme", "first")
	e.besideGone("acme", first.Database)
	assert.Equal(e.t, before, e.besideStatus(), "everybody is served as before")
}

// besideLook signs in under a host, and looks whether that leads to the database.
func (e *estate) besideLook(host, database string) {
	e.t.Helper()
	person, err := client.Site{Address: e.Site.Address, Host: host, Database: database, Patience: time.Minute}.Person(stage.Clerk, e.Initial.Clerk, 1, client.NewTally())
	require.NoError(e.t, err)
	defer person.Close()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(e.t, person.Login(ctx), host)
	var count int
	require.NoError(e.t, person.Call(ctx, "sale.order", "search_count", []any{[]any{}}, nil, &count))
	assert.Positive(e.t, count, "%s: orders that were there then", host)
}

func (e *estate) besideStatus() (list []api.Tenant) {
	e.t.Helper()
	var said api.Status
	require.NoError(e.t, e.Ask(e.t.Context(), &said, "status"))
	return said.Environments[0].Tenants
}

// beside is the one thing that stands beside a tenant.
func (e *estate) beside(tenant string) api.Beside {
	e.t.Helper()
	var list []api.Beside
	require.NoError(e.t, e.Ask(e.t.Context(), &list, "restore", "list", stage.Environment+"/"+tenant))
	require.Len(e.t, list, 1)
	return list[0]
}

// besideGone looks whether nothing is left.
func (e *estate) besideGone(tenant, database string) {
	e.t.Helper()
	var list []api.Beside
	require.NoError(e.t, e.Ask(e.t.Context(), &list, "restore", "list", stage.Environment+"/"+tenant))
	assert.Empty(e.t, list)
	assert.Equal(e.t, "0", e.besideValue("postgres", "select count(*)::text from pg_database where datname = '"+database+"'"))
}

func (e *estate) besideConnect(database string) *pgx.Conn {
	e.t.Helper()
	url, err := e.DatabaseURL(stage.TenantsServer, database)
	require.NoError(e.t, err)
	db, err := pgx.Connect(e.t.Context(), url)
	require.NoError(e.t, err)
	return db
}

func (e *estate) besideSQL(database, statement string) {
	e.t.Helper()
	db := e.besideConnect(database)
	defer func() { _ = db.Close(context.WithoutCancel(e.t.Context())) }()
	_, err := db.Exec(e.t.Context(), statement)
	require.NoError(e.t, err)
}

func (e *estate) besideValue(database, query string) (value string) {
	e.t.Helper()
	db := e.besideConnect(database)
	defer func() { _ = db.Close(context.WithoutCancel(e.t.Context())) }()
	require.NoError(e.t, db.QueryRow(e.t.Context(), query).Scan(&value))
	return value
}
