package check

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var seriesMismatch = Check{
	ID:       "series-mismatch",
	Severity: Error,
	Why:      "Odoo does not install a module whose version is of another series, or no version.",
	Find: func(in *Input) (found []Finding) {
		for _, m := range in.installable() {
			version := m.Manifest.Version
			if _, err := in.Series.AdaptVersion(version); err == nil {
				continue
			}
			fix := fmt.Sprintf("write %s.1.0.0, or 1.0.0 without a series", in.Series.Series)
			if other := seriesPrefix.FindString(version); other != "" && other != in.Series.Series {
				found = append(found, m.inManifest(in, "version", "", fix, "the version %q is of series %s, and the product is of %s", version, other, in.Series.Series))
				continue
			}
			found = append(found, m.inManifest(in, "version", "", fix, "%q is no version; Odoo takes two or three numbers, after the series or without it", version))
		}
		return found
	},
}

var seriesPrefix = regexp.MustCompile(`^(?:[6-9]|[1-9]\d)\.0\b`)

var versionLower = Check{
	ID:       "version-lower",
	Severity: Error,
	Why:      "Migration scripts do not run towards a lower version, and Odoo takes the database for up to date.",
	Needs:    Needs{Running: true},
	Find: func(in *Input) (found []Finding) {
		in.eachRunning(func(m *Module, version, _ string, environments string) {
			if compareVersions(m.Version, version) < 0 {
				found = append(found, m.inManifest(in, "version", "", "raise the version above "+version,
					"version %s is lower than %s, which runs in %s", m.Version, version, environments))
			}
		})
		return found
	},
}

var versionNotBumped = Check{
	ID:       "version-not-bumped",
	Severity: Warning,
	Why:      "Waybill updates a changed module anyway; Odoo's own migration scripts, and people, go by the version.",
	Needs:    Needs{Running: true},
	Find: func(in *Input) (found []Finding) {
		in.eachRunning(func(m *Module, version, checksum, environments string) {
			if compareVersions(m.Version, version) == 0 && checksum != "" && m.Checksum != "" && checksum != m.Checksum {
				found = append(found, m.inManifest(in, "version", "", "raise the version",
					"its files changed, and the version is still %s, as it runs in %s", version, environments))
			}
		})
		return found
	},
}

// eachRunning visits every module that runs, once for each version and content of it, with the
// names of the environments.
func (in *Input) eachRunning(visit func(m *Module, version, checksum, environments string)) {
	type variant struct{ version, checksum string }
	for _, m := range in.installable() {
		if m.Version == "" {
			continue
		}
		where := map[variant][]string{}
		var order []variant
		for _, running := range in.Running {
			for _, other := range running.Release.Modules {
				if other.Name != m.Name {
					continue
				}
				v := variant{other.Version, other.Checksum}
				if where[v] == nil {
					order = append(order, v)
				}
				if !slices.Contains(where[v], running.Environment) {
					where[v] = append(where[v], running.Environment)
				}
			}
		}
		for _, v := range order {
			visit(m, v.version, v.checksum, strings.Join(where[v], ", "))
		}
	}
}

// compareVersions compares dotted numbers; what is no number counts as lower.
func compareVersions(a, b string) int {
	as, bs := numbers(a), numbers(b)
	for i := range max(len(as), len(bs)) {
		x, y := 0, 0
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

func numbers(version string) []int {
	var list []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			n = -1
		}
		list = append(list, n)
	}
	return list
}
