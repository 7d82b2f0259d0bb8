//go:build odoo

package vuln

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/sbom"
	"github.com/waybill-dev/waybill/internal/sbom/sbomtest"
)

// TestRealBase scans a release on the real Odoo 19.0 (WAYBILL_BASE names it) with advisories about
// things that are in it.
func TestRealBase(t *testing.T) {
	base := os.Getenv("WAYBILL_BASE")
	if base == "" {
		t.Fatal("WAYBILL_BASE is not set; run: hack/base/build.sh && export WAYBILL_BASE=oci:$(hack/base/build.sh --path)")
	}
	reg := sbomtest.Registry(t, "p")
	rel, err := build.Build(t.Context(), build.Options{Source: sbomtest.Source(t, "stock"), Repository: "acme", Name: "r1", Series: "19.0", Base: base, Registry: reg})
	require.NoError(t, err)
	inv, err := sbom.Read(t.Context(), "acme@"+rel.Digest, reg, "")
	require.NoError(t, err)

	database := folder(t,
		advisoryOf("DEBIAN-CVE-2099-1", advise{"upstream": []string{"CVE-2099-1"}}, about("Debian:13", "glibc", span("introduced 0 fixed 9:1"))),
		advisoryOf("DSA-9999-1", advise{"upstream": []string{"CVE-2099-1", "CVE-2099-2"}}, about("Debian:13", "glibc", span("introduced 0 fixed 9:1"))),
		advisoryOf("CVE-2099-3", nil, about("Debian:13", "python-werkzeug", span("introduced 3.0 fixed 9:1"))),
		advisoryOf("CVE-2099-4", nil, about("Debian:13", "glibc", span("introduced 0 fixed 2.1")), about("Debian:12", "glibc", span("introduced 0"))),
		advisoryOf("PYSEC-2099-5", nil, about("PyPI", "werkzeug", span("introduced 0"))), // Debian's: counted there
		advisoryOf("ODOO-2099-6", nil, about("Odoo:19.0", "sale_stock", span("introduced 19.0 fixed 19.0.99")), about("Odoo:18.0", "sale", span("introduced 0"))),
		advisoryOf("ODOO-2099-7", nil, about("Odoo", "acme_lane", span("introduced 0 fixed 19.0.1.1"))),
		advisoryOf("CVE-2099-8", nil, about("Debian:13", "odoo", span("introduced 0 last_affected 99"))),
	)
	started := time.Now()
	report, err := Scan(t.Context(), inv, []string{database}, t.TempDir())
	require.NoError(t, err)
	t.Logf("scanned in %s: %+v", time.Since(started), report.Compared)
	var told []string
	for _, f := range report.Findings {
		told = append(told, f.ID+" "+f.Component.Name)
		require.Empty(t, f.Doubt)
	}
	slices.Sort(told)
	require.Equal(t, []string{"CVE-2099-1 glibc", "CVE-2099-2 glibc", "CVE-2099-3 python-werkzeug", "CVE-2099-8 odoo", "ODOO-2099-6 sale_stock", "ODOO-2099-7 acme_lane"}, told)
	i := slices.IndexFunc(report.Findings, func(f Finding) bool { return f.ID == "CVE-2099-1" })
	require.Contains(t, report.Findings[i].Component.Parts, "libc6")
	require.Equal(t, []string{"DSA-9999-1", "DEBIAN-CVE-2099-1"}, report.Findings[i].Names)

	// Every version of the real image can be compared: none is in doubt.
	for _, c := range Components(inv) {
		_, err := orderOf(c.base())(c.Version)
		require.NoError(t, err, c)
	}
	require.Len(t, report.Compared, 2, "all Python distributions of this base are Debian's")
	v := Evaluate(report, estate.DefaultVulnerabilities(database), time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	require.False(t, v.Refused)
	require.Equal(t, Warn, v.Reasons[0].Level)
}
