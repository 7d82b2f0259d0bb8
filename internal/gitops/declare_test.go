package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/promotion"
)

var shop = estate.TenantDocument(estate.Tenant{Name: "shop", Environment: "production", Hosts: []string{"shop.example.com"}}, "Made for a test.")

func add(document []byte) estate.Change {
	return estate.Change{Environment: "production", Tenant: "shop", Add: document}
}

var remove = estate.Change{Environment: "production", Tenant: "shop", Remove: true}

func saying(subject string) promotion.Saying {
	return promotion.Saying{Subject: subject, By: "bob", Promotion: "p1"}
}

// tenants are the names of those that are in force.
func (o *office) tenants() (names []string) {
	o.t.Helper()
	declared, err := o.Declared(o.t.Context())
	require.NoError(o.t, err)
	for _, t := range declared.Tenants {
		names = append(names, t.Name)
	}
	return names
}

func TestATenantIsDeclaredByACommit(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	commit, err := o.Declare(t.Context(), add(shop), saying("production: tenant shop"))
	require.NoError(t, err)
	require.Equal(t, []string{"acme", "shop"}, o.tenants(), "it is in force at once")
	content, found, err := o.Repository.File(t.Context(), commit, "tenants/shop.yaml")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, string(shop), string(content))
	author, err := o.Repository.author(t.Context(), commit, "tenants/shop.yaml")
	require.NoError(t, err)
	require.Equal(t, "bob@acme.example", author)

	again, err := o.another().Declare(t.Context(), add(shop), saying("production: tenant shop"))
	require.NoError(t, err)
	require.Equal(t, commit, again, "a server that was killed before it could write that down does it once")
	_, err = o.Declare(t.Context(), add(append([]byte("# by somebody else\n"), shop...)), saying("production: tenant shop"))
	require.ErrorIs(t, err, estate.ErrDeclared)

	out, err := o.Try(t.Context(), remove)
	require.NoError(t, err)
	require.Equal(t, string(shop), string(out.Taken))
	require.Equal(t, []string{"acme", "shop"}, o.tenants(), "a try changes nothing")
	_, err = o.Declare(t.Context(), remove, saying("production: tenant shop deleted"))
	require.NoError(t, err)
	require.Equal(t, []string{"acme"}, o.tenants())
	_, err = o.Declare(t.Context(), remove, saying("production: tenant shop deleted"))
	require.ErrorIs(t, err, estate.ErrUndeclared)
}

// What does not hold together never becomes a commit.
func TestNothingBrokenIsCommitted(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	before, err := o.Repository.Head(t.Context())
	require.NoError(t, err)
	_, err = o.Declare(t.Context(), add([]byte(strings.Replace(string(shop), "shop.example.com", "acme.example.com", 1))), saying("production: tenant shop"))
	require.ErrorContains(t, err, "leads to another Tenant")
	o.Propose = estate.ProposeBranch
	_, err = o.Declare(t.Context(), add(shop), saying("production: tenant shop"))
	require.ErrorIs(t, err, ErrProtected)
	after, err := o.Repository.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestATenantIsDeclaredInAFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "estate.yaml"), []byte(declaration), 0o644))
	f := &Folder{Dir: dir}
	for range 2 {
		_, err := f.Declare(t.Context(), add(shop), saying(""))
		require.NoError(t, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "tenants", "shop.yaml"))
	require.NoError(t, err)
	require.Equal(t, string(shop), string(content))
	left, err := os.ReadDir(filepath.Join(dir, "tenants"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	_, err = f.Declare(t.Context(), add([]byte("kind: Tenant\nname: shop\n")), saying(""))
	require.ErrorIs(t, err, estate.ErrDeclared)
	_, err = f.Declare(t.Context(), remove, saying(""))
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(dir, "tenants", "shop.yaml"))
	e, err := estate.Load(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, e.Tenants, 1)
}

// Where people merge what is changed, a tenant that they have taken out already needs no change: it can be purged.
func TestWhatIsNotThereNeedsNoPermission(t *testing.T) {
	long.Test(t)
	o := newOffice(t)
	o.begin()
	o.Propose = estate.ProposeBranch
	_, err := o.Try(t.Context(), remove)
	require.ErrorIs(t, err, estate.ErrUndeclared)
	_, err = o.Declare(t.Context(), remove, saying("production: tenant shop deleted"))
	require.ErrorIs(t, err, estate.ErrUndeclared)
	_, err = o.Try(t.Context(), estate.Change{Environment: "production", Tenant: "acme", Remove: true})
	require.ErrorIs(t, err, ErrProtected)
}
