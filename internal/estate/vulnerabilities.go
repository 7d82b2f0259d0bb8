package estate

import (
	"path/filepath"
	"time"
)

// Vulnerabilities says where advisories are found, which of them keep a release out, and what is
// accepted for a while. kind: Vulnerabilities.
type Vulnerabilities struct {
	Databases []string                `yaml:"databases" json:"databases"`     // folders or zip files with OSV advisories, relative to the estate's folder or absolute
	MaxAge    time.Duration           `yaml:"max_age" json:"max_age"`         // how old the newest advisory of a public ecosystem may be; default 168h
	Refuse    string                  `yaml:"refuse" json:"refuse"`           // from this severity on a release may not enter: critical, high, medium, low, or never; default high
	Unfixed   string                  `yaml:"unfixed" json:"unfixed"`         // what a vulnerability means that no version mends yet: ignore, warn or refuse; default warn
	Unrated   string                  `yaml:"unrated" json:"unrated"`         // what one means that nobody has rated yet: ignore, warn or refuse; default warn
	Accept    []AcceptedVulnerability `yaml:"accept" json:"accept,omitempty"` // vulnerabilities that may pass until a date
}

// AcceptedVulnerability lets one vulnerability pass until a date, in one component or in all.
type AcceptedVulnerability struct {
	ID        string `yaml:"id" json:"id"`                         // CVE-2026-1234, or any other name that the vulnerability has
	Component string `yaml:"component" json:"component,omitempty"` // package, distribution or module, as the scan names it; without it any
	Reason    string `yaml:"reason" json:"reason"`                 // required: why this may pass, for now
	Expires   string `yaml:"expires" json:"expires"`               // required: the last day on which it holds, like 2027-03-31 (UTC)
}

// Until returns the moment from which the acceptance no longer holds.
func (a AcceptedVulnerability) Until() time.Time {
	return CheckException{Expires: a.Expires}.Until()
}

// DatabasePaths are the databases as paths of this machine; root is the estate's folder.
func (v Vulnerabilities) DatabasePaths(root string) []string {
	var paths []string
	for _, p := range v.Databases {
		if !filepath.IsAbs(p) {
			p = filepath.Join(root, p)
		}
		paths = append(paths, p)
	}
	return paths
}

// DefaultVulnerabilities are the rules where an estate has none but databases are at hand.
func DefaultVulnerabilities(databases ...string) Vulnerabilities {
	v := Vulnerabilities{Databases: databases}
	v.fill(func(string) bool { return false })
	return v
}

func (v *Vulnerabilities) fill(given func(string) bool) {
	or(given, "max_age", &v.MaxAge, 7*24*time.Hour)
	or(given, "refuse", &v.Refuse, "high")
	or(given, "unfixed", &v.Unfixed, "warn")
	or(given, "unrated", &v.Unrated, "warn")
}
