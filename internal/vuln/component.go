package vuln

import (
	"cmp"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/sbom"
)

// The ecosystems whose versions are understood, by OSV's names. Odoo is none of OSV's own: it is for
// advisories that people write about modules; "OCA" is taken for the same.
const (
	Debian = "Debian"
	Ubuntu = "Ubuntu"
	PyPI   = "PyPI"
	Odoo   = "Odoo"
)

// Component is what advisories may be about.
type Component struct {
	Ecosystem string   `json:"ecosystem"`       // with its release: "Debian:13", "PyPI", "Odoo:19.0"; "Debian:" where the release is not known
	Name      string   `json:"name"`            // as advisories have it: Debian's source package, the normalised distribution, the module
	Version   string   `json:"version"`         // of the source package, the distribution, the module
	Parts     []string `json:"parts,omitempty"` // binary packages of the source; where the distribution lies
}

func (c Component) base() string { return baseOf(c.Ecosystem) }

// baseOf is an ecosystem without its release.
func baseOf(ecosystem string) string {
	base, _, _ := strings.Cut(ecosystem, ":")
	if base == "OCA" {
		return Odoo
	}
	return base
}

// ecosystems are those under which advisories about the component are found: with its release, and
// without one, which is about any. OSV calls some of Ubuntu's releases "24.04:LTS".
func (c Component) ecosystems() []string {
	all := []string{c.Ecosystem, c.base()}
	if c.base() == Ubuntu {
		all = append(all, c.Ecosystem+":LTS")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Components are what can be compared of an inventory. Binary packages of one source are one
// component, and Python distributions that came in a Debian package are that package's.
func Components(inv *sbom.Inventory) []Component {
	distro := ecosystemOf(inv.Distro)
	var all []Component
	for _, p := range inv.Debian {
		all = append(all, Component{distro, p.Source, p.SourceVersion, []string{p.Name}})
	}
	for _, d := range inv.Python {
		if d.Owner == "" {
			all = append(all, Component{PyPI, d.Normal(), d.Version, []string{"/" + d.Path}})
		}
	}
	for _, m := range inv.Modules {
		all = append(all, Component{Odoo + ":" + inv.Release.Series, m.Name, m.Version, nil})
	}
	slices.SortStableFunc(all, byName)
	var merged []Component
	for _, c := range all {
		if last := len(merged) - 1; last >= 0 && byName(merged[last], c) == 0 {
			merged[last].Parts = append(merged[last].Parts, c.Parts...)
			continue
		}
		merged = append(merged, c)
	}
	for i := range merged {
		slices.Sort(merged[i].Parts)
		merged[i].Parts = slices.Compact(merged[i].Parts)
	}
	return merged
}

// ecosystemOf is the ecosystem of a distribution's packages, with its release.
func ecosystemOf(d sbom.Distro) string {
	switch d.ID {
	case "debian", "":
		return Debian + ":" + d.Version
	case "ubuntu":
		return Ubuntu + ":" + d.Version
	}
	return d.ID + ":" + d.Version
}

func byName(a, b Component) int {
	return cmp.Or(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
}
