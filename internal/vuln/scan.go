package vuln

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/sbom"
)

// Report is what a comparison found.
type Report struct {
	Release   string    `json:"release"` // digest
	Name      string    `json:"name"`
	Databases State     `json:"databases"`
	Compared  []Compare `json:"compared"` // sorted by ecosystem
	Findings  []Finding `json:"findings"` // the worst first
}

// Compare is how much of a release was compared with what.
type Compare struct {
	Ecosystem  string    `json:"ecosystem"` // with its release
	Components int       `json:"components"`
	Advisories int       `json:"advisories"`      // that say something of this ecosystem and release
	Newest     time.Time `json:"newest,omitzero"` // of the ecosystem's advisories, its other releases included
}

// public are the ecosystems that others write advisories for, daily: silence there means that the
// database is missing or old. Nobody does so for Odoo's modules but those who run them.
func (c Compare) public() bool { return baseOf(c.Ecosystem) != Odoo }

// Scan compares what a release is made of with the advisories of databases. See Open for cache.
func Scan(ctx context.Context, inv *sbom.Inventory, databases []string, cache string) (r Report, err error) {
	db, err := Open(ctx, databases, cache)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Scan(inv)
}

// Scan compares what a release is made of with the advisories.
func (d *Database) Scan(inv *sbom.Inventory) (Report, error) {
	components := Components(inv)
	r := Report{Release: inv.Release.Digest, Name: inv.Release.Name, Databases: d.State, Compared: d.compared(components)}
	if len(inv.Debian) == 0 { // no list of packages, or one in a form that is not read here: Alpine's, Red Hat's
		r.Compared = append(r.Compared, Compare{Ecosystem: ecosystemOf(inv.Distro)})
	}
	var err error
	r.Findings, err = d.Find(components)
	return r, err
}

func (d *Database) compared(components []Component) []Compare {
	var all []Compare
	for _, c := range components {
		i := slices.IndexFunc(all, func(k Compare) bool { return k.Ecosystem == c.Ecosystem })
		if i < 0 {
			k := Compare{Ecosystem: c.Ecosystem, Newest: d.State.Ecosystems[c.base()].Newest}
			for _, e := range c.ecosystems() {
				k.Advisories += d.State.Releases[e]
			}
			all = append(all, k)
			i = len(all) - 1
		}
		all[i].Components++
	}
	slices.SortFunc(all, func(a, b Compare) int { return strings.Compare(a.Ecosystem, b.Ecosystem) })
	return all
}
