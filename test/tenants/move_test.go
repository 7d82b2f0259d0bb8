//go:build odoo

package tenants

import (
	"path/filepath"

	"github.com/stretchr/testify/require"
)

// moves gives a tenant that shares its pool pools of its own, and one that has them a place in the shared ones, while people work at
// all of them: whoever is logged in stays so, since one who is thrown out counts as failed when they go home.
func (e *estate) moves() {
	e.t.Helper()
	folder := func(group, tenant string) string {
		return filepath.Join(e.Folder, "data", "environments", "production", "data", group, "filestore", tenant+"_production")
	}
	for _, m := range []struct{ tenant, from, to, hosting string }{
		{"bolt", "shared", "bolt", "dedicated"},
		{"fern", "fern", "shared", "shared"},
	} {
		require.DirExists(e.t, folder(m.from, m.tenant))
		e.ask(0, "tenant", "move", "production/"+m.tenant, "--to", m.hosting)
		p, err := e.Newest(e.t.Context())
		require.NoError(e.t, err)
		e.t.Log(story(p))
		var owner string
		e.row(m.tenant, "select tableowner from pg_tables where tablename = 'sale_order'", &owner)
		require.Equal(e.t, "wb_production_"+m.to+"_owner", owner)
		e.row(m.tenant, "select pg_get_userbyid(datdba) from pg_database where datname = current_database()", &owner)
		require.Equal(e.t, "wb_production_"+m.to+"_owner", owner)
		require.DirExists(e.t, folder(m.to, m.tenant))
		require.NoDirExists(e.t, folder(m.from, m.tenant))
	}
	e.serve("r3", "r3", "r3", "r3", "r3", "r3")
}
