// Package sbom says what an image of a release is made of: Debian packages, Python distributions and
// Odoo modules, read from its layers without running anything, and written as CycloneDX. The same
// image gives the same bytes, on any machine and at any time.
package sbom

import (
	"cmp"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/release"
)

// Inventory is everything in an image that has a name and a version.
type Inventory struct {
	Release release.Release
	Distro  Distro
	Debian  []Package      // sorted by name, architecture
	Python  []Distribution // sorted by name, version, path
	Modules []Module       // sorted by name
}

// Distro is the distribution that an image's packages come from, as os-release names it.
type Distro struct {
	ID      string `json:"id"`      // "debian"; empty where the image says nothing
	Version string `json:"version"` // "13"; empty for a distribution that has none yet (Debian's sid)
	Name    string `json:"name"`    // for people
}

// Package is one installed binary package of Debian or of a distribution like it.
type Package struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Architecture  string `json:"architecture,omitempty"`
	Source        string `json:"source"` // what advisories go by; the name itself where dpkg says nothing else
	SourceVersion string `json:"source_version"`
}

// Distribution is one installed Python distribution.
type Distribution struct {
	Name    string `json:"name"` // as it calls itself; see Normal
	Version string `json:"version"`
	License string `json:"license,omitempty"` // where it is one line
	Path    string `json:"path"`              // of its metadata, without the leading slash
	Owner   string `json:"owner,omitempty"`   // the Debian package that it came in; such a one is counted there
}

// Normal is the name by which indexes know the distribution (PEP 503).
func (d Distribution) Normal() string {
	var b strings.Builder
	dash := false
	for _, r := range strings.ToLower(d.Name) {
		if r == '-' || r == '_' || r == '.' {
			dash = true
			continue
		}
		if dash && b.Len() > 0 {
			b.WriteByte('-')
		}
		dash = false
		b.WriteRune(r)
	}
	return b.String()
}

// Module is one Odoo module.
type Module struct {
	release.Module
	License string // as the manifest has it; empty where it has none
	Base    bool   // Odoo's own, not the product's
}

// assemble makes an inventory of what the layers told.
func assemble(rel release.Release, f facts) *Inventory {
	inv := &Inventory{Release: rel, Distro: f.distro()}
	seen := map[Package]bool{}
	for _, list := range f.Packages {
		for _, p := range list {
			if !seen[p] {
				seen[p] = true
				inv.Debian = append(inv.Debian, p)
			}
		}
	}
	slices.SortFunc(inv.Debian, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Architecture, b.Architecture), strings.Compare(a.Version, b.Version))
	})
	owners := map[string]string{}
	for list, files := range f.Owned {
		for _, file := range files {
			owners[file] = ownerOf(list)
		}
	}
	for file, d := range f.Distributions {
		d.Path, d.Owner = file, owners[file]
		inv.Python = append(inv.Python, d)
	}
	slices.SortFunc(inv.Python, func(a, b Distribution) int {
		return cmp.Or(strings.Compare(a.Normal(), b.Normal()), strings.Compare(a.Version, b.Version), strings.Compare(a.Path, b.Path))
	})
	licenses := f.licenses(rel)
	for _, m := range rel.Base.Modules {
		inv.Modules = append(inv.Modules, Module{Module: m, License: licenses[m.Name], Base: true})
	}
	for _, m := range rel.Modules {
		inv.Modules = append(inv.Modules, Module{Module: m, License: licenses[m.Name]})
	}
	slices.SortFunc(inv.Modules, func(a, b Module) int { return strings.Compare(a.Name, b.Name) })
	return inv
}
