package gitops

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
)

// What runs is written down once nothing is under way any more, one commit for all that has changed, and is no declaration.
func TestWhatRunsIsWrittenDown(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	runs := map[string][]byte{
		"production/n/deployment-web.yaml": []byte("kind: Deployment\n"),
		"production/n/service-web.yaml":    []byte("kind: Service\n"),
		"cluster/policy.yaml":              []byte("kind: Policy\nname: nobody's\n"),
	}
	o.Rendered = func(context.Context) (map[string][]byte, error) { return runs, nil }
	o.begin()
	head := func() string {
		commit, err := o.Repository.Head(t.Context())
		require.NoError(t, err)
		return commit
	}
	written := func() map[string]string {
		files, err := o.Repository.Files(t.Context(), head(), estate.RenderedFolder)
		require.NoError(t, err)
		all := map[string]string{}
		for name, content := range files {
			all[name] = string(content)
		}
		return all
	}
	require.Equal(t, map[string]string{
		"production/n/deployment-web.yaml": renderedHead + "kind: Deployment\n",
		"production/n/service-web.yaml":    renderedHead + "kind: Service\n",
		"cluster/policy.yaml":              renderedHead + "kind: Policy\nname: nobody's\n",
	}, written())
	declared, err := o.Declared(t.Context())
	require.NoError(t, err)
	require.Empty(t, declared.Policies, "what is rendered declares nothing")
	require.Empty(t, o.promotions())
	known, err := o.store.EstateHead(t.Context())
	require.NoError(t, err)
	require.Equal(t, head(), known.Commit, "its own commit is in force at once")

	first := head()
	require.NoError(t, o.turn())
	require.Equal(t, first, head(), "nothing has changed")
	o.Follower = o.another()
	o.Rendered = func(context.Context) (map[string][]byte, error) { return runs, nil }
	require.NoError(t, o.turn())
	require.Equal(t, first, head(), "nor for a server that has just started")

	// While a promotion is under way its environment waits, and others do not.
	o.forge.push(t, map[string]string{"targets/production.yaml": target("production", "r2"), "rendered/production/notes.txt": "a person's own"})
	runs = map[string][]byte{"production/n/deployment-web.yaml": []byte("kind: Deployment\nof: r2\n"), "cluster/policy.yaml": []byte("kind: Policy\nname: another\n")}
	require.NoError(t, o.turn())
	require.Equal(t, []string{"r2 by git:ann@acme.example: running"}, o.promotions())
	require.Equal(t, renderedHead+"kind: Deployment\n", written()["production/n/deployment-web.yaml"])
	require.Equal(t, renderedHead+"kind: Policy\nname: another\n", written()["cluster/policy.yaml"])
	o.ends("promoted", digest("r2"))
	require.NoError(t, o.turn())
	require.Equal(t, map[string]string{
		"production/n/deployment-web.yaml": renderedHead + "kind: Deployment\nof: r2\n",
		"production/notes.txt":             "a person's own",
		"cluster/policy.yaml":              renderedHead + "kind: Policy\nname: another\n",
	}, written())
	require.Equal(t, "r2", o.wanted())
}

// A file without the mark is a declaration like any other, wherever it lies.
func TestADeclarationAmongWhatIsRendered(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.forge.push(t, map[string]string{"rendered/tenants.yaml": string(shop)})
	require.NoError(t, o.turn())
	require.Equal(t, []string{"acme", "shop"}, o.tenants())
}
