//go:build odoo

package tenants

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

// top looks whether the server has seen each of the six at work, in its pool and in its database.
func (e *estate) top() {
	e.t.Helper()
	var found api.Neighbours
	require.Eventually(e.t, func() bool {
		if err := e.Ask(e.t.Context(), &found, "tenant", "top", "production"); err != nil {
			return false
		}
		worked := map[string]bool{}
		for _, s := range found.Shares {
			worked[s.Tenant] = worked[s.Tenant] || s.Busy > 0 && s.Queries > 0 && s.OfUsed > 0
		}
		for _, n := range tenants {
			if !worked[n.name] {
				return false
			}
		}
		return true
	}, 3*time.Minute, 5*time.Second, "%+v", &found)
	for _, s := range found.Shares {
		e.t.Logf("top: %s in %s: %.2f requests at once, %.0f %% of its pool; %.2f sessions at work", s.Tenant, s.Pool, s.Busy, 100*s.OfPool, s.Queries)
	}
}
