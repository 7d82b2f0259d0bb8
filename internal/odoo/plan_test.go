package odoo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/release"
)

func mod(name, version, sum string, depends ...string) release.Module {
	return release.Module{Name: name, Version: version, Depends: depends, Checksum: sum}
}

// fixture is a release and a database that are in step.
func fixture() (release.Release, Facts) {
	stockSale := mod("sale_stock", "19.0.1.0", "ss1", "sale", "stock")
	stockSale.AutoInstall = true
	rel := release.Release{
		Name: "r2",
		Modules: []release.Module{
			mod("acme_base", "19.0.1.0", "ab1", "stock"),
			mod("acme_lane", "19.0.1.0", "al1", "acme_base", "sale"),
			mod("acme_new", "19.0.1.0", "an1", "acme_more"),
			mod("acme_more", "19.0.1.0", "am1", "base"),
		},
		Base: release.Base{Modules: []release.Module{
			mod("base", "19.0.1.3", "b1"), mod("stock", "19.0.1.1", "st1", "base"), mod("sale", "19.0.1.2", "sa1", "base"), stockSale,
		}},
	}
	facts := Facts{Checksums: map[string]string{}}
	for _, name := range []string{"acme_base", "acme_lane", "base", "sale", "sale_stock", "stock"} {
		m, _ := rel.Find(name)
		facts.Modules = append(facts.Modules, InstalledModule{Name: name, Version: m.Version, State: StateInstalled})
		facts.Checksums[name] = m.Checksum
	}
	return rel, facts
}

func TestPlan(t *testing.T) {
	cases := []struct {
		name    string
		change  func(in *PlanInput)
		update  []string
		install []string
		touched []string
		missing []string
		older   []string
		reason  map[string]string
	}{
		{name: "nothing changed", change: func(*PlanInput) {}},
		{
			name:    "files of one module changed",
			change:  func(in *PlanInput) { in.Release.Modules[1].Checksum = "al2" },
			update:  []string{"acme_lane"},
			touched: []string{"acme_lane"},
			reason:  map[string]string{"acme_lane": "its files changed"},
		},
		{
			name: "a module and one that depends on it: the root only",
			change: func(in *PlanInput) {
				in.Release.Modules[0].Version, in.Release.Modules[1].Checksum = "19.0.1.1", "al2"
			},
			update:  []string{"acme_base"},
			touched: []string{"acme_base", "acme_lane"},
			reason:  map[string]string{"acme_base": "version 19.0.1.0 → 19.0.1.1", "acme_lane": "its files changed"},
		},
		{
			name: "two that do not depend on each other",
			change: func(in *PlanInput) {
				in.Release.Base.Modules[1].Checksum, in.Release.Base.Modules[2].Checksum = "x", "y"
			},
			update:  []string{"sale", "stock"},
			touched: []string{"sale", "stock", "acme_base", "sale_stock", "acme_lane"},
		},
		{
			name: "base changed",
			change: func(in *PlanInput) {
				in.Release.Base.Modules[0].Checksum, in.Release.Modules[1].Checksum = "b2", "al2"
			},
			update:  []string{"base"},
			touched: []string{"base", "sale", "stock", "acme_base", "sale_stock", "acme_lane"},
		},
		{
			name:    "a module that is not installed changed",
			change:  func(in *PlanInput) { in.Release.Modules[2].Checksum = "an2" },
			touched: nil,
		},
		{
			name:   "nothing stored: everything",
			change: func(in *PlanInput) { in.Facts.Checksums = nil },
			update: []string{"base"}, touched: []string{"base", "sale", "stock", "acme_base", "sale_stock", "acme_lane"},
			reason: map[string]string{"base": "nothing is known of what the database was last updated to"},
		},
		{
			name:   "one not stored",
			change: func(in *PlanInput) { delete(in.Facts.Checksums, "acme_lane") },
			update: []string{"acme_lane"}, touched: []string{"acme_lane"},
		},
		{
			name: "stored by the database's own rule",
			change: func(in *PlanInput) {
				in.Also = map[string]string{}
				for name, sum := range in.Facts.Checksums {
					in.Also[name] = "click-" + sum
					in.Facts.Checksums[name] = "click-" + sum
				}
				in.Facts.Checksums["stock"] = "click-old"
			},
			update: []string{"stock"}, touched: []string{"stock", "acme_base", "sale_stock", "acme_lane"},
		},
		{
			name:    "declared and not installed",
			change:  func(in *PlanInput) { in.Install = []string{"acme_new", "stock"} },
			install: []string{"acme_new"}, touched: []string{"acme_more", "acme_new"},
			reason: map[string]string{"acme_new": "declared for this tenant"},
		},
		{
			name: "a new dependency",
			change: func(in *PlanInput) {
				in.Release.Modules[0].Depends, in.Release.Modules[0].Checksum = []string{"stock", "acme_more"}, "ab2"
			},
			update: []string{"acme_base"}, install: []string{"acme_more"}, touched: []string{"acme_more", "acme_base", "acme_lane"},
			reason: map[string]string{"acme_more": "acme_base now depends on it", "acme_base": "its files changed"},
		},
		{
			name: "left behind by an update that stopped",
			change: func(in *PlanInput) {
				in.Facts.Modules[1].State = StateToUpgrade
				in.Facts.Modules = append(in.Facts.Modules, InstalledModule{Name: "acme_more", State: StateToInstall})
			},
			update: []string{"acme_lane"}, install: []string{"acme_more"}, touched: []string{"acme_more", "acme_lane"},
		},
		{
			name:   "Odoo's own mark of a partial update",
			change: func(in *PlanInput) { in.Facts.PartiallyUpdated = true },
			update: []string{"base"}, touched: []string{"base", "sale", "stock", "acme_base", "sale_stock", "acme_lane"},
		},
		{
			name: "gone from the image",
			change: func(in *PlanInput) {
				in.Facts.Modules = append(in.Facts.Modules, InstalledModule{Name: "queue_job", Version: "19.0.1.0", State: StateInstalled})
			},
			missing: []string{"queue_job"},
		},
		{
			name:   "older than the database",
			change: func(in *PlanInput) { in.Facts.Modules[1].Version = "19.0.1.10" },
			update: []string{"acme_lane"}, touched: []string{"acme_lane"}, older: []string{"acme_lane"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rel, facts := fixture()
			in := PlanInput{Release: rel, Facts: facts}
			c.change(&in)
			plan, err := MakePlan(in)
			require.NoError(t, err)
			require.Equal(t, c.update, plan.Update, "update")
			require.Equal(t, c.install, plan.Install, "install")
			require.Equal(t, c.touched, plan.Touched, "touched")
			require.Equal(t, c.missing, plan.Missing, "missing")
			require.Equal(t, c.older, plan.Older, "older")
			for name, want := range c.reason {
				require.Equal(t, want, plan.Reason[name], name)
			}
			require.Equal(t, len(c.update)+len(c.install) == 0, plan.Empty())
			for _, m := range in.Facts.Modules {
				if image, ok := in.Release.Find(m.Name); ok {
					require.Equal(t, image.Checksum, plan.Checksums[m.Name], m.Name)
				}
			}
			require.Equal(t, len(c.install) > 0, plan.Checksums["acme_more"] != "")
		})
	}
}

func TestPlanForeseesAutomaticInstallation(t *testing.T) {
	rel, facts := fixture()
	facts.Modules = facts.Modules[2:4] // base and sale
	plan, err := MakePlan(PlanInput{Release: rel, Facts: facts, Install: []string{"stock"}})
	require.NoError(t, err)
	require.Equal(t, []string{"stock"}, plan.Install)
	require.Equal(t, []string{"stock", "sale_stock"}, plan.Touched)
	require.Equal(t, map[string]string{"base": "b1", "sale": "sa1", "stock": "st1", "sale_stock": "ss1"}, plan.Checksums)
}

func TestPlanRefusesWhatIsNotInTheImage(t *testing.T) {
	rel, facts := fixture()
	_, err := MakePlan(PlanInput{Release: rel, Facts: facts, Install: []string{"nowhere"}})
	require.EqualError(t, err, `module "nowhere" is declared for this tenant but is not in release r2; add it to the product's addons or take it off the tenant's modules`)
}

func TestGraph(t *testing.T) {
	_, err := NewGraph([]release.Module{mod("a", "", "", "b"), mod("b", "", "", "c"), mod("c", "", "", "a")})
	require.EqualError(t, err, "modules depend on each other in a circle: a → b → c → a")
	_, err = NewGraph([]release.Module{mod("a", "", "", "x"), mod("b", "", "", "x", "a")})
	require.EqualError(t, err, `module "x" is not in the image; a, b depends on it`)
	_, err = NewGraph([]release.Module{mod("a", "", "", "a")})
	require.EqualError(t, err, "modules depend on each other in a circle: a → a")
	g, err := NewGraph([]release.Module{mod("z", "", "", "a"), mod("b", "", "", "a", "z"), mod("a", "", "")}, []release.Module{mod("a", "", "", "ignored")})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "z", "b"}, g.Order())
	require.Equal(t, []string{"a", "z"}, g.Needs("z"))
	require.Equal(t, []string{"z", "b"}, g.Dependents("z"))
}

func TestSeries(t *testing.T) {
	info, err := Series("19.0", false)
	require.NoError(t, err)
	require.Equal(t, []string{"base", "rpc", "web"}, info.ServerWideModules)
	_, err = Series("17.0", false)
	require.ErrorContains(t, err, "has not been tested with Odoo 17.0")
	_, err = Series("17.0", true)
	require.NoError(t, err)
	_, err = Series("12.0", true)
	require.EqualError(t, err, `series "12.0" is unknown; supported: 19.0; known, with "experimental: true": 17.0, 18.0, 19.0`)
	for version, want := range map[string]string{
		"": "19.0.1.0", "1.0": "19.0.1.0", "1.2.3": "19.0.1.2.3", "19.0.1.0.0": "19.0.1.0.0", "19.0.2": "19.0.2", "19.0.2.1": "19.0.2.1",
	} {
		got, err := info.AdaptVersion(version)
		require.NoError(t, err, version)
		require.Equal(t, want, got)
	}
	for _, version := range []string{"18.0.1.0", "18.0.1.0.0", "1", "1.a", "1.2.3.4.5.6", "saas~1.0", "-1.0", "19.0"} {
		_, err := info.AdaptVersion(version)
		require.Error(t, err, version)
	}
}
