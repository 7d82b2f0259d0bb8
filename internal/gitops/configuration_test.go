package gitops

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// serves has a pool with two workers serve production.
func (o *office) serves() {
	o.t.Helper()
	require.NoError(o.t, o.store.PutPool(o.t.Context(), store.Pool{Environment: "production", Name: "r-1", Release: digest("r1"), Group: "shared", Workers: 2}))
	_, err := o.store.ChangeTenant(o.t.Context(), "production", "acme", store.Lease{}, func(t *store.Tenant) { t.Live.Stable = "r-1" })
	require.NoError(o.t, err)
}

func (o *office) configuration() (found store.Configuration) {
	o.t.Helper()
	list, err := o.store.Configurations(o.t.Context())
	require.NoError(o.t, err)
	for _, c := range list {
		if c.Environment == "production" {
			found = c
		}
	}
	return found
}

func workers(n string) map[string]string {
	return map[string]string{"estate.yaml": strings.Replace(declaration, "name: production\n", "name: production\nworkers: "+n+"\n", 1)}
}

func TestAConfigurationIsAPromotionToo(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.serves()
	commit := o.forge.push(t, workers("4"), "--author=Bob <bob@acme.example>")
	for range 2 {
		require.NoError(t, o.turn())
	}
	_, err := o.another().Turn(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"r1 by bob: running"}, o.promotions(), "once")
	found, err := o.store.Promotions(t.Context(), "production", 0, 1)
	require.NoError(t, err)
	require.Equal(t, "configuration", found[0].Kind)
	require.Equal(t, commit, found[0].EstateCommit)
	require.Contains(t, string(found[0].Options), `"changed": ["workers"]`)
	require.Equal(t, found[0].ID, o.configuration().Promotion)

	// One that went back is not started again, and Git is not written to: what a person says there stands.
	o.ends("rolled_back", digest("r1"))
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Len(t, o.promotions(), 1)
	reversals, err := o.store.Reversals(t.Context())
	require.NoError(t, err)
	require.Empty(t, reversals)
	o.forge.push(t, workers("3"))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 2)
	o.forge.push(t, workers("2"))
	require.NoError(t, o.turn())
	require.Equal(t, "it waits for the end of another promotion", o.configuration().Problem, "although the pool that serves is just so")
	o.ends("promoted", digest("r1"))
	require.NoError(t, o.store.PutPool(t.Context(), store.Pool{Environment: "production", Name: "r-1", Release: digest("r1"), Group: "shared", Workers: 3}))
	require.NoError(t, o.turn())
	require.Len(t, o.promotions(), 3)
	require.Empty(t, o.configuration().Problem)
}

func TestAReleaseTakesItsConfigurationAlong(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.serves()
	files := workers("4")
	files["targets/production.yaml"] = target("production", "r2")
	o.forge.push(t, files)
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Len(t, o.promotions(), 1)
	o.ends("rolled_back", digest("r1"))
	for range 2 {
		require.NoError(t, o.turn())
	}
	require.Len(t, o.promotions(), 1, "what went back with its release does not come alone")
}

func TestWhatNoPoolCanBringAbout(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.serves()
	for change, says := range map[string][2]string{
		"database: elsewhere\nhosts: [": {"hosts: [", "database of Tenant acme in production has changed from acme_production to elsewhere"},
		"hosting: dedicated\nhosts: [":  {"hosts: [", "hosting of Tenant acme in production has changed from shared to dedicated"},
		"database: {url: postgresql://waybill@db.example:5432/postgres}\nruntime: {docker: {http: \"127.0.0.1:8069\"": {"runtime: {docker: {http: \"127.0.0.1:8069\"", "estate.yaml: database.url of Environment production has changed"},
	} {
		before := strings.TrimSpace(run(t, o.forge.folder, "rev-parse", "main"))
		commit := o.forge.push(t, map[string]string{"estate.yaml": strings.Replace(declaration, says[0], change, 1)})
		require.NoError(t, o.turn())
		require.Contains(t, o.problem(), says[1])
		require.Contains(t, o.problem(), "waybill estate accept "+commit)
		run(t, o.forge.folder, "update-ref", "refs/heads/main", before)
	}
	moved := o.forge.push(t, map[string]string{"estate.yaml": strings.Replace(declaration, "hosts: [", "database: elsewhere\nhosts: [", 1)})
	require.NoError(t, o.turn())
	require.NoError(t, o.store.AcceptEstate(t.Context(), moved))
	require.NoError(t, o.turn())
	require.Empty(t, o.problem())
	require.Empty(t, o.promotions())
}
