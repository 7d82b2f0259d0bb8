package odoo

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/release"
)

func TestCompare(t *testing.T) {
	from, _ := fixture()
	to, _ := fixture()
	d, err := Compare(from, to)
	require.NoError(t, err)
	require.True(t, d.Empty())
	require.Empty(t, d.Dependent)

	// acme_base changes its files, acme_new goes, acme_fresh comes, and Odoo gets a newer sale.
	to.Modules[0].Checksum = "ab2"
	to.Modules = slices.DeleteFunc(to.Modules, func(m release.Module) bool { return m.Name == "acme_new" })
	to.Modules = append(to.Modules, mod("acme_fresh", "19.0.1.0", "af1", "acme_lane"))
	to.Base.Modules[2].Version, to.Base.Modules[2].Checksum = "19.0.1.3", "sa2"
	to.Base.Digest, to.Base.Python = "sha256:2", "python3.14"
	d, err = Compare(from, to)
	require.NoError(t, err)
	require.False(t, d.Empty())
	require.Equal(t, Difference{
		Changed: []ModuleChange{
			{Name: "sale", Base: true, From: "19.0.1.2", To: "19.0.1.3", Reason: "version 19.0.1.2 → 19.0.1.3"},
			{Name: "acme_base", From: "19.0.1.0", To: "19.0.1.0", Reason: "its files changed"},
		},
		Added:   []ModuleChange{{Name: "acme_fresh", To: "19.0.1.0", Reason: "new"}},
		Removed: []ModuleChange{{Name: "acme_new", From: "19.0.1.0", Reason: "no longer in the release"}},
		Dependent: []ModuleChange{
			{Name: "sale_stock", Base: true, From: "19.0.1.0", To: "19.0.1.0", Reason: "depends on sale"},
			{Name: "acme_lane", From: "19.0.1.0", To: "19.0.1.0", Reason: "depends on sale, acme_base"},
		},
		Older: []string{},
		Base:  []FieldChange{{"digest", "", "sha256:2"}, {"python", "", "python3.14"}},
	}, d)

	back, err := Compare(to, from)
	require.NoError(t, err)
	require.Equal(t, []string{"sale"}, back.Older, "the way back has no scripts")

	to.Modules[0].Depends = []string{"nowhere"}
	_, err = Compare(from, to)
	require.ErrorContains(t, err, `module "nowhere" is not in the image`)
}

// A database that click-odoo-update wrote to has checksums over translations into its own languages.
func TestChecksumsByAnotherRule(t *testing.T) {
	rel, facts := fixture()
	in := PlanInput{Release: rel, Facts: facts}
	require.False(t, in.ByAnotherRule(), "in step by Waybill's own rule")

	in.Release.Modules[0].Checksum = "ab2"
	require.False(t, in.ByAnotherRule(), "a module of the product's own changed; the base's are in step")

	also := map[string]string{}
	for name := range facts.Checksums {
		facts.Checksums[name] += " by click-odoo-update"
		also[name] = facts.Checksums[name]
	}
	require.True(t, in.ByAnotherRule())
	plan, err := MakePlan(in)
	require.NoError(t, err)
	require.Equal(t, []string{"base"}, plan.Update, "without the other rule: everything")

	also["acme_base"] = "other files"
	in.Also = also
	require.False(t, in.ByAnotherRule(), "asked already")
	plan, err = MakePlan(in)
	require.NoError(t, err)
	require.Equal(t, []string{"acme_base"}, plan.Update, "with it: what changed")
}
