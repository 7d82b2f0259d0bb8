// Package release says what a release is: one immutable image with its lineage and its modules.
// It is pure: no network, no files.
package release

import "time"

// Annotation is the key of the image-manifest annotation that holds a Release as JSON. It lives
// in the manifest, not in a label, so that the digest covers it and containers do not carry it.
const Annotation = "dev.waybill.release"

// Release is one immutable build, known by the digest of its image manifest.
type Release struct {
	Digest         string    `json:"digest,omitempty"`  // sha256:… of the image manifest; empty inside the annotation itself
	Repository     string    `json:"repository"`        // name in the registry, for example "acme"
	Name           string    `json:"name"`              // what people call it, for example "r2"; not unique
	Series         string    `json:"series"`            // Odoo series, for example "19.0"
	Source         string    `json:"source"`            // where the addons came from; a URL or a folder's name
	Commit         string    `json:"commit"`            // full Git commit of the addons
	Dirty          bool      `json:"dirty,omitempty"`   // built from a working tree with uncommitted changes
	Addons         []string  `json:"addons,omitempty"`  // folders of the addons, from the repository's root, sorted
	Waybill        string    `json:"waybill,omitempty"` // version of the Waybill that built it, whose bridge it carries
	Created        time.Time `json:"created"`           // time of the commit, not of the build
	Base           Base      `json:"base"`
	BridgeProtocol int       `json:"bridge_protocol"`
	Modules        []Module  `json:"modules"` // the product's own addons, sorted by name
}

// Base is what a release learnt about the image that it stands on.
type Base struct {
	Reference   string   `json:"reference"` // as the estate names it
	Digest      string   `json:"digest"`
	Version     string   `json:"version"`      // full version of Odoo's package where known
	AddonsPaths []string `json:"addons_paths"` // absolute folders inside the image that hold Odoo's own modules
	Python      string   `json:"python"`       // interpreter, for example "python3.13"
	Modules     []Module `json:"modules"`      // Odoo's own modules, sorted by name
}

// Module is one Odoo module of an image.
type Module struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"` // adapted to the series, as Odoo stores it in latest_version
	Depends     []string `json:"depends,omitempty"`
	AutoInstall bool     `json:"auto_install,omitempty"`
	Checksum    string   `json:"checksum"` // sha1 as click-odoo-contrib computes it
}

// Find returns the module of that name, the product's own before the base's.
func (r *Release) Find(name string) (Module, bool) {
	for _, list := range [][]Module{r.Modules, r.Base.Modules} {
		for _, m := range list {
			if m.Name == name {
				return m, true
			}
		}
	}
	return Module{}, false
}
