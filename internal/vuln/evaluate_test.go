package vuln

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/sbom"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func reportOf(findings ...Finding) Report {
	return Report{Release: "sha256:1", Name: "r1", Findings: findings, Compared: []Compare{
		{Ecosystem: "Debian:13", Components: 200, Advisories: 9, Newest: now.Add(-time.Hour)},
		{Ecosystem: "Odoo:19.0", Components: 600},
	}}
}

func found(id string, s Severity, fixed string) Finding {
	return Finding{ID: id, Names: []string{"DSA-1"}, Severity: s, Score: 8.1, Vector: "CVSS:3.1/x", Fixed: fixed,
		Component: Component{Ecosystem: "Debian:13", Name: "glibc", Version: "2.41-12", Parts: []string{"libc-bin", "libc6"}}}
}

func told(v Verdict) string {
	var lines []string
	for _, r := range v.Reasons {
		lines = append(lines, fmt.Sprintf("%s: %s", r.Level, r.Text))
	}
	return strings.Join(lines, "\n")
}

func TestEvaluate(t *testing.T) {
	rules := func(change func(*estate.Vulnerabilities)) estate.Vulnerabilities {
		v := estate.DefaultVulnerabilities("osv")
		if change != nil {
			change(&v)
		}
		return v
	}
	accept := func(id, component, expires string) func(*estate.Vulnerabilities) {
		return func(v *estate.Vulnerabilities) {
			v.Accept = []estate.AcceptedVulnerability{{ID: id, Component: component, Reason: "not called", Expires: expires}}
		}
	}
	high := found("CVE-2026-1", High, "2.41-13")
	const text = "CVE-2026-1 (high, 8.1) in glibc 2.41-12 (libc-bin, libc6): fixed in 2.41-13"
	const openText = "CVE-2026-1 (high, 8.1) in glibc 2.41-12 (libc-bin, libc6): no version mends it yet"
	unrated := found("CVE-2026-1", Unrated, "2.41-13")
	unrated.Vector = ""
	for name, c := range map[string]struct {
		report  Report
		rules   estate.Vulnerabilities
		refused bool
		told    string
	}{
		"nothing":               {reportOf(), rules(nil), false, ""},
		"high":                  {reportOf(high), rules(nil), true, "refuse: " + text + ". The estate refuses from high on"},
		"below the threshold":   {reportOf(high), rules(func(v *estate.Vulnerabilities) { v.Refuse = "critical" }), false, "note: " + text},
		"never":                 {reportOf(high), rules(func(v *estate.Vulnerabilities) { v.Refuse = "never" }), false, "note: " + text},
		"unfixed warns":         {reportOf(found("CVE-2026-1", High, "")), rules(nil), false, "warn: " + openText + ". No version mends it yet, of which the estate warns (unfixed)"},
		"unfixed is ignored":    {reportOf(found("CVE-2026-1", High, "")), rules(func(v *estate.Vulnerabilities) { v.Unfixed = "ignore" }), false, "note: " + openText},
		"unfixed refuses":       {reportOf(found("CVE-2026-1", High, "")), rules(func(v *estate.Vulnerabilities) { v.Unfixed = "refuse" }), true, "refuse: " + openText + ". The estate refuses from high on"},
		"unfixed, but mild":     {reportOf(found("CVE-2026-1", Low, "")), rules(func(v *estate.Vulnerabilities) { v.Unfixed = "refuse" }), false, "note: " + strings.Replace(openText, "high", "low", 1)},
		"unrated warns":         {reportOf(unrated), rules(nil), false, "warn: CVE-2026-1 (unrated) in glibc 2.41-12 (libc-bin, libc6): fixed in 2.41-13. Nobody has rated it yet, of which the estate warns (unrated)"},
		"unrated refuses":       {reportOf(unrated), rules(func(v *estate.Vulnerabilities) { v.Unrated = "refuse" }), true, "refuse: CVE-2026-1 (unrated) in glibc 2.41-12 (libc-bin, libc6): fixed in 2.41-13. Nobody has rated it yet, which the estate refuses (unrated)"},
		"unrated is ignored":    {reportOf(unrated), rules(func(v *estate.Vulnerabilities) { v.Unrated = "ignore" }), false, "note: CVE-2026-1 (unrated) in glibc 2.41-12 (libc-bin, libc6): fixed in 2.41-13"},
		"accepted":              {reportOf(high), rules(accept("CVE-2026-1", "", "2026-11-21")), false, "accepted: " + text + ". Accepted until 2026-11-21: not called"},
		"accepted by an alias":  {reportOf(high), rules(accept("dsa-1", "glibc", "2027-01-01")), false, "accepted: " + text + ". Accepted until 2027-01-01: not called"},
		"accepted by a package": {reportOf(high), rules(accept("CVE-2026-1", "libc6", "2027-01-01")), false, "accepted: " + text + ". Accepted until 2027-01-01: not called"},
		"accepted elsewhere": {reportOf(high), rules(accept("CVE-2026-1", "zlib", "2027-01-01")), true, "refuse: " + text + ". The estate refuses from high on\n" +
			"note: the estate accepts CVE-2026-1 in zlib, and this release does not have it"},
		"expired": {reportOf(high), rules(accept("CVE-2026-1", "", "2026-11-20")), true, "refuse: " + text + ". The estate refuses from high on. It was accepted until 2026-11-20, which has passed"},
		"the worst first": {reportOf(found("CVE-2026-1", High, ""), found("CVE-2026-2", High, "9")), rules(nil), true,
			"refuse: CVE-2026-2 (high, 8.1) in glibc 2.41-12 (libc-bin, libc6): fixed in 9. The estate refuses from high on\nwarn: " + openText + ". No version mends it yet, of which the estate warns (unfixed)"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(c.report, c.rules, now)
			require.Equal(t, c.refused, v.Refused)
			require.Equal(t, c.told, told(v))
			for _, r := range v.Reasons {
				require.True(t, r.Fix != "" || r.Level == Accepted, r.Text)
			}
		})
	}
}

func TestDatabasesAreGates(t *testing.T) {
	for name, c := range map[string]struct {
		compared Compare
		want     string
	}{
		"fresh":         {Compare{"Debian:13", 9, 9, now.Add(-167 * time.Hour)}, ""},
		"old":           {Compare{"Debian:13", 9, 9, now.Add(-20 * 24 * time.Hour)}, "refuse: the newest advisory of Debian in the databases is of 2026-11-01, 20 days ago; the estate allows 7 days (max_age)"},
		"not there":     {Compare{"PyPI", 1, 0, time.Time{}}, "refuse: the databases hold no advisory of PyPI: 1 component could not be compared"},
		"other release": {Compare{"Debian:13", 9, 0, now}, "refuse: the databases hold no advisory of Debian:13: 9 components could not be compared"},
		"to come":       {Compare{"Debian:13", 9, 9, now.Add(48 * time.Hour)}, "refuse: the newest advisory of Debian is of 2026-11-23, which is yet to come: a clock is wrong, or the database is"},
		"no release":    {Compare{"Debian:", 9, 9, now}, "refuse: 9 packages of Debian: the image does not say which release of it they are from, so nothing can be compared"},
		"other distro":  {Compare{"linuxmint:22", 9, 0, now}, "refuse: 9 packages of linuxmint cannot be compared: Waybill knows the versions of Debian, Ubuntu, PyPI and Odoo's modules"},
		"no list":       {Compare{"alpine:3.22", 0, 0, time.Time{}}, "refuse: the image has no list of its packages that is understood here (alpine:3.22, no var/lib/dpkg/status), so they cannot be compared"},
		"modules alone": {Compare{"Odoo:19.0", 600, 0, time.Time{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(Report{Compared: []Compare{c.compared}}, estate.DefaultVulnerabilities("osv"), now)
			require.Equal(t, c.want, told(v))
			require.Equal(t, c.want != "", v.Refused)
		})
	}
}

// What a release is made of, as advisories name it.
func TestComponents(t *testing.T) {
	inv := &sbom.Inventory{
		Release: release.Release{Series: "19.0"}, Distro: sbom.Distro{ID: "debian", Version: "13"},
		Debian:  []sbom.Package{{Name: "libc6", Version: "2.41-12+b1", Source: "glibc", SourceVersion: "2.41-12"}, {Name: "libc-bin", Version: "2.41-12", Source: "glibc", SourceVersion: "2.41-12"}},
		Python:  []sbom.Distribution{{Name: "Jinja2", Version: "3.1", Path: "a", Owner: "python3-jinja2"}, {Name: "Zope.Interface", Version: "7", Path: "b"}},
		Modules: []sbom.Module{{Module: release.Module{Name: "sale", Version: "19.0.1.0"}}},
	}
	require.Equal(t, []Component{
		{"Debian:13", "glibc", "2.41-12", []string{"libc-bin", "libc6"}}, {"Odoo:19.0", "sale", "19.0.1.0", nil}, {"PyPI", "zope-interface", "7", []string{"/b"}},
	}, Components(inv))

	report, err := Scan(t.Context(), inv, []string{folder(t, advisoryOf("CVE-2026-1", nil, about("Debian:13", "glibc", span("introduced 0 fixed 2.41-13")), about("PyPI", "jinja2", span("introduced 0"))))}, t.TempDir())
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.Equal(t, "CVE-2026-1 (unrated) in glibc 2.41-12 (libc-bin, libc6): fixed in 2.41-13", report.Findings[0].String())
	var compared []string
	for _, c := range report.Compared {
		compared = append(compared, fmt.Sprintf("%s %d %d", c.Ecosystem, c.Components, c.Advisories))
	}
	require.Equal(t, []string{"Debian:13 1 1", "Odoo:19.0 1 0", "PyPI 1 1"}, compared)
}
