package promotion

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// A database that click-odoo-update kept has checksums by its own rule. Only what changed is updated.
func TestPlanOfADatabaseThatClickOdooUpdated(t *testing.T) {
	long.Test(t)
	module := func(name, sum string, depends ...string) release.Module {
		return release.Module{Name: name, Version: "19.0.1.0", Checksum: sum, Depends: depends}
	}
	rel := release.Release{Name: "r2", Modules: []release.Module{module("acme_lane", "new", "base")}, Base: release.Base{Modules: []release.Module{module("base", "all languages")}}}
	facts := odoo.Facts{
		Languages: []string{"en_US", "fr_BE"},
		Checksums: map[string]string{"base": "two languages", "acme_lane": "old"},
		Modules: []odoo.InstalledModule{
			{Name: "acme_lane", Version: "19.0.1.0", State: odoo.StateInstalled},
			{Name: "base", Version: "19.0.1.0", State: odoo.StateInstalled},
		},
	}
	var plans []Plan
	var away error
	var asked []odoo.ChecksumRule
	b := setup(t, Step{Name: "plan", Do: func(ctx context.Context, w *Work) (string, error) {
		w.rooms.Checksums = func(_ context.Context, r release.Release, rule odoo.ChecksumRule) (map[string]string, error) {
			asked = append(asked, rule)
			return map[string]string{"base": "two languages", "acme_lane": "new"}, nil
		}
		plan, err := w.plan(ctx, rel, facts)
		plans = append(plans, plan)
		if err != nil {
			return "", err
		}
		w.rooms.Checksums = func(context.Context, release.Release, odoo.ChecksumRule) (map[string]string, error) {
			return nil, errors.New("the registry is away")
		}
		_, away = w.plan(ctx, rel, facts)
		return "", nil
	}})
	e, _ := b.engine("a")
	b.until(b.start(e), ended)
	require.ErrorContains(t, away, "the registry is away", "nothing is guessed")
	require.Equal(t, []odoo.ChecksumRule{{Languages: []string{"en_US", "fr_BE"}}}, asked)
	require.Len(t, plans, 1)
	require.Equal(t, []string{"acme_lane"}, plans[0].Update)
	require.Equal(t, "all languages", plans[0].Checksums["base"], "what is stored is by Waybill's own rule")
}
