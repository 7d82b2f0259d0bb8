package estate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const changeable = `kind: Product
name: acme
series: "19.0"
environments: [production]
---
kind: Environment
name: production
runtime:
  docker: {http: localhost:8080}
---
# The first one.
kind: Tenant
name: acme
environment: production
hosts:
  - acme.example
hosting: shared # for now
---
kind: Tenant
name: bolt
environment: production
hosts: [bolt.example]
---
{kind: Tenant, name: cord, environment: production, hosts: [cord.example]}
---
kind: TenantTemplate
name: retail
environments: [production]
hosts: ["{name}.shops.example"]
modules: [sale_stock]
labels: {country: "no", size: "1.0"}
data: production/bolt
`

func changeableFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "estate.yaml"), []byte(changeable), 0o644))
	return dir
}

func TestATenantFromATemplate(t *testing.T) {
	dir := changeableFolder(t)
	e, err := Load(t.Context(), dir)
	require.NoError(t, err)
	retail, there := e.Template("retail")
	require.True(t, there)
	wanted := retail.Tenant("production", "shop12", nil)
	require.Equal(t, []string{"shop12.shops.example"}, wanted.Hosts)
	require.Equal(t, []string{"east.example"}, retail.Tenant("production", "shop12", []string{"east.example"}).Hosts)
	out, err := Apply(t.Context(), dir, Change{Environment: "production", Tenant: "shop12", Add: TenantDocument(wanted, "Made by a test.\nTwice.")})
	require.NoError(t, err)
	require.Equal(t, "tenants/shop12.yaml", out.File)
	require.Equal(t, "# Made by a test.\n# Twice.\nkind: Tenant\nname: shop12\nenvironment: production\nhosts:\n  - shop12.shops.example\nmodules:\n  - sale_stock\nlabels:\n  country: \"no\"\n  size: \"1.0\"\n", string(out.Content))
	for _, x := range out.Estate.Tenants {
		if x.Name == "shop12" {
			x.file, x.line = "", 0
			require.Equal(t, wanted, x, "what is written is read as it was meant")
		}
	}
	require.Len(t, out.Estate.Tenants, 4)

	_, err = Apply(t.Context(), dir, Change{Environment: "production", Tenant: "acme", Add: TenantDocument(retail.Tenant("production", "acme", nil), "")})
	require.ErrorIs(t, err, ErrDeclared)
	_, err = Apply(t.Context(), dir, Change{Environment: "production", Tenant: "shop12", Add: TenantDocument(retail.Tenant("production", "shop12", []string{"bolt.example"}), "")})
	require.ErrorContains(t, err, "bolt.example")
	require.NotEmpty(t, Problems(err))
}

func TestATenantsDocumentIsChanged(t *testing.T) {
	for name, c := range map[string]struct {
		change  Change
		content string // instead of this, …
		becomes string
		err     string
	}{
		"a field":              {change: Change{Tenant: "acme", Set: map[string]string{"hosting": "dedicated"}}, content: "hosting: shared # for now\n", becomes: "hosting: dedicated\n"},
		"a field over lines":   {change: Change{Tenant: "acme", Set: map[string]string{"hosts": "[a.example, b.example]"}}, content: "hosts:\n  - acme.example\n", becomes: "hosts: [a.example, b.example]\n"},
		"a field that is new":  {change: Change{Tenant: "bolt", Set: map[string]string{"hosting": "dedicated"}}, content: "hosts: [bolt.example]\n", becomes: "hosts: [bolt.example]\nhosting: dedicated\n"},
		"a field goes":         {change: Change{Tenant: "acme", Set: map[string]string{"hosting": ""}}, content: "hosting: shared # for now\n", becomes: ""},
		"removed":              {change: Change{Tenant: "acme", Remove: true}, content: "# The first one.\nkind: Tenant\nname: acme\nenvironment: production\nhosts:\n  - acme.example\nhosting: shared # for now\n---\n", becomes: ""},
		"another's host":       {change: Change{Tenant: "acme", Set: map[string]string{"hosts": "[bolt.example]"}}, err: "leads to another Tenant"},
		"on one line":          {change: Change{Tenant: "cord", Set: map[string]string{"hosting": "dedicated"}}, err: "not written a field a line"},
		"on one line, removed": {change: Change{Tenant: "cord", Remove: true}, content: "{kind: Tenant, name: cord, environment: production, hosts: [cord.example]}\n---\n", becomes: ""},
		"unknown":              {change: Change{Tenant: "nobody", Remove: true}, err: "no such tenant"},
		"asked for by another": {change: Change{Tenant: "bolt", Remove: true}, err: "there is no Tenant"},
		"another document's":   {change: Change{Tenant: "acme", Set: map[string]string{"name": "zulu"}}, err: "cannot be changed for this tenant alone"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := changeableFolder(t)
			c.change.Environment = "production"
			out, err := Apply(t.Context(), dir, c.change)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "estate.yaml", out.File)
			before, after, found := cut(changeable, c.content)
			require.True(t, found)
			require.Equal(t, before+c.becomes+after, string(out.Content))
		})
	}
}

func cut(s, what string) (before, after string, found bool) {
	for i := 0; i+len(what) <= len(s); i++ {
		if s[i:i+len(what)] == what {
			return s[:i], s[i+len(what):], true
		}
	}
	return s, "", false
}

func TestAFileWithNothingLeftGoesAway(t *testing.T) {
	dir := changeableFolder(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tenants"), 0o755))
	document := "# A comment.\nkind: Tenant\nname: dune\nenvironment: production\nhosts: [dune.example]\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tenants", "dune.yaml"), []byte(document), 0o644))
	out, err := Apply(t.Context(), dir, Change{Environment: "production", Tenant: "dune", Remove: true})
	require.NoError(t, err)
	require.Nil(t, out.Content)
	require.Equal(t, document, string(out.Taken), "so that it can be put back")
}
