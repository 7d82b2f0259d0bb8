package vuln

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// advisory is the part of OSV's schema that is used here (https://ossf.github.io/osv-schema/).
type advisory struct {
	ID        string     `json:"id"`
	Modified  time.Time  `json:"modified"`
	Withdrawn *time.Time `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Related   []string   `json:"related"`
	Upstream  []string   `json:"upstream"`
	Summary   string     `json:"summary"`
	Details   string     `json:"details"`
	Severity  []rating   `json:"severity"`
	Affected  []affected `json:"affected"`
	Database  struct {
		Severity any `json:"severity"`
	} `json:"database_specific"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity  []rating   `json:"severity"`
	Ranges    []osvRange `json:"ranges"`
	Versions  []string   `json:"versions"`
	Ecosystem struct {
		Urgency  string `json:"urgency"`
		Priority string `json:"ubuntu_priority"`
	} `json:"ecosystem_specific"`
	Database struct {
		Severity any `json:"severity"`
	} `json:"database_specific"`
}

type osvRange struct {
	Type   string              `json:"type"`
	Events []map[string]string `json:"events"`
}

// record is what an advisory says of one package, short enough to keep in the index.
type record struct {
	ID        string    `json:"i"`
	Names     []string  `json:"a,omitempty"` // other names of the same vulnerability
	Bundle    []string  `json:"b,omitempty"` // the vulnerabilities that an advisory of a distributor mends at once
	Summary   string    `json:"s,omitempty"`
	Severity  Severity  `json:"l,omitempty"`
	Score     float64   `json:"c,omitempty"`
	Vector    string    `json:"v,omitempty"`
	Harmless  bool      `json:"h,omitempty"` // the distributor says: as built here, it is none
	Ranges    [][]event `json:"r,omitempty"`
	Versions  []string  `json:"w,omitempty"` // affected ones that no range covers
	Unordered bool      `json:"u,omitempty"` // a range of it holds what is no version: nobody can say what it covers
}

// event is the beginning or the end of what is affected.
type event struct {
	Kind    string `json:"k"` // introduced, fixed, last_affected, limit
	Version string `json:"v"`
}

const (
	introduced   = "introduced"
	fixed        = "fixed"
	lastAffected = "last_affected"
	limit        = "limit"
)

// keyed is a record with the package that it is about.
type keyed struct {
	ecosystem, name string
	record          record
}

// parseAdvisory reads one advisory. The records are those of ecosystems that are understood here; an
// advisory that was withdrawn has none.
func parseAdvisory(content []byte) (advisory, []keyed, error) {
	var a advisory
	if err := json.Unmarshal(content, &a); err != nil {
		return a, nil, fmt.Errorf("it is no advisory in OSV's format: %w", err)
	}
	if a.ID == "" {
		return a, nil, errors.New("it is no advisory in OSV's format: it has no id")
	}
	if a.Modified.IsZero() {
		return a, nil, fmt.Errorf("advisory %s has no date in \"modified\"", a.ID)
	}
	if a.Withdrawn != nil {
		return a, nil, nil
	}
	names, bundle := a.names()
	var found []keyed
	for _, one := range a.Affected {
		base := baseOf(one.Package.Ecosystem)
		_, suffix, _ := strings.Cut(one.Package.Ecosystem, ":")
		read := orderOf(base)
		if read == nil {
			continue
		}
		name := one.Package.Name
		if name == "" {
			return a, nil, fmt.Errorf("advisory %s is about a package of %s without a name", a.ID, base)
		}
		ecosystem := base
		if suffix != "" {
			ecosystem += ":" + suffix
		}
		if base == PyPI {
			name = normal(name)
		}
		r := record{ID: a.ID, Names: names, Bundle: bundle, Summary: a.summary()}
		r.rate(a, one)
		if err := r.cover(one, read); err != nil {
			return a, nil, fmt.Errorf("advisory %s, package %s: %w", a.ID, name, err)
		}
		found = append(found, keyed{ecosystem, name, r})
	}
	return a, found, nil
}

// names are the advisory's other names. One of a distributor that mends several vulnerabilities is a
// name for none of them: it is a bundle.
func (a advisory) names() (names, bundle []string) {
	others := slices.Concat(a.Aliases, a.Upstream)
	if strings.HasPrefix(a.ID, "DSA-") || strings.HasPrefix(a.ID, "DLA-") || strings.HasPrefix(a.ID, "DTSA-") {
		others = append(others, a.Related...) // where older records have what they mend
	}
	slices.Sort(others)
	others = slices.DeleteFunc(slices.Compact(others), func(name string) bool { return name == a.ID || name == "" })
	var cves []string
	for _, name := range others {
		if isCVE(name) {
			cves = append(cves, name)
		}
	}
	if len(cves) > 1 && !isCVE(a.ID) {
		return nil, cves
	}
	return others, nil
}

func isCVE(name string) bool { return strings.HasPrefix(name, "CVE-") }

func (a advisory) summary() string {
	text := strings.Join(strings.Fields(cmp.Or(a.Summary, a.Details)), " ")
	if r := []rune(text); len(r) > 160 {
		text = string(r[:159]) + "…"
	}
	return text
}

// cover keeps what is affected. Listed versions that a range covers are left out: lists are long.
func (r *record) cover(one affected, read order) error {
	for _, given := range one.Ranges {
		switch given.Type {
		case "GIT":
			continue // commits say nothing of packages
		case "ECOSYSTEM", "SEMVER":
		default:
			return fmt.Errorf("a range has the type %q; ECOSYSTEM, SEMVER or GIT expected", given.Type)
		}
		var events []event
		for _, e := range given.Events {
			for kind, version := range e {
				switch kind {
				case introduced, fixed, lastAffected, limit:
				default:
					return fmt.Errorf("a range has the event %q; introduced, fixed, last_affected or limit expected", kind)
				}
				events = append(events, event{kind, version})
			}
		}
		r.Ranges = append(r.Ranges, events)
	}
	spans, err := r.spans(read)
	if err != nil {
		r.Unordered = true
	}
	for _, listed := range one.Versions {
		if v, err := read(listed); err == nil {
			if hit, _ := spans.affects(v); hit {
				continue
			}
		}
		r.Versions = append(r.Versions, listed)
	}
	return nil
}

// normal is the name by which PyPI knows a distribution (PEP 503).
func normal(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	return strings.Join(parts, "-")
}
