package promotion

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// What the estate says of where a tenant's data is does not bring it there: nothing begins, and what Waybill knows stays.
func TestDataStaysWhereItIs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*estate.Tenant)
		says   string
	}{
		"hosting":  {func(t *estate.Tenant) { t.Hosting = estate.Dedicated }, "its data is where shared tenants have theirs"},
		"database": {func(t *estate.Tenant) { t.Database += "_new" }, "its data is in"},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, step("one"))
			e, _ := b.engine("a")
			declared, q := b.request()
			declared.Tenants[0].Hosting = estate.Shared
			first, err := e.Start(t.Context(), declared, q)
			require.NoError(t, err)
			b.until(first, ended)
			c.change(&declared.Tenants[0])
			second, err := e.Start(t.Context(), declared, q) // it has no data yet
			require.NoError(t, err)
			b.until(second, ended)

			declared, q = b.request()
			declared.Tenants[0].Hosting = estate.Shared
			third, err := e.Start(t.Context(), declared, q)
			require.NoError(t, err)
			b.until(third, ended)
			before, err := b.store.ChangeTenant(t.Context(), b.kind, "acme", store.Lease{}, func(t *store.Tenant) { t.ServingRelease = "sha256:1" })
			require.NoError(t, err)
			c.change(&declared.Tenants[0])
			_, err = e.Start(t.Context(), declared, q)
			require.ErrorIs(t, err, ErrBadRequest)
			require.ErrorContains(t, err, c.says)
			after, err := b.store.Tenant(t.Context(), b.kind, "acme")
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}
