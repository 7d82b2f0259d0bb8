package sbom

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
)

// MediaType is that of what Write writes.
const MediaType = "application/vnd.cyclonedx+json"

// serials is the name space of the serial numbers: one digest, one number.
var serials = uuid.MustParse("b550d8b7-c830-57d1-97cf-fd0ff7cb3e72")

// Write writes the inventory as CycloneDX 1.6 in JSON. It holds no time of writing and no random
// number: the serial number follows from the image's digest, and the time is the commit's.
func (i *Inventory) Write(w io.Writer) error { return i.encode(w, true) }

// WriteCompact is Write without what only people need: spaces and new lines.
func (i *Inventory) WriteCompact(w io.Writer) error { return i.encode(w, false) }

func (i *Inventory) encode(w io.Writer, pretty bool) error {
	encoder := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	encoder.SetPretty(pretty)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(i.document()) // not EncodeVersion, which copies all of it by gob: twenty times as slow
}

func (i *Inventory) document() *cdx.BOM {
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.SerialNumber = uuid.NewSHA1(serials, []byte(i.Release.Digest)).URN()
	subject := i.subject()
	bom.Metadata = &cdx.Metadata{
		Timestamp: i.Release.Created.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "waybill"}}},
		Component: &subject,
	}
	var components []cdx.Component
	if i.Distro.ID != "" {
		components = append(components, cdx.Component{BOMRef: "os:" + i.Distro.ID, Type: cdx.ComponentTypeOS, Name: i.Distro.ID, Version: i.Distro.Version, Description: i.Distro.Name})
	}
	for _, p := range i.Debian {
		components = append(components, i.debian(p))
	}
	for _, d := range i.Python {
		components = append(components, python(d))
	}
	for _, m := range i.Modules {
		components = append(components, module(m))
	}
	bom.Components = &components
	dependencies := i.dependencies(subject.BOMRef)
	bom.Dependencies = &dependencies
	return bom
}

// subject is the image itself.
func (i *Inventory) subject() cdx.Component {
	r := i.Release
	purl := packageurl.NewPackageURL(packageurl.TypeOCI, "", r.Repository, r.Digest, nil, "").ToString()
	return cdx.Component{
		BOMRef: purl, Type: cdx.ComponentTypeContainer, Name: r.Repository, Version: r.Name, PackageURL: purl,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: strings.TrimPrefix(r.Digest, "sha256:")}},
		Properties: properties("odoo:series", r.Series, "odoo:version", r.Base.Version, "base:digest", r.Base.Digest,
			"source:repository", r.Source, "source:commit", r.Commit),
	}
}

func (i *Inventory) debian(p Package) cdx.Component {
	var qualifiers []packageurl.Qualifier
	if p.Architecture != "" {
		qualifiers = append(qualifiers, packageurl.Qualifier{Key: "arch", Value: p.Architecture})
	}
	if i.Distro.ID != "" && i.Distro.Version != "" {
		qualifiers = append(qualifiers, packageurl.Qualifier{Key: "distro", Value: i.Distro.ID + "-" + i.Distro.Version})
	}
	if p.Source != p.Name || p.SourceVersion != p.Version {
		upstream := p.Source
		if p.SourceVersion != p.Version {
			upstream += "@" + p.SourceVersion
		}
		qualifiers = append(qualifiers, packageurl.Qualifier{Key: "upstream", Value: upstream})
	}
	purl := packageurl.NewPackageURL(packageurl.TypeDebian, cmp.Or(i.Distro.ID, "debian"), p.Name, p.Version, qualifiers, "").ToString()
	return cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: purl,
		Properties: properties("deb:source", p.Source, "deb:source-version", p.SourceVersion)}
}

func python(d Distribution) cdx.Component {
	c := cdx.Component{
		BOMRef: "python:" + d.Path, Type: cdx.ComponentTypeLibrary, Name: d.Name, Version: d.Version,
		PackageURL: packageurl.NewPackageURL(packageurl.TypePyPi, "", d.Normal(), d.Version, nil, "").ToString(),
		Properties: properties("path", "/"+d.Path, "deb:owner", d.Owner),
	}
	if d.License != "" {
		c.Licenses = &cdx.Licenses{{License: &cdx.License{Name: d.License}}}
	}
	return c
}

// spdx are Odoo's words for licenses that SPDX knows. Odoo's "LGPL-3" says nothing of later versions.
var spdx = map[string]string{
	"LGPL-3": "LGPL-3.0-only", "AGPL-3": "AGPL-3.0-only", "GPL-2": "GPL-2.0-only", "GPL-3": "GPL-3.0-only",
	"GPL-2 or any later version": "GPL-2.0-or-later", "GPL-3 or any later version": "GPL-3.0-or-later",
}

func module(m Module) cdx.Component {
	origin := "product"
	if m.Base {
		origin = "base"
	}
	c := cdx.Component{
		BOMRef: moduleRef(m.Name), Type: cdx.ComponentTypeLibrary, Group: "odoo", Name: m.Name, Version: m.Version,
		PackageURL: packageurl.NewPackageURL(packageurl.TypeGeneric, "odoo", m.Name, m.Version, nil, "").ToString(),
		Properties: properties("odoo:origin", origin, "odoo:checksum", m.Checksum),
	}
	if id := spdx[m.License]; id != "" {
		c.Licenses = &cdx.Licenses{{License: &cdx.License{ID: id}}}
	} else if m.License != "" {
		c.Licenses = &cdx.Licenses{{License: &cdx.License{Name: m.License}}}
	}
	return c
}

func moduleRef(name string) string { return "odoo:" + name }

// dependencies are those between modules; of the image itself, its product's modules. What is not in
// the list is not known.
func (i *Inventory) dependencies(subject string) []cdx.Dependency {
	var own []string
	var all []cdx.Dependency
	for _, m := range i.Modules {
		if !m.Base {
			own = append(own, moduleRef(m.Name))
		}
		var on []string
		for _, name := range m.Depends {
			if _, there := i.Release.Find(name); there {
				on = append(on, moduleRef(name))
			}
		}
		slices.Sort(on)
		all = append(all, dependency(moduleRef(m.Name), slices.Compact(on)))
	}
	return append([]cdx.Dependency{dependency(subject, own)}, all...)
}

func dependency(ref string, on []string) cdx.Dependency {
	if len(on) == 0 {
		return cdx.Dependency{Ref: ref}
	}
	return cdx.Dependency{Ref: ref, Dependencies: &on}
}

// properties are pairs of name and value; empty values are left out.
func properties(pairs ...string) *[]cdx.Property {
	var list []cdx.Property
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			list = append(list, cdx.Property{Name: fmt.Sprintf("waybill:%s", pair[0]), Value: pair[1]})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &list
}
