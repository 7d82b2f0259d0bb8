//go:build odoo

package tenants

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/impact"
)

// impact looks whether the assessment of r2, while all serve r3, and of r3 says of six real databases what is so. It changes nothing
// but for an import that somebody seems to have open at bolt, which it takes away again.
func (e *estate) impact() {
	e.t.Helper()
	same := e.assess("r3")
	require.Len(e.t, same.Tenants, 6)
	require.Equal(e.t, 3, same.Summary.Rings)
	require.Empty(e.t, same.Summary.Unknown)
	for _, row := range same.Tenants {
		require.Equal(e.t, impact.Nothing, row.Source, "%s: %v %v", row.Name, row.Plan, row.Modules)
		require.Zero(e.t, *row.Pause.Seconds, row.Name)
		require.Greater(e.t, *row.DatabaseBytes, int64(10<<20), row.Name)
		require.Positive(e.t, *row.FileBytes, row.Name)
		require.Empty(e.t, row.Customised, "Odoo itself makes nothing by hand: %s", row.Name)
		require.Equal(e.t, "r3", row.Serving)
		require.False(e.t, row.Stops(), "%s: %v", row.Name, row.Conflicts)
		require.NotNil(e.t, row.Rollout.Seconds)
		require.False(e.t, row.Rollout.AtLeast, "its last promotion was measured: %s", row.Rollout.From)
	}
	require.Contains(e.t, e.rowOf(same, "echo").OnlyHere, "sale_margin")
	require.Equal(e.t, e.rowOf(same, "bolt").Set, e.rowOf(same, "cord").Set, "the same modules, the same update")
	require.NotEqual(e.t, e.rowOf(same, "bolt").Set, e.rowOf(same, "echo").Set)

	back := e.assess("r2") // there is no way forward to an older release, and that is said of each
	require.Len(e.t, back.Summary.Stopped, 6)

	url, err := e.DatabaseURL(stage.TenantsServer, "bolt_production")
	require.NoError(e.t, err)
	db, err := pgx.Connect(e.t.Context(), url)
	require.NoError(e.t, err)
	defer db.Close(context.WithoutCancel(e.t.Context()))
	var id int64
	require.NoError(e.t, db.QueryRow(e.t.Context(), "insert into base_import_import (res_model, create_date) values ('res.partner', now() at time zone 'utc') returning id").Scan(&id))
	open := e.rowOf(e.assess("r3", "--tenant", "bolt,acme"), "bolt")
	_, err = db.Exec(e.t.Context(), "delete from base_import_import where id = $1", id)
	require.NoError(e.t, err)
	require.True(e.t, slices.ContainsFunc(open.Conflicts, func(c impact.Conflict) bool { return c.Kind == impact.Imports }), "%v", open.Conflicts)

	var text bytes.Buffer
	impact.WriteText(&text, same)
	e.t.Log("\n" + text.String())
}

func (e *estate) assess(release string, more ...string) *impact.Assessment {
	e.t.Helper()
	var a impact.Assessment
	require.NoError(e.t, e.Ask(e.t.Context(), &a, append([]string{"impact", release, stage.Environment}, more...)...), e.LogTail())
	return &a
}

func (e *estate) rowOf(a *impact.Assessment, tenant string) impact.Tenant {
	e.t.Helper()
	i := slices.IndexFunc(a.Tenants, func(t impact.Tenant) bool { return t.Name == tenant })
	require.GreaterOrEqual(e.t, i, 0, tenant)
	return a.Tenants[i]
}
